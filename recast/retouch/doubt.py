"""Regions that look changed and are not: a drift of colour without any border, and what was only made softer.

A change somebody asked for has a border, or is strong, or has other content. What an editor does to the whole picture
has none of these: its colours wander smoothly, its fine lines lose their sharpness.
"""

from __future__ import annotations

import cv2
import numpy as np

from recast.retouch.picked import picked
from recast.retouch.thresholds import THRESHOLDS, Doubting


def founded(
    labels: np.ndarray, source: np.ndarray, edited: np.ndarray, thresholds: Doubting = THRESHOLDS.doubting
) -> np.ndarray:
    """The regions (h, w) int32 that are changes; those that are not become 0. Numbers stay.

    source, edited: levels (h, w, 3), uint8 or float32, the edit laid on the source and its drift of colour undone as
    far as known.
    """
    kept = labels.copy()
    reach = thresholds.window
    for number in range(1, int(labels.max(initial=0)) + 1):
        here = labels == number
        if not here.any():
            continue
        left, top, width, height = cv2.boundingRect(here.astype(np.uint8))
        part = np.s_[max(0, top - reach) : top + height + reach, max(0, left - reach) : left + width + reach]
        pictures = source[part], edited[part]
        if (
            _is_faint(here[part], *pictures, thresholds)
            or _is_drift(here[part], labels[part] > 0, *pictures, thresholds)
            or _is_softer(here[part], *pictures, thresholds)
        ):
            kept[part][here[part]] = 0
    return kept


def _is_faint(here: np.ndarray, source: np.ndarray, edited: np.ndarray, t: Doubting) -> bool:
    """Whether hardly any pixel of a region differs by more than compression does: structure alone took it up."""
    apart = cv2.GaussianBlur(edited.astype(np.float32) - source, (0, 0), 1.0, borderType=cv2.BORDER_REFLECT)
    return float(np.quantile(_largest(apart, here), 0.95)) < t.least_levels


def _is_drift(here: np.ndarray, any_region: np.ndarray, source: np.ndarray, edited: np.ndarray, t: Doubting) -> bool:
    """Whether the difference inside a region goes on outside it as it is, and is small."""
    apart = cv2.GaussianBlur(edited.astype(np.float32) - source, (0, 0), t.blur, borderType=cv2.BORDER_REFLECT)
    if float(np.quantile(_largest(apart, here), 0.95)) > t.drift_most:
        return False
    inner = _shrunk(here, t.gap) & ~_shrunk(here, t.gap + t.ring)
    outer = _grown(here, t.gap + t.ring) & ~_grown(here, t.gap) & ~any_region
    if not inner.any() or not outer.any():
        return False
    side = (t.window, t.window)
    means = []
    for ring in (inner, outer):
        weight = cv2.boxFilter(ring.astype(np.float32), -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
        total = cv2.boxFilter(apart * ring[..., None], -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
        means.append((total / np.maximum(weight, 1)[..., None], weight >= t.window))
    (inside, has_inside), (outside, has_outside) = means
    border = _grown(here, 1) & ~here & has_inside & has_outside
    if not border.any():
        return False
    step = np.abs(inside[border] - outside[border]).max(1)
    return float(np.quantile(step, t.step_quantile)) < t.step


def _largest(apart: np.ndarray, here: np.ndarray) -> np.ndarray:
    """The largest of the three channels (h, w, 3), without its sign, at each pixel of `here` (h, w): (n,)."""
    red, green, blue = np.abs(picked(apart, here)).T
    return np.maximum(np.maximum(red, green), blue)


def _is_softer(here: np.ndarray, source: np.ndarray, edited: np.ndarray, t: Doubting) -> bool:
    """Whether a blur of the source explains most of the difference in a region."""

    def apart(first: np.ndarray) -> float:
        return float(np.abs(picked(cv2.GaussianBlur(first - soft, (0, 0), 1.0), here)).mean())

    sharp, soft = source.astype(np.float32), edited.astype(np.float32)
    before = apart(sharp)
    after = min(apart(cv2.GaussianBlur(sharp, (0, 0), sigma)) for sigma in t.soft_sigmas)
    return after < t.soft_share * before and after < t.soft_levels


def _grown(mask: np.ndarray, radius: int) -> np.ndarray:
    """The mask (h, w) bool and all within so many rows and columns of it."""
    made: np.ndarray = cv2.dilate(mask.astype(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8)) > 0
    return made


def _shrunk(mask: np.ndarray, radius: int) -> np.ndarray:
    """The mask (h, w) bool without what lies within so many rows and columns of its border; the frame's is none."""
    made: np.ndarray = cv2.erode(mask.astype(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8), borderValue=1) > 0
    return made
