"""A clock nobody waits for, a request, and stand-ins that are checked when a test is over."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from recast.quality.systems.contract import Request
from recast.quality.systems.hosted import Hosted, Options
from recast.quality.systems.rate import Clock, Limits
from recast.quality.systems.secret import from_environment
from tests.quality.systems.standin import KEY, StandIn


class Hands(Clock):
    """A clock whose hands move when somebody sleeps."""

    def __init__(self) -> None:
        object.__setattr__(self, "time", 1000.0)
        object.__setattr__(self, "slept", [])
        object.__setattr__(self, "_lock", threading.Lock())
        super().__init__(now=lambda: self.time, sleep=self._sleep, today=lambda: 1_700_000_000.0)

    def _sleep(self, seconds: float) -> None:
        assert seconds >= 0
        with self._lock:
            object.__setattr__(self, "time", self.time + seconds)
            if seconds:
                self.slept.append(seconds)


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def running(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[type[StandIn]], StandIn]]:
    """Start a stand-in. When the test is over: nothing was asked wrongly, and the key went nowhere else."""
    caplog.set_level(logging.DEBUG)
    started: list[StandIn] = []

    def start(kind: type[StandIn]) -> StandIn:
        started.append(kind())
        return started[-1]

    yield start
    for standin in started:
        standin.close()
        assert standin.wrongs == []
        for fetch in standin.fetches:
            assert KEY not in str(fetch.headers.items())
    assert KEY not in caplog.text


@pytest.fixture
def system(clock: Hands) -> Callable[..., Hosted]:
    """The adapter for a stand-in; the jitter is always the longest."""

    def build(standin: StandIn, spec: str | None = None, **options: Any) -> Hosted:
        service, _, model = (spec or standin.spec).partition(":")
        classes = vars(import_module(f"recast.quality.systems.{service}")).values()
        adapter = next(c for c in classes if isinstance(c, type) and issubclass(c, Hosted) and c is not Hosted)
        given = {"base_url": standin.base_url, **options}
        key = from_environment({standin.variable: options.pop("key", None) or KEY}, adapter.variables)
        given.pop("key", None)
        return adapter(model, Options(**given), key, clock=clock, limits=Limits(), uniform=lambda low, high: high)

    return build


def context(seed: int, width: int = 48, height: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


words = functools.partial(
    Request, item="one", instruction='add the title "Ünder 50%"', width=1536, height=1024, seed=2**40 + 7
)
"""A request; without contexts it is from words alone."""
