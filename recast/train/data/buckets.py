"""Which examples make a batch: all of one shape, in an order that is a function of the seed and the sources alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from recast.errors import ConfigError, InputError
from recast.train.data.example import Shape, Source
from recast.train.data.pictures import same_aspect

Size = tuple[int, int]
WASTED = 100_000
"""Numbers in a row from which no batch came: beyond it the stream holds nothing that can be used."""


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How examples are put together.

    batch_size: examples in a batch, all processes together; or tokens: visual tokens, of contexts and targets, that a
    batch may have, and multiple: of what its size is a multiple then (of the number of data processes that will ever
    share it: batches are the same on any number of them). pixels_per_token: the side of a token. sizes: (width, height)
    of the buckets; a picture of another size is stretched, whole, to the bucket of the nearest aspect, of several
    such that of the nearest area, and a context of the target's shape goes where its target goes. None: every
    picture stays as it is, and must be of whole tokens.
    """

    batch_size: int | None = None
    tokens: int | None = None
    pixels_per_token: int = 16
    sizes: tuple[Size, ...] = ()
    multiple: int = 1

    def __post_init__(self) -> None:
        if (self.batch_size is None) == (self.tokens is None):
            raise ConfigError(
                f"batch_size={self.batch_size}, tokens={self.tokens}: one of them accepted, the other None"
            )
        for name in ("batch_size", "tokens", "pixels_per_token", "multiple"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= 1):
                raise ConfigError(f"{name}={value!r}: a whole number from 1 accepted")
        side = self.pixels_per_token
        for size in self.sizes:
            if len(size) != 2 or any(each < side or each % side for each in size):
                raise ConfigError(f"sizes: {size} came; (width, height) in multiples of {side} accepted; round it")

    def key(self, shape: Shape) -> Shape:
        """The sizes that an example of this shape is given in its batch. Raises InputError if it has no bucket."""
        if not self.sizes:
            side = self.pixels_per_token
            for width, height in (shape.target, *shape.contexts):
                if width % side or height % side or not width or not height:
                    raise InputError(
                        f"{width}x{height}: not whole tokens of {side}; pictures of such sizes, or buckets to stretch "
                        "them to, as data.buckets=[[256, 256], [336, 192]], accepted"
                    )
            return shape
        target = self.bucket(shape.target)
        contexts = (target if same_aspect(each, shape.target) else self.bucket(each) for each in shape.contexts)
        return Shape(target, tuple(contexts))

    def bucket(self, size: Size) -> Size:
        """The bucket of the nearest aspect, and of these of the nearest area."""
        width, height = size
        if size in self.sizes:
            return size

        def apart(bucket: Size) -> tuple[float, float, Size]:
            ratio = width * bucket[1] / (height * bucket[0])
            area = width * height / (bucket[0] * bucket[1])
            return round(max(ratio, 1 / ratio), 9), max(area, 1 / area), bucket

        return min(self.sizes, key=apart)

    def visual_tokens(self, key: Shape) -> int:
        """Of one example: its target's and its contexts'."""
        return sum(width * height // self.pixels_per_token**2 for width, height in (key.target, *key.contexts))

    def capacity(self, key: Shape) -> int:
        """Examples in a batch of that shape. Raises ConfigError if not even `multiple` of them fit."""
        if self.batch_size is not None:
            return self.batch_size
        assert self.tokens is not None
        each = self.visual_tokens(key)
        count = self.tokens // (each * self.multiple) * self.multiple
        if count < 1:
            raise ConfigError(
                f"tokens={self.tokens}: {self.multiple} examples of {each} tokens ({key.target[0]}x{key.target[1]} and "
                f"{len(key.contexts)} contexts) do not fit; {each * self.multiple} or more accepted"
            )
        return count

    def about(self) -> dict[str, Any]:
        """The fields, and what is done to a picture of another size."""
        pictures = "stretched to the bucket of the nearest aspect" if self.sizes else "never resized"
        return {**asdict(self), "sizes": [list(size) for size in self.sizes], "pictures": pictures}


class Whole(NamedTuple):
    """A batch before it is cut into the processes' parts: its shape, and where its examples stand in the stream."""

    key: Shape
    numbers: tuple[int, ...]


class Planner:
    """Batches without end. What comes next is told by `state` alone: the next number, and those that wait.

    skipped: what is called with a number and an error where an example has no shape; None raises the error instead.
    """

    def __init__(
        self, stream: Source, batching: Batching, skipped: Callable[[int, InputError], None] | None = None
    ) -> None:
        self.stream, self.batching, self.skipped = stream, batching, skipped
        self.next = 0
        self.waiting: dict[Shape, list[int]] = {}

    def __iter__(self) -> Iterator[Whole]:
        return self

    def __next__(self) -> Whole:
        for _ in range(WASTED):
            number = self.next
            try:
                key = self.batching.key(self.stream.shape(number))
            except InputError as error:
                if self.skipped is None:
                    raise
                self.next += 1
                self.skipped(number, error)
                continue
            full = self.batching.capacity(key)
            self.next += 1
            waiting = self.waiting.setdefault(key, [])
            waiting.append(number)
            if len(waiting) >= full:
                del self.waiting[key]
                return Whole(key, tuple(waiting))
        raise InputError(
            f"examples {self.next - WASTED} to {self.next - 1} of the stream made no batch; sources whose pictures can "
            "be read, and shapes of which there are enough, accepted; set data.buckets, or look at the journal"
        )

    def state(self) -> dict[str, Any]:
        """Where it stands, as JSON data."""
        waiting = [[list(key.target), [list(c) for c in key.contexts], list(n)] for key, n in self.waiting.items()]
        return {"next": self.next, "waiting": waiting}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises ConfigError for what is no state."""
        try:
            waiting = {
                Shape((target[0], target[1]), tuple((c[0], c[1]) for c in contexts)): [int(n) for n in numbers]
                for target, contexts, numbers in state["waiting"]
            }
            self.next, self.waiting = int(state["next"]), waiting
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ConfigError(f"state: {error!r}; what `state` returned accepted; take another checkpoint") from error
