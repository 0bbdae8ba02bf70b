"""`--parallel`: several processes make one picture, the first speaks and writes, and an error is told once."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from recast import loading, weights
from recast.cli import main, planned
from recast.cli.job import Model
from recast.config import tiny
from recast.pixels import image
from recast.speed.processes import Process
from tests.cli.conftest import picture
from tests.tiny import tiny_pipeline, tiny_text
from tests.train.processes import Meeting, together, values

REPOSITORY = Path(__file__).parents[2]
EDIT = ["edit", "photo.png", "make it red", "--steps", "1", "--parallel"]


@pytest.fixture(scope="module")
def divisible(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of four heads, which two processes can share."""
    config = replace(tiny(), flow=replace(tiny().flow, hidden_size=64, num_heads=4, depth=1, depth_single_blocks=2))
    pipeline, text = tiny_pipeline(flow=config.flow), tiny_text()
    sizes = {
        "vocab_size": 384, "d_model": tiny().flow.context_in_dim, "d_kv": 8, "d_ff": 32, "num_layers": 1,
        "num_heads": 3, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
    }  # fmt: skip
    parts = {"flow": pipeline.flow, "autoencoder": pipeline.autoencoder, "text_encoder": text.network}
    return weights.save(tmp_path_factory.mktemp("models") / "four", parts, config, text_encoder_config=sizes)


def levels(one: Path | str, other: Path | str) -> int:
    """The largest difference of two pictures."""
    return int(np.abs(image.read(one).rgb.astype(int) - image.read(other).rgb).max())


def test_torchrun_makes_the_picture_of_one_process(here, divisible, recast, monkeypatch):
    monkeypatch.setenv("RECAST_MODEL", str(divisible))
    words = ["generate", "a dog", "--size", "64x64", "--steps", "1"]
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(free_port()),
    ]
    launched = subprocess.run(
        [*launcher, "-m", "recast", *words, "--parallel", "sequence", "--out", "two.png"],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert launched.returncode == 0, launched.stderr
    assert launched.stdout == "two.png\n", "the first process alone says what was made"
    assert launched.stderr.count("sequence: process 0 of 2") == 1
    assert "process 1 of 2" not in launched.stderr
    drawn = json.loads(image.read_recipe("two.png"))["seed"]
    assert recast(*words, "--seed", drawn, "--plan", "lossless", "--out", "one.png") == 0
    assert levels("one.png", "two.png") <= 1


# Two processes that share one Python, so that an error can be put into one of them.


class Case:
    """What happens to the second process, and what both are asked."""

    def __init__(self, *words: str, fails: str | None = None, error: Exception | None = None) -> None:
        self.words, self.fails, self.error = words, fails, error


CASES = {
    "sequence": Case(*EDIT, "sequence", "--seed", "5", "--out", "sequence.png"),
    "tensor": Case(*EDIT, "tensor", "--seed", "5", "--plan", "exact", "--json", "--out", "tensor.png"),
    "forecast": Case(
        *EDIT, "sequence", "--seed", "5", "--steps", "3", "--forecast-out", "where.png", "--out", "three.png"
    ),
    "loading": Case(
        *EDIT, "sequence", "--out", "no.png", fails="recast.loading.load", error=ValueError("a file is torn")
    ),
    "making": Case(
        *EDIT, "tensor", "--out", "no.png", fails="recast.speed.several.Shared.along", error=MemoryError("2 GiB")
    ),
    "after": Case(
        *EDIT, "sequence", "--out", "no.png", fails="recast.retouch.editor.Editor._recipe", error=OSError("no room")
    ),
    "both": Case(*EDIT, "sequence", "--out", "nowhere/no.png"),
    "auto": Case(*EDIT, "sequence", "--plan", "auto", "--out", "no.png"),
    "reference": Case(*EDIT, "sequence", "--plan", "reference", "--out", "no.png"),
    "attention": Case(*EDIT, "sequence", "--plan", "fp8-attention", "--out", "no.png"),
    "capped": Case(*EDIT, "sequence", "--vram", "8gb", "--out", "no.png"),
    "batch": Case("edit", ".", "make it red", "--batch", "--parallel", "tensor", "--out", "no"),
    "stdin": Case("edit", "-", "make it red", "--parallel", "tensor", "--out", "no.png"),
    "numbered": Case(*EDIT, "sequence", "--device", "cpu:0", "--out", "no.png"),
}


def task(meeting: Meeting, place: Path, model: Path, ports: dict[str, int]) -> dict[str, tuple[int, str, str]]:
    """By case: the exit code, stdout and stderr of this process."""
    os.chdir(place)
    os.environ |= {"RANK": str(meeting.rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(meeting.rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "RECAST_MODEL": str(model), "RECAST_DTYPE": "fp32"}
    os.environ |= {"RECAST_DEVICE": "cpu"}
    found = {}
    for name, case in CASES.items():
        os.environ["MASTER_PORT"] = str(ports[name])
        with wrong(case if meeting.rank == 1 else None), captured() as (out, err):
            code = main(list(case.words))
        found[name] = int(code), out.getvalue(), err.getvalue()
    return found


def wrong(case: Case | None) -> Any:
    if case is None or case.fails is None:
        return contextlib.nullcontext()
    return mock.patch(case.fails, side_effect=case.error)


@contextlib.contextmanager
def captured() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, divisible: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The folder where two processes worked, and what each of them said, by case."""
    place = tmp_path_factory.mktemp("two")
    picture(place / "photo.png")
    ports = {name: free_port() for name in CASES}
    return place, values(together(2, tmp_path_factory.mktemp("meeting"), task, place, divisible, ports))


@pytest.mark.parametrize(("name", "plan"), [("sequence", "lossless"), ("tensor", "exact")])
def test_an_edit_by_two_is_that_of_one(two, name, plan, divisible, recast, monkeypatch):
    place, (first, second) = two
    assert (first[name][0], second[name]) == (0, (0, "", "")), first[name][2]
    monkeypatch.setenv("RECAST_MODEL", str(divisible))
    monkeypatch.chdir(place)
    assert recast(*EDIT[:-1], "--seed", 5, "--plan", plan, "--out", f"one-{name}.png") == 0
    assert levels(f"one-{name}.png", f"{name}.png") <= 1
    recipe = json.loads(image.read_recipe(f"{name}.png") or "")
    assert recipe["plan"] == f"{plan}, {name}=2"  # the last bit may differ by it
    assert planned.split(f"{recipe['plan']} + region") == (plan, "region")


def test_a_forecast_is_written_by_the_first_alone(two):
    place, (first, second) = two
    assert (first["forecast"][0], second["forecast"]) == (0, (0, "", "")), first["forecast"][2]
    assert (place / "where.png").is_file()


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("loading", 1, "process 1: unexpected ValueError: a file is torn; --traceback"),
        ("making", 4, "process 1: memory: ran out at a grid of 2 x 3 tokens (2 GiB); a smaller"),
        ("after", 1, "process 1: unexpected OSError: no room"),
        ("both", 1, "output='nowhere/no.png': no folder 'nowhere'"),
        ("auto", 2, "--plan=auto: chooses for one process"),
        ("reference", 2, "plan=reference: is without the engine"),
        ("attention", 2, "plan=fp8-attention: has an engine beside the shared one"),
        ("capped", 2, "plan=lossless: has a cap on memory (vram)"),
        ("batch", 2, "--parallel=tensor: one picture at a time accepted; leave --batch out"),
        ("stdin", 2, "--parallel=tensor: each process reads the pictures, and stdin is read once"),
        ("numbered", 2, "--device=cpu:0: with --parallel each process takes the GPU of its own number; cpu accepted"),
    ],
)
def test_an_error_of_either_is_told_once_and_nothing_is_written(two, name, code, message):
    place, (first, second) = two
    errors = [line for line in first[name][2].splitlines() if "error" in line]
    assert [line.removeprefix("recast: error: ")[: len(message)] for line in errors] == [message]
    assert (first[name][0], first[name][1]) == (code, "")
    assert second[name] == (0, "", ""), "the first has said it"
    assert not (place / "no.png").exists()


def test_what_several_load_is_given_away_for_the_eight_bits_made_of_it(divisible, monkeypatch):
    load, given = loading.load, []
    monkeypatch.setattr("recast.loading.load", lambda *words, **more: given.append(load(*words, **more)) or given[0])
    ready = planned.load(Model(str(divisible), device="cpu", dtype="fp32", plan="fp8"), here=Process())
    assert all(parameter.is_meta for parameter in given[0].flow.double_blocks.parameters())
    assert ready.pipeline.generate("a dog", width=32, height=32, steps=1, seed=1).pictures


def test_one_process_alone_is_told_how_to_start_several(photo, divisible, recast, capsys, monkeypatch):
    """By a number that its model can be shared by: two of three heads would be refused again."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert recast(*EDIT, "tensor", "--out", "no.png") == 2
    assert "torchrun --nproc-per-node 3 -m recast edit ... --parallel tensor" in capsys.readouterr().err
    monkeypatch.setenv("RECAST_MODEL", str(divisible))
    assert recast(*EDIT, "sequence", "--out", "no.png") == 2
    said = capsys.readouterr().err
    assert "2, 4, which can share tiny, accepted" in said
    assert "torchrun --nproc-per-node 2 -m recast edit ... --parallel sequence" in said
    assert recast("edit", "--recipe", "made.png", "--parallel", "tensor", "--out", "no.png") == 2
    assert "as many as divide the model's heads" in capsys.readouterr().err
