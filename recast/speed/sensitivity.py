"""Which layers eight bits hurt most: the error of the velocity when one layer alone is rounded, layer by layer.

The points where it is measured are those of real requests: `recorded` keeps the walks that a pipeline takes.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recast.config import FlowConfig
from recast.errors import ConfigError, InputError
from recast.flow.guidance import MayChange, Velocity
from recast.flow.transformer import Condition, Network
from recast.pipeline import Pipeline
from recast.speed.engine import Engine, Resident
from recast.speed.linear import Linear, Plain
from recast.speed.quantize import EightBit, layers_of, replaced, stays

TIMES = (1.0, 0.75, 0.5, 0.25, 0.05)
SHARE = 0.04  # of the layers: what stays as it is costs one or two percent of the gain


@dataclass(frozen=True)
class Probe:
    """A point on a walk: the state x (b, n, d) at time t, and what it is evaluated for."""

    condition: Condition
    x: Tensor
    t: float


@dataclass(frozen=True)
class Walked:
    """What a walk asked of the network, and got."""

    condition: Condition
    states: list[Tensor] = field(default_factory=list)  # (b, n, d) each
    times: list[float] = field(default_factory=list)
    velocities: list[Tensor] = field(default_factory=list)

    def steps(self) -> list[Probe]:
        """Every evaluation, to be asked again."""
        return [Probe(self.condition, x, t) for x, t in zip(self.states, self.times, strict=True)]

    def at(self, t: float) -> Probe:
        """The point at time t of the walk of straight steps through the recorded states, which Euler's is."""
        before = [i for i, time in enumerate(self.times) if time >= t]
        if not before:
            raise InputError(f"t={t}: this walk began at {self.times[0]}; a time from there down to 0 accepted")
        last = before[-1]
        x = self.states[last] + (t - self.times[last]) * self.velocities[last]
        return Probe(self.condition, x, t)


@contextmanager
def recorded(pipeline: Pipeline) -> Iterator[list[Walked]]:
    """The walks that the pipeline takes inside, as a list that grows; with guidance, one for each of the prompts."""
    network, walks = pipeline.network, list[Walked]()
    pipeline.network = _Recorder(network, walks)
    try:
        yield walks
    finally:
        pipeline.network = network


def velocities(network: Network, probes: Sequence[Probe]) -> list[Tensor]:
    """What the network says at each point: (b, n, d) fp32."""
    return [network.along(probe.condition, [probe.t])(probe.x, probe.t) for probe in probes]


def distance(made: Tensor, reference: Tensor) -> float:
    """|made - reference| / |reference|, in fp64."""
    true = reference.double()
    return float((made.double() - true).norm() / true.norm())


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The table: of every layer, the relative error of the velocity at each time, root mean square over requests."""

    times: tuple[float, ...]
    requests: int
    error: dict[str, tuple[float, ...]]

    def overall(self, name: str) -> float:
        """The layer's error over all times, root mean square."""
        return math.sqrt(sum(error**2 for error in self.error[name]) / len(self.times))

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as file:
            json.dump(asdict(self), file)
        os.replace(file.name, path)

    @staticmethod
    def load(path: Path) -> Sensitivity:
        """Read what `save` wrote. Raises InputError for a file that is something else."""
        try:
            data: dict[str, Any] = json.loads(path.read_text())
            times = tuple(float(t) for t in data["times"])
            error = {str(name): tuple(float(one) for one in row) for name, row in data["error"].items()}
            requests = int(data["requests"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as broken:
            raise InputError(
                f"sensitivity={str(path)!r}: not a table of layers ({broken}); a file written by Sensitivity.save "
                "accepted; measure it again"
            ) from broken
        if any(len(row) != len(times) for row in error.values()):
            raise InputError(
                f"sensitivity={str(path)!r}: {len(times)} numbers needed for every layer, one for each time; "
                "measure it again"
            )
        return Sensitivity(times=times, requests=requests, error=error)


def measure(
    engine: Engine, walks: Sequence[Walked], *, times: Sequence[float] = TIMES, names: Collection[str] | None = None
) -> Sensitivity:
    """The table of an engine whose weights stay on the device: layers x walks x times evaluations.

    names: of the layers to be measured, None for all that have the widths. The reference is the engine as it is; in
    bf16 its own rounding, the same in all rows, is the floor of the table.
    """
    if not isinstance(engine.blocks, Resident):
        raise ConfigError("engine: its weights must stay on the device, and here blocks are streamed; pass a plain one")
    blocks = engine.blocks.blocks
    left = stays(blocks)
    chosen = [name for name in layers_of(blocks) if name not in left and (names is None or name in names)]
    probes = [walk.at(t) for t in times for walk in walks]
    reference = velocities(engine, probes)
    table: dict[str, tuple[float, ...]] = {}
    for name in chosen:
        made = velocities(_with(engine, _only(name)), probes)
        errors = [distance(one, true) ** 2 for one, true in zip(made, reference, strict=True)]
        by_time = [errors[i : i + len(walks)] for i in range(0, len(errors), len(walks))]
        table[name] = tuple(math.sqrt(sum(row) / len(row)) for row in by_time)
    return Sensitivity(times=tuple(times), requests=len(walks), error=table)


def worst(table: Sensitivity, share: float = SHARE) -> tuple[str, ...]:
    """The names of the most sensitive layers, this share of all, rounded up; the worst first."""
    if not 0 <= share <= 1:
        raise ConfigError(f"share={share}: a part of the layers, 0 to 1, accepted; 0.03 to 0.05 is usual")
    ranked = sorted(table.error, key=table.overall, reverse=True)
    return tuple(ranked[: math.ceil(share * len(ranked))])


def _only(name: str) -> Callable[[str, Linear], Linear]:
    return lambda other, layer: EightBit.of(layer) if other == name and isinstance(layer, Plain) else layer


def _with(engine: Engine, each: Callable[[str, Linear], Linear]) -> Engine:
    """The engine with its layers replaced."""
    assert isinstance(engine.blocks, Resident)
    blocks = Resident(replaced(engine.blocks.blocks, each))
    return Engine(engine.flow, blocks=blocks, modulators=engine.modulators, ops=engine.ops, attend=engine.attend)


@dataclass(frozen=True)
class _Recorder:
    """A network that does as another does, and keeps what was asked and answered."""

    network: Network
    walks: list[Walked]

    @property
    def config(self) -> FlowConfig:
        return self.network.config

    @property
    def device(self) -> torch.device:
        return self.network.device

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    def condition(self, *args: Any, **inputs: Any) -> Condition:
        return self.network.condition(*args, **inputs)

    def with_text(self, condition: Condition, text: Tensor, pooled: Tensor | None) -> Condition:
        return self.network.with_text(condition, text, pooled)

    def along(self, condition: Condition, times: Sequence[float], may_change: MayChange | None = None) -> Velocity:
        walked, inner = Walked(condition), self.network.along(condition, times, may_change)
        self.walks.append(walked)

        def velocity(x: Tensor, t: float) -> Tensor:
            made = inner(x, t)
            walked.states.append(x.clone())
            walked.times.append(t)
            walked.velocities.append(made.clone())
            return made

        return velocity
