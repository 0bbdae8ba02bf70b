"""What was used lately, up to a limit; the oldest goes first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """A table that forgets: values by key, as many as fit `limit`, counted one each or by `size`."""

    def __init__(self, limit: int, size: Callable[[Value], int] = lambda _: 1) -> None:
        self.limit, self._size = limit, size
        self._kept: dict[Hashable, Value] = {}  # in order of use, the oldest first

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    @property
    def held(self) -> int:
        """How much of the limit is taken."""
        return sum(map(self._size, self._kept.values()))

    def values(self) -> tuple[Value, ...]:
        """All that is kept, the least lately used first."""
        return tuple(self._kept.values())

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is not there. One larger than the limit is handed out and not kept."""
        value = self._kept.pop(key) if key in self._kept else make()
        if self._size(value) <= self.limit:
            self._kept[key] = value
            while self.held > self.limit:
                self._kept.pop(next(iter(self._kept)))
        return value

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()
