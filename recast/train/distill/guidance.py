"""Guidance distillation: a student that does in one evaluation what classifier-free guidance does in two.

The student is the teacher with an embedding of the scale. Its loss is the squared distance of its velocity, which
reads g, from the teacher's guided one; the contexts stay in both of the teacher's evaluations.
Source: Meng et al. 2022 (arXiv 2210.03142), stage 1, in velocities; states on guided walks after Jensen & Sadat
2025 (AGD, arXiv 2503.07274).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from recast.errors import ConfigError, TrainingError
from recast.flow.path import interpolate
from recast.flow.transformer import Condition
from recast.train import objective, validation
from recast.train.data.example import Batch
from recast.train.distill.teacher import ALWAYS, Teacher, guided, picked, scales
from recast.train.flow_stage import FlowStage, Prepared, parts
from recast.train.objective import Velocities, generator
from recast.train.sharded import reshard
from recast.train.stage import Loss, Phase
from recast.train.uses import Pass, Use, fixed

BINS = 4
"""Equal parts of the law's scales, in which losses are logged and held-out errors are taken at the middles."""
EQUAL_DB = 99.0
"""The most that a PSNR of pictures counts as."""


@dataclass(frozen=True, kw_only=True)
class GuidanceSettings:
    """Which scales are learned, on which states, from which guidance."""

    highest: float = 5.0  # scales are drawn even from 1 to this
    focus: tuple[float, float] = (2.0, 4.0)  # where most are asked for
    focus_share: float = 0.5  # of scales drawn even from there instead
    one_share: float = 0.05  # of scales that are 1, the teacher without guidance
    interval: tuple[float, float] = ALWAYS  # of times; outside it the teacher is not guided
    rescale: float = 0.0  # phi of `teacher.rescaled`; 0.3 to 0.7 take strong colours back
    walk_share: float = 0.25  # of states on the teacher's guided walk, not on the straight path
    walk_from: float = 0.5  # share of the run after which there are such
    walk_steps: int = 8  # of the walk from noise to the state's time

    def __post_init__(self) -> None:
        low, high = self.focus
        if not self.highest > 1:
            raise ConfigError(f"highest={self.highest}: a scale above 1 accepted; 5 is usual")
        if not 1 <= low <= high <= self.highest:
            raise ConfigError(
                f"focus={self.focus}: scales with 1 <= first <= second <= highest={self.highest} accepted"
            )
        for name in ("focus_share", "one_share", "rescale", "walk_share", "walk_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: a share from 0 to 1 accepted")
        if not 0 <= self.interval[0] <= self.interval[1] <= 1:
            raise ConfigError(f"interval={self.interval}: two times with 0 <= first <= second <= 1 accepted")
        if not (isinstance(self.walk_steps, int) and self.walk_steps >= 1):
            raise ConfigError(f"walk_steps={self.walk_steps!r}: a whole number from 1 accepted")

    def scales(self, choice: Tensor, quantile: Tensor) -> Tensor:
        """Scales (b,) in [1, highest], fp32, from two even numbers in [0, 1) each, choice (b,) and quantile (b,)."""
        low, high = self.focus
        narrow = low + (high - low) * quantile
        wide = 1 + (self.highest - 1) * quantile
        rest = (choice - self.one_share) / (1 - self.one_share) if self.one_share < 1 else choice
        drawn = torch.where(rest < self.focus_share, narrow, wide)
        return torch.where(choice < self.one_share, torch.ones_like(drawn), drawn).float()

    @property
    def judged(self) -> tuple[float, ...]:
        """The scales that held-out errors are taken at: 1, and the middles of BINS equal parts of the law."""
        return (1.0, *(1 + (self.highest - 1) * (index + 0.5) / BINS for index in range(BINS)))

    def require(self, guidance: float) -> None:
        """Raises ConfigError for a scale that the student has not learned."""
        if not 1 <= guidance <= self.highest:
            raise ConfigError(
                f"guidance={guidance}: a scale from 1 to {self.highest:g} accepted, those the student learns; "
                "pass one of them, or train with a higher `highest`"
            )


@dataclass(frozen=True)
class _Asked:
    """What a pass is trained on: states x_t (k, n, d) at times t (k,), scales (k,) and the velocities aimed at."""

    x_t: Tensor
    t: Tensor
    scales: Tensor
    target: Tensor


class GuidanceStage:
    """Trains a student, whole or by adapters and its embedding, towards a teacher's guided velocities.

    reading: the flow stage around the student, and around its adapters from `embedding.attach` if they alone are
    trained; it reads batches, encodes them and judges with them, and its own loss is not used. Its times, uses,
    dropout, masks and conditioning apply. teacher: the network the student was made from, as a network of its own.
    Where `reading` has a panel, validation also compares pictures: see `single_pass_psnr`.
    Raises ConfigError where these do not fit each other.
    """

    name = "guidance"

    def __init__(self, *, reading: FlowStage, teacher: Teacher, settings: GuidanceSettings) -> None:
        _check(reading, teacher)
        self.reading, self.teacher, self.settings = reading, teacher, settings
        self.networks: dict[str, nn.Module] = dict(reading.networks)
        if "adapters" in self.networks:
            self.networks["guidance_in"] = reading.flow.guidance_in
        optimiser = reading.phases[0].optimiser
        self.phases: Sequence[Phase] = [Phase(name=self.name, networks=tuple(self.networks), optimiser=optimiser)]
        self.averaged = tuple(self.networks)
        self._walking = 0.0  # share of states on walks, at present
        self._guided: dict[tuple[float, int], list[tuple[Use, np.ndarray]]] = {}  # the teacher does not change

    # What the loop asks.

    def prepare(self, batch: Batch, share: float) -> Prepared:
        """The passes of this step, their pictures encoded."""
        self._walking = self._walk_share(share)
        return self.reading.prepare(batch, share)

    def loss(self, phase: str, prepared: Prepared, share: float) -> Loss | None:
        """The mean squared distance from the guided velocity: by use, by time, and by scale."""
        reading = self.reading
        total = torch.zeros((), device=reading.device)
        losses, kinds, times, drawn = [], [], [], []
        for each in prepared.passes:
            asked = self._asked(each, share)
            errors = self._distance(each, asked.x_t, asked.t, asked.scales, asked.target)
            per_sample = objective.weighted(errors, reading.weight(each))
            total = total + per_sample.sum() * float(each.counts)
            if each.counts:
                losses.append(per_sample.detach())
                kinds += [use.kind for use in each.uses]
                times.append(asked.t.cpu())
                drawn.append(asked.scales.cpu())
        own = torch.cat(losses)
        by_scale = _by_scale(own, torch.cat(drawn), self.settings.highest)
        return Loss(total / prepared.count, parts(own, kinds, torch.cat(times)) | by_scale)

    def flops(self, batch: Batch) -> float:
        """Of the student's forward and backward pass and of the teacher's evaluations, those of walks as expected."""
        work = self.reading.work(batch).total
        return self.reading.flops(batch) + 2 * work * (1 + self._walking * self.settings.walk_steps)

    def count(self, batch: Batch) -> int:
        """Uses of the whole batch."""
        return self.reading.count(batch)

    def validate(self) -> Mapping[str, float]:
        """Held-out distances at fixed times and noise: `loss`, by time and use; `g1/loss` ... by scale; `flatness`.

        flatness: the largest distance of a scale over the mean of all; 1 is flat. `psnr` in dB, where the reading
        stage has a panel, is that of `single_pass_psnr` at its defaults.
        """
        found: dict[str, float] = {}
        if self.reading.held_out:
            with torch.no_grad():
                found = self._held_out()
            reshard(self.reading.flow)
        if self.reading.panel:
            found["psnr"] = self.single_pass_psnr(min(3.0, self.settings.highest))
        return found

    def samples(self) -> Mapping[str, np.ndarray]:
        """The reading stage's panel, by the student at the panel's scale."""
        self.settings.require(self.reading.sampling.guidance)
        return self.reading.samples()

    # One evaluation against two.

    def single_pass_psnr(self, guidance: float = 3.0, *, steps: int = 25) -> float:
        """Mean PSNR in dB between pictures of the student at g and of the teacher guided in two evaluations by g.

        Both walk `steps` Euler steps from the same fixed noise, on the examples of the reading stage's panel; pictures
        are uint8, and equal ones count as EQUAL_DB. Raises ConfigError for a scale outside the law, TrainingError
        without a panel.
        """
        self.settings.require(guidance)
        if not self.reading.panel:
            raise TrainingError("panel: no example; give the reading stage's panel some to compare pictures of")
        key = guidance, steps
        if key not in self._guided:
            self._guided[key] = self._pictures(steps, self._two_passes, guidance)
        two = self._guided[key]
        one = self._pictures(steps, self._one_pass, guidance)
        reshard(self.reading.flow)
        return float(np.mean([_psnr(a, b) for (_, a), (_, b) in zip(one, two, strict=True)]))

    def _pictures(
        self, steps: int, velocity_of: Callable[[Pass, float], Velocities], guidance: float
    ) -> list[tuple[Use, np.ndarray]]:
        sampling = validation.Sampling(steps=steps, shifts_schedule=self.reading.sampling.shifts_schedule)
        found: list[tuple[Use, np.ndarray]] = []
        with torch.no_grad():
            for batch in self.reading.panel:
                for each in self.reading.passes(batch, fixed(batch, self.reading.training)):
                    tokens = validation.walk(each, velocity_of(each, guidance), sampling, self.reading.device)
                    found += zip(each.uses, self.reading.pictures(tokens, each.grid), strict=True)
        return found

    def _one_pass(self, each: Pass, guidance: float) -> Velocities:
        return self.reading.velocity(each, each.prompts, guidance)

    def _two_passes(self, each: Pass, guidance: float) -> Velocities:
        condition, null = self._conditions(each)
        return lambda x_t, t: self._guided_velocity(x_t, t, condition, null, torch.full_like(t, guidance))

    # States and what is aimed at there.

    def _walk_share(self, share: float) -> float:
        return self.settings.walk_share if share >= self.settings.walk_from else 0.0

    @torch.no_grad()
    def _asked(self, each: Pass, share: float) -> _Asked:
        """The states of a pass, its scales and its targets, each drawn by the number of its example alone."""
        device, seed = self.reading.device, self.reading.run.seed
        drawn = torch.stack(
            [torch.rand(3, generator=generator(seed, n, "guidance"), dtype=torch.float64) for n in each.numbers]
        )
        scales = self.settings.scales(drawn[:, 0], drawn[:, 1]).to(device)
        t = self.reading.times(each).to(device)
        noise = objective.draw(each.numbers, seed, each.clean.shape[1:], device)
        condition, null = self._conditions(each)
        x_t, _ = interpolate(each.clean.float(), noise, t)
        walking = self._walk_share(share)
        rows = (drawn[:, 2] < walking).nonzero()[:, 0].to(device)
        if len(rows):
            x_t[rows] = self._walk(noise[rows], t[rows], picked(condition, rows), picked(null, rows), scales[rows])
        elif walking and self.reading.ranks.data_size > 1:  # others walk, and a sharded teacher is gathered by all
            one = torch.zeros(1, dtype=torch.long, device=device)
            self._walk(noise[one], t[one], picked(condition, one), picked(null, one), scales[one])
        return _Asked(x_t, t, scales, self._guided_velocity(x_t, t, condition, null, scales))

    def _walk(self, noise: Tensor, t: Tensor, condition: Condition, null: Condition, scales: Tensor) -> Tensor:
        """Where guided Euler walks from noise (k, n, d) stand at times t (k,), each after `walk_steps` even steps."""
        x, steps = noise, self.settings.walk_steps
        for step in range(steps):
            here = 1 + (t - 1) * (step / steps)
            velocity = self._guided_velocity(x, here, condition, null, scales)
            x = x + ((t - 1) / steps)[:, None, None] * velocity
        return x

    def _conditions(self, each: Pass) -> tuple[Condition, Condition]:
        """The teacher's condition of a pass and that of the empty prompt, over one and the same embedded context."""
        reading, flow = self.reading, self.teacher.flow
        with torch.no_grad(), reading.autocast():
            condition = reading.condition(each, each.prompts, 1.0, flow)
            empty = reading.encode([""])
            return condition, flow.with_text(condition, empty.tokens, empty.pooled)

    def _guided_velocity(self, x_t: Tensor, t: Tensor, condition: Condition, null: Condition, scales: Tensor) -> Tensor:
        settings = self.settings
        with torch.no_grad(), self.reading.autocast():
            return self.teacher.velocity(
                x_t, t, condition, null, scales, interval=settings.interval, rescale=settings.rescale
            )

    def _distance(self, each: Pass, x_t: Tensor, t: Tensor, scales: Tensor, target: Tensor) -> Tensor:
        """The squared distance (k, n) of the student's velocities from these, the mean over channels."""
        predicted = self.reading.velocity(each, each.prompts, scales)(x_t, t)
        return (predicted - target).square().mean(dim=-1)

    def _held_out(self) -> dict[str, float]:
        """`validation.measure` of the distances, the mean over all scales judged, and the mean at each of them."""
        settings, reading = self.settings, self.reading
        seen: dict[tuple[object, ...], list[tuple[float, int]]] = {}  # sums and counts by scale; a job may come twice

        def distances(each: Pass, t: Tensor, noise: Tensor) -> Tensor:
            x_t, _ = interpolate(each.clean.float(), noise, t)
            with reading.autocast():
                wanted, unwanted = self.teacher.both(x_t, t, *self._conditions(each))
            found = []
            for scale in settings.judged:
                target = guided(wanted, unwanted, x_t, t, scales(t, scale, settings.interval), settings.rescale)
                found.append(self._distance(each, x_t, t, torch.full_like(t, scale), target))
            key = each.numbers, each.context is None, float(t[0])
            seen[key] = [(float(own.mean(dim=1).sum()), len(own)) for own in found]
            return torch.stack(found).mean(dim=0)

        passes = [each for batch in reading.held_out for each in reading.passes(batch, fixed(batch, reading.training))]
        found = validation.measure(passes, distances, reading.ranks, reading.device)
        every = {key: value for own in reading.ranks.gather(seen) for key, value in own.items()}
        by_scale = [
            sum(total for total, _ in column) / sum(count for _, count in column)
            for column in zip(*every.values(), strict=True)
        ]
        found |= {f"g{scale:g}/loss": value for scale, value in zip(settings.judged, by_scale, strict=True)}
        mean = sum(by_scale) / len(by_scale)
        return found | {"flatness": max(by_scale) / mean if mean else 1.0}


def _by_scale(losses: Tensor, scales: Tensor, highest: float) -> dict[str, Tensor]:
    """Means of losses (b,) where the scale is 1 and in each of BINS parts of the law above it, nan where none is."""
    place = ((scales - 1) / (highest - 1) * BINS).long().clamp(max=BINS - 1)
    chosen = {"g_one": scales == 1} | {f"g{index}": (place == index) & (scales > 1) for index in range(BINS)}
    own = losses.float()
    return {name: (own * each.to(own.device)).sum() / int(each.sum()) for name, each in chosen.items()}


def _psnr(one: np.ndarray, other: np.ndarray) -> float:
    """PSNR in dB of pictures (H, W, 3) uint8; at most EQUAL_DB."""
    error = float(np.square(one.astype(np.float64) - other).mean())
    return min(EQUAL_DB, 10 * float(np.log10(255**2 / error))) if error else EQUAL_DB


def _check(reading: FlowStage, teacher: Teacher) -> None:
    student, training = reading.flow.config, reading.training
    if not student.guidance_embed or teacher.flow.config.guidance_embed:
        raise ConfigError(
            f"guidance_embed: {student.guidance_embed} of the student, {teacher.flow.config.guidance_embed} of the "
            "teacher; a student with an embedding and a teacher without one accepted; make the student by with_guidance"
        )
    if replace(student, guidance_embed=False) != teacher.flow.config:
        raise ConfigError(
            f"teacher: {teacher.flow.config}, and the student's is {student}; the same but for guidance_embed "
            "accepted; make the student from this teacher by with_guidance"
        )
    if training.train_text:
        raise ConfigError("train_text=true: the teacher reads the same text encoder, which must stay; set it to false")
    if training.guidance_loss is not None:
        raise ConfigError(f"guidance_loss={training.guidance_loss}: this stage has its own target; leave it out")
    if "adapters" in reading.networks and not all(p.requires_grad for p in reading.flow.guidance_in.parameters()):
        raise ConfigError(
            "adapters: the guidance embedding is frozen, and it must learn; attach them by embedding.attach"
        )
