"""What the tests of approximate walks share: a tiny engine, a request, and how many blocks and rows were computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from recast.flow.guidance import MayChange
from recast.flow.sampler import Sampler, euler
from recast.flow.transformer import Condition
from recast.speed.blocks import Block
from recast.speed.engine import Engine, Resident, Walk, exactly
from tests.flow.test_transformer import inputs
from tests.tiny import tiny_flow

TIMES = [1.0, 0.9, 0.75, 0.6, 0.4, 0.25, 0.1, 0.0]


class Counting:
    """The blocks of another, which counts how many it hands out."""

    def __init__(self, inner: Resident) -> None:
        self.inner, self.handed = inner, 0

    def __len__(self) -> int:
        return len(self.inner)

    def walk(self, first: int, last: int) -> Iterator[Block]:
        self.handed += last - first
        return self.inner.walk(first, last)


class Rows:
    """Attention that notes how many queries and keys each call has."""

    def __init__(self, inner: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        self.inner, self.seen = inner, list[tuple[int, int]]()

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.seen.append((q.shape[1], k.shape[1]))
        return self.inner(q, k, v)


def engine(walk: Walk = exactly, **changes: object) -> Engine:
    """An engine of random weights that counts its blocks and rows."""
    made = Engine(tiny_flow(**changes))
    assert isinstance(made.blocks, Resident)
    made.blocks, made.attend, made.walk = Counting(made.blocks), Rows(made.attend), walk
    return made


def request(engine: Engine, *, batch: int = 1, seed: int = 0, context: bool = True) -> tuple[Tensor, Condition]:
    """Noise and the condition of an edit with two context pictures, or of a picture from words."""
    x, _, given = inputs(seed, batch=batch, **({} if context else {"contexts": ()}))
    return x, engine.condition(**given)


def final(
    engine: Engine,
    x: Tensor,
    condition: Condition,
    *,
    sampler: Sampler = euler,
    may_change: MayChange | None = None,
) -> Tensor:
    """Where a walk over `TIMES` ends."""
    *_, last = sampler(engine.along(condition, TIMES, may_change), x, TIMES)
    return last.x


def whole_final(x: Tensor, condition: Condition, *, sampler: Sampler = euler, **changes: object) -> Tensor:
    """Where it ends with every evaluation whole."""
    return final(engine(**changes), x, condition, sampler=sampler)


def distance(a: Tensor, b: Tensor) -> float:
    return (torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b)).item()
