"""The head in one launch is the last norm, its modulation and its matrix."""

import pytest
import torch

from recast.errors import ShapeError
from recast.speed.kernels.head import head
from recast.speed.ops import Plain
from tests.speed.kernels.inputs import HALVES, STEP, assert_rounded_once, draw, modulations

SIZES = [(2, 3, 96, 16), (1, 18, 300, 5), (1, 2, 40, 70)]  # b, s, d, o: ragged rows, chunks, outputs


def inputs(size: tuple[int, int, int, int], dtype: torch.dtype, *, waits: bool) -> list:
    b, s, d, o = size
    gate, shift, scale = modulations(b, d, 3, dtype)
    x, update = draw(b, s, d, dtype=dtype) * 4 + 1, draw(b, s, d, dtype=dtype, seed=1)
    weight, bias = draw(o, d, dtype=dtype) / d**0.5, draw(o, dtype=dtype)
    return [x, update if waits else None, gate if waits else None, shift, scale, weight, bias]


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_in_fp32_it_is_the_plain_head(size, waits):
    given = inputs(size, torch.float32, waits=waits)
    assert_rounded_once(head(*given, exact=False), Plain().head(*given))


@pytest.mark.parametrize("dtype", HALVES)
def test_exact_rounds_where_the_core_does(dtype):
    """What differs is the order of the last sum, which is in fp32: seldom a bit of the result."""
    given = inputs((1, 18, 300, 5), dtype, waits=True)
    made, wanted = head(*given, exact=True), Plain().head(*given)
    torch.testing.assert_close(made, wanted, rtol=STEP[dtype], atol=STEP[dtype] / 4)
    assert (made != wanted).float().mean() <= 0.05


@pytest.mark.parametrize("dtype", HALVES)
def test_fast_is_nearer_to_fp32_than_the_core_s_chain(dtype):
    given = inputs((2, 18, 96, 16), dtype, waits=True)
    wanted = Plain().head(*(part.float() for part in given))
    made, chain = ((some.float() - wanted).norm() for some in (head(*given, exact=False), Plain().head(*given)))
    assert 0 < made < chain


def test_samples_may_lie_apart_and_share_a_modulation():
    x = draw(2, 7, 32, dtype=torch.float32)[:, 2:5]
    shift, scale = modulations(1, 32, 2, torch.float32)
    weight, bias = draw(8, 32, dtype=torch.float32), draw(8, dtype=torch.float32)
    made = head(x, None, None, shift, scale, weight, bias, exact=True)
    torch.testing.assert_close(made, Plain().head(x, None, None, shift, scale, weight, bias), rtol=1e-5, atol=1e-5)


def test_a_large_mean_takes_nothing_from_the_variance():
    given = inputs((1, 2, 300, 16), torch.float32, waits=False)
    given[0] = given[0] + 3000
    wanted = Plain().head(*(None if part is None else part.double() for part in given)).float()
    torch.testing.assert_close(head(*given, exact=False), wanted, rtol=0, atol=2e-3)  # 3000 itself is known to 1e-4


@pytest.mark.parametrize("change", [{5: (16, 95)}, {6: (15,)}, {1: (2, 2, 96)}])
def test_a_shape_that_would_read_elsewhere_is_refused(change):
    given = inputs((2, 3, 96, 16), torch.float32, waits=True)
    for index, shape in change.items():
        given[index] = draw(*shape, dtype=torch.float32)
    with pytest.raises(ShapeError):
        head(*given, exact=False)


def test_weights_of_another_dtype_are_refused():
    given = inputs((2, 3, 96, 16), torch.bfloat16, waits=True)
    with pytest.raises(ShapeError, match="bfloat16"):
        head(*given[:5], given[5].float(), given[6], exact=False)
