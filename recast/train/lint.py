"""What is wrong with a data set, pair by pair: misplaced by how much, changed where nobody asked, or not to be read.

A model that learns from pairs which do not lie on each other shifts and zooms what it should leave alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from recast.errors import ConfigError, InputError
from recast.train.data import pictures
from recast.train.data.example import Example, Source
from recast.train.data.record import Identified
from recast.world.edits import NOTHING

Verdict = Literal["keep", "report", "drop"]
TILE = 64  # pixels: side of a tile whose displacement is measured; half as many from one tile to the next
TEXTURE = 4.0  # levels: a tile whose standard deviation is less has nothing to be placed by
RESPONSE = 0.25  # of a phase correlation: below it its peak is one of many
AGREES_PX = 0.35  # a tile that moves as the others do, to within this
AGREEING = 0.4  # share of the tiles that must
UNCHANGED = 0.98  # share of a tile outside the mask, for it to be used
NOISE = 1.0  # levels by which pictures may differ that lie on each other
ROUNDS = 10
SETTLED_PX = 0.005
FAR_PX, MOST = 16.0, 0.5
"""Where no mask is known: beyond, it is the subject that was moved; over so much change, nothing tells what stayed."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """From where on a pair is reported, and from where on dropped. Levels are of 255."""

    report_px: float = 0.25  # registration error, root mean square over the picture
    drop_px: float = 0.75
    report_levels: float = 3.0  # mean difference outside what must change
    drop_levels: float = 8.0  # only where a mask says what must change: else it may be a new light
    report_peak_levels: float = 40.0  # 99th percentile of it
    same_levels: float = 8.0  # a pixel that differs by no more is the same
    same_share: float = 1e-4  # a pair of which no more pixels differ is of one picture
    low_levels: float = 24.0  # where no mask is known: what differs by more, and touches what differs by `high_levels`,
    high_levels: float = 64.0  # was changed on purpose
    identity_kinds: tuple[str, ...] = NOTHING  # edits that ask for no change

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name != "identity_kinds" and not value >= 0:
                raise ConfigError(f"{each.name}={value}: a number from 0 accepted")
        for low, high in (("report_px", "drop_px"), ("report_levels", "drop_levels"), ("low_levels", "high_levels")):
            if getattr(self, low) > getattr(self, high):
                raise ConfigError(f"{low}={getattr(self, low)}: up to {high}={getattr(self, high)} accepted")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is known of a pair, and what should become of it. None where a number could not be had."""

    index: int
    id: str
    kind: str = ""
    verdict: Verdict = "keep"
    reasons: tuple[str, ...] = ()
    error_px: float | None = None  # root mean square, over the picture, of how far what should stay has moved
    shift_px: tuple[float, float] | None = None  # of the picture's middle, right and down
    scale: float | None = None  # of the target against its context, 1 if none
    outside_levels: float | None = None  # mean absolute difference outside what must change
    outside_peak_levels: float | None = None  # 99th percentile of it
    changed_share: float | None = None  # of the picture that was changed on purpose: by the mask, or as found


def lint(source: Source, indices: Iterable[int], thresholds: Thresholds | None = None) -> Iterator[Finding]:
    """One finding for each example, in order. Nothing is written and nothing left out: what cannot be read is one."""
    limits = thresholds or Thresholds()
    for index in indices:
        name = source.id(index) if isinstance(source, Identified) else f"#{index}"
        try:
            example = source.example(index)
        except InputError as error:
            yield Finding(index=index, id=name, verdict="drop", reasons=(str(error),))
            continue
        yield examine(example, index, limits)


def kept(findings: Iterable[Finding]) -> list[str]:
    """The ids of those that are not to be dropped: what a loader takes as `only`."""
    return [each.id for each in findings if each.verdict != "drop"]


def examine(example: Example, index: int, limits: Thresholds) -> Finding:
    """The finding of one example that could be read."""
    about: dict[str, Any] = {"index": index, "id": example.id, "kind": example.kind}
    if not example.contexts:
        is_empty = not any(each and each.strip() for each in example.captions)
        return Finding(**about, verdict="drop" if is_empty else "keep", reasons=("empty caption",) if is_empty else ())
    report, drop = [], []
    if not (example.instruction or "").strip():
        drop.append("empty instruction")
    before, after = example.contexts[example.base], example.target
    if before.shape != after.shape:
        came = f"{before.shape[1]}x{before.shape[0]} and {after.shape[1]}x{after.shape[0]}"
        if not pictures.same_aspect((before.shape[1], before.shape[0]), (after.shape[1], after.shape[0])):
            return Finding(**about, verdict="drop", reasons=(*drop, f"shapes differ: {came}"))
        report.append(f"sizes differ: {came}")
        before = pictures.resized(before, after.shape[1], after.shape[0])
    difference = np.abs(before.astype(np.float32) - after).max(2)
    changed = example.mask if example.mask is not None else changed_region(difference, limits)
    placed = registration(before, after, changed if example.mask is not None else None)
    if placed is not None:
        about |= {"error_px": placed.error_px, "shift_px": placed.shift_px, "scale": placed.scale}
        moved = f"misplaced by {placed.error_px:.2f} px"
        if placed.error_px > limits.report_px:
            is_sure = example.mask is not None or (placed.error_px <= FAR_PX and placed.hidden <= MOST)
            (drop if placed.error_px > limits.drop_px and is_sure else report).append(moved)
    about["changed_share"] = float(changed.mean())
    if (difference > limits.same_levels).mean() <= limits.same_share and example.kind not in limits.identity_kinds:
        drop.append("nothing changes")
    outside = difference[~changed]
    if outside.size:
        mean, peak = float(outside.mean()), float(np.percentile(outside, 99))
        about |= {"outside_levels": mean, "outside_peak_levels": peak}
        if mean > limits.report_levels or peak > limits.report_peak_levels:
            what = f"changed by {mean:.1f} levels, {peak:.0f} at worst, where nothing should be"
            (drop if mean > limits.drop_levels and example.mask is not None else report).append(what)
    elif example.mask is None:
        report.append("changed everywhere")
    verdict: Verdict = "drop" if drop else "report" if report else "keep"
    return Finding(**about, verdict=verdict, reasons=(*drop, *report))


def changed_region(difference: np.ndarray, limits: Thresholds) -> np.ndarray:
    """Where a pair was changed on purpose, (H, W) bool: hysteresis on its difference (H, W) float32, then 3 px around.

    Parts that differ by more than `low_levels`, and somewhere by more than `high_levels`; not thin seams of edges,
    which a misplaced pair has everywhere.
    """
    low = cv2.morphologyEx((difference > limits.low_levels).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, parts = cv2.connectedComponents(low)
    strong = np.zeros(count, bool)
    strong[np.unique(parts[difference > limits.high_levels])] = True
    strong[0] = False
    found: np.ndarray = cv2.dilate(strong[parts].astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return found


class Placed(NamedTuple):
    """Where a target lies on its context: the similarity that takes the one to the other."""

    error_px: float
    shift_px: tuple[float, float]
    scale: float
    hidden: float  # share of the picture that was not looked at: by the mask, or what differs where the tiles meet


def registration(before: np.ndarray, after: np.ndarray, changed: np.ndarray | None = None) -> Placed | None:
    """How far what should stay has moved from `before` to `after`, both (H, W, 3) uint8; None if it cannot be told.

    changed: (H, W) bool, what is not looked at. Tiles are brought together by phase correlation (Kuglin and Hines
    1975), and a similarity is fitted to those that agree (RANSAC over all pairs of them), so that those that were
    changed do not count. What these tiles show is then brought together to a fraction of a pixel, by least squares on
    its gradients (Lucas and Kanade 1981) with Tukey's weights.
    """
    one, other = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32) for each in (before, after))
    hidden = np.zeros(one.shape, np.uint8) if changed is None else changed.astype(np.uint8)
    best = _nearly(one, other, hidden, 0j)
    window = cv2.createHanningWindow((one.shape[1], one.shape[0]), cv2.CV_32F)
    means = float(one.mean()), float(other.mean())
    (dx, dy), response = cv2.phaseCorrelate(one - means[0], other - means[1], window)  # it writes into what it is given
    if response >= RESPONSE and max(abs(dx), abs(dy)) > 0.5:  # a tile sees not far, and that not well
        far = _nearly(one, other, hidden, complex(round(dx), round(dy)))
        best = far if far is not None and (best is None or far[2] > best[2] + 1) else best
    if best is None:
        return None
    if changed is None:  # what does not meet where the tiles do
        apart = abs(one - _moved_back(other, hidden, best[0], best[1])[0])
        hidden = changed_region(apart, Thresholds()).astype(np.uint8)
    shift, turned = _exactly(one, other, hidden, *best)
    spread = (one.shape[0] ** 2 + one.shape[1] ** 2) / 12  # mean square distance from the middle
    error = math.sqrt(abs(shift) ** 2 + abs(turned) ** 2 * spread)
    return Placed(error, (shift.real, shift.imag), 1 + turned.real, float((hidden > 0).mean()))


def _nearly(
    one: np.ndarray, other: np.ndarray, hidden: np.ndarray, start: complex
) -> tuple[complex, complex, int, np.ndarray] | None:
    """The similarity on which tiles agree, from a first guess of the shift; how many do, and where they lie.

    Points and moves are complex numbers, x + iy from the picture's middle: a point z moves by shift + turned z, where
    the real part of `turned` is the zoom and its imaginary part the angle.
    """
    height, width = one.shape
    side = min(TILE, height, width)
    window = cv2.createHanningWindow((side, side), cv2.CV_32F)
    there, covered = _moved_back(other, hidden, start, 0j)
    tiles, points, moves = [], [], []
    for top in _starts(height, side):
        for left in _starts(width, side):
            tile = (slice(top, top + side), slice(left, left + side))
            if covered[tile].mean() > 1 - UNCHANGED or min(one[tile].std(), there[tile].std()) < TEXTURE:
                continue
            here, moved = (each[tile] - each[tile].mean() for each in (one, there))  # else the window correlates
            (dx, dy), response = cv2.phaseCorrelate(here, moved, window)
            if response >= RESPONSE and max(abs(dx), abs(dy)) < side / 4:
                tiles.append(tile)
                points.append(complex(left + side / 2 - width / 2, top + side / 2 - height / 2))
                moves.append(complex(dx, dy))
    if not tiles:
        return None
    fitted = _fitted(np.array(points), np.array(moves))
    if fitted is None:
        return None
    shift, turned, agree = fitted
    where = np.zeros(one.shape, bool)
    for tile, is_in in zip(tiles, agree, strict=True):
        where[tile] |= bool(is_in)
    return start + shift, turned, int(agree.sum()), where


def _exactly(
    one: np.ndarray,
    other: np.ndarray,
    hidden: np.ndarray,
    shift: complex,
    turned: complex,
    count: int,
    where: np.ndarray,
) -> tuple[complex, complex]:
    """The similarity that brings together what is seen of two pictures in `where`, from one that nearly does.

    A change of brightness and contrast is fitted with it. Where fewer than four tiles agree, only the shift is.
    """
    height, width = one.shape
    one, other = (cv2.GaussianBlur(each, (0, 0), 1.0) for each in (one, other))
    if hidden.any():  # the blur has carried what changed a little further
        hidden = cv2.dilate(hidden, np.ones((13, 13), np.uint8))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    for turn in range(ROUNDS):
        there, covered = _moved_back(other, hidden, shift, turned)
        seen = where & (covered == 0)
        if seen.sum() < TILE:
            break
        down, right = np.gradient((one + there) / 2)
        flat = [right, down, right * x + down * y, down * x - right * y] if count >= 4 else [right, down]
        columns = np.stack([each[seen] for each in (*flat, there, np.ones_like(there))], 1).astype(np.float64)
        apart = (one - there)[seen].astype(np.float64)
        usual = NOISE + max(1.5 / 2**turn, 0.25) * np.hypot(right, down)[seen]  # of a pair so far apart, in pixels
        weights = np.clip(1 - ((apart - np.median(apart)) / (2 * usual)) ** 2, 0, None) ** 2
        products = columns.T @ (columns * weights[:, None])
        steps = np.linalg.lstsq(products, columns.T @ (apart * weights), rcond=1e-12)[0]
        step, twist = complex(steps[0], steps[1]), complex(steps[2], steps[3]) if count >= 4 else 0j
        shift, turned = shift + step, turned + twist
        if abs(step) + abs(twist) * width / 2 < SETTLED_PX:
            break
    return shift, turned


def _moved_back(
    other: np.ndarray, hidden: np.ndarray, shift: complex, turned: complex
) -> tuple[np.ndarray, np.ndarray]:
    """The target where it would lie without that similarity, and what of both pictures is not looked at."""
    if shift == 0 and turned == 0:
        return other, hidden
    height, width = other.shape
    middle = complex((width - 1) / 2, (height - 1) / 2)
    whole = 1 + turned
    origin = middle + shift - whole * middle
    matrix = np.array([[whole.real, -whole.imag, origin.real], [whole.imag, whole.real, origin.imag]])
    there = cv2.warpAffine(
        other, matrix, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
    )
    moved = cv2.warpAffine(
        hidden, matrix, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderValue=1
    )
    return there, np.maximum(moved, hidden)


def _fitted(z: np.ndarray, moves: np.ndarray) -> tuple[complex, complex, np.ndarray] | None:
    """(shift, turned, which tiles agree): what most tiles at z (n,) agree on, by least squares of these."""
    near = abs(moves - complex(np.median(moves.real), np.median(moves.imag))) < AGREES_PX
    i, j = np.nonzero(np.tril(abs(z[:, None] - z[None]) >= TILE))
    if len(i):
        turned = (moves[i] - moves[j]) / (z[i] - z[j])
        shift = moves[i] - turned * z[i]
        agreeing = abs(shift[:, None] + turned[:, None] * z[None] - moves[None]) < AGREES_PX
        most = agreeing[int(agreeing.sum(1).argmax())]
        near = most if most.sum() > near.sum() + 1 else near
    count = int(near.sum())
    if count < max(1, math.ceil(AGREEING * len(z))):
        return None
    at, by = z[near], moves[near]
    if count < 4 or abs(at - at.mean()).max() < TILE / 2:
        return complex(np.median(by.real), np.median(by.imag)), 0j, near
    apart = at - at.mean()
    turned_by = complex((apart.conj() * by).sum() / (abs(apart) ** 2).sum())
    return complex(by.mean() - turned_by * at.mean()), turned_by, near


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along a side, the last flush with its end."""
    return sorted({*range(0, length - side + 1, max(side // 2, 1)), length - side})
