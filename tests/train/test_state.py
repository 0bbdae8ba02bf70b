"""Checkpoints: everything comes back, from any number of processes to any other; what is damaged is not used."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed import checkpoint as dcp

from recast.errors import ConfigError, TrainingError, WeightsError
from recast.train import checkpoints, optim, parallel, state, tensor_parallel
from recast.train.distill.direct import DirectSettings
from recast.train.ema import Average
from recast.train.parallel import ALONE, Ranks
from recast.train.settings import Optimiser, Parallel, Run, Settings
from recast.train.uses import FlowTraining
from tests.train.processes import Meeting, small_flow, together, values

SETTINGS = Settings(run=Run(steps=10, keep=2), stage={"lr": 0.1, "law": [1, 2]}, data={"seed": 3})
OPTIMISER = Optimiser(lr=0.01)


def parts(
    seed: int, steps: int, layout: Parallel | None = None, ranks: Ranks = ALONE, optimiser: Optimiser = OPTIMISER
) -> state.Parts:
    """A network, the optimiser that has taken some steps with made-up gradients, and an average; one that has not."""
    network = parallel.wrap(small_flow(seed, depth_single_blocks=1), Run(steps=1), layout or Parallel(), ranks)
    late = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(late.weight, float(seed))
    torch.nn.init.constant_(late.bias, float(seed))
    optimisers = {
        "flow": optim.build(((f"flow.{n}", p) for n, p in network.named_parameters()), optimiser),
        "late": optim.build(((f"late.{n}", p) for n, p in late.named_parameters()), OPTIMISER),
    }
    average = Average(network)
    kept = tensor_parallel.orders(network)
    for step in range(steps):
        for name, parameter in network.named_parameters():
            gradient = torch.linspace(-1, 2 + step, parameter.numel()).sin().view(parameter.shape)
            if name in kept:
                gradient = kept[name].kept(gradient)
            parameter.grad = like(gradient, parameter)
        for each in optimisers["flow"]:
            each.step()
        average.update(0.5)
    return state.Parts({"flow": network, "late": late}, optimisers, {"flow": average})


def like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The tensor, shared out as the parameter is."""
    if not isinstance(parameter, torch.distributed.tensor.DTensor):
        return tensor
    return torch.distributed.tensor.distribute_tensor(
        tensor, parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def contents(made: state.Parts) -> dict[str, Tensor]:
    """All tensors under their names on disk, whole."""
    whole = ((name, getattr(t, "full_tensor", lambda t=t: t)()) for name, t in state._tensors(made).items())
    return {name: tensor.clone() for name, tensor in whole}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def progress(step: int) -> state.Progress:
    return state.Progress(step=step, samples=8 * step, seconds=1.5, skipped=1, in_a_row=0, norms={"flow": [0.1, 0.2]})


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_all_comes_back_to_the_bit(tmp_path: Path, kind: Any):
    optimiser = replace(OPTIMISER, kind=kind)
    made = parts(0, 2, optimiser=optimiser)
    written = state.save(tmp_path, made, progress(2), {"at": [1, 2]}, SETTINGS)
    assert written == tmp_path / "checkpoints" / "step-00000002" == state.latest(tmp_path)
    other = parts(1, 1, optimiser=optimiser)
    assert not equal(contents(other), contents(made))
    longer = replace(SETTINGS, run=replace(SETTINGS.run, steps=99, keep=7, compile=True), parallel=Parallel(shard=4))
    assert state.load(written, other, longer) == (progress(2), {"at": [1, 2]})
    assert equal(contents(other), contents(made))
    (late,) = other.optimisers["late"]
    assert not late.state  # it never took a step, and is not made to look as if it had


def test_what_an_earlier_version_did_not_know_is_off(tmp_path: Path):
    written = state.save(tmp_path, parts(0, 1), progress(1), {}, SETTINGS)
    known = replace(SETTINGS, stage=SETTINGS.stage | {"new": 0.0, "other": None})
    state.load(written, parts(0, 1), known)
    with pytest.raises(ConfigError, match=r"stage\.new was None and is 0\.5"):
        state.load(written, parts(0, 1), replace(SETTINGS, stage=SETTINGS.stage | {"new": 0.5}))


def test_what_an_earlier_version_did_not_know_is_what_a_dataclass_has_by_default(tmp_path: Path):
    now = replace(SETTINGS, stage={"what": "direct", "settings": DirectSettings()})
    there = json.loads(json.dumps(now.as_data()))
    del there["stage"]["settings"]["towards"], there["stage"]["settings"]["law"]["steps"], there["run"]["precision"]
    state._same_run(tmp_path, there, now)
    other = replace(now, stage={"what": "direct", "settings": DirectSettings(towards="states")})
    with pytest.raises(ConfigError, match=r"settings: stage\.settings\.towards was 'end' and is 'states'; continue"):
        state._same_run(tmp_path, there, other)


def test_what_is_memory_alone_may_differ(tmp_path: Path):
    """A run of adapters that began before its preset kept encodings."""
    now = replace(SETTINGS, stage={"training": FlowTraining(kept_encodings=1000)})
    there = json.loads(json.dumps(replace(now, stage={"training": FlowTraining()}).as_data()))
    state._same_run(tmp_path, there, now)
    del there["stage"]["training"]["kept_encodings"]
    state._same_run(tmp_path, there, now)


def test_averages_are_read_in_the_places_of_the_weights(tmp_path: Path):
    made = parts(0, 2)
    written = state.save(tmp_path, made, progress(2), {}, SETTINGS)
    raw, averaged = state.read(written, "raw"), state.read(written, "averaged", ["flow"])
    assert raw.keys() == {"flow", "late"}
    assert averaged.keys() == {"flow"}
    for name, weight in made.networks["flow"].state_dict().items():
        assert torch.equal(raw["flow"][name], weight)
        assert torch.equal(averaged["flow"][name], made.averages["flow"].tensors[name])
        assert not torch.equal(averaged["flow"][name], weight)
    with pytest.raises(ConfigError, match=r"'text' came, and .* holds flow, late"):
        state.read(written, "raw", ["text"])


def test_the_newest_are_kept_and_the_rest_removed(tmp_path: Path):
    made = parts(0, 1)
    for step in (1, 2, 10):
        state.save(tmp_path, made, progress(step), {}, SETTINGS)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-00000002", "step-00000010"]


def test_a_damaged_or_torn_checkpoint_is_reported_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    made = parts(0, 1)
    settings = replace(SETTINGS, run=replace(SETTINGS.run, keep=9))
    good, flipped, cut, torn, lost = (state.save(tmp_path, made, progress(n), {}, settings) for n in range(1, 6))
    data = next(flipped.glob("*.distcp"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    os.truncate(cut / "run.json", 10)
    (torn / state.MANIFEST).unlink()
    next(lost.glob("*.distcp")).unlink()
    (tmp_path / "checkpoints" / ".writing-step-00000006").mkdir()
    with caplog.at_level(logging.WARNING):
        assert state.latest(tmp_path) == good
    said = [record.getMessage() for record in caplog.records if record.name == checkpoints.__name__]
    assert [f"step-0000000{n}" in line for n, line in zip((5, 4, 3, 2), said, strict=True)] == [True] * 4
    assert ["missing" in said[0], "manifest" in said[1], "10 bytes" in said[2], "SHA-256" in said[3]] == [True] * 4
    with pytest.raises(WeightsError, match="SHA-256"):
        state.read(flipped, "raw")
    again = state.save(tmp_path, made, progress(5), {}, settings)  # takes the place of the damaged one
    assert state.latest(tmp_path) == again
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_damaged_checkpoints_of_later_steps_do_not_push_out_what_is_written(tmp_path: Path):
    """A run that went on from before them is behind them, and keeps as many of its own as it is told to."""
    made = parts(0, 1)
    settings = replace(SETTINGS, run=replace(SETTINGS.run, keep=1))
    damaged = state.save(tmp_path, made, progress(7), {}, settings)
    (damaged / state.MANIFEST).unlink()
    assert state.latest(tmp_path) is None
    for step in (2, 4):
        written = state.save(tmp_path, made, progress(step), {}, settings)
        assert state.latest(tmp_path) == written
    assert sorted(os.listdir(tmp_path / "checkpoints")) == [written.name, damaged.name]


def test_nothing_saved_is_nothing_found(tmp_path: Path):
    assert state.latest(tmp_path) is None
    assert state.latest(tmp_path / "nowhere") is None


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("when", ["before", "in the middle", "at the manifest"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str):
    made = parts(0, 1)
    good = state.save(tmp_path, made, progress(1), {}, SETTINGS)
    before = {each.name: each.read_bytes() for each in good.iterdir()}
    if when == "before":
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    elif when == "in the middle":
        monkeypatch.setattr(dcp.filesystem.torch, "save", _full_after(3))
    else:
        monkeypatch.setattr(checkpoints, "_sync", full)
    with pytest.raises(
        TrainingError, match=r"the disk is full: a checkpoint needs about \d{6,} bytes and \d+ are free"
    ):
        state.save(tmp_path, made, progress(2), {}, SETTINGS)
    monkeypatch.undo()
    assert os.listdir(tmp_path / "checkpoints") == [good.name]
    assert {each.name: each.read_bytes() for each in good.iterdir()} == before
    assert state.latest(tmp_path) == good


def _full_after(count: int) -> Any:
    left, write = [count], torch.save

    def save(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        return full() if left[0] < 0 else write(*args, **kwargs)

    return save


def test_a_checkpoint_of_another_run_is_refused_with_the_differences(tmp_path: Path):
    written = state.save(tmp_path, parts(0, 1), progress(1), {}, SETTINGS)
    other = replace(
        SETTINGS, run=replace(SETTINGS.run, seed=4), stage={"lr": 0.2, "law": [1, 2]}, data={"seed": 3, "more": 1}
    )
    with pytest.raises(ConfigError) as caught:
        state.load(written, parts(0, 1), other)
    message = str(caught.value)
    assert "stage.lr was 0.1 and is 0.2" in message
    assert "data.more was None and is 1" in message
    assert "run.seed was 0 and is 4" in message
    assert "law" not in message
    assert "steps" not in message


def test_settings_of_data_are_named_where_the_data_are_others_and_only_there(tmp_path: Path):
    def made(digest: str, **asked: int) -> Settings:
        return replace(SETTINGS, data={"examples": {"source": {"sha256": digest}, "asked": asked}})

    written = state.save(tmp_path, parts(0, 1), progress(1), {}, made("a", held_out=4, batch_size=2))
    state.load(written, parts(0, 1), made("a", held_out=3))
    with pytest.raises(ConfigError, match=r"settings: data.held_out was 4 and is 3; data.examples.source.sha256 was"):
        state.load(written, parts(0, 1), made("b", held_out=3, batch_size=2))
    older = state.save(tmp_path, parts(0, 1), progress(2), {}, replace(SETTINGS, data={"examples": {"source": {}}}))
    state.load(older, parts(0, 1), replace(SETTINGS, data={"examples": {"source": {}, "asked": {"held_out": 3}}}))


def test_a_checkpoint_of_other_networks_is_refused(tmp_path: Path):
    written = state.save(tmp_path, parts(0, 1), progress(1), {}, SETTINGS)
    made = parts(0, 0)
    other = state.Parts({"flow": small_flow()}, {}, {})
    with pytest.raises(WeightsError, match=r"missing \['networks/flow/single_blocks.1.*unexpected \['averages"):
        state.load(written, other, SETTINGS)
    made.networks["late"].bias = torch.nn.Parameter(torch.zeros(5))
    with pytest.raises(WeightsError, match=r"of another shape \['networks/late/bias \(2,\) for \(5,\)'\]"):
        state.load(written, state.Parts(made.networks, {}, made.averages), SETTINGS)


LAYOUTS = [Parallel(shard=2), Parallel(tensor=2)]


def round_trip(meeting: Meeting, place: Path) -> dict[str, Any]:
    """Write from each layout; read what one process wrote, and what the other layout wrote."""
    found: dict[str, Any] = {}
    for layout in LAYOUTS:
        name = f"{layout.shard}{layout.tensor}"
        ranks = meeting.start(layout)
        made = parts(0, 2, layout, ranks)
        found[name] = contents(made)
        state.save(place / name, made, progress(2), {"at": 7}, SETTINGS, ranks)
        for source in sorted(each.name for each in place.iterdir()):
            read = parts(1, 1, layout, ranks)
            newest = state.latest(place / source, ranks)
            assert newest is not None
            told = state.load(newest, read, SETTINGS, ranks)
            found[f"{source} to {name}"] = (told == (progress(2), {"at": 7}), contents(read))
        if name == "21":
            found["refused"] = fails_in_one(place, made, ranks)
        ranks.barrier()
        parallel.stop(ranks)
    return found


def fails_in_one(place: Path, made: state.Parts, ranks: Ranks) -> str:
    """What every process says when the disk of the second one is full."""
    if ranks.rank == 1:
        dcp.filesystem.torch.save = full
    try:
        state.save(place / "21", made, progress(3), {}, SETTINGS, ranks)
    except TrainingError as problem:
        return str(problem)
    finally:
        dcp.filesystem.torch.save = torch.serialization.save
    return "no error"


@pytest.mark.slow
def test_any_number_of_processes_reads_what_any_other_wrote(tmp_path: Path):
    place = tmp_path / "runs"
    alone = parts(0, 2)
    state.save(place / "11", alone, progress(2), {"at": 7}, SETTINGS)
    expected = contents(alone)
    for found in values(together(2, tmp_path / "meeting", round_trip, place)):
        for name in ("21", "12"):
            assert found[name].keys() == expected.keys()
            for key, tensor in expected.items():  # the same steps were taken
                torch.testing.assert_close(found[name][key], tensor, msg=key)
        assert equal(found["11 to 21"][1], expected)
        assert equal(found["11 to 12"][1], expected)
        assert equal(found["21 to 12"][1], found["21"])
        assert all(told[0] for name, told in found.items() if " to " in name)
        assert "the disk is full" in found["refused"]
    for name in ("21", "12"):
        read = parts(1, 1)
        newest = state.latest(place / name)
        assert newest is not None
        assert json.loads((newest / "run.json").read_text())["processes"] == 2
        state.load(newest, read, SETTINGS)
        assert equal(contents(read), found[name])
