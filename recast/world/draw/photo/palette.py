"""Colours as photographs have them: muted, in families, seldom saturated."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from recast.world.draw import exact

FAMILIES: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((72, 104, 44), (104, 132, 58), (48, 78, 40), (140, 156, 84), (86, 92, 48)),  # leaves
    ((170, 92, 40), (196, 136, 60), (128, 60, 36), (214, 170, 96), (98, 70, 44)),  # autumn
    ((134, 126, 116), (168, 160, 150), (96, 90, 86), (190, 180, 164), (120, 104, 90)),  # pebbles
    ((196, 92, 110), (222, 150, 160), (160, 52, 84), (110, 130, 70), (236, 206, 200)),  # roses
    ((88, 104, 132), (130, 146, 168), (60, 72, 98), (176, 184, 192), (98, 92, 96)),  # slate
    ((204, 168, 72), (224, 196, 110), (170, 120, 50), (120, 130, 60), (240, 224, 170)),  # straw
    ((120, 84, 62), (160, 116, 84), (84, 60, 48), (196, 158, 120), (64, 52, 44)),  # wood
    ((64, 130, 140), (96, 164, 166), (36, 92, 110), (180, 200, 180), (210, 150, 90)),  # sea
    ((122, 82, 134), (158, 120, 170), (86, 58, 104), (98, 118, 70), (204, 180, 206)),  # heather
    ((188, 66, 48), (214, 112, 66), (146, 40, 36), (232, 190, 140), (82, 96, 66)),  # brick
    ((54, 90, 66), (78, 122, 96), (36, 62, 54), (150, 170, 150), (118, 96, 70)),  # moss
    ((214, 204, 190), (180, 168, 156), (232, 226, 216), (150, 130, 118), (110, 96, 90)),  # linen
)
SATURATED: tuple[tuple[int, int, int], ...] = (
    (190, 46, 40), (220, 120, 40), (226, 184, 60), (70, 130, 70), (44, 110, 130), (50, 84, 160),
    (120, 70, 130), (206, 120, 140), (230, 224, 212), (60, 58, 62), (130, 88, 60), (150, 152, 156),
)  # fmt: skip
"""Of painted and made things."""


def painted(index: np.ndarray, colours: np.ndarray, first: int, step: int) -> np.ndarray:
    """The picture (H, W, 3) uint8 of a field (H, W) uint8 whose level first + i step has colour i of (n, 3), 0..255."""
    whole, part = _steps(first, step, len(colours))
    table = (colours[whole] * (256 - part) + colours[whole + 1] * part) >> 8
    return exact.coloured(index, table[:, None].astype(np.uint8))


@lru_cache(maxsize=32)
def _steps(first: int, step: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For each level the colour at or before it, (256,), and in 1/256 how far towards the next it lies, (256, 1)."""
    place = ((np.arange(256) - first) * 256 // step).clip(0, (count - 1) * 256 - 1)
    return place >> 8, (place & 255)[:, None]


def by_lightness(colours: np.ndarray) -> np.ndarray:
    """The same colours (n, 3), the darkest first."""
    return colours[np.argsort(colours.sum(1), kind="stable")]


def tones(family: int) -> np.ndarray:
    """The colours of one of the families, (n, 3) int64."""
    return np.array(FAMILIES[family % len(FAMILIES)], np.int64)
