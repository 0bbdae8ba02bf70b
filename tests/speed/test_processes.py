"""An error of one process is told once: by the first, or where that one does not look, by the process itself."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from recast.errors import InputError, OutOfMemory, RecastError
from recast.speed import processes
from recast.speed.processes import Process, leave, meet, together
from tests.train.processes import Meeting, values
from tests.train.processes import together as started


def ended(here: Process, work: Any) -> Any:
    """What `together` returns or raises."""
    try:
        return together(here, work)
    except Exception as error:
        return error


def failing(error: BaseException) -> Any:
    def work() -> None:
        raise error

    return work


def task(meeting: Meeting) -> dict[str, Any]:
    found = {}
    for name in ("fine", "second", "first", "wild", "interrupted", "unseen"):
        here = meet(rank=meeting.rank, size=2, meeting=f"file://{meeting.place}/{name}", timeout_s=30)
        mine, waits = {
            "fine": (lambda here=here: here.every(here.rank), None),
            "second": (failing(InputError("photo: torn")), here.wait),
            "first": (failing(InputError("mask: torn")), here.wait),
            "wild": (failing(MemoryError("2 GiB")), here.wait),
            "interrupted": (failing(KeyboardInterrupt()), failing(KeyboardInterrupt())),
            "unseen": (failing(InputError("photo: torn")), lambda: "never looked"),
        }[name]
        fails = 0 if name == "first" else 1
        if name == "unseen":
            with mock.patch.object(processes, "GRACE_S", 0.3):
                found[name] = ended(here, mine) if here.rank == 1 else unseeing(here)
        else:
            try:
                found[name] = ended(here, mine if waits is None or here.rank == fails else waits)
            except KeyboardInterrupt:
                found[name] = "interrupted"
        leave(here)
        leave(here)
    return found


def unseeing(here: Process) -> str:
    """A first process that is busy, and does not look for what the others say."""
    here.store.wait([f"{processes.PROBLEM}/1"])
    return "busy"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return values(started(2, tmp_path_factory.mktemp("two"), task))


def test_without_an_error_each_has_what_its_work_gave(two):
    assert [each["fine"] for each in two] == [[0, 1], [0, 1]]


def test_an_error_of_the_second_is_raised_by_the_first_as_what_it_is(two):
    raised, nothing = (each["second"] for each in two)
    assert (type(raised), str(raised), nothing) == (InputError, "process 1: photo: torn", None)
    raised, nothing = (each["wild"] for each in two)
    assert (type(raised), nothing) == (OutOfMemory, None)
    assert str(raised).startswith("process 1: memory: ran out (MemoryError: 2 GiB)")


def test_an_error_of_the_first_is_raised_by_it_alone(two):
    raised, nothing = (each["first"] for each in two)
    assert (type(raised), str(raised), nothing) == (InputError, "mask: torn", None)


def test_an_interrupt_is_heard_by_all_and_told_by_the_first(two):
    assert [each["interrupted"] for each in two] == ["interrupted", None]


def test_an_error_that_the_first_does_not_look_for_is_raised_where_it_is(two):
    busy, raised = (each["unseen"] for each in two)
    assert (busy, type(raised), str(raised)) == ("busy", InputError, "photo: torn")


def test_where_it_came_from_goes_with_it(monkeypatch):
    class Store(dict):
        set, check = dict.__setitem__, lambda self, names: names[0] in self

    here = Process(size=2, store=Store())
    problem = (1, "RecastError", "torn", "Traceback of process 1")
    monkeypatch.setattr(processes, "_found", lambda _: problem)
    with pytest.raises(RecastError, match="process 1: torn") as raised:
        together(here, failing(processes.Lost("process 0 of 2: another process is gone")))
    assert raised.value.__notes__ == ["Traceback of process 1"]
    assert processes.TOLD in here.store
