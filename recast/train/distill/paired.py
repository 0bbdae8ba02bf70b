"""What stages that learn from a teacher's pairs have in common: reading, judging, counting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recast import cost
from recast.errors import ConfigError, InputError
from recast.flow.sampler import Sampler, euler
from recast.flow.schedule import resolution_shift
from recast.flow.transformer import FlowTransformer
from recast.train.data.example import Source
from recast.train.data.order import Permutation
from recast.train.distill import student
from recast.train.distill.distance import Distance, outside
from recast.train.distill.pairs import PairBatch, Pairs
from recast.train.distill.scales import Scales
from recast.train.flow_stage import FlowStage
from recast.train.objective import Velocities
from recast.train.sharded import reshard
from recast.train.stage import Loss, Phase
from recast.train.uses import FlowTraining, Pass

SAME = 1e-6
"""Scales of guidance that are no further apart are the same one."""
LOOKED_AT = 64
"""Examples among which one must have a mask: what has fewer has the term outside it too seldom to be held by it."""


class PairedStage:
    """The part of a `stage.Stage` that a student of few steps has whatever its loss is.

    reading: its flow, or adapters on it, are the student; it encodes words and draws the panel. held_out: pairs that
    are never trained on, the same in all processes. Raises ConfigError where the text encoder would be trained too.
    """

    name = "paired"

    def __init__(
        self, reading: FlowStage, *, steps: int, shifts_schedule: bool, held_out: Sequence[PairBatch] = ()
    ) -> None:
        if reading.training.train_text:
            raise ConfigError("train_text=true: a student reads what its teacher reads; set it to false")
        self.reading, self.steps, self.shifts_schedule, self.held_out = reading, steps, shifts_schedule, held_out
        self.networks: dict[str, nn.Module] = dict(reading.networks)
        self.phases = [Phase(name=self.name, networks=tuple(self.networks), optimiser=reading.phases[0].optimiser)]
        self.averaged: tuple[str, ...] = tuple(reading.averaged)

    def prepare(self, batch: Any, share: float) -> Any:
        """The pairs, on the device."""
        return batch.to(self.reading.device)

    def count(self, batch: PairBatch) -> int:
        return batch.of

    def samples(self) -> Mapping[str, np.ndarray]:
        return self.reading.samples()

    def validate(self) -> Mapping[str, float]:
        """How far the student's own walk ends from the teacher's endpoint of the same noise.

        endpoint: mean squared error of the clean tokens. clean0, ...: of the clean end as each step of the walk saw it.
        outside: of its end from the source outside the masks of edits, where that is known (`distance.outside`).
        """
        if not self.held_out:
            return {}

        def apart(batch: PairBatch) -> Tensor:
            seen = self.seen(batch.each, batch.noise, batch.guidance)
            ends = [(clean - batch.each.clean).square().mean(dim=(1, 2)) for clean in (seen[-1], *seen)]
            drift, has = outside(seen[-1], batch.each, "mse")
            return torch.stack([*ends, drift, has.float()])

        names = ("endpoint", *(f"clean{k}" for k in range(self.steps)))
        *means, drift, share = self.over_held_out(apart, len(names) + 2)
        found = dict(zip(names, means, strict=True))
        return found | {"outside": drift / share} if share else found

    def with_outside(self, loss: Loss, seen: Sequence[Tensor], each: Pass, weight: float, kind: Distance) -> Loss:
        """The loss, and `weight` times that of clean predictions (k, n, d) outside the masks, for those that have one.

        seen: of one step of the walk or of several, whose mean counts. An example weighs the same whatever the others
        of its batch have. "outside" is the mean over those with a mask, nan where there is none.
        """
        if not weight:
            return loss
        every = [outside(clean, each, kind) for clean in seen]
        apart, has = torch.stack([apart for apart, _ in every]).mean(dim=0), every[0][1]
        parts = {**loss.parts, "outside": apart.detach().sum() / has.sum()}
        return Loss(loss.value + weight * apart.mean(), parts)

    def over_held_out(self, numbers: Callable[[PairBatch], Tensor], count: int) -> list[float]:
        """Means over the held-out pairs of `count` numbers of each, (count, b) of a batch on the device.

        The work is shared out among the processes, which call the network equally often, all with contexts or all
        without: sharded networks are gathered together.
        """
        ranks = self.reading.ranks
        sums, total = torch.zeros(count, dtype=torch.float64), 0
        with torch.no_grad():
            for has_context in (True, False):
                alike = [batch for batch in self.held_out if (batch.each.context is not None) == has_context]
                for turn in range(-(-len(alike) // ranks.data_size)):
                    place = turn * ranks.data_size + ranks.data_rank
                    here = alike[place % len(alike)].to(self.reading.device)
                    found = numbers(here).double().sum(dim=1).cpu()
                    if place < len(alike):
                        sums, total = sums + found, total + len(here.numbers)
        reshard(self.reading.flow)
        every = [sum(column) for column in zip(*ranks.gather((*sums.tolist(), total)), strict=True)]
        return [each / every[-1] for each in every[:-1]]

    def seen(self, each: Pass, noise: Tensor, guidance: float, walk: Sampler = euler) -> list[Tensor]:
        """The clean ends (k, n, d) that each step of a walk from noise (k, n, d) sees; the last is its end."""
        velocity = at_one_time(self.velocity(each, guidance))
        return [state.clean for state in walk(velocity, noise.float(), self.times(each))]

    def times(self, each: Pass) -> list[float]:
        """The student's grid for a pass."""
        return student.grid(self.steps, self.mu(each))

    def mu(self, each: Pass) -> float:
        return resolution_shift(each.clean.shape[1]) if self.shifts_schedule else 0.0

    def velocity(self, each: Pass, guidance: float, flow: FlowTransformer | None = None) -> Velocities:
        """The student's velocity function for a pass, in fp32; with a graph where gradients are on.

        Its condition is made once. flow: another network than the student.
        """
        reading, network = self.reading, flow or self.reading.flow
        with reading.autocast():
            condition = reading.condition(each, each.prompts, guidance, network)

        def velocity(x_t: Tensor, t: Tensor) -> Tensor:
            with reading.autocast():
                found: Tensor = network(x_t, t, condition)
            return found.float()

        return velocity

    def work(self, each: Pass) -> tuple[float, float]:
        """FLOPs of one evaluation of the student on a pass, and of making its condition."""
        config, reading = self.reading.flow.config, self.reading
        text = reading.encode([""]).tokens.shape[1]
        in_sequence = reading.training.conditioning == "sequence" and each.context is not None
        context = each.context.shape[1] if in_sequence and each.context is not None else 0
        count = len(each.uses)
        step = cost.step_work(config, target=each.clean.shape[1], text=text, context=context).total
        return float(count * step), float(count * cost.condition_work(config, text=text, context=context).total)


def at_one_time(velocity: Velocities) -> Callable[[Tensor, float], Tensor]:
    """The same function for a sampler, which asks at one time for all."""
    return lambda x, t: velocity(x, torch.full(x.shape[:1], t, device=x.device))


def check_guidance(scales: Scales, pairs: PairBatch) -> None:
    """Raises ConfigError unless the pairs were made with this guidance."""
    guidance = scales.scale_of(pairs.each)
    if abs(pairs.guidance - guidance) > SAME:
        raise ConfigError(
            f"guidance={guidance}: the pairs were made with {pairs.guidance}; the same accepted: a student learns "
            "what its teacher does at one scale, and is judged by it; write other pairs, or set guidance to theirs"
        )


def check_outside(weight: float) -> None:
    if not weight >= 0:
        raise ConfigError(f"outside={weight}: a number from 0 accepted; 0 leaves the term out")


def require_masks(weight: float, pairs: Pairs | None, pictures: Source | None, training: FlowTraining) -> None:
    """Raises ConfigError where a term outside the mask is asked for, and nothing that is learned from has a mask.

    pairs, pictures: what there is of each. Of pictures, LOOKED_AT are read at most, in an order of their own.
    """
    if not weight or (pairs is not None and pairs.masked):
        return
    looked = []
    if pairs is not None:
        looked.append(f"the {len(pairs)} pairs in {str(pairs.place)!r} (earlier versions kept no masks)")
    if pictures is not None:
        count = min(LOOKED_AT, LOOKED_AT if pictures.length is None else pictures.length)
        if training.edit and _has_masks(pictures, count):
            return
        looked.append(f"{count} examples of data.places, as training.edit={training.edit:g} uses them,")
    raise ConfigError(
        f"outside={weight}: none of {' and '.join(looked)} has a mask; edits whose masks are known needed, as the "
        "world's are; take such examples, or pairs of them by `recast distill pairs`, or set settings.outside=0"
    )


def _has_masks(pictures: Source, count: int) -> bool:
    """Whether any of `count` examples is an edit whose mask is known; what cannot be read has none."""
    order = range(count) if pictures.length is None else Permutation(pictures.length, 0)
    for place in range(count):
        with suppress(InputError):  # the run that reads it says so
            example = pictures.example(order[place])
            if example.mask is not None and example.contexts and example.instruction is not None:
                return True
    return False
