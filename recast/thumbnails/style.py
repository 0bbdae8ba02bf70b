"""How a picture looks, as a vector: a hand-made embedding that needs no network and nothing downloaded.

Colours, directions of edges and texture at several scales, without where in the picture they are: two thumbnails of
one channel are near each other, whoever stands on which side.
"""

from __future__ import annotations

import cv2
import numpy as np

from recast.pixels.lab import lab
from recast.thumbnails.palette import working
from recast.thumbnails.style_constants import MEANS, SPREADS

PIXELS = 256 * 144
LIGHTS, HUES, DIRECTIONS, SCALES = 8, 12, 8, 4
CHROMAS = (0, 10, 25, 45, 70)
FARTHEST = 4.0
"""Spreads from the mean beyond which a feature counts no more: one odd feature does not decide."""


class Style:
    """Embeds pictures by `features`, each feature in spreads from its mean over pictures of the world.

    Means and spreads are measured by benchmarks/brand_score.py --constants; see style_constants.py.
    """

    name = "hand-made-1"

    def embed(self, rgb: np.ndarray) -> np.ndarray:
        """A picture (H, W, 3) uint8 to a vector (d,) float32 of length 1."""
        away = np.clip((features(rgb) - MEANS) / SPREADS, -FARTHEST, FARTHEST)
        length = float(np.linalg.norm(away))
        return np.asarray(away / length if length > 0 else np.full(len(away), len(away) ** -0.5), np.float32)


def features(rgb: np.ndarray) -> np.ndarray:
    """The raw features (d,) float64 of a picture (H, W, 3) uint8: colour, directions, texture."""
    small = working(rgb, PIXELS)
    colours = lab(small)
    light = colours[..., 0]
    return np.concatenate([_colour(colours), _directions(light), _texture(light)])


def _colour(colours: np.ndarray) -> np.ndarray:
    """Square roots of histograms: lightness, chroma, and hue of dark and of light pixels, weighted by chroma."""
    light, a, b = np.moveaxis(colours.reshape(-1, 3).astype(np.float64), 1, 0)
    chroma = np.hypot(a, b)
    hue = np.mod(np.arctan2(b, a) / (2 * np.pi), 1) * HUES
    share = np.clip((light - 45) / 20, 0, 1)  # of a pixel that counts as light
    hues = [_soft(hue, chroma * part, HUES, is_round=True) / light.size / 40 for part in (1 - share, share)]
    lights = _soft(light / 100 * (LIGHTS - 1), np.ones_like(light), LIGHTS) / light.size
    steps = np.interp(chroma, CHROMAS, np.arange(len(CHROMAS)))
    chromas = _soft(steps, np.ones_like(light), len(CHROMAS)) / light.size
    return np.sqrt(np.concatenate([lights, chromas, *hues]))


def _soft(places: np.ndarray, weights: np.ndarray, count: int, *, is_round: bool = False) -> np.ndarray:
    """A histogram (count,) in which each value is shared by the two bins around it; the last meets the first if round.

    So no bin jumps when a value moves by a little.
    """
    low = np.floor(places).astype(int)
    part = places - low
    index = [low % count, (low + 1) % count] if is_round else [low, np.minimum(low + 1, count - 1)]
    both = np.bincount(index[0], weights * (1 - part), count) + np.bincount(index[1], weights * part, count)
    return np.asarray(both)


def _directions(light: np.ndarray) -> np.ndarray:
    """Square roots of how the energy of edges divides over directions, and its logarithm, at two scales."""
    made = []
    for sigma in (1.0, 3.0):
        smooth = cv2.GaussianBlur(light, (0, 0), sigma)
        dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0).ravel().astype(np.float64)
        dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1).ravel().astype(np.float64)
        strength = np.hypot(dx, dy)
        turn = np.mod(np.arctan2(dy, dx) / np.pi, 1) * DIRECTIONS
        energy = _soft(turn, strength, DIRECTIONS, is_round=True)
        made += [np.sqrt(energy / (energy.sum() + 1)), [np.log1p(strength.mean())]]
    return np.concatenate(made)


def _texture(light: np.ndarray) -> np.ndarray:
    """Of bands an octave apart: how strong, how much of it in few places, and the share that is flat."""
    made, level = [], cv2.GaussianBlur(light, (0, 0), 0.8)  # the finest detail is compression's
    for _ in range(SCALES):
        below = cv2.pyrDown(level)
        band = np.abs(level - cv2.pyrUp(below, dstsize=(level.shape[1], level.shape[0]))).astype(np.float64)
        mean, square = band.mean(), (band**2).mean()
        made += [np.log1p(4 * mean), np.log1p(square / (mean**2 + 0.01)), np.clip(2 - band, 0, 1).mean()]
        level = below
    return np.array(made)
