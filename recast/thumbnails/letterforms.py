"""Is this title set in that font? The shapes of a line's letters in a picture, held against the font's own outlines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from recast.errors import InputError
from recast.thumbnails.boxes import Box

TALL_PX = 64
"""Height at which letters are compared."""
CROP_PX = 112
"""Height that a reader's box is brought to: the letters in it are somewhat over half as high."""
SPECK = 0.004
MIDDLE = 0.25
"""How far from the middle of the box, in its heights, the middle of a letter lies at most."""
UNITS = 1000
"""Of a drawing, to the em."""
COLOURS = 4, 6, 8
"""Into how many colours a box is parted, one after another: where one parting joins letters with what is behind them,
another does not, so that none of them decides alone."""
SAME, OTHER = 0.88, 0.50
"""Likeness from which letters are the font's, and up to which they are another's: see `likeness`. Measured between the
fonts of the world at 1280x720 by benchmarks/brand_score.py."""


@dataclass(frozen=True)
class Likeness:
    """value: 0..1, the share of the ink that letters and outlines have in common. colour: "#RRGGBB" of the letters."""

    value: float
    colour: str


def likeness(rgb: np.ndarray, text: str, box: Box, font: Path, *, instance: str | None = None) -> Likeness | None:
    """How alike the letters in a box of a picture (H, W, 3) uint8 are to a text in a font; None if it cannot say.

    The colours of the box are parted; the part whose shape has most in common with the outlines are the letters.
    Both are brought to the same box, so their proportions are compared apart: as the ratio of their widths.
    Cannot say: a text that the font has no letters for, or a box without any.
    """
    text = "".join(text.split())
    if _outline(text, font, instance) is None:
        return None
    height, width = rgb.shape[:2]
    left, top, right, bottom = box.pixels(width=width, height=height)
    crop = rgb[top:bottom, left:right]
    if crop.shape[0] < 8 or crop.shape[1] < 8:
        return None
    scale = CROP_PX / crop.shape[0]
    crop = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    best: Likeness | None = None
    letters: np.ndarray | None = None
    for mask, colour in _parts(crop):
        found = _ink(mask)
        if found is None:
            continue
        value = _alike(found, text, font, instance)
        if best is None or value > best.value:
            best, letters = Likeness(value, "#{:02X}{:02X}{:02X}".format(*colour)), found
    if best is None or letters is None:
        return None
    return replace(best, value=_spaced(letters, text, font, instance, best.value))


def _spaced(letters: np.ndarray, text: str, font: Path, instance: str | None, value: float) -> float:
    """The largest likeness of letters to a text with spaces put in, one after another where they help most.

    Readers leave out spaces, or see some where letters stand far apart: which ones they read says nothing.
    """
    while value < SAME:
        tried = [f"{text[:i]} {text[i:]}" for i in range(1, len(text)) if text[i] != " " and text[i - 1] != " "]
        values = [_alike(letters, each, font, instance) for each in tried]
        if max(values, default=0.0) <= value:
            break
        text, value = tried[int(np.argmax(values))], max(values)
    return value


def _alike(letters: np.ndarray, text: str, font: Path, instance: str | None) -> float:
    """The share, 0..1, of letters (h, w) bool and a text's outlines that both cover, times how alike their shapes are
    in width over height.
    """
    outline = _outline(text, font, instance)
    if outline is None:
        return 0.0
    drawn, ratio = outline
    ink = cv2.resize(letters.astype(np.float32), (drawn.shape[1], TALL_PX), interpolation=cv2.INTER_AREA)
    shared = float(np.minimum(ink, drawn).sum() / max(np.maximum(ink, drawn).sum(), 1e-6))
    own = letters.shape[1] / letters.shape[0]
    return shared * min(own, ratio) / max(own, ratio)


@lru_cache(maxsize=512)
def _outline(text: str, font: Path, instance: str | None) -> tuple[np.ndarray, float] | None:
    """A text's ink (TALL_PX, w) float32 0..1 and its width over height; None if the font cannot write it."""
    from recast.thumbnails.render import rasterize
    from recast.thumbnails.shaping import shape, typeface

    try:
        shaped = shape(typeface(font, instance=instance), text)
    except InputError:
        return None
    left, bottom, right, top = shaped.ink
    tall, wide = top - bottom, right - left
    if tall <= 0 or wide <= 0:
        return None
    size = max(round(TALL_PX * wide / tall), 2), TALL_PX
    path = shaped.path(size=UNITS, x=-left * UNITS, y=top * UNITS)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {UNITS * wide:.3f} {UNITS * tall:.3f}" '
        f'preserveAspectRatio="none" width="{size[0]}" height="{size[1]}"><path d="{path}"/></svg>'
    )
    drawn = rasterize(svg, width=size[0], height=size[1])
    assert drawn.alpha is not None
    return drawn.alpha.astype(np.float32) / 255, wide / tall


def _parts(crop: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks (h, w) bool of the main colours of a crop, and the colours (3,) uint8."""
    pixels = crop.reshape(-1, 3).astype(np.float32)
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    parts = []
    for count in COLOURS:
        _, labels, centers = cv2.kmeans(pixels, min(count, len(pixels)), None, criteria, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
        labels = labels.reshape(crop.shape[:2])
        parts += [(labels == i, np.rint(center).astype(np.uint8)) for i, center in enumerate(centers)]
    return parts


def _ink(mask: np.ndarray) -> np.ndarray | None:
    """The mask cut to the letters of its line; None if nothing is left.

    Left out: specks, what runs from edge to edge, and what has its middle near the upper or lower edge: readers' boxes
    are wide, and the next line reaches into them.
    """
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, centers = cv2.connectedComponentsWithStats(opened)
    tall, wide = mask.shape
    keep = [
        i
        for i in range(1, count)
        if stats[i, cv2.CC_STAT_AREA] >= SPECK * mask.size
        and abs(centers[i][1] / tall - 0.5) < MIDDLE
        and stats[i, cv2.CC_STAT_HEIGHT] < tall
        and stats[i, cv2.CC_STAT_WIDTH] != wide
    ]
    if not keep:
        return None
    letters = np.isin(labels, keep)
    rows, columns = np.flatnonzero(letters.any(1)), np.flatnonzero(letters.any(0))
    return np.asarray(letters[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
