"""A run that writes a teacher's pairs: those that students learn from, and those that they are judged by."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recast.errors import ConfigError, InputError
from recast.train import journal, parallel
from recast.train.data.example import Batch
from recast.train.distill import pair_writing, start
from recast.train.distill.pair_manifest import MANIFEST, Manifest
from recast.train.distill.pair_writing import PairSettings, Written
from recast.train.distill.pairs import PairBatch, Pairs
from recast.train.distill.presets import Distillation
from recast.train.distill.teacher import Teacher
from recast.train.examples import Examples
from recast.train.flow_stage import FlowStage
from recast.train.journal import Journal
from recast.train.parallel import Ranks

log = logging.getLogger(__name__)

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

    Goes on where an earlier call stopped, and makes held-out pairs if that made none. It is over when there are
    `settings.count` pairs, or after `run.minutes` of all calls, by the journal in `place`, in which loading and the
    held-out pairs count; at least one shard is written. Pairs of an earlier version, which do not say what chose them,
    are warned of. All processes call it.
    Raises ConfigError for settings that do not fit, and for other held-out examples than those that are written; and
    whatever `pair_writing.write` raises.
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
    there = judged_by(place, makers)
    require_apart(chosen, there, place)
    told = Journal(place, ranks)
    examples = chosen.loader(ranks, told.event)
    _warn_of_earlier(place, pair_writing.asked_by(reading))
    is_new = not (place / TRAIN / MANIFEST).is_file()
    if not is_new:  # other examples are refused before any are held out beside them
        examples.load_state(Manifest.read(place / TRAIN).stream)
    apart = chosen.batches(chosen.held_out()) if preset.data.held_out else []
    if there:
        _require_same_held_out(there, apart, settings, reading, place)
    elif apart:
        same = replace(ranks, data_rank=0, data_size=1)  # all processes make all of them, and the first writes
        for _ in pair_writing.write(
            teacher, reading, _Listed(apart), place / HELD_OUT, _judging(settings, apart), ranks=same, makers=makers
        ):
            pass

    def is_over() -> bool:
        seconds = ranks.agree(before + clock() - begun)
        return ranks.any(should_stop()) or (preset.run.minutes is not None and seconds >= 60 * preset.run.minutes)

    had = 0 if is_new else Manifest.read(place / TRAIN).pairs
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


def _warn_of_earlier(place: Path, asking: Mapping[str, Any]) -> None:
    """Say which pairs of a run do not tell what chose them, of what the command line asks for now."""
    began = [each for each in (TRAIN, HELD_OUT) if (place / each / MANIFEST).is_file()]
    earlier = [each for each in began if not Manifest.read(place / each).asked_by]
    if earlier:
        log.warning(
            "pairs of an earlier version place=%s folders=%s not_noted=%s; see that these are set as they were",
            place,
            ",".join(earlier),
            ",".join(asking),
        )


def _judging(settings: PairSettings, apart: Sequence[Batch]) -> PairSettings:
    """How held-out pairs are made: in one shard, their noise another one's than that of the pairs learned from."""
    count = sum(len(batch.ids) for batch in apart)
    return replace(settings, count=count, batches_per_shard=len(apart), seed=settings.seed + 1)


def _require_same_held_out(
    there: Sequence[PairBatch], apart: Sequence[Batch], settings: PairSettings, reading: FlowStage, place: Path
) -> None:
    """Raises ConfigError unless the held-out pairs of a run are those of the examples `apart`, made by these settings.

    reading: what turns the examples into what is asked.
    """
    side = reading.autoencoder.config.pixels_per_token
    was = Counter((name, batch.each.grid) for batch in there for name in batch.ids)
    asked: Counter[tuple[str, tuple[int, int]]] = Counter()
    for batch in apart:
        height, width = batch.target.shape[-2:]
        asked.update((name, (height // side, width // side)) for name in batch.ids)
    if was != asked:
        odd = sorted(name for name, _ in (was - asked) + (asked - was))
        raise ConfigError(
            f"data.held_out: {asked.total()} examples asked for, and {str(place / HELD_OUT)!r} holds the pairs of "
            f"{was.total()}; {len(odd)} of them are on one side alone, such as {odd[0]}; the settings of data that "
            "those were written with accepted; set them, or write in an empty folder"
        )
    found = Manifest.read(place / HELD_OUT)
    made = replace(_judging(settings, apart), batches_per_shard=int(found.settings["batches_per_shard"]))
    pair_writing.require_same_settings(place / HELD_OUT, found, made, pair_writing.asked_by(reading))


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
