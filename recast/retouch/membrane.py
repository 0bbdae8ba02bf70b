"""A soft correction of colour for an edit: the drift seen round a region, continued into it and fading there.

The drift is a harmonic function inside, as in mean-value cloning (Farbman et al. 2009, "Coordinates for instant image
cloning", section 3), solved on a coarse grid. Unlike Poisson cloning it is bounded, and it is not taken from pixels
on which the pictures differ by more than a drift: an object's own colour does not leak into it. Deeper than a border
it may not be seen at all: CIEDE2000 bounds it there.
"""

from __future__ import annotations

import cv2
import numpy as np

from recast.pixels.lab import ciede2000, lab
from recast.retouch.thresholds import THRESHOLDS, Composing

CELL_PX = 4
"""Grid pixels in a cell of the coarse grid: a tenth of what the correction fades over."""
SWEEPS = 24
"""Sweeps on each level: on a square of 96 cells the solution of Laplace's equation is met within 1 % of its range."""
_CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4


def membrane(
    source: np.ndarray,
    edited: np.ndarray,
    inside: np.ndarray,
    around: np.ndarray,
    *,
    levels: int,
    scale: float = 1.0,
    thresholds: Composing = THRESHOLDS.composing,
) -> np.ndarray:
    """What to add to the edit (h, w, 3) float32, in `levels`, so that it meets the source at the border of `inside`.

    source, edited: (h, w, 3) float32. inside: (h, w) bool, where the edit will be seen. around: (h, w) bool, where
    the drift may be measured; pixels further apart than two caps are no drift. scale: native pixels in a grid pixel.
    Colours are judged as if they were sRGB.
    """
    cap = np.float32(thresholds.membrane_cap * levels / 255)
    drift = cv2.subtract(source, edited)
    red, green, blue = cv2.split(cv2.absdiff(source, edited))
    largest = cv2.max(cv2.max(red, green), blue)
    weight = (around & ~inside & (largest <= 2 * cap)).astype(np.float32)
    cv2.multiply(drift, cv2.merge([weight] * 3), dst=drift)
    height, width = weight.shape
    cell = CELL_PX * scale
    size = (max(1, round(width / cell)), max(1, round(height / cell)))
    values = cv2.resize(drift, size, interpolation=cv2.INTER_AREA)
    del drift
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    known = share > np.float32(0.1)
    if not known.any():
        return np.zeros_like(source)
    smooth, of = (cv2.GaussianBlur(each, (0, 0), 2) for each in (values, share))
    field = harmonic(smooth / np.maximum(of, np.float32(1e-6))[..., None], known)
    np.clip(field, -cap, cap, out=field)
    depth: np.ndarray = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) / np.float32(scale)
    depth = cv2.resize(depth, size, interpolation=cv2.INTER_AREA)
    field *= np.exp(depth / np.float32(-thresholds.membrane_fade_px))[..., None]
    colours = cv2.resize(edited, size, interpolation=cv2.INTER_AREA)
    field *= _bound(colours, field, depth, levels, thresholds)[..., None]
    return cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)


def _bound(colours: np.ndarray, field: np.ndarray, depth: np.ndarray, levels: int, thresholds: Composing) -> np.ndarray:
    """What to multiply a correction by (h, w): 1 at the border, and where it is deep enough, little enough to hide."""
    to_255 = np.float32(255 / levels)
    seen = ciede2000(lab(colours * to_255), lab((colours + field) * to_255))
    share = np.minimum(1, np.float32(thresholds.membrane_delta) / np.maximum(seen, np.float32(1e-6)))
    t = np.minimum(depth / np.float32(thresholds.reach_px), 1)
    return 1 - t * t * (3 - 2 * t) * (1 - share)


def harmonic(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values (h, w, c) float32 where `known` (h, w), and between them the solution of Laplace's equation.

    Nothing flows over the frame's border. From coarse to fine, each level starting from the one before: a cascade
    (Bornemann and Deuflhard 1996). The number of sweeps is fixed: the same bytes on every run.
    """
    if known.all():
        return values
    values = np.where(known[..., None], values, np.float32(0))
    if max(known.shape) <= 2:
        mean = values[known].mean(0)
        field: np.ndarray = np.where(known[..., None], values, mean).astype(np.float32)
    else:
        half = (-(-known.shape[1] // 2), -(-known.shape[0] // 2))
        share = cv2.resize(known.astype(np.float32), half, interpolation=cv2.INTER_AREA)
        coarse = cv2.resize(values, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], -1)
        coarse = harmonic(coarse / np.maximum(share, np.float32(1e-6))[..., None], share > 0)
        field = cv2.resize(coarse, known.shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(values.shape)
    held = known[..., None]
    for _ in range(SWEEPS):
        field = cv2.filter2D(field, -1, _CROSS, borderType=cv2.BORDER_REPLICATE).reshape(values.shape)
        np.copyto(field, values, where=held)
    return field
