"""sRGB to CIELAB, and the distance of two CIELAB pictures as people see it: CIEDE2000."""

from __future__ import annotations

import cv2
import numpy as np

STRIP_PIXELS = 1 << 15
"""How many pixels are worked on at a time: the arrays of one strip stay in a core's cache."""

_LINEAR = np.array([(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4) for v in np.arange(256) / 255])
_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.95047, 1.0, 1.08883])
_TO_WHITE = (_TO_XYZ / _WHITE[:, None]).astype(np.float32)
_TO_LAB = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], dtype=np.float32)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (h, w, 3), float32, of sRGB levels (h, w, 3), uint8 or float32 from 0 to 255, under D65, 2 degrees.

    Levels below 0 or above 255 count as 0 and 255. Source: IEC 61966-2-1 and CIE 15:2004, equations 8.3 to 8.5.
    """
    if rgb.dtype == np.uint8:
        linear = _LINEAR.astype(np.float32)[rgb]
    else:
        levels = np.clip(rgb, 0, 255).astype(np.float32) * np.float32(1 / 255)
        linear = cv2.pow(levels * np.float32(1 / 1.055) + np.float32(0.055 / 1.055), 2.4)
        np.copyto(linear, levels * np.float32(1 / 12.92), where=levels <= 0.04045)
    ratio = cv2.transform(linear, _TO_WHITE)
    root = cv2.pow(ratio, 1 / 3)
    np.copyto(root, ratio * np.float32(7.787037) + np.float32(16 / 116), where=ratio <= 0.008856452)
    made: np.ndarray = cv2.transform(root, _TO_LAB)
    made[..., 0] -= 16
    return made


def ciede2000(lab_a: np.ndarray, lab_b: np.ndarray) -> np.ndarray:
    """CIEDE2000 distances (h, w), float32, of two CIELAB pictures (h, w, 3), all weights 1.

    Hue enters by unit vectors instead of angles: the mean hue of two colours is the direction of the sum of theirs.
    Source: Sharma, Wu, Dalal 2005, The CIEDE2000 Color-Difference Formula, equations 2 to 22.
    """
    height, width = lab_a.shape[:2]
    made = np.empty((height, width), dtype=np.float32)
    rows = max(STRIP_PIXELS // max(width, 1), 1)
    for top in range(0, height, rows):
        part = slice(top, top + rows)
        made[part] = _strip(
            np.ascontiguousarray(np.moveaxis(lab_a[part].astype(np.float32, copy=False), 2, 0)),
            np.ascontiguousarray(np.moveaxis(lab_b[part].astype(np.float32, copy=False), 2, 0)),
        )
    return made


def _strip(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The distances (h, w) of two strips (3, h, w); the symbols of the paper."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    grey = 1.5 - 0.5 * _share_of_chroma((_length(a1, b1) + _length(a2, b2)) * np.float32(0.5))  # 1 + G
    a1, a2 = a1 * grey, a2 * grey
    c1, c2 = _length(a1, b1), _length(a2, b2)
    product = c1 * c2
    dot = a1 * a2 + b1 * b2
    cross = a1 * b2 - a2 * b1
    # 2 sqrt(c1 c2) sin(dh / 2), by the form that does not cancel: from the cross product below a right angle
    half = np.sqrt(np.maximum((product + abs(dot)) * np.float32(0.5), np.float32(1e-24)))
    # Hues exactly opposite: the way from the one below 180 degrees to the other counts as the positive one.
    is_left = (cross > 0) | ((cross == 0) & ((b1 > 0) | ((b1 == 0) & (a1 > 0))))
    side = np.where(is_left, np.float32(1), np.float32(-1))
    d_hue = np.where(dot >= 0, cross / half, 2 * half * side)
    cos, sin = _mean_hue((a1, b1, c1), (a2, b2, c2), dot < 0, side)

    cos2, sin2 = cos * cos - sin * sin, 2 * cos * sin
    cos3, sin3 = cos2 * cos - sin2 * sin, sin2 * cos + cos2 * sin
    cos4, sin4 = cos2 * cos2 - sin2 * sin2, 2 * cos2 * sin2
    t = (
        1
        - 0.17 * _turned(cos, sin, -30)
        + 0.24 * cos2
        + 0.32 * _turned(cos3, sin3, 6)
        - 0.20 * _turned(cos4, sin4, -63)
    )
    chroma = (c1 + c2) * np.float32(0.5)
    light = (l1 + l2) * np.float32(0.5) - 50
    light *= light
    s_l = 1 + 0.015 * light / np.sqrt(20 + light)
    from_blue = _angle(_turned(cos, sin, -275), _turned(sin, -cos, -275)) * np.float32(180 / np.pi / 25)
    turn = 2 * _share_of_chroma(chroma) * np.sin(np.float32(np.pi / 3) * np.exp(-from_blue * from_blue))
    d_light = (l2 - l1) / s_l
    d_chroma = (c2 - c1) / (1 + np.float32(0.045) * chroma)
    d_hue /= 1 + np.float32(0.015) * chroma * t
    squared = d_light * d_light + d_chroma * d_chroma + d_hue * d_hue - turn * d_chroma * d_hue
    made: np.ndarray = np.sqrt(np.maximum(squared, 0))
    return made


def _length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The length of vectors, to the same bits wherever they lie in memory, which cv2.magnitude does not promise."""
    made: np.ndarray = np.sqrt(x * x + y * y)
    return made


def _turned(cos: np.ndarray, sin: np.ndarray, degrees: float) -> np.ndarray:
    """The cosine of an angle plus some degrees."""
    angle = np.deg2rad(degrees)
    made: np.ndarray = cos * np.float32(np.cos(angle)) - sin * np.float32(np.sin(angle))
    return made


def _angle(cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """The angle in radians, to 5e-6; angles beyond a quarter turn count as a quarter turn.

    By an odd polynomial for the arctangent of tan(angle / 2), many times as fast as arctan2. Beyond a quarter turn
    from 275 degrees the term it serves is below 3e-6.
    """
    x = np.clip(sin / np.maximum(1 + cos, np.float32(1e-6)), -1, 1)
    x2 = x * x
    series = np.float32(-0.01172120) * x2
    for term in (0.05265332, -0.11643287, 0.19354346, -0.33262347):
        series = (series + np.float32(term)) * x2
    made: np.ndarray = (series + np.float32(0.99997726)) * x * 2
    return made


def _share_of_chroma(chroma: np.ndarray) -> np.ndarray:
    """sqrt(C^7 / (C^7 + 25^7)) of equations 4 and 19, with C / 25 so that float32 does not run out of range."""
    ratio = chroma * np.float32(1 / 25)
    square = ratio * ratio
    power = square * square * square * ratio
    made: np.ndarray = np.sqrt(power / (power + 1))
    return made


def _mean_hue(
    first: tuple[np.ndarray, np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray, np.ndarray],
    is_obtuse: np.ndarray,
    side: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of the mean hue of equation 14, of two colours as a', b' and C'; a grey leaves it to the other.

    Half-way between two unit vectors lies their sum, and also what stands upright on their difference, on the `side`
    (1 or -1) of the shorter turn; beyond a right angle the second form does not cancel.
    """
    least = np.float32(1e-12)
    (a1, b1, c1), (a2, b2, c2) = first, second
    r1, r2 = 1 / np.maximum(c1, least), 1 / np.maximum(c2, least)
    u1, v1, u2, v2 = a1 * r1, b1 * r1, a2 * r2, b2 * r2
    x = np.where(is_obtuse, (v2 - v1) * side, u1 + u2)
    y = np.where(is_obtuse, (u1 - u2) * side, v1 + v2)
    length = _length(x, y)
    scale = 1 / np.maximum(length, least)
    x *= scale
    y *= scale
    np.copyto(x, 1, where=length < least)  # two greys: any hue will do
    return x, y
