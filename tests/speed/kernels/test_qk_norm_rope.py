"""Queries and keys normed and turned in place, as the core does; values untouched."""

import pytest
import torch

from recast.errors import ShapeError
from recast.flow.layers import rotary_table
from recast.speed.kernels.qk_norm_rope import norm_rotate
from recast.speed.ops import Plain
from tests.speed.kernels.inputs import DEVICE, EVERY, HALVES, assert_rounded_once, assert_same, draw

SIZES = [(2, 2, 3, 16), (1, 1, 2, 128), (1, 2, 1, 12)]  # b, s, k, e


def table(b: int, s: int, e: int) -> torch.Tensor:
    positions = torch.arange(b * s * 1.0).view(b, s, 1) * 3 + 1
    return rotary_table(positions.to(DEVICE), (e,), 10_000)


def learned(e: int, dtype: torch.dtype) -> list[torch.Tensor]:
    return [draw(e, dtype=dtype, seed=seed) for seed in (1, 2)]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", SIZES)
def test_exact_is_the_core_s_chain_bit_for_bit(size, dtype):
    b, s, k, e = size
    made, wanted = (draw(b, s, 3, k, e, dtype=dtype) * 3 for _ in range(2))
    norm_rotate(made, *learned(e, dtype), table(b, s, e), exact=True)
    Plain().norm_rotate(wanted, *learned(e, dtype), table(b, s, e))
    assert_same(made, wanted)


@pytest.mark.parametrize("dtype", EVERY)
@pytest.mark.parametrize("size", SIZES)
def test_fast_rounds_once_and_leaves_values_alone(size, dtype):
    b, s, k, e = size
    given = draw(b, s, 3, k, e, dtype=dtype) * 3
    made, wanted = given.clone(), given.float()
    norm_rotate(made, *learned(e, dtype), table(b, s, e), exact=False)
    Plain().norm_rotate(wanted, *(scale.float() for scale in learned(e, dtype)), table(b, s, e))
    assert_rounded_once(made[:, :, :2], wanted[:, :, :2])
    assert torch.equal(made[:, :, 2], given[:, :, 2])


@pytest.mark.parametrize("of_table", [1, 2])
def test_a_run_of_rows_alone_is_written(of_table):
    """Samples of a stream lie apart in the joint tensor, and its part of the table is a run of that one's rows."""
    dtype, e = torch.bfloat16, 16
    every = draw(2, 7, 3 * 3 * e, dtype=dtype)
    made, wanted = every.clone(), every.clone()
    turns = table(2, 7, e)[:of_table, :, 2:5]
    for rotate, joint in ((norm_rotate, made), (Plain().norm_rotate, wanted)):
        more = {"exact": True} if rotate is norm_rotate else {}
        rotate(joint[:, 2:5].unflatten(-1, (3, 3, e)), *learned(e, dtype), turns, **more)
    assert_same(made, wanted)
    assert torch.equal(made[:, :2], every[:, :2])
    assert torch.equal(made[:, 5:], every[:, 5:])


@pytest.mark.parametrize(
    ("qkv", "turns", "named"),
    [
        ((1, 2, 2, 3, 8), (1, 2, 8), "qkv"),
        ((1, 2, 3, 3, 8), (1, 3, 8), "rotary"),
        ((2, 2, 3, 3, 8), (3, 2, 8), "rotary"),
    ],
)
def test_a_shape_that_would_read_elsewhere_is_refused(qkv, turns, named):
    with pytest.raises(ShapeError, match=named):
        norm_rotate(draw(*qkv, dtype=torch.float32), *learned(8, torch.float32), table(*turns), exact=False)


def test_learned_scales_of_another_width_are_refused():
    with pytest.raises(ShapeError, match="query_scale"):
        norm_rotate(draw(1, 2, 3, 3, 8, dtype=torch.float32), *learned(4, torch.float32), table(1, 2, 8), exact=False)
