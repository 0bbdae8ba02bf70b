"""Consistency distillation, whole or in phases: from any point of the teacher's path a student jumps to the same place.

The path from noise to clean is cut into phases, as many as the student has Euler steps, and each phase into small steps
of the teacher. With times t > t' a small step apart and s the end of their phase, the student's jump from x_t,

    f(x_t) = x_t + (s - t) v(x_t, t),

must be that from x_t' = x_t + (t' - t) v_teacher(x_t, t) by the target network. It is trained in velocities, by

    || v(x_t, t) - (x_t - f_target(x_t')) / (t - s) ||,

which is the distance of the jumps over (t - s), so that no time weighs more for being far from its end. At t' = s the
jump has no length and the target is the teacher's own step. One phase is a consistency model, which ends at the picture
and walks by re-noising. No pairs are needed, no discriminator, and one more copy of the network where the target is an
average.
Source: Song et al. 2023 (arXiv 2303.01469), algorithm 2; guided, Luo et al. 2023 (arXiv 2310.04378), section 4.2; in
phases, Wang et al. 2024 (arXiv 2405.18407), section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.flow.path import interpolate
from recast.flow.sampler import Sampler, euler, renoise
from recast.flow.schedule import times as schedule
from recast.flow.transformer import FlowTransformer
from recast.train.data.example import Batch
from recast.train.distill import student
from recast.train.distill.asking import asked
from recast.train.distill.distance import Distance, check_distance, distance, outside
from recast.train.distill.paired import PairedStage, at_one_time, check_guidance, check_outside
from recast.train.distill.pairs import PairBatch
from recast.train.distill.scales import Scales
from recast.train.distill.student import SamplerName
from recast.train.distill.teacher import ALWAYS, Teacher
from recast.train.flow_stage import BACKWARD, FlowStage, Prepared
from recast.train.objective import draw, even, generator
from recast.train.sharded import local, reshard
from recast.train.stage import Loss
from recast.train.uses import Pass


@dataclass(frozen=True, kw_only=True)
class ConsistencySettings(Scales):
    """How consistent a student is made, and with whom."""

    steps: int = 4  # of the student
    phases: int = 4  # as many as steps, or 1
    teacher_steps: int = 8  # in each phase
    interval: tuple[float, float] = ALWAYS  # of times at which a teacher of two evaluations is guided
    target_decay: float = 0.95  # of the target network at each step; 0 makes the student its own target
    distance: Distance = "huber"
    outside: float = 0.0  # weight of that distance to the source, outside an edit's mask, where it is known
    shifts_schedule: bool = True  # by resolution

    def __post_init__(self) -> None:
        for name in ("steps", "phases", "teacher_steps"):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 1):
                raise ConfigError(f"{name}={getattr(self, name)!r}: a whole number from 1 accepted")
        if self.phases not in (1, self.steps):
            raise ConfigError(
                f"phases={self.phases}: 1 or steps={self.steps} accepted: the student walks phase by phase"
            )
        self.check_scales()
        low, high = self.interval
        if not 0 <= low <= high <= 1:
            raise ConfigError(f"interval={self.interval}: two times with 0 <= first <= second <= 1 accepted")
        if not 0 <= self.target_decay < 1:
            raise ConfigError(f"target_decay={self.target_decay}: a share from 0 to below 1 accepted; 0.95 is usual")
        check_distance(self.distance)
        check_outside(self.outside)

    @property
    def sampler(self) -> SamplerName:
        """The student's, in training and in use."""
        return "euler" if self.phases == self.steps else "renoise"


class Leap(NamedTuple):
    """Times (b,) fp32: from `t` the teacher steps to `after`; the phase of both ends at `end`."""

    t: Tensor
    after: Tensor
    end: Tensor


class ConsistencyStage(PairedStage):
    """Trains a student on pictures, or on the endpoints of pairs in their place, with a teacher at its side.

    batches: of pictures, which `reading` encodes, or of pairs. target: a copy of the student's network, wrapped as it
    is, which this stage moves; None where target_decay is 0. held_out: as in `PairedStage`.
    Raises ConfigError where target and settings do not fit, the student is adapters and has a target, or held-out pairs
    were made with another guidance.
    """

    name = "consistency"

    def __init__(
        self,
        reading: FlowStage,
        teacher: Teacher,
        settings: ConsistencySettings,
        *,
        target: FlowTransformer | None = None,
        held_out: Sequence[PairBatch] = (),
    ) -> None:
        if (target is None) != (settings.target_decay == 0):
            raise ConfigError(
                f"target={'none' if target is None else 'a network'}, target_decay={settings.target_decay}: a copy of "
                "the student's network for a decay above 0, none for 0, accepted; change one"
            )
        if target is not None and "adapters" in reading.networks:
            raise ConfigError(
                "target: the student is adapters, which share their base; set target_decay=0, without one"
            )
        for judged in held_out:
            check_guidance(settings, judged)
        super().__init__(reading, steps=settings.steps, shifts_schedule=settings.shifts_schedule, held_out=held_out)
        self.teacher, self.settings = teacher, settings
        self.target = None if target is None else target.eval().requires_grad_(False)
        if self.target is not None:
            self.networks["target"] = self.target  # saved, not trained: no phase names it

    def prepare(self, batch: Batch | PairBatch, share: float) -> Prepared:
        """The passes of a batch; the target follows what the last step has made of the student."""
        self._follow()
        if isinstance(batch, PairBatch):
            here = batch.to(self.reading.device)
            return Prepared((here.each,), len(here.numbers))
        return self.reading.prepare(batch, share)

    def count(self, batch: Batch | PairBatch) -> int:
        return batch.of if isinstance(batch, PairBatch) else self.reading.count(batch)

    def loss(self, phase: str, prepared: Prepared, share: float) -> Loss | None:
        """The mean distance of the student's jumps to the target's, over their length; phase0, ...: by phase.

        outside: of its clean predictions from the source outside the mask, where the settings ask for it.
        """
        total = torch.zeros((), device=self.reading.device)
        losses, phases, drifts = [], [], []
        for each in prepared.passes:
            drawn = even(each.numbers, self.reading.run.seed, 1)[:, 0]
            index = (drawn * self.settings.phases * self.settings.teacher_steps).long()
            noise = draw(each.numbers, self.reading.run.seed, each.clean.shape[1:], self.reading.device)
            leap = self._leap(each, index)
            x_t, _ = interpolate(each.clean, noise, leap.t)
            wanted = self.wanted(each, x_t, leap)
            found = self.velocity(each, self.settings.scale_of(each))(x_t, leap.t)
            apart = distance(found, wanted, self.settings.distance)
            total = total + apart.sum() * float(each.counts)
            if each.counts:
                losses.append(apart.detach())
                phases.append(index // self.settings.teacher_steps)
            if self.settings.outside:
                drift, has = outside(student.clean(x_t, found, leap.t), each, self.settings.distance)
                total = total + self.settings.outside * drift.sum() * float(each.counts)
                drifts.append(drift.detach()[has & each.counts])
        own, at = torch.cat(losses), torch.cat(phases).to(self.reading.device)
        parts = {f"phase{i}": (own * (at == i)).sum() / (at == i).sum() for i in range(self.settings.phases)}
        parts |= {"outside": torch.cat(drifts).mean()} if self.settings.outside else {}
        return Loss(total / prepared.count, parts)

    @torch.no_grad()
    def wanted(self, each: Pass, x_t: Tensor, leap: Leap) -> Tensor:
        """The velocity (b, n, d) of the straight line from x_t (b, n, d) to where the target jumps from the teacher's
        next point.
        """
        with self.reading.autocast():
            condition, null, scale = asked(self.reading, self.teacher.flow, each, self.settings.scale_of(each))
            ahead = self.teacher.velocity(x_t, leap.t, condition, null, scale, interval=self.settings.interval)
        after = x_t + _over(leap.after - leap.t) * ahead
        jump = after + _over(leap.end - leap.after) * self.velocity(each, self.settings.scale_of(each), self.target)(
            after, leap.after
        )
        reshard(self.teacher.flow)
        return (x_t - jump) / _over(leap.t - leap.end)

    def flops(self, batch: Batch | PairBatch) -> float:
        """Of student, target and teacher. Encoding pictures is not counted."""
        if isinstance(batch, PairBatch):
            work = sum(self.work(batch.each))
            return BACKWARD * work + self._beside(self.settings.scale_of(batch.each)) * work
        uses = self.reading.works(batch)
        beside = (self._beside(self.settings.scale(is_edit=bool(use.contexts))) * work.total for use, work in uses)
        return self.reading.flops(batch) + sum(beside)

    def _beside(self, scale: float) -> int:
        """Evaluations of target and teacher, whose condition and null are two where it is guided by both."""
        return 1 + 1 + (scale != 1 and not self.teacher.flow.config.guidance_embed)

    def validate(self) -> Mapping[str, float]:
        """As of any paired stage, and `consistency`: the mean squared distance of the student's jumps from neighbouring
        points of the teacher's path, over all of the path but the last step of each phase.
        """
        numbers = dict(super().validate())
        if self.held_out:
            (numbers["consistency"],) = self.over_held_out(self._inconsistency, 1)
            reshard(self.teacher.flow)
        return numbers

    def seen(self, each: Pass, noise: Tensor, guidance: float, walk: Sampler = euler) -> list[Tensor]:
        """As of any paired stage, by the student's own sampler; re-noising draws what the examples' numbers say."""
        if self.settings.sampler == "renoise":
            draws = [generator(self.reading.run.seed, number, "renoise") for number in each.numbers]
            walk = renoise(lambda: torch.stack([torch.randn(noise.shape[1:], generator=g) for g in draws]).to(noise))
        return super().seen(each, noise, guidance, walk)

    def fine(self, each: Pass) -> list[float]:
        """The teacher's times: every `teacher_steps`-th of them ends a phase."""
        return schedule(self.settings.phases * self.settings.teacher_steps, mu=self.mu(each))

    def _leap(self, each: Pass, index: Tensor) -> Leap:
        fine = torch.tensor(self.fine(each))
        end = (index // self.settings.teacher_steps + 1) * self.settings.teacher_steps
        t, after, last = (fine[at].to(self.reading.device) for at in (index, index + 1, end))
        return Leap(t, after, last)

    @torch.no_grad()
    def _inconsistency(self, batch: PairBatch) -> Tensor:
        """The mean squared distance (1, b) of neighbouring jumps of each pair of a batch."""
        each, steps = batch.each, self.settings.teacher_steps
        with self.reading.autocast():
            condition, null, scale = asked(self.reading, self.teacher.flow, each, self.settings.scale_of(each))
        velocity = at_one_time(self.velocity(each, self.settings.scale_of(each)))
        fine, x, total, count = self.fine(each), batch.noise, batch.noise.new_zeros(len(batch.noise)), 0
        before: Tensor | None = None
        for i, (t, t_next) in enumerate(pairwise(fine)):
            end = fine[(i // steps + 1) * steps]
            jump = x + (end - t) * velocity(x, t)
            if before is not None and i % steps:
                total, count = total + (jump - before).square().mean(dim=(1, 2)), count + 1
            before = jump
            with self.reading.autocast():
                here = torch.full(x.shape[:1], t, device=x.device)
                v = self.teacher.velocity(x, here, condition, null, scale, interval=self.settings.interval)
            x = x + (t_next - t) * v
        return total[None] / max(count, 1)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the target to the student by its decay: once a step, in as many parts as a step has batches."""
        if self.target is None:
            return
        reshard(self.target)
        reshard(self.reading.flow)
        kept = self.settings.target_decay ** (1 / self.reading.run.accumulate)
        pairs = zip(self.target.parameters(), self.reading.flow.parameters(), strict=True)
        ours, theirs = zip(*((local(a.detach()), local(b.detach())) for a, b in pairs), strict=True)
        torch._foreach_lerp_(list(ours), list(theirs), 1 - kept)


def _over(times: Any) -> Tensor:
    """Times (b,) as factors of tokens (b, n, d)."""
    made: Tensor = times[:, None, None]
    return made
