"""Latent adversarial distillation on two processes that share student and teacher out between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from recast.train import parallel
from recast.train.distill.heads import Heads, HeadSettings
from recast.train.distill.ladd import LaddStage
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import FlowStage, FlowTraining
from recast.train.loop import run
from recast.train.settings import Optimiser, Parallel, Run, Settings
from tests.tiny import tiny_autoencoder, tiny_text
from tests.train.processes import Meeting, small_flow, together, values
from tests.train.small_runs import Stream

RATE = Optimiser(lr=1e-3, warmup_steps=0)
HEADS = HeadSettings(taps=(0.34, 0.67), width=16, groups=4)
SETTINGS = LaddSettings(
    heads=HEADS,
    generator_from=0.3,
    accuracy_needed=0.0,
    discriminator_steps=1,
    teacher_steps=5,
    r1=1e-4,
    regression=0.1,
    mispaired=0.0,  # pairs within what one process has
)


def course(meeting: Meeting | None, place: Path, steps: int = 4) -> list[dict[str, float]]:
    """What is logged at each step, some of the examples with a context and some without."""
    layout = Parallel(shard=2 if meeting else 1)
    ranks = meeting.start(layout) if meeting else parallel.ALONE
    told = Run(steps=4, log_every_steps=1, save_every_steps=2, sample_every_steps=0, peak_tflops=1.0)
    student, teacher = (parallel.wrap(small_flow(seed), told, layout, ranks) for seed in (0, 1))
    heads = Heads(student.config, HEADS).initialise(0)
    parallel.wrap(heads, told, layout, ranks)
    reading = FlowStage(
        flow=student,
        autoencoder=tiny_autoencoder(),
        text=tiny_text(),
        training=FlowTraining(edit=0.5, text_to_image=0.5, keep=0, text_dropout=0),
        optimiser=RATE,
        run=told,
        ranks=ranks,
    )
    of = LaddStage(reading, Teacher(teacher), heads, SETTINGS, discriminator_optimiser=RATE)
    found: list[dict[str, float]] = []

    def should_stop() -> bool:
        return len(found) >= steps

    planned = Settings(run=told, parallel=layout)
    for event in run(of, Stream(ranks), planned, place, ranks=ranks, should_stop=should_stop):
        if not event.is_last:
            found.append(dict(event.numbers))
    return found


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_also_after_a_stop(tmp_path: Path):
    alone = course(None, tmp_path / "alone")
    first = values(together(2, tmp_path / "a", course, tmp_path / "both", 2))[0]
    rest = values(together(2, tmp_path / "b", course, tmp_path / "both"))[0]
    assert (len(alone), len(first), len(rest)) == (4, 2, 2)
    moved = ["generator/loss" in numbers for numbers in alone]
    assert moved == [False, False, True, True]
    for one, two in zip(alone, [*first, *rest], strict=True):
        assert set(one) == set(two)
        for name in one:
            if name.endswith(("/loss", "/grad_norm")):
                assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-5)
