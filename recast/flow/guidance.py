"""Two velocity functions to one guided velocity function."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
MayChange = Callable[[], Tensor | None]  # tokens (b or 1, n) bool that a walk lets change; None for all


def guided(wanted: Velocity, unwanted: Velocity, scale: float) -> Velocity:
    """Away from `unwanted`, towards `wanted`: v = v_unwanted + scale (v_wanted - v_unwanted).

    Two evaluations a step; scale 1 is `wanted` alone, at one evaluation. The context is part of both.
    Source: Ho & Salimans 2022 (arXiv 2207.12598), equation 6, in velocities.
    """
    if scale == 1.0:
        return wanted

    def velocity(x: Tensor, t: float) -> Tensor:
        away = unwanted(x, t)
        return away + scale * (wanted(x, t) - away)

    return velocity
