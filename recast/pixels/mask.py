"""Masks: (H, W) float32, 1 where a picture may change and 0 where it stays; in a file, white is 1."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np

from recast.errors import InputError, ShapeError
from recast.pixels.image import read

if TYPE_CHECKING:
    from recast.pixels.image import Source

MODES = ("auto", "white", "alpha")


def read_mask(source: Source, *, width: int, height: int, mode: str = "auto", name: str = "mask") -> np.ndarray:
    """The mask (H, W) float32 in 0..1 in a picture, or in an array (H, W) of bool, uint8 or floats in 0..1.

    mode: "white" reads white as edit, "alpha" reads transparent as edit, "auto" takes alpha where there is any
    transparency. Raises InputError for another mode or size, or for "alpha" without alpha: nothing is resized.
    """
    if mode not in MODES:
        raise InputError(f"mode={mode!r}: no way to read a mask; {', '.join(MODES)} accepted; choose one")
    if isinstance(source, np.ndarray) and source.ndim == 2:
        mask = source / np.float32(255) if source.dtype == np.uint8 else source.astype(np.float32)
        _check_range(mask, name)
    else:
        picture = read(source, name=name)
        alpha = picture.alpha
        if mode == "alpha" and alpha is None:
            raise InputError(f"{name}: no transparency in it; mode 'alpha' accepts RGBA; try mode 'white'")
        if alpha is not None and (mode == "alpha" or (mode == "auto" and alpha.min() < 255)):
            mask = (255 - alpha) / np.float32(255)
        else:
            mask = np.asarray(picture.to_pil().convert("L")) / np.float32(255)
    if mask.shape != (height, width):
        came = f"{mask.shape[1]}x{mask.shape[0]}"
        raise InputError(f"{name}: {came} pixels; {width}x{height} accepted, the size of the image; redraw it on that")
    return mask


def digest(mask: np.ndarray) -> str:
    """The sha256 of a mask (H, W) in 0..1, its size included, at the 256 levels that a file can hold."""
    levels = np.rint(np.asarray(mask, np.float32) * 255).astype(np.uint8)
    return hashlib.sha256(f"{mask.shape[1]}x{mask.shape[0]}".encode() + levels.tobytes()).hexdigest()


def grow(mask: np.ndarray, radius_px: float) -> np.ndarray:
    """The mask (H, W) widened by a disc, or narrowed if radius_px is negative; beyond the border nothing counts."""
    if radius_px < 0:
        return -grow(-mask, -radius_px)
    reach = min(math.floor(radius_px), len(mask) - 1)
    wide, grown, half = mask.copy(), mask.copy(), 0
    for dy in range(reach, -1, -1):  # rows of the disc from its rim inwards: each is as wide as the last or wider
        while half < math.floor(math.sqrt(radius_px**2 - dy**2)):
            half += 1
            np.maximum(wide[:, half:], mask[:, :-half], out=wide[:, half:])
            np.maximum(wide[:, :-half], mask[:, half:], out=wide[:, :-half])
        np.maximum(grown[dy:], wide[: len(wide) - dy], out=grown[dy:])
        np.maximum(grown[: len(wide) - dy], wide[dy:], out=grown[: len(wide) - dy])
    return grown


def feather(mask: np.ndarray, sigma_px: float) -> np.ndarray:
    """The mask (H, W) blurred by a Gaussian, cut at four sigma; the border is repeated outwards."""
    if sigma_px <= 0:
        return mask.copy()
    reach = math.ceil(4 * sigma_px)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    for _ in range(2):  # down the columns, turned, and again
        padded = np.pad(mask, ((reach, reach), (0, 0)), mode="edge")
        rows = len(mask)
        mask = np.zeros_like(mask)
        for i, weight in enumerate(weights / weights.sum()):
            mask += np.float32(weight) * padded[i : i + rows]
        mask = mask.T
    return np.ascontiguousarray(mask.clip(0, 1))


def composite(base: np.ndarray, over: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`over` where mask is 1 and `base` where it is 0, byte for byte; between, rounded half to even.

    base, over: (H, W, 3) uint8. mask: (H, W) in 0..1. Raises ShapeError if they differ in size.
    """
    if base.dtype != np.uint8 or over.dtype != np.uint8 or base.shape != over.shape or mask.shape != base.shape[:2]:
        raise ShapeError(
            f"base, over, mask: {base.dtype} {base.shape}, {over.dtype} {over.shape}, {mask.shape} came; uint8 "
            "(H, W, 3) twice and (H, W) accepted; bring them to one size"
        )
    _check_range(mask, "mask")
    base_levels = base.astype(np.float32)
    return np.rint(base_levels + (over - base_levels) * mask[..., None]).astype(np.uint8)


def _check_range(mask: np.ndarray, name: str) -> None:
    if not (mask.min() >= 0 and mask.max() <= 1):  # so written, it catches NaN as well
        raise InputError(f"{name}: values from {mask.min()} to {mask.max()}; 0 to 1 accepted; divide by its maximum")
