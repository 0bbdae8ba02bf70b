"""Batches from a source, made by worker processes, with a position that can be gone back to exactly.

The main process plans (`buckets`), workers read and draw. What a batch holds depends on the source, the batching and
the seed alone: not on the number of workers, nor on that of processes, each of which makes its own part of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from recast.errors import ConfigError, InputError, RecastError, TrainingError
from recast.train.data import pictures
from recast.train.data.buckets import Batching, Planner
from recast.train.data.example import Batch, Example, Shape, Source
from recast.train.data.order import Shuffled
from recast.train.settings import ASKED, differences

if TYPE_CHECKING:
    from recast.train.parallel import Ranks

log = logging.getLogger(__name__)

INSTEAD = 2000
"""Numbers looked through, after an example that cannot be used, for one of its shape that can."""
Skipped = Callable[..., None]


class Loader:
    """The batches of this process. Implements `stage.Batches`.

    source: what the examples are; a finite one is seen in a new order every epoch, by `seed`. workers: processes that
    make examples; 0 makes them here. ahead: batches each keeps ready. on_bad: what to do about an example that cannot
    be used: "stop" raises its InputError; "skip" tells `event` ("bad example", with its number, the reason and which
    number's example stands in for it, the next of its shape), counts it and goes on. When it is closed it tells `event`
    how many pictures were stretched ("resized"). asked: the settings by which all this came about, as JSON data; those
    that differ are named where the state of another stream is refused. Raises ConfigError for a batch that cannot be
    cut into equal parts.
    """

    def __init__(
        self,
        source: Source,
        *,
        batching: Batching,
        ranks: Ranks,
        seed: int = 0,
        workers: int = 0,
        ahead: int = 2,
        on_bad: Literal["stop", "skip"] = "stop",
        event: Skipped | None = None,
        asked: Mapping[str, Any] | None = None,
    ) -> None:
        if on_bad not in ("stop", "skip"):
            raise ConfigError(f"on_bad={on_bad!r}: stop or skip accepted; choose one")
        if workers < 0 or ahead < 1:
            raise ConfigError(f"workers={workers}, ahead={ahead}: workers from 0 and batches ahead from 1 accepted")
        name = "batch_size" if batching.batch_size is not None else "multiple"
        if getattr(batching, name) % ranks.data_size:
            raise ConfigError(
                f"{name}={getattr(batching, name)}: cannot be cut into {ranks.data_size} equal parts; a multiple of "
                f"{ranks.data_size} accepted"
            )
        self.stream: Source = source if source.length is None else Shuffled(source, seed)
        self.batching, self.ranks = batching, ranks
        self.workers, self.ahead = workers, ahead
        self.on_bad, self.event, self.asked = on_bad, event, asked
        self.skipped = 0  # examples, of this process, since it was made
        self.resized = self._told = 0  # pictures, of the same, and those of them that `event` was told of
        self._maker = _Maker(self.stream, batching, on_bad)
        self._state = Planner(self.stream, batching).state()
        self._running: Generator[Batch] | None = None
        self._stream: str | None = None  # its fingerprint, once it is known: some sources read all their files for it

    def about(self) -> dict[str, Any]:
        """What it reads and how, as JSON data."""
        about = {"source": dict(self.stream.about()), "batching": self.batching.about(), "on_bad": self.on_bad}
        return about | {ASKED: dict(self.asked)} if self.asked else about

    def __iter__(self) -> Iterator[Batch]:
        """Batches from where `state` stands. What was made ahead for an earlier call is thrown away."""
        self.close()
        self._running = self._batches()
        return self._running

    def state(self) -> dict[str, Any]:
        """Where the stream stands after the last batch handed out; the same in all processes."""
        asked = {ASKED: dict(self.asked)} if self.asked else {}
        return {**self._state, "stream": self._fingerprint(), **asked}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there, at the next `iter`. Raises ConfigError for the state of another stream."""
        if state.get("stream") != self._fingerprint():
            known = differences("data", state[ASKED], dict(self.asked)) if ASKED in state and self.asked else []
            raise ConfigError(
                f"state: of the stream {state.get('stream')!r}, this is {self._fingerprint()!r}"
                f"{': ' if known else ''}{'; '.join(known)}; the state of the same "
                "sources, seed and batching accepted; continue with the settings of the checkpoint, or begin anew"
            )
        planner = Planner(self.stream, self.batching)
        planner.load_state(state)
        self.close()
        self._state = planner.state()

    def close(self) -> None:
        """Stop the workers, and say how many pictures were stretched since the last time."""
        if self._running is not None:
            self._running.close()
            self._running = None
        if self.resized > self._told and self.event is not None:
            self.event("resized", pictures=self.resized - self._told)
        self._told = self.resized

    def _batches(self) -> Generator[Batch]:
        states: deque[dict[str, Any]] = deque()
        data: DataLoader[Any] = DataLoader(
            self._maker,  # type: ignore[arg-type]  # it has __getitems__, which is all that is asked of it
            batch_sampler=_Plans(self._plans(states)),
            num_workers=self.workers,
            prefetch_factor=self.ahead if self.workers else None,
            collate_fn=_only,
            pin_memory=self.ranks.device.type == "cuda",
            worker_init_fn=begin_worker,
        )
        made = started(data)
        try:
            while True:
                try:
                    result = next(made)
                except RuntimeError as error:
                    if "DataLoader worker" not in str(error):
                        raise
                    raise TrainingError(
                        f"a process that makes examples was lost ({error}): killed, often for want of memory; what was "
                        f"saved stays good; continue with fewer than {self.workers} workers, or fewer batches ahead"
                    ) from error
                if result.error is not None:
                    raise result.error
                self._report(result)
                self._state = states.popleft()
                yield result.batch
        finally:
            del made  # ends the workers

    def _plans(self, states: deque[dict[str, Any]]) -> Iterator[list[Plan]]:
        planner = Planner(self.stream, self.batching, self._skip if self.on_bad == "skip" else None)
        planner.load_state(self._state)
        for key, numbers in planner:
            states.append(planner.state())
            each = len(numbers) // self.ranks.data_size
            mine = numbers[self.ranks.data_rank * each : (self.ranks.data_rank + 1) * each]
            yield [Plan(key, mine, len(numbers))]

    def _report(self, result: _Result) -> None:
        self.resized += result.resized
        for number, instead, error in result.bad:
            self._skip(number, error, instead)

    def _skip(self, number: int, error: InputError, instead: int | None = None) -> None:
        self.skipped += 1
        log.warning("bad example number=%d instead=%s reason=%s", number, instead, error)
        if self.event is not None:
            self.event("bad example", number=number, instead=instead, reason=str(error))

    def _fingerprint(self) -> str:
        """What tells this stream from another: everything but the places where files lie."""
        if self._stream is None:
            what = {"source": _elsewhere(self.stream.about()), "batching": self.batching.about(), "on_bad": self.on_bad}
            self._stream = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
        return self._stream


class Plan(NamedTuple):
    """What one process makes of a batch: its part, not made yet."""

    key: Shape
    numbers: tuple[int, ...]
    of: int


@dataclass
class _Result:
    """A batch, or the error that came instead, on its way from a worker."""

    batch: Batch | None = None
    error: RecastError | None = None
    bad: tuple[tuple[int, int | None, InputError], ...] = ()  # number, the one that stands in for it, reason
    resized: int = 0

    def pin_memory(self) -> _Result:
        """The same with its tensors in memory that a GPU copies from by itself."""
        if self.batch is None:
            return self
        masks = self.batch.masks.pin_memory() if self.batch.masks is not None else None
        contexts = tuple(each.pin_memory() for each in self.batch.contexts)
        pinned = replace(self.batch, target=self.batch.target.pin_memory(), contexts=contexts, masks=masks)
        return replace(self, batch=pinned)


class _Maker:
    """Makes a batch from its plan, in a worker or here."""

    def __init__(self, stream: Source, batching: Batching, on_bad: str) -> None:
        self.stream, self.batching, self.on_bad = stream, batching, on_bad

    def __getitems__(self, plans: list[Plan]) -> list[_Result]:
        return [self.make(plan) for plan in plans]

    def make(self, plan: Plan) -> _Result:
        result = _Result()
        try:
            examples = [self._example(number, plan.key, result) for number in plan.numbers]
            result.batch = collated(examples, plan.numbers, plan.of)
        except RecastError as error:  # handed over as a value: torch would wrap it in a text
            result.error = error
        return result

    def _example(self, number: int, key: Shape, result: _Result) -> Example:
        """The example at a number, or the next usable one of its shape, which goes into the result's `bad`."""
        first: InputError | None = None
        for other in range(number, number + INSTEAD):
            try:
                if other != number and self.batching.key(self.stream.shape(other)) != key:
                    continue
                example = self.stream.example(other)
                if self.batching.key(pictures.shape_of(example)) != key:
                    raise InputError(f"{example.id}: decodes to other sizes than its header says; write it again")
            except InputError as error:
                if self.on_bad == "stop":
                    raise
                first = first or error
                continue
            if first is not None:
                result.bad += ((number, other, first),)
            before = (pictures.shape_of(example).target, *pictures.shape_of(example).contexts)
            result.resized += sum(a != b for a, b in zip(before, (key.target, *key.contexts), strict=True))
            return pictures.fitted(example, key)
        raise InputError(
            f"{first}; and so of every other of its shape among the next {INSTEAD}; sources that can be read accepted"
        )


def collated(examples: Sequence[Example], numbers: Sequence[int], of: int) -> Batch:
    """A batch of examples of one shape, which stand at `numbers` of the stream; `of` in the whole batch."""
    known = [each.mask for each in examples if each.mask is not None]
    masks = [each.mask if each.mask is not None else np.zeros_like(known[0]) for each in examples] if known else []
    return Batch(
        numbers=tuple(numbers),
        of=of,
        ids=tuple(each.id for each in examples),
        target=_stacked([each.target for each in examples]),
        contexts=tuple(_stacked(list(each)) for each in zip(*(each.contexts for each in examples), strict=True)),
        instructions=tuple(each.instruction for each in examples),
        inverses=tuple(each.inverse for each in examples),
        captions=tuple(each.captions for each in examples),
        masks=torch.from_numpy(np.stack(masks)[:, None]) if masks else None,
        unmasked=frozenset(row for row, each in enumerate(examples) if known and each.mask is None),
        bases=tuple(each.base for each in examples),
        kinds=tuple(each.kind for each in examples),
        truths=tuple(each.truth for each in examples),
    )


def _stacked(arrays: list[np.ndarray]) -> torch.Tensor:
    """(b, 3, H, W) uint8 from pictures (H, W, 3)."""
    return torch.from_numpy(np.ascontiguousarray(np.stack(arrays).transpose(0, 3, 1, 2)))


class _Plans:
    """Plans as a sampler, which is asked for an iterator once."""

    def __init__(self, plans: Iterator[list[Plan]]) -> None:
        self.plans = plans

    def __iter__(self) -> Iterator[list[Plan]]:
        return self.plans


def _only(results: list[_Result]) -> _Result:
    return results[0]


def started(data: DataLoader[Any]) -> Iterator[Any]:
    """What a DataLoader makes, its workers running. A lost one is told by `next` alone, as a RuntimeError."""
    handler = signal.getsignal(signal.SIGCHLD)
    made = iter(data)
    if signal.getsignal(signal.SIGCHLD) is not handler:
        signal.signal(signal.SIGCHLD, handler)  # torch's raises wherever the main process happens to be
    return made


def begin_worker(worker: int) -> None:
    """In a worker: Ctrl-C is the main process's to answer, and one thread is enough."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(0)


def _elsewhere(about: Any) -> Any:
    """The same without any `place`: a set that was moved is the same set."""
    if isinstance(about, Mapping):
        return {name: _elsewhere(each) for name, each in about.items() if name != "place"}
    return [_elsewhere(each) for each in about] if isinstance(about, list | tuple) else about
