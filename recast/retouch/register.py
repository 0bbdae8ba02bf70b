"""Where an edit lies on its source: a similarity, a smooth bend, or the statement that it is another framing.

An editor that repaints the whole picture moves it a little: it shifts, zooms, turns. Keypoints find that motion even
where three quarters of the frame have other content; tiles make it exact. Both pictures are seen on one grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from recast.errors import ShapeError
from recast.retouch import keypoints as points
from recast.retouch import phase, residual
from recast.retouch.keypoints import Keypoints, Similarity
from recast.retouch.side import Side
from recast.retouch.thresholds import THRESHOLDS, Registering
from recast.retouch.warp import resample

STILL = np.array([[1.0, 0, 0], [0, 1, 0]])
ELSEWHERE = "seen from elsewhere: a homography fits much better"


@dataclass(frozen=True, eq=False)
class Registration:
    """Where each pixel of the source is found in the edit, both seen on a grid of (width, height) pixels.

    kind: "similarity" (keypoints), "tiles" (phase correlation) or "identity" (no motion found). matrix (2, 3) float64:
    source px to edited px, pixel centres at integers. bend (rows, columns, 2): control points of a cubic B-spline over
    the frame, px, added after the matrix, or None. inliers, inlier_share: keypoints (or tiles) that agree.
    residual_px: the median shift that tiles which show the same thing still have. reason: why this kind, or why it is
    another framing; "" if there is nothing to say. is_new: a part was held, and the rest shows other things.
    """

    kind: str
    matrix: np.ndarray
    bend: np.ndarray | None
    inliers: int
    inlier_share: float
    residual_px: float
    is_reframed: bool
    reason: str
    grid: tuple[int, int]
    thresholds: Registering = field(default=THRESHOLDS.registering, repr=False)
    pair: _Pair | None = field(default=None, repr=False)
    is_new: bool = False

    @property
    def scale(self) -> float:
        """How much larger things are in the edit; 1 is the same."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    @property
    def rotation_deg(self) -> float:
        """How far the edit is turned, in degrees, clockwise as seen (y points down)."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])))

    @property
    def shift(self) -> tuple[float, float]:
        """How far the centre of the frame moves, x and y in px of the grid."""
        centre = (np.array(self.grid) - 1) / 2
        x, y = self.matrix[:, :2] @ centre + self.matrix[:, 2] - centre
        return float(x), float(y)

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves by a quarter of a pixel (`least_px`) anywhere: then warp copies."""
        return self.bend is None and _farthest(self.matrix, self.grid) < self.thresholds.least_px

    @property
    def is_evident(self) -> bool:
        """Whether anything in the two pictures speaks for it: keypoints, tiles, or as many tiles that lie in place."""
        if self.kind != "identity" or self.pair is None or min(self.grid) < self.thresholds.smallest_side:
            return True
        still, textured = self.pair.still(STILL)
        return still >= self.thresholds.least_still * textured

    def warp(
        self,
        edited: np.ndarray,
        *,
        width: int,
        height: int,
        grid: tuple[int, int],
        box: tuple[int, int, int, int] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The edit as it lies on a source of width x height, or on a box x0, y0, x1, y1 of it, in one resampling.

        edited: (H, W) or (H, W, C) of any size, uint8, uint16 or float32. Returns pixels (h, w[, C]) of that type and
        valid (h, w) bool: where the edit shows anything. A box gets the numbers that the whole gets.
        Raises ShapeError for another grid than this registration's, and for a box that is empty or leaves the frame.
        """
        if tuple(grid) != self.grid:
            raise ShapeError(f"grid: {tuple(grid)} came; {self.grid} accepted, the one registered on; register anew")
        x0, y0, x1, y1 = box or (0, 0, width, height)
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ShapeError(f"box: {box} came; x0 < x1 <= {width} and y0 < y1 <= {height} accepted, from 0; clip it")
        if not self.is_identity:
            return resample(edited, self.matrix, self.bend, width=width, height=height, grid=grid, box=box)
        if edited.shape[:2] != (height, width):
            return resample(edited, STILL, None, width=width, height=height, grid=grid, box=box)
        return edited[y0:y1, x0:x1].copy(), np.ones((y1 - y0, x1 - x0), bool)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a report: the motion in words and numbers, the bend as its largest push in px."""
        return {
            "kind": self.kind,
            "scale": round(self.scale, 6),
            "rotation_deg": round(self.rotation_deg, 4),
            "shift_px": [round(v, 3) for v in self.shift],
            "bend_px": 0.0 if self.bend is None else round(float(np.linalg.norm(self.bend, axis=2).max()), 3),
            "matrix": self.matrix.tolist(),
            "bend": None if self.bend is None else self.bend.tolist(),
            "grid": list(self.grid),
            "inliers": self.inliers,
            "inlier_share": round(self.inlier_share, 4),
            "residual_px": round(self.residual_px, 4),
            "is_identity": self.is_identity,
            "is_reframed": self.is_reframed,
            "reason": self.reason,
        }


class _Pair:
    """The two pictures of a registration with what was found in them, so that a second pass finds it again."""

    def __init__(self, source: Side, edited: Side, thresholds: Registering) -> None:
        self.sides, self.thresholds = (source, edited), thresholds
        self.source, self.edited = source.picture, edited.picture
        self.grid = (self.source.shape[1], self.source.shape[0])

    @property
    def keypoints(self) -> tuple[Keypoints, Keypoints]:
        return self.sides[0].keypoints, self.sides[1].keypoints

    @cached_property
    def levels(self) -> list[residual.Level]:
        return residual.paired(self.sides[0].scales, self.sides[1].scales)

    def still(self, matrix: np.ndarray) -> tuple[int, int]:
        """How many tiles show the same thing in both pictures once the edit is moved, and how many show anything."""
        tiles = residual.measure(self.levels[0], matrix, None, self.grid, None, self.thresholds)
        return tiles.still(self.thresholds)

    def is_new(self, free: np.ndarray) -> bool:
        """Whether that part of the edit, (h, w) bool, shows other things than the source does there, or near.

        Few of its tiles show the same, and its keypoints do not agree on a motion beyond doubt, as those of a thing
        that moved farther than tiles see do.
        """
        t = self.thresholds
        if not residual.measure(self.levels[0], STILL, None, self.grid, free, t).shows_other(t):
            return False
        source, edited = (
            each.where(free[each.points.imag.round().astype(int), each.points.real.round().astype(int)])
            for each in self.keypoints
        )
        here, there, _ = _matched(self, source, edited, t.reach * max(self.grid))
        fit = points.agree(here, there, within=t.inlier_px)
        return fit is None or int(fit.inliers.sum()) < t.sure_inliers or float(fit.inliers.mean()) < t.sure_share

    @property
    def lies_still(self) -> bool:
        """Whether what both pictures show lies in place, at full size and at half of it, which sees farther."""
        return all(
            residual.measure(level, STILL, None, self.grid, None, self.thresholds).lies_still(self.thresholds)
            for level in self.levels[-2:]
        )


def register(
    source: np.ndarray | Side,
    edited: np.ndarray,
    *,
    unchanged: np.ndarray | None = None,
    start: Registration | None = None,
    held: np.ndarray | None = None,
    thresholds: Registering = THRESHOLDS.registering,
) -> Registration:
    """Where the edit lies on its source; with `unchanged`, where those pixels lie, from `start` or a first pass.

    source, edited: (h, w, 3) uint8 of one size; for the source, its `Side` too, made with these thresholds. unchanged:
    (h, w) bool. The same pictures give the same numbers on every run and with any number of threads. A second pass
    keeps the first's where it finds nothing better. held: of a first pass, (h, w) bool, what is known to lie in place;
    no motion is sought where the rest shows other things, or what both show lies in place as well.
    Raises ShapeError for pictures that are not uint8 RGB of one size, and for a mask of another size.
    Source: product notes, 3.4 step 2; here tiles, not keypoints, make the motion exact.
    """
    side = source if isinstance(source, Side) else Side(source, thresholds)
    _check(side.picture, edited, unchanged=unchanged, held=held)
    known = None if start is None else start.pair
    if known is not None and known.source is side.picture and known.edited is edited:
        pair = known
    else:
        pair = _Pair(side, Side(edited, thresholds), thresholds)
    if start is None:
        start = _first(pair, held)
        if unchanged is None:
            return start
    is_seen = unchanged is not None and unchanged.mean() >= thresholds.least_unchanged
    if start.kind == "identity" or start.is_reframed or not is_seen:
        return start
    return _settled(start, pair, unchanged)


def accepted(found: Registration) -> Registration:
    """Another framing taken for where the edit lies, if keypoints agree on a similarity; any other as it is."""
    if not found.is_reframed or found.kind != "similarity" or found.pair is None:
        return found
    return _settled(replace(found, is_reframed=False), found.pair, None)


def _first(pair: _Pair, held: np.ndarray | None) -> Registration:
    """Keypoints, else tiles, else none; made exact by tiles. Or another framing."""
    grid, thresholds = pair.grid, pair.thresholds
    if min(grid) < thresholds.smallest_side:
        return _none(pair, f"too small to be moved: under {thresholds.smallest_side} px")
    if np.array_equal(pair.source, pair.edited):
        return _none(pair, "")
    if held is not None and held.any():
        if pair.is_new(~held):
            return replace(_none(pair, "what was held lies in place, and the rest shows other things"), is_new=True)
        if pair.lies_still:
            return _none(pair, "what was held, and what both show, lies in place")
    fit, share, why = _by_keypoints(pair)
    if fit is not None and not why and not _worse(pair, fit.matrix):
        bent = _bent_away(pair, fit)
        if bent is not None:
            return bent
        found = Registration("similarity", fit.matrix, None, int(fit.inliers.sum()), share, 0.0, False, "", grid)
        return _settled(replace(found, thresholds=thresholds, pair=pair), pair, None)
    why = why or "keypoints agree on the motion of a part"
    framing = _another_framing(pair, 0 if fit is None else int(fit.inliers.sum()))
    if framing is not None:
        return framing
    tiles = _by_tiles(pair)
    if tiles is not None and not _worse(pair, tiles[0].matrix):
        matrix, count = tiles[0].matrix, int(tiles[0].inliers.sum())
        found = Registration("tiles", matrix, None, count, tiles[1], 0.0, False, why, grid)
        return _settled(replace(found, thresholds=thresholds, pair=pair), pair, None)
    still, textured = pair.still(STILL)
    is_lost = fit is None or int(fit.inliers.sum()) < thresholds.least_inliers
    if (
        is_lost
        and still < thresholds.least_still * textured
        and min(map(len, pair.keypoints)) >= thresholds.textured_keypoints
    ):
        return _reframed(pair, STILL, 0, 0.0, "nothing of the source is found, though both show enough")
    return _none(pair, f"no motion found: {why}")


def _worse(pair: _Pair, matrix: np.ndarray) -> bool:
    """Whether clearly fewer tiles lie on their like after a motion than without: it is the motion of a part."""
    return pair.still(STILL)[0] > pair.thresholds.still_gain * pair.still(matrix)[0]


def _none(pair: _Pair, reason: str) -> Registration:
    return Registration("identity", STILL, None, 0, 0.0, 0.0, False, reason, pair.grid, pair.thresholds, pair)


def _settled(found: Registration, pair: _Pair, unchanged: np.ndarray | None) -> Registration:
    """The registration made exact by tiles; rounded, so that the last bits of a sum never show."""
    matrix, bend, left = residual.brought(pair.levels, found.matrix, found.bend, pair.grid, unchanged, pair.thresholds)
    bend = None if bend is None else bend.round(6)
    return replace(found, matrix=matrix.round(9), bend=bend, residual_px=round(left, 6))


def _by_keypoints(pair: _Pair) -> tuple[Similarity | None, float, str]:
    """The similarity that keypoints near each other agree on, its share of them, and what speaks against it."""
    thresholds, grid = pair.thresholds, pair.grid
    here, there, pairs = _matched(pair, *pair.keypoints, thresholds.reach * max(grid))
    fit = points.agree(here, there, within=thresholds.inlier_px)
    if fit is None:
        return None, 0.0, f"{len(pairs)} keypoints match, too few"
    share = float(fit.inliers.mean())
    return fit, share, _against(fit, here, grid, thresholds) or _moved_too_far(fit.matrix, grid, thresholds)


def _matched(
    pair: _Pair, source: Keypoints, edited: Keypoints, radius: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pairs = points.matched(source, edited, ratio=pair.thresholds.ratio, radius=radius)
    return source.points[pairs[:, 0]], edited.points[pairs[:, 1]], pairs


def _against(fit: Similarity, here: np.ndarray, grid: tuple[int, int], thresholds: Registering) -> str:
    """What speaks against a similarity of keypoints: "" if enough agree, in enough places."""
    inliers, share = int(fit.inliers.sum()), float(fit.inliers.mean())
    if inliers < thresholds.least_inliers:
        return f"{inliers} keypoints agree, too few"
    if share < thresholds.least_share:
        return f"{share:.0%} of the keypoints agree, too few"
    cells = np.unique((here.imag[fit.inliers] * 4 // grid[1]) * 4 + here.real[fit.inliers] * 4 // grid[0])
    if len(cells) < thresholds.least_cells:
        return f"keypoints agree in {len(cells)} of 16 cells, too few"
    return ""


def _moved_too_far(matrix: np.ndarray, grid: tuple[int, int], thresholds: Registering) -> str:
    """Why a motion is no drift of an editor but another framing; "" if it is a drift."""
    zoom, turn = np.hypot(matrix[0, 0], matrix[1, 0]), np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
    if abs(zoom - 1) > thresholds.most_zoom:
        return f"zoomed by {zoom:.3f}"
    if abs(turn) > thresholds.most_turn_deg:
        return f"turned by {turn:.1f} degrees"
    centre = (np.array(grid) - 1) / 2
    shift = float(np.linalg.norm(matrix[:, :2] @ centre + matrix[:, 2] - centre))
    return f"shifted by {shift:.0f} px" if shift > thresholds.most_shift * max(grid) else ""


def _by_tiles(pair: _Pair) -> tuple[Similarity, float] | None:
    """The similarity that tiles agree on, measured again from there until it holds; None if they do not agree."""
    thresholds, grid = pair.thresholds, pair.grid
    level = pair.levels[-2] if len(pair.levels) > 2 else pair.levels[-1]
    height, width = level.source.shape
    per_px = grid[0] / width
    matrix, fit = STILL, None
    for _ in range(thresholds.tile_rounds):
        edited, _ = resample(level.edited, matrix, None, width=width, height=height, grid=grid)
        tile = max(thresholds.least_phase_px, round(thresholds.phase_px / per_px))
        centres, shifts = phase.tile_shifts(level.source, edited, tile=tile, confident=thresholds.confident)
        here = (centres[:, 0] + 0.5) * per_px - 0.5 + 1j * ((centres[:, 1] + 0.5) * per_px - 0.5)
        moved = here + (shifts[:, 0] + 1j * shifts[:, 1]) * per_px
        there = matrix[0, 0] * moved + matrix[1, 0] * 1j * moved + complex(matrix[0, 2], matrix[1, 2])
        fit = points.agree(here, there, within=thresholds.tile_inlier_px)
        if fit is None:
            return None
        settled = _farthest(_relative(fit.matrix, matrix), grid) < thresholds.inlier_px
        matrix = fit.matrix
        if settled:
            break
    if fit is None:
        return None
    share = float(fit.inliers.mean())
    if fit.inliers.sum() < thresholds.least_tiles or share < thresholds.least_share:
        return None
    still, textured = pair.still(matrix)
    if still < thresholds.least_still * textured:
        return None
    return None if _moved_too_far(matrix, grid, thresholds) else (fit, share)


def _relative(matrix: np.ndarray, before: np.ndarray) -> np.ndarray:
    return STILL + matrix - before


def _bent_away(pair: _Pair, fit: Similarity) -> Registration | None:
    """The edit as seen from elsewhere, though a similarity could be had."""
    if fit.inliers.mean() >= 1 / pair.thresholds.much_better:
        return None
    here, there, _ = _matched(pair, *pair.keypoints, pair.thresholds.reach * max(pair.grid))
    return _from_elsewhere(pair, here, there, fit, int(fit.inliers.sum()))


def _from_elsewhere(
    pair: _Pair, here: np.ndarray, there: np.ndarray, fit: Similarity | None, known: int
) -> Registration | None:
    """Another view, if a homography explains many more matches than `known`, and moves them farther than a bend."""
    thresholds = pair.thresholds
    count, matrix = points.perspective(here, there, within=thresholds.inlier_px)
    enough = max(thresholds.least_inliers, thresholds.much_better * known, thresholds.least_share * len(here))
    if matrix is None or count < enough:
        return None
    if fit is not None:
        x, y, z = matrix @ np.stack([here.real, here.imag, np.ones(len(here))])
        off = np.abs((x + 1j * y) / z - (fit.a * here + fit.b))[np.abs((x + 1j * y) / z - there) < thresholds.inlier_px]
        if np.percentile(off, 95) <= 2 * thresholds.bend_most_px:
            return None
    return _reframed(pair, STILL, count, count / len(here), ELSEWHERE)


def _another_framing(pair: _Pair, near: int) -> Registration | None:
    """The edit mirrored, seen from elsewhere, zoomed, turned or moved away, if keypoints anywhere say so.

    near: how many keypoints agree on a small motion; a mirror image or a homography has to explain many more.
    """
    thresholds, grid = pair.thresholds, pair.grid
    source, edited = pair.keypoints
    here, there, _ = _matched(pair, source, edited, None)
    fit = points.agree(here, there, within=thresholds.inlier_px)
    known = max(near, 0 if fit is None else int(fit.inliers.sum()))
    enough = max(thresholds.least_inliers, thresholds.much_better * known)
    from_here, from_there, _ = _matched(pair, source, pair.sides[1].mirrored, None)
    mirrored = points.agree(from_here, from_there, within=thresholds.inlier_px)
    if (
        mirrored is not None
        and mirrored.inliers.sum() >= enough
        and not _against(mirrored, from_here, grid, thresholds)
    ):
        return _reframed(pair, STILL, int(mirrored.inliers.sum()), float(mirrored.inliers.mean()), "mirrored")
    bent = _from_elsewhere(pair, here, there, fit, known)
    if bent is not None:
        return bent
    if fit is None or _against(fit, here, grid, thresholds) or _worse(pair, fit.matrix):
        return None
    why = _moved_too_far(fit.matrix, grid, thresholds)
    return _reframed(pair, fit.matrix, known, float(fit.inliers.mean()), why) if why else None


def _reframed(pair: _Pair, matrix: np.ndarray, inliers: int, share: float, reason: str) -> Registration:
    kind = "identity" if matrix is STILL else "similarity"
    return Registration(kind, matrix, None, inliers, share, 0.0, True, reason, pair.grid, pair.thresholds, pair)


def _check(source: np.ndarray, edited: np.ndarray, **masks: np.ndarray | None) -> None:
    for name, picture in (("source", source), ("edited", edited)):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            came = f"{picture.dtype} {picture.shape}"
            raise ShapeError(f"{name}: {came} came; uint8 (h, w, 3) accepted, with a pixel at least; convert it")
    if source.shape != edited.shape:
        came = f"{edited.shape[1]}x{edited.shape[0]}"
        raise ShapeError(f"edited: {came} came; {source.shape[1]}x{source.shape[0]} accepted, as source; resize it")
    for name, mask in masks.items():
        if mask is not None and (mask.dtype != bool or mask.shape != source.shape[:2]):
            came = f"{mask.dtype} {mask.shape}"
            raise ShapeError(f"{name}: {came} came; bool {source.shape[:2]} accepted, as source; make it so")


def _farthest(matrix: np.ndarray, grid: tuple[int, int]) -> float:
    """How far the corner of the frame that moves most is moved, in grid pixels."""
    w, h = grid[0] - 1.0, grid[1] - 1.0
    corners = np.array([[0, 0], [w, 0], [0, h], [w, h]])
    return float(np.linalg.norm(corners @ matrix[:, :2].T + matrix[:, 2] - corners, axis=1).max())
