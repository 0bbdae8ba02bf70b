"""Curves of runs in a terminal, from their journals: losses, losses by time, speed, time left, memory.

`draw` is a pure function of what the journals hold. A curve is drawn in braille, two dots by four in a character, and
losses on a logarithmic scale. Runs stand side by side on the same scales.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from recast.errors import ConfigError
from recast.train import journal

LEAST_WIDTH = 36
"""Columns that a run needs; where there are fewer, runs stand below each other."""
CHART_HEIGHT = 8
RECENT = 10
"""Lines of numbers that the speed now is taken over."""
POLL_S = 0.5
LABEL = 9
"""Columns of the numbers at a curve's axis."""
LEVELS = "▁▂▃▄▅▆▇█"
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Of a braille character: dot by row and column. Source: Unicode, block Braille Patterns."""
CURVE, FAINT, WARN, PLAIN = "\x1b[36m", "\x1b[2m", "\x1b[33m", "\x1b[0m"


@dataclass(frozen=True)
class Watched:
    """A run to look at. steps, minutes: how long it is to be, where that is known."""

    name: str
    records: Sequence[Mapping[str, Any]]  # as `journal.read` gives them
    steps: int | None = None
    minutes: float | None = None


class Cell(NamedTuple):
    """A text and how it is coloured."""

    text: str
    colour: str = ""


Line = list[Cell]
Lines = Sequence[Mapping[str, Any]]
"""Of numbers, from a journal."""


def draw(runs: Sequence[Watched], width: int, height: int = 40, colour: bool = False) -> str:
    """A frame of at most `width` columns and about `height` lines; what does not fit is counted at its end.

    Raises ConfigError for a width below LEAST_WIDTH and for no runs.
    """
    if not runs or width < LEAST_WIDTH:
        raise ConfigError(
            f"width={width}, {len(runs)} runs: {LEAST_WIDTH} columns or more, and one run or more, accepted"
        )
    beside = max(1, min(len(runs), (width + 2) // (LEAST_WIDTH + 2)))
    groups = [runs[i : i + beside] for i in range(0, len(runs), beside)]
    numbers = {id(run): _numbers(run) for run in runs}
    lines: list[Line] = []
    for group in groups:
        lines += [*_group(group, numbers, width, height // len(groups)), []]
    return "\n".join(_painted(line, colour) for line in lines[:-1])


def frames(
    places: Sequence[Path], *, width: int, colour: bool, follow: bool, height: int = 40, poll_s: float = POLL_S
) -> Iterator[str]:
    """The runs in these folders as one frame, or, to follow them, a new frame whenever a journal has grown.

    Raises InputError for a folder without a journal.
    """
    while True:
        sizes = [_size(place) for place in places]
        yield draw([_watched(place) for place in places], width, height, colour)
        if not follow:
            return
        while [_size(place) for place in places] == sizes:
            time.sleep(poll_s)


# A group of runs, side by side.


def _group(runs: Sequence[Watched], every: Mapping[int, Lines], width: int, height: int) -> list[Line]:
    """Some runs, on scales that hold the numbers of all runs. every: the numbers of each run, by its id."""
    column = (width - 2 * (len(runs) - 1)) // len(runs)
    own = [every[id(run)] for run in runs]
    lines = _side_by_side([_head(run, numbers, column) for run, numbers in zip(runs, own, strict=True)], column)
    measures, bins = _measures(list(every.values())), _bins(list(every.values()))
    room = height - len(lines) - (len(bins) + 1 if bins else 0)
    shown = measures[: max(1, room // (CHART_HEIGHT + 2))]
    for name in shown:
        points = [point for numbers in every.values() for point in _points(numbers, name)]
        is_loss = name.split("/")[-1] in ("loss", "inside", "outside")
        x, y = _scale([x for x, _ in points]), _scale([y for _, y in points], is_log=is_loss)
        lines += _side_by_side([_chart(name, _points(numbers, name), x, y, column) for numbers in own], column)
    if bins:
        y = _scale([y for name in bins for numbers in every.values() for _, y in _points(numbers, name)], is_log=True)
        lines += _side_by_side([_multiples(numbers, bins, y, column) for numbers in own], column)
    if len(shown) < len(measures):
        more = ", ".join(measures[len(shown) :])
        lines.append([Cell(f"{len(measures) - len(shown)} more in a higher window: {more}"[:width], FAINT)])
    return lines


def _head(run: Watched, numbers: Lines, width: int) -> list[Line]:
    """Name, where the run stands, how fast it goes, what went wrong."""
    lines: list[Line] = [[Cell(_fitted(run.name, width))]]
    if not numbers:
        return [*lines, [Cell("no numbers yet", FAINT)]]
    last = numbers[-1]
    said = [f"step {last['step']:,}", f"{last['samples']:,} examples", _time(last["seconds"])]
    left = _left(run, numbers)
    said.append(f"{_time(left)} left" if left is not None else "end unknown")
    fast = [
        f"{_last(numbers, name):{form}} {unit}"
        for name, form, unit in (("perf/images_s", ",.4g", "images/s"), ("perf/memory_gib", ".1f", "GiB"))
        if not math.isnan(_last(numbers, name))
    ]
    fast += [
        f"{100 * _last(numbers, name):.0f} % {label}"
        for name, label in (("perf/mfu", "MFU"), ("perf/data_wait", "waiting for data"))
        if not math.isnan(_last(numbers, name))
    ]
    for words in (said, fast):
        lines += [[Cell(line)] for line in _wrapped(words, width)]
    counts: dict[str, int] = {}
    for record in run.records:
        if "event" in record:
            counts[record["event"]] = counts.get(record["event"], 0) + 1
    if counts:
        words = [f"{kind} {count}" for kind, count in sorted(counts.items())]
        lines += [[Cell(line, WARN)] for line in _wrapped(words, width)]
    return lines


def _left(run: Watched, numbers: Lines) -> float | None:
    """Seconds to the end of the run, at the speed of its last lines; None where its length is unknown."""
    last, first = numbers[-1], numbers[-RECENT:][0]
    ends = []
    if run.steps is not None and last["step"] > 0:
        steps, seconds = last["step"] - first["step"], last["seconds"] - first["seconds"]
        a_step = seconds / steps if steps > 0 else last["seconds"] / last["step"]
        ends.append((run.steps - last["step"]) * a_step)
    if run.minutes is not None:
        ends.append(60 * run.minutes - last["seconds"])
    return max(0.0, min(ends)) if ends else None


def _measures(runs: Sequence[Lines]) -> list[str]:
    """What is drawn as a curve: training losses, the held-out loss and other held-out measures; of averages first."""
    names = _names(runs)
    train = [name for name in names if re.fullmatch(r"(?!val)[^/]+/loss", name)]
    judged = [name for name in names if re.fullmatch(r"val_ema/[^/]+", name) and not re.search(r"/t\d+$", name)]
    if not judged:
        judged = [name for name in names if re.fullmatch(r"val/[^/]+", name) and not re.search(r"/t\d+$", name)]
    judged.sort(key=lambda name: not name.endswith("/loss"))
    return train + judged


def _bins(runs: Sequence[Lines]) -> list[str]:
    """Losses by bin of time: held-out ones where there are any, averaged weights first."""
    names = _names(runs)
    for prefix in ("val_ema", "val", r"(?!val)[^/]+"):
        found = [name for name in names if re.fullmatch(rf"{prefix}/t\d+", name)]
        if found:
            return sorted(found, key=lambda name: (name.split("/")[0], int(name.rsplit("t", 1)[1])))
    return []


# One curve.


class Scale(NamedTuple):
    """The range of an axis."""

    low: float
    high: float
    is_log: bool

    def place(self, y: float) -> float:
        """Where y lies, from 0 at the low end to 1 at the high one."""
        low, high = self.ends
        at = math.log(y) if self.is_log else y
        return 0.5 if high == low else (at - low) / (high - low)

    def at(self, place: float) -> float:
        low, high = self.ends
        found = low + place * (high - low)
        return math.exp(found) if self.is_log else found

    @property
    def ends(self) -> tuple[float, float]:
        return (math.log(self.low), math.log(self.high)) if self.is_log else (self.low, self.high)


def _scale(values: Sequence[float], *, is_log: bool = False) -> Scale | None:
    if not values:
        return None
    return Scale(min(values), max(values), is_log and min(values) > 0)


def _points(numbers: Lines, name: str) -> list[tuple[float, float]]:
    """Steps and finite values of one number."""
    found = [(float(line["step"]), float(line[name])) for line in numbers if name in line]
    return [(x, y) for x, y in found if math.isfinite(y)]


def _chart(
    name: str, points: Sequence[tuple[float, float]], steps: Scale | None, scale: Scale | None, width: int
) -> list[Line]:
    """A curve with its axis, CHART_HEIGHT lines and a title above."""
    if not points or steps is None or scale is None:
        return [[Cell(_fitted(f"{name}: no numbers", width), FAINT)], *[[] for _ in range(CHART_HEIGHT + 1)]]
    title = f"{name}  {points[-1][1]:.4g}" + ("  (log)" if scale.is_log else "")
    inner = width - LABEL - 1
    rows = _braille(points, steps, scale, inner, CHART_HEIGHT)
    labels = {0: scale.high, CHART_HEIGHT // 2: scale.at(0.5), CHART_HEIGHT - 1: scale.low}
    lines: list[Line] = [[Cell(_fitted(title, width))]]
    for index, row in enumerate(rows):
        label = f"{labels[index]:.3g}" if index in labels else ""
        lines.append([Cell(f"{label:>{LABEL - 1}} ┤", FAINT), Cell(row, CURVE)])
    first, last = f"{steps.low:,.0f}", f"step {steps.high:,.0f}"
    gap = " " * max(1, inner - len(first) - len(last))
    return [*lines, [Cell(_fitted(" " * (LABEL + 1) + first + gap + last, width), FAINT)]]


def _braille(points: Sequence[tuple[float, float]], steps: Scale, scale: Scale, width: int, height: int) -> list[str]:
    """Points joined by straight lines, in braille characters."""
    across, down = 2 * width - 1, 4 * height - 1
    places = [(across * steps.place(x), down * (1 - scale.place(y))) for x, y in points]
    cells = [[0] * width for _ in range(height)]
    for x, y in chain(places[:1], *(_between(a, b) for a, b in pairwise(places))):
        column, row = round(x), round(y)
        cells[row // 4][column // 2] |= DOTS[row % 4][column % 2]
    return ["".join(chr(0x2800 + cell) for cell in line) for line in cells]


def _between(a: tuple[float, float], b: tuple[float, float]) -> Iterator[tuple[float, float]]:
    """Dots on the way from a to b, both included."""
    count = max(1, math.ceil(max(abs(b[0] - a[0]), abs(b[1] - a[1]))))
    for i in range(count + 1):
        yield a[0] + (b[0] - a[0]) * i / count, a[1] + (b[1] - a[1]) * i / count


def _multiples(numbers: Lines, names: Sequence[str], scale: Scale | None, width: int) -> list[Line]:
    """A small curve for each bin of time, all on one scale, with its first and its last value."""
    lines: list[Line] = [[Cell(_fitted(f"{names[0].split('/')[0]} by time, 1 is noise  (log)", width))]]
    for name in names:
        found, index = _points(numbers, name), int(name.rsplit("t", 1)[1])
        label = f"{index}/{len(names)}-{index + 1}/{len(names)} "
        if not found or scale is None:
            lines.append([Cell(label, FAINT), Cell("no numbers", FAINT)])
            continue
        ends = f" {found[0][1]:.3g} to {found[-1][1]:.3g}"
        inner = max(4, width - len(label) - max(20, len(ends)))
        lines.append([Cell(label, FAINT), Cell(_blocks([y for _, y in found], scale, inner), CURVE), Cell(ends)])
    return lines


def _blocks(values: Sequence[float], scale: Scale, width: int) -> str:
    """Values as blocks of eight heights; where there are more than fit, means of neighbours."""
    count = min(width, len(values))
    cuts = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    return "".join(LEVELS[min(7, int(8 * scale.place(y)))] for y in means).ljust(width)


# Text.


def _side_by_side(columns: Sequence[list[Line]], width: int) -> list[Line]:
    """Columns of lines to lines, each column filled to its width."""
    found = []
    for index in range(max(len(lines) for lines in columns)):
        line: Line = []
        for place, lines in enumerate(columns):
            own = lines[index] if index < len(lines) else []
            if place:
                line.append(Cell("  "))
            fill = width - sum(len(cell.text) for cell in own)
            line += [*own, Cell(" " * max(0, fill))]
        found.append(line)
    return found


def _painted(line: Line, colour: bool) -> str:
    text = "".join(f"{cell.colour}{cell.text}{PLAIN}" if colour and cell.colour else cell.text for cell in line)
    return text.rstrip(" ")


def _fitted(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[1 - width :]


def _wrapped(words: Sequence[str], width: int) -> list[str]:
    """Words joined by two spaces, in lines that fit."""
    lines = [""]
    for word in words:
        joined = f"{lines[-1]}  {word}" if lines[-1] else word
        if len(joined) > width and lines[-1]:
            lines.append(_fitted(word, width))
        else:
            lines[-1] = _fitted(joined, width)
    return lines if lines != [""] else []


def _time(seconds: float) -> str:
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def _last(numbers: Lines, name: str) -> float:
    return next((float(line[name]) for line in reversed(numbers) if name in line), math.nan)


def _numbers(run: Watched) -> Lines:
    return [each for each in journal.current(run.records) if "event" not in each and "picture" not in each]


def _names(runs: Sequence[Lines]) -> list[str]:
    """Every name there is a number of, in the order of its first line."""
    return list(dict.fromkeys(name for numbers in runs for line in numbers for name in line if "/" in name))


# Folders.


def _watched(place: Path) -> Watched:
    length: Mapping[str, Any] = {}
    for file in sorted(Path(place).glob("checkpoints/step-*/run.json"), reverse=True):
        try:
            length = json.loads(file.read_text(encoding="utf-8"))["settings"]["run"]
            break
        except (OSError, ValueError, KeyError):
            continue  # it is being written, or taken away
    return Watched(
        name=str(place),
        records=list(journal.read(place)),
        steps=length.get("steps"),
        minutes=length.get("minutes"),
    )


def _size(place: Path) -> int:
    path = Path(place) / journal.FILE
    return path.stat().st_size if path.exists() else 0
