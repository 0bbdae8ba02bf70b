"""A canvas on which shapes are drawn twice as large with smooth edges, then averaged: anti-aliasing in exact bytes.

Places and lengths are fractions of the picture's height: x runs from 0 to `aspect` (width / height), y from 0 (top) to
1. OpenCV rasterises in whole numbers of 1/32 pixel, so the same shapes give the same bytes on every machine. A canvas
may also keep a label for each pixel, the part that was painted there last; labels have hard edges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import cv2
import numpy as np

from recast.world.draw import exact

Colour = tuple[int, int, int]
Point = tuple[float, float]
Points = Iterable[Point] | np.ndarray

OVER = 2  # linear supersampling
SHIFT = 5  # bits of a pixel's fraction
ONE = 1 << SHIFT
HALF = ONE // 2  # OpenCV counts from the middle of a pixel, we from its edge
BLOAT = 0.6 * ONE  # what OpenCV's smooth edge adds on every side, so that a larger picture would have thinner lines
FINEST = 0.75  # pixels of the canvas: half the thickness of the finest line
GRID = 1 << 16  # sines are rounded to it: their last bit is not the same on every machine


class Canvas:
    """Pixels under construction: `pixels` (OVER H, OVER W, 3) uint8, and `labels` (OVER H, OVER W) uint8 if asked for.

    base: a picture (H, W, 3) uint8 to draw on, or one colour.
    """

    def __init__(self, width: int, height: int, base: np.ndarray | Colour = (0, 0, 0), labelled: bool = False) -> None:
        self.width, self.height = width, height
        self.aspect = width / height
        self.scale = height * OVER  # pixels of the canvas per unit of length
        if isinstance(base, np.ndarray):
            self.pixels = _enlarged(base)
        else:
            self.pixels = np.empty((height * OVER, width * OVER, 3), np.uint8)
            self.pixels.reshape(height * OVER, -1)[:] = np.tile(np.array(base, np.uint8), width * OVER)
        self.labels = np.zeros(self.pixels.shape[:2], np.uint8) if labelled else None
        self.names: list[str] = ["background"]
        self._label = 0

    def part(self, name: str) -> None:
        """Whatever is drawn from here on belongs to the part `name` (a path, as "characters.0.shirt")."""
        if self.labels is None:
            return
        if name not in self.names:
            self.names.append(name)
        self._label = self.names.index(name)

    def polygon(self, points: Points, colour: Colour) -> None:
        """A filled polygon, edges smooth. Points: pairs, or an array (n, 2)."""
        self.fill([self.fixed(points)], colour)

    def fill(self, contours: list[np.ndarray], colour: Colour) -> None:
        """Filled polygons in 1/32 pixels of the canvas, (n, 2) int32; what lies in two of them is left out."""
        cv2.fillPoly(self.pixels, contours, colour, cv2.LINE_AA, SHIFT)
        if self.labels is not None:
            cv2.fillPoly(self.labels, contours, self._label, cv2.LINE_8, SHIFT)

    def outline(self, points: Points, colour: Colour, thickness: float, closed: bool = True) -> None:
        """A line through the points with round joints and ends, `thickness` thick."""
        corners = self.fixed(points).tolist()
        radius = max(0.5 * thickness * self.scale, FINEST) * ONE - BLOAT
        for start, end in zip(corners, corners[1:] + corners[:1] if closed else corners[1:], strict=False):
            piece = _capsule(start, end, radius)
            cv2.fillConvexPoly(self.pixels, piece, colour, cv2.LINE_AA, SHIFT)
            if self.labels is not None:
                cv2.fillConvexPoly(self.labels, piece, self._label, cv2.LINE_8, SHIFT)

    def line(self, start: Point, end: Point, colour: Colour, thickness: float) -> None:
        """A line with round ends."""
        self.outline((start, end), colour, thickness, closed=False)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled upright rectangle."""
        self.polygon(((left, top), (right, top), (right, bottom), (left, bottom)), colour)

    def ellipse(
        self,
        center: Point,
        radii: tuple[float, float],
        colour: Colour,
        angle: float = 0,
        start: float = 0,
        end: float = 360,
        thickness: float | None = None,
    ) -> None:
        """An ellipse or, from `start` to `end` degrees (clockwise from the right), a sector; a ring or arc if thick."""
        if thickness is not None:
            self._band(center, radii, colour, angle, start, end, max(thickness, 2 * FINEST / self.scale))
            return
        whole = self.scale * ONE
        place = (round(center[0] * whole - HALF), round(center[1] * whole - HALF))
        axes = (max(1, round(radii[0] * whole - BLOAT)), max(1, round(radii[1] * whole - BLOAT)))
        cv2.ellipse(self.pixels, place, axes, angle, start, end, colour, -1, cv2.LINE_AA, SHIFT)
        if self.labels is not None:
            cv2.ellipse(self.labels, place, axes, angle, start, end, self._label, -1, cv2.LINE_8, SHIFT)

    def circle(self, center: Point, radius: float, colour: Colour, thickness: float | None = None) -> None:
        """A disc, or a ring if thickness is given."""
        self.ellipse(center, (radius, radius), colour, thickness=thickness)

    def gradient(self, top: float, bottom: float, upper: Colour, lower: Colour) -> None:
        """A vertical gradient over the whole width, from one colour to another."""
        first, last = (min(max(round(y * self.scale), 0), self.pixels.shape[0]) for y in (top, bottom))
        if last <= first:
            return
        ramp = (np.arange(last - first, dtype=np.int64) * 4096 // max(last - first - 1, 1))[:, None]
        a, b = np.array([upper], np.int64), np.array([lower], np.int64)
        rows = (a * (4096 - ramp) + b * ramp + 2048) // 4096
        across, done = self.pixels.reshape(self.pixels.shape[0], -1)[first:last], 3
        across[:, :3] = rows
        while done < across.shape[1]:  # each time twice as wide: ten times faster than pixel by pixel
            more = min(done, across.shape[1] - done)
            across[:, done : done + more] = across[:, :more]
            done += more
        if self.labels is not None:
            self.labels[first:last] = self._label

    def finished(self) -> np.ndarray:
        """The picture, (H, W, 3) uint8."""
        return cv2.resize(self.pixels, (self.width, self.height), interpolation=cv2.INTER_AREA)

    def finished_labels(self) -> np.ndarray:
        """Of each pixel, the index into `names` of the part seen at its upper left corner, (H, W) uint8."""
        assert self.labels is not None
        return np.ascontiguousarray(self.labels[::OVER, ::OVER])

    def _band(
        self,
        center: Point,
        radii: tuple[float, float],
        colour: Colour,
        angle: float,
        start: float,
        end: float,
        thickness: float,
    ) -> None:
        """A ring or an arc with round ends as polygons: twenty times faster than OpenCV's thick ellipse."""
        edge, cap = _directions(start, end), 0.5 * thickness - BLOAT / ONE / self.scale
        whole = end - start >= 360
        outer = edge * (radii[0] + cap, radii[1] + cap)
        inner = edge[::-1] * (max(radii[0] - cap, 0.0), max(radii[1] - cap, 0.0))
        if whole:
            contours = [outer, inner]  # even and odd: what lies in both is left out
        else:
            first = edge[0] * radii + _directions(start - 180, start) * cap
            last = edge[-1] * radii + _directions(end, end + 180) * cap
            contours = [np.concatenate((outer, last, inner, first))]
        if angle:
            (c, s), turned = _directions(angle, angle + 360)[0], []
            for part in contours:
                turned.append(np.stack((part[:, 0] * c - part[:, 1] * s, part[:, 0] * s + part[:, 1] * c), 1))
            contours = turned
        self.fill([self.fixed(part + center) for part in contours], colour)

    def fixed(self, points: Points) -> np.ndarray:
        """The points in whole 1/32 pixels of the canvas, (n, 2) int32."""
        places = points if isinstance(points, np.ndarray) else np.array(list(points), np.float64)
        return np.rint(places * (self.scale * ONE) - HALF).astype(np.int32)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) with OVER x OVER points for each pixel: half the time of a resize to the nearest."""
    height, width = picture.shape[:2]
    out = np.empty((height * OVER, width * OVER, 3), np.uint8)
    wide = [cv2.merge((plane,) * OVER).reshape(height, width * OVER) for plane in exact.split(picture)]
    cv2.merge(wide, out[::OVER])
    for i in range(1, OVER):
        out[i::OVER] = out[::OVER]
    return out


@lru_cache(maxsize=4096)
def _directions(start: float, end: float) -> np.ndarray:
    """Unit vectors (n, 2) from `start` to `end` degrees, about ten degrees apart, rounded as all machines agree on."""
    count = max(2, math.ceil((end - start) / 11) + 1)
    turns = [math.radians(start + (end - start) * i / (count - 1)) for i in range(count)]
    return np.round(np.array([(math.cos(turn), math.sin(turn)) for turn in turns]) * GRID) / GRID


def _capsule(start: Sequence[int], end: Sequence[int], radius: float) -> np.ndarray:
    """The outline at a distance of `radius` around a line, (n, 2) int32."""
    # Points as complex numbers: one call for both coordinates
    (x0, y0), (x1, y1) = start, end
    length = math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2)
    u, v = (radius * (x1 - x0) / length, radius * (y1 - y0) / length) if length else (radius, 0.0)
    turn = _HALF_TURN[::2] if radius < 4 * ONE else _HALF_TURN  # of a fine line nobody sees the corners
    reach = np.rint(turn * complex(u, v))
    corners = np.concatenate((reach + complex(x1, y1), complex(x0, y0) - reach))
    return corners.view(np.float64).astype(np.int32).reshape(-1, 2)


_HALF_TURN = np.array([complex(*_directions(22.5 * i, 360)[0]) for i in range(-4, 5)])


@lru_cache(maxsize=8192)
def mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour `share` of the way from a to b."""
    return tuple(round(x * (1 - share) + y * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def darker(colour: Colour, share: float = 0.75) -> Colour:
    """The colour with `share` of its light."""
    return mix((0, 0, 0), colour, share)
