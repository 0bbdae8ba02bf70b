"""Benchmarks that want a GPU run from end to end on a CPU with --smoke, and append nothing."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

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
