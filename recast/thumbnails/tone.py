"""How light, how colourful and how contrasty a picture is, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from recast.thumbnails.palette import working

PIXELS = 320 * 180
CLIPPED = 3
"""Levels from either end that count as clipped: compression moves a black by as much."""
LOW, HIGH = 0.40, 0.60


@dataclass(frozen=True)
class Tone:
    """saturation: mean (HSV, 0..1). light: mean grey (0..1). spread: standard deviation of grey in levels (0..255).

    black, white: shares of pixels that are clipped, 0..1.
    """

    saturation: float
    light: float
    spread: float
    black: float
    white: float

    @property
    def key(self) -> Literal["high", "mid", "low"]:
        return "low" if self.light < LOW else "high" if self.light > HIGH else "mid"


def tone(rgb: np.ndarray) -> Tone:
    """The tone of a picture (H, W, 3) uint8. Grey is luma of ITU-R BT.601."""
    small = working(rgb, PIXELS)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    saturation = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 1]
    return Tone(
        saturation=float(saturation.mean() / 255),
        light=float(grey.mean() / 255),
        spread=float(grey.std()),
        black=float((grey <= CLIPPED).mean()),
        white=float((grey >= 255 - CLIPPED).mean()),
    )
