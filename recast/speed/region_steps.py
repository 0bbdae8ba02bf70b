"""Approximate: with a mask, only the target tokens that may change are computed, with those near them.

Where a mask holds tokens, the sampler puts them back at every time (`recast.flow.sampler.held`), so that their
velocity is not needed. They are still seen: at the steps of a `Refresh` everything is computed, and the keys and
values of the held tokens and of the context are kept; at the others the rows are the text's and the region's,

    attention(q_region, [k_region; k_others(t')], [v_region; v_others(t')]),    t' the last refresh before t

so that the work grows with the region. A held token's path is known, but its keys and values change with the time
and with the region it sees: that is what is approximate. After Chen et al. 2025 (RegionE, arXiv 2510.25590), which
finds the region by itself; a mask says it, and leaves no guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.flow.guidance import MayChange, Velocity
from recast.flow.layers import KeysValues
from recast.flow.transformer import Condition
from recast.speed.engine import Engine, Part, Walk
from recast.speed.refresh import Refresh


def region_steps(refresh: Refresh | None = None, *, ring: int = 1) -> Walk:
    """A walk that computes the tokens of the mask, and `ring` tokens around, but at the steps of `refresh` everything.

    refresh: usual, the first 4 steps and every 8th. ring: tokens, 0 or more. In a batch the region is that of all
    masks together. Where the mask lets every token change, every evaluation is whole. The velocity of tokens that
    are not computed comes back as 0. A mask narrowed on the way is followed one evaluation later; one that grows,
    by a refresh.
    Raises ConfigError for another ring, and for a request without a mask.
    """
    refresh = refresh or Refresh(first=4, every=8, last=False)
    if type(ring) is not int or ring < 0:
        raise ConfigError(f"ring={ring!r}: a whole number of tokens from 0 accepted; 1 is usual")

    def walk(engine: Engine, condition: Condition, times: Sequence[float], may_change: MayChange | None) -> Velocity:
        _ask(may_change)
        modulations, step_at = engine.modulations(condition, times), {t: step for step, t in enumerate(times)}
        num_steps = len(times) - 1
        region: Tensor | None = None  # target tokens (n,) bool that are computed between refreshes
        others: list[KeysValues] = []  # of the image tokens that are not

        def velocity(x: Tensor, t: float) -> Tensor:
            nonlocal region, others
            at, n = modulations[t], x.shape[1]
            wanted = _around(_ask(may_change), _columns(engine, condition, n), ring)
            if region is None or bool(region.all() | (wanted & ~region).any()) or refresh.at(step_at[t], num_steps):
                region = wanted
                v, others = engine.evaluate(x, at, condition, Part(keep=_left_out(region, condition)))
                return v.float()
            v = torch.zeros_like(x, dtype=torch.float32)
            computed = region.nonzero()[:, 0]
            if len(computed):
                leaving = (~wanted[computed]).nonzero()[:, 0]
                part = Part(target=computed, context=False, others=others, keep=leaving if len(leaving) else None)
                made, left = engine.evaluate(x, at, condition, part)
                v[:, computed] = made.float()
                if left:
                    region = wanted
                    others = [_joined(*pair) for pair in zip(others, left, strict=True)]
            return v

        return velocity

    return walk


def _ask(may_change: MayChange | None) -> Tensor:
    """The tokens (n,) bool that may change in any picture of the batch."""
    mask = None if may_change is None else may_change()
    if mask is None:
        raise ConfigError("region_steps: a request without a mask came; pass a mask, or leave region steps off")
    return mask.any(dim=0)


def _around(tokens: Tensor, columns: int, ring: int) -> Tensor:
    """Tokens (n,) bool and those up to `ring` rows and columns from them, on a grid of so many columns."""
    grid = tokens.view(1, 1, -1, columns).float()
    return torch.nn.functional.max_pool2d(grid, 2 * ring + 1, stride=1, padding=ring).flatten() > 0


def _columns(engine: Engine, condition: Condition, n: int) -> int:
    """How many columns the target's grid has: after so many tokens, the last axis of positions begins anew."""
    m, pairs = condition.text.shape[1], engine.config.axes_dim[-1] // 2
    column = condition.rotary[0, 0, m : m + n, -pairs:]
    again = (column[1:] == column[0]).all(dim=-1).nonzero()
    return int(again[0, 0]) + 1 if len(again) else n


def _left_out(region: Tensor, condition: Condition) -> Tensor | None:
    """Which image tokens, the target's and then the computed context's, a region leaves out; None for a whole one."""
    if bool(region.all()):
        return None
    r = condition.context.shape[1] if isinstance(condition.context, Tensor) else 0
    return torch.cat([~region, region.new_ones(r)]).nonzero()[:, 0]


def _joined(one: KeysValues, other: KeysValues) -> KeysValues:
    return KeysValues(*(torch.cat(pair, dim=2) for pair in zip(one, other, strict=True)))
