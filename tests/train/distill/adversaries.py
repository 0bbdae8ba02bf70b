"""A very small student, its teacher and heads, in latents and in pixels, and pairs for them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from recast.train import objective
from recast.train.data.example import Batch
from recast.train.distill.add import AddStage
from recast.train.distill.add_settings import AddSettings
from recast.train.distill.adversarial import AdversarialStage
from recast.train.distill.adversarial_settings import walked_by
from recast.train.distill.heads import Heads, HeadSettings
from recast.train.distill.ladd import LaddStage
from recast.train.distill.ladd_parts import Part, Prepared
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.pairs import PairBatch
from recast.train.distill.pixel_features import AutoencoderFeatures, PixelFeatures
from recast.train.distill.pixel_heads import PixelHeads
from recast.train.distill.student import SamplerName
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import FlowStage, FlowTraining
from recast.train.settings import Optimiser
from tests.train.pairs import pairs, stage

EDITS = FlowTraining(edit=1, text_to_image=0, keep=0, reverse=0, text_dropout=0)
SMALL = {"hidden_size": 24, "num_heads": 2, "axes_dim": (4, 4, 4), "depth": 1, "depth_single_blocks": 2}
HEADS = HeadSettings(taps=(0.4, 0.7), width=16, groups=4)
PLAIN: dict[str, Any] = {
    "heads": HEADS, "generator_from": 0.0, "discriminator_steps": 1, "mispaired": 0.0, "copies": 0.0,
    "approximate_r1": 0.0,
}  # fmt: skip
PLAIN_ADD: dict[str, Any] = {
    "heads": HeadSettings(taps=(0.6, 1.0), width=16, groups=4), "generator_from": 0.0, "discriminator_steps": 1,
    "pictures": 0.0, "r1": 0.0,
}  # fmt: skip


def made(
    flow: Mapping[str, Any] | None = None,
    course: Mapping[str, Any] | None = None,
    training: FlowTraining = EDITS,
    panel_settings: Any = None,
    panel: Any = (),
    sampler: SamplerName = "euler",
    **changes: Any,
) -> LaddStage:
    """A student that is not its teacher any more, both very small; changes: of the settings."""
    reading, teacher = trained_apart(flow, course, training, panel_settings=panel_settings, panel=panel)
    settings = walked_by(LaddSettings(**{**PLAIN, **changes}), sampler)
    heads = Heads(teacher.flow.config, settings.heads).initialise(0)
    return LaddStage(reading, teacher, heads, settings, discriminator_optimiser=Optimiser(lr=3e-3, warmup_steps=0))


def made_add(
    flow: Mapping[str, Any] | None = None,
    course: Mapping[str, Any] | None = None,
    training: FlowTraining = EDITS,
    features: PixelFeatures | None = None,
    sampler: SamplerName = "euler",
    **changes: Any,
) -> AddStage:
    """As `made`, in pixels; features: of the autoencoder, if none are given."""
    reading, teacher = trained_apart(flow, course, training)
    settings = walked_by(AddSettings(**{**PLAIN_ADD, **changes}), sampler)
    features = features or AutoencoderFeatures(reading.autoencoder)
    heads = PixelHeads(features, teacher.flow.config, settings.heads).initialise(0)
    optimiser = Optimiser(lr=3e-3, warmup_steps=0)
    return AddStage(reading, teacher, features, heads, settings, discriminator_optimiser=optimiser)


def trained_apart(
    flow: Mapping[str, Any] | None, course: Mapping[str, Any] | None, training: FlowTraining, **parts: Any
) -> tuple[FlowStage, Teacher]:
    """A stage that reads for a student, and the teacher that the student was."""
    reading = stage(
        training,
        flow={**SMALL, **(flow or {})},
        run=dict(course or {}),
        optimiser=Optimiser(lr=1e-3, warmup_steps=0),
        **parts,
    )
    reading.text.max_length = 16
    teacher = Teacher(copy.deepcopy(reading.flow))
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in reading.flow.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return reading, teacher


def pair_batch(of: AdversarialStage, count: int = 4, *, first: int = 0, contexts: int = 1, **changes: Any) -> PairBatch:
    """Pairs as a folder gives them; the pictures stand for the teacher's endpoints."""
    numbers = tuple(range(first, first + count))
    (each,) = of.reading.prepare(pairs(count, first=first, contexts=contexts), 0.0).passes
    noise = objective.draw(numbers, 77, each.clean.shape[1:])
    told = {"each": each, "noise": noise, "of": count, "ids": tuple(map(str, numbers)), "guidance": 3.0, "steps": 25}
    return PairBatch(**told | changes)


def part_of(of: AdversarialStage, batch: Batch | PairBatch) -> Part:
    (part,) = of.prepare(batch, 0.5).parts
    return part


def of_parts(*parts: Part) -> Prepared:
    return Prepared(list(parts), sum(len(part.each.uses) for part in parts))


def student_inputs(of: AdversarialStage, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """States and times that the student's network is given, call by call."""
    given: list[tuple[Tensor, Tensor]] = []
    inner = of.reading.flow.forward

    def spy(x_t: Tensor, t: Tensor, condition: Any) -> Tensor:
        given.append((x_t, t))
        return inner(x_t, t, condition)

    monkeypatch.setattr(of.reading.flow, "forward", spy)
    return given
