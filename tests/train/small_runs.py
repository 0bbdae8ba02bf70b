"""A small run: a flow stage on coloured squares, alone or among processes, whole or broken off."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recast.flow.transformer import FlowTransformer
from recast.train import parallel
from recast.train.data.example import Batch
from recast.train.flow_stage import FlowStage, FlowTraining
from recast.train.loop import Event, run
from recast.train.parallel import Ranks
from recast.train.settings import Optimiser, Parallel, Run, Settings
from recast.train.state import Progress, latest
from tests.tiny import tiny_autoencoder, tiny_text
from tests.train.pairs import pairs
from tests.train.processes import Meeting, small_flow


class Stream:
    """Batches 0, 1, 2, ... of coloured squares, each cut among the processes."""

    def __init__(self, ranks: Ranks, count: int = 4, seed: int = 0) -> None:
        self.ranks, self.count, self.next, self.seed = ranks, count, 0, seed

    def __iter__(self) -> Iterator[Batch]:
        own = self.count // self.ranks.data_size
        while True:
            first = self.next * self.count + self.ranks.data_rank * own
            self.next += 1
            yield pairs(own, first=first, of=self.count)

    def state(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.next = state["next"]

    def close(self) -> None:
        pass


def settings(layout: Parallel | None = None, **course: Any) -> Settings:
    """A run of twenty steps that saves every third."""
    told = {"steps": 20, "log_every_steps": 1, "sample_every_steps": 0, "save_every_steps": 3, "peak_tflops": 1.0}
    return Settings(run=Run(**told | course), parallel=layout or Parallel(), stage={"kind": "squares"})


def small_stage(run: Run, layout: Parallel, ranks: Ranks, seed: int = 0, **changes: Any) -> FlowStage:
    """A flow stage that trains its text encoder too, wrapped for the processes."""
    flow = parallel.wrap(small_flow(seed, **changes), run, layout, ranks)
    text = tiny_text(seed)
    parallel.wrap(text.network, run, layout, ranks)
    assert isinstance(flow, FlowTransformer)
    return FlowStage(
        flow=flow,
        autoencoder=tiny_autoencoder(),
        text=text,
        training=FlowTraining(train_text=True),
        optimiser=Optimiser(lr=3e-3, warmup_steps=2),
        run=run,
        ranks=ranks,
    )


def train(
    meeting: Meeting | None,
    place: Path,
    planned: Settings,
    *,
    killed_at: tuple[int, int] = (-1, -1),
    spoilt: tuple[int, ...] = (),
    timeout_s: float = 120,
) -> list[tuple[int, float]]:
    """Run to the end; the loss of every step. meeting: None for this process alone.

    killed_at: the rank of a process, and the step in the middle of which it is killed. spoilt: steps whose loss is nan.
    """
    ranks = parallel.ALONE if meeting is None else meeting.start(planned.parallel, timeout_s)
    stage = small_stage(planned.run, planned.parallel, ranks)
    loss = stage.loss

    def watched(phase: str, prepared: Any, share: float) -> Any:
        made = loss(phase, prepared, share)
        if phase == "flow":
            step = now.progress.step + 1
            if (ranks.rank, step) == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if step in spoilt:
                return made._replace(value=made.value * float("nan"))
        return made

    stage.loss = watched  # type: ignore[method-assign]
    curve, now = [], Event(progress=_progress(place), share=0.0, numbers={})
    for now in run(stage, Stream(ranks), planned, place, ranks=ranks):
        if "flow/loss" in now.numbers and not now.is_last:
            curve.append((now.progress.step, now.numbers["flow/loss"]))
    return curve


def _progress(place: Path) -> Progress:
    """Where the run in a place stands, before it goes on."""
    newest = latest(place)
    return Progress() if newest is None else Progress(**json.loads((newest / "run.json").read_text())["progress"])
