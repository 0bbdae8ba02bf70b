"""Consistency distillation: what its jumps are drawn to, what they become, and how its target moves."""

import copy
from dataclasses import replace

import pytest
import torch

from recast.errors import ConfigError
from recast.flow.path import interpolate
from recast.flow.schedule import resolution_shift, times
from recast.train.distill.consistency import ConsistencySettings, ConsistencyStage, Leap
from recast.train.flow_stage import Prepared
from recast.train.objective import draw
from recast.train.uses import FlowTraining
from tests.train.distill import toy
from tests.train.pairs import pairs

TOLD = {"guidance": toy.GUIDANCE, "teacher_steps": 6, "distance": "mse"}


@pytest.fixture(scope="module")
def known():
    made = toy.reading()
    teacher = toy.teacher_of(made)
    numbers = range(toy.HELD_OUT, toy.HELD_OUT + 16)
    return teacher, toy.pairs_of(made, teacher, range(64)), toy.pairs_of(made, teacher, numbers)


def new(known, held_out=None, **settings) -> ConsistencyStage:
    teacher, _, held = known
    reading, told = toy.reading(), ConsistencySettings(**TOLD | settings)
    target = copy.deepcopy(reading.flow) if told.target_decay else None
    return ConsistencyStage(reading, teacher, told, target=target, held_out=[held] if held_out is None else held_out)


def test_jumps_from_the_same_path_come_to_agree_and_its_walk_comes_nearer_to_the_teachers(known):
    made = new(known, target_decay=0.8)
    before = made.validate()
    toy.train(made, known[1], 25)
    after = made.validate()
    assert after["consistency"] < before["consistency"] / 4
    assert after["endpoint"] < 0.7 * before["endpoint"]


def test_the_target_is_an_average_of_the_student_and_nothing_else(known):
    made = new(known, target_decay=0.75)
    assert [phase.networks for phase in made.phases] == [("flow",)]
    batch = toy.picked(known[1], range(4), 0)
    start = copy.deepcopy(made.target.state_dict())
    made.prepare(batch, 0.0)  # the student has not moved
    assert all(torch.equal(start[name], now) for name, now in made.target.state_dict().items())
    with torch.no_grad():
        for parameter in made.reading.flow.parameters():
            parameter.add_(0.1)
    loss = made.loss("consistency", made.prepare(batch, 0.0), 0.0)
    loss.value.backward()
    assert all(parameter.grad is None for parameter in made.target.parameters())
    assert all(parameter.grad is None for parameter in made.teacher.flow.parameters())
    for name, now in made.target.state_dict().items():
        torch.testing.assert_close(now, start[name] + 0.025)
    assert set(made.networks) == {"flow", "target"}
    halves = new(known, target_decay=0.75)
    halves.reading.run = replace(halves.reading.run, accumulate=2)
    with torch.no_grad():
        for parameter in halves.reading.flow.parameters():
            parameter.add_(0.1)
    for _ in range(2):
        halves.prepare(batch, 0.0)
    for name, now in halves.target.state_dict().items():
        torch.testing.assert_close(now, start[name] + 0.025)


def test_the_last_small_step_of_a_phase_is_drawn_to_the_teachers_own_and_others_to_the_targets_jump(known):
    made, (teacher, pairs, _) = new(known), known
    each = toy.picked(pairs, range(2), 0).each
    fine = times(24, mu=resolution_shift(toy.TOKENS))
    t, after, end = torch.tensor([[fine[11], fine[13]], [fine[12], fine[14]], [fine[12], fine[18]]])
    x_t, _ = interpolate(each.clean, draw(each.numbers, 1, each.clean.shape[1:]), t)
    with torch.no_grad():
        wanted = made.wanted(each, x_t, Leap(t, after, end))
        condition, null, scale = toy.asked(made.reading, teacher.flow, each, toy.GUIDANCE)
        v = teacher.velocity(x_t, t, condition, null, scale)
        torch.testing.assert_close(wanted[0], v[0], atol=1e-4, rtol=1e-4)
        there = x_t[1] + (after[1] - t[1]) * v[1]
        jump = (
            there
            + (end[1] - after[1])
            * made.velocity(each, toy.GUIDANCE, made.target)(torch.stack([there, there]), after[[1, 1]])[1]
        )
    torch.testing.assert_close(wanted[1], (x_t[1] - jump) / (t[1] - end[1]), atol=1e-4, rtol=1e-4)


def test_a_student_that_is_consistent_with_its_teacher_has_no_loss(known):
    """One small step a phase: the target is the teacher alone; a student without guidance to learn is there already."""
    made = new(known, held_out=(), teacher_steps=1, guidance=1.0)
    batch = toy.picked(known[1], range(8), 0)
    assert float(made.loss("consistency", made.prepare(batch, 0.0), 0.0).value.detach()) < 1e-8
    guided = new(known, teacher_steps=1)
    assert float(guided.loss("consistency", guided.prepare(batch, 0.0), 0.0).value.detach()) > 1e-3


def test_pictures_are_trained_on_as_pairs_are(known):
    """A pass of a picture gives the loss that the same pass of a pair gives; the pairs' noise is not asked for."""
    made = new(known)
    batch = toy.picked(known[1], range(8), 0)
    of_pair = made.loss("consistency", made.prepare(batch, 0.0), 0.0).value
    made.reading.prepare = lambda pictures, share: Prepared((batch.each,), 8)
    of_picture = made.loss("consistency", made.prepare(object(), 0.0), 0.0).value
    torch.testing.assert_close(of_picture, of_pair)


@pytest.mark.parametrize(("training", "teachers"), [({"edit": 1}, 1), ({"text_to_image": 1}, 2)])
def test_only_what_is_guided_costs_two_evaluations_of_the_teacher(known, training, teachers):
    """Edits at scale 1 cost one; a target costs one more, the student its forward and backward pass."""
    made, pictures = new(known, edit_guidance=1.0), pairs(3)
    shares = {"edit": 0, "text_to_image": 0, "keep": 0, "reverse": 0, "text_dropout": 0, "context_dropout": 0}
    made.reading.training = made.reading.maker.training = FlowTraining(**shares | training)
    (each,) = made.reading.passes(pictures, made.reading.maker.uses(pictures))
    work = made.reading.work(pictures).total
    assert made.flops(pictures) == made.reading.flops(pictures) + (1 + teachers) * work
    pair = replace(known[1], each=each)
    assert made.flops(pair) == (3 + 1 + teachers) * sum(made.work(each))


def test_one_phase_ends_at_the_picture_and_is_walked_by_renoising(known):
    made = new(known, phases=1)
    assert made.settings.sampler == "renoise"
    assert set(made._leap(known[1].each, torch.arange(6)).end.tolist()) == {0.0}
    four = new(known)
    assert four.settings.sampler == "euler"
    ends = four._leap(known[1].each, torch.arange(24)).end
    torch.testing.assert_close(ends.unique(), torch.tensor(four.times(known[1].each)[1:]).unique())
    first, again = made.validate(), made.validate()
    assert first == again  # its new noise is the examples' own
    assert first["endpoint"] != four.validate()["endpoint"]


def test_settings_that_cannot_work_are_refused(known):
    with pytest.raises(ConfigError, match="phases=2"):
        ConsistencySettings(phases=2)
    with pytest.raises(ConfigError, match=r"guidance=3\.0: the pairs were made with 2\.0"):
        new(known, guidance=3.0)
    with pytest.raises(ConfigError, match="target_decay=1"):
        ConsistencySettings(target_decay=1.0)
    with pytest.raises(ConfigError, match=r"target=a network, target_decay=0\.0"):
        ConsistencyStage(toy.reading(), known[0], ConsistencySettings(target_decay=0.0), target=known[0].flow)
