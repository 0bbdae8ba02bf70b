"""Drawings of the report as inline SVG: radar, lines with bands, distribution curves, and a scatter with intervals.

Each is an `img` to a screen reader, with a title and a description that says the numbers; the tables beside them hold
the same. Colours come from the style sheet by the classes s0 … s7, so that they follow light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from recast.quality.page import escape
from recast.quality.page.words import UNKNOWN, number, rounded

NUM_COLOURS = 8
WIDTH, HEIGHT = 340, 236
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 14, 40
LETTER = 6.2  # pixels that a letter of 11 px takes on average, rounded up
Values = Sequence[float | None]


@dataclass(frozen=True)
class Series:
    """One system's values in a drawing. `place`: which of all systems it is; it chooses colour, dashes and mark."""

    place: int
    name: str
    values: Values
    low: Values = ()
    high: Values = ()
    xs: Sequence[float] = field(default=())
    xs_low: Values = ()
    xs_high: Values = ()
    is_control: bool = False


@dataclass(frozen=True)
class Axis:
    """What a direction of a drawing shows, from `low` to `high`."""

    label: str
    low: float
    high: float
    unit: str = ""
    is_log: bool = False
    fixed: Sequence[float] = ()

    def at(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one; beyond them is drawn at the end."""
        low, high, value = (
            (math.log(x) if self.is_log else x)
            for x in (self.low, self.high, max(value, 1e-9) if self.is_log else value)
        )
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def ticks(self) -> list[float]:
        if self.fixed:
            return list(self.fixed)
        if self.is_log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            each = [m * 10.0**p for p in powers for m in (1, 2, 5)]
            inside = [x for x in each if self.low * 0.999 <= x <= self.high * 1.001]
            return inside if len(inside) <= 7 else [x for x in inside if f"{x:e}"[0] == "1"]
        step = nice_step((self.high - self.low) / 4)
        count = math.floor(self.high / step + 1e-6) - math.ceil(self.low / step - 1e-6)
        return [round((math.ceil(self.low / step - 1e-6) + i) * step, 10) for i in range(count + 1)]

    def text(self, value: float) -> str:
        return f"{100 * value:.0f}" if self.unit == "%" else rounded(value)


def share(label: str) -> Axis:
    return Axis(label, 0.0, 1.0, "%", fixed=(0.0, 0.25, 0.5, 0.75, 1.0))


def turns(length: int) -> Axis:
    """The axis of a chain: its first and its last turn are marked, and some between."""
    step = max(1, round((length - 1) / 6))
    between = range(1 + step, length - step // 2, step) if length > 2 else ()
    return Axis("turn", 1, max(length, 2), fixed=(1, *between, length))


def around(label: str, values: Sequence[float], unit: str = "", *, is_log: bool = False) -> Axis:
    """An axis on which all values lie, with round ends."""
    low, high = (min(values), max(values)) if values else (1.0 if is_log else 0.0, 10.0 if is_log else 1.0)
    if is_log:
        low, high = max(low, 1e-4), max(high, 1e-4)
        ends = [m * 10.0**p for p in range(-5, 7) for m in (1, 2, 5)]
        bottom = max((x for x in ends if x <= low * 0.95), default=low)
        top = min((x for x in ends if x >= high * 1.05), default=high)
        return Axis(label, bottom, top, unit, is_log=True)
    low, high = min(low, 0.0), max(high, 0.0)
    step = nice_step(((high - low) or 1.0) / 4)
    return Axis(label, math.floor(low / step + 1e-9) * step, (math.ceil(high / step - 1e-9) or 1) * step, unit)


def nice_step(rough: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)


def radar(name: str, title: str, labels: Sequence[str], series: Sequence[Series]) -> str:
    """One polygon a system over the categories, 0 % in the middle, 100 % at the rim; open where one is unknown."""
    lines = [wrap(label, 15) for label in labels]
    widest = max(len(line) for label in lines for line in label) * LETTER
    radius, middle_y = 104.0, 104.0 + 14 + 13 * max(map(len, lines))
    width, height = 2 * (radius + widest + 18), 2 * middle_y
    middle_x = width / 2

    def point(i: int, value: float) -> tuple[float, float]:
        angle = 2 * math.pi * i / len(labels) - math.pi / 2
        return middle_x + value * radius * math.cos(angle), middle_y + value * radius * math.sin(angle)

    body = []
    for ring in (0.25, 0.5, 0.75, 1.0):
        body.append(f'<polygon class="rule" points="{_points(point(i, ring) for i in range(len(labels)))}"/>')
    for i, wrapped in enumerate(lines):
        (x, y), (label_x, label_y) = point(i, 1.0), point(i, 1.0 + 12 / radius)
        body.append(f'<line class="rule" x1="{middle_x:.1f}" y1="{middle_y:.1f}" x2="{x:.1f}" y2="{y:.1f}"/>')
        side = "middle" if abs(label_x - middle_x) < 2 else "start" if label_x > middle_x else "end"
        rise = (y - middle_y) / radius  # -1 at the top: the block of lines stands on its point, below it hangs from it
        first = label_y + 4 - 13 * (len(wrapped) - 1) * (1 - rise) / 2 + (3 * rise if side == "middle" else 0)
        body += [_text(label_x, first + 13 * j, line, side, "label") for j, line in enumerate(wrapped)]
    for ring in (0.5, 1.0):
        body.append(_text(middle_x + 3, middle_y - ring * radius + 11, f"{100 * ring:.0f}", "start", "tick"))
    for one in series:
        known = [(i, value) for i, value in enumerate(one.values) if value is not None]
        corners = [point(i, value) for i, value in known]
        shape = "polygon" if len(known) == len(labels) else "polyline"
        tips = {i: _tip(f"{one.name}, {labels[i]}: {number(value, '%')} %") for i, value in known}
        marks = "".join(f"<g>{_mark(one.place, *point(i, value))}{tips[i]}</g>" for i, value in known)
        body.append(f'<g class="{_kind(one)}"><{shape} class="area line" points="{_points(corners)}"/>{marks}</g>')
    said = "; ".join(
        f"{one.name}: "
        + ", ".join(f"{label} {number(value, '%')}" for label, value in zip(labels, one.values, strict=True))
        for one in series
    )
    return _svg(name, title, said, width, height, "".join(body))


def lines(name: str, title: str, x: Axis, y: Axis, series: Sequence[Series], extra: str = "") -> str:
    """Lines over turns with their bands; xs of a series are 1 … T unless it brings its own."""
    body = [_frame(x, y)]
    for one in series:
        xs = one.xs or [float(t) for t in range(1, len(one.values) + 1)]
        band = _band(xs, one.low, one.high, x, y)
        path = _path(xs, one.values, x, y)
        last = [(px, value) for px, value in zip(xs, one.values, strict=True) if value is not None]
        mark = _mark(one.place, _x(x, last[-1][0]), _y(y, last[-1][1])) if last else ""
        tip = _tip(f"{one.name}: " + ", ".join(_said(y, value) for value in one.values))
        body.append(f'<g class="{_kind(one)}">{band}<path class="line" d="{path}"/>{mark}{tip}</g>')
    said = "; ".join(f"{one.name}: " + ", ".join(_said(y, value) for value in one.values) for one in series)
    return _svg(name, title, said, WIDTH, HEIGHT, "".join(body) + extra)


def steps(name: str, title: str, x: Axis, series: Sequence[Series]) -> str:
    """Which share of the requests had been answered after so many seconds; a series' `xs` are its sorted seconds."""
    y = share("share of requests, %")
    body = [_frame(x, y)]
    for one in series:
        n = len(one.xs)
        d = f"M{_x(x, one.xs[0]):.1f} {_y(y, 0):.1f}"
        for i, second in enumerate(one.xs, start=1):
            d += f"H{_x(x, second):.1f}V{_y(y, i / n):.1f}"
        half = one.xs[(n - 1) // 2]
        mark = _mark(one.place, _x(x, half), _y(y, 0.5))
        body.append(
            f'<g class="{_kind(one)}"><path class="line" d="{d}"/>{mark}{_tip(f"{one.name}: {n} requests")}</g>'
        )
    said = "; ".join(
        f"{one.name}: {len(one.xs)} requests, {rounded(one.xs[0])} to {rounded(one.xs[-1])} s" for one in series
    )
    return _svg(name, title, said, WIDTH, HEIGHT, "".join(body))


def scatter(name: str, title: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """One mark a system with the bars of both intervals."""
    body, said = [_frame(x, y)], []
    for one in series:
        value, second = one.values[0], one.xs[0]
        if value is None:
            continue
        px, py = _x(x, second), _y(y, value)
        bars = ""
        if one.low and one.low[0] is not None and one.high[0] is not None:
            bars += f'<path class="bar" d="M{px:.1f} {_y(y, one.low[0]):.1f}V{_y(y, one.high[0]):.1f}"/>'
        if one.xs_low and one.xs_low[0] is not None and one.xs_high[0] is not None:
            bars += f'<path class="bar" d="M{_x(x, one.xs_low[0]):.1f} {py:.1f}H{_x(x, one.xs_high[0]):.1f}"/>'
        said.append(f"{one.name}: {y.text(value)} at {rounded(second)} s")
        body.append(f'<g class="{_kind(one)}">{bars}{_mark(one.place, px, py, 5)}{_tip(said[-1])}</g>')
    return _svg(name, title, "; ".join(said), WIDTH, HEIGHT, "".join(body))


def swatch(place: int, *, is_control: bool = False) -> str:
    """The line and mark of a system, for a legend."""
    drawing = f'<path class="line" d="M1 7H27"/>{_mark(place, 14, 7)}'
    box = 'class="swatch" width="28" height="14" aria-hidden="true"'
    return f'<svg {box}><g class="{kind(place, is_control=is_control)}">{drawing}</g></svg>'


def kind(place: int, *, is_control: bool = False) -> str:
    """The classes that give a system its colour and its dashes; controls are grey."""
    if is_control:
        return "control"
    return f"s{place % NUM_COLOURS}" + (" dashed" if place >= NUM_COLOURS else "")


def wrap(text: str, letters: int) -> list[str]:
    """The text in lines of about so many letters, broken at spaces and after hyphens, underscores and slashes only."""
    words: list[str] = []
    for sign in text:
        if words and not words[-1].endswith((" ", "-", "_", "/")):
            words[-1] += sign
        else:
            words.append(sign)
    found = [""]
    for word in words:
        if found[-1] and len(found[-1] + word.rstrip()) > letters:
            found.append("")
        found[-1] += word
    return [line.strip() for line in found]


def _svg(name: str, title: str, said: str, width: float, height: float, body: str) -> str:
    box = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    head = f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(said)}</desc>'
    return f'<svg class="chart" role="img" aria-labelledby="{name}-t {name}-d" {box}>{head}{body}</svg>'


def _frame(x: Axis, y: Axis) -> str:
    parts = []
    for tick in y.ticks():
        parts.append(f'<path class="rule" d="M{LEFT} {_y(y, tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 6, _y(y, tick) + 4, y.text(tick), "end", "tick"))
    for tick in x.ticks():
        parts.append(f'<path class="rule short" d="M{_x(x, tick):.1f} {HEIGHT - BOTTOM}v4"/>')
        parts.append(_text(_x(x, tick), HEIGHT - BOTTOM + 16, x.text(tick), "middle", "tick"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x.label, "middle", "label"))
    if not y.label:
        return "".join(parts)
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 11 {middle:.1f})"'
    parts.append(f'<text class="label" text-anchor="middle" x="11" y="{middle:.1f}" {turned}>{escape(y.label)}</text>')
    return "".join(parts)


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.at(value) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.at(value) * (HEIGHT - BOTTOM - TOP)


def _path(xs: Sequence[float], values: Values, x: Axis, y: Axis) -> str:
    """A line that stops before an unknown value and begins again after it."""
    d, is_on = "", False
    for px, value in zip(xs, values, strict=True):
        if value is not None:
            d += f"{'L' if is_on else 'M'}{_x(x, px):.1f} {_y(y, value):.1f}"
        is_on = value is not None
    return d


def _band(xs: Sequence[float], low: Values, high: Values, x: Axis, y: Axis) -> str:
    """The interval around a line, in pieces where the line is."""
    pieces: list[list[tuple[float, float, float]]] = [[]]
    for px, a, b in zip(xs, low, high, strict=False):
        if a is not None and b is not None:
            pieces[-1].append((px, a, b))
        elif pieces[-1]:
            pieces.append([])
    shapes = []
    for piece in pieces:
        corners = [(_x(x, px), _y(y, b)) for px, _, b in piece]
        corners += [(_x(x, px), _y(y, a)) for px, a, _ in reversed(piece)]
        shapes.append(f'<polygon class="band" points="{_points(corners)}"/>' if len(piece) > 1 else "")
    return "".join(shapes)


def _mark(place: int, x: float, y: float, r: float = 3.5) -> str:
    """A filled disc, square, triangle or diamond: it tells systems apart where colours do not."""
    shape_of = place % 4
    if shape_of == 0:
        return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    shapes = (
        [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)],
        [(0.0, -1.3), (1.3, 1.0), (-1.3, 1.0)],
        [(0.0, -1.4), (1.4, 0.0), (0.0, 1.4), (-1.4, 0.0)],
    )
    corners = [(x + r * dx, y + r * dy) for dx, dy in shapes[shape_of - 1]]
    return f'<polygon class="mark" points="{_points(corners)}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> str:
    return f'<text class="{kind}" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _kind(one: Series) -> str:
    return kind(one.place, is_control=one.is_control)


def _said(axis: Axis, value: float | None) -> str:
    return UNKNOWN if value is None else number(value, axis.unit)


def _points(corners: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
