"""How long a call takes where nobody else computes, told on a machine where others may."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

DISTURBED = 1.5  # times the processor's time: beyond what a thread that waits for another explains


def undisturbed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, the device waited for.

    On a CPU with others at work the wall clock counts their turns too. Where it is more than `DISTURBED` of what the
    processor spent, that is taken in its place; with one thread only, since nobody knows how many of several a call
    keeps busy.
    """
    _wait(device)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    call()
    _wait(device)
    wall, processor = time.perf_counter() - begun, time.process_time() - begun_cpu
    is_told = device.type == "cpu" and torch.get_num_threads() == 1
    return processor if is_told and wall > DISTURBED * processor > 0 else wall


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
