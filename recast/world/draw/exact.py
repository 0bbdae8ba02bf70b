"""Arithmetic on bytes that gives the same bytes on every machine, and noise made of whole numbers.

OpenCV computes some of its operations in float32, where a fused or reordered sum can move the last bit and with it a
byte. Here every weight is a whole number of 1/256: then each product and sum of bytes fits the 24 bits of a float32
mantissa, nothing is ever rounded on the way, and no order of operations can matter. What is used besides (box filter,
median, resize, look-up table, integer colour matrices) was seen to give equal bytes with and without each vector
extension; cubic resize, warpAffine and HSV to RGB were not, and are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isqrt
from typing import TypeVar

import cv2
import numpy as np

T = TypeVar("T")
Place = tuple[int, int, int]  # row and column on a tile; 2 as it is, else the code of `cv2.flip`

TILE = 1024  # side of a tile of noise, which repeats beyond it
REACH = TILE // 2  # the largest height of a window of it
_LEVELS = np.arange(256)


def blend(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """a where the mask is 0, b where it is 255, between in between: pictures (H, W, 3), mask (H, W), all uint8."""
    weight = cv2.add(mask, mask >> 7)  # 0..256, so that both ends are exact; the full 256 is copied below
    # Bytes only, the way up and the way down apart: OpenCV is three times slower where types are mixed
    way = scaled(cv2.absdiff(a, b), weight, 256)
    out = cv2.add(a, cv2.min(way, cv2.subtract(b, a)))
    cv2.subtract(out, cv2.min(way, cv2.subtract(a, b)), out)
    return cv2.copyTo(b, (mask == 255).view(np.uint8), out)


def weighted(a: np.ndarray, b: np.ndarray, share_a: int, share_b: int, offset: int = 0) -> np.ndarray:
    """(share_a a + share_b b) / 256 + offset, rounded and clipped to 0..255, of uint8 arrays of one shape."""
    return cv2.addWeighted(a, share_a / 256, b, share_b / 256, offset)


def scaled(a: np.ndarray, by: np.ndarray, one: int = 128) -> np.ndarray:
    """a (H, W, 3) times by (H, W) / one, clipped to 0..255, uint8: one, a power of 2, leaves a pixel as it is."""
    return cv2.multiply(a, cv2.merge((by, by, by)), scale=1 / one)


def coloured(index: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) of a field (H, W), each level in its colour of the table (256, 1, 3), all uint8."""
    return cv2.applyColorMap(index, table)  # half the time of merging three planes for `cv2.LUT`


def toned(pixels: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) with each colour put through its own table, (256, 1, 3) for the three, all uint8."""
    # Plane by plane: `cv2.LUT` of three tables at once takes half as long again
    return cv2.merge([cv2.LUT(plane, table) for plane, table in zip(split(pixels), cv2.split(tables), strict=True)])


def split(pixels: np.ndarray) -> list[np.ndarray]:
    """The three planes (H, W) uint8 of a picture (H, W, 3)."""
    planes = list(np.empty((3, *pixels.shape[:2]), np.uint8))
    cv2.split(pixels, planes)  # a fifth of the time that it takes without a place to write to
    return planes


def curve(points: Sequence[tuple[int, int]]) -> np.ndarray:
    """A table of 256 bytes through the points (from, to), straight between them and level beyond; read-only."""
    return _curve(tuple(points))


@lru_cache(maxsize=1024)
def _curve(points: tuple[tuple[int, int], ...]) -> np.ndarray:
    xs, ys = zip(*points, strict=True)
    out = np.empty(256, np.int64)
    out[: xs[0]], out[xs[-1] :] = ys[0], ys[-1]
    for x0, y0, x1, y1 in zip(xs, ys, xs[1:], ys[1:], strict=False):
        out[x0 : x1 + 1] = _LEVELS[: x1 - x0 + 1] * (y1 - y0) // max(x1 - x0, 1) + y0
    table = np.minimum(np.maximum(out, 0), 255).astype(np.uint8)  # np.clip asks for the limits of the type each time
    table.flags.writeable = False
    return table


def curves(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """Three tables of 256 bytes as the one (256, 1, 3) that `cv2.LUT` takes for a picture."""
    return np.stack((red, green, blue), 1)[:, None].astype(np.uint8)


def odd(length: float) -> int:
    """The odd number of pixels nearest to a length, at least 1: the side of a filter."""
    return max(1, int(length) // 2 * 2 + 1)


class Draws:
    """Numbers drawn from a name and seeds: PCG64's raw words, whose stream NumPy promises never to change."""

    def __init__(self, *seeds: int) -> None:
        self._more = np.random.PCG64(list(seeds)).random_raw
        self._words: list[int] = []

    def word(self) -> int:
        """32 random bits."""
        if not self._words:
            self._words = self._fresh()
        return self._words.pop()

    def words(self, count: int) -> np.ndarray:
        """The next `count` words, (count,) int64."""
        while len(self._words) < count:
            self._words = self._fresh() + self._words  # taken from the end
        kept = len(self._words) - count
        out = self._words[kept:][::-1]
        del self._words[kept:]
        return np.array(out, np.int64)

    def _fresh(self) -> list[int]:
        fresh: list[int] = np.asarray(self._more(32)).view(np.uint32).tolist()
        return fresh

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        return self.word() * count >> 32

    def between(self, low: float, high: float) -> float:
        """A number from low to high, on a grid of 1/4096 of the way."""
        return low + (high - low) * (self.word() >> 20) / 4096

    def choice(self, of: Sequence[T]) -> T:
        """One of them."""
        return of[self.below(len(of))]


@lru_cache(maxsize=8)
def tile(seed: int, keep: int) -> np.ndarray:
    """Fractal noise that repeats: (TILE + REACH, 2 TILE + REACH) uint8, mean 128, standard deviation 40.

    keep: the amplitude, in 1/256, of each octave as a share of the coarser one before it. The amplitude spectrum
    falls about as 1 / f^a with a = 2 - log2(2 keep / 256): 256 gives 1 / f, that of photographs; 0 is white noise.
    """
    words = np.random.PCG64([seed, keep]).random_raw
    side, amplitude = (TILE, 256) if keep == 0 else (4, 1 << 16)
    field = np.zeros((side, side), np.int64)
    while True:
        noise = words(side * side).astype(np.uint64) >> np.uint64(48)
        field += (noise.astype(np.int64).reshape(side, side) - (1 << 15)) * amplitude >> 8
        if side == TILE:
            break
        side, amplitude = side * 2, amplitude * keep >> 8
        for axis in (0, 1):
            field = _doubled(field, axis)
    field -= int(field.sum()) // field.size
    deviation = isqrt(int(((field >> 4) ** 2).sum()) // field.size) << 4
    bytes_ = (field * 40 // deviation + 128).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.tile(bytes_, (2, 3))[: TILE + REACH, : 2 * TILE + REACH])


def _doubled(field: np.ndarray, axis: int) -> np.ndarray:
    """Twice as many samples along an axis, which wraps around: the kernel (1 3 3 1) / 4 of a quadratic spline."""
    before, after = np.roll(field, 1, axis), np.roll(field, -1, axis)
    pair = np.stack(((3 * field + before) >> 2, (3 * field + after) >> 2), axis + 1)
    shape = list(field.shape)
    shape[axis] *= 2
    return pair.reshape(shape)


def window(
    source: np.ndarray, draws: Draws | Place, extent: float, width: int, height: int, stretch: float = 1.0
) -> np.ndarray:
    """A window of a tile, `extent` of its side high, anywhere in it, as (height, width) uint8.

    draws: where it lies, drawn here, or a place drawn before. stretch: how many times wider than high its features
    appear. The same draws show the same place at every size.
    """
    rows = max(2, min(int(extent * TILE), REACH))
    columns = max(2, min(int(rows * width / height / stretch), source.shape[1] - TILE))
    y, x, flip = place(draws) if isinstance(draws, Draws) else draws
    part = source[y : y + rows, x : x + columns]
    out = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    return out if flip == 2 else cv2.flip(out, flip)


def place(draws: Draws) -> Place:
    """Where a window lies on a tile, and how it is flipped."""
    return draws.below(TILE), draws.below(TILE), draws.below(4) - 1
