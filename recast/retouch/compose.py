"""Layers: where a region of an edit is seen, how much, and in what colours; and layers laid over a source.

A layer has a hard support. Outside it alpha is exactly 0, and `composite` copies the source's samples there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from recast.errors import ShapeError
from recast.retouch.membrane import membrane
from recast.retouch.seam import Seam, route
from recast.retouch.thresholds import THRESHOLDS, Composing

STEPS = 65_535
"""Alpha and colours are kept in this many steps, so that a layer in a file is the layer that was composed."""

_STRIP = 32  # rows blended at a time: what they need stays in the processor's cache

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Layer:
    """One region of an edit, ready to be laid over the source.

    box: x0, y0, x1, y1 in the frame. alpha: (h, w) float32, exactly 0 outside the support and 1 in the core.
    pixels: (h, w, 3) float32 in the source's own space and levels. Both are whole numbers of 1/65535 of their range.
    seam: 95th percentile of CIEDE2000 along the border. seam_kind: "alpha", or "membrane" if colours were bent.
    """

    box: Box
    alpha: np.ndarray
    pixels: np.ndarray
    seam: float
    seam_kind: str


def layer(
    source: np.ndarray,
    edited: np.ndarray,
    core: np.ndarray,
    delta: np.ndarray,
    *,
    box: Box,
    levels: int,
    scale: float = 1.0,
    within: np.ndarray | None = None,
    thresholds: Composing = THRESHOLDS.composing,
) -> Layer:
    """The layer of a region in its crop `box` of the frame.

    source, edited: (h, w, 3) float32, the crop in the source's own space, 0..levels (255 or 65535). core: (h, w)
    bool, what must be seen; delta: (h, w) float32, CIEDE2000 of the two. scale: native pixels in a pixel of the
    analysis grid; the crop reaches `margin(scale)` beyond the core, or to the frame's border. within: (h, w) bool,
    where anything may change at all; the border then lies inside it, on the core if need be.
    Raises ShapeError if the arrays, or the box, differ in size.
    """
    shape = (box[3] - box[1], box[2] - box[0])
    came = [source.shape[:2], edited.shape[:2], core.shape, delta.shape, shape if within is None else within.shape]
    if any(each != shape for each in came):
        raise ShapeError(
            f"source, edited, core, delta, within: {came} came for the box {box}; {shape} accepted; crop them alike"
        )
    if within is not None and within.all():
        within = None
    if within is not None:
        core = core & within
    grey = _grey(source, levels)
    seam = route(core, grey * np.float32(255), delta, scale=scale, thresholds=thresholds)
    alpha = soft_alpha(seam, (grey, _grey(edited, levels)), scale=scale, thresholds=thresholds)
    if within is not None:
        limit = cv2.distanceTransform(within.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        np.minimum(alpha, _step((limit - np.float32(0.5)) / np.float32(thresholds.least_width_px * scale)), out=alpha)
    alpha = np.rint(alpha * np.float32(STEPS)) / np.float32(STEPS)
    inside = alpha >= 0.5
    apart = _along(inside, delta)
    is_bent = apart >= thresholds.seam_delta
    if is_bent:
        beyond = thresholds.reach_px + thresholds.membrane_around_px
        around = seam.outside < np.float32(beyond * scale)
        edited = edited + membrane(source, edited, inside, around, levels=levels, scale=scale, thresholds=thresholds)
    unit = np.float32(STEPS / levels)
    pixels = np.rint(np.clip(edited * unit, 0, STEPS))
    pixels /= unit
    return Layer(box, alpha, pixels, apart, "membrane" if is_bent else "alpha")


def margin(scale: float, thresholds: Composing = THRESHOLDS.composing) -> int:
    """Native pixels that a crop needs round a region's core, for the border and for measuring drift round it."""
    return math.ceil((thresholds.reach_px + thresholds.membrane_around_px) * scale) + 1


def support(layers: Iterable[Layer], shape: tuple[int, int]) -> np.ndarray:
    """Where any of the layers is seen at all: (H, W) bool. Raises ShapeError for a layer outside the frame."""
    seen = np.zeros(shape, bool)
    for each in layers:
        x0, y0, x1, y1 = _inside(each, shape)
        seen[y0:y1, x0:x1] |= each.alpha > 0
    return seen


def composite(samples: np.ndarray, layers: Iterable[Layer]) -> np.ndarray:
    """A copy of samples (H, W, 3), uint8 or uint16, with the layers laid over it one after the other.

    Samples are copied where every alpha is 0; elsewhere they are blended in float32, rounded half to even, and cut
    to the range. Raises ShapeError for other samples, and for a layer outside the frame.
    """
    if samples.dtype not in (np.uint8, np.uint16) or samples.ndim != 3 or samples.shape[2] != 3:
        raise ShapeError(f"samples: {samples.dtype} {samples.shape} came; uint8 or uint16 (H, W, 3) accepted")
    out = samples.copy()
    for each in layers:
        x0, y0, x1, y1 = _inside(each, samples.shape[:2])
        crop = out[y0:y1, x0:x1]
        for top in range(0, y1 - y0, _STRIP):
            rows = slice(top, top + _STRIP)
            alpha = each.alpha[rows]
            (columns,) = np.nonzero(alpha.any(0))
            if columns.size:
                strip = rows, slice(columns[0], columns[-1] + 1)
                _lay(crop[strip], each.pixels[strip], each.alpha[strip])
    return out


def soft_alpha(
    seam: Seam,
    guides: Iterable[np.ndarray],
    *,
    scale: float = 1.0,
    thresholds: Composing = THRESHOLDS.composing,
) -> np.ndarray:
    """Alpha (h, w) float32 in 0..1: 1 in the core, 0 from the reach outwards, a smooth step across the seam between.

    guides: pictures (h, w) float32 in 0..1 whose edges the step follows where there are any, one after the other.
    """
    reach = np.float32(seam.reach_px)
    core = seam.outside == 0
    at = (seam.radius - seam.outside) / np.maximum(seam.width, np.float32(1)) + np.float32(0.5)
    alpha = _step(at)
    alpha[core], alpha[seam.outside >= reach] = 1, 0
    side = 2 * max(1, round(thresholds.least_width_px * scale / 2)) + 1
    alpha = cv2.blur(alpha, (side, side), borderType=cv2.BORDER_REFLECT)  # where two rims meet, it has a step
    radius = max(1, round(thresholds.guide_radius_px * scale))
    for guide in guides:
        alpha = guided(guide, alpha, radius, thresholds.guide_eps)
    ends = np.float32(thresholds.least_width_px * scale)
    np.maximum(alpha, _step(1 - seam.outside / ends), out=alpha)
    np.minimum(alpha, _step((reach - seam.outside) / ends), out=alpha)
    return alpha


def _lay(under: np.ndarray, pixels: np.ndarray, alpha: np.ndarray) -> None:
    """Blend pixels over `under` (h, w, 3), in place, leaving every sample alone where alpha (h, w) is 0."""
    below = under.astype(np.float32)
    blend = pixels - below
    blend *= cv2.merge([alpha] * 3)
    blend += below
    np.rint(blend, out=blend)
    np.clip(blend, 0, np.iinfo(under.dtype).max, out=blend)
    np.copyto(under, blend.astype(under.dtype), where=cv2.merge([(alpha > 0).view(np.uint8)] * 3).view(bool))


def guided(guide: np.ndarray, alpha: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Alpha (h, w) float32 in 0..1 drawn to the edges of the guide (h, w) float32 in 0..1.

    What a guided filter (He, Sun, Tang 2010, "Guided image filtering", equations 5 to 8) adds to the blurred alpha,
    added to alpha as it is: its blur is wider than a border, and would flatten it wherever the guide is flat.
    """

    def mean(field: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(field, -1, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    of_guide = mean(guide)
    variance = np.maximum(mean(guide * guide) - of_guide * of_guide, 0)
    slope = mean(guide * alpha) - of_guide * mean(alpha)
    slope /= variance + np.float32(eps)
    drawn = alpha + mean(slope) * guide - mean(slope * of_guide)
    return np.clip(drawn, 0, 1, out=drawn)


def _step(t: np.ndarray) -> np.ndarray:
    """The smooth step 3t^2 - 2t^3 from 0 to 1."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _along(inside: np.ndarray, delta: np.ndarray) -> float:
    """The 95th percentile of delta on the border of `inside`; 0 where there is none. The frame's edge is no border."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    eroded = cv2.erode(inside.astype(np.uint8), cross)
    border = delta[inside & (eroded == 0)]
    return float(np.percentile(border, 95)) if border.size else 0.0


def _grey(rgb: np.ndarray, levels: int) -> np.ndarray:
    """Luma (h, w) float32 in 0..1."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) / np.float32(levels)


def _inside(layer: Layer, shape: tuple[int, ...]) -> Box:
    x0, y0, x1, y1 = layer.box
    if not (0 <= x0 < x1 <= shape[1] and 0 <= y0 < y1 <= shape[0] and layer.alpha.shape == (y1 - y0, x1 - x0)):
        raise ShapeError(
            f"layer: box {layer.box} with alpha {layer.alpha.shape} came for a frame of {shape[1]}x{shape[0]}; a box "
            "inside it and of the size of alpha accepted; take layers and picture from the same merge"
        )
    return layer.box
