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
    asked = ["--smoke", "--worker", "fp8", "--cases", "edit 64x64", "--scratch", str(tmp_path)]
    with one_thread(), torch.random.fork_rng():
        script("gpu_edit").main(asked)
    samples = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [sample["kind"] for sample in samples] == ["cold", "timed"]
    (row,) = script("gpu_edit_table").rows_of([{"job": 0, "round": 0, **sample} for sample in samples])
    assert (len(row["sample"]), row["steps"], row["variants"], row["has_kernels"]) == (1, 2, 1, False)
    assert row["cold_s"] >= sum(samples[0][stage] for stage in ("encode", "sample", "decode", "file"))
    assert any(line.startswith("+ engine") for line in row["report"])
    assert torch.load(tmp_path / "fp8-edit-64x64.pt").isfinite().all()
    compiled = script("gpu_edit").kernels_of("fp8", tmp_path) / "triton" / "one"
    compiled.parent.mkdir(parents=True)
    compiled.touch()
    with one_thread(), torch.random.fork_rng():
        script("gpu_edit").main(asked)
    assert json.loads(capsys.readouterr().out.splitlines()[0])["has_kernels"] is True


def test_an_arm_is_loaded_as_a_command_loads_it(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its peak memory has the weights beside the eight bits made of them."""
    ours, given, make = script("gpu_edit_ours"), list[Any](), script("gpu_edit_ours").random_pipeline
    monkeypatch.setattr(ours, "random_pipeline", lambda *about: given.append(make(*about)) or given[0])
    args = argparse.Namespace(distance_in_fp32=False)
    with torch.random.fork_rng():
        ours.ours(args, script("gpu_edit_arms").ARMS["fp8"], ours.preset_of("tiny", cached=False), torch.device("cpu"))
    assert all(parameter.is_meta for parameter in given[0].flow.double_blocks.parameters())


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
def appended(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The rows that a benchmark appends to its results, which stay as they are."""
    rows: list[dict[str, Any]] = []
    monkeypatch.setattr(script("record"), "append", lambda name, row: rows.append(row))
    return rows


@pytest.fixture
def gpu_edit(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, appended: list[dict[str, Any]]
) -> ModuleType:
    """The script with processes that are acted: in that of fp8 the minutes are over, in that of exact comes Ctrl-C."""
    made, processes = script("gpu_edit"), iter(range(1, 100))
    stages = {"encode": 0.1, "sample": 0.5, "decode": 0.1, "file": 0.1, "peak_gib": 1.0}

    def run_worker(
        args: argparse.Namespace, job: Any, out: Path, scratch: Path, until: Any
    ) -> Iterator[dict[str, Any]]:
        (case,) = job.cases
        about = {"arm": job.arm, "case": case, **stages}
        has_kernels = case != "edit 1024x1024"
        yield {**about, "kind": "cold", "cold_s": 2.0, "steps": 2, "variants": 1, "has_kernels": has_kernels}
        if job.arm == "exact":
            raise KeyboardInterrupt
        if job.arm == "fp8":
            monkeypatch.setattr(made, "LEAST_S", float("inf"))
            yield {"not_run": "cut short: its time was over"}
        else:
            yield {**about, "kind": "timed"}
            velocity = torch.tensor([1.0 if job.arm == "reference" else 1.5])
            torch.save(velocity, scratch / f"{made.slug(job.arm)}-{made.slug(case)}.pt")

    monkeypatch.setattr(made, "run_worker", run_worker)
    monkeypatch.setattr(made, "LEAST_S", 0.0)
    monkeypatch.setattr(script("gpu_state"), "numbers", lambda fields: {})
    monkeypatch.setattr(script("gpu_state").Watch, "said", property(lambda self: {"of process": next(processes)}))
    monkeypatch.setattr(script("record"), "where", lambda: {"gpu": "acted"})
    return made


def test_when_the_minutes_are_over_the_tables_are_there_with_what_was_left_out(
    gpu_edit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], appended: list[dict[str, Any]]
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
    assert [(row["arm"], row.get("case")) for row in appended] == [
        ("lossless", "edit 1024x1024"),
        ("fp8-attention", "edit 1024x1024"),
        ("fp8", "edit 1024x1024"),
        ("fp8", None),  # why
    ]
    first = json.loads((tmp_path / "samples.jsonl").read_text().splitlines()[0])
    assert first == {"gpu": "acted", "preset": "kontext_dev"}
    gpu_edit.main([*asked, "--minutes", "9", "--from", "3"])  # with less time than a process takes
    assert "go on with --from 3: lossless (edit 1024x1024), round 1; " in capsys.readouterr().out


def test_a_row_is_appended_once_with_its_own_process_s_state_and_the_distance_that_came_later(
    script: Callable[[str], ModuleType],
    gpu_edit: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    appended: list[dict[str, Any]],
) -> None:
    """Of `MUST` and of the rest an arm has two processes a round; the reference comes after the first of them."""
    cases = ["edit 1024x1024", "edit 1280x720"]
    asked = ["--arms", "lossless,reference", "--cases", ",".join(cases), "--rounds", "1", "--out", str(tmp_path)]
    gpu_edit.main([*asked, "--minutes", "9"])
    said = capsys.readouterr().out
    assert [(row["arm"], row["case"], row["gpu_state"], row["distance"]) for row in appended] == [
        ("lossless", cases[0], {"of process": 1}, "0.5000"),
        ("reference", cases[0], {"of process": 2}, "0.0000"),
        ("lossless", cases[1], {"of process": 3}, "0.5000"),
        ("reference", cases[1], {"of process": 4}, "0.0000"),
    ]
    (head, *_), lines = (
        [[cell.strip() for cell in line.split("|")] for line in said.splitlines() if line.startswith(start)]
        for start in ("| case |", "| edit ")
    )
    assert [line[head.index("cold s")] for line in lines] == ["2", "2", "2, kernels kept", "2, kernels kept"]
    gpu_edit.main([*asked, "--minutes", "9"])  # another run into the same samples
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    rows = script("gpu_edit_table").rows_of(samples)
    assert [row["gpu_state"]["of process"] for row in rows] == [*range(1, 9)]


def test_what_was_measured_is_appended_when_ctrl_c_ends_the_run(
    gpu_edit: ModuleType, appended: list[dict[str, Any]]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        gpu_edit.main(["--arms", "lossless,exact,reference", "--cases", "edit 1024x1024", "--rounds", "1"])
    assert [(row["arm"], row["sample"]) for row in appended] == [("lossless", [0.5]), ("exact", [])]
