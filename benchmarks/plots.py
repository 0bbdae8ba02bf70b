"""Small multiples of lines with intervals, as an SVG of a few kilobytes: no library, no font, no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

COLOURS = ("#111", "#0a7d3c", "#2a6fdb", "#c22", "#b8860b", "#8a4fbf")
WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 170, 46, 34, 62
"""Of a panel, its margins, and what lies between two."""


@dataclass(frozen=True)
class Point:
    """A value at x, with its interval where there is one."""

    x: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Panel:
    """Lines by name over one axis."""

    title: str
    lines: Mapping[str, Sequence[Point]]


def panels(every: Sequence[Panel], *, x_label: str, columns: int = 3) -> str:
    """An SVG of panels over the same logarithmic x; a line keeps its colour in all of them, and the legend is below.

    A panel without a point says so.
    """
    names = list(dict.fromkeys(name for panel in every for name in panel.lines))
    xs = sorted({point.x for panel in every for points in panel.lines.values() for point in points}) or [1.0]
    parts: list[str] = []
    for number, panel in enumerate(every):
        left = LEFT + number % columns * (WIDTH + GAP)
        top = TOP + number // columns * (HEIGHT + GAP)
        parts += _panel(panel, names, xs, left, top)
    width = LEFT + columns * (WIDTH + GAP)
    bottom = TOP + math.ceil(len(every) / columns) * (HEIGHT + GAP)
    parts.append(f'<text x="{LEFT}" y="{bottom - 8}">{escape(x_label)}</text>')
    for number, name in enumerate(names):
        x, colour = LEFT + 320 + 130 * number, _colour(number)
        parts.append(f'<path d="M{x} {bottom - 12}h22" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 28}" y="{bottom - 8}" fill="{colour}">{escape(name)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom + 6}" font-family="sans-serif"'
    return "\n".join([f'{head} font-size="12">', '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>\n"])


def _panel(panel: Panel, names: Sequence[str], xs: Sequence[float], left: int, top: int) -> list[str]:
    parts = [f'<text x="{left}" y="{top - 10}" font-weight="bold">{escape(panel.title)}</text>']
    points = [point for line in panel.lines.values() for point in line]
    if not points:
        return [*parts, f'<text x="{left}" y="{top + HEIGHT / 2}" fill="#777">not measured</text>']
    ends = [each for point in points for each in (point.value, point.low, point.high) if each is not None]
    ticks = _ticks(min(ends), max(ends))
    low, high = min(ticks[0], *ends), max(ticks[-1], *ends)

    def at_x(x: float) -> float:
        span = math.log(xs[-1] / xs[0]) or 1.0
        return left + 8 + (WIDTH - 16) * math.log(x / xs[0]) / span

    def at_y(y: float) -> float:
        return top + HEIGHT * (1 - (y - low) / ((high - low) or 1.0))

    for tick in ticks:
        y = at_y(tick)
        parts.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{tick:g}</text>')
    last = -math.inf
    for x in xs:
        if at_x(x) - last >= 20:  # room for a number
            last, y = at_x(x), top + HEIGHT + 15
            parts.append(f'<text x="{last:.1f}" y="{y}" text-anchor="middle" fill="#555">{x:.3g}</text>')
    for name, line in panel.lines.items():
        colour, dodge = _colour(names.index(name)), 3 * names.index(name)
        drawn = [(at_x(p.x) + dodge, p) for p in sorted(line, key=lambda point: point.x)]
        path = " ".join(f"{x:.1f},{at_y(p.value):.1f}" for x, p in drawn)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, point in drawn:
            parts.append(f'<circle cx="{x:.1f}" cy="{at_y(point.value):.1f}" r="3" fill="{colour}"/>')
            if point.low is not None and point.high is not None:
                y, end = at_y(point.low), at_y(point.high)
                parts.append(f'<path d="M{x:.1f} {y:.1f}V{end:.1f}" stroke="{colour}"/>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers from at most `low` on, up to `high`."""
    span = (high - low) or abs(high) or 1.0
    size = 10 ** math.floor(math.log10(span / 3))
    step = next(size * factor for factor in (1, 2, 5, 10) if span / (size * factor) <= 5)
    first = math.floor(low / step)
    return [round((first + i) * step, 10) for i in range(math.floor(high / step) - first + 1)]


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
