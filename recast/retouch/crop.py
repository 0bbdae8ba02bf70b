"""A small region of a large picture, edited at its own pixels: where to cut it out, and how to put it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from recast.errors import ConfigError
from recast.pixels.geometry import Fit
from recast.retouch.asked import Box, check_box
from recast.retouch.original import Original
from recast.retouch.thresholds import THRESHOLDS, Editing

Framing = Literal["auto", "whole", "crop"]


def choose(
    framing: Framing | Box,
    where: np.ndarray | None,
    whole: Fit,
    *,
    side_px: int,
    max_tokens: int,
    thresholds: Editing = THRESHOLDS.editing,
) -> tuple[Box | None, str]:
    """The box of the source to edit by itself, or None for the whole, and why in words.

    framing: a box is taken as it is. where: (H, W) bool, what may change. whole: how the model would take the whole
    picture. side_px: of the square that the model likes best; the cut is at least so large where the picture is.
    Raises ConfigError for framing="crop" without a region, or with one that leaves nothing to cut away.
    """
    if not isinstance(framing, str):
        return check_box(framing, whole.source_width, whole.source_height, "context"), "it was asked for"
    if framing == "whole":
        return None, "the whole was asked for"
    if where is None:
        if framing == "crop":
            raise ConfigError("context='crop': no region came; a mask or boxes accepted beside it; pass one")
        return None, "no region was given"
    scale = min(whole.scale_x, whole.scale_y)
    region = _box_of(where)
    box = _around(region, whole, side_px, max_tokens, thresholds)
    share = float(where.mean())
    if framing == "auto":
        if scale >= thresholds.least_scale:
            return None, f"the whole fits the model at {scale:.0%}"
        if share >= thresholds.most_of_frame:
            return None, f"the region is {share:.0%} of the frame"
    if (box[2] - box[0], box[3] - box[1]) == (whole.source_width, whole.source_height):
        if framing == "crop":
            raise ConfigError("context='crop': the region and what it needs around it are the whole; use 'whole'")
        return None, "the region and what it needs around it are the whole"
    return box, f"the region is {share:.1%} of the frame, which the model would take at {scale:.0%}"


def cut(source: Original, box: Box) -> Original:
    """The source in a box (left, top, right, bottom), in its own space and depth."""
    left, top, right, bottom = box
    alpha = None if source.alpha is None else source.alpha[top:bottom, left:right]
    return replace(source, samples=source.samples[top:bottom, left:right], alpha=alpha)


def paste(source: Original, box: Box, part: Original) -> Original:
    """The source with a box of it replaced by a part of that size, in the same space and depth."""
    left, top, right, bottom = box
    samples = source.samples.copy()
    samples[top:bottom, left:right] = part.samples
    return source.with_samples(samples)


def _box_of(where: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _around(region: Box, whole: Fit, side_px: int, max_tokens: int, t: Editing) -> Box:
    """The region with a margin, as large as the model likes, whole tokens where the picture has room for them."""
    left, top, right, bottom = region
    m = whole.multiple
    width, height = right - left, bottom - top
    margin = max(t.margin_px, round(t.margin_share * max(width, height)))
    # the margin gives way before the pixels do: a cut of more tokens than the model takes would be scaled down
    while margin > m and -(-(width + 2 * margin) // m) * -(-(height + 2 * margin) // m) > max_tokens:
        margin -= m
    sides = []
    for start, end, limit in ((left, right, whole.source_width), (top, bottom, whole.source_height)):
        size = -(-max(end - start + 2 * margin, min(side_px, limit)) // m) * m
        if size > limit:
            size = limit // m * m if limit // m * m >= end - start else limit
        first = min(max(0, (start + end - size) // 2), limit - size)
        sides.append((first, first + size))
    (x0, x1), (y0, y1) = sides
    return x0, y0, x1, y1
