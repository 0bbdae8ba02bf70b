"""Before and after: the same prompts, contexts and seeds through the base and the adapted model, as one picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recast.errors import InputError
from recast.pipeline import Generates
from recast.pixels import image
from recast.train.adapters import Adapters
from recast.world.folder import write_whole

PANEL = "panel.png"
GAP = 8
LINE = 18  # height of a line of words, in pixels
PAPER = (24, 25, 30)
INK = (232, 232, 236)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ask:
    """What both models are asked. Pictures are (H, W, 3) uint8; contexts: image 1 first, none for text to image."""

    prompt: str
    contexts: tuple[np.ndarray, ...] = ()
    seed: int = 0
    answer: np.ndarray | None = None  # shown beside them, where somebody knows it


def before_after(
    path: str | Path, generator: Generates, adapters: Adapters, asks: Sequence[Ask], **options: Any
) -> Path:
    """Write the panel: a row for each ask, columns contexts, before, after and answer; the path.

    generator: a pipeline around the transformer that the adapters are on; before is made with them off. options: as of
    its `generate` and `edit`, the same for both. The file is written whole or not at all.
    Raises InputError for no asks, and what the generator raises.
    """
    after = answers(generator, asks, **options)
    with adapters.off():
        before = answers(generator, asks, **options)
    return image.write(sheet(asks, {"before": before, "after": after}), path)


def published(place: Path) -> Path | None:
    """The newest panel of the samples of a run, as `place`/PANEL; None where there is none."""
    drawn = sorted((place / "samples").glob("step-*-panel.png"))
    if not drawn:
        return None
    path = place / PANEL
    write_whole(path, drawn[-1].read_bytes())
    return path


def answers(generator: Generates, asks: Sequence[Ask], **options: Any) -> list[np.ndarray]:
    """What a model makes of each ask, (H, W, 3) uint8: with contexts an edit, without one a picture from words."""
    pictures = []
    for ask in asks:
        if ask.contexts:
            first, *others = ask.contexts
            result = generator.edit(first, ask.prompt, references=others, seed=ask.seed, **options)
        else:
            result = generator.generate(ask.prompt, seed=ask.seed, **options)
        pictures.append(result.pictures[0].rgb)
    return pictures


def sheet(asks: Sequence[Ask], columns: Mapping[str, Sequence[np.ndarray]], *, says_seed: bool = True) -> np.ndarray:
    """A labelled panel (H, W, 3) uint8: a row for each ask, its contexts, a picture of each column, its answer.

    Pictures keep their sizes; a column is as wide as its widest. says_seed: beside the prompt. Raises InputError for no
    asks, or for a column that has not one picture for each.
    """
    if not asks:
        raise InputError("asks: none came; at least one needed for a panel")
    for name, pictures in columns.items():
        if len(pictures) != len(asks):
            raise InputError(f"{name}: {len(pictures)} pictures for {len(asks)} asks; one for each accepted")
    most = max(len(ask.contexts) for ask in asks)
    has_answers = any(ask.answer is not None for ask in asks)
    titles = [f"image {i + 1}" for i in range(most)] + list(columns) + ["answer"] * has_answers
    cells: list[list[np.ndarray | None]] = []
    for number, ask in enumerate(asks):
        contexts = [*ask.contexts, *[None] * (most - len(ask.contexts))]
        cells.append([*contexts, *(made[number] for made in columns.values()), *[ask.answer] * has_answers])
    widths = [
        max((cell.shape[1] for row in cells if (cell := row[i]) is not None), default=0) for i in range(len(titles))
    ]
    heights = [max(cell.shape[0] for cell in row if cell is not None) for row in cells]
    font = ImageFont.load_default(14)
    across = sum(widths) + GAP * (len(widths) + 1)
    letters = max(1, int((across - 2 * GAP) / font.getlength("n")))
    words = [textwrap.wrap(ask.prompt + f"  (seed {ask.seed})" * says_seed, letters) for ask in asks]
    tall = LINE + GAP + sum(height + LINE * len(lines) + 2 * GAP for height, lines in zip(heights, words, strict=True))
    panel = Image.new("RGB", (across, tall), PAPER)
    pen = ImageDraw.Draw(panel)
    lefts = [GAP + sum(widths[:i]) + GAP * i for i in range(len(widths))]
    for left, title in zip(lefts, titles, strict=True):
        pen.text((left, GAP // 2), title, fill=INK, font=font)
    top = LINE + GAP
    for row, height, lines in zip(cells, heights, words, strict=True):
        for left, cell in zip(lefts, row, strict=True):
            if cell is not None:
                panel.paste(Image.fromarray(cell), (left, top))
        for i, line in enumerate(lines):
            pen.text((GAP, top + height + GAP // 2 + i * LINE), line, fill=INK, font=font)
        top += height + LINE * len(lines) + 2 * GAP
    return np.asarray(panel)
