"""At which steps an approximate walk computes everything; at the others it uses what these left."""

from __future__ import annotations

from dataclasses import dataclass

from recast.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """A schedule of whole evaluations. Raises ConfigError for numbers that cannot be counted by.

    first: so many steps at the start. every: after these, each so many-th step; None for none. last: the last step.
    """

    first: int = 2
    every: int | None = 6
    last: bool = True

    def __post_init__(self) -> None:
        for name, value in (("first", self.first), ("every", self.every)):
            if not (name == "every" and value is None) and (type(value) is not int or value < 1):
                raise ConfigError(f"{name}={value!r}: a whole number of steps from 1 accepted; pass one")

    def at(self, step: int, steps: int) -> bool:
        """Whether everything is computed at a step, counted from 0, of so many."""
        if step < self.first or (self.last and step == steps - 1):
            return True
        return self.every is not None and (step - self.first + 1) % self.every == 0

    def count(self, steps: int) -> int:
        """How many whole evaluations a walk of so many steps takes, at one evaluation a step."""
        return sum(self.at(step, steps) for step in range(steps))
