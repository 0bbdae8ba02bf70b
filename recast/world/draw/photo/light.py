"""Night, sunset and winter for any photograph, by its colours alone: nothing need be known of what it shows."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from recast.errors import InputError
from recast.world.draw import exact
from recast.world.draw.photo.lens import vignette
from recast.world.scene import TIMES

# Colour matrices in 1/256: each row makes red, green or blue out of the three
MOONLIT = ((70, 62, 12), (30, 100, 22), (26, 66, 92))
FROSTED = ((126, 104, 26), (54, 172, 30), (54, 104, 98))
FLAKES = 100  # per picture of 1:1


def time_of_day(pixels: np.ndarray, time: str) -> np.ndarray:
    """The photograph (H, W, 3) uint8 as it would look at one of TIMES; "day" gives the photograph itself.

    Night is dark, blue and pale of hue, darkest in the corners; sunset is red and gold, strongest at the top; winter
    is cool, bright and pale, with snow on what is lighter than what lies below it, and flakes in the air.
    Raises InputError for a time the world does not know.
    """
    if time not in TIMES:
        raise InputError(f"time={time!r}: not known to the world; accepted: {', '.join(TIMES)}")
    return {"day": lambda same: same, "night": night, "sunset": sunset, "winter": winter}[time](pixels)


def night(pixels: np.ndarray) -> np.ndarray:
    """The photograph by moonlight."""
    height, width = pixels.shape[:2]
    table = exact.curve([(0, 6), (90, 76), (170, 170), (255, 235)])
    blue = exact.curve([(0, 30), (90, 116), (170, 204), (255, 255)])
    dark = exact.toned(cv2.transform(pixels, _matrix(MOONLIT)), exact.curves(table, table, blue))
    return exact.scaled(dark, vignette(width, height, 64))


def sunset(pixels: np.ndarray) -> np.ndarray:
    """The photograph in the last light."""
    height, width = pixels.shape[:2]
    lifted = exact.curve([(0, 26), (110, 150), (255, 255)])
    middle = exact.curve([(0, 4), (128, 112), (255, 240)])
    table = exact.curves(lifted, middle, exact.curve([(0, 14), (128, 100), (255, 200)]))
    return cv2.multiply(exact.toned(pixels, table), _afterglow(width, height), scale=1 / 128)


def winter(pixels: np.ndarray) -> np.ndarray:
    """The photograph under snow."""
    height, width = pixels.shape[:2]
    table, blue = exact.curve([(0, 30), (128, 160), (255, 250)]), exact.curve([(0, 42), (128, 176), (255, 255)])
    cold = exact.toned(cv2.transform(pixels, _matrix(FROSTED)), exact.curves(table, table, blue))
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    side, drop = exact.odd(height / 70), max(1, height // 50)
    soft = cv2.blur(gray, (exact.odd(height / 40), side))
    below = cv2.copyMakeBorder(soft[drop:], 0, drop, 0, 0, cv2.BORDER_REPLICATE)
    faces_up = cv2.LUT(cv2.subtract(soft, below), exact.curve([(9, 0), (60, 215)]))
    lies = cv2.multiply(cv2.LUT(soft, exact.curve([(70, 0), (170, 170)])), _ground(width, height), scale=1 / 256)
    snow = cv2.max(cv2.max(faces_up, lies), _flakes(width, height))
    return exact.blend(cold, _white(width, height), snow)


def _matrix(rows: tuple[tuple[int, ...], ...]) -> np.ndarray:
    return np.array(rows, np.float32) / 256  # exactly: see exact.py


@lru_cache(maxsize=8)
def _afterglow(width: int, height: int) -> np.ndarray:
    """Factors (H, W, 3) in 1/128, from the red top over gold to the dim ground."""
    rows = np.arange(height, dtype=np.int64) * 255 // max(height - 1, 1)
    planes = (
        exact.curve([(0, 146), (110, 150), (255, 116)]),
        exact.curve([(0, 82), (110, 116), (255, 90)]),
        exact.curve([(0, 92), (110, 84), (255, 88)]),
    )
    return cv2.merge([np.repeat(plane[rows][:, None], width, 1) for plane in planes])


@lru_cache(maxsize=8)
def _ground(width: int, height: int) -> np.ndarray:
    """How much of the lower picture is ground on which snow lies, (H, W) uint8."""
    rows = np.arange(height, dtype=np.int64) * 255 // max(height - 1, 1)
    return np.repeat(exact.curve([(90, 0), (220, 255)])[rows][:, None], width, 1)


@lru_cache(maxsize=8)
def _white(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), (244, 249, 255), np.uint8)


@lru_cache(maxsize=8)
def _flakes(width: int, height: int) -> np.ndarray:
    """Falling snow, the same at every size: how much of each pixel it covers, (H, W) uint8."""
    draws = exact.Draws(51)
    out = np.zeros((height, width), np.uint8)
    for i in range(int(FLAKES * width / height)):
        radius = (0.0032, 0.0048, 0.0075, 0.0125)[min(i % 11 // 3, 3)] * height
        place = int(draws.between(0, 1) * width * 32), int(draws.between(0, 1) * height * 32)
        cv2.circle(out, place, max(20, int(radius * 32)), 215, -1, cv2.LINE_AA, 5)
    return cv2.blur(out, (exact.odd(height / 300),) * 2)
