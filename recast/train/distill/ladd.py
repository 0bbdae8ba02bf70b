"""Latent adversarial distillation: a student of few steps, judged by heads on its frozen teacher's own blocks.

The teacher is asked three times: for the pictures that count as real, for features of real and of the student's
pictures, noised alike, and so, with the heads, for what is wrong with the student's. No picture is decoded.

    fake     the student's clean picture from one state of it, as in `adversarial`
    u, e     a noise level and noise, the same for both:   (1 - u) real + u e,  (1 - u) fake + u e
    heads    on the teacher's target tokens after some blocks: a logit a place

Source: Sauer et al. 2024 (arXiv 2403.12015), section 3; arXiv 2506.15742, section 3, for pictures with context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from recast.flow.path import interpolate
from recast.flow.transformer import Condition
from recast.train.distill import heads as critic
from recast.train.distill.adversarial import AdversarialStage, Extra
from recast.train.distill.heads import Heads
from recast.train.distill.ladd_parts import Draws, LatentPart
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.pairs import PairBatch
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import BACKWARD, FlowStage
from recast.train.settings import Optimiser
from recast.train.uses import Pass


class LaddStage(AdversarialStage[LatentPart, LaddSettings]):
    """An adversarial stage in latents. heads: made by `Heads` from the teacher's config. See `AdversarialStage`."""

    name = "ladd"
    heads: Heads

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
        super().__init__(
            reading, teacher, heads, settings, discriminator_optimiser=discriminator_optimiser, held_out=held_out
        )
        critic.check_heads(heads.taps, settings.heads.blocks(teacher.flow.config))

    # What heads see.

    @torch.no_grad()
    def _part(self, each: Pass, real: Tensor, start: Tensor, is_end: Tensor, draws: Draws) -> LatentPart:
        reading = self.reading
        with reading.autocast():
            condition = reading.condition(each, each.prompts, self.settings.scale_of(each), self.teacher.flow)
            text = critic.text_vector(reading.encode(each.prompts))
        level = self.settings.levels(self.mu(each)).times(*draws.level, each.clean.shape[1])
        return LatentPart(
            each=each,
            real=real.float(),
            start=start,
            is_end=is_end,
            level=level.to(reading.device),
            condition=condition,
            text=text.float(),
            draws=draws,
        )

    def _see(
        self, part: LatentPart, clean: Tensor, condition: Condition | None = None, shift: Tensor | None = None
    ) -> list[Tensor]:
        """The heads' inputs of clean tokens (k, n, d): noised once, by the part's own level and noise, and shifted.

        condition: another than the part's own.
        """
        noised, _ = interpolate(clean, part.draws.over, part.level)
        with self.reading.autocast():
            features = self.teacher.features(
                noised if shift is None else noised + shift,
                part.level,
                part.condition if condition is None else condition,
                self.heads.taps,
            )
        return critic.inputs(features)

    def _told(self, part: LatentPart, given: Sequence[Tensor], text: Tensor | None = None) -> tuple[Any, ...]:
        return given, part.each.grid, part.level, part.text if text is None else text

    # Negatives and penalties.

    def _extras(self, part: LatentPart, given: Sequence[Tensor], real: Sequence[Tensor]) -> Iterator[Extra]:
        settings, all_have = self.settings, torch.ones_like(part.is_end)
        if settings.mispaired:
            yield Extra("mispaired", settings.mispaired, *self._mispaired(part))
        if settings.copies and part.each.context is not None:
            yield Extra("copies", settings.copies, *self._copies(part, part.each.context))
        if settings.approximate_r1:
            with torch.no_grad():
                moved = self._see(part, part.real, shift=settings.approximate_r1_noise * part.draws.disturbance)
            value = critic.difference(real, self._judge(part, moved))
            yield Extra("approximate_r1", settings.approximate_r1, value, all_have)
        if settings.r1:
            yield Extra("r1", settings.r1, critic.gradient_penalty(real, given), all_have)

    @property
    def _extra_names(self) -> tuple[str, ...]:
        names = ("mispaired", "copies", "approximate_r1", "r1")
        return tuple(name for name in names if getattr(self.settings, name))

    def _mispaired(self, part: LatentPart) -> tuple[Tensor, Tensor]:
        """The hinge (k,) on real pictures under the next example's words, as fakes; and where these are other words."""
        with torch.no_grad(), self.reading.autocast():
            text = self.reading.encode(part.others)
            condition = self.teacher.flow.with_text(part.condition, text.tokens, text.pooled)
            given = self._see(part, part.real, condition)
        logits = self._judge(part, given, critic.text_vector(text))
        return critic.fake_hinge(logits), self._have_others(part)

    def _copies(self, part: LatentPart, context: Tensor) -> tuple[Tensor, Tensor]:
        """The hinge (k,) on a context (of all, (k, r, d)) in the target's place, as a fake; and where that is wrong.

        It is one of the target's grid, drawn. To keep a picture is to copy it, and so is an edit that finds nothing to
        change; copying is what no other edit asks for.
        """
        each, device = part.each, self.reading.device
        runs = context.split([rows * columns for rows, columns in each.context_grids], dim=1)
        alike = [run for run, grid in zip(runs, each.context_grids, strict=True) if grid == each.grid]
        is_wrong = [use.kind == "edit" and not use.is_copy and bool(alike) for use in each.uses]
        row = torch.arange(len(each.uses), device=device)
        chosen = (part.draws.context * len(alike)).long().to(device)
        copied = torch.stack(alike)[chosen, row].float() if alike else part.real
        with torch.no_grad():
            given = self._see(part, copied)
        return critic.fake_hinge(self._judge(part, given)), torch.tensor(is_wrong, device=device)

    def _work(self, each: Pass) -> float:
        """FLOPs on a pass: the student's states and its picture, what teacher and heads look at, and the ways back."""
        settings, turn = self.settings, float(self._is_turn)
        step, condition = self.work(each)
        config = self.teacher.flow.config
        look = step * (max(self.heads.taps) + 1) / (config.depth + config.depth_single_blocks)
        judged = len(each.uses) * self.heads.flops(each.grid)
        looks = 2 + bool(settings.mispaired) + bool(settings.approximate_r1)
        looks += bool(settings.copies and each.context is not None)
        return self._student_work(each) + condition + looks * (look + BACKWARD * judged) + turn * (look + 2 * judged)
