"""Copies beside the computation: streams and events on CUDA, and the same calls done at once on a CPU."""

from __future__ import annotations

import weakref
from typing import Any, Protocol

import torch
from torch import Tensor

from recast.errors import OutOfMemory

PAGE_BYTES = 4096


class Lane(Protocol):
    """Where copies to a device run. An event is whatever `copy` and `mark` hand back."""

    @property
    def device(self) -> torch.device: ...

    def empty(self, size: int) -> Tensor:
        """(size,) uint8 on the device."""
        ...

    def hold(self, size: int) -> Tensor:
        """(size,) uint8 on the host, from where a copy runs beside the computation."""
        ...

    def copy(self, into: Tensor, run: Tensor, after: Any) -> Any:
        """Begin a copy once the event `after` has happened; the event that it is done.

        Copies run in the order they were begun. From any thread, but from one at a time.
        """
        ...

    def mark(self) -> Any:
        """The event that all that computation has been told so far is done."""
        ...

    def wait(self, event: Any) -> None:
        """What computation is told from here on waits for the event."""
        ...

    def finish(self, event: Any) -> None:
        """Return once the event has happened."""
        ...


def lane_of(device: torch.device) -> Lane:
    """The lane of a device."""
    return CudaLane(device) if device.type == "cuda" else AtOnce(device)


class AtOnce:
    """Everything happens when it is told: a CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def empty(self, size: int) -> Tensor:
        with torch.inference_mode(False):
            return torch.empty(size, dtype=torch.uint8, device=self.device)

    def hold(self, size: int) -> Tensor:
        with torch.inference_mode(False):
            return torch.empty(size, dtype=torch.uint8)

    def copy(self, into: Tensor, run: Tensor, after: Any) -> None:
        into.copy_(run)

    def mark(self) -> None:
        return None

    def wait(self, event: Any) -> None:
        return None

    def finish(self, event: Any) -> None:
        return None


class CudaLane:
    """A stream for copies; computation is the current stream of whoever calls."""

    def __init__(self, device: torch.device) -> None:
        self.device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        self.stream = torch.cuda.Stream(self.device)

    def empty(self, size: int) -> Tensor:
        with torch.inference_mode(False):  # a slot outlives the block of code it was first needed in
            return torch.empty(size, dtype=torch.uint8, device=self.device)

    def hold(self, size: int) -> Tensor:
        with torch.inference_mode(False):
            return page_locked(size)

    def copy(self, into: Tensor, run: Tensor, after: torch.cuda.Event) -> torch.cuda.Event:
        done = torch.cuda.Event()
        with torch.cuda.stream(self.stream):
            self.stream.wait_event(after)
            into.copy_(run, non_blocking=True)
            done.record(self.stream)
        return done

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self.device))
        return event

    def wait(self, event: torch.cuda.Event) -> None:
        torch.cuda.current_stream(self.device).wait_event(event)

    def finish(self, event: torch.cuda.Event) -> None:
        event.synchronize()


def page_locked(size: int) -> Tensor:
    """(size,) uint8 on the host that the system may not move, so that a device reads it by itself.

    Locked by hand: the allocator of PyTorch rounds such memory up to a power of two, 453 MB to 537.
    Raises OutOfMemory if the system refuses.
    """
    whole = torch.empty(-(-size // PAGE_BYTES) * PAGE_BYTES + PAGE_BYTES, dtype=torch.uint8)
    skipped = -whole.data_ptr() % PAGE_BYTES  # whole pages: those of two buffers may not be one
    locked = whole[skipped : skipped + -(-size // PAGE_BYTES) * PAGE_BYTES]
    runtime: Any = torch.cuda.cudart()
    failed = int(runtime.cudaHostRegister(locked.data_ptr(), locked.numel(), 1))  # 1: for every device
    if failed:
        raise OutOfMemory(
            f"host memory: {size / 1e9:.2f} GB could not be page-locked (CUDA error {failed}); less of it accepted; "
            'use host="mapped", or raise the limit of locked memory (ulimit -l)'
        )
    weakref.finalize(whole.untyped_storage(), _unlock, locked.data_ptr())
    return locked[:size]


def _unlock(address: int) -> None:
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaHostUnregister(address)
