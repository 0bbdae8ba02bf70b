"""The bar: only on a terminal, gone at the end, and right about the time."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from recast.cli.progress import Progress, time_left
from tests.cli.test_main import ROOT


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("first", "now", "expected"),
    [
        ((1, 10.0), (1, 10.0), ""),  # one step alone has no pace
        ((1, 10.0), (3, 14.0), "  50 s left"),
        ((5, 10.0), (6, 20.0), "  3:40 min left"),
        ((1, 0.0), (28, 54.0), "  0 s left"),
    ],
)
def test_the_time_left_is_that_of_the_steps_to_come(
    first: tuple[int, float], now: tuple[int, float], expected: str
) -> None:
    assert time_left(first, now, 28) == expected


def test_the_line_is_gone_at_the_end() -> None:
    stream = Terminal()
    with Progress(stream=stream) as progress:
        progress.note("loading")
        progress.step(1, 4)
        assert "1/4" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("setting", ["NO_COLOR", "TERM", "quiet", "pipe"])
def test_colour_and_bar_are_left_out_where_they_are_not_wanted(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb" if setting == "TERM" else "xterm")
    monkeypatch.setenv("NO_COLOR", "1" if setting == "NO_COLOR" else "")
    stream = io.StringIO() if setting == "pipe" else Terminal()
    with Progress(quiet=setting == "quiet", stream=stream) as progress:
        progress.step(2, 4)
    assert ("2/4" in stream.getvalue()) == (setting == "NO_COLOR")
    assert "\x1b[36m" not in stream.getvalue()


def test_a_terminal_sees_the_bar_and_stdout_only_the_path(here: Path) -> None:
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "recast", "generate", "x", "--steps", "2", "--seed", "1", "--out", "x.png"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=theirs, env=environ, check=True, text=True)
    os.close(theirs)
    seen = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.stdout == "x.png\n"
    assert "loading tiny" in seen
    assert "2/2" in seen
    assert seen.endswith("\r\x1b[K")
