"""The frozen teacher of a distillation: its guided velocity, its pictures, and what its blocks see.

Nothing here enters autocast: a stage that runs in bf16 calls it inside its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from recast.errors import ConfigError, ShapeError
from recast.flow.layers import KeysValues, sinusoid
from recast.flow.sampler import Sampler, adams_bashforth_2, euler
from recast.flow.schedule import times
from recast.flow.transformer import Condition, FlowTransformer

WalkName = Literal["euler", "ab2"]
WALKS: Mapping[WalkName, Sampler] = {"euler": euler, "ab2": adams_bashforth_2}
"""Samplers that a teacher walks by: the end of a walk follows from its noise."""
ALWAYS = (0.0, 1.0)
"""The interval of all times."""


class Teacher:
    """A flow transformer that is never trained: in eval mode, its parameters without gradients.

    flow: a network of its own, not the student's; on its device, wrapped for its processes like any other. Gradients
    flow through its activations to inputs that ask for them, never to its parameters. Sharded over processes, it must
    be asked equally often in all of them; a guided velocity is one call of the network, whatever the scales.
    """

    def __init__(self, flow: FlowTransformer) -> None:
        self.flow = flow.eval().requires_grad_(False)

    def velocity(
        self,
        x_t: Tensor,
        t: Tensor,
        condition: Condition,
        null: Condition | None = None,
        guidance: Tensor | float = 1.0,
        *,
        interval: tuple[float, float] = ALWAYS,
        rescale: float = 0.0,
    ) -> Tensor:
        """The guided velocity v_null + g (v_c - v_null) (b, n, d) in fp32 of x_t (b, n, d) at times t (b,).

        condition, null: with the prompt and without it, both with the same contexts; they go through the network as
        one batch. guidance: g, one number or (b,). interval: outside these times, ends included in it, g is 1.
        rescale: share phi of `rescaled`. Where g is 1 the velocity is that of `condition` to the bit, and where it is
        1 for all samples the network sees `condition` alone.
        Raises ConfigError for a scale other than 1 without `null`, and for an interval that is none.
        Source: Ho & Salimans 2022 (arXiv 2207.12598), equation 6; Kynkaanniemi et al. 2024 (arXiv 2404.07724) for
        the interval.
        """
        scale = scales(t, guidance, interval)
        if bool((scale == 1).all()):
            return self._run(x_t, t, condition)
        if null is None:
            raise ConfigError(
                f"null: None came with guidance={guidance}; a condition with the empty prompt needed for a scale other "
                "than 1; pass one, or guidance=1"
            )
        return guided(*self.both(x_t, t, condition, null), x_t, t, scale, rescale)

    def both(self, x_t: Tensor, t: Tensor, condition: Condition, null: Condition) -> tuple[Tensor, Tensor]:
        """The velocities (b, n, d), fp32, under a condition and under the empty prompt: one call of twice the rows."""
        joint = joined(condition, null, len(x_t))
        wanted, unwanted = self._run(torch.cat([x_t, x_t]), torch.cat([t, t]), joint).chunk(2)
        return wanted, unwanted

    def endpoint(
        self,
        noise: Tensor,
        condition: Condition,
        null: Condition | None = None,
        *,
        steps: int,
        guidance: Tensor | float,
        mu: float,
        interval: tuple[float, float] = ALWAYS,
        rescale: float = 0.0,
        walk: WalkName = "euler",
    ) -> Tensor:
        """The clean tokens (b, n, d) that such a walk as that of `states` ends at from noise (b, n, d)."""
        walked = self.states(
            noise,
            condition,
            null,
            steps=steps,
            kept=1,
            guidance=guidance,
            mu=mu,
            interval=interval,
            rescale=rescale,
            walk=walk,
        )
        return walked[:, -1]

    @torch.no_grad()
    def states(
        self,
        noise: Tensor,
        condition: Condition,
        null: Condition | None = None,
        *,
        steps: int,
        kept: int,
        guidance: Tensor | float,
        mu: float,
        interval: tuple[float, float] = ALWAYS,
        rescale: float = 0.0,
        walk: WalkName = "euler",
    ) -> Tensor:
        """Where a walk of `steps` steps, shifted by mu, stands after each of `kept` equal parts: (b, kept, n, d).

        Its end is the last; those are the times of a walk of `kept` steps, shifted alike. noise (b, n, d). The other
        arguments are those of `velocity`.
        Raises ConfigError for steps that cannot be parted so.
        """
        if kept < 1 or steps % kept:
            raise ConfigError(f"kept={kept}: a divisor of steps={steps} accepted; choose one, or other steps")

        def at(x: Tensor, t: float) -> Tensor:
            here = torch.full(x.shape[:1], t, device=x.device)
            return self.velocity(x, here, condition, null, guidance, interval=interval, rescale=rescale)

        walked = enumerate(WALKS[walk](at, noise.float(), times(steps, mu=mu)), 1)
        return torch.stack([state.x for step, state in walked if step % (steps // kept) == 0], dim=1)

    def features(self, x_t: Tensor, t: Tensor, condition: Condition, taps: Sequence[int]) -> list[Tensor]:
        """Tokens (b, n, width) of the target after each block of `taps`, in that order, in fp32.

        Blocks count from 0, double ones first; those after the deepest tap do not run. x_t (b, n, d), t (b,).
        Gradients flow to x_t. The network's sequence must be whole: not shared out by context parallel.
        Raises ConfigError for a tap that is no block, ShapeError for a condition of another length.
        """
        flow = self.flow
        count = len(flow.double_blocks) + len(flow.single_blocks)
        wrong = [tap for tap in taps if not 0 <= tap < count]
        if wrong or not taps:
            raise ConfigError(f"taps={tuple(taps)}: one or more blocks from 0 to {count - 1} accepted")
        if t.shape != x_t.shape[:1]:
            raise ShapeError(f"t: one time per sample needed, shape {tuple(x_t.shape[:1])}; got {tuple(t.shape)}")
        x = x_t.to(flow.dtype)
        text, target, image = condition.text.expand(len(x), -1, -1), x.shape[1], flow.embed(x, condition.extra)
        caches: list[KeysValues | None] = [None] * count
        if isinstance(condition.context, list):
            caches = list(condition.context)
        elif condition.context is not None:
            image = torch.cat([image, condition.context.expand(len(x), -1, -1)], dim=1)
        if condition.rotary.shape[-2] != text.shape[1] + image.shape[1]:
            raise ShapeError(
                f"condition: made for {condition.rotary.shape[-2]} tokens; {text.shape[1] + image.shape[1]} came with "
                "its text and context; make it for this target's positions, with a sequence that is not shared out"
            )
        vector = flow.time_in(sinusoid(t.to(x.dtype)))
        for part in (condition.guidance, condition.pooled):
            vector = vector if part is None else vector + part

        seen: dict[int, Tensor] = {}
        deepest, doubles = max(taps), len(flow.double_blocks)
        joint = image
        for number in range(deepest + 1):
            if number < doubles:
                text, image = flow.double_blocks[number](text, image, vector, condition.rotary, caches[number])
                seen[number] = image[:, :target]
                continue
            if number == doubles:
                joint = torch.cat([text, image], dim=1)
            single = flow.single_blocks[number - doubles]
            joint, _ = single(joint, vector, condition.rotary, caches[number])
            seen[number] = joint[:, text.shape[1] : text.shape[1] + target]
        return [seen[tap].float() for tap in taps]

    def _run(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        found: Tensor = self.flow(x_t.to(self.flow.dtype), t, condition)
        return found.float()


def scales(t: Tensor, guidance: Tensor | float, interval: tuple[float, float] = ALWAYS) -> Tensor:
    """The scale (b,) fp32 of each sample: guidance, one number or (b,), at times t (b,) in the interval, 1 outside.

    Raises ConfigError for an interval that is none, ShapeError unless there is one scale, or one for each sample.
    """
    low, high = interval
    if not 0 <= low <= high <= 1:
        raise ConfigError(f"interval={interval}: two times with 0 <= first <= second <= 1 accepted")
    wanted = torch.as_tensor(guidance, dtype=torch.float32, device=t.device)
    if wanted.ndim and wanted.shape != t.shape:
        raise ShapeError(f"guidance: one number, or one for each sample {tuple(t.shape)}; got {tuple(wanted.shape)}")
    return torch.where((t >= low) & (t <= high), wanted, torch.ones_like(t, dtype=torch.float32))


def guided(wanted: Tensor, unwanted: Tensor, x_t: Tensor, t: Tensor, scale: Tensor, rescale: float = 0.0) -> Tensor:
    """The guided velocity (b, n, d) from both of a teacher's, with scale (b,); where that is 1, `wanted` to the bit.

    x_t (b, n, d) and t (b,) are those the velocities are of. rescale: share of `rescaled`.
    """
    made = unwanted + scale[:, None, None] * (wanted - unwanted)
    if rescale:
        made = rescaled(made, wanted, x_t, t, rescale)
    return torch.where((scale == 1)[:, None, None], wanted, made)


def rescaled(velocity: Tensor, wanted: Tensor, x_t: Tensor, t: Tensor, share: float) -> Tensor:
    """The guided velocity (b, n, d) with its clean end shrunk to the spread that the unguided one's has.

    The clean end x_t - t v of `velocity` is multiplied by share r + 1 - share, where r is the standard deviation of
    that of `wanted` over its own, by sample. High scales make colours too strong; this takes it back.
    velocity, wanted, x_t: (b, n, d); t: (b,).
    Source: Lin et al. 2023 (arXiv 2305.08891), section 3.4, on the clean end of the straight path.
    """
    at = t.float()[:, None, None]
    ends = [x_t.float() - at * each for each in (wanted, velocity)]
    spread, own = (end.flatten(1).std(dim=1)[:, None, None] for end in ends)
    factor = share * spread / own.clamp(min=1e-6) + 1 - share
    # (x_t - factor (x_t - t v)) / t; at t = 0 both ends are x_t, so nothing is left to share out
    return factor * velocity + (1 - factor) * x_t.float() / at.clamp(min=1e-4)


def joined(first: Condition, second: Condition, count: int) -> Condition:
    """One condition for 2 `count` samples: the first of them under `first`, the others under `second`.

    Parts that both have in one row for all samples stay so; others are repeated to `count` rows where they have one.
    """

    def pair(one: Tensor | None, other: Tensor | None) -> Tensor | None:
        if one is None or other is None:
            return one
        if one is other and len(one) == 1:
            return one
        return torch.cat([part.expand(count, *part.shape[1:]) for part in (one, other)])

    def sure(one: Tensor, other: Tensor) -> Tensor:
        made = pair(one, other)
        assert made is not None
        return made

    context: Tensor | list[KeysValues] | None
    if isinstance(first.context, list) and isinstance(second.context, list):
        pairs = zip(first.context, second.context, strict=True)
        context = [KeysValues(sure(a.keys, b.keys), sure(a.values, b.values)) for a, b in pairs]
    else:
        assert not isinstance(first.context, list)
        assert not isinstance(second.context, list)
        context = pair(first.context, second.context)
    return replace(
        first,
        text=sure(first.text, second.text),
        pooled=pair(first.pooled, second.pooled),
        guidance=pair(first.guidance, second.guidance),
        rotary=sure(first.rotary, second.rotary),
        context=context,
        extra=pair(first.extra, second.extra),
    )


def picked(condition: Condition, rows: Tensor) -> Condition:
    """The condition of some samples, by their places rows (k,); parts in one row for all stay so."""

    def sure(part: Tensor) -> Tensor:
        return part if len(part) == 1 else part[rows]

    def pick(part: Tensor | None) -> Tensor | None:
        return None if part is None else sure(part)

    context: Tensor | list[KeysValues] | None
    if isinstance(condition.context, list):
        context = [KeysValues(sure(each.keys), sure(each.values)) for each in condition.context]
    else:
        context = pick(condition.context)
    return replace(
        condition,
        text=sure(condition.text),
        pooled=pick(condition.pooled),
        guidance=pick(condition.guidance),
        rotary=sure(condition.rotary),
        context=context,
        extra=pick(condition.extra),
    )
