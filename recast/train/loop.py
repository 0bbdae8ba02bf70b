"""The loop, top to bottom, in one function: the same for every stage, on one process or on many.

`run` is an iterator of what happened. Whoever holds it draws the bar and decides when to stop; stopping it by
`should_stop` saves first, so that the next call goes on with the step after.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recast.errors import ConfigError, TrainingError
from recast.train import hardware, optim, state
from recast.train.ema import Average
from recast.train.journal import Journal
from recast.train.parallel import ALONE, Ranks
from recast.train.settings import Run, Settings
from recast.train.stage import Batches, Loss, Phase, Stage, trained
from recast.train.state import MEDIAN_OF, Progress

log = logging.getLogger(__name__)

SPIKE = 10.0
"""A gradient this many times the running median of its norm is not followed."""


@dataclass(frozen=True)
class Event:
    """One optimiser step, the course gone through and saved, or the end."""

    progress: Progress
    share: float  # of the run; 1 or more at its end
    numbers: Mapping[str, float]  # what was logged at this step; empty between
    checkpoint: Path | None = None  # written after this step
    is_saved: bool = False  # all that was learned is, and no step follows: the judging may be left for another call
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

    The end is judged when all is saved, and an event before that says so: left off there, or asked to stop by then, the
    next call judges. Where `flat_over` is set and the held-out loss becomes flat, the run ends sooner (`_end_if_flat`).
    Raises ConfigError if that checkpoint is of another run, or where there is no held-out loss for `flat_over`;
    TrainingError after `skips_allowed` steps in a row whose gradients cannot be followed, and whatever `state.save`
    raises; the checkpoints written before stay good.
    """
    journal = journal or Journal(place, ranks)
    try:
        optimisers = {
            phase.name: optim.build(trained(phase, stage.networks), phase.optimiser) for phase in stage.phases
        }
        averages = {name: Average(stage.networks[name]) for name in stage.averaged}
        kept = state.Parts(networks=stage.networks, optimisers=optimisers, averages=averages)
        progress = Progress()
        resumed = state.latest(place, ranks)
        if resumed is not None:
            progress, at = state.load(resumed, kept, settings, ranks)
            progress.in_a_row = 0  # whoever continues has changed something
            for name in progress.norms:  # of a checkpoint that did not count the steps of phases
                progress.phases.setdefault(name, progress.step)
            batches.load_state(at)
            journal.event("resumed", checkpoint=resumed.name, step=progress.step, samples=progress.samples)
        machine = f"{ranks.size} x {hardware.name(ranks.device)}"
        before, on_it = progress.seconds, progress.hardware.get(machine, 0.0)
        if settings.run.flat_over:  # asked before a step is taken: none is lost
            _held_out_loss(stage, settings.run, _validate(stage, averages))
        started, saved = clock(), -1 if resumed is None else progress.step
        judged: Mapping[str, float] = {}
        judged_at = drawn_at = -1  # the step, by this call
        stream = iter(batches)
        meter = Meter(stage, settings.run.peak_tflops, ranks, clock)

        while True:
            share = ranks.agree(progress.share(settings.run))
            is_over = share >= 1
            if is_over or ranks.any(should_stop()):
                break
            for phase in stage.phases:
                own = progress.phases.get(phase.name, 0)  # one that begins later warms up then
                optim.set_rate(optimisers[phase.name], optim.rate(phase.optimiser, own, share))
                for optimiser in optimisers[phase.name]:
                    optimiser.zero_grad(set_to_none=True)
            names: list[str] = []
            for _ in range(settings.run.accumulate):
                with meter.waiting():
                    batch = next(stream)
                prepared = stage.prepare(batch, share)
                for phase in stage.phases:
                    loss = stage.loss(phase.name, prepared, share)
                    if loss is None:
                        continue
                    (loss.value / settings.run.accumulate).backward()
                    meter.add(phase.name, loss)
                meter.count(batch)
                progress.samples += stage.count(batch)
                names += getattr(batch, "ids", ())
            progress.step += 1

            norms = _norms(stage, meter)
            for name in norms:
                progress.phases[name] = progress.phases.get(name, 0) + 1
            if all(_is_usual(float(norm), progress.norms.get(name, [])) for name, norm in norms.items()):
                for phase in stage.phases:
                    if phase.name in norms:  # it has begun
                        optim.clip(_moved(phase, stage), norms[phase.name], phase.optimiser.clip)
                        for optimiser in optimisers[phase.name]:
                            optimiser.step()
                        usual = progress.norms.setdefault(phase.name, [])
                        usual[:] = [*usual, float(norms[phase.name])][-MEDIAN_OF:]
                progress.in_a_row = 0
                for average in averages.values():
                    average.update(_decay(settings.run.average_half_life, progress.step, share))
            else:
                progress.skipped += 1
                progress.in_a_row += 1
                sizes = {name: float(norm) for name, norm in norms.items()}
                journal.event("skipped", step=progress.step, norms=sizes, examples=names)
            passed = clock() - started
            progress.seconds = before + passed
            progress.hardware = {**progress.hardware, machine: on_it + passed}
            if progress.in_a_row >= settings.run.skips_allowed:
                raise TrainingError(
                    f"step {progress.step}: {progress.in_a_row} steps in a row gave gradients that are not finite or "
                    f"more than {SPIKE:g} times their usual size; nothing after step {max(saved, 0)} is kept; continue "
                    "with a higher run.skips_allowed if the examples that the journal names are to blame, or begin "
                    "another run from these weights with a lower learning rate"
                )

            numbers: dict[str, float] = {}
            if progress.step % settings.run.log_every_steps == 0:
                numbers |= meter.read() | {
                    f"{name}/lr": each[0].param_groups[0]["lr"] for name, each in optimisers.items()
                }
            with meter.pausing():
                if progress.step % settings.run.validate_every_steps == 0:
                    judged, judged_at = _validate(stage, averages), progress.step
                    _end_if_flat(stage, settings.run, progress, judged, ranks, journal)
                    numbers |= judged
                if numbers:
                    journal.log(progress.step, progress.samples, progress.seconds, numbers)
                if settings.run.sample_every_steps and progress.step % settings.run.sample_every_steps == 0:
                    _draw(stage, averages, journal, progress.step)
                    drawn_at = progress.step
                written = None
                if progress.step % settings.run.save_every_steps == 0:
                    written = state.save(place, kept, progress, batches.state(), settings, ranks)
                    saved = progress.step
                yield Event(replace(progress), progress.share(settings.run), numbers, written)

        written = None
        if progress.step > saved:  # first of all: whoever stops a run may not wait for more
            written = state.save(place, kept, progress, batches.state(), settings, ranks)
        numbers = {}
        if is_over:
            yield Event(replace(progress), progress.share(settings.run), numbers, written, is_saved=True)
        if is_over and not ranks.any(should_stop()):
            if judged_at != progress.step:  # else the last step was judged in its turn, and the journal has it
                judged = _validate(stage, averages)
                journal.log(progress.step, progress.samples, progress.seconds, judged)
            numbers = dict(judged)
            if settings.run.sample_every_steps and drawn_at != progress.step:
                _draw(stage, averages, journal, progress.step)
        yield Event(replace(progress), progress.share(settings.run), numbers, written, is_saved=True, is_last=True)
    except RuntimeError as problem:
        if not ranks.has_lost(problem):
            raise
        raise TrainingError(
            f"process {ranks.rank} of {ranks.size}: another process of the run is gone or does not answer "
            f"({str(problem).splitlines()[0]}); all that were started are needed; start the run again, "
            "it goes on from its newest checkpoint"
        ) from problem
    finally:
        batches.close()
        journal.close()


def _moved(phase: Phase, stage: Stage) -> list[nn.Parameter]:
    """The parameters of a phase that have a gradient."""
    return [parameter for _, parameter in trained(phase, stage.networks) if parameter.grad is not None]


def _norms(stage: Stage, meter: Meter) -> dict[str, torch.Tensor]:
    """The norm of each phase's gradient, on the CPU; of a phase that has not begun, nothing."""
    moved = {phase.name: _moved(phase, stage) for phase in stage.phases}
    norms = {name: optim.gradient_norm(parameters) for name, parameters in moved.items() if parameters}
    for name, norm in norms.items():
        meter.note(f"{name}/grad_norm", float(norm))
    return norms


def _is_usual(size: float, before: list[float]) -> bool:
    """Whether a norm is finite, and not far above the median of those before it, once there are enough of them."""
    return math.isfinite(size) and (len(before) < MEDIAN_OF // 4 or size <= SPIKE * statistics.median(before))


def _decay(half_life: float, step: int, share: float) -> float:
    """What is left of an average after one step, so that half is left after its half-life.

    half_life: in steps if above 1, else a share of the run, whose length is told by the share that was done before
    step `step` (from 1). It warms up: after n steps no more than (1 + n) / (10 + n) is kept.
    """
    length = (step - 1) / share if share > 0 else 0.0
    steps = half_life if half_life > 1 else half_life * length
    return min(0.5 ** (1 / max(steps, 1e-9)), (1 + step) / (10 + step))


def _validate(stage: Stage, averages: Mapping[str, Average]) -> dict[str, float]:
    """The stage's own numbers, of the weights as they are and of their averages."""
    raw = {f"val/{name}": value for name, value in stage.validate().items()}
    if not averages:
        return raw
    with Average.all_in(averages.values()):
        return raw | {f"val_ema/{name}": value for name, value in stage.validate().items()}


def _end_if_flat(
    stage: Stage, run: Run, progress: Progress, judged: Mapping[str, float], ranks: Ranks, journal: Journal
) -> None:
    """Begin the end of a run whose held-out loss, by the averaged weights where there are some, is flat.

    It is flat if the best of the last `flat_over` validations is less than `flat_gain`, as a share, below the one
    before them. The run then stands where its rates begin to decay, and goes through the rest as much faster: what
    a decay gains is not lost. Rates that do not decay end at once, and those that already do go on as planned: those
    of a cosine, from the first step on.
    """
    if not run.flat_over:
        return
    loss = ranks.agree(_held_out_loss(stage, run, judged))
    progress.judged = [*progress.judged, loss][-run.flat_over - 1 :]
    first, *last = progress.judged
    share = ranks.agree(progress.share(run))
    end = min(phase.optimiser.full_until for phase in stage.phases)
    if share < end and len(last) == run.flat_over and first - min(last) < run.flat_gain * first:
        journal.event("flat", step=progress.step, samples=progress.samples, share=share, losses=progress.judged)
        progress.pace, progress.judged = progress.pace * end / share, []


def _held_out_loss(stage: Stage, run: Run, judged: Mapping[str, float]) -> float:
    """The one that `flat_over` looks at. Raises ConfigError for a stage that measures none."""
    loss = judged.get("val_ema/loss", judged.get("val/loss"))
    if loss is None:
        raise ConfigError(
            f"flat_over={run.flat_over}: stage {stage.name} measures no held-out loss; 0 accepted, or a flow with "
            "data.held_out above 0"
        )
    return loss


def _draw(stage: Stage, averages: Mapping[str, Average], journal: Journal, step: int) -> None:
    with Average.all_in(averages.values()):
        pictures = stage.samples()
    for name, picture in pictures.items():
        journal.picture(name, picture, step)


class Meter:
    """What happened since the last reading: losses, speed, waiting, memory. Losses stay on the device till then."""

    def __init__(self, stage: Stage, peak_tflops: float | None, ranks: Ranks, clock: Callable[[], float]) -> None:
        self.stage, self.ranks, self.clock = stage, ranks, clock
        self.peak = None if peak_tflops is None else peak_tflops * ranks.size  # of all processes together
        self._begin()

    def _begin(self) -> None:
        self._sums: dict[str, list[torch.Tensor]] = {}
        self._notes: dict[str, list[float]] = {}
        self._waited = self._paused = self._flops = 0.0
        self._samples = 0
        self._since = self.clock()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent inside is training's, waiting for data."""
        begun = self.clock()
        yield
        self._waited += self.clock() - begun

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Time spent inside is not training's."""
        begun = self.clock()
        yield
        self._paused += self.clock() - begun

    def add(self, phase: str, loss: Loss) -> None:
        for name, value in {"loss": loss.value.detach(), **loss.parts}.items():
            self._sums.setdefault(f"{phase}/{name}", []).append(value.float())

    def note(self, name: str, value: float) -> None:
        self._notes.setdefault(name, []).append(value)

    def count(self, batch: Any) -> None:
        self._samples += self.stage.count(batch)
        self._flops += self.stage.flops(batch) * self.ranks.data_size

    def read(self) -> dict[str, float]:
        """The means since the last reading, over all processes, and the speed."""
        seconds = max(self.clock() - self._since - self._paused, 1e-9)
        means = {name: torch.stack(values).nanmean() for name, values in self._sums.items()}
        numbers = self.ranks.mean(means) | {name: sum(v) / len(v) for name, v in self._notes.items()}
        self.peak = self.peak or self.ranks.measure_peak()
        numbers |= {
            "perf/images_s": self._samples / seconds,
            "perf/mfu": self._flops / seconds / (self.peak * 1e12),
            "perf/data_wait": self._waited / seconds,
            "perf/memory_gib": self.ranks.peak_gib(),
        }
        self._begin()
        return numbers
