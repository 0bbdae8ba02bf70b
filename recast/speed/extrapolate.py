"""Approximate: between evaluations, the velocity on the polynomial in t through the last of them.

    v(t) = sum_i v(t_i) prod_{j != i} (t - t_j) / (t_i - t_j),    t_i the last order + 1 evaluations

Order 0 repeats the last velocity, 1 is a line, 2 a parabola: on even times, Taylor's series with the derivatives as
finite differences, as in Liu et al. 2025 (TaylorSeer, arXiv 2503.06923), of the velocity alone instead of every
block's features. A step between costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.flow.guidance import MayChange, Velocity
from recast.flow.path import clean_at, noise_at
from recast.flow.transformer import Condition
from recast.speed.engine import Engine, Walk
from recast.speed.refresh import Refresh


def extrapolate(refresh: Refresh | None = None, *, order: int = 1) -> Walk:
    """A walk that evaluates the network at the steps of `refresh` alone (usual: the first 3, every 2nd, the last).

    For samplers of one evaluation a step that walk along the field: euler, ab2, dpmpp_2m. order: 0, 1 or 2.
    Raises ConfigError for another order, for one that the first evaluations do not give the points of, and while it
    walks, if the sampler asks twice at one time (heun) or jumps off the path (renoise).
    """
    refresh = refresh or Refresh(first=3, every=2)
    if order not in (0, 1, 2):
        raise ConfigError(f"order={order!r}: 0, 1 or 2 accepted; 1 is usual")
    if refresh.first <= order:
        raise ConfigError(
            f"first={refresh.first}: order {order} needs {order + 1} evaluations first; pass at least that"
        )

    def walk(engine: Engine, condition: Condition, times: Sequence[float], may_change: MayChange | None) -> Velocity:
        modulations, step_at = engine.modulations(condition, times), {t: step for step, t in enumerate(times)}
        known: deque[tuple[float, Tensor]] = deque(maxlen=order + 1)
        before: tuple[float, Tensor, Tensor] | None = None

        def velocity(x: Tensor, t: float) -> Tensor:
            nonlocal before
            at = modulations[t]
            if before is not None:
                _check(*before, t, x, is_second=step_at[t] == 1)
            if len(known) <= order or refresh.at(step_at[t], len(times) - 1):  # the first steps may be another's
                v = engine.evaluate(x, at, condition)[0].float()
                known.append((t, v))
            else:
                v = _through(known, t)
            before = t, x, v
            return v

        return velocity

    return walk


def _through(known: Sequence[tuple[float, Tensor]], t: float) -> Tensor:
    """The polynomial through velocities at their times, at another time."""
    total = torch.zeros_like(known[0][1])
    for i, (own, v) in enumerate(known):
        weight = 1.0
        for j, (other, _) in enumerate(known):
            weight *= 1.0 if i == j else (t - other) / (own - other)
        total += weight * v
    return total


def _check(t_before: float, x_before: Tensor, v: Tensor, t: float, x: Tensor, *, is_second: bool) -> None:
    """That the walk goes down in time and, told by its second step, that it is still on the path of its noise.

    At t a walk along the field is near (1 - t) clean + t noise, with both ends as the step before saw them. One
    that draws fresh noise is not: what it has beside the clean end points anywhere.
    """
    if t >= t_before:
        raise ConfigError(
            f"extrapolate: asked at t={t} after t={t_before}, so this sampler evaluates more than once a step; "
            "use euler, ab2 or dpmpp_2m with it"
        )
    if is_second and t > 0:
        noise = noise_at(x_before, v, t_before)
        beside = x - (1 - t) * clean_at(x_before, v, t_before)
        if torch.nn.functional.cosine_similarity(noise.flatten(), beside.flatten(), dim=0) < 0.5:
            raise ConfigError(
                "extrapolate: this sampler draws fresh noise on the way, and its velocities do not lie on a curve; "
                "use euler, ab2 or dpmpp_2m with it"
            )
