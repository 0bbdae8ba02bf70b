"""What is done to a whole finished picture: looks, which change its colours, and styles, which redraw it.

Both work on any picture, photographs too, at any size: lengths grow with its height. Colours stay apart under every
style, so that a shirt's can still be told. All arithmetic is on bytes (see exact.py): the same picture gives the same
bytes everywhere.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from recast.errors import InputError
from recast.world.draw import exact
from recast.world.scene import LOOKS, STYLES

_NO_FRACTIONS = np.empty(0, np.int16)  # of a map in whole pixels
BLOCKS = 64  # of a pixel drawing, along its height


def look(pixels: np.ndarray, look: str) -> np.ndarray:
    """The picture (H, W, 3) uint8 in other colours, of the same size; "none" gives the picture itself.

    Raises InputError for a word that is not of LOOKS.
    """
    _check(look, LOOKS, "look")
    if look == "none":
        return pixels
    if look == "black and white":
        gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        return cv2.merge((gray, gray, gray))
    return exact.toned(pixels, _look_table(look))


@lru_cache
def _look_table(look: str) -> np.ndarray:
    if look == "contrast":
        s_shaped = exact.curve([(16, 0), (64, 36), (128, 128), (192, 220), (240, 255)])
        return exact.curves(s_shaped, s_shaped, s_shaped)
    lifted = exact.curve([(0, 8), (64, 84), (160, 190), (255, 255)])
    same = exact.curve([(0, 0), (128, 130), (255, 250)])
    lowered = exact.curve([(0, 0), (128, 96), (255, 196)])
    return exact.curves(lifted, same, lowered) if look == "warm" else exact.curves(lowered, same, lifted)


def style(pixels: np.ndarray, style: str) -> np.ndarray:
    """The picture (H, W, 3) uint8 redrawn, of the same size; "flat" gives the picture itself.

    Raises InputError for a word that is not of STYLES.
    """
    _check(style, STYLES, "style")
    if style == "flat":
        return pixels
    return {"watercolor": watercolor, "pencil": pencil, "pixel": pixel, "poster": poster}[style](pixels)


def pixel(pixels: np.ndarray) -> np.ndarray:
    """A drawing of few pixels: blocks of a 64th of the height, in few brightnesses and hues."""
    height, width = pixels.shape[:2]
    rows, columns = min(BLOCKS, height), min(max(1, round(BLOCKS * width / height)), width)
    ys, xs = (np.arange(count + 1) * side // count for count, side in ((rows, height), (columns, width)))
    # Means of whole blocks by sums: the area filter's float32 weights would round
    sums = cv2.integral(pixels)[ys][:, xs]
    totals = sums[1:, 1:] - sums[1:, :-1] - sums[:-1, 1:] + sums[:-1, :-1]
    means = (totals // (np.diff(ys)[:, None] * np.diff(xs))[..., None]).astype(np.uint8)
    small = _few_tones(means, _steps(24, 1.0, 12), _steps(16, 1.15))
    if not (height % rows or width % columns):
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    return small.repeat(np.diff(ys), 0).repeat(np.diff(xs), 1)


def poster(pixels: np.ndarray) -> np.ndarray:
    """A print in few flat tones with dark contours."""
    smooth = _washed(pixels)
    tones = _few_tones(smooth, _steps(48, 1.0, 24), _steps(14, 1.3))
    return cv2.subtract(tones, _gray(_contours(smooth, exact.curve([(44, 0), (120, 190)]))))


def watercolor(pixels: np.ndarray) -> np.ndarray:
    """Soft washes that run out of line, darker where they end, on grainy paper."""
    height, width = pixels.shape[:2]
    washed = _washed(_wavering(pixels))
    gray = cv2.cvtColor(washed, cv2.COLOR_RGB2GRAY)
    side = exact.odd(height / 28)
    # Pigment gathers at the rim of a wash: what is darker than its surroundings gets darker still
    rim = cv2.LUT(cv2.subtract(cv2.blur(gray, (side, side)), gray), exact.curve([(2, 0), (40, 88)]))
    pale = cv2.LUT(washed, exact.curve([(0, 30), (64, 104), (128, 176), (200, 240), (255, 255)]))
    return exact.scaled(cv2.subtract(pale, _gray(rim)), _paper(width, height))


def pencil(pixels: np.ndarray) -> np.ndarray:
    """Coloured pencil: hatching as dense as the picture is dark, and contours, on white paper; hues stay."""
    height, width = pixels.shape[:2]
    # What a colour lacks of white is laid on by strokes; the lighter the place, the more paper they leave
    missing = cv2.LUT(cv2.bitwise_not(pixels), exact.curve([(0, 0), (40, 18), (160, 168), (255, 224)]))
    lead = cv2.multiply(missing, _gray(_hatching(width, height)), scale=1 / 256)
    lines = _contours(pixels, exact.curve([(28, 0), (120, 86)]))
    return cv2.subtract(cv2.subtract(_sheet(width, height), lead), _gray(lines))


def _few_tones(pixels: np.ndarray, lightness: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """The picture with its lightness and its two differences of colour each put through a table: grays stay gray."""
    parts = exact.toned(cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb), exact.curves(lightness, hue, hue))
    return cv2.cvtColor(parts, cv2.COLOR_YCrCb2RGB)


@lru_cache
def _steps(step: int, gain: float, shift: int = 0) -> np.ndarray:
    """The table of 256 bytes that keeps only every `step`-th level from 128 + shift, first spread by a gain."""
    levels = (np.arange(256) - 128 - shift) * round(gain * 256) >> 8
    return ((levels + step // 2) // step * step + 128 + shift).clip(0, 255).astype(np.uint8)


def _washed(pixels: np.ndarray) -> np.ndarray:
    """The picture without fine detail, edges kept: a median at about 128 rows, so alike at every size."""
    height, width = pixels.shape[:2]
    factor = max(2, height // 128)
    small = cv2.blur(pixels, (factor, factor))[factor // 2 :: factor, factor // 2 :: factor]
    small = cv2.medianBlur(np.ascontiguousarray(small), 3)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _contours(pixels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """How much darker the line through each pixel is, (H, W) uint8: along the edges of any colour."""
    side = exact.odd(pixels.shape[0] / 110)
    red, green, blue = cv2.split(cv2.morphologyEx(pixels, cv2.MORPH_GRADIENT, np.ones((side, side), np.uint8)))
    return cv2.LUT(cv2.max(cv2.max(red, green), blue), table)


def _wavering(pixels: np.ndarray) -> np.ndarray:
    """The picture with its lines a little astray, as a wet brush leaves them."""
    height, width = pixels.shape[:2]
    return cv2.remap(pixels, _astray(width, height), _NO_FRACTIONS, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


@lru_cache(maxsize=4)
def _astray(width: int, height: int) -> np.ndarray:
    amount = max(2, height // 72)
    shifts = [_noise(seed, 128, width, height).astype(np.int64) - 128 for seed in (2, 4)]
    across, down = (np.rint(shift * amount / 96).astype(np.int16) for shift in shifts)
    return np.stack((across + np.arange(width)[None], down + np.arange(height)[:, None]), -1).astype(np.int16)


@lru_cache(maxsize=12)
def _noise(seed: int, keep: int, width: int, height: int) -> np.ndarray:
    """A fixed window of noise, its features growing with the picture, (H, W) uint8."""
    return exact.window(exact.tile(seed, keep), exact.Draws(61, seed), 0.25, width, height)


@lru_cache(maxsize=4)
def _paper(width: int, height: int) -> np.ndarray:
    """The light on a rough paper, (H, W) uint8 in 1/128."""
    return exact.weighted(_noise(1, 256, width, height), _noise(9, 200, width, height), 52, 26, 89)


@lru_cache(maxsize=4)
def _sheet(width: int, height: int) -> np.ndarray:
    white = np.full((height, width, 3), (252, 250, 244), np.uint8)
    return exact.scaled(white, exact.weighted(_noise(1, 256, width, height), _noise(1, 256, width, height), 8, 0, 123))


@lru_cache(maxsize=4)
def _hatching(width: int, height: int) -> np.ndarray:
    """How much of each pixel the strokes of a pencil cover, (H, W) uint8: slanted lines of uneven pressure."""
    strokes = cv2.blur(exact.tile(9, 0)[:320, : exact.TILE], (1, 25), borderType=cv2.BORDER_REFLECT)
    # Each row one pixel further than the one above it: upright strokes come to lean by 45 degrees
    leaning = cv2.blur(np.stack([np.roll(row, -i) for i, row in enumerate(strokes)]), (2, 2))
    leaning = cv2.LUT(leaning, exact.curve([(112, 120), (128, 205), (144, 255)]))
    columns = min(leaning.shape[1], -(-width * 320 // height))
    return cv2.resize(leaning[:, :columns], (width, height), interpolation=cv2.INTER_LINEAR)


def _gray(plane: np.ndarray) -> np.ndarray:
    return cv2.merge((plane, plane, plane))


def _check(value: str, accepted: tuple[str, ...], name: str) -> None:
    if value not in accepted:
        raise InputError(f"{name}={value!r}: not known to the world; accepted: {', '.join(accepted)}")
