"""One example, many in a batch, and what every source of examples looks like from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Example:
    """What a model sees, what it is asked, and the answer.

    Pictures are (H, W, 3) uint8, sRGB. contexts: image 1 first; none for text to image. instruction: what to do to the
    contexts, or None where there are only captions. inverse: the instruction from the target back to context `base`.
    captions: of every context, then of the target; None where nobody wrote one. mask: (H, W) bool, what must change
    between context `base` and the target, or None where it is not known.
    """

    id: str  # unique in its source, the same for ever: caches are keyed by it
    contexts: tuple[np.ndarray, ...] = ()
    target: np.ndarray
    instruction: str | None = None
    inverse: str | None = None
    captions: tuple[str | None, ...] = (None,)
    mask: np.ndarray | None = None
    base: int = 0
    kind: str = ""  # of the edit, in the source's own words
    scores: Mapping[str, float] = field(default_factory=dict)
    licence: str = "unknown"
    truth: Mapping[str, Any] | None = None  # scenes as plain data, where the world drew them


class Shape(NamedTuple):
    """What must be equal in a batch: (width, height) of the target, and of every context."""

    target: tuple[int, int]
    contexts: tuple[tuple[int, int], ...] = ()


class Source(Protocol):
    """Examples by number. The same number gives the same example in every process, now and later."""

    @property
    def length(self) -> int | None:
        """How many there are; None without end."""
        ...

    def shape(self, index: int) -> Shape:
        """The sizes of example `index`, cheaply: without decoding its pictures."""
        ...

    def example(self, index: int) -> Example:
        """Example `index`. Raises InputError that names the file and the place if it cannot be read."""
        ...

    def about(self) -> Mapping[str, Any]:
        """What it is, as JSON data: kind, place, hash or seed, licence. Two equal ones hold the same examples."""
        ...


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Examples of one shape: the part of a batch that is this process's."""

    numbers: tuple[int, ...]  # where each stands in the stream, all sources together: noise and times are drawn by it
    of: int  # examples in the whole batch, all processes together
    ids: tuple[str, ...]
    target: Tensor  # (b, 3, H, W) uint8
    contexts: tuple[Tensor, ...]  # each (b, 3, H, W) uint8
    instructions: tuple[str | None, ...]
    inverses: tuple[str | None, ...]
    captions: tuple[tuple[str | None, ...], ...]  # of each example: of its contexts, then of its target
    masks: Tensor | None  # (b, 1, H, W) bool, empty where an example has none; None where none has one
    bases: tuple[int, ...]
    kinds: tuple[str, ...] = ()
    truths: Sequence[Mapping[str, Any] | None] = ()
    unmasked: frozenset[int] = frozenset()  # rows of masks that are of examples that have none
