"""Dead leaves: shapes of every size that hide one another, as the things of the world do in a photograph.

Source: Lee, Mumford & Huang 2001, "Occlusion models for natural images", section 3: sizes with density r^-3, drawn one
over the other, give the spectra and the heavy-tailed contrasts of photographs. Baradad et al. 2021 (arXiv:2106.05963)
show that features learnt from such images serve on real ones.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, pairwise

import cv2
import numpy as np

from recast.world.draw import exact
from recast.world.draw.photo.palette import tones

FINE_SHAPES = 6000  # on the tile of small shapes
LARGE_SHAPES = 60
SHAPES = 8  # of a kind
FINE = 112  # depths below it are of the tile, the others of the picture's own large shapes


def leaves(variant: int, width: int, height: int) -> np.ndarray:
    """A picture (height, width, 3) uint8 of leaves, pebbles, petals or scraps, each lit, textured and casting shade."""
    draws = exact.Draws(11, variant)
    kind = draws.below(4)
    depth = _depths(draws, kind, width, height)
    table = _colours(draws)
    # What lies below its surroundings is in their shade (Luft, Colditz & Deussen 2006, unsharp masking of depth)
    around = cv2.blur(depth, (exact.odd(depth.shape[0] / 12),) * 2)
    near = cv2.blur(depth, (exact.odd(depth.shape[0] / 50),) * 2)
    shade = exact.weighted(cv2.subtract(around, depth), cv2.subtract(near, depth), 150, 170)
    glow = exact.weighted(cv2.subtract(depth, near), depth, 110, 50, 104)
    texture = exact.window(exact.tile(1, 256), draws, 0.4, depth.shape[1], depth.shape[0])
    light = exact.weighted(cv2.subtract(glow, shade), texture, 256, 90 + draws.below(60), -44)
    # Colour by colour: planes of twice the size stay in the cache of the processor
    lit = (cv2.multiply(cv2.LUT(depth, levels), light, scale=1 / 128) for levels in cv2.split(table))
    return cv2.merge([cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in lit])


def _depths(draws: exact.Draws, kind: int, width: int, height: int) -> np.ndarray:
    """For each pixel at twice the size, how high the shape lies that is seen there, uint8."""
    over = 2 if height <= 512 else 1
    wide, high = width * over, height * over
    rows = 300 + draws.below(212)
    columns = min(rows * wide // high, exact.TILE)
    y, x = draws.below(exact.TILE), draws.below(exact.TILE)
    depth = cv2.resize(_fine_tile(kind)[y : y + rows, x : x + columns], (wide, high), interpolation=cv2.INTER_NEAREST)
    count = int(LARGE_SHAPES * min(max(width / height, 0.5), 3))
    # All shapes at once: of arrays of a few points the calls take the time
    words = draws.words(5 * count).reshape(count, 5)
    ways = words[:, :3] >> 20
    sizes = _sizes()[ways[:, 0]] * high
    least, most = -0.1, np.array((wide / high + 0.1, 1.1))
    centers = (least + (most - least) * ways[:, 1:] / 4096) * (high * 32)
    outlines = [_turned(kind, word % SHAPES, turn >> 24) for word, turn in words[:, 3:].tolist()]
    ends = [0, *accumulate(map(len, outlines))]
    lengths = np.diff(ends)
    corners = np.concatenate(outlines) * np.repeat(sizes * 32, lengths)[:, None]
    corners = np.rint(corners + np.repeat(centers, lengths, 0)).astype(np.int32)
    for i, (first, last) in enumerate(pairwise(ends)):
        cv2.fillPoly(depth, [corners[first:last]], FINE + (255 - FINE) * i // count, cv2.LINE_8, 5)
    return depth


@lru_cache(maxsize=1)
def _sizes() -> np.ndarray:
    """Radii in heights of the picture, (4096,): the inverse of the distribution of r^-3 between two of them."""
    return np.array([0.045 / (1 - 0.985 * (i / 4096)) ** 0.5 for i in range(4096)])


@lru_cache(maxsize=4)
def _fine_tile(kind: int) -> np.ndarray:
    """A tile of small shapes by their depths below FINE, (TILE + REACH, 2 TILE) uint8; it repeats."""
    draws, side = exact.Draws(12, kind), exact.TILE
    tile = np.zeros((side, side), np.uint8)
    for i in range(FINE_SHAPES):
        size = 7.0 / (1 - 0.992 * draws.between(0, 1)) ** 0.5
        outline = _turned(kind, draws.word() % SHAPES, draws.below(256)) * size
        x, y = draws.below(side), draws.below(side)
        corners = np.rint((outline + np.array((x, y))) * 32).astype(np.int32)
        wraps = [(dx, dy) for dx in (0, -side, side) for dy in (0, -side, side)]
        for dx, dy in wraps if min(x, y) < 90 or max(x, y) > side - 90 else wraps[:1]:
            cv2.fillPoly(tile, [corners + np.array((dx, dy)) * 32], i * FINE // FINE_SHAPES, cv2.LINE_8, 5)
    return np.ascontiguousarray(np.tile(tile, (2, 2))[: side + exact.REACH])


@lru_cache(maxsize=1)
def _turns() -> np.ndarray:
    """Rotations by each of 256 angles, (256, 2, 2), rounded so that no machine's last bit of a sine shows."""
    angles = np.arange(256) * (2 * np.pi / 256)
    cos, sin = np.round(np.cos(angles), 6), np.round(np.sin(angles), 6)
    return np.stack((np.stack((cos, sin), -1), np.stack((-sin, cos), -1)), 1)


@lru_cache(maxsize=32)
def _shape(kind: int, number: int) -> np.ndarray:
    draws = exact.Draws(13, kind, number)
    around = _turns()[::16, 0]  # 16 points of a circle
    if kind == 0:  # a pointed leaf
        fat = draws.between(0.22, 0.5)
        t = np.arange(9) / 8
        bow = 4 * t * (1 - t) * (1 - 0.3 * t) * fat
        return np.stack((np.concatenate((2 * t - 1, 1 - 2 * t)), np.concatenate((bow, -bow))), 1)
    if kind == 1:  # a pebble
        radii = 1 + np.array([draws.between(-0.12, 0.12) for _ in range(16)])
        return around * radii[:, None] * (1, draws.between(0.55, 1))
    if kind == 2:  # a petalled flower or a lobed leaf
        radii = np.array([1.0, 0.9, 0.5, 0.9] * 4) if number % 2 else np.array([1.0, 0.62] * 8)
        return around * radii[:, None]
    corners = 3 + draws.below(4)  # a scrap with corners
    return around[sorted({draws.below(16) for _ in range(corners)} | {0, 5, 11})]


@lru_cache(maxsize=4 * SHAPES * 256)
def _turned(kind: int, number: int, angle: int) -> np.ndarray:
    """One of the SHAPES of a kind, of radius about 1, turned: (n, 2)."""
    return _shape(kind, number) @ _turns()[angle]


def _colours(draws: exact.Draws) -> np.ndarray:
    """A colour for each depth: few tones and their neighbours, higher ones brighter."""
    base = tones(draws.below(12))
    words = draws.words(256)
    picked = base[words % len(base)]
    jitter = np.stack([(words >> shift & 31) - 16 for shift in (8, 13, 18)], 1)
    value = 74 + (words >> 23 & 63) + np.arange(256) // 12
    return ((picked + jitter) * value[:, None] // 128).clip(4, 250).astype(np.uint8)[:, None]
