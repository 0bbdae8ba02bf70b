"""The memory of this machine and of its devices, and how fast one multiplies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def memory_bytes() -> tuple[int, int]:
    """(all, free) memory of this machine, or of the container it is, in bytes."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    total = pages * page
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * page
    except ValueError:  # macOS does not say
        free = total
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        values = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        if "MemAvailable" in values:  # free, and what a cache would give back
            free = int(values["MemAvailable"].split()[0]) * 1024
    for limit_file, used_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            limit, used = Path(limit_file).read_text().strip(), int(Path(used_file).read_text())
        except (OSError, ValueError):
            continue
        if limit.isdigit() and int(limit) < total:
            total, free = int(limit), min(free, int(limit) - used)
    return total, free


def device_bytes(device: torch.device) -> tuple[int, int]:
    """(all, free) memory of a device, in bytes."""
    import torch

    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total, free
    return memory_bytes()


def gemm_rate(device: torch.device, dtype: torch.dtype, *, size: int = 384) -> float:
    """FLOP/s of a square matrix product."""
    import torch

    a = torch.randn(size, size).to(device, dtype)
    return 2 * size**3 / fastest(lambda: a @ a, device, budget_s=0.01)


def fastest(call: Callable[[], Any], device: torch.device, *, budget_s: float, at_least: int = 3) -> float:
    """The shortest of several calls, in seconds, after one to warm up."""
    call()
    times: list[float] = []
    while len(times) < at_least or sum(times) < budget_s:
        synchronise(device)
        started = time.perf_counter()
        call()
        synchronise(device)
        times.append(time.perf_counter() - started)
    return min(times)


def synchronise(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
