"""What a camera does to a picture: blur, vignette, fringes, exposure, white balance, grain."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from recast.world.draw import exact


def camera(pixels: np.ndarray, seed: int) -> np.ndarray:
    """The picture (H, W, 3) uint8 as a camera would have taken it, which camera and how well being drawn from the seed.

    In the order of light: a lens a little soft, red and blue not quite in register towards the edges, darker corners;
    then exposure, contrast and white balance; then grain.
    """
    height, width = pixels.shape[:2]
    draws = exact.Draws(77, seed)
    side = exact.odd(max(3, height / 128))
    pixels = exact.weighted(pixels, cv2.blur(pixels, (side, side)), 256 - (soft := draws.below(160)), soft)
    if draws.below(2):
        pixels = _fringed(pixels)
    pixels = exact.scaled(pixels, vignette(width, height, draws.choice((8, 16, 28, 44))))
    pixels = exact.toned(pixels, _exposure(draws))
    grain = exact.window(exact.tile(9, 0), draws, min(height / exact.TILE, 0.5), width, height)
    share = 4 + draws.below(22)
    return exact.weighted(pixels, cv2.merge((grain, grain, grain)), 256, share, -share // 2)


def _fringed(pixels: np.ndarray) -> np.ndarray:
    """Red a little larger, blue a little smaller than green: lateral chromatic aberration."""
    height, width = pixels.shape[:2]
    px = max(1, height // 400)
    red, green, blue = exact.split(pixels)
    red = cv2.resize(red[px:-px, px:-px], (width, height), interpolation=cv2.INTER_LINEAR)
    wide = cv2.copyMakeBorder(blue, px, px, px, px, cv2.BORDER_REPLICATE)
    blue = cv2.resize(wide, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.merge((red, green, blue))


def _exposure(draws: exact.Draws) -> np.ndarray:
    """A tone curve for each colour: lifted or lowered middle, white balance a little off."""
    middle, toe = 128 + draws.below(44) - 16, draws.below(12)
    gains = (256 + draws.below(32) - 16, 256, 256 + draws.below(32) - 16)
    tables = (
        exact.curve(
            [
                (0, toe * g >> 8),
                (64, (middle * g >> 8) * 48 // 128 + toe // 2),
                (128, middle * g >> 8),
                (255, min(255, 250 * g >> 8)),
            ]
        )
        for g in gains
    )
    return exact.curves(*tables)


@lru_cache(maxsize=16)
def vignette(width: int, height: int, strength: int) -> np.ndarray:
    """Factors (H, W) uint8 for `exact.scaled`: 128 in the middle, less by `strength` in the corners."""
    x, y = (np.arange(side, dtype=np.int64) * 2 + 1 - side for side in (width, height))
    distance = (x * x)[None] + (y * y)[:, None]
    return (128 - strength * distance // (width * width + height * height)).astype(np.uint8)


def blur(pixels: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) uint8 out of focus all over."""
    side = exact.odd(pixels.shape[0] / 28)
    return cv2.blur(cv2.blur(pixels, (side, side)), (side, side))


def blur_background(pixels: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) uint8 sharp in an ellipse in the middle, out of focus beyond it."""
    height, width = pixels.shape[:2]
    return exact.blend(pixels, blur(pixels), beyond_ellipse(width, height))


@lru_cache(maxsize=16)
def beyond_ellipse(width: int, height: int) -> np.ndarray:
    """0 within an ellipse in the middle, 255 well beyond it, (H, W) uint8."""
    x, y = (np.arange(side, dtype=np.int64) * 2 + 1 - side for side in (width, height))
    distance = (x * x)[None] * 4096 // (width * width) + (y * y)[:, None] * 4096 // (height * height)
    return ((distance - 1000) * 255 // 1000).clip(0, 255).astype(np.uint8)
