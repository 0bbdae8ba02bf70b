"""Contact sheets: many small pictures on one, to look at the world with one's own eyes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recast.world.draw import changed, draw
from recast.world.edits import edit
from recast.world.sample import scene as random_scene

GAP = 6
PAPER = (24, 25, 30)
INK = (232, 232, 236)


def scenes(seed: int, count: int, *, width: int, height: int, split: str, kind: str | None) -> np.ndarray:
    """`count` random scenes, of seeds from `seed` on, as one picture (H, W, 3) uint8."""
    pictures = [draw(random_scene(seed + n, split=split, kind=kind), width, height) for n in range(count)]
    return grid(pictures, columns=math.ceil(math.sqrt(count * height / width * 1.6)))


def edits(seed: int, count: int, *, width: int, height: int, split: str, kind: str | None) -> np.ndarray:
    """`count` random edits, a row each: sources, answer, what must change (white), and the words under them."""
    rows = []
    for n in range(count):
        made = edit(seed + n, split=split, kind=kind)
        shown = [draw(each, width, height) for each in (*made.contexts, made.target)]
        mask = np.repeat(changed(shown[made.base], shown[-1])[..., None], 3, axis=2).astype(np.uint8) * 255
        pictures = [*shown[:-1], *([np.full_like(mask, PAPER)] if len(shown) == 2 else []), shown[-1], mask]
        words = f"{made.category}, {made.kind}: {made.instruction}"
        rows.append(_under(grid(pictures, columns=len(pictures)), words))
    return np.vstack(rows)


def grid(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size in rows of `columns`."""
    height, width = pictures[0].shape[:2]
    rows = math.ceil(len(pictures) / columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), PAPER, np.uint8)
    for n, picture in enumerate(pictures):
        top, left = GAP + n // columns * (height + GAP), GAP + n % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def _under(picture: np.ndarray, words: str) -> np.ndarray:
    """The picture with a line of words beneath it, cut where the picture ends."""
    strip = Image.new("RGB", (picture.shape[1], 26), PAPER)
    ImageDraw.Draw(strip).text((GAP, 3), words.replace("\n", " / "), fill=INK, font=ImageFont.load_default(14))
    return np.vstack([picture, np.asarray(strip)])
