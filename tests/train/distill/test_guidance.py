"""Guidance distillation: what a student starts as, what it is drawn towards, and where it ends."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from recast.errors import ConfigError, TrainingError
from recast.flow.path import interpolate
from recast.flow.transformer import FlowTransformer
from recast.train import loop, objective, state
from recast.train.adapters import LoRA
from recast.train.distill.embedding import attach, with_guidance
from recast.train.distill.guidance import GuidanceSettings, GuidanceStage
from recast.train.distill.teacher import Teacher, guided
from recast.train.flow_stage import FlowStage, FlowTraining
from recast.train.parallel import ALONE
from recast.train.settings import Optimiser, Run
from recast.train.validation import Sampling
from tests.tiny import tiny_autoencoder, tiny_flow, tiny_text
from tests.train.pairs import pairs
from tests.train.small_runs import Stream
from tests.train.small_runs import settings as run_settings

EDITS = FlowTraining(edit=1, text_to_image=0, keep=0, reverse=0, text_dropout=0)
BOTH = FlowTraining(edit=0.5, text_to_image=0.5, keep=0, reverse=0, text_dropout=0)
SMALL = {"guidance_embed": False, "depth": 1, "depth_single_blocks": 1}
NARROW = {"hidden_size": 32, "num_heads": 2}


def stage(
    settings: GuidanceSettings | None = None,
    training: FlowTraining = EDITS,
    *,
    lora: LoRA | None = None,
    flow: dict | None = None,
    run: Run | None = None,
    **parts,
) -> GuidanceStage:
    """A student of a small random teacher, whole or with adapters."""
    base = tiny_flow(**SMALL | (flow or {}))
    student = with_guidance(base)
    if lora is not None:
        parts["adapters"] = attach(student, lora)
    reading = FlowStage(
        flow=student,
        autoencoder=tiny_autoencoder(),
        text=tiny_text(),
        training=training,
        optimiser=Optimiser(lr=3e-3, warmup_steps=2),
        run=run or Run(steps=10),
        **parts,
    )
    return GuidanceStage(reading=reading, teacher=Teacher(base), settings=settings or GuidanceSettings())


def perturbed(made: GuidanceStage) -> GuidanceStage:
    """Its embedding's last layer away from zero, so that scales differ."""
    torch.nn.init.normal_(made.reading.flow.guidance_in.out_layer.weight, generator=torch.Generator().manual_seed(3))
    return made


@pytest.mark.parametrize("attention", ["full", "cached"])
def test_a_student_begins_as_the_conditional_teacher_at_any_scale(attention: str):
    made = stage(training=BOTH, flow={"context_attention": attention})
    passes = made.prepare(pairs(4), 0.0).passes
    assert {each.context is None for each in passes} == {True, False}
    for each in passes:
        x_t, t = objective.draw(each.numbers, 1, each.clean.shape[1:]), made.reading.times(each)
        condition, _ = made._conditions(each)
        with torch.no_grad():
            expected = made.teacher.velocity(x_t, t, condition)
            for scale in (1.0, 2.5, 5.0):
                found = made.reading.velocity(each, each.prompts, torch.full_like(t, scale))(x_t, t)
                assert torch.equal(found, expected)
    perturbed(made)
    with torch.no_grad():
        assert not torch.equal(made.reading.velocity(each, each.prompts, 2.5)(x_t, t), expected)


def test_with_guidance_copies_and_refuses_a_second_embedding():
    base = tiny_flow(guidance_embed=False)
    made = with_guidance(base)
    own, given = dict(made.named_parameters()), dict(base.named_parameters())
    assert own.keys() - given.keys() == {
        f"guidance_in.{a}_layer.{b}" for a in ("in", "out") for b in ("weight", "bias")
    }
    assert all(torch.equal(own[name], value) and own[name] is not value for name, value in given.items())
    assert all(parameter.requires_grad for parameter in made.parameters())
    assert FlowTransformer(made.config).state_dict().keys() == made.state_dict().keys()
    assert float(made.guidance_in.in_layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    with pytest.raises(ConfigError, match="has a guidance embedding"):
        with_guidance(made)


def gradient(made: GuidanceStage, first: int = 0) -> float:
    made.reading.flow.zero_grad()
    loss = made.loss("guidance", made.prepare(pairs(2, first=first), 0.0), 0.0)
    loss.value.backward()
    parameters = made.reading.flow.parameters()
    return float(torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm())


def test_at_first_examples_of_scale_one_give_no_gradient_and_others_do():
    none, some = gradient(stage(GuidanceSettings(one_share=1))), gradient(stage(GuidanceSettings(one_share=0)))
    assert none < 1e-4 * some
    made = stage(GuidanceSettings(one_share=0, interval=(1.0, 1.0)))  # nor does guidance at no time
    assert gradient(made) < 1e-4 * some


def test_the_loss_is_the_distance_from_the_guided_velocity_at_the_drawn_scales():
    """From the formula: v_null + g (v_c - v_null) of two calls of the teacher, the contexts in both."""
    made, batch = perturbed(stage(GuidanceSettings(one_share=0.2, interval=(0.0, 0.6)), BOTH)), pairs(8)
    prepared = made.prepare(batch, 0.0)
    total, count, scales_seen = 0.0, 0, []
    for each in prepared.passes:
        asked = made._asked(each, 0.0)
        noise = objective.draw(each.numbers, made.reading.run.seed, each.clean.shape[1:])
        x_t, _ = interpolate(each.clean, noise, made.reading.times(each))
        torch.testing.assert_close(asked.x_t, x_t)
        flow, t = made.teacher.flow, asked.t
        wanted = flow(x_t, t, made.reading.condition(each, each.prompts, 1.0, flow))
        unwanted = flow(x_t, t, made.reading.condition(each, [""] * len(t), 1.0, flow))
        scales = torch.where(t <= 0.6, asked.scales, 1.0)[:, None, None]
        target = unwanted + scales * (wanted - unwanted)
        with torch.no_grad():
            found = made.reading.velocity(each, each.prompts, asked.scales)(x_t, t)
        total, count = total + float((found - target).square().mean(dim=(1, 2)).sum()), count + len(t)
        scales_seen += asked.scales.tolist()
    loss = made.loss("guidance", prepared, 0.0)
    assert float(loss.value.detach()) == pytest.approx(total / count, rel=1e-4)
    assert len(set(scales_seen)) > 4
    assert min(scales_seen) >= 1
    for name in ("edit", "text_to_image", "t0", "t7", "g_one", "g0", "g3"):
        assert name in loss.parts


def test_the_law_of_scales_has_its_shares_and_its_ends():
    law = GuidanceSettings(one_share=0.1, focus_share=0.5)
    choice, quantile = torch.rand(2, 40_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scales = law.scales(choice, quantile)
    assert scales.min() == 1
    assert scales.max() <= 5
    assert float((scales == 1).float().mean()) == pytest.approx(0.1, abs=0.01)
    inside = float(((scales > 2) & (scales < 4)).float().mean())
    assert inside == pytest.approx(0.9 * (0.5 + 0.5 * 0.5), abs=0.01)
    even = GuidanceSettings(one_share=0, focus_share=0).scales(choice, quantile)
    torch.testing.assert_close(even, (1 + 4 * quantile).float())
    assert law.judged == (1.0, 1.5, 2.5, 3.5, 4.5)


def test_states_on_the_guided_walk_come_late_and_lie_where_the_walk_does():
    made = stage(GuidanceSettings(walk_share=1, walk_from=0.5, walk_steps=3))
    (each,) = made.prepare(pairs(3), 0.0).passes
    noise = objective.draw(each.numbers, made.reading.run.seed, each.clean.shape[1:])
    early, late = made._asked(each, 0.49), made._asked(each, 0.5)
    assert torch.equal(early.t, late.t)
    assert torch.equal(early.scales, late.scales)
    torch.testing.assert_close(early.x_t, interpolate(each.clean, noise, early.t)[0])
    condition, null = made._conditions(each)
    for row in range(3):
        x = noise
        for here, after in pairwise(torch.linspace(1, float(late.t[row]), 4)):
            x = x + (after - here) * made.teacher.velocity(x, here.repeat(3), condition, null, late.scales)
        torch.testing.assert_close(late.x_t[row], x[row], atol=1e-4, rtol=1e-3)
    batch = pairs(2)
    made.prepare(batch, 0.0)
    straight, work = made.flops(batch), made.reading.work(batch).total
    assert straight == pytest.approx((3 + 2) * work)  # the student's both ways, the teacher twice
    made.prepare(batch, 0.6)
    assert made.flops(batch) - straight == pytest.approx(2 * 3 * work)


@pytest.fixture(scope="module")
def learnt():
    """A stage whose student has seen 150 steps of fixed states, with scales drawn by the law; the pass and states."""
    made = stage(flow=NARROW)
    (each,) = made.prepare(pairs(3), 0.0).passes
    asked = made._asked(each, 0.0)
    with torch.no_grad():
        both = made.teacher.both(asked.x_t, asked.t, *made._conditions(each))
    before = copy.deepcopy(made.teacher.flow.state_dict())
    draws = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(made.reading.flow.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(150):
        optimiser.param_groups[0]["lr"] = 3e-3 * min(1.0, (step + 1) / 20, 2 - step / 75)
        optimiser.zero_grad()
        scales = made.settings.scales(*torch.rand(2, len(asked.t), generator=draws, dtype=torch.float64))
        target = guided(*both, asked.x_t, asked.t, scales)
        made._distance(each, asked.x_t, asked.t, scales, target).mean().backward()
        optimiser.step()
    return made, each, asked, before


HELD_OUT = (1.0, 1.3, 1.7, 2.2, 2.9, 3.4, 4.1, 4.8)


def distances(made: GuidanceStage, each, asked) -> list[float]:
    """Mean squared distances from the guided velocity at the held-out scales."""
    condition, null = made._conditions(each)
    found = []
    with torch.no_grad():
        for scale in HELD_OUT:
            scales = torch.full_like(asked.t, scale)
            target = made._guided_velocity(asked.x_t, asked.t, condition, null, scales)
            found.append(float(made._distance(each, asked.x_t, asked.t, scales, target).mean()))
    return found


def test_a_trained_student_is_near_the_guided_velocity_at_every_scale(learnt):
    """The mean error is below 0.004, from 0.09 at the start, and that of no scale is above four times the mean."""
    made, each, asked, _ = learnt
    found, start = distances(made, each, asked), distances(stage(flow=NARROW), each, asked)
    assert np.mean(start) > 0.08
    assert np.mean(found) < 0.004
    assert max(found) < 4 * np.mean(found)


def test_scale_one_of_a_trained_student_is_the_conditional_model(learnt):
    """Its squared distance from it is below a tenth of what guidance by 2.9 adds, and a 200th of the velocity's."""
    made, each, asked, _ = learnt
    condition, null = made._conditions(each)
    with torch.no_grad():
        one = made.reading.velocity(each, each.prompts, 1.0)(asked.x_t, asked.t)
    bare = made.teacher.velocity(asked.x_t, asked.t, condition)
    added = made.teacher.velocity(asked.x_t, asked.t, condition, null, 2.9) - bare
    apart = float((one - bare).square().mean())
    assert apart < 0.1 * float(added.square().mean())
    assert apart < float(bare.square().mean()) / 200


def test_the_teacher_is_unchanged_and_has_no_gradient(learnt):
    made, *_, before = learnt
    after = made.teacher.flow.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None and not p.requires_grad for p in made.teacher.flow.parameters())


def test_validation_is_fixed_by_scale_by_time_and_by_use_and_says_how_flat():
    made = perturbed(stage(training=BOTH, held_out=[pairs(1, first=50)]))
    found = made.validate()
    assert found == made.validate()
    scales = [found[f"g{scale:g}/loss"] for scale in made.settings.judged]
    assert found["loss"] == pytest.approx(np.mean(scales))
    assert found["flatness"] == pytest.approx(max(scales) / np.mean(scales))
    assert np.mean([found[f"t{i}"] for i in range(8)]) == pytest.approx(found["loss"])
    assert {"edit/loss", "text_to_image/t3"} <= found.keys()
    start = stage(training=BOTH, held_out=[pairs(1, first=50)]).validate()
    assert start["g1/loss"] < 1e-8 < start["g1.5/loss"] < start["g4.5/loss"]


def test_pictures_of_one_evaluation_are_compared_with_those_of_two_on_the_same_noise():
    sampling = Sampling(steps=3, shifts_schedule=False)
    made = stage(training=BOTH, panel=[pairs(1)], panel_settings=sampling)
    assert made.single_pass_psnr(1.0, steps=3) > 80  # the student is the teacher
    apart = made.single_pass_psnr(5.0, steps=3)
    assert 5 < apart < 50
    made.teacher.flow.final_layer.linear.weight.data.zero_()  # asked once, kept: it does not change in a run
    assert made.single_pass_psnr(5.0, steps=3) == apart
    perturbed(made)
    assert made.single_pass_psnr(5.0, steps=3) != apart
    assert made.samples()["panel"].ndim == 3
    for scale in (0.5, 5.01):
        with pytest.raises(ConfigError, match="a scale from 1 to 5 accepted"):
            made.single_pass_psnr(scale)
    with pytest.raises(TrainingError, match="panel"):
        stage().single_pass_psnr()


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path):
    """Four steps, the last two of them partly on walks; broken off after two, and not."""
    settings = GuidanceSettings(walk_share=0.5, walk_steps=2)
    planned = run_settings(steps=4, save_every_steps=2)

    def go(place, steps: int | None = None):
        made = stage(settings, run=planned.run)
        taken = []
        for event in loop.run(
            made, Stream(ALONE), planned, place, should_stop=lambda: steps is not None and len(taken) >= steps
        ):
            taken.append(event)
        return made

    whole = go(tmp_path / "whole").reading.flow.state_dict()
    go(tmp_path / "broken", 2)
    assert state.latest(tmp_path / "broken").name == "step-00000002"
    again = go(tmp_path / "broken").reading.flow.state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert not torch.equal(whole["guidance_in.out_layer.weight"], torch.zeros(48, 48))


def test_a_delta_trains_adapters_and_embedding_alone():
    made = stage(lora=LoRA(rank=2))
    assert set(made.networks) == {"adapters", "guidance_in"}
    assert made.averaged == tuple(made.networks)
    made.loss("guidance", made.prepare(pairs(2), 0.0), 0.0).value.backward()
    moved = {name for name, p in made.reading.flow.named_parameters() if p.grad is not None}
    assert moved == {n for n, p in made.reading.flow.named_parameters() if "change" in n or "guidance_in" in n}
    frozen = with_guidance(tiny_flow(**SMALL))
    low_rank = attach(frozen, LoRA(rank=2))
    frozen.guidance_in.requires_grad_(False)
    reading = replace_flow(made.reading, frozen, low_rank)
    with pytest.raises(ConfigError, match="the guidance embedding is frozen"):
        GuidanceStage(reading=reading, teacher=made.teacher, settings=made.settings)


def replace_flow(reading: FlowStage, flow: FlowTransformer, adapters=None, **training) -> FlowStage:
    return FlowStage(
        flow=flow,
        autoencoder=reading.autoencoder,
        text=reading.text,
        training=replace(reading.training, **training),
        optimiser=Optimiser(),
        run=reading.run,
        adapters=adapters,
    )


def test_what_does_not_fit_is_refused():
    made = stage()
    for change, said in (
        ({"highest": 1.0}, "highest=1"),
        ({"focus": (2.0, 6.0)}, "focus="),
        ({"focus": (0.5, 3.0)}, "focus="),
        ({"one_share": 1.5}, "one_share=1.5"),
        ({"interval": (0.9, 0.1)}, "interval="),
        ({"walk_steps": 0}, "walk_steps=0"),
    ):
        with pytest.raises(ConfigError, match=said):
            GuidanceSettings(**change)

    def build(flow, teacher, **training):
        reading = replace_flow(made.reading, flow, **training)
        return GuidanceStage(reading=reading, teacher=teacher, settings=made.settings)

    student, other = with_guidance(tiny_flow(**SMALL)), Teacher(tiny_flow(guidance_embed=False))
    with pytest.raises(ConfigError, match="guidance_embed: False of the student"):
        build(tiny_flow(**SMALL), made.teacher)
    with pytest.raises(ConfigError, match="the same but for guidance_embed"):
        build(student, other)
    with pytest.raises(ConfigError, match="train_text=true"):
        build(student, made.teacher, train_text=True)
    with pytest.raises(ConfigError, match="guidance_loss=3"):
        build(student, made.teacher, guidance_loss=3.0)
