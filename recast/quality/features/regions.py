"""Boxes and masks on a picture: checks, crops, overlaps, unions.

A box is (left, top, right, bottom) in pixels, right and bottom beyond the last pixel.
"""

from __future__ import annotations

import math

import numpy as np

from recast.errors import InputError


def picture(pixels: np.ndarray, name: str = "pixels") -> np.ndarray:
    """The array, made contiguous. Raises InputError, naming `name`, unless it is uint8 (H, W, 3) with a pixel."""
    is_array = isinstance(pixels, np.ndarray)
    if not is_array or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        came = f"{pixels.dtype} {pixels.shape}" if is_array else type(pixels).__name__
        raise InputError(f"{name}: {came} came; uint8 (H, W, 3) sRGB accepted; read it with recast.pixels.image.read")
    return np.ascontiguousarray(pixels)


def square_crop(pixels: np.ndarray, box: np.ndarray | tuple[float, float, float, float]) -> np.ndarray:
    """The smallest square of the picture around a box, moved inward at the border: uint8 (s, s, 3).

    A subject that is longer than the picture is wide is cut to the picture: nothing is padded or stretched here.
    Raises InputError for a box without area, or beside the picture.
    """
    pixels = picture(pixels)
    height, width = pixels.shape[:2]
    left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    right, bottom = min(width, math.ceil(box[2])), min(height, math.ceil(box[3]))
    if left >= right or top >= bottom:
        came = tuple(float(side) for side in box)
        raise InputError(f"box={came}: no pixel of a picture {width} x {height}; left, top, right, bottom accepted")
    side = min(max(right - left, bottom - top), width, height)
    left = min(max(0, (left + right - side) // 2), width - side)
    top = min(max(0, (top + bottom - side) // 2), height - side)
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (4,) with others (n, 4): (n,) in [0, 1]."""
    corner = np.maximum(box[:2], others[:, :2])
    shared = np.clip(np.minimum(box[2:], others[:, 2:]) - corner, 0, None).prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared
    return np.where(union > 0, shared / np.maximum(union, 1e-12), 0.0)


def suppress(boxes: np.ndarray, scores: np.ndarray, limit: float) -> list[int]:
    """The indices, best score first, of boxes (n, 4) that overlap no better one by more than `limit`."""
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if not kept or overlap(boxes[index], boxes[kept]).max() <= limit:
            kept.append(int(index))
    return kept


def union_mask(boxes: np.ndarray, *, width: int, height: int, margin: float = 0.02) -> np.ndarray:
    """True where any box (n, 4) lies, or within `margin` of the picture's diagonal of one: bool (H, W).

    The margin is round, so that it reaches equally far in every direction. No box: False everywhere.
    """
    reach = margin * math.hypot(width, height)
    mask = np.zeros((height, width), bool)
    xs, ys = np.arange(width) + 0.5, np.arange(height) + 0.5
    for left, top, right, bottom in np.asarray(boxes, float).reshape(-1, 4):
        across = np.maximum(np.maximum(left - xs, xs - right), 0)
        down = np.maximum(np.maximum(top - ys, ys - bottom), 0)
        mask |= np.hypot(down[:, None], across[None]) <= reach
    return mask
