"""Taking turns: how many requests a host is sent in a minute, by however many systems and threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Time as the clients see it; tests bring their own and never wait.

    now: seconds from anywhere, never backwards. today: seconds since 1970, for dates that a server names.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    today: Callable[[], float] = time.time


class Bucket:
    """A token bucket: `per_minute` turns a minute, `burst` of them at once after a pause. None is no limit.

    It reads no clock and never waits: `reserve` says how long its caller has to.
    """

    def __init__(self, per_minute: float | None, burst: int = 1) -> None:
        self.per_minute = per_minute
        self.burst = burst
        self._free_at = -float("inf")  # when the bucket would be full, were nobody to come
        self._held_until = -float("inf")
        self._lock = threading.Lock()

    def reserve(self, now: float) -> float:
        """Take the next turn; the seconds from `now` until it comes."""
        with self._lock:
            if self.per_minute is None:
                return max(0.0, self._held_until - now)
            gap = 60 / self.per_minute
            full = gap * (self.burst - 1)
            turn = max(now, self._held_until, self._free_at - full)
            self._free_at = max(self._free_at, turn) + gap
            return turn - now

    def hold(self, until: float) -> None:
        """No turn before `until`: the host asked for a pause."""
        with self._lock:
            self._held_until = max(self._held_until, until)

    def tighten(self, per_minute: float | None) -> None:
        """Of two limits for one host the stricter holds."""
        with self._lock:
            limits = [limit for limit in (self.per_minute, per_minute) if limit is not None]
            self.per_minute = min(limits, default=None)


class Limits:
    """The bucket of every host, shared by all clients that are given the same `Limits`."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}
        self._lock = threading.Lock()

    def bucket(self, host: str, per_minute: float | None) -> Bucket:
        """The host's bucket, no faster than `per_minute`."""
        with self._lock:
            bucket = self._buckets.setdefault(host, Bucket(per_minute))
        bucket.tighten(per_minute)
        return bucket


SHARED = Limits()  # two models of one service in one run share its limit
