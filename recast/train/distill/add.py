"""Adversarial distillation in pixels: a student of few steps, judged by heads on frozen features of its pictures.

What came before `ladd`: every picture is decoded, and gradients lead back through the decoder.

    fake      the student's clean picture from one state of it, as in `adversarial`
    heads     on frozen features of decode(fake), beside those of decode(real), both clean: a logit a place
    distill   c(t) |decode(fake) - decode(taught)|^2, taught by one step of the teacher from fake, noised: see `score`

The student's loss is the sum over heads of minus the logits' mean, plus 2.5 times the distillation; the squared
distance is the mean over pixels. What is real is decoded too, so that the autoencoder's faults tell nothing.
Source: Sauer et al. 2023 (arXiv 2311.17042), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recast import cost
from recast.errors import ConfigError
from recast.flow.layers import layer_norm
from recast.latents.tokens import unpack
from recast.train.distill import heads as critic
from recast.train.distill import score
from recast.train.distill.add_settings import AddSettings
from recast.train.distill.adversarial import AdversarialStage, Extra
from recast.train.distill.augment import DRAWS, augmented
from recast.train.distill.ladd_parts import Draws, Part
from recast.train.distill.pairs import PairBatch
from recast.train.distill.pixel_features import PixelFeatures
from recast.train.distill.pixel_heads import PixelHeads
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import BACKWARD, FlowStage
from recast.train.objective import generator
from recast.train.settings import Optimiser
from recast.train.sharded import reshard
from recast.train.uses import Pass


@dataclass(kw_only=True)
class PixelPart(Part):
    """What heads on features of pictures need beside it."""

    source: Tensor  # (k, c'): of the pictures that are shown, 0 where there are none
    question: score.Question | None  # to the teacher; None where nothing is distilled
    window: Tensor  # (k, 2), in [0, 1): where what is decoded is cut out
    changes: Tensor  # (k, DRAWS), in [0, 1): of what features are taken of


class AddStage(AdversarialStage[PixelPart, AddSettings]):
    """An adversarial stage in pixels. See `AdversarialStage`.

    features: `pixel_features.DinoFeatures.load(folder, device)` where there are files, else
    `pixel_features.AutoencoderFeatures(reading.autoencoder)`; whole in every process, never trained, not saved: what
    `features.describe()` says belongs in the record of the run. heads: `PixelHeads(features, teacher.flow.config,
    settings.heads)`, initialised, then `heads.shared`. Raises ConfigError where these do not fit each other.
    """

    name = "add"
    heads: PixelHeads

    def __init__(
        self,
        reading: FlowStage,
        teacher: Teacher,
        features: PixelFeatures,
        heads: PixelHeads,
        settings: AddSettings,
        *,
        discriminator_optimiser: Optimiser,
        held_out: Sequence[PairBatch] = (),
    ) -> None:
        super().__init__(
            reading, teacher, heads, settings, discriminator_optimiser=discriminator_optimiser, held_out=held_out
        )
        critic.check_heads(heads.taps, settings.heads.of(features.depth))
        if settings.distill:
            score.check(teacher, settings.distill_weighting)
        self._token_px = reading.autoencoder.config.pixels_per_token
        if settings.crop_px is not None and settings.crop_px % self._token_px:
            raise ConfigError(
                f"crop_px={settings.crop_px}: whole tokens of {self._token_px} pixels needed; try "
                f"{max(settings.crop_px // self._token_px, 1) * self._token_px}"
            )
        self.features = features

    # What heads see.

    @torch.no_grad()
    def _part(self, each: Pass, real: Tensor, start: Tensor, is_end: Tensor, draws: Draws) -> PixelPart:
        reading, settings = self.reading, self.settings
        question = None
        with reading.autocast():
            text = critic.text_vector(reading.encode(each.prompts))
            if settings.distill:
                question = score.Question.of(
                    reading,
                    self.teacher,
                    each,
                    guidance=settings.scale_of(each),
                    weighting=settings.distill_weighting,
                    negative=settings.negative,
                )
        rows = [torch.rand(2 + DRAWS, generator=generator(draws.seed, number, "add")) for number in each.numbers]
        drawn = torch.stack(rows)
        return PixelPart(
            each=each,
            real=real.float(),
            start=start,
            is_end=is_end,
            text=text.float(),
            draws=draws,
            source=self._source(each),
            question=question,
            window=drawn[:, :2],
            changes=drawn[:, 2:],
        )

    def _see(self, part: PixelPart, clean: Tensor) -> list[Tensor]:
        return self._look(part, self._pixels(part, clean))

    def _look(self, part: PixelPart, pixels: Tensor) -> list[Tensor]:
        """The heads' inputs (k, h, v, d) of pixels (k, 3, H, W), changed by the part's own draws."""
        changed = augmented(pixels, part.changes, self.settings.augment)
        with self.reading.autocast():
            return critic.inputs(self.features.maps(changed, self.heads.taps))

    def _pixels(self, part: PixelPart, clean: Tensor) -> Tensor:
        """Clean tokens (k, n, d), decoded: pixels (k, 3, H, W) fp32, about [-1, 1], of the part's own window."""
        latents = unpack(clean, part.each.grid)
        rows, columns = self._decoded(part.each.grid)
        if (rows, columns) != part.each.grid:
            spare = torch.tensor([part.each.grid[0] - rows + 1, part.each.grid[1] - columns + 1])
            corners = (part.window * spare).long().tolist()
            cut = [
                one[:, 2 * top : 2 * (top + rows), 2 * left : 2 * (left + columns)]
                for one, (top, left) in zip(latents, corners, strict=True)
            ]
            latents = torch.stack(cut)
        with self.reading.autocast():
            return self.reading.autoencoder.decode(latents).float()

    def _source(self, each: Pass) -> Tensor:
        """The mean (k, c') of the vectors of all pictures shown, each of zero mean and unit variance; 0 for none."""
        if each.context is None:
            return torch.zeros(len(each.uses), self.features.pooled_width, device=self.reading.device)
        runs = each.context.split([rows * columns for rows, columns in each.context_grids], dim=1)
        vectors = []
        with self.reading.autocast():
            for run, grid in zip(runs, each.context_grids, strict=True):
                pixels = self.reading.autoencoder.decode(unpack(run.float(), grid))
                vectors.append(layer_norm(self.features.pooled(pixels.float()).float()))
        return torch.stack(vectors).mean(dim=0)

    def _told(self, part: PixelPart, given: Sequence[Tensor], text: Tensor | None = None) -> tuple[Any, ...]:
        return given, part.text if text is None else text, part.source

    def _decoded(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of tokens that are decoded of a grid."""
        most = self.settings.crop_px
        if most is None:
            return grid
        return min(grid[0], most // self._token_px), min(grid[1], most // self._token_px)

    # What is learned.

    def _lessons(self, part: PixelPart, fake: Tensor) -> tuple[list[Tensor], list[Extra]]:
        """The student's pictures are decoded once, for heads and teacher."""
        pixels, lessons = self._pixels(part, fake), []
        if part.question is not None:
            value = self._apart(part, fake.detach(), pixels, part.question)
            lessons.append(Extra("distill", self.settings.distill, value, torch.ones_like(part.is_end)))
        return self._look(part, pixels), lessons

    def _apart(self, part: PixelPart, fake: Tensor, pixels: Tensor, question: score.Question) -> Tensor:
        """The weighted squared distance (k,) of pixels (k, 3, H, W), decoded from fake (k, n, d), to what is taught."""
        _, quantile = part.draws.level
        t = quantile.float().to(fake.device)
        weighting = self.settings.distill_weighting
        with torch.no_grad():
            with self.reading.autocast():
                clean, weight = score.taught(self.teacher, fake, part.draws.over, t, question, weighting)
            reshard(self.teacher.flow)  # it runs without a backward pass
            wanted = self._pixels(part, clean)
        return weight * (pixels - wanted).square().mean(dim=(1, 2, 3))

    @property
    def _judgements(self) -> float:
        """The hinge is summed over heads, as published: what lambda weighs against."""
        return float(len(self.heads.taps))

    def _extras(self, part: PixelPart, given: Sequence[Tensor], real: Sequence[Tensor]) -> Iterator[Extra]:
        settings, all_have = self.settings, torch.ones_like(part.is_end)
        if settings.mispaired:
            with torch.no_grad(), self.reading.autocast():
                text = critic.text_vector(self.reading.encode(part.others)).float()
            value = self._judgements * critic.fake_hinge(self._judge(part, given, text))
            yield Extra("mispaired", settings.mispaired, value, self._have_others(part))
        if settings.r1:
            value = self._judgements * critic.gradient_penalty(real, given)
            yield Extra("r1", settings.r1, value, all_have)

    @property
    def _extra_names(self) -> tuple[str, ...]:
        return tuple(name for name in ("mispaired", "r1") if getattr(self.settings, name))

    def _work(self, each: Pass) -> float:
        """FLOPs on a pass: of student and teacher, decoder, features and heads, and the ways back."""
        settings, turn, count = self.settings, float(self._is_turn), len(each.uses)
        step, condition = self.work(each)
        rows, columns = self._decoded(each.grid)
        height, width = rows * self._token_px, columns * self._token_px
        model = self.reading.autoencoder.config
        decode = count * float(cost.decode_work(model, width=width, height=height).total)
        look = count * self.features.flops(height, width, self.heads.taps)
        judged = count * self.heads.flops([self.features.grid(tap, height, width) for tap in self.heads.taps])
        total = self._student_work(each) + 2 * (decode + look + BACKWARD * judged)
        if settings.distill:
            is_guided = settings.scale_of(each) != 1 and not self.teacher.flow.config.guidance_embed
            evaluations = 1 + is_guided + (settings.distill_weighting == "nfsd")
            total += turn * (evaluations * (step + condition) + decode)
        if settings.mispaired:
            total += BACKWARD * judged
        for one, other in each.context_grids:
            sides = {"height": one * self._token_px, "width": other * self._token_px}
            taps = [self.features.depth - 1]
            total += count * (float(cost.decode_work(model, **sides).total) + self.features.flops(**sides, taps=taps))
        return total + turn * (decode + look + 2 * judged)
