"""A call's time is told by the processor only where one thread computes."""

import time

import pytest
import torch

from recast.speed.clock import undisturbed

CPU = torch.device("cpu")
SECONDS = 0.02


def serial() -> None:
    """Work of one thread, however many there are."""
    until = time.process_time() + SECONDS
    while time.process_time() < until:
        pass


def waits() -> None:
    serial()
    time.sleep(4 * SECONDS)


def test_among_several_threads_the_whole_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one busy thread as well: nobody knows how many of them a call keeps busy."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert undisturbed(serial, CPU) >= SECONDS
    assert undisturbed(waits, CPU) >= 5 * SECONDS


def test_with_one_thread_the_turns_of_others_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert SECONDS <= undisturbed(waits, CPU) < 4 * SECONDS
