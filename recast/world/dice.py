"""Random choices that stay the same for ever: named streams, each a function of its seed and its labels alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from recast.errors import InputError
from recast.world.scene import STEP

T = TypeVar("T")


class Dice:
    """A stream of random choices, named by a seed and labels.

    Only `random.Random(str).random()` is used: Python promises that it never changes between versions, which it does
    not promise of `choice` or `shuffle`. A draw from one stream moves no other, so a new attribute can be drawn from
    a new stream without changing the pictures that were there before.
    """

    def __init__(self, seed: int, *labels: object) -> None:
        self._name = "/".join(map(str, (seed, *labels)))
        self._draw: Callable[[], float] | None = None

    def stream(self, *labels: object) -> Dice:
        """The stream of that name under this one, at its start: the same however much was drawn here."""
        return Dice(self._name, *labels)  # type: ignore[arg-type]  # a name extends as a seed does

    def random(self) -> float:
        """A float in [0, 1)."""
        if self._draw is None:  # many streams only name others, and seeding is most of the cost
            self._draw = random.Random(self._name).random
        return self._draw()

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def below(self, count: int) -> int:
        """A whole number in 0..count-1."""
        return int(self.random() * count)

    def choice(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def weighted(self, weights: dict[T, float]) -> T:
        """One of the keys, in proportion to its weight. Raises InputError if there are none."""
        if not weights:
            raise InputError("weights={}: one key or more accepted; there is nothing to choose from")
        left = self.random() * sum(weights.values())
        for item, weight in weights.items():
            left -= weight
            if left < 0:
                return item
        return item

    def shuffled(self, items: Sequence[T]) -> list[T]:
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in items]

    def on_grid(self, first: int, last: int) -> float:
        """A multiple of 1/64 from first/64 to last/64, both included."""
        return (first + self.below(last - first + 1)) * STEP
