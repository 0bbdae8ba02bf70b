"""What lies idle in the heap goes back to the system."""

import platform
from pathlib import Path

import pytest
import torch

from recast.speed import heap


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such heap")
def test_holes_before_the_last_block_are_given_back() -> None:
    blocks = [torch.ones(16 << 10) for _ in range(512)]  # of 64 KiB, below what glibc gives back by itself
    last = blocks.pop()
    blocks.clear()
    before = resident_bytes()
    heap.give_back_idle()
    assert before - resident_bytes() > 16 << 20
    assert last.sum() == 16 << 10


def test_where_there_is_no_such_call_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.sys, "platform", "darwin")
    heap._trim.cache_clear()
    heap.give_back_idle()
    assert heap._trim() is None
    heap._trim.cache_clear()
