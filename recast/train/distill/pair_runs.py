"""A run that writes a teacher's pairs: those that students learn from, and those that they are judged by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recast.errors import ConfigError, InputError
from recast.train import journal, parallel
from recast.train.data.example import Batch
from recast.train.distill import pair_writing, start
from recast.train.distill.pair_writing import PairSettings, Written
from recast.train.distill.pairs import MANIFEST, Manifest, PairBatch, Pairs
from recast.train.distill.presets import Distillation
from recast.train.distill.teacher import Teacher
from recast.train.examples import Examples
from recast.train.flow_stage import FlowStage
from recast.train.journal import Journal
from recast.train.parallel import Ranks

TRAIN, HELD_OUT = "train", "held-out"
"""The folders of a run: pairs of examples, and of examples that are never trained on."""
JUDGED_AT_ONCE = 16
"""Held-out pairs that go through a student together."""


def write_pairs(
    preset: Distillation,
    model: str,
    place: Path,
    *,
    ranks: Ranks = parallel.ALONE,
    should_stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Written]:
    """Pairs of the teacher `model` in `place`/train, after held-out ones in `place`/held-out; yields after each shard.

    Goes on where an earlier call stopped. It is over when there are `settings.count` pairs, or after `run.minutes` of
    all calls, by the journal in `place`, in which loading and the held-out pairs count; at least one shard is written.
    All processes call it.
    Raises ConfigError for settings that do not fit, and whatever `pair_writing.write` raises.
    """
    before, begun = spent_s(place), clock()
    settings = preset.settings
    if not isinstance(settings, PairSettings):
        raise ConfigError(f"what={preset.what!r}: pairs accepted; the others are trained")
    base = start.teacher(model, preset.run.precision, ranks)
    makers = pair_writing.made_by(base.flow, base.autoencoder, base.text)
    parallel.wrap(base.flow, preset.run, preset.parallel, ranks)
    reading = FlowStage(
        flow=base.flow,
        autoencoder=base.autoencoder,
        text=base.text,
        training=preset.training,
        optimiser=preset.optimiser,
        run=preset.run,
        ranks=ranks,
    )
    teacher = Teacher(base.flow)
    chosen = Examples(preset.data, base.config, least=min(1, preset.data.held_out))
    require_apart(chosen, judged_by(place, makers), place)
    if preset.data.held_out and not (place / HELD_OUT / MANIFEST).is_file():
        apart = chosen.held_out()
        judged = chosen.batches(apart)
        held = replace(
            settings, count=len(apart), batches_per_shard=len(judged), seed=settings.seed + 1
        )  # in one shard, their noise another one's
        same = replace(ranks, data_rank=0, data_size=1)  # all processes make all of them, and the first writes
        for _ in pair_writing.write(
            teacher, reading, _Listed(judged), place / HELD_OUT, held, ranks=same, makers=makers
        ):
            pass
    told = Journal(place, ranks)
    is_new = not (place / TRAIN / MANIFEST).is_file()

    def is_over() -> bool:
        seconds = ranks.agree(before + clock() - begun)
        return ranks.any(should_stop()) or (preset.run.minutes is not None and seconds >= 60 * preset.run.minutes)

    had = 0 if is_new else Manifest.read(place / TRAIN).pairs
    examples = chosen.loader(ranks, told.event)
    try:
        if not is_new and is_over():
            examples.close()
            return
        writing = clock()
        for written in pair_writing.write(
            teacher, reading, examples, place / TRAIN, settings, ranks=ranks, makers=makers
        ):
            shard = int(written.shard[0].split("-")[1]) + 1
            at = clock()
            speed = (written.pairs - had) / max(at - writing, 1e-9)
            told.log(shard, written.pairs, before + at - begun, {"perf/images_s": speed})
            yield written
            if is_over():
                return
    finally:
        told.close()


def spent_s(place: Path) -> float:
    """Seconds that earlier calls have written pairs in `place`."""
    if not (place / journal.FILE).is_file():
        return 0.0
    return max((float(each["seconds"]) for each in journal.read(place) if "seconds" in each), default=0.0)


def require(place: Path) -> None:
    """Raises InputError unless `place` is the folder of a run that has written pairs."""
    if not (place / TRAIN / MANIFEST).is_file():
        raise InputError(
            f"pairs={str(place)!r}: no {TRAIN}/{MANIFEST} in it; the folder of `recast distill pairs` accepted; write "
            "pairs first"
        )


def stream(place: Path, *, batch: int, seed: int, ranks: Ranks, makers: Mapping[str, str]) -> Pairs:
    """The pairs of a run as batches. makers: the networks that must have made them."""
    return Pairs(place / TRAIN, batch=batch, seed=seed, ranks=ranks, made_by=makers)


def judged_by(place: Path | None, makers: Mapping[str, str]) -> list[PairBatch]:
    """The held-out pairs of a run, the same in all processes; none where none were written."""
    if place is None or not (place / HELD_OUT / MANIFEST).is_file():
        return []
    return Pairs(place / HELD_OUT, batch=JUDGED_AT_ONCE, made_by=makers).once()


def require_apart(examples: Examples, judged: Sequence[PairBatch], place: Path | None) -> None:
    """Raises ConfigError where one of the pairs that judge, of the run in `place`, is of an example trained on."""
    examples.require_apart((name for batch in judged for name in batch.ids), f"pairs={str(place)!r}")


class _Listed:
    """Batches that are all there are, one after another. Implements `stage.Batches`."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches, self.next = batches, 0

    def __iter__(self) -> Iterator[Batch]:
        while self.next < len(self.batches):
            self.next += 1
            yield self.batches[self.next - 1]

    def state(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.next = int(state["next"])

    def close(self) -> None:
        pass
