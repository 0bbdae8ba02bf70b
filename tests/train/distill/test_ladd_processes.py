"""Adversarial distillations on two processes that share student and teacher out between them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from recast.train import parallel
from recast.train.distill import heads as critic
from recast.train.distill.add import AddStage
from recast.train.distill.add_settings import AddSettings
from recast.train.distill.heads import Heads, HeadSettings
from recast.train.distill.ladd import LaddStage
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.pixel_features import AutoencoderFeatures
from recast.train.distill.pixel_heads import PixelHeads
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import FlowStage, FlowTraining
from recast.train.loop import run
from recast.train.settings import Optimiser, Parallel, Run, Settings
from tests.tiny import tiny_autoencoder, tiny_text
from tests.train.processes import Meeting, small_flow, together, values
from tests.train.small_runs import Stream

Kind = Literal["ladd", "add"]
RATE = Optimiser(lr=1e-3, warmup_steps=0)
HEADS = HeadSettings(taps=(0.34, 0.67), width=16, groups=4)
COURSE = {"generator_from": 0.3, "accuracy_needed": 0.0, "discriminator_steps": 1, "r1": 1e-4}
STEPS: dict[Kind, int] = {"ladd": 4, "add": 2}


def course(meeting: Meeting | None, place: Path, kind: Kind, steps: int = 4) -> list[dict[str, float]]:
    """What is logged at each step, some of the examples with a context and some without."""
    layout = Parallel(shard=2 if meeting else 1)
    ranks = meeting.start(layout) if meeting else parallel.ALONE
    # Blocks of student and teacher are computed again; heads have none.
    told = Run(
        steps=STEPS[kind],
        log_every_steps=1,
        save_every_steps=2,
        sample_every_steps=0,
        peak_tflops=1.0,
        checkpointing="full",
    )
    attention = "cached" if kind == "ladd" else "full"
    student, teacher = (
        parallel.wrap(small_flow(seed, context_attention=attention), told, layout, ranks) for seed in (0, 1)
    )
    reading = FlowStage(
        flow=student,
        autoencoder=tiny_autoencoder(),
        text=tiny_text(),
        training=FlowTraining(edit=0.5, text_to_image=0.5, keep=0, text_dropout=0),
        optimiser=RATE,
        run=told,
        ranks=ranks,
    )
    of = latent(reading, Teacher(teacher), layout) if kind == "ladd" else pixels(reading, Teacher(teacher), layout)
    found: list[dict[str, float]] = []

    def should_stop() -> bool:
        return len(found) >= steps

    planned = Settings(run=told, parallel=layout)
    for event in run(of, Stream(ranks), planned, place, ranks=ranks, should_stop=should_stop):
        if not event.is_saved:
            found.append(dict(event.numbers))
    parallel.stop(ranks)
    return found


def latent(reading: FlowStage, teacher: Teacher, layout: Parallel) -> LaddStage:
    settings = LaddSettings(**COURSE, heads=HEADS, teacher_steps=5, regression=0.1)  # type: ignore[arg-type]
    heads = Heads(teacher.flow.config, HEADS).initialise(0)
    critic.shared(heads, reading.run, layout, reading.ranks)
    return LaddStage(reading, teacher, heads, settings, discriminator_optimiser=RATE)


def pixels(reading: FlowStage, teacher: Teacher, layout: Parallel) -> AddStage:
    settings = AddSettings(**COURSE | {"generator_from": 0.0}, heads=HEADS, crop_px=32)  # type: ignore[arg-type]
    features = AutoencoderFeatures(reading.autoencoder)
    heads = PixelHeads(features, teacher.flow.config, HEADS).initialise(0)
    critic.shared(heads, reading.run, layout, reading.ranks)
    return AddStage(reading, teacher, features, heads, settings, discriminator_optimiser=RATE)


def same(one: list[dict[str, float]], other: list[dict[str, float]]) -> None:
    for alone, shared in zip(one, other, strict=True):
        assert set(alone) == set(shared)
        for name in alone:
            if name.endswith(("/loss", "/grad_norm")):
                assert shared[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-5)


def both(meeting: Meeting, place: Path) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """The first steps in latents, and all of them in pixels."""
    return course(meeting, place / "ladd", "ladd", 2), course(meeting, place / "add", "add")


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_also_after_a_stop(tmp_path: Path):
    alone = course(None, tmp_path / "alone", "ladd")
    first, in_pixels = values(together(2, tmp_path / "a", both, tmp_path / "both"))[0]
    rest = values(together(2, tmp_path / "b", course, tmp_path / "both" / "ladd", "ladd"))[0]
    assert (len(alone), len(first), len(rest)) == (4, 2, 2)
    moved = ["generator/loss" in numbers for numbers in alone]
    assert moved == [False, False, True, True]
    same(alone, [*first, *rest])
    pixels_alone = course(None, tmp_path / "pixels", "add")
    assert ["generator/loss" in numbers for numbers in pixels_alone] == [True, True]
    same(pixels_alone, in_pixels)
