"""The engine with our kernels gives the velocities of the core, and says where they cannot run."""

import importlib.util

import pytest
import torch

from recast.errors import ConfigError, ShapeError
from recast.speed.engine import Engine
from recast.speed.fused import Fused, missing
from recast.speed.kernels import launch
from tests.flow.test_transformer import inputs
from tests.speed.kernels.inputs import DEVICE
from tests.tiny import tiny_flow


@pytest.mark.skipif(DEVICE != "cpu", reason="inputs are on the CPU, for Triton's interpreter")
def test_an_engine_with_our_kernels_gives_the_core_s_velocities():
    flow = tiny_flow(depth=1, depth_single_blocks=1)
    x, _, given = inputs(batch=2, contexts=((1, 1),))
    wanted = flow.along(flow.condition(**given), [0.6])(x, 0.6)
    engine = Engine(flow, ops=Fused())
    torch.testing.assert_close(engine.along(engine.condition(**given), [0.6])(x, 0.6), wanted, rtol=0, atol=2e-5)


def test_missing_names_what_is_not_there(monkeypatch):
    assert "cpu" in (missing(torch.device("cpu")) or "")
    device = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for has, bare, in_eight_bits in [((7, 5), "8.0", "8.9"), ((8, 6), None, "8.9"), ((9, 0), None, None)]:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, has=has: has)
        for reason, needed in ((missing(device), bare), (missing(device, rows=True), in_eight_bits)):
            assert reason is None if needed is None else needed in (reason or "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "not installed" in (missing(device) or "")
    with pytest.raises(ConfigError, match="not installed"):
        Fused()


def test_another_rounding_is_refused():
    with pytest.raises(ConfigError, match="rounding='fats'"):
        Fused("fats")  # type: ignore[arg-type]


def test_off_cuda_a_kernel_is_refused_and_a_row_too_wide_everywhere(monkeypatch):
    monkeypatch.setattr(launch.triton.knobs.runtime, "interpret", False)
    with pytest.raises(ConfigError, match="cpu"):
        launch.on(torch.zeros(1))
    with pytest.raises(ShapeError, match="32769"):
        launch.block("x", launch.WIDEST + 1)
