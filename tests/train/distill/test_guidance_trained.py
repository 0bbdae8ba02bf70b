"""Guidance distilled to the end, on a toy: a teacher with and without words, and a student asked once for its pictures.

The teacher learns four pictures by one word each, a quarter of them under no word, so that guidance means something;
its student is trained by the stage's own loss. Six seconds of a core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from recast.flow.path import interpolate
from recast.latents.tokens import unpack
from recast.train import objective
from recast.train.distill.embedding import with_guidance
from recast.train.distill.guidance import GuidanceSettings, GuidanceStage
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import FlowStage, FlowTraining, Prepared
from recast.train.objective import even
from recast.train.settings import Optimiser, Run
from recast.train.uses import Pass
from recast.train.validation import Sampling
from tests.tiny import tiny_autoencoder, tiny_flow, tiny_text
from tests.train.pairs import pairs

WORDS = (("red",), ("green",), ("blue",), ("white",))
FROM_TEXT = FlowTraining(edit=0, text_to_image=1, keep=0, reverse=0, text_dropout=0)
SMALL = {"hidden_size": 32, "num_heads": 2, "depth": 1, "depth_single_blocks": 1, "guidance_embed": False}
CONTRAST = 0.5
"""Standard deviation of decoded pixels: an autoencoder that has learned nothing makes them grey, and all alike."""
STEPS = 25
SCALES = (1.0, 1.5, 2.0, 3.0, 4.0)


class Distilled(NamedTuple):
    stage: GuidanceStage
    pictures: Pass  # clean tokens of unit spread
    before: float  # PSNR in dB at g = 3, of the student as it began


@pytest.fixture(scope="module")
def distilled() -> Distilled:
    torch.set_num_threads(1)
    flow = tiny_flow(**SMALL).requires_grad_(True)
    reading = reading_of(flow)
    (pictures,) = reading.prepare(pairs(4, contexts=0, captions=WORDS), 0.0).passes
    pictures = replace(pictures, clean=(pictures.clean - pictures.clean.mean()) / pictures.clean.std())

    def matching(step: int) -> Tensor:
        each = anew(pictures, step)
        noise, t = objective.draw(each.numbers, 0, each.clean.shape[1:]), reading.times(each)
        x_t, wanted = interpolate(each.clean, noise, t)
        words = ["" if row == step % 4 else prompt for row, prompt in enumerate(each.prompts)]
        return (reading.velocity(each, words, 1.0)(x_t, t) - wanted).square().mean()

    learn(flow.parameters(), 200, 1e-2, matching)
    student = with_guidance(flow)
    judged = reading_of(student, panel=[pairs(4, contexts=0, captions=WORDS)], panel_settings=Sampling())
    with torch.no_grad():
        decoder = judged.autoencoder
        factor = CONTRAST / decoder.decode(unpack(pictures.clean, pictures.grid)).std()
        for parameter in decoder.decoder.conv_out.parameters():
            parameter.mul_(factor)
    settings = GuidanceSettings(walk_from=0.0, walk_steps=4, one_share=0.1)
    stage = GuidanceStage(reading=judged, teacher=Teacher(flow), settings=settings)
    before = stage.single_pass_psnr(3.0, steps=STEPS)

    def towards_guidance(step: int) -> Tensor:
        return stage.loss("guidance", Prepared((anew(pictures, 10_000 + step),), 4), 0.0).value

    learn(student.parameters(), 150, 5e-3, towards_guidance)
    return Distilled(stage, pictures, before)


def reading_of(flow: nn.Module, **parts: object) -> FlowStage:
    text = tiny_text()
    text.max_length = 16
    told = {"training": FROM_TEXT, "optimiser": Optimiser(), "run": Run(steps=10)}
    return FlowStage(flow=flow, autoencoder=tiny_autoencoder(), text=text, **told, **parts)  # type: ignore[arg-type]


def anew(pictures: Pass, step: int) -> Pass:
    """The same pictures under other numbers: other noise, other times."""
    numbers = range(4 * step, 4 * step + 4)
    drawn = zip(pictures.uses, numbers, even(numbers, 0, 2).tolist(), strict=True)
    return replace(pictures, uses=tuple(replace(use, number=n, time=(a, b)) for use, n, (a, b) in drawn))


def learn(parameters: Iterable[nn.Parameter], steps: int, lr: float, loss_of: Callable[[int], Tensor]) -> None:
    optimiser = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * min(1.0, (step + 1) / 20, 2 - 2 * step / steps)
        optimiser.zero_grad()
        loss_of(step).backward()
        optimiser.step()


def test_one_evaluation_at_three_makes_the_pictures_of_two_from_the_same_noise(distilled: Distilled):
    """25 dB are asked over 25 steps; 31.2 were seen, and 20.9 before training."""
    after = distilled.stage.single_pass_psnr(3.0, steps=STEPS)
    assert after >= 25
    assert distilled.before < min(25, after - 5)


def test_its_pictures_at_one_are_those_of_the_teacher_without_guidance(distilled: Distilled):
    """29.3 dB were seen; the teacher's own with guidance lie 20.2 from them."""
    assert distilled.stage.single_pass_psnr(1.0, steps=STEPS) >= 25


def test_guidance_grows_with_its_scale_as_far_as_it_is_told(distilled: Distilled):
    """How far along the teacher's own guidance the student's velocities lie: g - 1 of it, at every g."""
    stage, each = distilled.stage, anew(distilled.pictures, 77)
    noise = objective.draw(each.numbers, 1, each.clean.shape[1:])
    x_t, t = interpolate(each.clean, noise, torch.full((4,), 0.8))[0], torch.full((4,), 0.8)
    with torch.no_grad():
        wanted, unwanted = stage.teacher.both(x_t, t, *stage._conditions(each))
        found = [stage.reading.velocity(each, each.prompts, scale)(x_t, t) for scale in SCALES]
    along = wanted - unwanted
    strength = [float(((v - found[0]) * along).sum() / along.square().sum()) for v in found]
    assert strength == sorted(strength)
    assert strength[1:] == pytest.approx([scale - 1 for scale in SCALES[1:]], rel=0.35)
