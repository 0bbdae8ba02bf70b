"""A whole evaluation as one CUDA graph: recorded once for each shape, then played with other inputs.

At one megapixel a GPU is busy with the products and a graph saves little; with small pictures, or in eight bits,
launching some 550 kernels takes longer than running them. The inputs of a graph are tensors at fixed places: the
state and the modulations are copied there before each step, the condition when another walk has used the graph in
between. Exact: the same kernels in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.flow.guidance import MayChange, Velocity
from recast.flow.layers import KeysValues
from recast.flow.transformer import Condition
from recast.speed.engine import Engine, Modulations, Resident
from recast.speed.recent import Recent

Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
MOST = 4  # shapes kept at once: each may hold a gigabyte of activations, though they share one pool

WARM_UPS = 3  # before recording: libraries choose their kernels and take their workspaces in the first calls


@runtime_checkable
class Forgets(Protocol):
    """An attention that makes something for each shape, and lets the oldest go."""

    def held(self) -> tuple[object, ...]:
        """What calls lately made were computed with: a recording of them keeps it, since replays ask for nothing."""
        ...


@dataclass
class Recorded:
    """One graph, the tensors that it reads, and the one that it writes."""

    x: Tensor
    modulations: Modulations
    condition: Condition
    replay: Callable[[], None]
    velocity: Tensor
    walk: object  # whose condition lies there
    held: tuple[object, ...]  # what a replay reads beside these, and the engine might forget


class Graphs:
    """A `Walk` that plays graphs; set it as `engine.walk`."""

    def __init__(self, record: Record | None = None, most: int = MOST) -> None:
        """record: from a function without arguments, and its result, to one that runs it again into that result."""
        self.record = OnCuda() if record is None else record
        self.recent: Recent[Recorded] = Recent(most)

    def __call__(
        self, engine: Engine, condition: Condition, times: Sequence[float], may_change: MayChange | None
    ) -> Velocity:
        if not isinstance(engine.blocks, Resident):
            raise ConfigError("graph: the weights must stay on the device, and here blocks are streamed; choose one")
        known = engine.modulations(condition, times)
        this_walk = object()

        def velocity(x: Tensor, t: float) -> Tensor:
            key = (engine, *_key(x, condition))  # two engines of one walk attend, say, in different formats
            graph = self.recent.get(key, lambda: self._record(engine, x, known[t], condition, this_walk))
            if graph.walk is not this_walk:
                for place, value in zip(_tensors(graph.condition), _tensors(condition), strict=True):
                    place.copy_(value)
                graph.walk = this_walk
            graph.x.copy_(x)
            torch._foreach_copy_(graph.modulations, known[t])  # 77 tensors in a few launches
            graph.replay()
            return graph.velocity.to(torch.float32, copy=True)  # the next replay, of any graph, writes there again

        return velocity

    def _record(
        self, engine: Engine, x: Tensor, modulations: Modulations, condition: Condition, walk: object
    ) -> Recorded:
        places = x.clone(), [rows.clone() for rows in modulations], _cloned(condition)
        replay, velocity = self.record(lambda: engine.evaluate(*places)[0])
        attend = engine.attend
        return Recorded(*places, replay, velocity, walk, attend.held() if isinstance(attend, Forgets) else ())

    def beside(self) -> Graphs:
        """Room for as many recordings again, in the same pool: for an engine that walks in turn with this one's."""
        return Graphs(self.record, self.recent.limit)


class OnCuda:
    """Records CUDA graphs, all in one pool of memory: they are played one at a time."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                run()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        # what other threads of this process ask of the device does not end the recording
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            result = run()
        return graph.replay, result


def _key(x: Tensor, condition: Condition) -> tuple[object, ...]:
    kind = "cached" if isinstance(condition.context, list) else "full"
    return (kind, x.shape, *((tensor.shape, tensor.dtype) for tensor in _tensors(condition)))


def _tensors(condition: Condition) -> list[Tensor]:
    """What an evaluation reads of a condition: not the vectors, which are in the modulations."""
    context = condition.context
    parts = [part for block in context for part in block] if isinstance(context, list) else [context]
    return [part for part in (condition.text, condition.rotary, *parts, condition.extra) if part is not None]


def _cloned(condition: Condition) -> Condition:
    def copied(context: Tensor | list[KeysValues] | None) -> Tensor | list[KeysValues] | None:
        if isinstance(context, list):
            return [KeysValues(*(part.clone() for part in block)) for block in context]
        return None if context is None else context.clone()

    return replace(
        condition,
        text=condition.text.clone(),
        rotary=condition.rotary.clone(),
        context=copied(condition.context),
        extra=None if condition.extra is None else condition.extra.clone(),
    )
