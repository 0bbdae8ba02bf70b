"""The fused norm is the core's chain of operations: bit for bit where it rounds as that does."""

import pytest
import torch

from recast.errors import ShapeError
from recast.speed.kernels import modulated_norm
from recast.speed.ops import Plain
from tests.speed.kernels.inputs import EVERY, HALVES, assert_rounded_once, assert_same, draw, modulations

SIZES = [(2, 2, 96), (1, 2, 128), (2, 1, 7)]  # b, s, d


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", SIZES)
def test_exact_is_the_core_s_chain_bit_for_bit_but_for_ties_of_its_sums(size, dtype):
    b, s, d = size
    x, update = draw(b, s, d, dtype=dtype) * 4 + 1, draw(b, s, d, dtype=dtype, seed=1)
    gate, shift, scale = modulations(b, d, 3, dtype)
    left, entered = modulated_norm.leave_enter(x, update, gate, shift, scale, exact=True)
    wanted_left, wanted = Plain().leave_enter(x, update, gate, shift, scale)
    assert_same(left, wanted_left)
    assert_same(entered, wanted, ties=0.01)
    assert_same(modulated_norm.enter(x, shift, scale, exact=True), Plain().enter(x, shift, scale), ties=0.01)


@pytest.mark.parametrize("dtype", EVERY)
@pytest.mark.parametrize("size", SIZES)
def test_fast_rounds_once(size, dtype):
    b, s, d = size
    x, update = draw(b, s, d, dtype=dtype) * 4 + 1, draw(b, s, d, dtype=dtype, seed=1)
    gate, shift, scale = modulations(b, d, 3, dtype)
    left, entered = modulated_norm.leave_enter(x, update, gate, shift, scale, exact=False)
    inputs = [part.float() for part in (x, update, gate, shift, scale)]
    wanted_left, wanted = Plain().leave_enter(*inputs)
    assert_rounded_once(left, wanted_left)
    assert_rounded_once(entered, wanted)
    assert_rounded_once(modulated_norm.enter(x, shift, scale, exact=False), Plain().enter(inputs[0], *inputs[3:]))


def test_one_modulation_serves_all_samples_and_samples_may_lie_apart():
    dtype = torch.bfloat16
    x, update = (draw(3, 5, 32, dtype=dtype, seed=seed)[:, 1:4] for seed in (0, 1))
    gate, shift, scale = modulations(1, 32, 3, dtype)
    made = modulated_norm.leave_enter(x, update, gate, shift, scale, exact=True)
    for one, wanted in zip(made, Plain().leave_enter(x, update, gate, shift, scale), strict=True):
        assert_same(one, wanted, ties=0.01)


@pytest.mark.parametrize("dtype", EVERY)
def test_eight_bits_of_the_exact_row_are_those_of_the_core_s(dtype):
    x, update = draw(2, 3, 96, dtype=dtype), draw(2, 3, 96, dtype=dtype, seed=1)
    gate, shift, scale = modulations(2, 96, 3, dtype)
    left, (values, scales) = modulated_norm.leave_enter(x, update, gate, shift, scale, exact=True, rows=True)
    wanted_left, (wanted, wanted_scales) = Plain().leave_enter(x, update, gate, shift, scale, rows=True)
    torch.testing.assert_close(left, wanted_left, rtol=1e-6, atol=1e-6)
    assert_same(values, wanted, ties=0.01)
    torch.testing.assert_close(scales, wanted_scales, rtol=1e-6, atol=0)


def test_a_large_mean_takes_nothing_from_the_variance():
    x = draw(1, 2, 96, dtype=torch.float32) + 3000
    shift, scale = modulations(1, 96, 2, torch.float32)
    made = modulated_norm.enter(x, shift, scale, exact=False)
    wanted = Plain().enter(x.double(), shift.double(), scale.double()).float()
    torch.testing.assert_close(made, wanted, rtol=0, atol=2e-3)  # 3000 itself is known to 1e-4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"update": (2, 2, 8)}, "update"),
        ({"gate": (2, 3, 8)}, "gate"),
        ({"shift": (8,)}, "shift"),
        ({"scale": (3, 1, 8)}, "scale"),
    ],
)
def test_a_shape_that_would_read_elsewhere_is_refused(change, named):
    shapes = {"x": (2, 3, 8), "update": (2, 3, 8), "gate": (2, 1, 8), "shift": (2, 1, 8), "scale": (2, 1, 8)} | change
    with pytest.raises(ShapeError, match=named):
        modulated_norm.leave_enter(*(draw(*shape, dtype=torch.float32) for shape in shapes.values()), exact=False)


def test_rows_that_do_not_lie_one_after_another_are_refused():
    x = draw(2, 3, 16, dtype=torch.float32)[..., :8]
    with pytest.raises(ShapeError, match="contiguous"):
        modulated_norm.enter(x, *modulations(1, 8, 2, torch.float32), exact=False)
