"""Approximate: where the first block changes an evaluation as it did the last whole one, the rest is not computed.

With x the target's tokens before the first block, f what this block adds to them, and g what all others add:

    whole:    velocity = head(x + f + g), and f and g are kept as f', g'
    skipped:  velocity = head(x + f + g')    where mean |f - f'| / mean |f'| is below the threshold

A skipped evaluation costs the first block and the head. f is compared with the last whole evaluation, not with the
last one, so that small changes add up. Known as the first-block cache: Cheng 2024 (ParaAttention); the criterion is
a descendant of TeaCache (Liu et al. 2024, arXiv 2411.19108).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from recast.errors import ConfigError
from recast.flow.guidance import MayChange, Velocity
from recast.flow.transformer import Condition
from recast.speed.engine import Engine, Residual, Walk


def step_cache(threshold: float = 0.08, *, warm_up: int = 4, most_skipped: int = 3) -> Walk:
    """A walk that skips all but the first block while that changes little.

    threshold: of the relative change, 0 or more; 0 skips nothing. warm_up: evaluations at the start that are whole,
    at least 1. most_skipped: in a row, at least 1. In a batch, the picture that changed most decides.
    Reads one number back from the device at each step. Raises ConfigError for numbers outside these.
    """
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 <= threshold < float("inf"):
        raise ConfigError(f"threshold={threshold!r}: a number from 0 accepted, 0.05 to 0.25 is usual; pass one")
    for name, value in (("warm_up", warm_up), ("most_skipped", most_skipped)):
        if type(value) is not int or value < 1:
            raise ConfigError(f"{name}={value!r}: a whole number of evaluations from 1 accepted; pass one")

    def walk(engine: Engine, condition: Condition, times: Sequence[float], may_change: MayChange | None) -> Velocity:
        modulations = engine.modulations(condition, times)
        last: _Whole | None = None
        evaluations = skipped = 0

        def velocity(x: Tensor, t: float) -> Tensor:
            nonlocal last, evaluations, skipped
            joint = engine.start(x, modulations[t], condition)
            n, before = x.shape[1], joint.image.x
            engine.run(joint, 1)
            entered = engine.settled(joint)[:, :n]
            first = entered - before[:, :n]
            evaluations += 1
            may_skip = last is not None and evaluations > warm_up and skipped < most_skipped
            if may_skip and last is not None and _change(first, last.first) < threshold:
                skipped += 1
                joint.image = Residual(entered + last.rest)
            else:
                skipped = 0
                engine.run(joint, len(engine.blocks))
                last = _Whole(first, engine.settled(joint) - entered)
            return engine.finish(joint).float()

        return velocity

    return walk


@dataclass(frozen=True)
class _Whole:
    """What the blocks added to the target's tokens (b, n, d) in the last whole evaluation."""

    first: Tensor
    rest: Tensor


def _change(first: Tensor, before: Tensor) -> float:
    """The relative change of what the first block adds, of the picture where it is largest."""
    moved = (first - before).float().abs().mean(dim=(1, 2))
    return float((moved / before.float().abs().mean(dim=(1, 2))).max())
