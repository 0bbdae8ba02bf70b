"""Processes that make one picture together: how they meet, what they say to each other, and how they fail.

Each is a whole program with a whole pipeline, as `torchrun` starts it. On GPUs tensors go by NCCL and plain things
by gloo; on a CPU both go by gloo.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous

from recast import errors
from recast.errors import ConfigError, OutOfMemory, RecastError

TIMEOUT_S = 300.0
"""How long a process waits for the others: longer than the slowest takes to load a model."""
GRACE_S = 10.0
"""How long a process that failed waits for the first to say so, before it says so itself."""
HERE, PROBLEM, TOLD = "recast/here", "recast/problem", "recast/told"  # in the store where processes meet

Found = TypeVar("Found")


class Lost(RecastError):
    """Another process is gone, or silent."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process among `size` that make the same pictures. All of them call the same methods in the same order.

    One that is gone, or silent for `timeout_s`, is a RecastError in the others. With NCCL, the wait for a tensor is
    the device's: there the library's watchdog ends the process, after the same time and with a message of its own.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    timeout_s: float = TIMEOUT_S
    store: Any = field(default=None, repr=False, compare=False)  # small things by name, until the last one is gone

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files and prints."""
        return self.rank == 0

    # Plain things, by the CPU.

    def every(self, thing: Any) -> list[Any]:
        """The thing of every process, by rank. It must pickle."""
        found: list[Any] = [None] * self.size
        with self._answered():
            dist.all_gather_object(found, thing)
        return found

    def agree(self, thing: Any) -> Any:
        """The first process's thing: a seed drawn at random, for one."""
        return self.every(thing)[0]

    def wait(self) -> None:
        """Return once all processes are here."""
        self.every(None)

    def check_same(self, things: Mapping[str, Any]) -> None:
        """Raises ConfigError, in all processes, where the things of one are not those of the first."""
        came = self.every(dict(things))
        for rank, other in enumerate(came):
            for name in [*came[0], *other]:
                if other.get(name) != came[0].get(name):
                    raise ConfigError(
                        f"{name}: process 0 has {came[0].get(name)}, process {rank} has {other.get(name)}; all make "
                        "the same picture; give every process the same request"
                    )

    # Tensors, by the device.

    def from_first(self, tensor: Tensor) -> Tensor:
        """The first process's tensor, of the same shape and dtype in all."""
        copy = tensor.clone(memory_format=torch.contiguous_format)
        with self._answered():
            dist.broadcast(copy, src=0)
        return copy

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place where it can be; the same bits in all."""
        whole = tensor.contiguous()
        with self._answered():
            dist.all_reduce(whole)
        return whole

    def gathered(self, rows: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """The rows (b, counts[i], d) of every process i."""
        padded = torch.nn.functional.pad(rows, (0, 0, 0, max(counts) - rows.shape[1])).contiguous()
        every = [torch.empty_like(padded) for _ in counts]
        with self._answered():
            dist.all_gather(every, padded)
        return [part[:, :count] for part, count in zip(every, counts, strict=True)]

    def exchanged(self, rows: Tensor, counts: Sequence[int], wanted: Sequence[int]) -> Tensor:
        """Rows of everybody: counts[i] of this process's rows (s, ...) go to process i, wanted[i] come from it."""
        whole = rows.new_empty(sum(wanted), *rows.shape[1:])
        with self._answered():
            dist.all_to_all_single(whole, rows.contiguous(), list(wanted), list(counts))
        return whole

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise Lost(
                f"process {self.rank} of {self.size}: another process is gone, or was silent for "
                f"{self.timeout_s:g} s; read what it said last, and start all of them again"
            ) from error


def meet(
    *,
    rank: int = 0,
    size: int = 1,
    local_rank: int = 0,
    device: str | torch.device = "cpu",
    meeting: str = "env://",
    timeout_s: float = TIMEOUT_S,
) -> Process:
    """Wait for the other processes, and be one of them; alone if size is 1.

    rank, size, local_rank: as `torchrun` says. device: cpu or cuda, of which this process takes number local_rank.
    meeting: where they find each other, in torch's words. Raises ConfigError for a number that cannot be,
    RecastError if the others do not come within `timeout_s`.
    """
    if not (0 <= rank < size and local_rank >= 0 and timeout_s > 0):
        raise ConfigError(
            f"rank={rank}, size={size}, local_rank={local_rank}, timeout_s={timeout_s}: 0 <= rank < size, a local rank "
            "from 0 and a time above 0 accepted; start the processes with torchrun, which sets them"
        )
    kind = torch.device(device).type
    own = torch.device(kind, local_rank) if kind == "cuda" else torch.device(device)
    if kind == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"local_rank={local_rank}: this machine has {torch.cuda.device_count()} GPUs, and each process takes "
                "one; start fewer processes"
            )
        torch.cuda.set_device(own)
    here = Process(rank=rank, size=size, device=own, timeout_s=timeout_s)
    if size == 1:
        return here
    timeout = timedelta(seconds=timeout_s)
    with here._answered():
        store, _, _ = next(iter(rendezvous(meeting, rank, size, timeout=timeout)))
        store.set_timeout(timeout)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo",
            store=dist.PrefixStore("default_pg", store),
            rank=rank,
            world_size=size,
            timeout=timeout,
        )
        store.set(f"{HERE}/{rank}", "1")  # one that fails at once must not be gone before the others have come
        store.wait([f"{HERE}/{each}" for each in range(size)], timeout)
    return replace(here, store=store)


def leave(here: Process) -> None:
    """Part from the other processes; a second time does nothing."""
    if here.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


def together(here: Process, work: Callable[[], Found]) -> Found | None:
    """What `work` gives in this process; all part afterwards. An error of one is raised by the first, and by no other.

    The first process raises its own error as it is, that of another as the same kind of RecastError with the number
    of the process before it; the others end with None. Only where the first does not take it up within `GRACE_S`,
    since it is gone or waits for its device, a process raises its error itself: who started them ends the rest.
    """
    try:
        found = work()
    except KeyboardInterrupt:  # which all of them hear
        if here.is_first:
            raise
        return None
    except Exception as error:
        if here.is_first:
            _taken_up(here, error)
        _handed_over(here, error)
        return None
    leave(here)
    return found


# How they fail.


def _taken_up(here: Process, error: Exception) -> NoReturn:
    """In the first process: raise its error, or where it lost another, the one which that other ended with."""
    problem = _found(here) if isinstance(error, Lost) else None
    _end(here)
    here.store.set(TOLD, "1")
    if problem is None:
        raise error
    rank, kind, text, trace = problem
    told = getattr(errors, kind)(f"process {rank}: {text}")
    told.add_note(trace)
    raise told from error


def _handed_over(here: Process, error: Exception) -> None:
    """In another process: leave the error where the first finds it; raise it if that one does not look."""
    try:
        if not isinstance(error, Lost):
            trace = "".join(traceback.format_exception(error))
            here.store.set(f"{PROBLEM}/{here.rank}", pickle.dumps((here.rank, *_described(error), trace)))
        _end(here)
        here.store.wait([TOLD], timedelta(seconds=GRACE_S))
    except dist.DistNetworkError:  # the store is gone, and with it the first process: it has said why
        return
    except RuntimeError:
        raise error from None


def _found(here: Process) -> tuple[int, str, str, str] | None:
    """The problem that a process has left: its number, the kind of error, what it says, and where it came from."""
    names = [f"{PROBLEM}/{rank}" for rank in range(1, here.size)]
    left = next((name for name in names if here.store.check([name])), None)
    return None if left is None else pickle.loads(here.store.get(left))


def _described(error: Exception) -> tuple[str, str]:
    """The kind of `recast.errors` that an error is, or is nearest to, and what it says."""
    if isinstance(error, RecastError):
        return next(kind.__name__ for kind in type(error).__mro__ if hasattr(errors, kind.__name__)), str(error)
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return OutOfMemory.__name__, f"memory: ran out ({said}); use a smaller size, or more processes"
    return RecastError.__name__, f"unexpected {said}; --traceback shows where; please report it"


def _end(here: Process) -> None:
    """Wake who waits for this process. NCCL would wait for them in turn: there, the end of the process is the sign."""
    if here.device.type != "cuda":
        leave(here)
