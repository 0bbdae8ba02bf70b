"""The loop on one process: what it follows and what it skips, how it stops, and that it goes on where it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from recast.errors import ConfigError, TrainingError
from recast.train import loop, objective, state
from recast.train.data.example import Batch
from recast.train.loop import Event, run
from recast.train.parallel import ALONE, Ranks
from recast.train.settings import Optimiser, Run, Settings
from recast.train.stage import Loss, Phase
from tests.train.pairs import pairs, stage

OPTIMISER = Optimiser(lr=0.01, warmup_steps=0, schedule="constant", weight_decay=0.0)


@dataclass
class Numbers:
    """Batches of `size` numbers, one after another."""

    size: int = 4
    position: int = 0
    is_closed: bool = False

    def __iter__(self) -> Iterator[Any]:
        while True:
            first = self.position
            self.position += self.size
            yield self.batch(first)

    def batch(self, first: int) -> Any:
        return range(first, first + self.size)

    def state(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.position = state["position"]

    def close(self) -> None:
        self.is_closed = True


class Pairs(Numbers):
    def batch(self, first: int) -> Batch:
        return pairs(self.size, first=first)


class Recorder:
    """A journal that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.pictures: list[tuple[str, int]] = []
        self.is_closed = False

    def log(self, step: int, samples: int, seconds: float, numbers: Mapping[str, float]) -> None:
        self.lines.append((step, dict(numbers)))

    def event(self, kind: str, **values: Any) -> None:
        self.events.append((kind, values))

    def picture(self, name: str, array: np.ndarray, step: int) -> None:
        self.pictures.append((name, step))

    def close(self) -> None:
        self.is_closed = True


class Line:
    """A stage that fits y = 2x + 1, x drawn by number; `spoil` changes the loss of a step's batch."""

    name = "line"

    def __init__(self, *, late: bool = False, spoil: Callable[[range], float] = lambda batch: 1.0) -> None:
        self.networks: dict[str, nn.Module] = {"line": nn.Linear(1, 1), "other": nn.Linear(1, 1)}
        for network in self.networks.values():
            for parameter in network.parameters():
                nn.init.zeros_(parameter)
        self.phases = [
            Phase(name="fit", networks=("line",), optimiser=OPTIMISER),
            Phase(name="late", networks=("other",), optimiser=OPTIMISER),
        ][: 1 + late]
        self.averaged = ("line",)
        self.spoil, self.seen, self.judged = spoil, [], 0

    def prepare(self, batch: range, share: float) -> range:
        self.seen.append(share)
        return batch

    def loss(self, phase: str, prepared: range, share: float) -> Loss | None:
        if phase == "late" and share < 0.5:
            return None
        network = self.networks["line" if phase == "fit" else "other"]
        x = objective.draw(prepared, 0, (1,))
        value = (network(x) - (2 * x + 1)).square().mean() * self.spoil(prepared)
        return Loss(value, {"twice": 2 * value.detach()})

    def flops(self, batch: range) -> float:
        return 1e12

    def count(self, batch: range) -> int:
        return len(batch)

    def validate(self) -> Mapping[str, float]:
        self.judged += 1
        return {"weight": float(self.networks["line"].weight.detach())}

    def samples(self) -> Mapping[str, np.ndarray]:
        return {"panel": np.zeros((2, 2, 3), np.uint8)}


def short(**changes: Any) -> Settings:
    """Settings of a short run that validates and saves at its end alone."""
    usual = {"steps": 6, "log_every_steps": 1, "validate_every_steps": 1000, "save_every_steps": 1000}
    return Settings(run=Run(**usual | {"sample_every_steps": 0, "peak_tflops": 1.0} | changes))


def go(made: Any, place: Path, settings: Settings, batches: Numbers | None = None, **parts: Any) -> list[Event]:
    return list(run(made, batches or Numbers(), settings, place, **{"journal": Recorder()} | parts))


def values(made: Any) -> list[torch.Tensor]:
    return [p.detach().clone() for network in made.networks.values() for p in network.parameters()]


class Clock:
    """A clock that moves on by `tick` seconds whenever it is read, and when told to."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 100.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


# Going on.


def test_a_run_that_was_stopped_ends_as_one_that_was_not_bit_for_bit(tmp_path: Path):
    settings = short(steps=4, average_half_life=0.2)
    optimiser = Optimiser(kind="muon", lr=1e-3, warmup_steps=2, schedule="wsd", decay_from=0.4)

    def fresh() -> Any:
        return stage(optimiser=optimiser, run={"steps": 4}, held_out=[pairs(1, first=50, captions=((None, None),))])

    whole, first, second = fresh(), fresh(), fresh()
    one, two, three = Recorder(), Recorder(), Recorder()
    *_, end = go(whole, tmp_path / "whole", settings, Pairs(2), journal=one)
    steps = 0

    def should_stop() -> bool:
        nonlocal steps
        steps += 1
        return steps > 2

    *_, stopped = go(first, tmp_path / "parts", settings, Pairs(2), journal=two, should_stop=should_stop)
    assert (stopped.progress.step, stopped.is_last, stopped.share) == (2, True, 0.5)
    with torch.no_grad():  # nothing of what the second call starts with may matter
        for parameter in second.networks["flow"].parameters():
            parameter.add_(1.0)
    *_, again = go(second, tmp_path / "parts", settings, Pairs(2), journal=three)
    assert again.progress.step == end.progress.step == 4
    assert again.progress.samples == end.progress.samples == 8
    for x, y in zip(values(whole), values(second), strict=True):
        assert torch.equal(x, y)
    assert again.numbers == end.numbers  # of the weights and of their averages
    assert {"val/loss", "val_ema/loss"} <= set(end.numbers)
    losses = [[line["flow/loss"] for _, line in each.lines if "flow/loss" in line] for each in (one, two, three)]
    assert losses[0] == losses[1] + losses[2]
    assert three.events[0][0] == "resumed"
    assert three.events[0][1]["step"] == 2


def test_the_checkpoint_of_another_run_is_refused_and_all_is_closed(tmp_path: Path):
    go(Line(), tmp_path, short(steps=1))
    journal, batches = Recorder(), Numbers()
    with pytest.raises(ConfigError, match="seed"):
        go(Line(), tmp_path, short(steps=2, seed=5), batches, journal=journal)
    assert journal.is_closed
    assert batches.is_closed


def test_a_finished_run_is_not_trained_on(tmp_path: Path):
    made = Line()
    go(made, tmp_path, short(steps=3))
    before = values(made)
    trained, last = go(made, tmp_path, short(steps=3))
    assert (trained.is_saved, trained.is_last, last.is_last) == (True, False, True)
    assert last.progress.step == 3
    assert all(torch.equal(x, y) for x, y in zip(before, values(made), strict=True))


# Skipping.


def test_a_step_without_a_finite_gradient_is_skipped_and_named(tmp_path: Path):
    made, journal = Line(spoil=lambda batch: math.nan if batch[0] == 8 else 1.0), Recorder()
    held: list[list[torch.Tensor]] = []
    events = []
    for event in run(made, Numbers(), short(), tmp_path, journal=journal):
        events.append(event)
        held.append(values(made))
    assert [event.progress.skipped for event in events] == [0, 0, 1, 1, 1, 1, 1, 1]
    assert [event.progress.in_a_row for event in events] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert torch.equal(held[1][0], held[2][0])
    assert not torch.equal(held[2][0], held[3][0])
    ((kind, said),) = journal.events
    assert (kind, said["step"]) == ("skipped", 3)
    assert math.isnan(said["norms"]["fit"])


def test_the_journal_names_the_examples_of_a_skipped_step(tmp_path: Path):
    made, journal = stage(run={"steps": 1}), Recorder()
    with torch.no_grad():
        made.flow.img_in.weight.fill_(math.nan)
    go(made, tmp_path, short(steps=1, accumulate=2), Pairs(2), journal=journal)
    assert journal.events[0][1]["examples"] == ["pair-0", "pair-1", "pair-2", "pair-3"]


def test_three_such_steps_in_a_row_end_the_run_and_leave_its_checkpoints(tmp_path: Path):
    made, journal, batches = Line(spoil=lambda batch: math.inf if batch[0] >= 16 else 1.0), Recorder(), Numbers()
    with pytest.raises(
        TrainingError, match=r"step 7: 3 steps in a row .* after step 6 is kept; continue with a higher run"
    ):
        go(made, tmp_path, short(steps=20, save_every_steps=2), batches, journal=journal)
    assert journal.is_closed
    assert batches.is_closed
    well = Line(spoil=lambda batch: math.nan if batch[0] == 24 else 1.0)
    first = next(run(well, Numbers(), short(steps=20, skips_allowed=3), tmp_path, journal=Recorder()))
    assert (first.progress.step, first.progress.skipped, first.progress.in_a_row) == (7, 3, 1)  # counted anew


@pytest.mark.parametrize(
    "change",
    [{"skips_allowed": 0}, {"average_half_life": 0.0}, {"sample_every_steps": -1}, {"peak_tflops": 0.0}],
)
def test_a_course_that_cannot_be_run_is_refused(change: dict[str, Any]):
    ((name, value),) = change.items()
    with pytest.raises(ConfigError, match=f"{name}={value}: .*accepted"):
        Run(steps=1, **change)


def test_a_gradient_far_above_its_usual_size_is_skipped_once_a_usual_size_is_known(tmp_path: Path):
    made = Line(spoil=lambda batch: 1000.0 if batch[0] in (40, 160) else 1.0)
    *_, last = go(made, tmp_path, short(steps=42))
    assert last.progress.skipped == 1  # at step 41; at step 11 nothing is usual yet
    assert len(last.progress.norms["fit"]) == 41


def test_phases_are_followed_together_or_not_at_all(tmp_path: Path):
    made = Line(late=True)
    inner = made.loss

    def loss(phase: str, prepared: range, share: float) -> Loss | None:
        found = inner(phase, prepared, share)
        if found is not None and phase == "late" and prepared[0] == 16:
            return Loss(found.value * math.nan, {})
        return found

    made.loss = loss  # type: ignore[method-assign]
    held = []
    for event in run(made, Numbers(), short(steps=6), tmp_path, journal=Recorder()):
        held.append((values(made), dict(event.progress.norms)))
    assert float(held[1][0][2].abs()) == 0  # not begun
    assert "late" not in held[1][1]
    assert float(held[3][0][2].abs()) > 0
    assert all(torch.equal(x, y) for x, y in zip(held[3][0], held[4][0], strict=True))


# How long.


def test_a_run_of_minutes_ends_by_the_clock_and_goes_on_counting(tmp_path: Path):
    settings, clock = short(steps=None, minutes=1.0), Clock()
    made = Line()
    stream = run(
        made, Numbers(), settings, tmp_path, journal=Recorder(), clock=clock, should_stop=lambda: clock.now > 139
    )
    shares = []
    for event in stream:
        shares.append(event.share)
        clock.now += 10  # between steps
    assert shares[:4] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])
    assert event.is_last
    assert event.progress.seconds == pytest.approx(30)
    clock = Clock()
    again = Line()
    steps = 0
    for event in run(again, Numbers(), settings, tmp_path, journal=Recorder(), clock=clock):
        steps += not event.is_saved
        clock.now += 10
    assert again.seen[0] == pytest.approx(0.5)
    assert steps == 4  # at 30, 40, 50 and 60 s
    assert event.share >= 1


def test_the_share_is_the_further_of_steps_and_minutes():
    course = Run(steps=10, minutes=1.0)
    assert course.share(4, 6.0) == pytest.approx(0.4)
    assert course.share(4, 30.0) == pytest.approx(0.5)


def test_the_rate_follows_the_share(tmp_path: Path):
    made, journal = Line(), Recorder()
    wsd = replace(OPTIMISER, schedule="wsd", decay_from=0.5, floor=0.0)
    made.phases = [replace(made.phases[0], optimiser=wsd)]
    go(made, tmp_path, short(steps=4), journal=journal)
    assert [line["fit/lr"] for _, line in journal.lines if "fit/lr" in line] == pytest.approx([0.01, 0.01, 0.01, 0.005])


def test_a_phase_that_begins_later_warms_up_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By steps of its own, also where the run was broken off, or goes on from a checkpoint that did not count them."""

    def rates(place: Path, stop_at: int | None = None) -> list[tuple[float, float]]:
        made, journal = Line(late=True), Recorder()
        slow = replace(OPTIMISER, lr=1.0, warmup_steps=4)
        made.phases = [replace(phase, optimiser=slow) for phase in made.phases]
        for each in run(
            made, Numbers(), short(steps=12), place, journal=journal,
            should_stop=lambda: len(journal.lines) == stop_at,
        ):  # fmt: skip
            assert each.progress.phases.get("fit", 0) == each.progress.step
        lines = [numbers for _, numbers in journal.lines if "late/lr" in numbers]
        return [(numbers["fit/lr"], numbers["late/lr"]) for numbers in lines]

    fit = [0.25, 0.5, 0.75, *[1.0] * 9]
    late = [*[0.25] * 6, 0.25, 0.5, 0.75, *[1.0] * 3]
    expected = list(zip(fit, late, strict=True))
    assert rates(tmp_path / "whole") == expected
    parts = tmp_path / "parts"
    assert [*rates(parts, 8), *rates(parts)] == expected
    older = tmp_path / "older"
    rates(older, 8)
    inner = state.load

    def without(*told: Any) -> tuple[state.Progress, dict[str, Any]]:
        progress, stream = inner(*told)
        assert progress.phases == {"fit": 8, "late": 2}
        return replace(progress, phases={}), stream

    monkeypatch.setattr(state, "load", without)
    assert rates(older) == [(1.0, 1.0)] * 4


def test_stopping_saves_at_once_and_the_end_is_judged(tmp_path: Path):
    made, journal = Line(), Recorder()
    *_, last = go(made, tmp_path / "a", short(), journal=journal, should_stop=lambda: len(made.seen) == 2)
    assert last.checkpoint is not None
    assert made.judged == 0
    assert last.numbers == {}
    made, journal = Line(), Recorder()
    *_, last = go(made, tmp_path / "b", short(sample_every_steps=4), journal=journal)
    assert made.judged == 2  # the weights, and their average
    assert set(last.numbers) == {"val/weight", "val_ema/weight"}
    assert journal.pictures == [("panel", 4), ("panel", 6)]


def test_a_last_step_that_is_judged_in_its_turn_is_judged_once(tmp_path: Path):
    made, journal = Line(), Recorder()
    *_, last = go(made, tmp_path, short(validate_every_steps=3, sample_every_steps=2), journal=journal)
    assert made.judged == 4  # at 3 and at 6, the weights and their average
    assert [step for step, told in journal.lines if "val_ema/weight" in told] == [3, 6]
    assert journal.pictures == [("panel", 2), ("panel", 4), ("panel", 6)]
    assert last.numbers == {"val/weight": made.validate()["weight"], "val_ema/weight": last.numbers["val_ema/weight"]}
    *_, again = go(made, tmp_path, short(validate_every_steps=3, sample_every_steps=2), journal=journal)
    assert again.numbers == last.numbers  # by a call that takes no step


def test_judging_is_left_for_another_call(tmp_path: Path):
    """By whoever leaves off where all is saved, or has asked to stop by then."""
    made, journal, batches = Line(), Recorder(), Numbers()
    events = run(made, batches, short(), tmp_path / "a", journal=journal)
    left = next(event for event in events if event.is_saved)
    events.close()
    assert (left.share, left.is_last, made.judged) == (1, False, 0)
    assert left.checkpoint is not None
    assert journal.is_closed
    assert batches.is_closed
    asked = Line()
    *_, last = go(asked, tmp_path / "b", short(), should_stop=lambda: len(asked.seen) == 6)
    assert (last.share, last.is_last, last.numbers, asked.judged) == (1, True, {}, 0)
    for place in (tmp_path / "a", tmp_path / "b"):
        again = Line()
        *_, last = go(again, place, short())
        assert (len(again.seen), again.judged, set(last.numbers)) == (0, 2, {"val/weight", "val_ema/weight"})


# Numbers.


def test_batches_of_a_step_add_up_to_one_large_batch(tmp_path: Path):
    one, two, whole, parts = Line(), Line(), Recorder(), Recorder()
    go(one, tmp_path / "a", short(steps=3), Numbers(8), journal=whole)
    go(two, tmp_path / "b", short(steps=3, accumulate=2), Numbers(4), journal=parts)
    torch.testing.assert_close(values(one), values(two))
    for (_, large), (_, small) in zip(whole.lines[:3], parts.lines[:3], strict=True):
        for name in ("fit/loss", "fit/grad_norm"):
            assert small[name] == pytest.approx(large[name], rel=1e-5)


def test_half_of_the_average_is_left_after_its_half_life():
    for step in (2000, 5000):  # far from the warm-up
        assert loop._decay(50, step, 0.5) == pytest.approx(0.5 ** (1 / 50))
        assert loop._decay(0.05, step, (step - 1) / 1000) == pytest.approx(0.5 ** (1 / 50))
    assert loop._decay(0.05, 1, 0.0) < 1e-6  # the length is not known yet
    assert loop._decay(1e9, 11, 0.5) == pytest.approx(12 / 21)


def test_the_average_follows_the_weights(tmp_path: Path):
    made = Line()
    *_, last = go(made, tmp_path, short(steps=40, average_half_life=4))
    raw, average = last.numbers["val/weight"], last.numbers["val_ema/weight"]
    assert raw == float(made.networks["line"].weight.detach())  # taken out again
    assert 0 < average < raw


def test_speed_counts_training_alone_and_all_processes(tmp_path: Path):
    """A step takes 2 s, waiting for its batch 1 s more; what the caller does in between is not counted."""
    clock, journal, made = Clock(), Recorder(), Line()

    class Slow(Numbers):
        def __iter__(self) -> Iterator[Any]:
            for batch in super().__iter__():
                clock.now += 1
                yield batch

    inner = made.loss

    def loss(phase: str, prepared: range, share: float) -> Loss | None:
        clock.now += 2
        return inner(phase, prepared, share)

    made.loss = loss  # type: ignore[method-assign]
    for _ in run(made, Slow(), short(log_every_steps=2), tmp_path, journal=journal, clock=clock):  # type: ignore[arg-type]
        clock.now += 100
    for _, line in journal.lines[:-1]:
        assert line["perf/images_s"] == pytest.approx(8 / 6)
        assert line["perf/data_wait"] == pytest.approx(1 / 3)
        assert line["perf/mfu"] == pytest.approx(2 / 6)
        assert line["fit/twice"] == pytest.approx(2 * line["fit/loss"])


def test_a_lost_process_ends_in_words(tmp_path: Path):
    class Lost(Ranks):
        def has_lost(self, problem: BaseException) -> bool:
            return "peer" in str(problem)

    def spoil(batch: range) -> float:
        raise RuntimeError("Connection closed by peer")

    with pytest.raises(TrainingError, match="another process of the run is gone"):
        go(Line(spoil=spoil), tmp_path, short(), ranks=Lost())
    with pytest.raises(RuntimeError, match="closed by peer"):
        go(Line(spoil=spoil), tmp_path, short(), ranks=ALONE)


def test_events_keep_what_was_true_when_they_came(tmp_path: Path):
    events = list(islice(run(Line(), Numbers(), short(), tmp_path, journal=Recorder()), 3))
    assert [event.progress.step for event in events] == [1, 2, 3]
