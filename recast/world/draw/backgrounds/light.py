"""The light of a time of day: what it does to colours, and what it puts into the sky and the air."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np

from recast.world.draw.canvas import Canvas, Colour, mix
from recast.world.draw.exact import Draws

SNOW: Colour = (244, 249, 255)
SKIES: dict[str, tuple[tuple[Colour, Colour, Colour], ...]] = {  # by palette: top, middle, horizon
    "day": (
        ((20, 116, 232), (82, 176, 250), (196, 236, 255)),
        ((0, 158, 214), (84, 208, 232), (214, 248, 240)),
        ((66, 92, 226), (134, 158, 250), (228, 222, 255)),
        ((24, 146, 196), (120, 208, 214), (255, 240, 196)),
    ),
    "night": (
        ((6, 8, 40), (18, 28, 88), (44, 66, 146)),
        ((4, 16, 38), (8, 46, 84), (22, 92, 128)),
        ((16, 4, 46), (44, 20, 96), (92, 52, 150)),
        ((2, 6, 28), (14, 22, 64), (56, 60, 108)),
    ),
    "sunset": (
        ((84, 36, 122), (236, 84, 88), (255, 190, 84)),
        ((120, 28, 96), (250, 98, 58), (255, 214, 92)),
        ((58, 40, 132), (222, 76, 128), (255, 160, 116)),
        ((150, 40, 60), (252, 122, 40), (255, 226, 120)),
    ),
    "winter": (
        ((118, 158, 206), (176, 204, 232), (236, 244, 252)),
        ((132, 176, 204), (186, 216, 230), (240, 248, 250)),
        ((136, 146, 200), (188, 194, 230), (240, 240, 252)),
        ((150, 166, 184), (200, 210, 222), (244, 246, 248)),
    ),
}
SUNS: dict[str, tuple[Colour, Colour]] = {  # disc and glow
    "day": ((255, 244, 150), (255, 255, 220)),
    "night": ((246, 244, 220), (150, 170, 226)),
    "sunset": ((255, 246, 180), (255, 150, 70)),
    "winter": ((255, 255, 246), (236, 244, 255)),
}

EIGHT = np.array(
    ((1.0, 0.4), (0.4, 1.0), (-0.4, 1.0), (-1.0, 0.4), (-1.0, -0.4), (-0.4, -1.0), (0.4, -1.0), (1.0, -0.4))
)
"""The corners of a small disc of radius 1."""


class Light:
    """A time of day in one of four palettes."""

    def __init__(self, time: str, palette: int) -> None:
        self.time = time
        self.sky = SKIES[time][palette]
        self.is_night, self.is_sunset, self.is_winter = (time == name for name in ("night", "sunset", "winter"))

    def on(self, colour: Colour, snow: float = 0.0) -> Colour:
        """The colour in this light; in winter `snow` of it (0 to 1) lies under snow."""
        if self.time == "day":
            return colour
        if self.is_winter:
            gray = (colour[0] * 77 + colour[1] * 150 + colour[2] * 29) // 256
            return mix(mix(mix(colour, (gray, gray, gray), 0.35), (190, 212, 240), 0.22), SNOW, snow)
        red, green, blue = colour
        if self.is_night:
            return mix((red * 52 // 100, green * 54 // 100, blue * 68 // 100), (16, 26, 92), 0.36)
        return mix((min(255, red * 104 // 100), green * 72 // 100, blue * 62 // 100), (255, 96, 60), 0.2)

    def air(self, colour: Colour, far: float, snow: float = 0.0) -> Colour:
        """The colour in this light, `far` (0 to 1) of the way to the horizon."""
        return mix(self.on(colour, snow), self.sky[2] if not self.is_night else self.sky[1], far)

    def paint_sky(self, canvas: Canvas, horizon: float) -> None:
        """Paint the sky down to the horizon."""
        canvas.gradient(0, horizon * 0.55, self.sky[0], self.sky[1])
        canvas.gradient(horizon * 0.55, horizon, self.sky[1], self.sky[2])

    def paint_sun(self, canvas: Canvas, x: float, y: float, radius: float) -> None:
        """Paint the sun, low at sunset, or the moon, with its glow; x in widths."""
        disc, glow = SUNS[self.time]
        center = (x * canvas.aspect, y)
        behind = self.sky[0] if y < 0.2 else self.sky[1]
        for size, share in ((2.3, 0.16), (1.75, 0.32), (1.35, 0.55)):
            canvas.circle(center, radius * size, mix(behind, glow, share))
        canvas.circle(center, radius, disc)
        if self.is_night:
            for dx, dy, size in ((-0.3, -0.25, 0.24), (0.34, 0.2, 0.3), (-0.15, 0.45, 0.16)):
                spot = (center[0] + dx * radius, y + dy * radius)
                canvas.circle(spot, radius * size, (216, 214, 196))

    def paint_air(self, canvas: Canvas, draws: Draws, horizon: float) -> None:
        """Paint stars into a night sky, clouds into any other."""
        if self.is_night:
            paint_stars(canvas, draws, 26, horizon * 0.9)
            return
        for _ in range(3):
            x, y, size = draws.between(0, 1), draws.between(0.06, horizon * 0.5), draws.between(0.05, 0.085)
            self.paint_cloud(canvas, x * canvas.aspect, y, size)

    def paint_cloud(self, canvas: Canvas, x: float, y: float, size: float) -> None:
        """Paint one cloud, `size` the radius of its largest puff."""
        lit, shade = {
            "day": ((255, 255, 255), (206, 228, 250)),
            "sunset": ((255, 206, 150), (226, 110, 120)),
            "winter": ((248, 250, 254), (206, 218, 234)),
            "night": ((70, 84, 150), (44, 56, 116)),
        }[self.time]
        for colour, drop in ((shade, 0.25), (lit, 0.0)):
            for dx, dy, r in ((-1.3, 0.2, 0.62), (1.35, 0.25, 0.55), (0.55, -0.15, 0.82), (-0.4, -0.25, 1.0)):
                canvas.ellipse((x + dx * size, y + (dy + drop) * size), (r * size * 1.15, r * size), colour)

    def paint_snow(self, canvas: Canvas, draws: Draws) -> None:
        """Paint falling snow, in winter alone."""
        if not self.is_winter:
            return
        sizes = (0.006, 0.009, 0.014)
        flakes = [(draws.between(0, canvas.aspect), draws.between(0, 1), sizes[i % 3]) for i in range(30)]
        dots(canvas, flakes, (255, 255, 255))


def glow(canvas: Canvas, center: tuple[float, float], radius: float, colour: Colour) -> None:
    """Add light to what is painted already: `colour` in the middle, nothing from `radius` on."""
    reach = round(radius * canvas.scale)
    left, top = (round(value * canvas.scale) - reach for value in center)
    lit = canvas.pixels[max(top, 0) : top + 2 * reach, max(left, 0) : left + 2 * reach]
    if not lit.size:
        return
    strength = cv2.resize(_falloff(), (2 * reach, 2 * reach), interpolation=cv2.INTER_LINEAR)
    strength = strength[max(-top, 0) :, max(-left, 0) :][: lit.shape[0], : lit.shape[1]]
    table = (np.arange(256)[:, None] * np.array(colour) >> 8).astype(np.uint8)[:, None]
    cv2.add(lit, cv2.LUT(cv2.merge((strength,) * 3), table), lit)


@lru_cache(maxsize=1)
def _falloff() -> np.ndarray:
    """How strong a glow is around its middle: 255 to 0, (64, 64) uint8."""
    square = (np.arange(64) * 2 - 63) ** 2
    share = (4096 - square[:, None] - square[None]).clip(0)
    return (share * share * 255 >> 24).astype(np.uint8)


def boxes(canvas: Canvas, corners: Sequence[tuple[float, float, float, float]], colour: Colour) -> None:
    """Paint upright rectangles (left, top, right, bottom) that do not overlap, all at once."""
    if corners:
        _fill(canvas, np.array(corners)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2), colour)


def dots(canvas: Canvas, places: Sequence[tuple[float, float, float]], colour: Colour) -> None:
    """Paint small discs (x, y, radius), all at once; where two meet, the ground shows."""
    each = np.array(places)
    _fill(canvas, each[:, None, :2] + each[:, None, 2:] * EIGHT, colour)


def _fill(canvas: Canvas, polygons: np.ndarray, colour: Colour) -> None:
    canvas.fill(list(canvas.fixed(polygons)), colour)


def paint_stars(canvas: Canvas, draws: Draws, count: int, lowest: float) -> None:
    """Paint stars down to a height: every sixth a sparkle, the others dots."""
    places = [
        (draws.between(0, canvas.aspect), draws.between(0, lowest), draws.between(0.004, 0.009)) for _ in range(count)
    ]
    for x, y, radius in places[::6]:
        sparkle(canvas, (x, y), radius * 2.4)
    dots(canvas, [each for i, each in enumerate(places) if i % 6], (226, 232, 255))


def sparkle(canvas: Canvas, center: tuple[float, float], radius: float) -> None:
    """Paint a star with four points."""
    x, y = center
    small = radius * 0.28
    corners = ((0, -radius), (small, -small), (radius, 0), (small, small), (0, radius), (-small, small), (-radius, 0))
    canvas.polygon([(x + dx, y + dy) for dx, dy in (*corners, (-small, -small))], (255, 250, 214))


def land(canvas: Canvas, heights: Sequence[float], colour: Colour, bottom: float = 1.0) -> None:
    """Paint everything from a line of heights, evenly spaced from left to right, down to `bottom`."""
    step = canvas.aspect / (len(heights) - 1)
    ridge = [(i * step, y) for i, y in enumerate(heights)]
    canvas.polygon([*ridge, (canvas.aspect, bottom), (0, bottom)], colour)


def rolling(knots: Sequence[float], per_knot: int = 6) -> list[float]:
    """A smooth line of heights through the knots, level at each."""
    line = []
    for a, b in pairwise(knots):
        for i in range(per_knot):
            share = i / per_knot
            line.append(a + (b - a) * share * share * (3 - 2 * share))
    return [*line, knots[-1]]
