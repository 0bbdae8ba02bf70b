"""Pictures changed a little, real and fake alike, before a discriminator looks: it learns slower by heart.

Every change has a gradient with respect to the pixels. Source: Zhao et al. 2020 (arXiv 2006.10738), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from recast.errors import ShapeError

Kind = Literal["colour", "translation", "cutout"]
KINDS: tuple[Kind, ...] = ("colour", "translation", "cutout")
DRAWS = 7
"""Even numbers that a picture's changes are decided by: three of colour, two each of translation and cutout."""
SHIFT, HOLE = 1 / 8, 1 / 2
"""The farthest translation, and the side of the hole, as parts of the picture's sides."""


def augmented(pixels: Tensor, drawn: Tensor, kinds: Sequence[Kind]) -> Tensor:
    """Pixels (b, 3, H, W) in [-1, 1], changed by `kinds`, in the order of `KINDS`; `drawn` (b, DRAWS) in [0, 1).

    colour: brightness by up to 0.5, saturation up to twice, contrast from a half to one and a half. translation: by up
    to an eighth of a side, 0 (middle grey) where the picture is not. cutout: a square of half the sides is 0.
    Raises ShapeError unless there are DRAWS numbers for each picture.
    """
    if drawn.shape != (len(pixels), DRAWS):
        raise ShapeError(f"drawn: {(len(pixels), DRAWS)} needed, {DRAWS} numbers a picture; got {tuple(drawn.shape)}")
    if not kinds:
        return pixels
    at = drawn.to(pixels.device, pixels.dtype)
    if "colour" in kinds:
        pixels = _coloured(pixels, at[:, :3])
    if "translation" in kinds:
        pixels = _translated(pixels, drawn[:, 3:5].tolist())
    if "cutout" in kinds:
        pixels = _cut(pixels, at[:, 5:7])
    return pixels


def _coloured(pixels: Tensor, at: Tensor) -> Tensor:
    brightness, saturation, contrast = (each[:, None, None, None] for each in at.unbind(dim=1))
    pixels = pixels + (brightness - 0.5)
    grey = pixels.mean(dim=1, keepdim=True)
    pixels = grey + (pixels - grey) * (2 * saturation)
    level = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return level + (pixels - level) * (contrast + 0.5)


def _translated(pixels: Tensor, at: Sequence[Sequence[float]]) -> Tensor:
    """Each picture moved by whole pixels."""
    height, width = pixels.shape[-2:]
    far = round(height * SHIFT), round(width * SHIFT)
    padded = F.pad(pixels, (far[1], far[1], far[0], far[0]))
    rows = []
    for picture, (down, right) in zip(padded, at, strict=True):
        top, left = int(down * (2 * far[0] + 1)), int(right * (2 * far[1] + 1))
        rows.append(picture[:, top : top + height, left : left + width])
    return torch.stack(rows)


def _cut(pixels: Tensor, at: Tensor) -> Tensor:
    """Each picture with a hole, its middle anywhere in it."""
    height, width = pixels.shape[-2:]

    def is_outside(side: int, middle: Tensor) -> Tensor:
        places = torch.arange(side, device=pixels.device)[None]
        return (places - (middle * side).floor()[:, None]).abs() * 2 > side * HOLE

    is_kept = is_outside(height, at[:, 0])[:, :, None] | is_outside(width, at[:, 1])[:, None, :]
    return pixels * is_kept[:, None]
