"""Where an edit is going, told before it is there: the picture predicted early, against its source, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from torch import Tensor

from recast.pixels.geometry import Fit, pixels_covered
from recast.retouch.asked import Box
from recast.retouch.thresholds import THRESHOLDS, Editing
from recast.run import Step


@dataclass(frozen=True, eq=False)
class Forecast:
    """What of the source (H, W) a picture under way is going to change: mask bool, in whole tokens.

    share: of the frame. boxes: (left, top, right, bottom) of its parts. step: of `of` in all, from 1.
    """

    mask: np.ndarray = field(repr=False)
    share: float
    boxes: tuple[Box, ...]
    seed: int
    step: int
    of: int

    def on(self, mask: np.ndarray) -> Forecast:
        """The same forecast with another mask: that of a crop in its frame, for one."""
        return replace(self, mask=mask, share=float(mask.mean()), boxes=boxes_of(mask))

    def outside(self, boxes: Sequence[Box]) -> float:
        """The share of the forecast region that lies outside these boxes; 0 if there is no region."""
        inside = np.zeros_like(self.mask)
        for left, top, right, bottom in boxes:
            inside[top:bottom, left:right] = True
        total = int(self.mask.sum())
        return float((self.mask & ~inside).sum()) / total if total else 0.0

    def is_leaving(self, boxes: Sequence[Box], thresholds: Editing = THRESHOLDS.editing) -> bool:
        """Whether more of the region lies outside these boxes than the roundness of tokens explains."""
        return self.outside(boxes) > thresholds.leaving_share


def foretell(step: Step, fit: Fit, thresholds: Editing = THRESHOLDS.editing) -> list[Forecast]:
    """A forecast for each picture of a step of an edit. fit: how its source lies on the grid of tokens."""
    assert step.source is not None, "only an edit has a source"
    forecasts = []
    for seed, clean in zip(step.seeds, step.clean, strict=True):
        mask = pixels_covered(fit, tokens_changing(clean, step.source[0], fit.grid, thresholds))
        forecasts.append(Forecast(mask, float(mask.mean()), boxes_of(mask), seed, step.index, step.of))
    return forecasts


def tokens_changing(
    clean: Tensor, source: Tensor, grid: tuple[int, int], thresholds: Editing = THRESHOLDS.editing
) -> np.ndarray:
    """The tokens (rows, columns) bool in which a predicted clean picture leaves its source beyond the noise, and those
    beside them.

    clean, source: (n, d). The distance of a token is the root mean square over its channels. An early prediction is off
    everywhere, by a factor that varies little: so the noise is told from the logarithms of the distances, smoothed over
    neighbours, as their median and median absolute deviation. Where the whole picture changes that noise is no noise:
    beyond `forecast_most` a token counts whatever the others do.
    """
    t = thresholds
    apart = (clean.float() - source.float()).square().mean(-1).sqrt().reshape(grid).cpu().numpy()
    smooth = cv2.GaussianBlur(np.log(apart + 1e-6), (3, 3), t.forecast_sigma, borderType=cv2.BORDER_REPLICATE)
    median = float(np.median(smooth))
    mad = float(np.median(np.abs(smooth - median)))
    at = median + max(t.forecast_mads * mad, np.log(t.forecast_factor))
    at = float(np.clip(at, np.log(t.forecast_least), np.log(t.forecast_most)))
    beside = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return cv2.dilate((smooth > at).astype(np.uint8), beside) > 0


def boxes_of(mask: np.ndarray) -> tuple[Box, ...]:
    """The boxes of the connected parts of a mask (H, W), from its top left."""
    _, _, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    boxes = [(int(x), int(y), int(x + w), int(y + h)) for x, y, w, h, _ in found[1:]]
    return tuple(sorted(boxes, key=lambda box: (box[1], box[0])))
