"""Contrast as reading needs it: the WCAG ratio of glyphs to what lies right around them."""

from __future__ import annotations

import cv2
import numpy as np

from recast.errors import InputError, ShapeError

PERCENTILE = 10
"""Of the ratios along an outline: a word is as legible as its worse letters, not as its mean."""
FLARE = 0.05
INSIDE, OUTSIDE = 0.9, 0.1  # coverage from which a pixel is all glyph, and up to which it is none

_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
_WEIGHTS = np.array([[0.2126, 0.7152, 0.0722]], np.float32)


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Relative luminance (H, W) float32, 0 black to 1 white, of sRGB (H, W, 3) uint8. Source: WCAG 2.2, section 5."""
    made: np.ndarray = cv2.transform(_LINEAR[rgb], _WEIGHTS)
    return made.reshape(rgb.shape[:2])


def ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The contrast ratio, 1 to 21, of two luminances of one shape. Source: WCAG 2.2, section 5."""
    made: np.ndarray = (np.maximum(first, second) + FLARE) / (np.minimum(first, second) + FLARE)
    return made


def of_colours(first: str, second: str) -> float:
    """The contrast ratio of two colours "#RRGGBB"."""
    pair = np.array([[_levels(first), _levels(second)]], np.uint8)
    seen = luminance(pair)[0]
    return float(ratio(seen[:1], seen[1:])[0])


def along_outline(rgb: np.ndarray, glyphs: np.ndarray, ring_px: int) -> float:
    """The 10th percentile, along the outline of glyphs, of the WCAG ratio of inside to outside.

    rgb: (H, W, 3) uint8. glyphs: (H, W) float, the share of each pixel that letters cover, without stroke and shadow:
    these count as surroundings. ring_px: how far from the outline pixels still count, on both sides.
    Raises ShapeError unless the two are of one size, InputError where no outline lies within the picture.
    """
    found = Outline(glyphs, ring_px).ratios(rgb)
    if found.size == 0:
        raise InputError(
            f"glyphs: {float(glyphs.max(initial=0)):.2f} is the largest coverage and no outline was found; letters "
            "with an inside and an outside accepted; render them larger, or leave the measurement out"
        )
    return float(np.percentile(found, PERCENTILE))


class Outline:
    """Where glyphs end, worked out once for any number of pictures. Arguments as of `along_outline`.

    Each pixel just outside a glyph is compared: the mean light of what is all glyph around it with that of what is
    none; pixels that both share are left out.
    """

    def __init__(self, glyphs: np.ndarray, ring_px: int) -> None:
        if glyphs.ndim != 2 or ring_px < 1:
            raise ShapeError(
                f"glyphs, ring_px: {glyphs.shape} and {ring_px} came; (H, W) and at least 1 accepted; render the "
                "letters at the picture's size"
            )
        inside, outside = glyphs >= INSIDE, glyphs <= OUTSIDE
        self._ring_px = ring_px
        self._parts = [
            (where & (cv2.dilate((~where).astype(np.uint8), _square(ring_px)) > 0)).astype(np.float32)
            for where in (inside, outside)
        ]
        self._counts = [self._sum(each) for each in self._parts]
        edge = (glyphs < 0.5) & (cv2.dilate((glyphs >= 0.5).astype(np.uint8), _square(1)) > 0)
        self._at = edge & (self._counts[0] > 0.5) & (self._counts[1] > 0.5)

    def ratios(self, rgb: np.ndarray) -> np.ndarray:
        """The WCAG ratios (n,) along the outline in a picture (H, W, 3) uint8; none where no outline is.

        Raises ShapeError unless the picture is of the letters' size.
        """
        if rgb.shape[:2] != self._at.shape:
            raise ShapeError(f"rgb: {rgb.shape} came; {(*self._at.shape, 3)} accepted, the size of the letters")
        light = luminance(rgb)
        at = self._at
        ink, ground = (
            np.clip(self._sum(light * part)[at] / count[at], 0, 1)
            for part, count in zip(self._parts, self._counts, strict=True)
        )
        return ratio(ink, ground)

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """The sum over a square around each pixel."""
        side = (2 * self._ring_px + 1, 2 * self._ring_px + 1)
        return np.asarray(cv2.boxFilter(values, cv2.CV_32F, side, normalize=False, borderType=cv2.BORDER_CONSTANT))


def _square(reach: int) -> np.ndarray:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _levels(colour: str) -> tuple[int, int, int]:
    try:
        red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    except ValueError as error:
        raise InputError(f'colour={colour!r}: not a colour; "#RRGGBB" accepted; give six hexadecimal digits') from error
    return red, green, blue
