"""Latent adversarial distillation: a student of few steps, judged by heads on its frozen teacher's own blocks.

The teacher is asked three times: for the pictures that count as real, for features of real and of the student's
pictures, noised alike, and so, with the heads, for what is wrong with the student's. No picture is decoded.

    x_t, t      a state of the student on its grid           fake = x_t - t v_student(x_t, t)
    u, e        a noise level and noise, the same for both   (1 - u) real + u e,  (1 - u) fake + u e
    heads       on the teacher's target tokens after some blocks: a logit a place

The student's phase comes first: it leaves its pictures, and what the heads see of them, to the discriminator's.
Source: Sauer et al. 2024 (arXiv 2403.12015), section 3; arXiv 2506.15742, section 3, for pictures with context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from recast.errors import ConfigError
from recast.flow.path import interpolate
from recast.flow.sampler import Sampler
from recast.flow.transformer import Condition
from recast.train.data.example import Batch
from recast.train.distill import heads as critic
from recast.train.distill import student
from recast.train.distill.asking import asked
from recast.train.distill.gate import Gate
from recast.train.distill.heads import Heads
from recast.train.distill.ladd_parts import Draws, Part, Prepared
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.paired import PairedStage, at_one_time, distance
from recast.train.distill.pairs import PairBatch
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import BACKWARD, FlowStage
from recast.train.settings import Optimiser
from recast.train.sharded import reshard
from recast.train.stage import Loss, Phase
from recast.train.uses import Pass

SAME = 1e-6
"""Scales of guidance that are no further apart are the same one."""


class LaddStage(PairedStage):
    """A student of few steps as `stage.Stage`: phases "generator", the student's, and "discriminator".

    reading: a `FlowStage` of the student, wrapped as ever, or of adapters on it; it reads batches, encodes pictures and
    words and draws the panel. teacher: a network of its own, its sequence whole. heads: made by `Heads` from the
    teacher's config, on the device, whole in every process (`parallel.wrap` without checkpointing). A batch is a
    `PairBatch`, or one of pictures, of which the teacher makes what counts as real. Saved are the student, "heads" and
    "gate". held_out: as in `PairedStage`.
    Where the discriminator stays blind and the settings say so, `is_shut` is true from then on and nothing moves any
    more: `loop.run` may take it as `should_stop`.
    Raises ConfigError where these do not fit each other.
    """

    name = "ladd"

    def __init__(
        self,
        reading: FlowStage,
        teacher: Teacher,
        heads: Heads,
        settings: LaddSettings,
        *,
        discriminator_optimiser: Optimiser,
        held_out: Sequence[PairBatch] = (),
    ) -> None:
        _check(reading, teacher, heads, settings)
        super().__init__(reading, steps=settings.law.steps, shifts_schedule=settings.shifts_schedule, held_out=held_out)
        self.teacher, self.heads, self.settings, self.gate = teacher, heads, settings, Gate()
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

    def prepare(self, batch: Batch | PairBatch, share: float) -> Prepared:
        """What counts as real, what it is noised with and what the teacher is told, for each pass of the batch.

        Raises ConfigError for pairs made with another guidance than the settings', or in no more steps than the
        student's; TrainingError where the discriminator is blind at the end of its warm-up.
        """
        self.gate.count()
        if self.gate.is_undecided and share >= self.settings.generator_from:
            self.gate.decide(self.settings.accuracy_needed, self.settings.blind)
        if isinstance(batch, PairBatch):
            self._check_pairs(batch)
            batch = batch.to(self.reading.device)
            prepared = Prepared([self._of_pairs(batch)], len(batch.numbers))
        else:
            found = self.reading.prepare(batch, share)
            prepared = Prepared([self._of_pictures(each) for each in found.passes], found.count)
        self._flops = sum(self._work(part.each) for part in prepared.parts)
        return prepared

    def loss(self, phase: str, prepared: Prepared, share: float) -> Loss | None:
        """The loss of "generator", None on steps that are not its own, or of "discriminator"."""
        if self.gate.is_shut:
            return None
        if phase == "generator":
            return self._generator_loss(prepared, share) if self._is_turn else None
        return self._discriminator_loss(prepared, share)

    def flops(self, batch: Batch | PairBatch) -> float:
        """Of the batch prepared last; what the teacher makes of pictures is not counted."""
        return self._flops

    def count(self, batch: Batch | PairBatch) -> int:
        return batch.of if isinstance(batch, PairBatch) else self.reading.count(batch)

    def seen(self, each: Pass, noise: Tensor, guidance: float, walk: Sampler | None = None) -> list[Tensor]:
        """As `PairedStage.seen`, by the student's own sampler, its fresh noise drawn by the examples' numbers."""
        walk = walk or self._walk(self._draws(each).fresh)
        return super().seen(each, noise, guidance, walk)

    @property
    def _is_turn(self) -> bool:
        """Whether the step of the batch prepared last moves the student."""
        return self.gate.is_open and self.gate.turn(self.settings.discriminator_steps, self.reading.run.accumulate)

    # The two losses.

    def _generator_loss(self, prepared: Prepared, share: float) -> Loss:
        """What the heads say of the student's pictures; gradients go through heads and teacher, and stay in neither."""
        settings, total = self.settings, torch.zeros((), device=self.reading.device)
        frozen = {name: parameter.detach() for name, parameter in self.heads.named_parameters()}
        rows: list[dict[str, Tensor]] = []
        for part in prepared.parts:
            fake = self._fake(part, share)
            given = self._see(part, fake, part.condition)
            logits = functional_call(self.heads, frozen, (given, part.each.grid, part.level, part.text))
            judged = critic.adversarial(logits)
            losses, row = settings.adversarial * judged, {"adversarial": judged.detach()}
            if settings.regression:
                apart = distance(fake, part.real, "l1")
                row["regression"] = torch.where(part.is_end, apart.detach(), torch.nan)
                losses = losses + settings.regression * apart * part.is_end
            spread = (fake.detach().flatten(1).std(dim=1), part.real.flatten(1).std(dim=1))
            row["std_ratio"] = spread[0] / spread[1]
            total = total + losses.sum() * float(part.each.counts)
            rows += [row] * part.each.counts
            part.fake, part.seen = fake.detach(), [each.detach() for each in given]
        return Loss(total / prepared.count, _means(rows))

    def _discriminator_loss(self, prepared: Prepared, share: float) -> Loss:
        """The hinge of every head at every place, on real and fake, and the penalties; nothing reaches the student."""
        settings, total = self.settings, torch.zeros((), device=self.reading.device)
        rows: list[dict[str, Tensor]] = []
        for part in prepared.parts:
            if part.fake is None or part.seen is None:
                with torch.no_grad():
                    part.fake = self._fake(part, share)
                    part.seen = self._see(part, part.fake, part.condition)
            with torch.no_grad():
                given = self._see(part, part.real, part.condition)
            if settings.r1:
                given = [each.requires_grad_() for each in given]
            real, fake = self._judge(part, given), self._judge(part, part.seen)
            losses = critic.real_hinge(real) + critic.fake_hinge(fake)
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

    def _extras(
        self, part: Part, given: Sequence[Tensor], real: Sequence[Tensor]
    ) -> Iterator[tuple[str, float, Tensor, Tensor]]:
        """Names, weights and values (k,) of negatives and penalties, and which examples have them, (k,) bool.

        given, real: the heads' inputs of real pictures, and their logits.
        """
        settings, all_have = self.settings, torch.ones_like(part.is_end)
        if settings.mispaired:
            yield "mispaired", settings.mispaired, *self._mispaired(part)
        if settings.copies and part.each.context is not None:
            yield "copies", settings.copies, *self._copies(part, part.each.context)
        if settings.approximate_r1:
            with torch.no_grad():
                shift = settings.approximate_r1_noise * part.draws.disturbance
                moved = self._see(part, part.real, part.condition, shift)
            value = critic.difference(real, self._judge(part, moved))
            yield "approximate_r1", settings.approximate_r1, value, all_have
        if settings.r1:
            yield "r1", settings.r1, critic.gradient_penalty(real, given), all_have

    @property
    def _names(self) -> tuple[str, ...]:
        """Of what is logged of the discriminator, always and in every process."""
        settings = self.settings
        extras = [name for name in ("mispaired", "copies", "approximate_r1", "r1") if getattr(settings, name)]
        each = [f"{kind}{index}" for index in range(len(self.heads.taps)) for kind in ("real", "fake")]
        return ("accuracy", *each, *extras)

    # What heads see.

    def _see(self, part: Part, clean: Tensor, condition: Condition, shift: Tensor | None = None) -> list[Tensor]:
        """The heads' inputs of clean tokens (k, n, d): noised once, by the part's own level and noise, and shifted."""
        noised, _ = interpolate(clean, part.draws.over, part.level)
        with self.reading.autocast():
            features = self.teacher.features(
                noised if shift is None else noised + shift, part.level, condition, self.heads.taps
            )
        return critic.inputs(features)

    def _judge(self, part: Part, given: Sequence[Tensor], text: Tensor | None = None) -> list[Tensor]:
        with self.reading.autocast():
            logits: list[Tensor] = self.heads(given, part.each.grid, part.level, part.text if text is None else text)
        return logits

    def _mispaired(self, part: Part) -> tuple[Tensor, Tensor]:
        """The hinge (k,) on real pictures under the next example's words, as fakes; and where these are other words.

        The next one of this pass, in this process: of an example that is alone there is none.
        """
        prompts = part.each.prompts
        others = (*prompts[1:], prompts[0])
        with torch.no_grad(), self.reading.autocast():
            text = self.reading.encode(others)
            condition = self.teacher.flow.with_text(part.condition, text.tokens, text.pooled)
            given = self._see(part, part.real, condition)
        is_wrong = torch.tensor([one != other for one, other in zip(prompts, others, strict=True)])
        logits = self._judge(part, given, critic.text_vector(text))
        return critic.fake_hinge(logits), is_wrong.to(self.reading.device)

    def _copies(self, part: Part, context: Tensor) -> tuple[Tensor, Tensor]:
        """The hinge (k,) on a context (of all, (k, r, d)) in the target's place, as a fake; and where that is wrong.

        It is one of the target's grid, drawn. Copying is what no edit asks for; to keep a picture is to copy it.
        """
        each, device = part.each, self.reading.device
        runs = context.split([rows * columns for rows, columns in each.context_grids], dim=1)
        alike = [run for run, grid in zip(runs, each.context_grids, strict=True) if grid == each.grid]
        is_edit = torch.tensor([use.kind == "edit" and bool(alike) for use in each.uses], device=device)
        row = torch.arange(len(each.uses), device=device)
        chosen = (part.draws.context * len(alike)).long().to(device)
        copied = torch.stack(alike)[chosen, row].float() if alike else part.real
        with torch.no_grad():
            given = self._see(part, copied, part.condition)
        return critic.fake_hinge(self._judge(part, given)), is_edit

    # The student's pictures.

    def _fake(self, part: Part, share: float) -> Tensor:
        """The student's clean tokens (k, n, d) from one state of each example; with a graph where gradients are on."""
        k = self.settings.law.index(part.draws.time, share)
        x_t, t = self._states(part, k)
        return student.clean(x_t, self.velocity(part.each, self.settings.guidance)(x_t, t), t)

    @torch.no_grad()
    def _states(self, part: Part, k: Tensor) -> tuple[Tensor, Tensor]:
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
            velocity = at_one_time(self.velocity(part.each, self.settings.guidance))
            walk = self._walk(part.draws.fresh)
            own = student.roll_in(velocity, part.start, times, walked, walk=walk, evaluations=together)
            x_t = torch.where(is_own.to(x_t.device)[:, None, None], own, x_t)
        return x_t, t

    def _walk(self, fresh: Tensor) -> Sampler:
        noises = iter(fresh)
        return student.sampler(self.settings.sampler, lambda: next(noises))

    # Batches to parts.

    def _check_pairs(self, batch: PairBatch) -> None:
        settings = self.settings
        if abs(batch.guidance - settings.guidance) > SAME:
            raise ConfigError(
                f"guidance={settings.guidance}: the pairs were made with {batch.guidance}; the same accepted: what "
                "counts as real sets what the student learns; write other pairs, or set guidance to theirs"
            )
        if batch.steps <= self.steps:
            raise ConfigError(
                f"pairs: made in {batch.steps} steps, for a student of {self.steps}; more needed, 25 to 50 are usual; "
                "write other pairs"
            )

    def _of_pairs(self, batch: PairBatch) -> Part:
        draws = self._draws(batch.each)
        is_paired = self.settings.paired_noise
        is_end = torch.full((len(batch.numbers),), is_paired, device=self.reading.device)
        return self._part(batch.each, batch.each.clean, batch.noise if is_paired else draws.start, is_end, draws)

    @torch.no_grad()
    def _of_pictures(self, each: Pass) -> Part:
        """Pictures themselves as real, by the share of them, else what the teacher makes from the student's noise."""
        settings, draws = self.settings, self._draws(each)
        is_end = (draws.picture >= settings.pictures).to(self.reading.device)
        real = each.clean.float()
        if settings.pictures < 1:
            noise = draws.start if settings.paired_noise else draws.end
            with self.reading.autocast():
                condition, null, scale = asked(self.reading, self.teacher.flow, each, settings.guidance)
                ends = self.teacher.endpoint(
                    noise, condition, null, steps=settings.teacher_steps, guidance=scale, mu=self.mu(each)
                )
            real = torch.where(is_end[:, None, None], ends, real)
        return self._part(each, real, draws.start, is_end & settings.paired_noise, draws)

    @torch.no_grad()
    def _part(self, each: Pass, real: Tensor, start: Tensor, is_end: Tensor, draws: Draws) -> Part:
        reading = self.reading
        with reading.autocast():
            condition = reading.condition(each, each.prompts, self.settings.guidance, self.teacher.flow)
            text = critic.text_vector(reading.encode(each.prompts))
        level = self.settings.levels(self.mu(each)).times(*draws.level, each.clean.shape[1])
        return Part(each, real.float(), start, is_end, level.to(reading.device), condition, text.float(), draws)

    def _draws(self, each: Pass) -> Draws:
        return Draws.of(each, seed=self.reading.run.seed, steps=self.steps, device=self.reading.device)

    def _work(self, each: Pass) -> float:
        """FLOPs on a pass: the student's states and its picture, what teacher and heads look at, and the ways back."""
        settings, turn = self.settings, float(self._is_turn)
        step, condition = self.work(each)
        total = (step + condition) * (1 + (BACKWARD - 1) * turn)
        if settings.on_policy:
            total += (self.steps - 1) * step + condition
        config = self.teacher.flow.config
        look = step * (max(self.heads.taps) + 1) / (config.depth + config.depth_single_blocks)
        judged = len(each.uses) * self.heads.flops(each.grid)
        looks = 2 + bool(settings.mispaired) + bool(settings.approximate_r1)
        looks += bool(settings.copies and each.context is not None)
        return total + condition + looks * (look + BACKWARD * judged) + turn * (look + 2 * judged)


def _means(rows: Sequence[dict[str, Tensor]], names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """The mean of each name over the examples of all passes that have a number for it; nan where none has."""
    found = {name: [row[name].float() for row in rows if name in row] for name in names or rows[0]}
    nothing = next(iter(rows[0].values())).new_full((), torch.nan)
    return {name: torch.cat(each).nanmean() if each else nothing for name, each in found.items()}


def _check(reading: FlowStage, teacher: Teacher, heads: Heads, settings: LaddSettings) -> None:
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
    wanted = settings.heads.blocks(other.config)
    if heads.taps != wanted:
        raise ConfigError(f"heads: made for blocks {heads.taps}, settings.heads says {wanted}; make them by the same")
