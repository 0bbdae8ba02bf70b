"""Several sources as one stream, each with its share: which example stands at a number is told by the number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from recast.errors import ConfigError
from recast.train.data.example import Example, Shape, Source
from recast.train.data.order import Permutation, Shuffled

ROUND = 4096
"""Numbers in a round. Each source has its share of every round exactly, in places drawn anew each time."""


class Mixture:
    """A source of sources. Shares are in proportion to the weights, to the nearest 1 in ROUND; it has no end.

    Finite sources are seen whole, in a new order every epoch, before any of their examples is seen again. Raises
    ConfigError for no sources, and for a weight that is not above 0 or so small that nothing would be seen.
    """

    length = None

    def __init__(self, parts: Sequence[tuple[Source, float]], seed: int = 0) -> None:
        weights = [weight for _, weight in parts]
        if not parts or not all(0 < weight < float("inf") for weight in weights):
            raise ConfigError(
                f"parts: weights {weights} came; one source or more, each with a weight above 0, accepted"
            )
        self.parts, self.seed = list(parts), seed
        self.shares = shares(weights, ROUND)
        if 0 in self.shares:
            few = weights[self.shares.index(0)]
            raise ConfigError(
                f"parts: the weight {few} of {sum(weights)} is under 1 in {ROUND}; raise it, or leave it out"
            )
        self.streams = [s if s.length is None else Shuffled(s, seed + k) for k, (s, _) in enumerate(parts)]
        self._places = lru_cache(maxsize=2)(self._round)

    def place(self, number: int) -> tuple[int, int]:
        """(the source, its own number) at `number` of the stream."""
        turn, inside = divmod(number, ROUND)
        source, rank = self._places(turn)[inside]
        return source, turn * self.shares[source] + rank

    def _round(self, turn: int) -> list[tuple[int, int]]:
        """Of each place in a round: which source, and how many of that source came before in the round."""
        slots = [source for source, share in enumerate(self.shares) for _ in range(share)]
        order = Permutation(ROUND, self.seed, 1, turn)
        counts = [0] * len(self.shares)
        places = []
        for i in range(ROUND):
            source = slots[order[i]]
            places.append((source, counts[source]))
            counts[source] += 1
        return places

    def __getstate__(self) -> dict[str, Any]:
        return {"parts": self.parts, "seed": self.seed}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # the cache of rounds is made anew

    def shape(self, index: int) -> Shape:
        source, number = self.place(index)
        return self.streams[source].shape(number)

    def example(self, index: int) -> Example:
        source, number = self.place(index)
        return self.streams[source].example(number)

    def about(self) -> Mapping[str, Any]:
        """Its seed, and each source with its share of a round."""
        sources = [
            {"share": share / ROUND, **source.about()}
            for share, (source, _) in zip(self.shares, self.parts, strict=True)
        ]
        return {"kind": "mixture", "seed": self.seed, "sources": sources}


def shares(weights: Sequence[float], total: int) -> list[int]:
    """Whole shares of a total, their sum exact: the largest remainders are rounded up."""
    exact = [total * weight / sum(weights) for weight in weights]
    found = [int(each) for each in exact]
    most = sorted(range(len(exact)), key=lambda k: (found[k] - exact[k], k))
    for k in most[: total - sum(found)]:
        found[k] += 1
    return found
