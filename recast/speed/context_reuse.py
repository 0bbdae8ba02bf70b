"""Approximate: keys and values of the context, kept from a few steps and used in those between.

In full mode the context's rows are computed at every step, since they are modulated by the time and see the target:
they are half of the rows of an edit. They change little from step to step. At the steps of a `Refresh` everything
is computed, and each block's keys and values of the context are kept; at the others the context takes part by these
alone, so that an evaluation has the rows of text and target:

    attention(q, [k; k_context(t')], [v; v_context(t')]),    t' the last refresh before t

With `extrapolates`, k and v lie on the line in t through the last two refreshes instead. Kept are 2 r d numbers a
block, twice that with `extrapolates`: for a context picture of one megapixel and the published model 2.9 GB in bf16.

In cached mode the context depends on nothing but its pictures, and is computed once, exactly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.flow.guidance import MayChange, Velocity
from recast.flow.layers import KeysValues
from recast.flow.transformer import Condition
from recast.speed.engine import Engine, Part, Walk
from recast.speed.refresh import Refresh

Kept = tuple[float, Sequence[KeysValues]]  # a time, and keys and values of every block at it


def context_reuse(refresh: Refresh | None = None, *, extrapolates: bool = False) -> Walk:
    """A walk that computes the context at the steps of `refresh` alone (usual: `Refresh()`).

    Raises ConfigError if a line is wanted of a schedule whose first refreshes do not give its two points; and, once
    it meets a request, if that has no context or the network keeps the context already.
    """
    refresh = refresh or Refresh()
    if extrapolates and refresh.first < 2:
        raise ConfigError(f"first={refresh.first}: extrapolating needs two refreshes; pass first=2, or leave it off")

    def walk(engine: Engine, condition: Condition, times: Sequence[float], may_change: MayChange | None) -> Velocity:
        context = _tokens(condition)
        modulations, step_at = engine.modulations(condition, times), {t: step for step, t in enumerate(times)}
        kept: deque[Kept] = deque(maxlen=2 if extrapolates else 1)

        def velocity(x: Tensor, t: float) -> Tensor:
            at = modulations[t]
            if kept and not refresh.at(step_at[t], len(times) - 1):
                others = _ahead(kept[0], kept[1], t) if len(kept) == 2 else kept[0][1]
                return engine.evaluate(x, at, condition, Part(context=False, others=others))[0].float()
            n, r = x.shape[1], context.shape[1]
            v, made = engine.evaluate(x, at, condition, Part(keep=torch.arange(n, n + r, device=x.device)))
            if kept and kept[-1][0] == t:  # a sampler that asks twice at one time
                kept.pop()
            kept.append((t, made))
            return v.float()

        return velocity

    return walk


class _Line(Sequence[KeysValues]):
    """Keys and values of every block on the line through two times, each block's made when it is asked for."""

    def __init__(self, before: Sequence[KeysValues], last: Sequence[KeysValues], share: float) -> None:
        self.before, self.last, self.share = before, last, share

    def __len__(self) -> int:
        return len(self.last)

    def __getitem__(self, block: Any) -> Any:
        pairs = zip(self.before[block], self.last[block], strict=True)
        return KeysValues(*(torch.lerp(*pair, self.share) for pair in pairs))


def _ahead(before: Kept, last: Kept, t: float) -> _Line:
    return _Line(before[1], last[1], (t - before[0]) / (last[0] - before[0]))


def _tokens(condition: Condition) -> Tensor:
    if condition.context is None:
        raise ConfigError("context_reuse: a request without context pictures came; use it for edits, or leave it off")
    if not isinstance(condition.context, Tensor):
        raise ConfigError(
            'context_reuse: this network has context_attention="cached", and keeps the context exactly at no cost; '
            "leave it off"
        )
    return condition.context
