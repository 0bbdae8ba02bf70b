"""A teacher that is told its guidance, as FLUX.1 Kontext [dev] is: one step of every stage, each network asked once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from recast.flow.schedule import resolution_shift, times
from recast.train.distill.consistency import ConsistencySettings, ConsistencyStage
from recast.train.distill.direct import DirectSettings, DirectStage
from recast.train.distill.pair_writing import PairSettings, write
from recast.train.distill.pairs import Pairs
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import FlowStage
from recast.train.parallel import ALONE
from tests.train.distill import adversaries
from tests.train.pairs import pairs
from tests.train.small_runs import Stream

TOLD = {"guidance": 2.5}
EMBEDDED = {"guidance_embed": True}


class Seen(NamedTuple):
    """What a network is asked: the scales of its conditions, call by call, and the rows of its evaluations."""

    scales: list[list[float]]
    rows: list[int]


def watched(flow: Any, monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen, condition, forward = Seen([], []), flow.condition, flow.forward

    def asked(**given: Any) -> Any:
        seen.scales.append(given["guidance"].tolist())
        return condition(**given)

    def run(x_t: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.rows.append(len(x_t))
        return forward(x_t, *rest)

    monkeypatch.setattr(flow, "condition", asked)
    monkeypatch.setattr(flow, "forward", run)
    return seen


def test_its_pairs_are_walked_in_one_evaluation_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reading, teacher = apart()
    settings = PairSettings(count=4, steps=3, batches_per_shard=1, **TOLD)
    seen = watched(teacher.flow, monkeypatch)
    for _ in write(teacher, reading, Stream(ALONE), tmp_path, settings):
        pass
    assert seen == Seen([[2.5] * 4], [4] * 3)
    batch = Pairs(tmp_path, batch=4).once()[0].to(torch.device("cpu"))
    each, x = batch.each, batch.noise
    with torch.no_grad():
        condition = reading.condition(each, each.prompts, 2.5, teacher.flow)
        walked = times(3, mu=resolution_shift(each.clean.shape[1]))
        for t, t_next in pairwise(walked):
            x = x + (t_next - t) * teacher.flow(x, torch.full((4,), t), condition)
    torch.testing.assert_close(each.clean, x, atol=4e-3, rtol=2e-3)


def direct() -> Any:
    reading, _ = apart()
    return DirectStage(reading, DirectSettings())


def consistency() -> Any:
    reading, teacher = apart()
    settings = ConsistencySettings(teacher_steps=2, **TOLD)
    return ConsistencyStage(reading, teacher, settings, target=copy.deepcopy(reading.flow))


def ladd() -> Any:
    negatives = {"mispaired": 0.5, "copies": 0.5, "approximate_r1": 0.1}
    return adversaries.made(EMBEDDED, teacher_steps=5, regression=0.1, **negatives, **TOLD)


def add() -> Any:
    return adversaries.made_add(EMBEDDED, teacher_steps=5, **TOLD)


@pytest.mark.parametrize(("making", "evaluations"), [(direct, 0), (consistency, 1), (ladd, 5), (add, 5 + 1)])
def test_a_step_of_every_stage_tells_all_networks_the_scale_and_asks_its_teacher_once(
    making: Callable[[], Any], evaluations: int, monkeypatch: pytest.MonkeyPatch
):
    """What is real to the discriminators is made by the teacher on the way, in five steps."""
    of = making()
    batch = adversaries.pair_batch(of, **TOLD) if making is direct else pairs(4)
    student = watched(of.reading.flow, monkeypatch)
    others = [getattr(of, "teacher", None) and of.teacher.flow, getattr(of, "target", None)]
    asked = [watched(each, monkeypatch) for each in others if each is not None]
    prepared = of.prepare(batch, 0.5)
    for phase in of.phases:
        loss = of.loss(phase.name, prepared, 0.5)
        assert bool(loss.value.isfinite())
        loss.value.backward()
    for name, parameter in of.reading.flow.guidance_in.named_parameters():
        assert float(parameter.grad.abs().max()) > 0, name
    assert student.rows
    for seen in (student, *asked):
        assert all(scales == [2.5] * 4 for scales in seen.scales)
        assert seen.rows == [4] * len(seen.rows)
    assert (asked[0].rows if asked else []) == [4] * evaluations
    assert asked or not evaluations
    assert all(seen.scales for seen in asked)


def apart() -> tuple[FlowStage, Teacher]:
    return adversaries.trained_apart(EMBEDDED, None, adversaries.EDITS)
