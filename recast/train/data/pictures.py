"""Picture files as examples need them: upright, sRGB, on white; pairs of one shape; one geometry for a whole pair."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from recast.errors import InputError
from recast.pixels import geometry, image
from recast.pixels.mask import composite, read_mask
from recast.train.data.example import Example, Shape

ASPECT = 0.01
"""How far the aspect ratios of a context and its target may lie apart: beyond it, pixels would not meet."""
TOUCHED = 0.05
"""A pixel of a resized mask must change if this much of it does: the rest of a kernel's reach is ringing."""
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
TWO_VALUED = 0.95
"""Share of a mask's pixels that must be black or white: less is a photograph, not a mask."""


def read(data: bytes | Path, name: str) -> np.ndarray:
    """The picture (H, W, 3) uint8 in sRGB, EXIF applied, transparency on white. Raises InputError naming `name`."""
    picture = image.read(data, name=name)
    if picture.alpha is None:
        return picture.rgb
    white = np.full_like(picture.rgb, 255)
    return composite(white, picture.rgb, picture.alpha / np.float32(255))


def size(data: bytes | Path, name: str) -> tuple[int, int]:
    """(width, height) as `read` returns it, from the header alone. Raises InputError naming `name`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which `read` checks
            with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=image.READ) as opened:
                turned = opened.getexif().get(ExifTags.Base.Orientation) in TURNED
                width, height = opened.size
    except Exception as error:  # a parser raises whatever it trips over
        raise InputError(
            f"{name}: no picture, or only the beginning of one ({error}); {image.ACCEPTED} accepted; fetch it again"
        ) from error
    return (height, width) if turned else (width, height)


def mask(data: bytes | Path, width: int, height: int, name: str) -> np.ndarray:
    """What must change (height, width) bool: white, or transparent where there is transparency.

    A mask of another size but the same aspect is brought to this one. Raises InputError for another aspect, and for a
    picture that is neither transparent nor black and white: its grey levels would be read as a mask.
    """
    picture = image.read(data, name=name)
    if picture.alpha is None or picture.alpha.min() == 255:
        grey = picture.rgb.mean(2)
        if ((grey < 16) | (grey > 239)).mean() < TWO_VALUED:
            raise InputError(f"{name}: a picture without transparency came; a black and white one accepted as a mask")
    if not same_aspect((picture.width, picture.height), (width, height)):
        came = f"{picture.width}x{picture.height}"
        raise InputError(f"{name}: {came} came; the aspect of its picture, {width}x{height}, accepted")
    whole = read_mask(picture, width=picture.width, height=picture.height, name=name)
    if whole.shape == (height, width):
        return whole >= 0.5
    return resized(whole.astype(np.float32), width, height) > TOUCHED


def same_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two (width, height) are of one shape: their ratios differ by no more than ASPECT, or by one pixel."""
    (w, h), (v, g) = one, other
    return abs(w * g - v * h) <= max(ASPECT * w * g, max(w, h, v, g))


def check(example: Example) -> Example:
    """The example, if its base context is of the target's shape. Raises InputError that says by how much it is not."""
    if not example.contexts:
        return example
    if not 0 <= example.base < len(example.contexts):
        raise InputError(
            f"{example.id}: base={example.base}; a number of its {len(example.contexts)} contexts accepted"
        )
    base, target = _size(example.contexts[example.base]), _size(example.target)
    if not same_aspect(base, target):
        apart = abs(base[0] * target[1] / (base[1] * target[0]) - 1)
        raise InputError(
            f"{example.id}: context {example.base + 1} is {base[0]}x{base[1]} and the target {target[0]}x{target[1]}: "
            f"their shapes differ by {apart:.1%}; up to {ASPECT:.0%} accepted; crop both alike, or leave the pair out"
        )
    return example


def fitted(example: Example, shape: Shape) -> Example:
    """The example at other sizes: every picture stretched to its size in `shape`, a mask with its target."""
    if shape_of(example) == shape:
        return example
    contexts = tuple(resized(p, *size) for p, size in zip(example.contexts, shape.contexts, strict=True))
    mask = example.mask
    if mask is not None:
        mask = resized(mask.astype(np.float32), *shape.target) > TOUCHED
    return replace(example, contexts=contexts, target=resized(example.target, *shape.target), mask=mask)


def shape_of(example: Example) -> Shape:
    """The sizes of an example's pictures as they are."""
    return Shape(_size(example.target), tuple(_size(each) for each in example.contexts))


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The picture (H, W, 3) uint8, or a mask (H, W) float32, stretched to whole tokens: no crop, no padding."""
    return geometry.apply(geometry.nearest_trained(picture.shape[1], picture.shape[0], [(width, height)], 1), picture)


def _size(picture: np.ndarray) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]
