"""How far two variants are apart: by what is declared to differ where that is known, else as pictures.

A set's letters are ours, so two titles, two places of a title, two colours of it are compared as such: a picture with
another title is much the same picture, and is meant to be. What a model has changed is compared as pictures: by the
perceptual hash of the whole, by that of the part in which they differ, and by the embedding of their looks; one of the
three is enough. Limits of these lie above what was measured of one picture saved anew, scaled, brightened or shifted
(benchmarks/variant_distance.py). The same ground drawn with another seed is far enough by them in 17 cases of 20: they
tell that two pictures differ, not that they differ in kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from recast.pixels.lab import ciede2000, lab
from recast.thumbnails.boxes import union
from recast.thumbnails.brief import Factor
from recast.thumbnails.checks.evidence import Evidence, Unseen
from recast.thumbnails.checks.limits import Limits
from recast.thumbnails.checks.title import misread
from recast.thumbnails.design import Lettering
from recast.thumbnails.hashing import distance, perceptual_hash

BLUR_PX = 1.0  # of the 168 pixels: an edge that moved by less than one is no difference
ROOM_PX = 2  # around the part in which two differ, when it is cut out


@dataclass(frozen=True)
class Apart:
    """What was measured of two variants, by name, and whether it is enough. says: the nearest miss, in words."""

    numbers: dict[str, float]
    is_enough: bool
    says: str


def apart(a: Evidence, b: Evidence, factor: Factor, limits: Limits) -> Apart:
    """The distance of two variants of a set."""
    declared = {"text": _titles, "layout": _places, "colour": _fills}.get(factor)
    found = None if declared is None else declared(a, b, limits)
    return found or _as_pictures(a, b, factor, limits)


def _titles(a: Evidence, b: Evidence, limits: Limits) -> Apart | None:
    """Two titles; misread by at most `misread` each, titles more than twice that apart are still told apart."""
    try:
        first, second = a.title, b.title
    except Unseen:
        return None
    if first is None or second is None:
        return None
    found = misread(first.text, second.text)
    says = f"{found:.0%} of the letters differ, {2 * limits.misread:.0%} are the least"
    return Apart({"letters": round(found, 3)}, found >= 2 * limits.misread, says)


def _places(a: Evidence, b: Evidence, limits: Limits) -> Apart | None:
    """Where two titles stand, in shares of the frame."""
    boxes = [union(line.box for line in each.lines) for each in _letterings(a, b)]
    sides = [(box.left, box.top, box.right, box.bottom) for box in boxes if box is not None]
    if len(sides) < 2:
        return None
    found = float(np.abs(np.diff(np.array(sides), axis=0)).max())
    says = f"no side of the title moves by more than {found:.0%} of the frame, {limits.moved_apart:.0%} are the least"
    return Apart({"moved": round(found, 3)}, found >= limits.moved_apart, says)


def _fills(a: Evidence, b: Evidence, limits: Limits) -> Apart | None:
    """The colours in which two titles are really set: a kit's colour that cannot be read is replaced."""
    fills = [each.fill for each in _letterings(a, b)]
    if len(fills) < 2:
        return None
    rgb = np.array([[[int(each[i : i + 2], 16) for i in (1, 3, 5)]] for each in fills], np.uint8)
    found = float(ciede2000(*(lab(each[None]) for each in rgb)).item())
    says = f"the letters are {found:.0f} dE00 apart, {limits.separation:g} are the least"
    return Apart({"letters_de00": round(found, 1)}, found >= limits.separation, says)


def _letterings(*variants: Evidence) -> list[Lettering]:
    """The letterings of those whose design has one."""
    return [each.design.lettering for each in variants if each.design is not None and each.design.lettering is not None]


def _as_pictures(a: Evidence, b: Evidence, factor: Factor, limits: Limits) -> Apart:
    whole = distance(perceptual_hash(a.rgb), perceptual_hash(b.rgb))
    least = limits.differs_widely if factor in ("background", "style") else limits.differs_least
    share, part = where_different(a, b, limits, least)
    numbers: dict[str, float] = {"bits": whole, "different": round(share, 4), "bits_where_different": part}
    style = None
    if a.sight.style is not None and b.sight.style is not None:
        style = float(1 - a.sight.style.embed(a.rgb) @ b.sight.style.embed(b.rgb))
        numbers["embedding"] = round(style, 3)
    is_enough = max(whole, part) >= limits.hash_bits or (style is not None and style >= limits.embedding)
    says = f"{max(whole, part)} of 64 bits, {limits.hash_bits} are the least"
    return Apart(numbers, is_enough, says)


def where_different(a: Evidence, b: Evidence, limits: Limits, least: float) -> tuple[float, int]:
    """The share of the frame in which two pictures differ at 168 pixels, and bits of the hash of that part alone.

    A face takes a tenth of the frame, and what it feels a hundredth: the hash of the whole does not see it. Letters and
    logo are left out where a design tells what lies beneath. No bits for shares below `least`: specks.
    """
    first, second = (cv2.GaussianBlur(each.small_below, (0, 0), BLUR_PX) for each in (a, b))
    if first.shape != second.shape:
        return 1.0, 0
    differs = (ciede2000(lab(first), lab(second)) > limits.differs_by).astype(np.uint8)
    solid = cv2.morphologyEx(differs, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))  # without edges that moved a little
    share = float(solid.mean())
    if share < least:
        return share, 0
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    sides = (rows[0] - ROOM_PX, rows[-1] + 1 + ROOM_PX, columns[0] - ROOM_PX, columns[-1] + 1 + ROOM_PX)
    part = partial(_part, sides=sides, shape=solid.shape)
    return share, distance(perceptual_hash(part(a.below)), perceptual_hash(part(b.below)))


def _part(rgb: np.ndarray, *, sides: tuple[int, int, int, int], shape: tuple[int, ...]) -> np.ndarray:
    """What of a picture (H, W, 3) lies within top, bottom, left, right of one of another shape (h, w)."""
    down, across = rgb.shape[0] / shape[0], rgb.shape[1] / shape[1]
    top, bottom, left, right = (
        max(0, round(side * scale)) for side, scale in zip(sides, (down, down, across, across), strict=True)
    )
    return np.ascontiguousarray(rgb[top:bottom, left:right])
