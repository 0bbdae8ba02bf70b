"""The loop, top to bottom, in one function: the same for every stage, on one process or on many.

`run` is an iterator of what happened. Whoever holds it draws the bar and decides when to stop; stopping it by
`should_stop` saves first, so that the next call goes on with the step after.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recast.errors import TrainingError
from recast.train import optim, state
from recast.train.ema import Average
from recast.train.journal import Journal
from recast.train.parallel import ALONE, Ranks
from recast.train.settings import Settings
from recast.train.stage import Batches, Phase, Stage, trained
from recast.train.state import MEDIAN_OF, Progress

log = logging.getLogger(__name__)

SPIKE = 10.0
"""A gradient this many times the running median of its norm is not followed."""

@dataclass(frozen=True)
class Event:
    """One optimiser step, or the end."""

    progress: Progress
    share: float  # of the run; 1 or more at its end
    numbers: Mapping[str, float]  # what was logged at this step; empty between
    checkpoint: Path | None = None  # written after this step
    is_last: bool = False


def run(
    stage: Stage,
    batches: Batches,
    settings: Settings,
    place: Path,
    *,
    ranks: Ranks = ALONE,
    journal: Journal | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Event]:
    """Train until the run's steps or minutes are over, from the newest whole checkpoint in `place`, if any.

    Raises ConfigError if that checkpoint is of another run, TrainingError after `skips_allowed` steps in a row whose
    gradients cannot be followed, and whatever `state.save` raises; the checkpoints written before stay good.
    """
    course = settings.run
    journal = journal or Journal(place, ranks)
    optimisers = {phase.name: optim.build(trained(phase, stage.networks), phase.optimiser) for phase in stage.phases}
    averages = {name: Average(stage.networks[name]) for name in stage.averaged}
    kept = state.Parts(networks=stage.networks, optimisers=optimisers, averages=averages)
    progress = Progress()
    resumed = state.latest(place)
    if resumed is not None:
        progress, at = state.load(resumed, kept, settings, ranks)
        batches.load_state(at)
        journal.event("resumed", checkpoint=resumed.name, step=progress.step, samples=progress.samples)
    before, started, saved = progress.seconds, clock(), progress.step
    stream = iter(batches)
    meter = Meter(stage, course.peak_tflops, ranks, clock)

    try:
        while True:
            share = ranks.agree(course.share(progress.step, progress.seconds))
            if share >= 1 or ranks.any(should_stop()):
                break
            for phase in stage.phases:
                optim.set_rate(optimisers[phase.name], optim.rate(phase.optimiser, progress.step, share))
                for optimiser in optimisers[phase.name]:
                    optimiser.zero_grad(set_to_none=True)
            for _ in range(course.accumulate):
                with meter.waiting():
                    batch = next(stream)
                prepared = stage.prepare(batch, share)
                for phase in stage.phases:
                    loss = stage.loss(phase.name, prepared, share)
                    if loss is None:
                        continue
                    (loss.value / course.accumulate).backward()
                    meter.add(phase.name, loss)
                meter.count(batch)
                progress.samples += stage.count(batch)
            progress.step += 1
            followed = [_follow(phase, stage, optimisers, progress, meter) for phase in stage.phases]
            if all(followed):
                progress.in_a_row = 0
                for average in averages.values():
                    average.update(_decay(course.average_half_life, progress.step, share))
            else:
                progress.skipped += 1
                progress.in_a_row += 1
                journal.event("skipped", step=progress.step, norms={k: v[-1:] for k, v in progress.norms.items()})
            progress.seconds = before + clock() - started
            if progress.in_a_row >= course.skips_allowed:
                raise TrainingError(
                    f"step {progress.step}: {progress.in_a_row} steps in a row gave gradients that are not finite or "
                    f"more than {SPIKE:g} times their usual size; nothing after step {saved} is kept; lower the "
                    "learning rate, or look at the examples that the journal names, and continue"
                )

            numbers: dict[str, float] = {}
            if progress.step % course.log_every_steps == 0:
                numbers |= meter.read() | {
                    f"{name}/lr": optimiser[0].param_groups[0]["lr"] for name, optimiser in optimisers.items()
                }
            if progress.step % course.validate_every_steps == 0:
                numbers |= _validate(stage, averages)
                meter.forget()
            if numbers:
                journal.log(progress.step, progress.samples, progress.seconds, numbers)
            if course.sample_every_steps and progress.step % course.sample_every_steps == 0:
                for name, picture in _samples(stage, averages).items():
                    journal.picture(name, picture, progress.step)
                meter.forget()
            written = None
            if progress.step % course.save_every_steps == 0:
                written = state.save(place, kept, progress, batches.state(), settings, ranks)
                saved = progress.step
                meter.forget()
            yield Event(progress, course.share(progress.step, progress.seconds), numbers, written)
        numbers = _validate(stage, averages)
        journal.log(progress.step, progress.samples, progress.seconds, numbers)
        written = None
        if progress.step > saved or resumed is None:
            written = state.save(place, kept, progress, batches.state(), settings, ranks)
        yield Event(progress, course.share(progress.step, progress.seconds), numbers, written, is_last=True)
    finally:
        batches.close()
        journal.close()


def _follow(
    phase: Phase, stage: Stage, optimisers: Mapping[str, list[Any]], progress: Progress, meter: Meter
) -> bool:
    """Take the step of a phase, unless its gradient is not finite or far out of its usual size."""
    parameters = [parameter for _, parameter in trained(phase, stage.networks) if parameter.grad is not None]
    if not parameters:  # a phase that has not begun
        return True
    norm = optim.gradient_norm(parameters)
    size = float(norm)
    meter.note(f"{phase.name}/grad_norm", size)
    usual = progress.norms.setdefault(phase.name, [])
    is_usual = len(usual) < MEDIAN_OF // 4 or size <= SPIKE * statistics.median(usual)
    if not (size == size and abs(size) != float("inf") and is_usual):
        return False
    optim.clip(parameters, norm, phase.optimiser.clip)
    for optimiser in optimisers[phase.name]:
        optimiser.step()
    usual.append(size)
    del usual[:-MEDIAN_OF]
    return True


def _decay(half_life: float, step: int, share: float) -> float:
    """What is left of an average after one step, so that half is left after its half-life.

    half_life: in steps if above 1, else a share of the run, whose length is told by how far it is. It warms up:
    after n steps no more than (1 + n) / (10 + n) is kept.
    """
    steps = half_life if half_life > 1 else half_life * (step / share if share > 0 else 1.0)
    return min(0.5 ** (1 / max(steps, 1e-9)), (1 + step) / (10 + step))


def _validate(stage: Stage, averages: Mapping[str, Average]) -> dict[str, float]:
    """The stage's own numbers, of the weights as they are and of their averages."""
    raw = {f"val/{name}": value for name, value in stage.validate().items()}
    if not averages:
        return raw
    with Average.all_in(averages.values()):
        return raw | {f"val_ema/{name}": value for name, value in stage.validate().items()}


def _samples(stage: Stage, averages: Mapping[str, Average]) -> Mapping[str, Any]:
    with Average.all_in(averages.values()):
        return stage.samples()


class Meter:
    """What happened since the last reading: losses, speed, waiting, memory. Losses stay on the device till then."""

    def __init__(self, stage: Stage, peak_tflops: float | None, ranks: Ranks, clock: Callable[[], float]) -> None:
        self.stage, self.peak, self.ranks, self.clock = stage, peak_tflops, ranks, clock
        self.forget()

    def forget(self) -> None:
        """Start anew: what came between is not training."""
        self._sums: dict[str, list[torch.Tensor]] = {}
        self._notes: dict[str, deque[float]] = {}
        self._waited = self._flops = 0.0
        self._samples = 0
        self._since = self.clock()

    def waiting(self) -> _Waiting:
        return _Waiting(self)

    def add(self, phase: str, loss: Any) -> None:
        for name, value in {"loss": loss.value.detach(), **loss.parts}.items():
            self._sums.setdefault(f"{phase}/{name}", []).append(value.float())

    def note(self, name: str, value: float) -> None:
        self._notes.setdefault(name, deque()).append(value)

    def count(self, batch: Any) -> None:
        self._samples += self.stage.count(batch)
        self._flops += self.stage.flops(batch)

    def read(self) -> dict[str, float]:
        """The means since the last reading, over all processes, and the speed."""
        means = {name: torch.stack(values).nanmean() for name, values in self._sums.items()}
        numbers = self.ranks.mean(means) | {name: sum(v) / len(v) for name, v in self._notes.items()}
        seconds = max(self.clock() - self._since, 1e-9)
        self.peak = self.peak or self.ranks.measure_peak()
        numbers |= {
            "perf/images_s": self._samples / seconds,
            "perf/mfu": self._flops / seconds / (self.peak * 1e12),
            "perf/data_wait": self._waited / seconds,
            "perf/memory_gib": self.ranks.peak_gib(),
        }
        self.forget()
        return numbers


class _Waiting:
    """Adds the time spent inside to the meter's waiting."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def __enter__(self) -> None:
        self.begun = self.meter.clock()

    def __exit__(self, *_: object) -> None:
        self.meter._waited += self.meter.clock() - self.begun
