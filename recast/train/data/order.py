"""Where the examples of a source stand in an endless stream: a new order every epoch, told by number, not by list."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

from recast.errors import ConfigError, InputError
from recast.train.data.example import Example, Shape, Source
from recast.train.data.record import Identified, Origin, Traced

ROUNDS = 4
_WORD = (1 << 64) - 1


def mixed(*words: int) -> int:
    """A number below 2^64 that depends on every bit of the words: the finaliser of SplitMix64, word after word."""
    state = 0x9E3779B97F4A7C15
    for word in words:
        state = (state + word + 0x9E3779B97F4A7C15) & _WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _WORD
        state ^= state >> 31
    return state


class Permutation:
    """A one-to-one map of 0..count-1 onto itself, chosen by a key: `order[i]`, without a list.

    A balanced Feistel network on the next even number of bits; what falls outside is sent through again (cycle
    walking), less than four times on average. Source: Luby and Rackoff 1988; Black and Rogaway 2002, section 4.
    """

    def __init__(self, count: int, *key: int) -> None:
        if count < 1:
            raise ConfigError(f"count={count}: at least 1 accepted")
        self.count = count
        self.half = max(1, ((count - 1).bit_length() + 1) // 2)
        self.low = (1 << self.half) - 1
        self.keys = [mixed(*key, round) for round in range(ROUNDS)]

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.count:
            raise IndexError(index)
        while True:
            left, right = index >> self.half, index & self.low
            for key in self.keys:
                left, right = right, left ^ (mixed(key, right) & self.low)
            index = (left << self.half) | right
            if index < self.count:
                return index


@runtime_checkable
class Blocked(Source, Protocol):
    """A source whose examples lie in blocks that are read as a whole, such as the row groups of Parquet."""

    @property
    def blocks(self) -> Sequence[int]:
        """How many examples each block has, in order; their sum is `length`."""
        ...


class Shuffled:
    """A finite source without end: number n is example n of epoch 0, then of epoch 1, each epoch in its own order.

    A source in blocks is permuted block by block, and inside each, so that neighbours are read together.
    """

    length = None

    def __init__(self, source: Source, seed: int = 0) -> None:
        if source.length is None or source.length < 1:
            raise ConfigError(f"source: {source.length} examples came; a finite source of 1 or more accepted")
        self.source, self.seed, self.count = source, seed, source.length
        self.blocks = list(source.blocks) if isinstance(source, Blocked) else None
        self.starts = list(accumulate(self.blocks or [], initial=0))
        self._epoch = lru_cache(maxsize=4)(self._order)

    def index(self, number: int) -> int:
        """Which example of the source stands at `number`."""
        epoch, place = divmod(number, self.count)
        order, ends = self._epoch(epoch)
        if self.blocks is None:
            return order[place]
        turn = bisect_right(ends, place) - 1
        block = order[turn]
        inside = Permutation(self.blocks[block], self.seed, epoch, block)
        return self.starts[block] + inside[place - ends[turn]]

    def _order(self, epoch: int) -> tuple[Permutation, list[int]]:
        """The order of examples, or that of blocks and where each then begins."""
        if self.blocks is None:
            return Permutation(self.count, self.seed, epoch), []
        order = Permutation(len(self.blocks), self.seed, epoch)
        return order, list(accumulate((self.blocks[order[i]] for i in range(len(self.blocks))), initial=0))

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "seed": self.seed}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # the cache of orders is made anew

    def shape(self, index: int) -> Shape:
        return self.source.shape(self.index(index))

    def example(self, index: int) -> Example:
        return self.source.example(self.index(index))

    def about(self) -> Mapping[str, Any]:
        return {"kind": "shuffled", "seed": self.seed, "source": dict(self.source.about())}


class Chosen:
    """Some examples of a finite source, by their numbers there."""

    def __init__(self, source: Identified, indices: Sequence[int]) -> None:
        self.source, self.indices = source, list(indices)

    @property
    def length(self) -> int:
        return len(self.indices)

    def shape(self, index: int) -> Shape:
        return self.source.shape(self.indices[index])

    def example(self, index: int) -> Example:
        return self.source.example(self.indices[index])

    def id(self, index: int) -> str:
        return self.source.id(self.indices[index])

    def origins(self) -> Iterator[Origin]:
        """As of the source. Raises ConfigError where that cannot tell."""
        if not isinstance(self.source, Traced):
            raise ConfigError(f"source: {type(self.source).__name__} came; one whose examples have origins accepted")
        every = list(self.source.origins())
        return (every[index] for index in self.indices)

    def published(self) -> Sequence[bool] | None:
        """As of the source."""
        every = self.source.published() if isinstance(self.source, Traced) else None
        return None if every is None else [every[index] for index in self.indices]

    def about(self) -> Mapping[str, Any]:
        return {"kind": "chosen", "indices": mixed(*self.indices), "source": dict(self.source.about())}


class Selected(Chosen):
    """The examples of a finite source whose ids are listed: what a lint has kept."""

    def __init__(self, source: Source, ids: Sequence[str]) -> None:
        if source.length is None or not isinstance(source, Identified):
            raise ConfigError("only: a source without end came; a finite one accepted; select before mixing")
        wanted = set(ids)
        there: dict[str, int] = {}
        for index in range(source.length):
            name = source.id(index)
            if name in wanted and name in there:
                raise InputError(
                    f"only: {name!r} is the id of examples {there[name]} and {index}; ids that tell examples apart "
                    "accepted; correct the set"
                )
            there[name] = index
        missing = sorted(wanted - set(there))
        if missing or not wanted:
            came = f"{len(missing)} of {len(wanted)} ids are not in the source, as {', '.join(missing[:3])}"
            raise InputError(f"only: {came if wanted else 'no id came'}; ids of its examples accepted; lint it again")
        super().__init__(source, sorted(there[each] for each in wanted))

    def about(self) -> Mapping[str, Any]:
        return {**super().about(), "kind": "selected"}
