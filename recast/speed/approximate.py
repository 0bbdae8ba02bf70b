"""Options that skip work, by name: each gives up exactness for time, and none is on unless it is asked for.

    context-reuse   keys and values of the context, kept from step to step     recast.speed.context_reuse
    first-block     all blocks but the first, while its change is small        recast.speed.step_cache
    extrapolate     whole evaluations, foretold from those before              recast.speed.extrapolate
    region          tokens that a mask holds                                   recast.speed.region_steps

What each costs, beside simply taking fewer steps, is in docs/speed.md.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from recast.errors import ConfigError
from recast.speed.context_reuse import context_reuse
from recast.speed.engine import Walk
from recast.speed.extrapolate import extrapolate
from recast.speed.refresh import Refresh
from recast.speed.region_steps import region_steps
from recast.speed.step_cache import step_cache


def _context_reuse(first: int = 2, every: int = 6, last: int = 1, extrapolates: int = 0) -> Walk:
    return context_reuse(Refresh(first=first, every=every, last=bool(last)), extrapolates=bool(extrapolates))


def _first_block(threshold: float = 0.08, warm_up: int = 4, most_skipped: int = 3) -> Walk:
    return step_cache(threshold, warm_up=warm_up, most_skipped=most_skipped)


def _extrapolate(first: int = 3, every: int = 2, last: int = 1, order: int = 1) -> Walk:
    return extrapolate(Refresh(first=first, every=every, last=bool(last)), order=order)


def _region(first: int = 4, every: int = 8, last: int = 0, ring: int = 1) -> Walk:
    return region_steps(Refresh(first=first, every=every, last=bool(last)), ring=ring)


KINDS: dict[str, Callable[..., Walk]] = {
    "context-reuse": _context_reuse,
    "first-block": _first_block,
    "extrapolate": _extrapolate,
    "region": _region,
}


@dataclass(frozen=True, kw_only=True)
class Approximate:
    """An option of `KINDS` and its settings, those that are left out as usual."""

    kind: str
    settings: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.walk()  # raises what is wrong with the settings

    @classmethod
    def read(cls, text: str) -> Approximate:
        """From a text like "context-reuse" or "context-reuse:first=2,every=4". Raises ConfigError for any other."""
        kind, _, given = text.partition(":")
        settings: dict[str, float] = {}
        for part in filter(None, given.split(",")):
            match = re.fullmatch(r"(\w+)=(\d+(\.\d+)?)", part)
            if match is None:
                raise ConfigError(f"approximate={text!r}: {part!r} came; name=number accepted, as every=4; mend it")
            if match[1] in settings:
                raise ConfigError(f"approximate={text!r}: {match[1]} came twice; once accepted; leave one out")
            settings[match[1]] = float(match[2]) if match[3] else int(match[2])
        return cls(kind=kind, settings=settings)

    def __str__(self) -> str:
        given = ",".join(f"{name}={value:g}" for name, value in self.settings.items())
        return f"{self.kind}:{given}" if given else self.kind

    def check(
        self, *, has_context: bool, has_mask: bool, sampler: str, is_cached: bool, one: str = "approximate"
    ) -> None:
        """Raise ConfigError, before there are weights, for a request that the walk would refuse when it meets it.

        is_cached: whether the network has context_attention="cached". one: what the message calls the argument.
        """
        came = f"{one}={str(self)!r}"
        if self.kind == "context-reuse" and not has_context:
            raise ConfigError(f"{came}: a request without context pictures came; use it for edits, or leave it off")
        if self.kind == "context-reuse" and is_cached:
            raise ConfigError(f"{came}: this network keeps the context exactly, at no cost; leave it off")
        if self.kind == "region" and not has_mask:
            raise ConfigError(
                f"{came}: a request whose sampler no mask binds came; pass a mask, or boxes with preserve=strict "
                "(boxes alone bind the merge), or leave it off"
            )
        if self.kind == "extrapolate" and sampler in ("heun", "renoise"):
            raise ConfigError(f"{came}: sampler={sampler} came; euler, ab2 or dpmpp_2m accepted; use one of them")

    def walk(self) -> Walk:
        """What an engine does instead of every evaluation whole."""
        if self.kind not in KINDS:
            raise ConfigError(f"approximate={self.kind!r}: {', '.join(KINDS)} accepted; choose one")
        known = inspect.signature(KINDS[self.kind]).parameters
        unknown = [name for name in self.settings if name not in known]
        if unknown:
            raise ConfigError(f"approximate={str(self)!r}: {unknown[0]} came; {', '.join(known)} accepted")
        return KINDS[self.kind](**self.settings)
