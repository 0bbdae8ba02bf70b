"""Which variant first? Candidates in the order in which they work at the size of a list; the measure is passed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from recast.thumbnails.findings import Finding, is_failed

SEEN_AT_PX = 168
"""Width at which candidates are ranked: in the list beside a video."""
WARNING = 5.0
"""Points that a warning takes."""

Measure = Callable[[np.ndarray], float]
"""A picture (94, 168, 3) uint8 to 0..100, more is better."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is ranked: the flat picture (H, W, 3) uint8, its findings, and its brand score 0..100 where there is one."""

    name: str
    level: str
    rgb: np.ndarray
    findings: Sequence[Finding]
    brand: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """place: from 1; None for one that a check fails. points: how it came to it."""

    name: str
    place: int | None
    points: float


def rank(candidates: Sequence[Candidate], measure: Measure | None = None) -> list[Ranked]:
    """The candidates in their order, best first; those that fail a check come last and have no place.

    points: what `measure` says of the small picture, the mean with the brand score where there is one, less WARNING
    for each warning. Equal ones stay in the order they came in.
    """
    measure = measure or stands_out
    points = {each.name: _points(each, measure) for each in candidates}
    passed = [each for each in candidates if not is_failed(list(each.findings))]
    failed = [each for each in candidates if is_failed(list(each.findings))]
    order = [*sorted(passed, key=lambda each: -points[each.name]), *sorted(failed, key=lambda each: -points[each.name])]
    return [
        Ranked(name=each.name, place=i if i <= len(passed) else None, points=round(points[each.name], 2))
        for i, each in enumerate(order, start=1)
    ]


def shipped(
    ranked: Sequence[Ranked], candidates: Sequence[Candidate], count: int, is_apart: Callable[[str, str], bool]
) -> list[str]:
    """The names of the best `count`, one a level, each far enough from all before it: look-alikes teach nothing.

    is_apart: whether two of them, by name, differ enough to be tested against each other.
    """
    level = {each.name: each.level for each in candidates}
    chosen: dict[str, str] = {}
    for each in ranked:
        if each.place is None or level[each.name] in chosen or len(chosen) == count:
            continue
        if all(is_apart(each.name, other) for other in chosen.values()):
            chosen[level[each.name]] = each.name
    return list(chosen.values())


def small(rgb: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) uint8 as it is met: SEEN_AT_PX wide, averaged by area."""
    height = max(1, round(SEEN_AT_PX * rgb.shape[0] / rgb.shape[1]))
    return cv2.resize(rgb, (SEEN_AT_PX, height), interpolation=cv2.INTER_AREA)


def stands_out(rgb: np.ndarray) -> float:
    """How much a small picture has to look at: contrast of its light and of its colours, 0..100.

    The root mean square contrast of L and the spread of a and b in CIELAB, each against what a strong picture has (30
    and 40): a rough measure, to order pictures that have passed every check, and no promise of clicks.
    """
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    light = float(lab[..., 0].std()) / 30
    colour = float(np.hypot(lab[..., 1].std(), lab[..., 2].std())) / 40
    return 100 * (min(light, 1.0) + min(colour, 1.0)) / 2


def _points(each: Candidate, measure: Measure) -> float:
    value = measure(small(each.rgb))
    if each.brand is not None:
        value = (value + each.brand) / 2
    return value - WARNING * sum(finding.verdict == "warn" for finding in each.findings)
