"""What to ask of a service that does not make every size: the nearest it offers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

LARGEST_TERM = 32  # of a ratio written as two numbers


def nearest_ratio(width: int, height: int, offered: Iterable[str]) -> str:
    """The "W:H" among those offered whose shape is nearest to width by height, by the logarithm of the ratio."""

    def distance(ratio: str) -> float:
        w, h = ratio.split(":")
        return abs(math.log(width / height) - math.log(int(w) / int(h)))

    return min(offered, key=distance)


def free_ratio(width: int, height: int, lowest: Fraction, highest: Fraction) -> str:
    """The shape as "W:H" in small numbers, between two bounds and within 1.6 %."""
    shape = min(max(Fraction(width, height), lowest), highest)
    if shape < 1:
        turned = (1 / shape).limit_denominator(LARGEST_TERM)
        return f"{turned.denominator}:{turned.numerator}"
    shape = shape.limit_denominator(LARGEST_TERM)
    return f"{shape.numerator}:{shape.denominator}"


def nearest_size(width: int, height: int, offered: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The size among those offered of the nearest shape; among equal shapes, that of the nearest area."""

    def distance(size: tuple[int, int]) -> tuple[float, float]:
        w, h = size
        shape = abs(math.log(width / height) - math.log(w / h))
        return round(shape, 9), abs(math.log(width * height) - math.log(w * h))

    return min(offered, key=distance)


def snapped(width: int, height: int, *, multiple: int, low: int, high: int, limit_pixels: int) -> tuple[int, int]:
    """The size of nearly this shape with sides that are multiples, within [low, high], of at most limit_pixels."""
    scale = min(1.0, math.sqrt(limit_pixels / (width * height)), high / max(width, height))
    scale = max(scale, low / min(width, height)) if scale == 1.0 else scale
    w, h = (min(max(round(side * scale / multiple) * multiple, low), high) for side in (width, height))
    while w * h > limit_pixels:  # rounding up may pass the limit by a row
        w, h = (w - multiple, h) if w >= h else (w, h - multiple)
    return w, h
