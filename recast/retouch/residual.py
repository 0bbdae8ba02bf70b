"""How far an edit still lies beside its source, tile by tile; a matrix and a smooth bend that bring it home.

Each tile gives the normal equations of its own shift (Lucas and Kanade 1981): A d = b with A the structure tensor. They
are solved together for one similarity and one cubic B-spline, so that an edge, which knows its shift in one direction
only, still says what it knows. Tiles that no shift explains, and tiles that stand out, weigh little.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from recast.retouch.thresholds import Registering
from recast.retouch.warp import basis, resample

SMALLEST_LEVEL_PX = 48
ALIKE = 0.75, 1.33  # contrasts that count as one; noise and blur of an editor stay within
MOST_GAIN = 5.0
GAIN_TILE_PX, GAIN_TILES = 16, 8
GAIN_SPREAD = 2.0
GAIN_LEAST = 9.0  # mean square, in levels, as of a tile that shows anything in `Registering`
SEEN = 0.05  # of a tile, for it to count


@dataclass(frozen=True, eq=False)
class Level:
    """Two pictures at one scale: source, edited (h, w) float32, smoothed, slow changes of brightness taken out."""

    source: np.ndarray
    edited: np.ndarray


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles of the grid: centres (n, 2) x, y; tensor (n, 2, 2) and pull (n, 2), so that tensor @ shift = pull.

    error, texture (n,): mean squared difference, and mean square of either picture. seen (n,): the share that counted.
    pixels: how many of the level's pixels a tile has.
    """

    centres: np.ndarray
    tensor: np.ndarray
    pull: np.ndarray
    error: np.ndarray
    texture: np.ndarray
    seen: np.ndarray
    pixels: int

    @property
    def shift(self) -> np.ndarray:
        """The shift (n, 2) of each tile alone, in grid px; what it does not know is taken as none."""
        eye = np.eye(2) * (1e-3 * np.trace(self.tensor, axis1=1, axis2=2)[:, None, None] + 1e-9)
        return np.linalg.solve(self.tensor + eye, self.pull[..., None])[..., 0]

    @property
    def unexplained(self) -> np.ndarray:
        """The share (n,) of a tile that differs at its own best shift: 0 the same, 1 and more another content."""
        best = self.error - np.einsum("ni,ni->n", self.pull, self.shift)
        return np.maximum(best, 0) / np.maximum(self.texture, 1e-6)

    @property
    def sharpest(self) -> np.ndarray:
        """How much (n,) a tile's difference grows with the square of a shift across its edges."""
        return np.maximum(np.linalg.eigvalsh(self.tensor)[:, 1], 1e-9)

    def excess(self, shift: np.ndarray) -> np.ndarray:
        """How much more (n,) a tile differs at shifts (n, 2) than at its own: its distance, seen by its tensor."""
        off = shift - self.shift
        return np.maximum(np.einsum("ni,nij,nj->n", off, self.tensor, off), 0)

    def left(self, shift: np.ndarray, trust: np.ndarray) -> float:
        """The mean squared difference at shifts (n, 2), over tiles by trust (n,)."""
        return float((trust * (self.unexplained * self.texture + self.excess(shift))).sum())

    def still(self, thresholds: Registering) -> tuple[int, int]:
        """How many tiles show the same thing in both pictures, in place; and how many show anything at all."""
        textured = (self.texture > thresholds.least_texture) & (self.seen > 0.5)
        near = self.error < thresholds.other * self.texture
        return int((textured & near).sum()), int(textured.sum())

    def shows_other(self, thresholds: Registering) -> bool:
        """Whether the edit shows other things: few of the textured tiles are alike, at any place that a tile sees."""
        textured = (self.texture > thresholds.least_texture) & (self.seen > 0.5)
        same = textured & (self.unexplained < thresholds.other)
        return int(same.sum()) < thresholds.least_same * int(textured.sum())

    def lies_still(self, thresholds: Registering) -> bool:
        """Whether what both pictures show lies in place: enough of the textured tiles, and most that show the same.

        Unlike `still` by each tile's own shift: one of a pixel leaves most tiles alike.
        """
        textured = (self.texture > thresholds.least_texture) & (self.seen > 0.5)
        same = textured & (self.unexplained < thresholds.other)
        near = int((same & (np.linalg.norm(self.shift, axis=1) < thresholds.least_px)).sum())
        return near > 0 and near >= max(thresholds.least_placed * textured.sum(), 0.5 * same.sum())


def levels(source: np.ndarray, edited: np.ndarray) -> list[Level]:
    """The pair (h, w) uint8, grey, at a quarter, half and all of its size, coarsest first."""
    return paired(scales(source), scales(edited))


def scales(grey: np.ndarray) -> list[np.ndarray]:
    """One of the two (h, w) uint8, as it is in every level but for the gain."""
    sizes = [(-(-grey.shape[1] // shrink), -(-grey.shape[0] // shrink)) for shrink in (4, 2, 1)]
    least = [min(grey.shape) >= SMALLEST_LEVEL_PX * shrink for shrink in (4, 2)]
    return [_ready(grey, size) for size, is_large in zip(sizes, (*least, True), strict=True) if is_large]


def paired(source: list[np.ndarray], edited: list[np.ndarray]) -> list[Level]:
    """The levels of two pictures of one size from their `scales`."""
    return [Level(one, other * _gain(one, other)) for one, other in zip(source, edited, strict=True)]


def _gain(source: np.ndarray, edited: np.ndarray) -> np.float32:
    """What brings the edit's contrast to the source's where a new light took it far away; 1 for all smaller drifts.

    The median over tiles in which the source shows anything, where they agree: neither flat ground, whose contrast is
    noise, nor a thing that was put in decides; where most of the frame was replaced, no two tiles are alike.
    """
    height, width = source.shape
    tiles = max(1, width // GAIN_TILE_PX), max(1, height // GAIN_TILE_PX)
    wanted, given = (cv2.resize(np.square(each), tiles, interpolation=cv2.INTER_AREA) for each in (source, edited))
    shows = wanted > GAIN_LEAST
    if np.count_nonzero(shows) < GAIN_TILES:
        return np.float32(1)
    low, ratio, high = (float(v) for v in np.sqrt(np.quantile(given[shows] / wanted[shows], (0.25, 0.5, 0.75))))
    if ALIKE[0] < ratio < ALIKE[1] or high > GAIN_SPREAD * low:
        return np.float32(1)
    return np.float32(min(1 / max(ratio, 1 / MOST_GAIN), MOST_GAIN))


def _ready(grey: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    small = grey if size == grey.shape[::-1] else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 1.0)
    return smooth - cv2.blur(smooth, (17, 17))


def brought(
    pair: list[Level],
    matrix: np.ndarray,
    bend: np.ndarray | None,
    grid: tuple[int, int],
    unchanged: np.ndarray | None,
    thresholds: Registering,
) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Matrix (2, 3), bend (rows, columns, 2) or None, and the median shift in px that is left, from a first guess.

    First the matrix alone. A bend is tried where the tiles foretell that it helps, and kept where it does. The guess
    comes back where nothing better is found: what differs at full size has to become less.
    """
    steps = pair if unchanged is None else pair[-1:]

    def seen(level: Level, matrix: np.ndarray, bend: np.ndarray | None) -> Tiles:
        return measure(level, matrix, bend, grid, unchanged, thresholds)

    best, found = seen(pair[-1], matrix, bend), (matrix, bend)
    if bend is not None:
        end = _descended(steps, matrix, bend, grid, unchanged, thresholds)
        best, found = _better(best, found, seen(pair[-1], *end), end, thresholds)
        return *found, _median_shift(best, thresholds)
    end = _descended(steps, matrix, None, grid, unchanged, thresholds)
    best, found = _better(best, found, seen(pair[-1], *end), end, thresholds)
    flat = np.zeros((5, 8, 2) if grid[0] >= grid[1] else (8, 5, 2))
    if max(_foretold(t, flat, grid, thresholds) for t in (best, seen(steps[0], *found))) >= thresholds.bend_gain / 2:
        end = _descended(steps, found[0], flat, grid, unchanged, thresholds)
        tiles = seen(pair[-1], *end)
        if end[1] is not None and _is_bent(best, tiles, end[0] - found[0], end[1], grid, thresholds):
            best, found = tiles, end
    return *found, _median_shift(best, thresholds)


def _descended(
    steps: list[Level],
    matrix: np.ndarray,
    bend: np.ndarray | None,
    grid: tuple[int, int],
    unchanged: np.ndarray | None,
    thresholds: Registering,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The matrix, and the bend if there is one, moved to where the tiles pull them, level by level."""
    for level in steps:
        for _ in range(thresholds.repeats):
            tiles = measure(level, matrix, bend, grid, unchanged, thresholds)
            step, push = solve(tiles, bend, grid, thresholds)
            matrix = matrix + step
            moved = np.abs(tiles.centres @ step[:, :2].T + step[:, 2]).max()
            if bend is not None:
                bend = _capped(bend + push, thresholds.bend_most_px)
                moved += np.abs(push).max()
            if moved < thresholds.settled_px:
                break
    return matrix, bend


_Found = tuple[np.ndarray, np.ndarray | None]


def _better(before: Tiles, start: _Found, after: Tiles, end: _Found, thresholds: Registering) -> tuple[Tiles, _Found]:
    """The end, if less differs there than at the start, over the tiles that both see, and it is the same place.

    A tile of other content counts no more than `other`. A step as long as no drift has is another match.
    """
    seen = np.minimum(before.seen, after.seen) > SEEN
    if not seen.any():
        return before, start
    texture = np.minimum(before.texture, after.texture)[seen]
    shares = [np.minimum(t.error[seen] / np.maximum(t.texture[seen], 1e-6), thresholds.other) for t in (before, after)]
    is_near = _is_near(after, end[0] - start[0], thresholds)
    return (after, end) if is_near and (texture * shares[1]).sum() < (texture * shares[0]).sum() else (before, start)


def _is_near(tiles: Tiles, step: np.ndarray, thresholds: Registering) -> bool:
    """Whether a step (2, 3) moves no tile that is seen farther than the first guess may have been wrong."""
    moved = np.linalg.norm(tiles.centres @ step[:, :2].T + step[:, 2], axis=1)
    return bool(moved[tiles.seen > SEEN].max(initial=0) <= thresholds.longest_step_px)


def _foretold(tiles: Tiles, flat: np.ndarray, grid: tuple[int, int], thresholds: Registering) -> float:
    """The share of what differs that a bend would take away, as the equations of the tiles have it."""
    step, push = solve(tiles, flat, grid, thresholds)
    shift = tiles.centres @ step[:, :2].T + step[:, 2] + field(push, tiles.centres, grid)
    trust = _trust(tiles, thresholds)
    return 1 - tiles.left(shift, trust) / max(tiles.left(np.zeros_like(shift), trust), 1e-12)


def _is_bent(
    plain: Tiles, bent: Tiles, step: np.ndarray, bend: np.ndarray, grid: tuple[int, int], thresholds: Registering
) -> bool:
    """Whether a bend takes away enough of what differs, moves tiles across their edges, and stands on enough of them.

    step (2, 3): what its matrix has over the plain one.
    """
    trust = _trust(bent, thresholds)
    known = (trust > 0.5) & (bent.texture > thresholds.least_texture)
    if known.sum() < thresholds.least_bend_tiles or not _is_near(bent, step, thresholds):
        return False
    gain = 1 - float((trust * bent.error).sum()) / max(float((trust * plain.error).sum()), 1e-12)
    push = bent.centres @ step[:, :2].T + step[:, 2] + field(bend, bent.centres, grid)
    across = np.einsum("ni,nij,nj->n", push, bent.tensor, push)[known] / bent.sharpest[known]
    return gain >= thresholds.bend_gain and float(np.percentile(across, 90)) >= thresholds.least_px**2


def measure(
    level: Level,
    matrix: np.ndarray,
    bend: np.ndarray | None,
    grid: tuple[int, int],
    unchanged: np.ndarray | None,
    thresholds: Registering,
) -> Tiles:
    """The tiles of a level, with the edit brought to the source by what is known so far.

    unchanged: (gh, gw) bool of the grid, the only pixels to look at, or None for all.
    """
    height, width = level.source.shape
    edited, seen = resample(level.edited, matrix, bend, width=width, height=height, grid=grid)
    if unchanged is not None:
        seen &= cv2.resize(unchanged.astype(np.uint8), (width, height), interpolation=cv2.INTER_AREA) > 0
    weight = seen.astype(np.float32)
    both = level.source + edited
    slope = np.array([[-0.25, 0, 0.25]], np.float32)
    gx = cv2.filter2D(both, -1, slope * (width / grid[0])) * weight
    gy = cv2.filter2D(both, -1, slope.T * (height / grid[1])) * weight
    off = (level.source - edited) * weight
    tile_px = max(thresholds.smallest_tile_px, np.sqrt(width * height) / thresholds.tiles_a_side)
    shape = (max(1, round(width / tile_px)), max(1, round(height / tile_px)))
    across, down = width // shape[0], height // shape[1]
    left, top = (width - across * shape[0]) // 2, (height - down * shape[1]) // 2
    inner = (slice(top, top + down * shape[1]), slice(left, left + across * shape[0]))

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values[inner], shape, interpolation=cv2.INTER_AREA).astype(np.float64).ravel()

    xx, xy, yy, x, y = mean(gx * gx), mean(gx * gy), mean(gy * gy), mean(gx * off), mean(gy * off)
    columns = (left + (np.arange(shape[0]) + 0.5) * across) * (grid[0] / width) - 0.5
    rows = (top + (np.arange(shape[1]) + 0.5) * down) * (grid[1] / height) - 0.5
    return Tiles(
        centres=np.stack([np.tile(columns, shape[1]), np.repeat(rows, shape[0])], 1),
        tensor=np.stack([np.stack([xx, xy], 1), np.stack([xy, yy], 1)], 1),
        pull=np.stack([x, y], 1),
        error=mean(off * off),
        texture=mean((level.source * level.source + edited * edited) * (0.5 * weight)),
        seen=mean(weight),
        pixels=across * down,
    )


def solve(
    tiles: Tiles, bend: np.ndarray | None, grid: tuple[int, int], thresholds: Registering
) -> tuple[np.ndarray, np.ndarray]:
    """What to add to the matrix (2, 3) and to the bend (rows, columns, 2), or to the matrix alone if bend is None.

    Least squares on the tiles' own equations, three times, each time with less weight on tiles that stand out.
    """
    centre = (np.array(grid) - 1) / 2
    reach = float(np.linalg.norm(centre)) or 1.0
    x, y = ((tiles.centres - centre) / reach).T
    one, none = np.ones_like(x), np.zeros_like(x)
    u, v = np.stack([one, x, -y, none], 1), np.stack([none, y, x, one], 1)
    prior, now = np.zeros((4, 4)), np.zeros(4)
    if bend is not None:
        weights = _weights(bend.shape, tiles.centres, grid)
        u = np.hstack([u, weights, np.zeros_like(weights)])
        v = np.hstack([v, np.zeros_like(weights), weights])
        prior = _stiffness(bend.shape, thresholds)
        now = np.concatenate([np.zeros(4), bend[..., 0].ravel(), bend[..., 1].ravel()])
    noise = np.maximum(tiles.unexplained * tiles.texture / np.maximum(tiles.seen, 1e-6), thresholds.least_noise)
    trust = _trust(tiles, thresholds) * tiles.pixels / (thresholds.alike_px * noise)
    found = np.zeros(u.shape[1])
    for _ in range(3):
        shift = np.stack([np.einsum("nk,k->n", u, found), np.einsum("nk,k->n", v, found)], 1)
        apart = tiles.excess(shift) / tiles.sharpest
        info = trust / (1 + apart / thresholds.apart_px**2) ** 2
        a, b = tiles.tensor * info[:, None, None], tiles.pull * info[:, None]
        au, av = a[:, 0, 0, None] * u + a[:, 0, 1, None] * v, a[:, 1, 0, None] * u + a[:, 1, 1, None] * v
        left = np.einsum("nk,nl->kl", u, au) + np.einsum("nk,nl->kl", v, av) + prior
        right = np.einsum("nk,n->k", u, b[:, 0]) + np.einsum("nk,n->k", v, b[:, 1]) - prior @ now
        found = np.linalg.solve(left + np.eye(len(left)) * 1e-6, right)
    turn = np.array([[found[1], -found[2]], [found[2], found[1]]]) / reach
    step = np.hstack([turn, (found[[0, 3]] - turn @ centre)[:, None]])
    push = np.zeros(0) if bend is None else np.moveaxis(found[4:].reshape(2, *bend.shape[:2]), 0, 2)
    return step, push


def field(bend: np.ndarray, points: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The bend (rows, columns, 2) at points (n, 2) of the grid: shifts (n, 2)."""
    return np.einsum("nk,kc->nc", _weights(bend.shape, points, grid), bend.reshape(-1, 2))


def _weights(shape: tuple[int, ...], points: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    down, across = basis(points[:, 1], grid[1], shape[0]), basis(points[:, 0], grid[0], shape[1])
    return (down[:, :, None] * across[:, None, :]).reshape(len(points), -1)


def _stiffness(shape: tuple[int, ...], thresholds: Registering) -> np.ndarray:
    """The prior on the 4 numbers of the similarity, which has none, and on all control points: flat and small."""
    rows, columns = shape[:2]
    count = rows * columns
    bends = []
    for across, down in ((2, 0), (0, 2), (1, 1)):
        a = np.diff(np.eye(columns), n=across, axis=0)
        d = np.diff(np.eye(rows), n=down, axis=0)
        bends.append(np.kron(d, a) * (np.sqrt(2) if across == down else 1))
    second = np.concatenate(bends)
    one = second.T @ second / thresholds.curve_px**2 + np.eye(count) / thresholds.bend_px**2
    whole = np.zeros((4 + 2 * count, 4 + 2 * count))
    whole[4 : 4 + count, 4 : 4 + count] = whole[4 + count :, 4 + count :] = one
    return whole


def _capped(bend: np.ndarray, most_px: float) -> np.ndarray:
    length = np.linalg.norm(bend, axis=2, keepdims=True)
    return bend * np.minimum(1, most_px / np.maximum(length, 1e-9))


def _trust(tiles: Tiles, thresholds: Registering) -> np.ndarray:
    """How far (n,) a tile shows the same thing in both pictures: 1 the same, 0 another content."""
    return np.maximum(0, 1 - (tiles.unexplained / thresholds.other) ** 2) ** 2 * (tiles.seen > SEEN)


def _median_shift(tiles: Tiles, thresholds: Registering) -> float:
    known = _trust(tiles, thresholds) * np.sqrt(np.maximum(np.linalg.eigvalsh(tiles.tensor)[:, 0], 0)) > 0.5
    return float(np.median(np.linalg.norm(tiles.shift[known], axis=1))) if known.any() else 0.0
