"""What adversarial distillations of few-step students have in common, whatever their discriminator looks at.

    x_t, t   a state of the student on its grid: something real, noised, or where its own walk stands
    fake     x_t - t v_student(x_t, t)

The student's phase comes first: it leaves its pictures, and what the heads see of them, to the discriminator's. The
student follows its discriminator from the end of a warm-up on, if that sees anything by then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.func import functional_call

from recast.errors import ConfigError
from recast.flow.path import interpolate
from recast.flow.sampler import Sampler
from recast.train.data.example import Batch
from recast.train.distill import heads as critic
from recast.train.distill import student
from recast.train.distill.adversarial_settings import AdversarialSettings
from recast.train.distill.asking import asked
from recast.train.distill.beside import Mixed
from recast.train.distill.distance import distance, outside
from recast.train.distill.gate import Gate
from recast.train.distill.heads import Heads
from recast.train.distill.ladd_parts import Draws, P, Prepared
from recast.train.distill.paired import PairedStage, at_one_time, check_guidance
from recast.train.distill.pairs import PairBatch
from recast.train.distill.pixel_heads import PixelHeads
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import BACKWARD, FlowStage
from recast.train.settings import Optimiser
from recast.train.sharded import reshard
from recast.train.stage import Loss, Phase
from recast.train.uses import Pass

S = TypeVar("S", bound=AdversarialSettings)


class Extra(NamedTuple):
    """A loss of some examples beside the judgement."""

    name: str
    weight: float
    value: Tensor  # (k,)
    has: Tensor  # (k,) bool: which examples have it


class AdversarialStage(PairedStage, ABC, Generic[P, S]):
    """A student of few steps as `stage.Stage`: phases "generator", the student's, and "discriminator".

    reading: a `FlowStage` of the student, wrapped as ever, or of adapters on it; it reads batches, encodes pictures and
    words and draws the panel. teacher: a network of its own, its sequence whole. heads: whole in every process, as
    `heads.shared` makes them. A batch is a `PairBatch`, one of pictures, of which the teacher makes what counts as real
    but for the share of them that does so themselves, or `Mixed`: both, where what is real is the pairs' endpoints and
    the pictures themselves. Saved are the student, "heads" and "gate". held_out: as in `PairedStage`.
    Where the discriminator stays blind and the settings say so, `is_shut` is true from then on and nothing moves any
    more: `loop.run` may take it as `should_stop`.
    Raises ConfigError where these do not fit each other, held-out pairs included.
    """

    heads: Heads | PixelHeads

    def __init__(
        self,
        reading: FlowStage,
        teacher: Teacher,
        heads: Heads | PixelHeads,
        settings: S,
        *,
        discriminator_optimiser: Optimiser,
        held_out: Sequence[PairBatch] = (),
    ) -> None:
        _check(reading, teacher, settings)
        super().__init__(reading, steps=settings.law.steps, shifts_schedule=settings.shifts_schedule, held_out=held_out)
        self.teacher, self.heads, self.settings, self.gate = teacher, heads, settings, Gate()
        for judged in held_out:
            self._check_pairs(judged)
        self.phases = [
            Phase(name="generator", networks=tuple(reading.networks), optimiser=reading.phases[0].optimiser),
            Phase(name="discriminator", networks=("heads",), optimiser=discriminator_optimiser),
        ]
        self.networks |= {"heads": heads, "gate": self.gate}
        self._flops = 0.0  # of the batch prepared last

    @property
    def is_shut(self) -> bool:
        return self.gate.is_shut

    # What the loop asks.

    def prepare(self, batch: Batch | PairBatch | Mixed, share: float) -> Prepared[P]:
        """What counts as real, and what is drawn, for each pass of the batch.

        Raises ConfigError for pairs made with another guidance than the settings', or in no more steps than the
        student's, for a stream without pictures, or with them, where the settings say otherwise, and for mispaired
        negatives of a single example; TrainingError where the discriminator is blind at the end of its warm-up.
        """
        self.gate.count()
        if self.gate.is_undecided and share >= self.settings.generator_from:
            self.gate.decide(self.settings.accuracy_needed, self.settings.blind)
        prepared = self._prepared(batch, share)
        if self.settings.mispaired:
            self._pair_words_anew(prepared)
        self._flops = sum(self._work(part.each) for part in prepared.parts)
        return prepared

    def loss(self, phase: str, prepared: Prepared[P], share: float) -> Loss | None:
        """The loss of "generator", None on steps that are not its own, or of "discriminator"."""
        if self.gate.is_shut:
            return None
        if phase == "generator":
            return self._generator_loss(prepared, share) if self._is_turn else None
        return self._discriminator_loss(prepared, share)

    def flops(self, batch: Batch | PairBatch | Mixed) -> float:
        """Of the batch prepared last; what the teacher makes of pictures is not counted."""
        return self._flops

    def count(self, batch: Batch | PairBatch | Mixed) -> int:
        if isinstance(batch, Mixed):
            return batch.pairs.of + self.reading.count(batch.pictures)
        return batch.of if isinstance(batch, PairBatch) else self.reading.count(batch)

    def seen(self, each: Pass, noise: Tensor, guidance: float, walk: Sampler | None = None) -> list[Tensor]:
        """As `PairedStage.seen`, by the student's own sampler, its fresh noise drawn by the examples' numbers."""
        walk = walk or self._walk(self._draws(each).fresh)
        return super().seen(each, noise, guidance, walk)

    @property
    def _is_turn(self) -> bool:
        """Whether the step of the batch prepared last moves the student."""
        return self.gate.is_open and self.gate.turn(self.settings.discriminator_steps, self.reading.run.accumulate)

    # What kinds of them differ in.

    @abstractmethod
    def _part(self, each: Pass, real: Tensor, start: Tensor, is_end: Tensor, draws: Draws) -> P: ...

    @abstractmethod
    def _see(self, part: P, clean: Tensor) -> list[Tensor]:
        """The heads' inputs of clean tokens (k, n, d); a graph leads from them to `clean` where gradients are on."""

    @abstractmethod
    def _told(self, part: P, given: Sequence[Tensor], text: Tensor | None = None) -> tuple[Any, ...]:
        """What heads are called with. given: their inputs. text: another than the part's own."""

    @abstractmethod
    def _work(self, each: Pass) -> float:
        """FLOPs on a pass."""

    def _extras(self, part: P, given: Sequence[Tensor], real: Sequence[Tensor]) -> Iterator[Extra]:
        """Negatives and penalties. given, real: the heads' inputs of what is real, and their logits."""
        yield from ()

    def _lessons(self, part: P, fake: Tensor) -> tuple[list[Tensor], list[Extra]]:
        """The heads' inputs of the student's pictures, and what else teaches it."""
        return self._see(part, fake), []

    @property
    def _extra_names(self) -> tuple[str, ...]:
        return ()

    @property
    def _judgements(self) -> float:
        """How often the mean over heads counts in both losses."""
        return 1.0

    # The two losses.

    def _generator_loss(self, prepared: Prepared[P], share: float) -> Loss:
        """What the heads say of the student's pictures; gradients go through heads and what they look through, and stay
        in neither.
        """
        settings, total = self.settings, torch.zeros((), device=self.reading.device)
        frozen = {name: parameter.detach() for name, parameter in self.heads.named_parameters()}
        rows: list[dict[str, Tensor]] = []
        for part in prepared.parts:
            fake = self._fake(part, share)
            given, extras = self._lessons(part, fake)
            with self.reading.autocast():
                logits = functional_call(self.heads, frozen, self._told(part, given))
            judged = self._judgements * critic.adversarial(logits)
            losses, row = settings.adversarial * judged, {"adversarial": judged.detach()}
            if settings.regression:
                extras.append(Extra("regression", settings.regression, distance(fake, part.real, "l1"), part.is_end))
            if settings.outside:
                extras.append(Extra("outside", settings.outside, *outside(fake, part.each, "l1")))
            for name, weight, value, has in extras:
                row[name] = torch.where(has, value.detach(), torch.nan)
                losses = losses + weight * torch.where(has, value, 0.0)
            spread = (fake.detach().flatten(1).std(dim=1), part.real.flatten(1).std(dim=1))
            row["std_ratio"] = spread[0] / spread[1]
            total = total + losses.sum() * float(part.each.counts)
            rows += [row] * part.each.counts
            part.fake, part.seen = fake.detach(), [each.detach() for each in given]
        return Loss(total / prepared.count, _means(rows))

    def _discriminator_loss(self, prepared: Prepared[P], share: float) -> Loss:
        """The hinge of every head at every place, on real and fake, and the penalties; nothing reaches the student."""
        settings, total = self.settings, torch.zeros((), device=self.reading.device)
        rows: list[dict[str, Tensor]] = []
        for part in prepared.parts:
            if part.fake is None or part.seen is None:
                with torch.no_grad():
                    part.fake = self._fake(part, share)
                    part.seen = self._see(part, part.fake)
            with torch.no_grad():
                given = self._see(part, part.real)
            if settings.r1:
                given = [each.requires_grad_() for each in given]
            real, fake = self._judge(part, given), self._judge(part, part.seen)
            losses = self._judgements * (critic.real_hinge(real) + critic.fake_hinge(fake))
            row = {"accuracy": (critic.share_above(real) + 1 - critic.share_above(fake)) / 2}
            for index, (one, other) in enumerate(zip(real, fake, strict=True)):
                row |= {f"real{index}": one.detach().mean(dim=(1, 2)), f"fake{index}": other.detach().mean(dim=(1, 2))}
            for name, weight, value, has in self._extras(part, given, real):
                losses = losses + weight * torch.where(has, value, 0.0)
                row[name] = torch.where(has, value.detach(), torch.nan)
            total = total + losses.sum() * float(part.each.counts)
            rows += [row] * part.each.counts
        if not self._is_turn:
            reshard(self.reading.flow)  # it ran without a backward pass
        parts = _means(rows, names=self._names)
        if self.gate.is_undecided:
            self.gate.note(self.reading.ranks.mean({"accuracy": parts["accuracy"]})["accuracy"])
        return Loss(total / prepared.count, parts)

    @property
    def _names(self) -> tuple[str, ...]:
        """Of what is logged of the discriminator, always and in every process."""
        each = [f"{kind}{index}" for index in range(len(self.heads.taps)) for kind in ("real", "fake")]
        return ("accuracy", *each, *self._extra_names)

    def _judge(self, part: P, given: Sequence[Tensor], text: Tensor | None = None) -> list[Tensor]:
        with self.reading.autocast():
            logits: list[Tensor] = self.heads(*self._told(part, given, text))
        return logits

    # The student's pictures.

    def _fake(self, part: P, share: float) -> Tensor:
        """The student's clean tokens (k, n, d) from one state of each example; with a graph where gradients are on."""
        k = self.settings.law.index(part.draws.time, share)
        x_t, t = self._states(part, k)
        return student.clean(x_t, self.velocity(part.each, self.settings.scale_of(part.each))(x_t, t), t)

    @torch.no_grad()
    def _states(self, part: P, k: Tensor) -> tuple[Tensor, Tensor]:
        """States x_t (k, n, d) at times[k], and those times (k,): real tokens noised, or where its own walk stands.

        k (k,) int64, on the CPU: which time of the student's grid.
        """
        times = self.times(part.each)
        t = torch.tensor(times)[k].to(part.real.device)
        x_t, _ = interpolate(part.real, part.start, t)
        is_own = part.draws.on_policy < self.settings.on_policy
        if self.settings.on_policy:
            walked = torch.where(is_own, k, 0)  # no further than someone needs
            together = self.steps - 1 if self.reading.ranks.size > 1 else None
            velocity = at_one_time(self.velocity(part.each, self.settings.scale_of(part.each)))
            walk = self._walk(part.draws.fresh)
            own = student.roll_in(velocity, part.start, times, walked, walk=walk, evaluations=together)
            x_t = torch.where(is_own.to(x_t.device)[:, None, None], own, x_t)
        return x_t, t

    def _walk(self, fresh: Tensor) -> Sampler:
        noises = iter(fresh)
        return student.sampler(self.settings.sampler, lambda: next(noises))

    def _student_work(self, each: Pass) -> float:
        """FLOPs of the student's states and its picture, and of the way back where there is one."""
        step, condition = self.work(each)
        total = (step + condition) * (1 + (BACKWARD - 1) * float(self._is_turn))
        if self.settings.on_policy:
            total += (self.steps - 1) * step + condition
        return total

    # Batches to parts.

    def _prepared(self, batch: Batch | PairBatch | Mixed, share: float) -> Prepared[P]:
        pictures = self.settings.pictures
        if isinstance(batch, Mixed):
            if not 0 < pictures < 1:
                raise ConfigError(
                    f"pictures={pictures}: pictures came beside pairs, for a share above 0 and below 1; set theirs, or "
                    "read one of the two alone"
                )
            one, other = self._of_pairs(batch.pairs), self._of_pictures(batch.pictures, share, 1.0, stream=1)
            return Prepared(one.parts + other.parts, one.count + other.count)
        if not isinstance(batch, PairBatch):
            return self._of_pictures(batch, share, pictures)
        if pictures:
            raise ConfigError(
                f"pictures={pictures}: pairs alone came, in which there are none; pass them beside the pairs "
                "(beside.Beside), or set pictures=0"
            )
        return self._of_pairs(batch)

    def _of_pairs(self, batch: PairBatch) -> Prepared[P]:
        self._check_pairs(batch)
        here = batch.to(self.reading.device)
        draws, is_paired = self._draws(here.each), self.settings.paired_noise
        is_end = torch.full((len(here.numbers),), is_paired, device=self.reading.device)
        part = self._part(here.each, here.each.clean, here.noise if is_paired else draws.start, is_end, draws)
        return Prepared([part], len(here.numbers))

    def _of_pictures(self, batch: Batch, share: float, pictures: float, stream: int = 0) -> Prepared[P]:
        found = self.reading.prepare(batch, share)
        return Prepared([self._of_pass(each, pictures, stream) for each in found.passes], found.count)

    @torch.no_grad()
    def _of_pass(self, each: Pass, pictures: float, stream: int) -> P:
        """Pictures themselves as real, by the share of them, else what the teacher makes from the student's noise."""
        settings, draws = self.settings, self._draws(each, stream)
        is_end = (draws.picture >= pictures).to(self.reading.device)
        real = each.clean.float()
        if pictures < 1:
            noise = draws.start if settings.paired_noise else draws.end
            with self.reading.autocast():
                condition, null, scale = asked(self.reading, self.teacher.flow, each, settings.scale_of(each))
                ends = self.teacher.endpoint(
                    noise,
                    condition,
                    null,
                    steps=settings.teacher_steps,
                    guidance=scale,
                    mu=self.mu(each),
                    interval=settings.interval,
                    rescale=settings.rescale,
                )
            real = torch.where(is_end[:, None, None], ends, real)
        return self._part(each, real, draws.start, is_end & settings.paired_noise, draws)

    def _check_pairs(self, batch: PairBatch) -> None:
        check_guidance(self.settings, batch)
        if batch.steps <= self.steps:
            raise ConfigError(
                f"pairs: made in {batch.steps} steps, for a student of {self.steps}; more needed, 25 to 50 are usual; "
                "write other pairs"
            )

    def _pair_words_anew(self, prepared: Prepared[P]) -> None:
        """Give each example the words of the next one of the batch, all processes together: one may have a single one.

        All processes call it.
        """
        own = [  # two streams may have the same numbers; the pairs' part is the first
            (use.number, place, use.prompt)
            for place, part in enumerate(prepared.parts)
            if part.each.counts
            for use in part.each.uses
        ]
        every = sorted({each for there in self.reading.ranks.gather(own) for each in there})
        if len(every) == 1:
            raise ConfigError(
                f"mispaired={self.settings.mispaired}: a single example a step came, for which there are no other "
                "words; 2 or more accepted; raise the batch size, or set mispaired=0"
            )
        after = {one: words for one, (_, _, words) in zip(every, (*every[1:], *every[:1]), strict=True)}
        for place, part in enumerate(prepared.parts):
            part.others = tuple(after.get((use.number, place, use.prompt), use.prompt) for use in part.each.uses)

    def _have_others(self, part: P) -> Tensor:
        """Whether the words that an example is given are other words (k,) bool."""
        pairs = zip(part.each.prompts, part.others, strict=True)
        return torch.tensor([one != other for one, other in pairs], device=self.reading.device)

    def _draws(self, each: Pass, stream: int = 0) -> Draws:
        """stream: of several whose examples have the same numbers."""
        seed = self.reading.run.seed + (stream << 32)
        return Draws.of(each, seed=seed, steps=self.steps, device=self.reading.device)


def _means(rows: Sequence[Mapping[str, Tensor]], names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """The mean of each name over the examples of all passes that have a number for it; nan where none has."""
    found = {name: [row[name].float() for row in rows if name in row] for name in names or rows[0]}
    nothing = next(iter(rows[0].values())).new_full((), torch.nan)
    return {name: torch.cat(each).nanmean() if each else nothing for name, each in found.items()}


def _check(reading: FlowStage, teacher: Teacher, settings: AdversarialSettings) -> None:
    own, other = reading.flow, teacher.flow
    if own is other:
        raise ConfigError("teacher: the student's own network came; one of its own needed; pass a copy")
    sampling = reading.sampling
    if reading.panel and (sampling.steps, sampling.sampler) != (settings.law.steps, settings.sampler):
        raise ConfigError(
            f"panel_settings: {sampling.steps} steps by {sampling.sampler}, for a student of {settings.law.steps} by "
            f"{settings.sampler}; the student's own accepted, so that the panel shows what it does"
        )
    if own.config.out_channels != other.config.out_channels:
        raise ConfigError(
            f"teacher: tokens of {other.config.out_channels} channels, the student's have {own.config.out_channels}; "
            "both of one autoencoder accepted"
        )
