"""Editors that answer at once, and pictures to edit: threads are tested without a model."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from recast.pixels import image
from recast.pixels.image import Picture
from recast.recipe import Recipe
from recast.run import Result


def noise(seed: int = 0, *, width: int = 24, height: int = 16) -> np.ndarray:
    """rgb (H, W, 3) uint8: every pixel another."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def recipe(prompt: str, picture: Picture, seed: int = 7) -> Recipe:
    """A recipe as a pipeline would give it."""
    return Recipe(
        task="edit", prompt=prompt, seed=seed, times=(1.0, 0.0), sampler="euler", guidance=None, true_guidance=1.0,
        width=picture.width, height=picture.height, model="fake", weights={}, device="cpu", dtype="float32", threads=1,
        output_sha256=picture.sha256(),
    )  # fmt: skip


class Painter:
    """A plain generator: paints a square whose colour and place are decided by source, words and seed."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def edit(self, image_: Any, prompt: str, **options: Any) -> Result:
        self.asked.append((prompt, options))
        picture = image.read(image_)
        seed = options.get("seed", 7)
        made = self.paint(picture, prompt, seed)
        return Result((made,), (recipe(prompt, made, seed),), ("painted",))

    def paint(self, picture: Picture, prompt: str, seed: int) -> Picture:
        digest = hashlib.sha256(f"{prompt} {seed}".encode() + picture.rgb.tobytes()).digest()
        rgb = picture.rgb.copy()
        y, x = digest[0] % (picture.height - 4), digest[1] % (picture.width - 4)
        rgb[y : y + 4, x : x + 4] = digest[2], digest[3], digest[4]
        return Picture(rgb, picture.alpha)
