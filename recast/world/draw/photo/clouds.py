"""Fractal fields with natural spectra: skies, water, marble and moss."""

from __future__ import annotations

import cv2
import numpy as np

from recast.world.draw import exact
from recast.world.draw.photo.palette import by_lightness, painted, tones

SMOOTH, ROUGH = 160, 256  # share of amplitude each octave keeps: vapour and stone


def clouds(variant: int, width: int, height: int) -> np.ndarray:
    """A picture (height, width, 3) uint8 of a sky with clouds, a stretch of water, veined marble, or moss."""
    draws = exact.Draws(21, variant)
    painter = draws.choice((sky_with_clouds, sky_with_clouds, water, marble, moss))
    return painter(draws, width, height)


def vertical(width: int, height: int, top: tuple[int, ...], bottom: tuple[int, ...]) -> np.ndarray:
    """A gradient from a colour at the top to another at the bottom, (height, width, 3) uint8."""
    ramp = np.arange(height, dtype=np.int64) * 4096 // max(height - 1, 1)
    planes = [((a * (4096 - ramp) + b * ramp) >> 12).astype(np.uint8) for a, b in zip(top, bottom, strict=True)]
    return cv2.merge([np.repeat(plane[:, None], width, 1) for plane in planes])


def relief(field: np.ndarray, unit: int, strength: int) -> np.ndarray:
    """The light on a field of heights from the upper left, (H, W) uint8 around 128."""
    moved = np.empty_like(field)
    moved[unit:, unit:] = field[:-unit, :-unit]
    moved[:unit], moved[:, :unit] = field[:unit], field[:, :unit]
    return exact.weighted(field, moved, strength, -strength, 128)


def sky_with_clouds(draws: exact.Draws, width: int, height: int) -> np.ndarray:
    """Cumulus or veils before a sky from blue to gray."""
    top, bottom = draws.choice(
        (((52, 96, 164), (170, 200, 224)), ((36, 82, 150), (190, 210, 220)), ((92, 112, 140), (196, 196, 194)),
         ((70, 84, 132), (232, 184, 150)), ((64, 120, 176), (214, 224, 220)))
    )  # fmt: skip
    sky = vertical(width, height, top, bottom)
    field = exact.window(exact.tile(2, SMOOTH), draws, draws.between(0.2, 0.45), width, height, draws.between(1.0, 2.4))
    fine = exact.window(exact.tile(1, ROUGH), draws, 0.4, width, height)
    edge = draws.below(50) + 90
    cover = cv2.LUT(
        exact.weighted(field, fine, 216, 60, -10), exact.curve([(edge, 0), (edge + 26, 150), (edge + 70, 250)])
    )
    # The sun above lights what is thin below it: heights are compared with those a little higher up
    light = exact.weighted(
        relief(field, max(1, height // 40), 190), cv2.blur(field, (exact.odd(height / 8),) * 2), 256, -90, 50
    )
    warm = draws.below(14)
    shades = [exact.curve([(60, 128 - less), (128, 216 - less), (160, 254 - less)]) for less in (0, warm // 2, warm)]
    white = exact.coloured(light, exact.curves(*shades))
    return exact.blend(sky, white, cover)


def water(draws: exact.Draws, width: int, height: int) -> np.ndarray:
    """Waves that grow nearer towards the bottom, with the light of the sky on them."""
    deep, sheen = draws.choice(
        (((20, 58, 78), (150, 186, 200)), ((18, 74, 84), (170, 206, 196)), ((36, 48, 66), (210, 180, 160)))
    )
    far = exact.window(exact.tile(1, 230), draws, 0.45, width, height, 9.0)
    middle = exact.window(exact.tile(3, 210), draws, 0.3, width, height, 5.0)
    near = exact.window(exact.tile(2, SMOOTH), draws, 0.22, width, height, 2.6)
    ramp = np.repeat(
        (np.arange(height, dtype=np.int64) * 255 // max(height - 1, 1)).astype(np.uint8)[:, None], width, 1
    )
    first = cv2.LUT(ramp, exact.curve([(0, 0), (110, 255)]))
    second = cv2.LUT(ramp, exact.curve([(100, 0), (255, 230)]))
    waves = _blend_plane(_blend_plane(far, middle, first), near, second)
    crests = cv2.LUT(
        relief(waves, max(1, height // 90), 500), exact.curve([(90, 0), (128, 70), (190, 230), (240, 255)])
    )
    base = vertical(width, height, sheen, deep)
    body = exact.scaled(base, cv2.LUT(waves, exact.curve([(40, 84), (128, 124), (220, 176)])))
    bright = vertical(width, height, (250, 250, 244), sheen)
    return exact.blend(body, bright, exact.weighted(crests, ramp, 210, -40, -30))


def _blend_plane(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> np.ndarray:
    kept = cv2.multiply(a, cv2.bitwise_not(mask), scale=1 / 256)
    return cv2.add(kept, cv2.multiply(b, mask, scale=1 / 256))


def marble(draws: exact.Draws, width: int, height: int) -> np.ndarray:
    """Veins where a folded field crosses its middle (Perlin 1985, "An image synthesizer", turbulence)."""
    family = tones(draws.below(12))
    field = exact.window(exact.tile(2, SMOOTH), draws, draws.between(0.25, 0.48), width, height)
    other = exact.window(exact.tile(3, 210), draws, 0.4, width, height)
    fine = exact.window(exact.tile(1, ROUGH), draws, 0.4, width, height)
    folded = cv2.absdiff(exact.weighted(field, other, 200, 70, -8), np.full_like(field, 128))
    levels = np.arange(256, dtype=np.int64)
    phase = levels * (4 + draws.below(5)) % 256
    triangle = np.abs(phase - 128).clip(0, 128)
    veins = cv2.LUT(folded, (40 + triangle * 215 // 128).clip(0, 255).astype(np.uint8))
    index = exact.weighted(veins, fine, 190, 90, -22)
    return painted(index, by_lightness(family), 0, 63)


def moss(draws: exact.Draws, width: int, height: int) -> np.ndarray:
    """A rough ground, its colours and heights from two fields, lit from the side."""
    family = tones(draws.below(12))
    heights = exact.window(exact.tile(1, ROUGH), draws, draws.between(0.25, 0.45), width, height)
    patches = exact.window(exact.tile(2, SMOOTH), draws, draws.between(0.2, 0.4), width, height)
    index = exact.weighted(patches, heights, 200, 70, -8)
    colours = painted(index, family, 48, 40)
    light = exact.weighted(relief(heights, max(1, height // 128), 420), heights, 200, 140, -54)
    return exact.scaled(colours, light)
