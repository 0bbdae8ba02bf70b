"""Merges of several edits side by side: what a merge does in one thread leaves the other cores idle."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")
MOST = 4
"""At most so many at once: each needs the memory of a merge of its own."""
MOST_PIXELS = 4 << 20
"""Of a source. Merges of larger ones come one after the other: each needs hundreds of megabytes."""


def in_turn(
    work: Callable[[Given], Made], given: Sequence[Given], *, pixels: int, is_alone: bool = False
) -> list[Made]:
    """What `work` makes of each, in their order; side by side where there are cores and memory for it.

    pixels: of the source. is_alone: one after the other in any case. An error of one, or an interruption, leaves out
    all that have not begun, and is raised once those under way are over.
    """
    workers = 1 if is_alone or pixels > MOST_PIXELS else min(len(given), _cores(), MOST)
    if workers <= 1:
        return [work(each) for each in given]
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, each) for each in given]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
