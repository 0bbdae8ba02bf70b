"""Stand-ins for a model and for eyes: quick, exact, and wrong when told to be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.seeing import FoundFace

FACE = Box(0.62, 0.15, 0.82, 0.6)
SKIN = (200, 150, 110)
"""The colour of the one face that the stand-in knows."""
SPOILT = (40, 200, 60)
"""The colour of the face that a spoilt variant has instead."""


class Died(Exception):
    """What a kill looks like from within."""


@dataclass
class Result:
    pictures: tuple[Picture, ...]
    failures: Mapping[int, str] = field(default_factory=dict)

    def save(self, path: Path, *, index: int = 0) -> Path:
        return image.write(self.pictures[index], path)


@dataclass
class Run:
    of: int
    result: Result
    dies: bool = False

    def __iter__(self) -> Iterator[int]:
        for step in range(self.of):
            if self.dies and step == 1:
                raise Died
            yield step


@dataclass
class Painter:
    """An editor that paints a pattern of the prompt and seed where the mask lets it.

    spoils: prompts that paint the face over, each with the seeds at which they do. dies_at: the request that is killed.
    """

    spoils: Mapping[str, Sequence[int]] = field(default_factory=dict)
    dies_at: int | None = None
    asked: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)

    def start_edit(self, source: Any, prompt: str | Sequence[str], *, seed: int, **options: Any) -> Run:
        prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
        self.asked.append((prompts, seed))
        self.options.append(options)
        base = image.read(source)
        free = np.ones(base.rgb.shape[:2], bool)
        if isinstance(options.get("mask"), np.ndarray):
            free = options["mask"] > 0
        elif options.get("mask") is not None:
            free = image.read(options["mask"]).rgb[..., 0] > 0
        made = []
        for i, words in enumerate(prompts):
            rgb = base.rgb.copy()
            rgb[free] = _pattern(words, base)[free]
            if seed + i in self.spoils.get(words, ()):
                left, top, right, bottom = FACE.pixels(width=base.width, height=base.height)
                rgb[top:bottom, left:right] = SPOILT
            made.append(Picture(rgb))
        return Run(3, Result(tuple(made)), dies=self.dies_at == len(self.asked))

    def start_generate(self, prompt: str, *, width: int, height: int, seed: int, **options: Any) -> Run:
        self.asked.append(((prompt,), seed))
        blank = Picture(np.zeros((height, width, 3), np.uint8))
        rgb = _pattern(prompt, blank)
        left, top, right, bottom = FACE.pixels(width=width, height=height)
        rgb[top:bottom, left:right] = SKIN
        return Run(3, Result((Picture(rgb),)))


class Eyes:
    """Sees one face, wherever there is a patch of SKIN or of SPOILT; its identity is its colour."""

    name, limit, smallest_px = "stand-in", 0.995, 8

    def faces(self, rgb: np.ndarray) -> list[FoundFace]:
        height, width = rgb.shape[:2]
        patches = [np.abs(rgb.astype(int) - colour).max(-1) < 12 for colour in (SKIN, SPOILT)]
        patch = max(patches, key=np.count_nonzero)
        if patch.mean() < 0.01:
            return []
        rows, columns = np.flatnonzero(patch.mean(1) > 0.05), np.flatnonzero(patch.mean(0) > 0.05)
        edges = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        box = Box.of_pixels(*map(float, edges), width=width, height=height)
        colour = rgb[patch].mean(0)
        eyes = tuple((box.left + share * box.width, box.top + 0.35 * box.height) for share in (0.3, 0.7))
        return [FoundFace(box, 0.9, (colour / np.linalg.norm(colour)).astype(np.float32), eyes)]


def _pattern(words: str, like: Picture) -> np.ndarray:
    """Stripes whose colours, width and slope come from the words."""
    dice = np.random.default_rng(int(hashlib.sha256(words.encode()).hexdigest()[:8], 16))
    colours = dice.integers(30, 226, (2, 3))
    y, x = np.mgrid[: like.height, : like.width] / like.height
    waves = np.sin((x * dice.uniform(-1, 1) + y * dice.uniform(-1, 1)) * dice.uniform(8, 24) + dice.uniform(0, 6)) > 0
    return np.asarray(colours[waves.astype(int)], np.uint8)
