"""How far, and how much longer: one line on stderr that is gone when the work is done.

Drawn on a terminal alone. Where stderr is a file or a pipe nothing is written: logs should not fill with bars.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

WIDTH = 24


class Progress:
    """The line. `note` says what is going on, `step` how far it is; use it in `with`, so that it goes away."""

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.stream, self.is_quiet = stream or sys.stderr, quiet
        self.is_shown = not quiet and self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.colour = ("\x1b[36m", "\x1b[0m") if not os.environ.get("NO_COLOR") else ("", "")
        self.title = ""
        self._first: tuple[int, float] | None = None
        self._lock = threading.RLock()

    def note(self, text: str, title: str = "") -> None:
        """Say what is going on; a bar that follows starts anew and carries the title."""
        self.title = title
        self._first = None
        self._draw(f"{title}{text} ...")

    def step(self, done: int, of: int) -> None:
        """Draw the bar at `done` of `of` steps."""
        now = time.monotonic()
        self._first = self._first or (done, now)
        filled = WIDTH * done // of
        bar = f"{self.colour[0]}{'━' * filled}{self.colour[1]}{'─' * (WIDTH - filled)}"
        self._draw(f"{self.title}{bar} {done}/{of}{time_left(self._first, (done, now), of)}")

    def say(self, line: str) -> None:
        """A line that stays, above the bar; on no terminal as well, unless quiet."""
        if not self.is_quiet:
            with self.aside():
                self.stream.write(f"{line}\n")

    def clear(self) -> None:
        """Take the line away, so that others can write."""
        self._draw("")

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The line away, and kept away from other threads, while something else is written."""
        with self._lock:
            self.clear()
            yield

    def _draw(self, text: str) -> None:
        if self.is_shown:
            with self._lock:
                self.stream.write(f"\r\x1b[K{text}")
                self.stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()


def time_left(first: tuple[int, float], now: tuple[int, float], of: int) -> str:
    """What to add to the bar: the time that the steps still to come take at the pace of those since the first.

    first, now: steps done, and the clock then, in seconds. The first carries what is done
    once, so it does not count.
    """
    if now[0] == first[0]:
        return ""
    seconds = round((now[1] - first[1]) / (now[0] - first[0]) * (of - now[0]))
    if seconds < 60:
        return f"  {seconds} s left"
    minutes, seconds = divmod(seconds, 60)
    return f"  {minutes}:{seconds:02} min left"
