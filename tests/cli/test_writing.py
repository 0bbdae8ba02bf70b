"""Finished work is written beside the next: in order, named where it fails, all of it before the end."""

import os
import signal
import threading
import time
from functools import partial
from queue import SimpleQueue
from random import Random

import pytest

from recast.cli.writing import WAITING, Writer


class Slow:
    """Something to write that waits until it may; what is written is noted."""

    def __init__(self, name: str, written: list[str], error: Exception | None = None) -> None:
        self.name, self.written, self.error = name, written, error
        self.may, self.begun = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.may.wait(10)
        if self.error is not None:
            raise self.error
        self.written.append(self.name)


def never(name: str, error: Exception) -> bool:
    raise AssertionError(f"{name}: {error}")


def test_the_caller_goes_on_and_the_end_waits() -> None:
    written: list[str] = []
    tasks = [Slow(name, written) for name in "ab"]
    with Writer(never) as writer:
        for task in tasks:
            writer.put(task.name, task)
        assert tasks[0].begun.wait(10)
        assert written == []  # and yet we are here
        for task in reversed(tasks):
            task.may.set()
    assert written == ["a", "b"]


def test_no_more_waits_than_may() -> None:
    """One is written, one waits; the next `put` comes back when there is room."""
    written: list[str] = []
    tasks = [Slow(name, written) for name in "abc"[: WAITING + 2]]
    with Writer(never) as writer:
        writer.put("a", tasks[0])
        assert tasks[0].begun.wait(10)
        writer.put("b", tasks[1])
        for task in tasks[1:]:
            task.may.set()
        threading.Timer(0.1, tasks[0].may.set).start()
        begun = time.monotonic()
        writer.put("c", tasks[2])
        assert time.monotonic() - begun > 0.05
    assert written == ["a", "b", "c"]


@pytest.mark.parametrize("goes_on", [True, False])
def test_what_fails_is_told_by_name_and_stops_the_rest_if_it_must(goes_on: bool) -> None:
    written: list[str] = []
    told: list[str] = []
    tasks = {name: Slow(name, written, OSError("full") if name == "a" else None) for name in "ab"}
    for task in tasks.values():
        task.may.set()

    def run() -> None:
        with Writer(lambda name, error: told.append(f"{name}: {error}") or goes_on) as writer:
            for name, task in tasks.items():
                writer.put(name, task)

    if goes_on:
        run()
    else:
        with pytest.raises(OSError, match="full"):
            run()
    assert told == ["a: full"]
    assert written == (["b"] if goes_on else [])


def test_an_error_of_telling_what_failed_ends_the_writing_and_is_raised() -> None:
    """stderr on a full disk, say: nobody is told, and nobody waits for ever."""
    written: list[str] = []

    def write() -> None:
        raise ValueError("broken")

    def untold(*_: object) -> bool:
        raise OSError("full")

    def run() -> None:
        with Writer(untold) as writer:
            writer.put("a", write)
            for name in "bcde":
                writer.put(name, partial(written.append, name))

    raised: list[BaseException] = []

    def caught() -> None:
        try:
            run()
        except OSError as error:
            raised.append(error)

    thread = threading.Thread(target=caught, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "it waits for ever"
    assert [str(error) for error in raised] == ["full"]
    assert isinstance(raised[0].__context__, ValueError)
    assert written == []


def stopped_while_writing(written: list[str]) -> Writer:
    """Ctrl-C comes while the one thing that is finished is being written."""
    task = Slow("a", written)
    with Writer(never) as writer:
        writer.put("a", task)
        assert task.begun.wait(10)
        threading.Timer(0.05, task.may.set).start()
        raise KeyboardInterrupt


def test_what_is_finished_is_written_when_the_work_is_stopped() -> None:
    written: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        stopped_while_writing(written)
    assert written == ["a"]


def test_a_second_stop_waits_for_the_file_under_way_and_leaves_out_what_is_behind() -> None:
    written: list[str] = []
    first, second = Slow("a", written), Slow("b", written)
    second.may.set()
    writer = Writer(never).__enter__()
    writer.put("a", first)
    assert first.begun.wait(10)
    writer.put("b", second)
    writer._end = Stopped(writer._end, first.may)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        writer.__exit__(KeyboardInterrupt, None, None)
    assert written == ["a"]


@pytest.mark.parametrize("is_put", [True, False])
def test_a_stop_in_the_first_line_of_the_end_waits_for_what_was_taken(is_put: bool) -> None:
    """The interrupt comes just after the end was asked for, or just before."""
    written: list[str] = []
    task = Slow("a", written)
    writer = Writer(never).__enter__()
    writer.put("a", task)
    assert task.begun.wait(10)
    put, asked = writer._tasks.put, list[None]()

    def stopped(end: None) -> None:
        asked.append(end)
        if is_put or len(asked) > 1:
            put(end)
        if len(asked) == 1:
            threading.Timer(0.05, task.may.set).start()
            raise KeyboardInterrupt

    writer._tasks = Tasks(writer._tasks, stopped)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        writer.__exit__(None, None, None)
    assert written == ["a"]


class Tasks:
    """The tasks of a writer, with another way to put one more."""

    def __init__(self, tasks: "SimpleQueue[object]", put: object) -> None:
        self.get, self.put = tasks.get, put


class Stopped:
    """The end of the writing; who first waits for it is interrupted, while a file is under way."""

    def __init__(self, end: "SimpleQueue[None]", may: threading.Event) -> None:
        self.end, self.may, self.is_waited_for = end, may, False

    def get(self) -> None:
        if not self.is_waited_for:
            self.is_waited_for = True
            raise KeyboardInterrupt
        self.may.set()
        self.end.get(timeout=10)

    def put(self, _: None) -> None:
        self.end.put(None)


def test_an_interrupt_between_any_two_lines_never_hangs_and_loses_nothing_that_was_taken() -> None:
    """Signals at random moments of a batch: what `put` came back from is written."""
    random = Random(0)
    ended = 0
    for _ in range(60):
        taken, written = list[int](), list[int]()
        timer = threading.Timer(random.uniform(0, 0.003), os.kill, (os.getpid(), signal.SIGINT))
        try:
            try:
                with Writer(never) as writer:
                    timer.start()
                    for number in range(10_000):
                        writer.put(str(number), partial(written.append, number))
                        taken.append(number)
            except KeyboardInterrupt:
                assert set(taken) <= set(written)
                ended += 1
        finally:
            timer.join()
    assert ended == 60
