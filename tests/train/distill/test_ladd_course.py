"""Runs of a latent adversarial distillation: warm-up, turns, stops, and what is judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recast.errors import ConfigError, TrainingError
from recast.train import optim
from recast.train.distill import student
from recast.train.distill.adversarial import AdversarialStage
from recast.train.distill.heads import HeadSettings
from recast.train.distill.ladd import LaddStage
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.pairs import PairBatch
from recast.train.distill.teacher import Teacher
from recast.train.loop import run
from recast.train.settings import Optimiser, Run, Settings
from recast.train.stage import trained
from recast.train.validation import Sampling
from tests.train.distill.adversaries import made, pair_batch
from tests.train.pairs import pairs


class Stream:
    """The same pairs again and again, each time under new numbers."""

    def __init__(self, of: AdversarialStage, count: int = 4) -> None:
        self.batch, self.next = pair_batch(of, count), 0

    def __iter__(self) -> Iterator[PairBatch]:
        batch = self.batch
        while True:
            self.next += 1
            first = len(batch.numbers) * self.next
            numbers = range(first, first + len(batch.numbers))
            uses = tuple(replace(use, number=n) for use, n in zip(batch.each.uses, numbers, strict=True))
            yield replace(batch, each=replace(batch.each, uses=uses))

    def state(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.next = state["next"]

    def close(self) -> None:
        pass


def course(place: Path, steps: int, stop_at: int = 10**6, **changes: Any) -> LaddStage:
    """A run, or the part of it up to `stop_at`."""
    planned = Run(steps=steps, save_every_steps=10**6, log_every_steps=1, peak_tflops=1.0, validate_every_steps=10**6)
    of = made(course={"steps": steps}, **changes)
    done = 0

    def should_stop() -> bool:
        return done >= stop_at or of.is_shut

    for event in run(of, Stream(of), Settings(run=planned), place, should_stop=should_stop):
        done = event.progress.step
    return of


FULL: dict[str, Any] = {
    "generator_from": 0.25, "discriminator_steps": 2, "accuracy_needed": 0.0, "mispaired": 0.5, "copies": 0.5,
    "approximate_r1": 0.1,
}  # fmt: skip


def test_a_run_that_is_broken_off_goes_on_as_if_it_had_not_been(tmp_path: Path):
    whole = course(tmp_path / "whole", 6, **FULL)
    course(tmp_path / "parts", 6, stop_at=1, **FULL)
    course(tmp_path / "parts", 6, stop_at=4, **FULL)
    again = course(tmp_path / "parts", 6, **FULL)
    start = made()
    for name in ("flow", "heads", "gate"):
        first, expected, found = (each.networks[name].state_dict() for each in (start, whole, again))
        assert all(torch.equal(expected[key], found[key]) for key in expected)
        assert any(not torch.equal(first[key], found[key]) for key in first)
    assert (int(again.gate.batches), int(again.gate.seen)) == (6, 2)


def test_the_student_moves_on_its_turns_alone_and_not_before_the_warm_up_is_over():
    of = made(**FULL)
    batch, turns = pair_batch(of), []
    for step in range(8):
        prepared = of.prepare(batch, step / 8)
        turns.append(of.loss("generator", prepared, step / 8) is not None)
        assert of.loss("discriminator", prepared, step / 8) is not None
    assert turns == [False, False, False, True, False, True, False, True]


def test_a_blind_discriminator_ends_the_run_or_leaves_the_student_as_it_is(tmp_path: Path):
    blind = {**FULL, "accuracy_needed": 1.0}
    with pytest.raises(TrainingError, match="accuracy_needed"):
        course(tmp_path / "stop", 8, **blind)
    of = course(tmp_path / "skip", 8, **blind, blind="skip")
    assert of.is_shut
    assert int(of.gate.batches) == 3
    start = made().reading.flow.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in of.reading.flow.state_dict().items())


def test_heads_learn_to_tell_real_from_fake():
    """A hundred steps, on noise and states that are drawn anew each time: from chance to nine places in ten."""
    of = made(on_policy=0.0, generator_from=1.0, renoise_mean=-1.0)
    (optimiser,) = optim.build(trained(of.phases[1], of.networks), of.phases[1].optimiser)
    accuracies = []
    for _, batch in zip(range(100), Stream(of), strict=False):
        loss = of.loss("discriminator", of.prepare(batch, 0.0), 0.0)
        assert loss is not None
        accuracies.append(float(loss.parts["accuracy"]))
        optimiser.zero_grad()
        loss.value.backward()
        optimiser.step()
    assert abs(sum(accuracies[:3]) / 3 - 0.5) < 0.2
    assert sum(accuracies[-20:]) / 20 > 0.9
    assert float(of.gate.accuracy) == pytest.approx(sum(accuracies[-20:]) / 20, abs=0.05)


def test_held_out_pairs_are_walked_to_by_the_students_own_sampler():
    for name in student.SAMPLERS:
        of = made(sampler=name)
        of.held_out = [pair_batch(of, 2, first=90)]
        numbers = of.validate()
        (batch,) = of.held_out
        with torch.no_grad():
            velocity = of.velocity(batch.each, 3.0)
            fresh = iter(of._draws(batch.each).fresh)
            walk = student.sampler(name, lambda fresh=fresh: next(fresh))
            at = lambda x, t, velocity=velocity: velocity(x, torch.full((2,), t))  # noqa: E731
            end = student.picture(at, batch.noise, of.times(batch.each), walk)
        assert numbers["endpoint"] == pytest.approx(float((end - batch.each.clean).square().mean()), rel=1e-5)
        assert of.validate() == numbers


def test_flops_grow_by_what_is_done():
    plain, batch = made(on_policy=0.0), pair_batch(made())
    plain.prepare(batch, 0.5)
    with_walk, with_negatives, waiting = made(on_policy=0.5), made(on_policy=0.0, mispaired=1), made(**FULL)
    for of in (with_walk, with_negatives, waiting):
        of.prepare(batch, 0.0 if of is waiting else 0.5)
    step, condition = plain.work(batch.each)
    assert with_walk.flops(batch) - plain.flops(batch) == pytest.approx(3 * step + condition)
    assert with_negatives.flops(batch) > plain.flops(batch) > 5 * step
    assert plain.count(replace(batch, of=9)) == 9


def test_what_does_not_fit_is_refused():
    of = made()
    told = {"discriminator_optimiser": Optimiser()}
    with pytest.raises(ConfigError, match="own network"):
        LaddStage(of.reading, Teacher(of.reading.flow), of.heads, of.settings, **told)
    with pytest.raises(ConfigError, match=r"heads: made for blocks \(0, 1\)"):
        LaddStage(of.reading, of.teacher, of.heads, replace(of.settings, heads=HeadSettings()), **told)
    for wrong in ({"guidance": 2.0}, {"steps": 4}):
        with pytest.raises(ConfigError, match="pairs"):
            LaddStage(of.reading, of.teacher, of.heads, of.settings, **told, held_out=[pair_batch(of, 1, **wrong)])
    with pytest.raises(ConfigError, match="12 steps by euler"):
        made(panel=[pairs(1)])
    for wrong in (
        {"sampler": "heun"}, {"blind": "go"}, {"on_policy": 1.5}, {"mispaired": -1}, {"renoise_std": 0},
        {"discriminator_steps": 0}, {"teacher_steps": 4},
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            LaddSettings(**wrong)


def test_levels_move_with_mean_and_resolution():
    even = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    choice = torch.ones_like(even)
    for mean, mu in ((1.0, 0.0), (-0.5, 0.7)):
        found = LaddSettings(renoise_mean=mean).levels(mu).times(choice, even, 16)
        assert float(torch.logit(found.double()).mean()) == pytest.approx(mean + mu, abs=1e-3)
        assert float(torch.logit(found.double()).std()) == pytest.approx(1, abs=0.02)


def test_the_panel_is_drawn_by_the_students_own_sampler():
    drawn = {}
    for name in student.SAMPLERS:
        sampling = Sampling(steps=4, sampler=name)
        of = made(sampler=name, panel=[pairs(1)], panel_settings=sampling)
        drawn[name] = of.samples()["panel"]
        assert np.array_equal(drawn[name], of.samples()["panel"])
    assert not np.array_equal(drawn["euler"], drawn["renoise"])
