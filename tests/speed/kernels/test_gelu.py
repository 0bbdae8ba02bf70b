"""GELU in its tanh form, in the dtype of its input or in eight bits."""

import math

import pytest
import torch

from recast.speed.kernels import gelu
from recast.speed.ops import Plain
from tests.speed.kernels.inputs import DEVICE, EVERY, STEP, assert_rounded_once, assert_same, draw


@pytest.mark.parametrize("dtype", EVERY)
@pytest.mark.parametrize("size", [(2, 2, 75), (1, 5, 7)])
def test_it_is_the_library_s_over_many_blocks_and_a_ragged_last_one(size, dtype, monkeypatch):
    monkeypatch.setattr(gelu, "FLAT", 64)
    x = draw(*size, dtype=dtype) * 3
    y = x.double()  # by the sigmoid: the library's 1 + tanh loses digits for x < -3
    wanted = y * torch.sigmoid(2 * math.sqrt(2 / math.pi) * (y + 0.044715 * y**3))
    assert_rounded_once(gelu.gelu(x), wanted.float())
    torch.testing.assert_close(gelu.gelu(x).float(), Plain().gelu(x).float(), rtol=STEP.get(dtype, 1e-5), atol=1e-6)


def test_samples_may_lie_apart():
    x = draw(3, 5, 32, dtype=torch.bfloat16)[:, 1:4]
    assert_same(gelu.gelu(x), Plain().gelu(x))
    for made, wanted in zip(gelu.gelu_rows(x, exact=True), Plain().gelu(x, rows=True), strict=True):
        assert_same(made, wanted)


@pytest.mark.parametrize("size", [(2, 3, 96), (1, 2, 200)])
def test_eight_bits_are_those_of_the_core_s_row(size):
    x = draw(*size, dtype=torch.bfloat16) * 3
    for made, wanted in zip(gelu.gelu_rows(x, exact=True), Plain().gelu(x, rows=True), strict=True):
        assert_same(made, wanted)


def test_fast_eight_bits_are_of_the_row_before_it_is_rounded():
    x = draw(2, 3, 96, dtype=torch.bfloat16) * 3
    values, scale = gelu.gelu_rows(x, exact=False)
    wanted, wanted_scale = Plain().gelu(x.float(), rows=True)
    torch.testing.assert_close(scale, wanted_scale, rtol=1e-6, atol=0)
    assert (values.float() != wanted.float()).float().mean() <= 0.01


@pytest.mark.parametrize("value", [-30.0, -6.0, 0.0, 6.0, 30.0])
def test_far_out_it_is_nothing_or_its_input(value):
    x = torch.full((1, 1, 4), value, device=DEVICE)
    torch.testing.assert_close(gelu.gelu(x), Plain().gelu(x), rtol=1e-6, atol=1e-6)
