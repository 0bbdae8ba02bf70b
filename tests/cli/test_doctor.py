"""`recast doctor`: a sound installation passes; whatever is broken has a line, a mark, and an exit code."""

from __future__ import annotations

import json
import math
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from recast import selftest
from recast.cli import doctor, machine, plan_checks
from recast.config import PRESETS
from recast.errors import ConfigError
from recast.selftest import EDITS, Finding, Report
from recast.speed import quantize
from recast.speed import selftest as speed_selftest
from recast.speed.plan import PLANS
from recast.speed.selftest import Finding as Fault
from recast.speed.selftest import Measured
from recast.speed.streaming import Held
from tests.cli.conftest import Recast


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One edit instead of five, one plan instead of all: what these find is in the tests of the two self-tests."""
    monkeypatch.setattr(speed_selftest, "PLANS", {"exact": PLANS["exact"]})
    check = selftest.check
    monkeypatch.setattr(selftest, "check", lambda pipeline: check(pipeline, edits=EDITS[:1]))


COMPARED = tuple(name for name in PLANS if name != "compile")


def checks(text: str) -> dict[str, Any]:
    return {check["name"]: check for check in json.loads(text)["checks"]}


def test_a_sound_installation_passes(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("doctor") == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("python", "torch", "cpu", "memory", "gpu", "weights", "fits", "self-test: 16:9 with a LoRA"):
        assert any(line.startswith("ok") and name in line for line in lines), name
    assert lines[-1].startswith("0 failed")
    plans = {name: next(line for line in lines if line.startswith(f"ok   plan {name} ")) for name in COMPARED}
    assert "engine, shared pictures" in plans["exact"]
    assert "not here: kernels (" in plans["lossless"]
    assert "graph (needs CUDA)" in plans["fp8"]


@pytest.mark.usefixtures("quick")
def test_json_says_the_same_to_a_machine(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("doctor", "--json") == 0
    text = capsys.readouterr().out
    found = checks(text)
    assert json.loads(text)["ok"] is True
    assert set(found["arithmetic"]["data"]["flops_per_s"]) == {"fp32", "bf16"}
    assert found["memory"]["data"]["bytes"] > 0
    assert found["model"]["mark"] == "ok"  # RECAST_MODEL, the tiny one


@pytest.mark.usefixtures("quick")
def test_a_broken_kernel_fails_and_is_named(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    attend = torch.nn.functional.scaled_dot_product_attention
    with patch("torch.nn.functional.scaled_dot_product_attention", lambda q, k, v: attend(q, k, v, scale=1.0)):
        assert recast("doctor", "--json") == 1
    found = checks(capsys.readouterr().out)
    assert found["self-test"]["mark"] == "fail"
    assert "suspect: attention kernel" in found["self-test"]["found"]
    assert "--device cpu" in found["self-test"]["advice"]


@pytest.mark.usefixtures("quick")
def test_a_plan_whose_numbers_differ_fails_with_the_technique_to_blame(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed_selftest, "PLANS", PLANS)
    product = quantize.EightBit._product
    monkeypatch.setattr(quantize.EightBit, "_product", lambda self, *given: 1.5 * product(self, *given))
    assert recast("doctor", "--json", "--plan", "fp8") == 1
    found = checks(capsys.readouterr().out)
    assert [name for name in found if name.startswith("plan ")] == ["plan fp8"]
    plan = found["plan fp8"]
    assert plan["mark"] == "fail"
    assert plan["found"].endswith("suspect: eight-bit products")
    assert "--plan exact" in plan["advice"]
    assert plan["data"]["distances"]["velocity"] > plan["data"]["limits"]["velocity"]
    assert plan["data"]["not_here"]["graph"] == "needs CUDA"


@pytest.mark.usefixtures("quick")
def test_a_plan_under_a_cap_is_tried_by_its_name_and_its_cure_is_to_leave_the_cap_out(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed_selftest, "PLANS", PLANS)
    monkeypatch.setattr(Held, "send", lambda self, index, group, slot: lambda: slot.run.zero_())
    assert recast("doctor", "--json", "--plan", "fp8 under a cap") == 1
    plan = checks(capsys.readouterr().out)["plan fp8 under a cap"]
    assert plan["found"].endswith("suspect: memory")
    assert "until it passes leave --vram out;" in plan["advice"]


def test_a_plan_with_two_faults_has_two_cures() -> None:
    whole = Measured({"velocity": 1.0}, {"velocity": 0.1})
    of_both = Fault(PLANS["fp8"], whole, ("kernels", "memory"))
    assert "until it passes use --plan exact and leave --vram out;" in plan_checks._of_plan(of_both).advice


@pytest.mark.usefixtures("quick")
def test_an_unknown_plan_is_a_failed_check(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("doctor", "--json", "--plan", "fastest") == 1
    assert "plan='fastest'" in checks(capsys.readouterr().out)["plans"]["found"]


@pytest.mark.usefixtures("quick")
def test_a_changed_weight_file_fails(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = selftest.nano_checksums()
    monkeypatch.setattr(selftest, "nano_checksums", lambda: {**here, "flow.safetensors": "0" * 64})
    assert recast("doctor", "--json") == 1
    weights = checks(capsys.readouterr().out)["weights"]
    assert weights["mark"] == "fail"
    assert "flow.safetensors" in weights["found"]
    assert "ae.safetensors" not in weights["found"]


@pytest.mark.usefixtures("quick")
def test_a_model_that_is_not_there_fails_and_the_rest_is_still_looked_at(
    recast: Recast, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("doctor", "--json", "--model", "nowhere") == 1
    found = checks(capsys.readouterr().out)
    assert found["model"]["mark"] == "fail"
    assert found["self-test"]["mark"] == "ok"


@pytest.mark.usefixtures("quick")
def test_a_device_that_is_not_there_is_a_failed_check(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("doctor", "--json", "--device", "toaster") == 1
    assert "toaster" in checks(capsys.readouterr().out)["self-test"]["found"]


def test_a_missing_package_fails_before_anything_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def without_einops(name: str) -> str:
        if name == "einops":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_einops)
    found = list(doctor.examine(device="cpu", dtype="fp32", model=None, variant=None, plan=None))
    assert [(check.name, check.advice) for check in found if check.mark == "fail"] == [("einops", "pip install recast")]
    assert found[-1].name == "safetensors"


def test_any_distribution_of_opencv_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"opencv-contrib-python": "4.9.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "packages_distributions", lambda: {"cv2": ["opencv-contrib-python"]})
    found = doctor._package("opencv-python-headless")
    assert (found.name, found.mark, found.found) == ("opencv-contrib-python", "ok", "4.9.0")
    monkeypatch.setattr(metadata, "packages_distributions", dict)
    assert doctor._package("opencv-python-headless").mark == "fail"


def test_an_old_torch_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, mark in (("2.10.1+cu128", "fail"), ("2.11.0", "ok"), ("3.0.0a0+git", "ok")):
        monkeypatch.setattr(metadata, "version", lambda name, version=version: version)
        assert doctor._package("torch").mark == mark, version


def test_a_missing_optional_package_only_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", nothing)
    check = doctor._optional("transformers", "FLUX.1 needs it")
    assert (check.mark, check.advice) == ("warn", "FLUX.1 needs it")


def test_what_needs_too_much_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "device_bytes", lambda device: (36 * 2**30, 36 * 2**30))
    (check,) = doctor._fits("cpu")
    assert check.data["fitting"] == [name for name in PRESETS if name != "tiny"]
    monkeypatch.setattr(doctor, "device_bytes", lambda device: (24 * 2**30, 24 * 2**30))
    (check,) = doctor._fits("cpu")
    assert (check.mark, check.data["fitting"]) == ("ok", ["nano", "nano-dev", "nano-turbo"])
    assert "kontext_dev, dev, krea_dev, schnell, fill_dev, control_dev need 34 GiB" in check.found
    monkeypatch.setattr(doctor, "device_bytes", lambda device: (2**20, 2**20))
    (check,) = doctor._fits("cpu")
    assert check.mark == "fail"


def test_memory_is_no_more_than_the_machine_has() -> None:
    total, free = machine.memory_bytes()
    assert 0 < free <= total
    if Path("/proc/meminfo").exists():
        assert total <= 1024 * int(Path("/proc/meminfo").read_text().split()[1])


def test_a_check_that_raises_is_a_failed_check() -> None:
    def broken() -> Any:
        raise OSError("libcudart.so not found")
        yield

    def refused() -> Any:
        raise ConfigError("device='x': not usable")
        yield

    found = [*doctor._guarded("gpu", broken), *doctor._guarded("fits", refused)]
    assert [check.mark for check in found] == ["fail", "fail"]
    assert found[0].found == "OSError: libcudart.so not found"
    assert found[1].found == "device='x': not usable"


def test_json_holds_no_number_that_json_has_not(recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A distance is NaN where a stage gave NaN, and infinite where there was none."""
    findings = (
        Finding("velocity", "flow transformer", math.nan, 1e-4, "not a number"),
        Finding("picture", "autoencoder, decoding", math.inf, 1.0, "never made"),
    )
    report = Report((Finding("rotation", "rotary kernel", 0.0, 1e-4),), {"one context": findings})
    monkeypatch.setattr(selftest, "check", lambda pipeline: report)
    assert recast("doctor", "--json") == 1
    text = capsys.readouterr().out
    assert "NaN" not in text.split('"data"')[-1]
    assert "Infinity" not in text
    assert checks(text)["self-test: one context"]["advice"] == "not a number"
