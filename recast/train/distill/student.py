"""A student of few steps: its times, how often each is trained on, its own states on the way, and its walk.

What a student is trained for is what it does when it is used: the same grid of times, the same sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from recast.errors import ConfigError, ShapeError
from recast.flow import sampler as samplers
from recast.flow.guidance import Velocity
from recast.flow.path import clean_at
from recast.flow.sampler import Sampler
from recast.flow.schedule import times as schedule

SamplerName = Literal["euler", "renoise"]
SAMPLERS: tuple[SamplerName, ...] = ("euler", "renoise")


@dataclass(frozen=True, kw_only=True)
class Law:
    """How often a student is trained at each time of its grid, from noise down.

    main, warmup: the share of each of `steps` times; None for all equally often, and for no warm-up. The warm-up lasts
    until `warmup_until`, a share of the run.
    """

    steps: int = 4
    main: tuple[float, ...] | None = None
    warmup: tuple[float, ...] | None = None
    warmup_until: float = 0.05

    def __post_init__(self) -> None:
        if not (isinstance(self.steps, int) and self.steps >= 1):
            raise ConfigError(f"steps={self.steps!r}: a whole number from 1 accepted; 4 is usual")
        for name in ("main", "warmup"):
            shares = getattr(self, name)
            if shares is None:
                continue
            is_law = len(shares) == self.steps and all(share >= 0 for share in shares) and abs(sum(shares) - 1) < 1e-6
            if not is_law:
                raise ConfigError(
                    f"{name}={shares}: {self.steps} shares from 0 that add up to 1 accepted, that of noise first; or "
                    "none, for all times equally often"
                )
        if not 0 <= self.warmup_until <= 1:
            raise ConfigError(f"warmup_until={self.warmup_until}: a share of the run from 0 to 1 accepted")

    def probabilities(self, share: float) -> tuple[float, ...]:
        """Of each time, from noise down, where `share` of the run is done."""
        if self.warmup is not None and share < self.warmup_until:
            return self.warmup
        return self.main or (1 / self.steps,) * self.steps

    def index(self, at: Tensor, share: float) -> Tensor:
        """Which time (b,) int64 of the grid, 0 for noise, from even numbers `at` (b,) in [0, 1)."""
        edges = torch.tensor(self.probabilities(share), dtype=torch.float64).cumsum(0)
        last = int(torch.tensor(self.probabilities(share)).nonzero().max())  # sums of shares may end below 1
        return torch.searchsorted(edges.to(at.device), at.double().contiguous(), right=True).clamp(max=last)


PUBLISHED = Law(main=(0.7, 0.1, 0.1, 0.1), warmup=(0.0, 0.0, 0.5, 0.5))
"""Mostly noise, after a warm-up of 500 iterations. Source: Sauer et al. 2024 (arXiv 2403.12015)."""


def grid(steps: int, mu: float) -> list[float]:
    """The `steps` + 1 times of a student, from 1 to exactly 0, shifted by mu as schedules are (0 shifts nothing)."""
    return checked(schedule(steps, mu=mu))


def checked(times: Sequence[float]) -> list[float]:
    """The times. Raises ConfigError unless they fall from 1 to exactly 0: what ends above 0 is still noisy."""
    falls = all(now > then for now, then in pairwise(times))
    if len(times) < 2 or times[0] != 1 or times[-1] != 0 or not falls:
        raise ConfigError(
            f"times={list(times)}: times that fall from 1 to exactly 0 accepted; a walk that ends above 0 leaves "
            "noise in the picture; take those of student.grid"
        )
    return list(times)


def clean(x_t: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
    """The student's clean picture (b, n, d) from its velocity (b, n, d) at x_t (b, n, d) and times t (b,).

    Raises ShapeError unless there is one time for each sample.
    """
    if t.shape != x_t.shape[:1]:
        raise ShapeError(f"t: one time per sample needed, shape {tuple(x_t.shape[:1])}; got {tuple(t.shape)}")
    return clean_at(x_t, velocity, t[:, None, None])  # type: ignore[arg-type]  # a time for each sample


def sampler(name: SamplerName, fresh: Callable[[], Tensor]) -> Sampler:
    """The sampler of that name; fresh: noise (b, n, d), new at each call, which re-noising asks for."""
    if name not in SAMPLERS:
        raise ConfigError(f"sampler={name!r}: {' or '.join(SAMPLERS)} accepted; choose one")
    return samplers.euler if name == "euler" else samplers.renoise(fresh)


@torch.no_grad()
def roll_in(
    velocity: Velocity,
    noise: Tensor,
    times: Sequence[float],
    k: Tensor,
    *,
    walk: Sampler = samplers.euler,
    evaluations: int | None = None,
) -> Tensor:
    """Where the student itself stands at times[k] when it walks from noise (b, n, d): x (b, n, d), without a gradient.

    velocity: the student's. k (b,) int64, from 0 (the noise) to len(times) - 2. walk: its sampler. evaluations: how
    many to run, at least the largest k; None for just that. Networks that are sharded over processes need the same
    number in all of them: len(times) - 2.
    Raises ConfigError for a k off the grid, or fewer evaluations than it needs.
    """
    least, most = (int(k.min()), int(k.max())) if len(k) else (0, 0)
    count = most if evaluations is None else evaluations
    if least < 0 or not most <= count <= len(times) - 2:
        raise ConfigError(
            f"k from {least} to {most}, evaluations={evaluations}: k from 0 to {len(times) - 2}, and evaluations from "
            "the largest k to there, accepted; a student has no state to be trained on at the end of its walk"
        )
    x = noise.float()
    for done, state in enumerate(walk(velocity, x, times[: count + 1]), start=1) if count else ():
        x = torch.where((k >= done).to(x.device)[:, None, None], state.x, x)
    return x


@torch.no_grad()
def picture(velocity: Velocity, noise: Tensor, times: Sequence[float], walk: Sampler = samplers.euler) -> Tensor:
    """The clean tokens (b, n, d) that the student's whole walk ends at, from noise (b, n, d).

    Raises ConfigError for times that do not end at 0.
    """
    x = noise.float()
    for state in walk(velocity, x, checked(times)):
        x = state.x
    return x
