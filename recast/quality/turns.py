"""Chains of edits, each made on the output of the one before: what holds, what was kept, how the picture ages.

A picture is uint8 (H, W, 3) in sRGB. Pure functions. What a turn kept of the first picture is `metrics.kept`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from recast.errors import InputError
from recast.quality.metrics import check_pictures, lab, lab_distance, linear


def instructed_shares(
    requests: Sequence[Mapping[Any, Any]],
    states: Sequence[Mapping[Any, Any]],
    holds: Callable[[Any, Any, Any], bool] = lambda attribute, wanted, found: bool(wanted == found),
) -> np.ndarray:
    """For each turn of a chain the share of all attributes requested so far, at their latest value, that hold: (T,).

    requests: attribute to value, what each turn asks for. states: what was measured after it; an attribute that could
    not be measured is left out, and does not hold. holds(attribute, wanted, found): for tolerances. Where the share is
    1, all requests so far hold.
    """
    if len(requests) != len(states):
        raise InputError(
            f"states: {len(states)} came; {len(requests)} accepted, one a request; fill failures with {{}}"
        )
    wanted: dict[Any, Any] = {}
    shares = []
    for request, state in zip(requests, states, strict=True):
        wanted.update(request)
        if not wanted:
            raise InputError("requests: the first asks for nothing; at least one attribute accepted; leave it out")
        shares.append(np.mean([name in state and holds(name, value, state[name]) for name, value in wanted.items()]))
    return np.array(shares)


def turn_scores(
    instructed: Sequence[float], kept: Sequence[float | None], consistency: Sequence[float] | None = None
) -> np.ndarray:
    """The product of what holds, what was kept and, with a character, its consistency, per turn: (T,) in 0..1.

    The product, not its root: few requests make the first shares coarse, and the mean of a concave function of them
    would seem to rise. None in `kept`, no pixel was left untouched, counts as 1.
    """
    factors = [instructed, [1.0 if share is None else share for share in kept]]
    return np.prod(np.array(factors if consistency is None else [*factors, consistency], float), axis=0)


def stability(scores: np.ndarray) -> dict[str, Any]:
    """What becomes of `turn_scores` (chains, turns) over the turns; failures are 0.

    `stability`: the mean over turns and chains, the headline. `curve`: the mean over chains, per turn. `first`, `last`
    and their `ratio`; `slope` per turn, by least squares; `half_life`: the first turn, from 1, at which the curve has
    fallen to half of the first; None if it never does, or starts at 0.
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 2 or scores.shape[1] < 2 or not scores.size or not np.isfinite(scores).all():
        raise InputError(
            f"scores: {scores.shape} came; finite (chains, turns) of 2 turns or more accepted; failures are 0"
        )
    curve = scores.mean(0)
    turns = np.arange(1, len(curve) + 1)
    fallen = np.flatnonzero(curve <= curve[0] / 2)
    return {
        "stability": float(curve.mean()),
        "curve": curve.tolist(),
        "first": float(curve[0]),
        "last": float(curve[-1]),
        "ratio": float(curve[-1] / curve[0]) if curve[0] else None,
        "slope": float(np.polyfit(turns, curve, 1)[0]),
        "half_life": int(turns[fallen[0]]) if curve[0] and fallen.size else None,
    }


def drift(first: np.ndarray, output: np.ndarray) -> dict[str, float | None]:
    """How a picture has aged against the first of its chain.

    `colour_shift`: mean delta E of both at a 16th of their size, with its signed means `lightness`, `green_red` and
    `blue_yellow`; `sharpness`: the natural log of the ratio of the variances of their Laplacians, negative for blur;
    `chroma`: the ratio of their mean chroma. None where the first picture is flat, or grey.
    """
    check_pictures(first=first, output=output)
    size = tuple(math.ceil(side / 16) for side in first.shape[1::-1])
    small = [lab(cv2.resize(linear(p), size, interpolation=cv2.INTER_AREA)) for p in (output, first)]
    moved = (small[0] - small[1]).mean((0, 1))
    full = [lab(p) for p in (output, first)]
    edges = [float(cv2.Laplacian(p[..., 0], cv2.CV_32F).var()) for p in full]
    chroma = [float(np.hypot(p[..., 1], p[..., 2]).mean()) for p in full]
    return {
        "colour_shift": float(lab_distance(*small).mean()),
        **dict(zip(("lightness", "green_red", "blue_yellow"), map(float, moved), strict=True)),
        "sharpness": math.log(edges[0] / edges[1]) if min(edges) > 1e-6 else None,
        "chroma": chroma[0] / chroma[1] if chroma[1] > 0.5 else None,
    }
