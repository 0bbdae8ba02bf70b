"""A pen on a canvas: shapes in their own coordinates, placed, scaled and given the dark outline of a cartoon.

A shape is made once, when its module is read, from a few points that a smooth curve passes through. It keeps the
direction outward at each point, so that its outline is the same shape drawn first, a little larger and dark: four
times faster than a thick smooth line, and never thinner at a corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from recast.world.draw.canvas import BLOAT, GRID, HALF, ONE, Canvas, Colour, Point, darker, mix

LINE: Colour = (30, 22, 36)
"""The colour of every outline of a person or thing."""


@dataclass(frozen=True)
class Shape:
    """A closed outline: `points` (n, 2), and `outward` (n, 2), the unit vectors that lead away from it."""

    points: np.ndarray
    outward: np.ndarray


def shape(points: Sequence[Point] | np.ndarray) -> Shape:
    """The polygon through the points, as it is, corners sharp."""
    places = np.array(points, np.float64)
    before, after = places - np.roll(places, 1, 0), np.roll(places, -1, 0) - places
    x, y = places.T
    turn = 1 if float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) > 0 else -1
    first, second = (
        np.stack([edge[:, 1], -edge[:, 0]], 1) * (turn / np.maximum(_length(edge), 1e-9)) for edge in (before, after)
    )
    middle = first + second
    # A sharp corner's miter is longer than the line is thick, up to twice
    outward = middle * (2 / np.maximum(_length(middle) ** 2, 1.0))
    return Shape(places, np.round(outward * GRID) / GRID)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt((vectors * vectors).sum(1, keepdims=True))


def smooth(points: Sequence[Point], steps: int = 5) -> Shape:
    """The closed curve through the points, round everywhere (a Catmull-Rom spline of `steps` per point)."""
    p1 = np.array(points, np.float64)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    parts = []
    for i in range(steps):
        t = i / steps
        parts.append(
            (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3) / 2
        )
    return shape(np.stack(parts, 1).reshape(-1, 2).round(6))


@lru_cache(maxsize=256)
def tube(points: tuple[Point, ...], thickness: float) -> Shape:
    """A line through the points as one outline, its ends and outer corners round: faster drawn than piece by piece.

    Of a few fixed bends, none so sharp that the tube would cross itself.
    """
    radius = thickness / 2
    turns = [math.degrees(math.atan2(y1 - y0, x1 - x0)) for (x0, y0), (x1, y1) in pairwise(points)]
    outline: list[Point] = []
    for way, back in ((list(points), 0), (list(reversed(points)), 180)):
        angles = turns if not back else [turn + 180 for turn in reversed(turns)]
        for (x, y), before, after in zip(way[1:-1], angles, angles[1:], strict=False):
            bend = (after - before + 180) % 360 - 180
            if bend < 0:  # the left of the line is the inside of the bend: one point where both edges meet
                reach, middle = radius / cosine(bend / 2), before + bend / 2 - 90
                outline.append((x + reach * cosine(middle), y + reach * sine(middle)))
            else:
                for i in range(4):
                    turn = before - 90 + bend * i / 3
                    outline.append((x + radius * cosine(turn), y + radius * sine(turn)))
        x, y = way[-1]
        outline += [
            (x + radius * cosine(angles[-1] + 22.5 * i), y + radius * sine(angles[-1] + 22.5 * i)) for i in range(-4, 5)
        ]
    return shape(outline)


def _is_gentle(a: Point, b: Point, c: Point) -> bool:
    """Whether a way from a by b to c turns by less than sixty degrees."""
    (ux, uy), (vx, vy) = (b[0] - a[0], b[1] - a[1]), (c[0] - b[0], c[1] - b[1])
    along = ux * vx + uy * vy
    return along > 0 and 4 * along * along > (ux * ux + uy * uy) * (vx * vx + vy * vy)


def mirrored(points: Sequence[Point]) -> list[Point]:
    """The points of the right half, from top to bottom, followed by the left half's from bottom to top."""
    return [*points, *((-x, y) for x, y in reversed(points) if x)]


def round_shape(count: int = 28) -> Shape:
    """A circle of radius 1."""
    return shape([(cosine(360 * i / count), sine(360 * i / count)) for i in range(count)])


def star_shape(tips: int, inner: float, turn: float = -90) -> Shape:
    """A star of radius 1 with `tips`, its inner corners at `inner`."""
    step = 180 / tips
    radii = (1.0, inner)
    return shape(
        [(radii[i % 2] * cosine(turn + i * step), radii[i % 2] * sine(turn + i * step)) for i in range(2 * tips)]
    )


def sine(degrees: float) -> float:
    """The sine, rounded so that it is the same everywhere."""
    return round(math.sin(math.radians(degrees)) * GRID) / GRID


def cosine(degrees: float) -> float:
    """The cosine, rounded so that it is the same everywhere."""
    return round(math.cos(math.radians(degrees)) * GRID) / GRID


CIRCLE = round_shape()


class Pen:
    """Draws in units of `unit` picture heights around (x, y), with outlines `line` units thick."""

    def __init__(self, canvas: Canvas, x: float, y: float, unit: float, line: float) -> None:
        self.canvas, self.x, self.y, self.unit, self.line = canvas, x, y, unit, line
        self._pixels = canvas.scale * ONE
        self._whole = unit * self._pixels

    def at(self, x: float, y: float) -> Point:
        """The place on the canvas of a point of the pen."""
        return self.x + x * self.unit, self.y + y * self.unit

    def moved(self, x: float, y: float, scale: float = 1.0) -> Pen:
        """A pen whose origin lies at (x, y) of this one; its outlines stay as thick."""
        return Pen(self.canvas, *self.at(x, y), self.unit * scale, self.line / scale)

    def fill(
        self, outline: Shape, colour: Colour, x: float = 0, y: float = 0, sx: float = 1, sy: float = 1, grow: float = 0
    ) -> None:
        """The shape without a line around it, scaled by (sx, sy), moved to (x, y), grown by `grow` on every side."""
        places = self._places(outline, x, y, sx, sy)
        places += self._outward(outline, sx) * (grow * self._whole - BLOAT)
        self.canvas.fill([_whole(places)], colour)

    def fill_all(self, outlines: Sequence[Shape], colour: Colour) -> None:
        """Shapes that do not overlap, without lines around them."""
        corners = [self._places(each, 0, 0, 1, 1) - each.outward * BLOAT for each in outlines]
        self.canvas.fill([_whole(places) for places in corners], colour)

    def inked(
        self,
        outline: Shape,
        colour: Colour,
        x: float = 0,
        y: float = 0,
        sx: float = 1,
        sy: float = 1,
        shade: Colour | None = None,
        ink: Colour = LINE,
        line: float | None = None,
    ) -> None:
        """The shape with its outline; with `shade`, its lower right edge in that colour."""
        thick = (self.line if line is None else line) * self._whole
        places, outward = self._places(outline, x, y, sx, sy), self._outward(outline, sx)
        self.canvas.fill([_whole(places + outward * (thick - BLOAT))], ink)
        if shade is not None:
            self.canvas.fill([_whole(places - outward * BLOAT)], shade)
            places -= outward * (thick + BLOAT)
            places -= (0.8 * thick, thick)
        else:
            places -= outward * BLOAT
        self.canvas.fill([_whole(places)], colour)

    def _places(self, outline: Shape, x: float, y: float, sx: float, sy: float) -> np.ndarray:
        """The shape's points in 1/32 pixels of the canvas, not yet whole."""
        whole = self._whole
        places = outline.points * (sx * whole if sx == sy else (sx * whole, sy * whole))  # a number is twice as fast
        places += ((self.x + x * self.unit) * self._pixels - HALF, (self.y + y * self.unit) * self._pixels - HALF)
        return places

    @staticmethod
    def _outward(outline: Shape, sx: float) -> np.ndarray:
        return outline.outward if sx > 0 else outline.outward * (-1, 1)

    def disc(self, x: float, y: float, rx: float, colour: Colour, ry: float | None = None, angle: float = 0) -> None:
        """An ellipse without a line around it."""
        self.canvas.ellipse(self.at(x, y), (rx * self.unit, (rx if ry is None else ry) * self.unit), colour, angle)

    def inked_disc(
        self, x: float, y: float, rx: float, colour: Colour, ry: float | None = None, shade: Colour | None = None
    ) -> None:
        """An ellipse with its outline; with `shade`, its lower right edge in that colour."""
        high = rx if ry is None else ry
        self.disc(x, y, rx + self.line, LINE, high + self.line)
        if shade is not None:
            self.disc(x, y, rx, shade, high)
            self.disc(x - 0.1 * rx, y - 0.11 * high, rx * 0.86, colour, high * 0.86)
        else:
            self.disc(x, y, rx, colour, high)

    def stroke(self, points: Sequence[Point], colour: Colour, thickness: float) -> None:
        """A line with round ends through the points."""
        self.canvas.outline([self.at(*point) for point in points], colour, thickness * self.unit, closed=False)

    def inked_stroke(self, points: Sequence[Point], colour: Colour, thickness: float) -> None:
        """A line with round ends and an outline around it."""
        self.stroke(points, LINE, thickness + 2 * self.line)
        self.stroke(points, colour, thickness)

    def inked_tube(self, points: tuple[Point, ...], colour: Colour, thickness: float) -> None:
        """As `inked_stroke`, faster where the points are always the same and their bends gentle."""
        if all(_is_gentle(*three) for three in zip(points, points[1:], points[2:], strict=False)):
            self.inked(tube(points, thickness), colour)
        else:
            self.inked_stroke(points, colour, thickness)

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: Colour, thickness: float
    ) -> None:
        """A part of an ellipse's edge, from `start` to `end` degrees clockwise from the right."""
        self.canvas.ellipse(
            self.at(x, y), (rx * self.unit, ry * self.unit), colour, 0, start, end, thickness * self.unit
        )

    def sector(self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: Colour) -> None:
        """A part of a disc, from `start` to `end` degrees clockwise from the right."""
        self.canvas.ellipse(self.at(x, y), (rx * self.unit, ry * self.unit), colour, 0, start, end)


def _whole(places: np.ndarray) -> np.ndarray:
    return np.rint(places).astype(np.int32)


def shaded(colour: Colour) -> Colour:
    """The colour in the shade: darker, and a little towards violet, as painters do."""
    return mix(darker(colour, 0.78), (70, 40, 120), 0.12)


def lit(colour: Colour) -> Colour:
    """The colour in full light."""
    return mix(colour, (255, 255, 255), 0.45)
