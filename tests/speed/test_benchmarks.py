"""Benchmarks that want a GPU run from end to end on a CPU with --smoke, and append nothing."""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from recast.selftest import one_thread

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A benchmark by name, its neighbours found as when it is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


SMOKE = {  # what is said, for one row
    "gpu_step": (["--peer", "none"], "| text to image 64x64 | recast |"),
    "fp8_quality": ([], "| fp8, 2 kept + fp8 attention + smooth + rotate |"),
    "adapter_fold": (["--eight-bit"], "| a second as well |"),
    "autoencoder_fast": ([], "| decode | 48x64 | 16 | fast fp32 |"),
    "approximate": (["--only", "masked"], "| region, every 8th, ring 1, ab2 14 |"),
    "train_throughput": (["--peer", "none"], "| lora | recast |"),
    "add_ladd": (["--arms", "ADD, crop"], "| ADD, crop |"),
}


@pytest.mark.parametrize("name", SMOKE)
def test_it_runs_from_end_to_end(
    name: str, script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options, row = SMOKE[name]
    monkeypatch.setattr(script("record"), "append", lambda *given: pytest.fail(f"appended {given}"))
    with one_thread(), torch.random.fork_rng():
        script(name).main(["--smoke", *options])
    assert row in capsys.readouterr().out


def test_random_weights_show_the_rounding_of_eight_bits_and_not_that_of_an_embedding(
    script: Callable[[str], ModuleType],
) -> None:
    """Of 2.5 and of 0.75, bf16 embeds another number than fp32: with random weights, a fifth of the velocity."""
    fp8_quality = script("fp8_quality")
    with torch.inference_mode():
        case = fp8_quality.of_random("tiny", "cpu", 1, 3, 64)
        times = case.walks[0].times
        velocity = case.own.along(case.own_conditions[0], times)
        made = [velocity(x, t) for x, t in zip(case.walks[0].states, times, strict=True)]
    for one, true in zip(made, case.walks[0].velocities, strict=True):
        assert fp8_quality.distance(one, true) < 0.03


# The sequence of benchmarks/gpu_edit.py: nothing measured is lost, whatever ends it.


def test_the_samples_of_an_arm_come_one_by_one_from_the_cold_one_on(
    script: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--smoke", "--worker", "lossless", "--cases", "edit 64x64", "--scratch", str(tmp_path)]
    with one_thread(), torch.random.fork_rng():
        script("gpu_edit").main(asked)
    samples = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [sample["kind"] for sample in samples] == ["cold", "timed"]
    (row,) = script("gpu_edit_table").rows_of([{"round": 0, **sample} for sample in samples])
    assert (len(row["sample"]), row["steps"], row["variants"]) == (1, 2, 1)
    assert row["cold_s"] >= sum(samples[0][stage] for stage in ("encode", "sample", "decode", "file"))
    assert any(line.startswith("+ engine") for line in row["report"])
    assert (tmp_path / "lossless-edit-64x64.pt").exists()


def test_a_process_that_fails_leaves_its_samples_and_its_whole_traceback(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    code = """
print('{"arm": "a", "case": "b"}', flush=True)
print("by the way")
def kernel():
    raise ValueError("broken")
kernel()"""
    log, command = tmp_path / "workers.log", [sys.executable, "-S", "-c", code]
    found = list(script("gpu_edit_process").samples_of(command, log=log, title="a, round 0"))
    assert found == [{"arm": "a", "case": "b"}, {"not_run": "ValueError: broken"}]
    said = log.read_text()
    assert all(part in said for part in ("== a, round 0", "by the way", "Traceback", "in kernel", "ValueError: broken"))


def test_a_process_is_ended_with_all_that_it_began_when_its_time_is_over(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    begun = time.monotonic()
    command = ["sh", "-c", """echo '{"arm": "a"}'; sleep 60 & sleep 60"""]
    ways = {"log": tmp_path / "log", "title": "a", "until": begun + 1}
    found = list(script("gpu_edit_process").samples_of(command, **ways))
    assert found == [{"arm": "a"}, {"not_run": "cut short: its time was over"}]
    assert time.monotonic() - begun < 30


def test_by_minutes_what_claims_are_made_of_comes_first_and_nothing_twice(script: Callable[[str], ModuleType]) -> None:
    arms = script("gpu_edit_arms")
    ordered = arms.jobs(list(arms.ARMS), list(arms.CASES), 2, must_first=True)
    assert [(job.arm, job.cases) for job in ordered[: len(arms.MUST)]] == list(arms.MUST.items())
    every = [(job.round, job.arm, case) for job in ordered for case in job.cases]
    assert len(every) == len(set(every)) == 2 * len(arms.ARMS) * len(arms.CASES)
    (one,) = arms.jobs(["fp8"], ["edit 1024x1024"], 1, must_first=True)
    assert one == arms.Job(0, "fp8", ("edit 1024x1024",))


@pytest.fixture
def gpu_edit(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with processes that are acted: in that of fp8, the minutes are over."""
    made = script("gpu_edit")
    stages = {"encode": 0.1, "sample": 0.5, "decode": 0.1, "file": 0.1, "peak_gib": 1.0}

    def run_worker(args: argparse.Namespace, job: Any, *_: object) -> Iterator[dict[str, Any]]:
        about = {"arm": job.arm, "round": job.round, "case": job.cases[0], **stages}
        yield {**about, "kind": "cold", "cold_s": 2.0, "steps": 2, "variants": 1}
        if job.arm == "fp8":
            monkeypatch.setattr(made, "LEAST_S", float("inf"))
            yield {"arm": job.arm, "round": job.round, "not_run": "cut short: its time was over"}
        else:
            yield {**about, "kind": "timed"}

    monkeypatch.setattr(made, "run_worker", run_worker)
    monkeypatch.setattr(made, "LEAST_S", 0.0)
    monkeypatch.setattr(script("gpu_state"), "numbers", lambda fields: {})
    monkeypatch.setattr(script("record"), "append", lambda name, row: None)
    monkeypatch.setattr(script("record"), "where", lambda: {"gpu": "acted"})
    return made


def test_when_the_minutes_are_over_the_tables_are_there_with_what_was_left_out(
    gpu_edit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--arms", "lossless,fp8,fp8-attention", "--cases", "edit 1024x1024", "--rounds", "2"]
    gpu_edit.main([*asked, "--minutes", "9", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert "| edit 1024x1024 | lossless | 250 |" in said
    assert "no timed request: fp8: edit 1024x1024" in said
    assert "\nleft out after 9 minutes, go on with --from 2: fp8 (edit 1024x1024), round 0; lossless (" in said
    assert (tmp_path / "tables.md").read_text() == said
    gpu_edit.main(["--tables", str(tmp_path / "samples.jsonl")])
    assert capsys.readouterr().out.strip() == said.partition("\nleft out")[0].strip()
    first = json.loads((tmp_path / "samples.jsonl").read_text().splitlines()[0])
    assert first == {"gpu": "acted", "preset": "kontext_dev"}
    gpu_edit.main([*asked, "--minutes", "9", "--from", "3"])  # with less time than a process takes
    assert "go on with --from 3: lossless (edit 1024x1024), round 1; " in capsys.readouterr().out
