"""A run that writes pairs: what its minutes count, and when it is over."""

from __future__ import annotations

import json
import shutil
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
    for seconds in (75.0, 150.0):  # of two calls; the second loads, looks what is held out, and writes one shard more
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


@pytest.mark.parametrize("is_begun", [True, False])
def test_held_out_pairs_are_those_asked_for_or_the_run_is_refused(
    is_begun: bool, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    def go_on(held_out: Any, of: Distillation) -> None:
        monkeypatch.setattr(Examples, "held_out", lambda *asked: [held_out])
        next(pair_runs.write_pairs(of, "a model", tmp_path))

    of = told()
    go_on(pairs(2, first=90), of)
    before = (tmp_path / "held-out" / "manifest.json").read_bytes()
    if not is_begun:  # stopped before the first shard to learn from
        shutil.rmtree(tmp_path / "train")
    with pytest.raises(ConfigError, match=r"3 examples asked for, and .*held-out' holds the pairs of 2; 1 of them"):
        go_on(pairs(3, first=90), of)
    with pytest.raises(ConfigError, match=r"0 examples asked for, and .* holds the pairs of 2"):
        go_on(None, replace(of, data=replace(of.data, held_out=0)))
    with pytest.raises(ConfigError, match=r"held-out.*: pairs of other settings: steps 2 there, 4 here"):
        go_on(pairs(2, first=90), replace(of, settings=replace(of.settings, steps=4)))
    with pytest.raises(ConfigError, match=r"held-out.*: pairs of other settings: training.keep 0.05 there, 0.0 here"):
        go_on(pairs(2, first=90), replace(of, training=replace(of.training, keep=0.0)))
    go_on(pairs(2, first=90), of)
    assert (tmp_path / "held-out" / "manifest.json").read_bytes() == before


def test_pairs_of_an_earlier_version_are_warned_of_once_a_call(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
):
    next(pair_runs.write_pairs(told(), "a model", tmp_path))
    assert not caplog.records
    for of, folders in (("held-out", "held-out"), ("train", "train,held-out")):
        path = tmp_path / of / "manifest.json"
        said = json.loads(path.read_text())
        del said["asked_by"]
        path.write_text(json.dumps(said))
        next(pair_runs.write_pairs(told(), "a model", tmp_path))
        (record,) = caplog.records
        assert f"place={tmp_path} folders={folders} not_noted=training.edit," in record.getMessage()
        caplog.clear()


def test_held_out_pairs_that_are_missing_are_made(tmp_path: Path, clock: Clock):
    of = told()
    next(pair_runs.write_pairs(replace(of, data=replace(of.data, held_out=0)), "a model", tmp_path))
    assert not (tmp_path / "held-out").exists()
    next(pair_runs.write_pairs(of, "a model", tmp_path))
    assert pair_runs.Manifest.read(tmp_path / "held-out").pairs == 2


def test_other_examples_are_refused_before_any_are_held_out(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    of = told()
    next(pair_runs.write_pairs(replace(of, data=replace(of.data, held_out=0)), "a model", tmp_path))

    def refuse(*asked: Any) -> None:
        raise ConfigError("state: of another stream")

    monkeypatch.setattr(Stream, "load_state", refuse)
    with pytest.raises(ConfigError, match="another stream"):
        next(pair_runs.write_pairs(of, "a model", tmp_path))
    assert not (tmp_path / "held-out").exists()


def split_of(data: Data, held_out: int) -> set[str]:
    """The ids of what is held out."""
    judged: Any = Examples(replace(data, held_out=held_out), config.tiny()).sides[0].judged
    return {judged.id(n) for n in range(judged.length)}
