"""A run that writes pairs: what its minutes count, and when it is over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recast import config, loading
from recast.errors import ConfigError
from recast.train import journal
from recast.train.distill import pair_runs
from recast.train.distill.pair_writing import PairSettings
from recast.train.distill.presets import Distillation, preset
from recast.train.examples import Examples
from recast.train.parallel import ALONE
from recast.train.presets import Data
from tests.tiny import tiny_autoencoder, tiny_text
from tests.train.distill.toy import reading
from tests.train.pairs import pairs
from tests.train.small_runs import Stream
from tests.train.test_examples import folder


class Clock:
    """A clock that moves on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def told(**changes: Any) -> Distillation:
    of = preset("pairs", "tiny")
    assert isinstance(of.settings, PairSettings)
    settings = replace(of.settings, count=100, steps=2, batches_per_shard=1)
    return replace(of, settings=settings, data=replace(of.data, held_out=2), run=replace(of.run, **changes))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Loading takes 50 seconds, reading the held-out examples 20 and a batch 5."""
    found = Clock()

    def load(*asked: Any, **rest: Any) -> Any:
        found.now += 50
        made = reading()
        return SimpleNamespace(flow=made.flow, autoencoder=tiny_autoencoder(), text=tiny_text(), config=config.tiny())

    def held_out(*asked: Any) -> list[Any]:
        found.now += 20
        return [pairs(2, first=90)]

    class Slow(Stream):
        def __iter__(self) -> Any:
            for batch in super().__iter__():
                found.now += 5
                yield batch

    monkeypatch.setattr(loading, "load", load)
    monkeypatch.setattr(Examples, "held_out", held_out)
    monkeypatch.setattr(Examples, "batches", lambda made, found: found)
    monkeypatch.setattr(Examples, "loader", lambda *asked: Slow(ALONE))
    return found


def test_minutes_count_loading_and_held_out_pairs_and_speed_does_not(tmp_path: Path, clock: Clock):
    for seconds in (75.0, 130.0):  # of two calls; the second loads, and writes one shard more
        of = told(minutes=seconds / 60)
        assert len(list(pair_runs.write_pairs(of, "a model", tmp_path, clock=clock))) == 1
        assert pair_runs.spent_s(tmp_path) == seconds
    lines = [each for each in journal.read(tmp_path) if "perf/images_s" in each]
    assert [each["perf/images_s"] for each in lines] == [pytest.approx(4 / 5)] * 2


def test_what_a_run_judges_by_is_not_written_to_learn_from(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    """Begun with other held-out examples, and stopped before the first shard to learn from."""
    of = told()
    data = replace(of.data, places=(folder(tmp_path / "a", 20),), things=(), colours=(), held_out_share=0.25)
    left = next(iter(split_of(data, held_out=4) - split_of(data, held_out=2)))
    monkeypatch.setattr(pair_runs, "judged_by", lambda *asked: [SimpleNamespace(ids=(left,))])
    with pytest.raises(ConfigError, match=rf"held_out=2: {left} of .* is trained on"):
        next(pair_runs.write_pairs(replace(of, data=data), "a model", tmp_path / "run"))


def split_of(data: Data, held_out: int) -> set[str]:
    """The ids of what is held out."""
    judged: Any = Examples(replace(data, held_out=held_out), config.tiny()).sides[0].judged
    return {judged.id(n) for n in range(judged.length)}
