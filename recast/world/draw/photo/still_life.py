"""Still life: spheres, boxes and cylinders on a table, lit from one side, with soft shadows and a shallow focus."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from recast.world.draw import exact
from recast.world.draw.photo.clouds import ROUGH, vertical
from recast.world.draw.photo.palette import SATURATED, by_lightness, painted, tones

SPRITE = 128  # side of a prepared ball

Window = tuple[slice, slice]  # rows and columns


def still_life(variant: int, width: int, height: int) -> np.ndarray:
    """A picture (height, width, 3) uint8 of two to seven solids, the far ones out of focus."""
    draws = exact.Draws(41, variant)
    aspect = width / height
    edge = draws.between(0.34, 0.58)
    picture = _table(draws, width, height, edge)
    left_light = draws.below(2) == 0
    solids = sorted(
        (
            draws.between(edge + 0.06, 0.97),
            draws.between(0.04, 0.96) * aspect,
            draws.between(0.2, 0.44),
            draws.below(4),
            draws.word(),
        )
        for _ in range(2 + draws.below(5))
    )
    focus = draws.between(0.75, 0.95)
    for base, x, size, form, word in solids:
        near = 0.75 + 0.6 * (base - edge)
        _put(picture, draws, form, x * height, base * height, size * near * height, word, left_light)
        if base < focus - 0.12:
            side = exact.odd(height * 0.018)
            if side > 1:
                picture = cv2.blur(picture, (side, side))
    return picture


def _table(draws: exact.Draws, width: int, height: int, edge: float) -> np.ndarray:
    """The wall and the table's top, both textured, the wall out of focus."""
    wall, wood = tones(draws.below(12)), tones(draws.choice((6, 11, 2, 4, 5, 6, 11)))
    a, b = (tuple(int(c) for c in wall[draws.below(5)]) for _ in range(2))
    picture = exact.scaled(
        vertical(width, height, a, b),
        exact.weighted(
            exact.window(exact.tile(2, 160), draws, 0.3, width, height),
            np.full((height, width), 128, np.uint8),
            150,
            106,
        ),
    )
    cut = int(edge * height)
    stretch = draws.choice((1.0, 2.0, 7.0))
    grain = exact.window(exact.tile(1, ROUGH), draws, 0.4, width, height - cut, stretch)
    top = painted(grain, by_lightness(wood), 20, 54)
    ramp = np.repeat(
        (110 + np.arange(height - cut, dtype=np.int64) * 30 // (height - cut)).astype(np.uint8)[:, None], width, 1
    )
    picture[cut:] = exact.scaled(top, ramp)
    band = slice(max(0, cut - height // 40), cut + height // 40)
    picture[band] = cv2.blur(picture[band], (1, exact.odd(height / 50)))
    return picture


@lru_cache(maxsize=8)
def _sprite(form: int, left_light: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a solid in a square: light (uint8, 128 is full), cover (0 or 255) and gloss (uint8)."""
    grid = (np.arange(SPRITE) * 2 + 1 - SPRITE) / SPRITE
    x, y = np.meshgrid(grid if left_light else -grid, grid)
    lx, ly, lz = -0.48, -0.6, 0.64
    if form in (0, 1):  # ball
        inside = x * x + y * y <= 1
        z = np.sqrt(np.maximum(1 - x * x - y * y, 0))
        diffuse = np.maximum(lx * x + ly * y + lz * z, 0)
        half = np.maximum(-0.27 * x - 0.33 * y + 0.905 * z, 0)
        bounced = 0.16 * np.maximum(y, 0)
    elif form == 2:  # cylinder
        inside = ((np.abs(x) <= 0.72) & (np.abs(y) <= 0.8)) | ((x / 0.72) ** 2 + ((np.abs(y) - 0.8) / 0.2) ** 2 <= 1)
        z = np.sqrt(np.maximum(1 - (x / 0.72) ** 2, 0))
        lid = (x / 0.72) ** 2 + ((y + 0.8) / 0.2) ** 2 <= 1
        diffuse = np.where(lid, 0.95, np.maximum(-0.6 * x / 0.72 + 0.62 * z, 0))
        half = np.where(lid, 0, np.maximum(-0.35 * x / 0.72 + 0.9 * z, 0))
        bounced = np.zeros_like(x)
    else:  # box, seen from above a corner
        front = (x >= -0.9) & (x <= 0.35) & (y >= -0.5) & (y <= 0.98)
        lid = (y >= -0.95) & (y < -0.5) & (x >= -0.9 + (-0.5 - y) * 1.2) & (x <= 0.35 + (-0.5 - y) * 1.2)
        flank = (x > 0.35) & (x <= 0.89) & (y >= -0.5 - (x - 0.35) / 1.2) & (y <= 0.98 - (x - 0.35) / 1.2)
        inside = front | lid | flank
        diffuse = np.where(lid, 0.98, np.where(front, 0.72 - 0.12 * y, 0.3 - 0.08 * y))
        half, bounced = np.zeros_like(x), np.zeros_like(x)
    light = np.rint(26 + 116 * (0.14 + 0.86 * diffuse) + 60 * bounced).clip(0, 255).astype(np.uint8)
    power = half
    for _ in range(4):
        power = power * power
    gloss = np.rint(power * power * 230).clip(0, 255).astype(np.uint8)
    return light, inside.astype(np.uint8) * 255, gloss


def _put(
    picture: np.ndarray, draws: exact.Draws, form: int, x: float, base: float, size: float, word: int, left_light: bool
) -> None:
    """Put one solid, `size` pixels high and wide, with its shadow, on the picture."""
    side = max(8, int(size))
    left, top = int(x) - side // 2, int(base) - side
    _shadow(picture, left, top, side, left_light)
    has_gloss = word >> 24 & 1
    light, cover, *gloss = (
        cv2.resize(each, (side, side), interpolation=cv2.INTER_LINEAR)
        for each in _sprite(form, left_light)[: 3 if has_gloss else 2]
    )
    colour = np.array(SATURATED[word % 12], np.int64) if word >> 8 & 1 else tones(word >> 9 & 15)[word >> 13 & 3]
    other = np.array(SATURATED[(word >> 16) % 12], np.int64)
    body = np.empty((side, side, 3), np.uint8)
    body[:] = colour.astype(np.uint8)
    pattern = word >> 20 & 3
    if pattern == 1:  # stripes
        rows = (np.arange(side) * 8 // side) % 2 == 0
        body[rows] = other.astype(np.uint8)
    elif pattern == 2:  # spots of a fractal field
        field = exact.window(exact.tile(1, ROUGH), draws, 0.2, side, side)
        cv2.copyTo(np.broadcast_to(other.astype(np.uint8), body.shape).copy(), (field > 150).astype(np.uint8), body)
    texture = exact.window(exact.tile(3, 240), draws, 0.25, side, side)
    lit = exact.scaled(body, exact.weighted(light, texture, 256, 60, -30))
    if has_gloss:
        lit = cv2.add(lit, cv2.merge(gloss * 3))
    place, part = _overlap(picture, cover, left, top)
    seen = picture[place]
    if seen.size:
        picture[place] = exact.blend(seen, lit[part], cover[part])


def _shadow(picture: np.ndarray, left: int, top: int, side: int, left_light: bool) -> None:
    pad = side // 2
    wide, high = side * 2 + 2 * pad, side // 2 + 2 * (pad // 2)
    mask: np.ndarray = np.zeros((high, wide), np.uint8)
    towards = 1 if left_light else -1
    middle = wide // 2
    cv2.ellipse(
        mask, (middle + towards * side // 3, high // 2), (side * 3 // 4, side // 7), -4 * towards, 0, 360, 120, -1
    )
    cv2.ellipse(mask, (middle, high // 2), (side * 2 // 5, side // 9), 0, 0, 360, 205, -1)
    mask = cv2.blur(cv2.blur(mask, (exact.odd(side / 5),) * 2), (exact.odd(side / 6),) * 2)
    place, part = _overlap(picture, mask, left + side // 2 - middle, top + side - high // 2 - side // 14)
    seen = picture[place]
    if seen.size:  # towards black
        dark: np.ndarray = mask[part]
        picture[place] = cv2.subtract(seen, exact.scaled(seen, cv2.add(dark, dark >> 7), 256))


def _overlap(picture: np.ndarray, patch: np.ndarray, left: int, top: int) -> tuple[Window, Window]:
    """Where a patch at a place lies on the picture, and which part of the patch lies there; empty where none does."""
    (height, width), (high, wide) = picture.shape[:2], patch.shape[:2]
    x0, y0 = min(max(left, 0), width), min(max(top, 0), height)
    x1, y1 = max(min(left + wide, width), x0), max(min(top + high, height), y0)
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
