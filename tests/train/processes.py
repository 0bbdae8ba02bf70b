"""Several processes that meet over gloo on one machine, and a small network for them."""

from __future__ import annotations

import os
import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from recast.config import tiny
from recast.flow.transformer import FlowTransformer
from recast.train import parallel
from recast.train.parallel import Ranks
from recast.train.settings import Parallel
from tests.tiny import randomise

LIMIT_S = 300
"""A process that takes longer is killed and counts as failed."""
LOADED = [
    "torch._dynamo",  # which sharding and optimisers import when they are first used
    "recast.train.loop",
    "recast.train.parallel",
    "recast.train.state",
    "recast.train.tensor_parallel",
]
"""Imported once, by the server that processes are forks of; by each on its own it takes seconds."""


@dataclass(frozen=True)
class Outcome:
    """How one process ended."""

    value: Any = None
    error: str = ""  # its traceback
    code: int | None = None  # of its exit; negative for a signal, None if it had to be killed


class Meeting:
    """Lets the processes of a test meet, one layout after another."""

    def __init__(self, place: Path, rank: int, size: int) -> None:
        self.place, self.rank, self.size, self.count = place, rank, size, 0

    def start(self, layout: Parallel, timeout_s: float = 120) -> Ranks:
        self.count += 1
        meeting = f"file://{self.place}/meeting-{self.count}"
        return parallel.start(layout, rank=self.rank, size=self.size, meeting=meeting, timeout_s=timeout_s)


def together(size: int, place: Path, task: Callable[..., Any], *arguments: Any) -> list[Outcome]:
    """Run task(meeting, *arguments) in `size` processes, and wait until all have ended, one way or another."""
    place.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    processes = [
        context.Process(target=_child, args=(place, rank, size, task, arguments), daemon=True) for rank in range(size)
    ]
    for process in processes:
        process.start()
    end = time.monotonic() + LIMIT_S
    outcomes = []
    for rank, process in enumerate(processes):
        process.join(max(end - time.monotonic(), 0.1))
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
        told = place / f"outcome-{rank}"
        value, error = pickle.loads(told.read_bytes()) if told.is_file() else (None, "")
        outcomes.append(Outcome(value, error, code))
    return outcomes


def values(outcomes: list[Outcome]) -> list[Any]:
    """What the processes returned; fails with the traceback of the first that did not."""
    for rank, outcome in enumerate(outcomes):
        assert outcome.code == 0, f"process {rank} ended with {outcome.code}: {outcome.error}"
    return [outcome.value for outcome in outcomes]


def _child(place: Path, rank: int, size: int, task: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    try:
        told, code = (task(Meeting(place, rank, size), *arguments), ""), 0
    except BaseException:
        told, code = (None, traceback.format_exc()), 1
    (place / f"outcome-{rank}").write_bytes(pickle.dumps(told))
    os._exit(code)  # without waiting for a peer that may be gone


def small_flow(seed: int = 0, **changes: Any) -> FlowTransformer:
    """The `tiny` transformer with four heads, so that two processes can share them."""
    small = {"hidden_size": 64, "num_heads": 4, "depth": 1, "depth_single_blocks": 2, "guidance_embed": False}
    network = randomise(FlowTransformer(replace(tiny().flow, **small | changes)), seed)
    assert isinstance(network, FlowTransformer)
    return network
