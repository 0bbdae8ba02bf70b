"""Rows in eight bits are those of the plain version, number by number."""

import pytest
import torch

from recast.speed.kernels.rows import to_rows
from recast.speed.ops import Plain
from tests.speed.kernels.inputs import DEVICE, EVERY, assert_same, draw


@pytest.mark.parametrize("dtype", EVERY)
@pytest.mark.parametrize("size", [(2, 3, 96), (1, 2, 200)])
def test_exact_rows_are_the_plain_ones_bit_for_bit(size, dtype):
    x = draw(*size, dtype=dtype) * 5
    for made, wanted in zip(to_rows(x, exact=True), Plain().to_rows(x), strict=True):
        assert_same(made, wanted)


def test_fast_rows_are_at_most_a_step_off_and_seldom():
    x = draw(4, 8, 96, dtype=torch.bfloat16)
    values, scale = to_rows(x, exact=False)
    wanted, wanted_scale = Plain().to_rows(x)
    assert torch.equal(scale, wanted_scale)
    torch.testing.assert_close(values.float(), wanted.float(), rtol=0.125, atol=2**-9)
    assert (values.float() != wanted.float()).float().mean() <= 0.002


def test_halves_go_to_the_even_number():
    """Scale 1: 17 lies between 16 and 18, 19 between 18 and 20; 448 is the largest there is."""
    x = torch.tensor([[[448.0, 17.0, 19.0, -17.0, 0.0, 1.0625, 1.1875, 2**-10]]], device=DEVICE)
    values, scale = to_rows(x, exact=True)
    assert scale.item() == 1
    assert values.float().flatten().tolist() == [448, 16, 20, -16, 0, 1.0, 1.25, 0]


@pytest.mark.parametrize(("scale", "between", "even"), [(63, 17, 16), (61, 19, 20)])
def test_exact_divides_where_a_reciprocal_turns_a_half_to_the_other_side(scale, between, even):
    """In fp32, 17 * 63 times 1 / 63 is more than 17, and 19 * 61 times 1 / 61 less than 19."""
    x = scale * torch.tensor([[[448.0, between]]], device=DEVICE)
    values, scales = to_rows(x, exact=True)
    assert (scales.item(), *values.float().flatten().tolist()) == (scale, 448, even)


def test_a_row_of_zeros_stays_one_and_samples_may_lie_apart():
    x = draw(2, 4, 16, dtype=torch.float32)[:, 1:]
    x[1, 1] = 0
    values, scale = to_rows(x, exact=False)
    assert scale[1, 1].item() > 0
    assert torch.equal(values[1, 1].float(), torch.zeros_like(x[1, 1]))
    torch.testing.assert_close(values.float() * scale, x, rtol=2**-4, atol=1e-2)
