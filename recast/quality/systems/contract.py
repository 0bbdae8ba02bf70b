"""What a system under test is: one request in, one picture out, or a failure with its reason.

Local models, controls and hosted services all have this shape, so that a table compares them item by item.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from recast.errors import RecastError

Status = Literal["blocked", "timeout", "error"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One unit of work: make the picture that `instruction` asks for.

    item, turn: which item of a suite, and which turn of its chain, from 0. contexts: uint8 (H, W, 3) sRGB each; the
    first is the picture to change, the others are references; none means text to image. width, height: of the picture
    wanted. seed: the same for every system, where it takes one.
    """

    item: str
    turn: int = 0
    instruction: str
    contexts: tuple[np.ndarray, ...] = ()
    width: int
    height: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Made:
    """A picture as the system gave it: uint8 (H, W, 3), of whatever size came; and what it took.

    seconds: from first byte sent to picture in memory. server_seconds, queue_seconds: as reported, if reported.
    cost_usd: None if unknown. detail: what else is worth keeping (steps, remote id, revised prompt); no secrets.
    """

    pixels: np.ndarray
    seconds: float
    server_seconds: float | None = None
    queue_seconds: float | None = None
    attempts: int = 1
    cost_usd: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)


class Failed(RecastError):
    """A request that ended without a picture: blocked (a policy refused it), timeout, or error."""

    def __init__(self, status: Status, reason: str, attempts: int = 1) -> None:
        super().__init__(f"{status}: {reason}")
        self.status: Status = status
        self.reason = reason
        self.attempts = attempts


class System(Protocol):
    """A system under test."""

    name: str
    """Short, for tables and folder names."""
    concurrency: int
    """How many requests it may be given at once; 1 for a local model."""

    def describe(self) -> dict[str, Any]:
        """Everything that decides the picture (model, revision, steps, options), no secrets; hashed into the run."""
        ...

    def price_usd(self, request: Request) -> float | None:
        """What a request will cost, for the estimate shown before a run; None if unknown, 0 if local."""
        ...

    def make(self, request: Request) -> Made:
        """The picture. Raises Failed; anything else is a fault of the adapter and stops the run."""
        ...
