"""What the loop trains. A stage knows its networks, its losses and how to judge itself; the loop knows the rest.

A stage has one phase, or several that take turns on the same batch, each with an optimiser of its own: an
autoencoder's generator and its discriminator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from recast.train.settings import Optimiser


class Loss(NamedTuple):
    """What a phase makes of a batch."""

    value: Tensor  # scalar, with its graph: the mean over the batch
    parts: Mapping[str, Tensor]  # scalars without graphs, to be logged


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Some networks of a stage, and the optimiser that moves their parameters that require a gradient."""

    name: str
    networks: tuple[str, ...]
    optimiser: Optimiser


class Stage(Protocol):
    """An autoencoder, a text encoder, a flow transformer, adapters: whatever the loop can train."""

    @property
    def name(self) -> str: ...
    @property
    def phases(self) -> Sequence[Phase]: ...
    @property
    def networks(self) -> Mapping[str, nn.Module]: ...  # all that is saved; parallel wrappers are already on
    @property
    def averaged(self) -> Sequence[str]: ...  # those of them that have an EMA

    def prepare(self, batch: Any, share: float) -> Any:
        """What the phases read, on the device: encoded once, without a gradient. share: of the run that is done."""
        ...

    def loss(self, phase: str, prepared: Any, share: float) -> Loss | None:
        """The loss of a phase; None if it has nothing to do yet. Draws by the numbers of the examples alone."""
        ...

    def flops(self, batch: Any) -> float:
        """Of forward and backward passes on one batch, by formula, recomputation not counted."""
        ...

    def count(self, batch: Any) -> int:
        """Examples in the batch, all processes together."""
        ...

    def validate(self) -> Mapping[str, float]:
        """Numbers on a fixed held-out set with fixed noise, by the weights that are in the networks now."""
        ...

    def samples(self) -> Mapping[str, np.ndarray]:
        """Pictures to look at, (H, W, 3) uint8 by name, made from fixed examples and noise."""
        ...


class Batches(Protocol):
    """Where a stage's batches come from. What comes next is a function of `state` alone."""

    def __iter__(self) -> Iterator[Any]:
        """Batches without end, each this process's part of one."""
        ...

    def state(self) -> dict[str, Any]:
        """Where the stream stands after the last batch handed out, as JSON data; the same in all processes."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises ConfigError for the state of another stream."""
        ...

    def close(self) -> None:
        """Stop the workers."""
        ...


def trained(phase: Phase, networks: Mapping[str, nn.Module]) -> Iterable[tuple[str, nn.Parameter]]:
    """The named parameters that a phase moves."""
    for name in phase.networks:
        for inner, parameter in networks[name].named_parameters():
            if parameter.requires_grad:
                yield f"{name}.{inner}", parameter
