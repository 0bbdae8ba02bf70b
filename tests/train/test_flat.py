"""A run whose held-out loss is flat: its rates begin to decay there, and it is over as much sooner."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recast.errors import ConfigError
from recast.train.loop import Event, run
from recast.train.settings import Run
from tests.train.test_loop import OPTIMISER, Line, Numbers, Recorder, short


class Judged(Line):
    """Its averaged weights have the held-out loss that is told, by step; its rate is full for half of the run."""

    def __init__(self, loss: Callable[[int], float], schedule: str = "wsd") -> None:
        super().__init__()
        optimiser = replace(OPTIMISER, schedule=schedule, decay_from=0.5, floor=0.0)
        self.phases = [replace(self.phases[0], optimiser=optimiser)]
        self.told, self.step = loss, 1

    def validate(self) -> Mapping[str, float]:
        """Of the weights as they are first, then of their averages."""
        self.judged += 1
        return {"loss": 1.0 if self.judged % 2 else self.told(self.step)}


def gone(place: Path, loss: Callable[[int], float], *, stop_at: int = -1, schedule: str = "wsd", **changes: object):
    """The last event of a run of 40 steps that is judged at each, by three validations; and its journal."""
    made, journal = Judged(loss, schedule), Recorder()
    settings = short(steps=40, **{"validate_every_steps": 1, "flat_over": 3, "flat_gain": 0.01} | changes)
    last: Event | None = None
    made.step = 1 + max((int(each.name[5:]) for each in (place / "checkpoints").glob("step-*")), default=0)
    for last in run(made, Numbers(), settings, place, journal=journal, should_stop=lambda: made.step - 1 == stop_at):
        made.step = last.progress.step + 1
    assert last is not None
    return last, journal


def falls_until_4(step: int) -> float:
    return 1.0 + max(0, 4 - step)


def test_the_end_begins_where_the_held_out_loss_is_flat(tmp_path: Path):
    """Steps 5 to 7 gain nothing over step 4: after 7 of 40 steps the decay begins that was to begin after 20."""
    last, journal = gone(tmp_path, falls_until_4)
    assert (last.progress.step, last.is_last) == (14, True)
    ((kind, said),) = journal.events
    assert (kind, said["step"], said["losses"]) == ("flat", 7, [1.0] * 4)
    rates = [line["fit/lr"] / 0.01 for _, line in journal.lines if "fit/lr" in line]
    assert rates == pytest.approx([1.0] * 8 + [1 - n / 7 for n in range(1, 7)])


@pytest.mark.parametrize("stop_at", [6, 7, 10])
def test_a_run_that_was_stopped_on_the_way_ends_at_the_same_step(stop_at: int, tmp_path: Path):
    stopped, first = gone(tmp_path, falls_until_4, stop_at=stop_at)
    assert (stopped.progress.step, stopped.share < 1) == (stop_at, True)
    last, second = gone(tmp_path, falls_until_4)
    assert last.progress.step == 14
    assert [said["step"] for kind, said in [*first.events, *second.events] if kind == "flat"] == [7]


@pytest.mark.parametrize(
    ("loss", "changes"),
    [
        (lambda step: 0.98**step, {}),  # 5.9 % in three validations
        (lambda step: math.nan, {}),
        (lambda step: 1.0 + max(0, 19 - step), {}),  # flat when the rates decay already
        (falls_until_4, {"schedule": "cosine"}),
        (falls_until_4, {"flat_over": 0}),
    ],
)
def test_a_run_that_gains_or_decays_or_is_not_asked_takes_its_whole_length(
    loss: Callable[[int], float], changes: dict[str, Any], tmp_path: Path
):
    last, journal = gone(tmp_path, loss, **changes)
    assert last.progress.step == 40
    assert journal.events == []


def test_a_rate_that_does_not_decay_ends_at_once(tmp_path: Path):
    last, _ = gone(tmp_path, falls_until_4, schedule="constant")
    assert last.progress.step in (7, 8)  # by the rounding of a share


def test_a_stage_without_a_held_out_loss_is_refused_before_it_takes_a_step(tmp_path: Path):
    made = Line()
    with pytest.raises(ConfigError, match="flat_over=2: stage line measures no held-out loss"):
        list(run(made, Numbers(), short(validate_every_steps=3, flat_over=2), tmp_path, journal=Recorder()))
    assert made.seen == []
    for change in ({"flat_over": -1}, {"flat_gain": 0.0}):
        with pytest.raises(ConfigError, match="accepted"):
            Run(steps=1, **change)
