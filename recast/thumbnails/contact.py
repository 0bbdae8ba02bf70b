"""One picture with every variant at every size at which it is met, on light and on dark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recast.errors import InputError
from recast.pixels import image
from recast.pixels.image import Picture

WIDTHS_PX = (360, 246, 168, 120)
"""In search, on the home page, beside a video, in a playlist."""
THEMES = (("#FFFFFF", "#0F0F0F"), ("#0F0F0F", "#F1F1F1"))
GAP_PX, LABEL_PX, RADIUS_PX = 16, 22, 8


def write(path: Path, named: Sequence[tuple[str, Picture]]) -> Path:
    """Write a PNG: a row a variant, its name above, the sizes side by side, first on light, then on dark."""
    if not named:
        raise InputError("variants: none came; one or more accepted")
    return image.write(sheet(named), path)


def sheet(named: Sequence[tuple[str, Picture]]) -> Picture:
    """The contact sheet of names and pictures, all of one shape."""
    first = named[0][1]
    heights = [round(width * first.height / first.width) for width in WIDTHS_PX]
    row = LABEL_PX + heights[0] + GAP_PX
    side = sum(WIDTHS_PX) + GAP_PX * (len(WIDTHS_PX) + 1)
    made = Image.new("RGB", (2 * side, row * len(named) + GAP_PX), THEMES[0][0])
    made.paste(THEMES[1][0], (side, 0, 2 * side, made.height))
    pen, font = ImageDraw.Draw(made), ImageFont.load_default(14)
    for i, (name, picture) in enumerate(named):
        for k, (_, ink) in enumerate(THEMES):
            top, left = GAP_PX + i * row, k * side + GAP_PX
            pen.text((left, top - 4), name, fill=ink, font=font)
            for width, height in zip(WIDTHS_PX, heights, strict=True):
                small = picture.to_pil().convert("RGB").resize((width, height), Image.Resampling.BOX)
                made.paste(small, (left, top + LABEL_PX), _rounded(width, height))
                left += width + GAP_PX
    return Picture(np.asarray(made))


def _rounded(width: int, height: int) -> Image.Image:
    """A mask with round corners, as feeds cut them."""
    mask = Image.new("L", (4 * width, 4 * height), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 4 * RADIUS_PX, fill=255)
    return mask.resize((width, height), Image.Resampling.LANCZOS)
