"""What goes wrong in a run, and how it goes on: killed, alone or among processes; a loss that is no number."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from recast.errors import TrainingError
from recast.train import state
from recast.train.settings import Parallel, Settings
from tests.train.processes import Meeting, together, values
from tests.train.small_runs import settings, train

TOLERANCE = 1e-4
STEPS = 20
SAVED_EVERY = 6
PAIR = Parallel(shard=2)


def planned(layout: Parallel | None = None, save_every_steps: int = SAVED_EVERY) -> Settings:
    return settings(layout, steps=STEPS, save_every_steps=save_every_steps)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The loss of each step, by one process that nobody disturbs and that saves nothing on the way."""
    curve = dict(train(None, tmp_path_factory.mktemp("alone"), planned(save_every_steps=STEPS)))
    assert list(curve) == list(range(1, STEPS + 1))
    assert curve[STEPS] < 0.7 * curve[1]
    return curve


def same(curve: list[tuple[int, float]], alone: dict[int, float], first: int) -> None:
    """The curve has every step from the first on, and the losses of the undisturbed run."""
    assert [step for step, _ in curve] == list(range(first, STEPS + 1))
    for step, loss in curve:
        assert loss == pytest.approx(alone[step], abs=TOLERANCE), step


def resumed_at(place: Path) -> int:
    """The first step after the newest checkpoint."""
    newest = state.latest(place)
    assert newest is not None
    return int(newest.name.removeprefix("step-")) + 1


def killed_alone(_: Meeting, place: Path, step: int) -> None:
    train(None, place, planned(), killed_at=(0, step))


@pytest.mark.slow
def test_killed_at_any_step_a_run_goes_on_as_if_nothing_had_been(alone: dict[int, float], tmp_path: Path):
    step = random.randrange(SAVED_EVERY + 2, STEPS)
    (outcome,) = together(1, tmp_path / "meeting", killed_alone, tmp_path / "run", step)
    assert outcome.code == -9, (step, outcome.error)
    first = resumed_at(tmp_path / "run")
    assert first == (step - 1) // SAVED_EVERY * SAVED_EVERY + 1
    curve = train(None, tmp_path / "run", planned())
    same(curve, alone, first)
    assert all(loss == alone[step] for step, loss in curve)  # on a CPU to the bit


def pair_then_loss(meeting: Meeting, place: Path, step: int) -> list[tuple[int, float]]:
    """A whole run of two processes, then one whose second process is killed in the middle of a step."""
    from recast.train import parallel

    curve = train(meeting, place / "whole", planned(PAIR, save_every_steps=STEPS))
    parallel.stop(parallel.Ranks(size=2))
    with pytest.raises(TrainingError) as caught:
        train(meeting, place / "broken", planned(PAIR), killed_at=(1, step))
    assert "another process of the run is gone" in str(caught.value)
    assert "goes on from its newest checkpoint" in str(caught.value)
    return curve


def pair_again(meeting: Meeting, place: Path) -> list[tuple[int, float]]:
    return train(meeting, place, planned(PAIR, save_every_steps=STEPS))


@pytest.mark.slow
def test_two_processes_have_the_same_curve_and_two_or_one_go_on_where_a_process_was_lost(
    alone: dict[int, float], tmp_path: Path
):
    step = random.randrange(SAVED_EVERY + 2, STEPS)
    first, second = together(2, tmp_path / "meeting", pair_then_loss, tmp_path, step)
    assert second.code == -9, (step, second.error)
    (curve,) = values([first])
    same(curve, alone, 1)
    place = tmp_path / "broken"
    begin = resumed_at(place)
    assert begin == (step - 1) // SAVED_EVERY * SAVED_EVERY + 1
    shutil.copytree(place, tmp_path / "copy")
    same(train(None, place, planned(save_every_steps=STEPS)), alone, begin)  # another number of processes
    for curve in values(together(2, tmp_path / "again", pair_again, tmp_path / "copy")):
        same(curve, alone, begin)


def test_a_loss_that_is_no_number_is_skipped_and_ends_the_run_in_the_end(tmp_path: Path):
    course = settings(steps=6, skips_allowed=2)
    curve = dict(train(None, tmp_path / "one", course, spoilt=(4,)))
    assert [step for step, loss in curve.items() if loss != loss] == [4]
    with pytest.raises(TrainingError, match=r"step 5: 2 steps in a row .* nothing after step 3 is kept"):
        train(None, tmp_path / "two", course, spoilt=(4, 5))
    assert resumed_at(tmp_path / "two") == 4
    again = dict(train(None, tmp_path / "two", replace(course, run=replace(course.run, skips_allowed=9))))
    assert list(again) == [4, 5, 6]


def broken(_: Meeting) -> None:
    raise ValueError("on purpose")


def test_the_helper_tells_how_a_process_ended(tmp_path: Path):
    (outcome,) = together(1, tmp_path, broken)
    assert outcome.code == 1
    with pytest.raises(AssertionError, match=r"process 0 ended with 1[\s\S]*on purpose"):
        values([outcome])
