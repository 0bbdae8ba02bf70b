"""All that a run needs to go on, on disk: written aside, verified, then published by one rename."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from recast.train.ema import Average

MEDIAN_OF = 101
"""Steps that the running median of a gradient's norm is taken over."""


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0  # optimiser steps taken or skipped
    samples: int = 0  # examples seen, all processes together
    seconds: float = 0.0  # of wall clock, of all calls
    skipped: int = 0  # steps not taken, in all
    in_a_row: int = 0  # of them, the last ones
    norms: dict[str, list[float]] = field(default_factory=dict)  # of each phase's gradient, the last MEDIAN_OF


@dataclass(frozen=True)
class Parts:
    """What is saved and loaded in place."""

    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, list[Optimizer]]  # of each phase
    averages: Mapping[str, Average]  # of some networks
