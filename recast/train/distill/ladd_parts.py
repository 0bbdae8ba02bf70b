"""What the two phases of an adversarial distillation read: a pass, what counts as real for it, and what is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from recast.flow.transformer import Condition
from recast.train import objective
from recast.train.uses import Pass

P = TypeVar("P", bound="Part")


@dataclass(frozen=True)
class Draws:
    """What is drawn for the k examples of a pass, each by its own number; even numbers (k,) are on the CPU."""

    start: Tensor  # (k, n, d): noise that the student begins with, where it is not the teacher's
    end: Tensor  # (k, n, d): noise that the teacher begins with, where it is not the student's
    over: Tensor  # (k, n, d): noise over real and fake alike
    disturbance: Tensor  # (k, n, d), unit: of what heads see of real pictures, for the approximate penalty
    fresh: Tensor  # (steps - 1, k, n, d): for a student that re-noises
    time: Tensor  # which time of the grid
    on_policy: Tensor
    level: tuple[Tensor, Tensor]  # choice and quantile, as `TimeLaw.times` takes them
    context: Tensor  # which one is copied
    picture: Tensor  # whether the picture itself is real
    seed: int  # of all of them; of another stream another one

    @classmethod
    def of(cls, each: Pass, *, seed: int, steps: int, device: torch.device) -> Draws:
        """By the run's seed and the numbers of a pass, for a student of `steps` steps."""
        noise = objective.draw(each.numbers, seed, (4 + steps - 1, *each.clean.shape[1:]), device)
        start, end, over, disturbance = noise[:, :4].unbind(dim=1)
        rows = [
            torch.rand(6, generator=objective.generator(seed, n, "ladd"), dtype=torch.float64) for n in each.numbers
        ]
        time, on_policy, choice, quantile, context, picture = torch.stack(rows).unbind(dim=1)
        fresh = noise[:, 4:].transpose(0, 1)
        return cls(start, end, over, disturbance, fresh, time, on_policy, (choice, quantile), context, picture, seed)


@dataclass(kw_only=True)
class Part:
    """One pass on its way: k examples of one length, on the device, in fp32."""

    each: Pass
    real: Tensor  # (k, n, d), clean: noised when heads look at it, and never before
    start: Tensor  # (k, n, d): noise that the student begins with
    is_end: Tensor  # (k,) bool: `real` is where the teacher's walk from `start` ends
    text: Tensor  # (k, c): what heads are told
    draws: Draws
    others: tuple[str, ...] = ()  # another example's words for each, where they are asked for
    fake: Tensor | None = None  # (k, n, d), left by the student's phase
    seen: list[Tensor] | None = None  # the heads' inputs of it


@dataclass(kw_only=True)
class LatentPart(Part):
    """What heads on the teacher's own blocks need beside it."""

    level: Tensor  # (k,): of the noise in what heads see
    condition: Condition  # the teacher's


@dataclass(frozen=True)
class Prepared(Generic[P]):
    """A batch, ready for both phases."""

    parts: list[P]
    count: int  # of this process's examples
