"""The journal: whole lines whatever happens, numbers that come back as they went in, names that are explained."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recast.errors import ConfigError, InputError, TrainingError
from recast.train import journal
from recast.train.journal import Journal, current, meaning, read
from recast.train.loop import run
from recast.train.parallel import ALONE, Ranks
from tests.train.test_loop import Line, Numbers, short

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def test_what_is_told_comes_back(tmp_path: Path):
    made = Journal(tmp_path / "run", ALONE)
    made.log(10, 640, 1.5, {"flow/loss": 0.5, "flow/t3": math.nan, "flow/grad_norm": math.inf})
    made.event("resumed", checkpoint="step-00000010", step=10)
    made.picture("one/two", PICTURE, 10)
    made.close()
    numbers, event, picture = read(tmp_path / "run")
    assert math.isnan(numbers.pop("flow/t3"))
    assert numbers == {"step": 10, "samples": 640, "seconds": 1.5, "flow/loss": 0.5, "flow/grad_norm": math.inf}
    assert (event["event"], event["checkpoint"]) == ("resumed", "step-00000010")
    assert picture["picture"] == "samples/step-000010-one-two.png"
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "run" / picture["picture"])), PICTURE)
    for line in (tmp_path / "run" / journal.FILE).read_text().splitlines():  # as JSON of the standard
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_a_torn_last_line_is_passed_over_and_repaired(tmp_path: Path):
    made = Journal(tmp_path, ALONE)
    made.log(1, 1, 1.0, {"fit/loss": 1.0})
    made.close()
    with open(tmp_path / journal.FILE, "ab") as file:
        file.write(b'{"step": 2, "samp')
    assert [each["step"] for each in read(tmp_path)] == [1]
    again = Journal(tmp_path, ALONE)
    again.log(2, 2, 2.0, {"fit/loss": 0.5})
    again.close()
    assert [each["step"] for each in read(tmp_path)] == [1, 2]


def test_a_line_that_was_changed_from_outside_is_named(tmp_path: Path):
    (tmp_path / journal.FILE).write_text('{"step": 1, "fit/loss": 1.0}\nnonsense\n{"step": 3}\n')
    with pytest.raises(InputError, match="line 2 is no record"):
        list(read(tmp_path))
    with pytest.raises(InputError, match=r"no journal\.jsonl in it"):
        list(read(tmp_path / "elsewhere"))


def test_a_full_disk_stops_the_run_and_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = Journal(tmp_path, ALONE)
    made.log(1, 1, 1.0, {"fit/loss": 1.0})
    write, room = os.write, 7

    def full(file: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        fits, room = data[:room], 0
        return write(file, fits)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        made.log(2, 2, 2.0, {"fit/loss": 0.5})
    monkeypatch.undo()
    assert (tmp_path / journal.FILE).read_bytes().endswith(b"}\n")
    made.log(2, 2, 2.0, {"fit/loss": 0.5})
    made.close()
    assert [each["step"] for each in read(tmp_path)] == [1, 2]


def test_a_picture_that_cannot_be_written_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "write_whole", full)
    made = Journal(tmp_path, ALONE)
    with pytest.raises(TrainingError, match=r"panel\.png: cannot be written \(No space left"):
        made.picture("panel", PICTURE, 3)
    assert not (tmp_path / journal.FILE).exists()


def test_only_the_first_process_writes(tmp_path: Path):
    made = Journal(tmp_path / "run", Ranks(rank=1, size=2))
    made.log(1, 1, 1.0, {"fit/loss": 1.0})
    made.event("skipped", step=1)
    made.picture("panel", PICTURE, 1)
    made.close()
    assert not (tmp_path / "run").exists()


def test_numbers_of_lost_work_are_not_current(tmp_path: Path):
    lines = [{"step": 1}, {"step": 2}, {"event": "skipped", "step": 2}, {"step": 3}, {"picture": "a.png", "step": 3}]
    lines += [{"event": "resumed", "step": 1}, {"step": 2, "fit/loss": 0.5}]
    assert current(lines) == [lines[0], lines[2], *lines[5:]]


def test_tensorboard_is_written_where_asked_for_and_named_where_it_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = Journal(tmp_path, ALONE, tensorboard=True)
    made.log(7, 70, 1.0, {"fit/loss": 0.25})
    made.picture("panel", PICTURE, 7)
    made.close()
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(each.step, each.value) for each in found.Scalars("fit/loss")] == [(7, 0.25)]
    assert found.Scalars("perf/samples")[0].value == 70
    assert found.Images("samples/panel")[0].width == 4
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'recast\[train\]'"):
        Journal(tmp_path, ALONE, tensorboard=True)


def test_the_loop_writes_lines_whose_names_are_explained(tmp_path: Path):
    list(run(Line(), Numbers(), short(steps=4), tmp_path, journal=Journal(tmp_path, ALONE)))
    lines = [each for each in read(tmp_path) if "event" not in each and "picture" not in each]
    names = {name for line in lines for name in line} - {"step", "samples", "seconds"}
    assert {"fit/loss", "fit/lr", "fit/grad_norm", "perf/mfu", "val/weight", "val_ema/weight"} <= names
    said = {name: meaning(name) for name in names}
    assert said["fit/grad_norm"].startswith("mean norm")
    assert said["perf/mfu"].startswith("model FLOPs")
    assert said["val_ema/weight"] == journal.NAMES["val/PART"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("flow/t3", "PHASE/t0 ..."), ("flow/edit", "PHASE/PART"), ("val/t7", "val/t0 ..."),
        ("val_ema/edit/t0", "val/USE/loss, val/USE/t0 ..."), ("val/kind/local", "val/kind/KIND"),
        ("val/outside", "val/inside, val/outside"), ("val_ema/loss", "val/loss"),
    ],
)  # fmt: skip
def test_names_of_a_flow_are_explained(name: str, key: str):
    assert meaning(name) == journal.NAMES[key]
