"""The colours of pictures as people see them: a few, how much of what draws the eye each covers, and how far apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from recast.pixels.lab import ciede2000, lab

WORKING_PIXELS = 160 * 90
"""Pictures are looked at this small: flat areas stay, noise and compression go."""
SEEDS = 16
ROUNDS = 12
MERGED = 7.0
"""CIEDE2000 below which two clusters are one colour of a palette."""
LEAST_SHARE = 0.015
CELLS = 8.0
"""Units of CIELAB: the side of a cell of colours that move together."""


@dataclass(frozen=True, eq=False)
class Swatch:
    """One colour. lab: CIELAB (3,). share: of the salient area, 0..1. spread: 90th percentile of CIEDE2000 in it."""

    lab: np.ndarray
    share: float
    spread: float

    @property
    def hex(self) -> str:
        return to_hex(self.lab)


@dataclass(frozen=True, eq=False)
class Colours:
    """What a picture is made of: CIELAB colours (n, 3) float32 and weights (n,) that sum to 1, larger where salient."""

    lab: np.ndarray
    weights: np.ndarray


def colours(rgb: np.ndarray) -> Colours:
    """The colours of a picture (H, W, 3) uint8. Half of the weight is area, half is how far a colour stands out.

    How far: the distance of a pixel, slightly blurred, to the mean colour. Source: Achanta, Hemami, Estrada,
    Suesstrunk 2009, Frequency-tuned Salient Region Detection, equation 4.
    """
    seen = lab(working(rgb))
    away = np.sqrt(((cv2.GaussianBlur(seen, (5, 5), 1.0) - seen.mean((0, 1))) ** 2).sum(-1)).ravel().astype(np.float64)
    weights = np.full(away.size, 1 / away.size)
    if away.sum() > 0:
        weights = (weights + away / away.sum()) / 2
    return Colours(seen.reshape(-1, 3), weights)


def working(rgb: np.ndarray, pixels: int = WORKING_PIXELS) -> np.ndarray:
    """A picture (H, W, 3) uint8 of the same shape, averaged down to about so many pixels."""
    height, width = rgb.shape[:2]
    scale = (pixels / (width * height)) ** 0.5
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))


def palette(pictures: Sequence[Colours], *, most: int = 8) -> tuple[Swatch, ...]:
    """The main colours of pictures that count alike, the largest share first; at most `most`, shares sum to 1.

    Weighted k-means in CIELAB from far-apart beginnings, then clusters closer than MERGED in CIEDE2000 become one: the
    same pictures give the same palette.
    """
    points, weights = _binned(pictures)
    centers = _kmeans(points, weights)
    owner = _nearest(points, centers)
    shares = np.bincount(owner, weights, len(centers))
    centers, shares, owner = _merged(centers, shares, owner)
    order = np.argsort(-shares, kind="stable")[:most]
    order = order[shares[order] >= LEAST_SHARE]
    total = shares[order].sum()
    made = []
    for index in order:
        inside = owner == index
        away = distances(points[inside], centers[index][None])[:, 0]
        made.append(Swatch(centers[index], float(shares[index] / total), _quantile(away, weights[inside], 0.9)))
    return tuple(made)


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """CIEDE2000 (n, m) between CIELAB colours (n, 3) and (m, 3)."""
    shape = (len(first), len(second), 3)
    a = np.ascontiguousarray(np.broadcast_to(first[:, None].astype(np.float32), shape))
    b = np.ascontiguousarray(np.broadcast_to(second[None].astype(np.float32), shape))
    return ciede2000(a, b)


def covered(seen: Colours, lab_colours: np.ndarray, tolerances: np.ndarray) -> float:
    """The share, 0..1, of a picture's salient area that lies within tolerance of any colour (m, 3).

    Beyond the tolerance a pixel's part falls off and ends at twice the tolerance, so that no share jumps with noise.
    """
    away = distances(seen.lab, lab_colours) / tolerances
    return float((np.clip(2 - away, 0, 1).max(1) * seen.weights).sum())


def earth_mover(swatches: Sequence[Swatch], lab_colours: np.ndarray, shares: np.ndarray | None) -> float:
    """How far in CIEDE2000, on average, a picture's colours must move to become a palette (m, 3) with its shares (m,).

    Without shares each colour moves to the nearest. Source: Rubner, Tomasi, Guibas 2000, The Earth Mover's Distance.
    """
    labs, have = np.stack([each.lab for each in swatches]), np.array([each.share for each in swatches])
    return _transport(labs, have, lab_colours, shares)


def moved(seen: Colours, lab_colours: np.ndarray, shares: np.ndarray | None) -> float:
    """`earth_mover` of all of a picture's colours, not of the few main ones: no colour joins another or is left out
    as pixels change a little. Colours are taken together in CELLS, each by its mean.
    """
    labs, have = _binned([seen], CELLS)
    return _transport(labs, have, lab_colours, shares)


def _transport(labs: np.ndarray, have: np.ndarray, lab_colours: np.ndarray, shares: np.ndarray | None) -> float:
    """The least mean CIEDE2000 that takes colours (n, 3) of weights (n,) to colours (m, 3) of weights (m,)."""
    cost = distances(labs, lab_colours)
    have = np.asarray(have / have.sum(), np.float32)
    if shares is None:
        return float((cost.min(1) * have).sum())
    want = np.asarray(shares, np.float32)
    made = cv2.EMD(have[:, None], (want / want.sum())[:, None], cv2.DIST_USER, cost=cost.astype(np.float32))
    return float(made[0])


def to_lab(hex_colour: str) -> np.ndarray:
    """CIELAB (3,) of "#RRGGBB"."""
    levels = np.array([[[int(hex_colour[i : i + 2], 16) for i in (1, 3, 5)]]], np.uint8)
    return np.asarray(lab(levels)[0, 0])


def to_hex(colour: np.ndarray) -> str:
    """The "#RRGGBB" nearest to a CIELAB colour (3,)."""
    levels = cv2.cvtColor(colour.astype(np.float32)[None, None], cv2.COLOR_Lab2RGB)[0, 0]
    red, green, blue = np.clip(np.rint(levels * 255), 0, 255).astype(int)
    return f"#{red:02X}{green:02X}{blue:02X}"


def _binned(pictures: Sequence[Colours], cell: float = 4) -> tuple[np.ndarray, np.ndarray]:
    """Colours in cells of a few units of CIELAB: mean colours (n, 3) and weights (n,), each picture the same in all."""
    points = np.concatenate([each.lab for each in pictures]).astype(np.float64)
    weights = np.concatenate([each.weights for each in pictures]) / len(pictures)
    cells = np.floor(points / cell).astype(np.int64) + 64
    _, owner = np.unique(cells @ np.array([1 << 20, 1 << 10, 1]), return_inverse=True)
    total = np.bincount(owner, weights)
    means = np.stack([np.bincount(owner, weights * points[:, i]) for i in range(3)], 1) / total[:, None]
    return means, total


def _kmeans(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Centers (k, 3): the heaviest point first, then each time the one with the most weight far from all."""
    centers = points[[int(weights.argmax())]]
    away = ((points - centers[0]) ** 2).sum(1)
    while len(centers) < min(SEEDS, len(points)) and away.max() > 0:
        centers = np.vstack([centers, points[int((away * weights).argmax())]])
        away = np.minimum(away, ((points - centers[-1]) ** 2).sum(1))
    for _ in range(ROUNDS):
        owner = _nearest(points, centers)
        total = np.bincount(owner, weights, len(centers))
        sums = np.stack([np.bincount(owner, weights * points[:, i], len(centers)) for i in range(3)], 1)
        centers = np.where(total[:, None] > 0, sums / np.maximum(total, 1e-12)[:, None], centers)
    return centers


def _nearest(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    squares = (points**2).sum(1)[:, None] - 2 * points @ centers.T + (centers**2).sum(1)
    return np.asarray(squares.argmin(1))


def _merged(centers: np.ndarray, shares: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The closest two become one, again and again, until all are MERGED apart."""
    centers, shares, owner = centers.copy(), shares.copy(), owner.copy()
    while (shares > 0).sum() > 1:
        alive = np.flatnonzero(shares > 0)
        away = distances(centers[alive], centers[alive]) + np.diag(np.full(len(alive), np.inf))
        i, j = np.unravel_index(int(away.argmin()), away.shape)
        if away[i, j] >= MERGED:
            break
        kept, gone = sorted((int(alive[i]), int(alive[j])), key=lambda each: (-shares[each], each))
        both = shares[kept] + shares[gone]
        centers[kept] = (centers[kept] * shares[kept] + centers[gone] * shares[gone]) / both
        shares[kept], shares[gone] = both, 0.0
        owner[owner == gone] = kept
    return centers, shares, owner


def _quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    """The value below which `share` of the weight lies."""
    order = np.argsort(values, kind="stable")
    along = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(along, share * along[-1]).clip(0, len(values) - 1)])
