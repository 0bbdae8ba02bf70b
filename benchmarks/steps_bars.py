"""What a few-step model is held to, from the scored pictures of it and of its teacher: pure functions of samples.

The bars, in points of a hundred where they are shares:
within 3      of the teacher at its most steps, in every column and category
better        than the teacher at 8 steps, over all categories
evaluations   at least 12 times fewer of the network
time          at least 10 times less in the denoising stage, item by item
diversity     of the seeds of an item at least 0.9 of the teacher's, on whole pictures and inside what was to change

A bar is met or missed if the whole interval says so, of five base pictures or more; else it is open, and more items or
seeds would decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from recast.quality.distributions import kernel_distance, ratio, scaled, spread
from recast.quality.statistics import FEWEST, Interval, cluster_bootstrap, paired_difference, wilson

COLUMNS = ("instruction", "consistency", "kept", "text")
WITHIN, FEWER, FASTER, DIVERSE = -0.03, 12.0, 10.0, 0.9
LEAST = 3
"""Base pictures that a distance of distributions needs."""
UNKNOWN = Interval(math.nan, None, None)
Verdict = Literal["met", "missed", "open"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture, or the failure to make one, and what was found. draw: which of an item's seeds.

    inside: features of the picture where it may differ from the source, None where it may not; see `steps_quality`.
    """

    item: str
    base: str
    category: str
    draw: int
    scores: Mapping[str, float]  # of those that it counts in: instruction, consistency, kept
    evaluations: int | None = None
    seconds: float | None = None  # of the denoising stage
    features: np.ndarray | None = None
    inside: np.ndarray | None = None

    def value(self, column: str) -> float | None:
        """Its number in a column; None where it does not count in it."""
        if column == "text":
            return self.scores.get("instruction") if self.category == "text" else None
        return self.scores.get(column)


@dataclass(frozen=True)
class Bar:
    """One thing that was asked, what was found, and whether that is enough. is_strict: the bound itself is not."""

    name: str
    found: Interval
    bound: float
    is_strict: bool = False

    @property
    def verdict(self) -> Verdict:
        low, high = self.found.low, self.found.high
        if low is None or high is None or not math.isfinite(self.found.value):
            return "open"
        if low > self.bound or (low == self.bound and not self.is_strict):
            return "met"
        return "missed" if high < self.bound or (high == self.bound and self.is_strict) else "open"


def mean(samples: Sequence[Sample], column: str, category: str | None = None) -> Interval | None:
    """The macro mean over categories of a column, or the mean of one of them; None where nothing counts in it."""
    chosen = [(s, v) for s in samples if category in (None, s.category) and (v := s.value(column)) is not None]
    if not chosen:
        return None
    bases, values = [s.base for s, _ in chosen], [v for _, v in chosen]
    found = cluster_bootstrap(values, bases, [s.category for s, _ in chosen] if category is None else None)
    if found.low is not None and found.low == found.high:  # all alike, which is no proof
        count = len(set(bases))
        ends = wilson(found.value * count, count) if found.value in (0, 1) else (None, None)
        return Interval(found.value, *ends)
    return found


def difference(a: Sequence[Sample], b: Sequence[Sample], column: str, category: str | None = None) -> Interval | None:
    """The mean of a - b over the items and draws that both have; None where there are none.

    Without an interval of fewer than `FEWEST` base pictures, and where all are alike, which is no proof.
    """
    theirs = {(s.item, s.draw): s.value(column) for s in b}
    both = [
        (s, v, w)
        for s in a
        if category in (None, s.category)
        and (v := s.value(column)) is not None
        and (w := theirs.get((s.item, s.draw))) is not None
    ]
    if not both:
        return None
    found = paired_difference(
        [v for _, v, _ in both],
        [w for _, _, w in both],
        [s.base for s, _, _ in both],
        [s.category for s, _, _ in both] if category is None else None,
    )
    if found.low == found.high:
        return Interval(found.value, None, None)
    return _enough(Interval(*found[:3]), [s.base for s, _, _ in both])


def kid(samples: Sequence[Sample], answers: Sequence[Sample]) -> Interval | None:
    """KID to the right answers, on the features' scale there; None with too few base pictures."""
    made = [s for s in samples if s.features is not None]
    right = [s for s in answers if s.features is not None]
    if len({s.base for s in made} & {s.base for s in right}) < LEAST:
        return None
    like = np.stack([s.features for s in right])  # type: ignore[misc]
    features = scaled(np.stack([s.features for s in made]), like)  # type: ignore[misc]
    return kernel_distance(features, scaled(like, like), [s.base for s in made], [s.base for s in right])


def spreads(samples: Sequence[Sample], answers: Sequence[Sample]) -> dict[str, float]:
    """How much the draws of each item differ, by item, on the features' scale in the right answers.

    Of items that have two pictures or more; of none where there are no right answers.
    """
    if all(s.features is None for s in answers):
        return {}
    like = np.stack([s.features for s in answers if s.features is not None])
    by_item: dict[str, list[np.ndarray]] = {}
    for s in samples:
        if s.features is not None:
            by_item.setdefault(s.item, []).append(s.features)
    return {item: spread(scaled(np.stack(found), like)) for item, found in by_item.items() if len(found) > 1}


def diversity(samples: Sequence[Sample], answers: Sequence[Sample]) -> Interval | None:
    """The mean of `spreads` over items."""
    found, base = spreads(samples, answers), {s.item: s.base for s in samples}
    return cluster_bootstrap(list(found.values()), [base[item] for item in found]) if found else None


def inside(samples: Sequence[Sample]) -> list[Sample]:
    """The same samples with the features of what lies inside the region that was to change, for the same measures."""
    return [replace(s, features=s.inside) for s in samples]


def bars(
    student: Sequence[Sample], teacher: Sequence[Sample], at_8: Sequence[Sample] | None, answers: Sequence[Sample]
) -> list[Bar]:
    """Every bar for a student's samples, beside its teacher's at most steps and at 8; what cannot be said is nan."""
    categories = list(dict.fromkeys(s.category for s in teacher))
    found = []
    for column in COLUMNS[:3]:
        for category in categories:
            apart = difference(student, teacher, column, category)
            if apart is not None:
                found.append(Bar(f"within 3: {column}, {category}", apart, WITHIN))
    for column in COLUMNS:
        apart = None if at_8 is None else difference(student, at_8, column)
        found.append(Bar(f"better: {column} than the teacher at 8", apart or UNKNOWN, 0.0, is_strict=True))
    found.append(Bar("evaluations: fewer by", _times(student, teacher, lambda s: s.evaluations), FEWER))
    found.append(Bar("time: less by", _times(student, teacher, lambda s: s.seconds), FASTER))
    share = _diversity_share(student, teacher, answers)
    share_inside = _diversity_share(inside(student), inside(teacher), answers)
    found.append(Bar("diversity: share of the teacher's", share, DIVERSE))
    found.append(Bar("diversity inside: share of the teacher's", share_inside, DIVERSE))
    return found


def _diversity_share(student: Sequence[Sample], teacher: Sequence[Sample], answers: Sequence[Sample]) -> Interval:
    """The mean of a student's spreads over that of its teacher's, of the items where both have one."""
    mine, theirs = spreads(student, answers), spreads(teacher, answers)
    both, base = [item for item in mine if item in theirs], {s.item: s.base for s in student}
    if sum(theirs[item] for item in both) == 0:
        return UNKNOWN
    bases = [base[item] for item in both]
    return _enough(ratio([mine[i] for i in both], [theirs[i] for i in both], bases), bases)


def _times(student: Sequence[Sample], teacher: Sequence[Sample], number: Callable[[Sample], float | None]) -> Interval:
    """By what factor a number of the teacher is larger, item by item: the geometric mean of the factors."""
    theirs = {(s.item, s.draw): number(s) for s in teacher}
    both = [(s, a, b) for s in student if (a := number(s)) and (b := theirs.get((s.item, s.draw)))]
    if not both:
        return UNKNOWN
    bases = [s.base for s, _, _ in both]
    found = _enough(cluster_bootstrap([math.log(b / a) for _, a, b in both], bases), bases)
    ends = [None if end is None else math.exp(end) for end in found[1:]]
    return Interval(math.exp(found.value), *ends)


def _enough(found: Interval, bases: Sequence[str]) -> Interval:
    """What was found, without its ends where they come of too few base pictures to be believed."""
    return found if len(set(bases)) >= FEWEST else Interval(found.value, None, None)
