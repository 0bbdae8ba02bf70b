"""q, k and v rounded by kernels: the numbers of the plain version, from tensors that lie in a larger one."""

import pytest
import torch

from recast.errors import ConfigError, ShapeError
from recast.speed import attention8
from recast.speed.kernels import round_heads
from tests.speed.kernels.inputs import DEVICE


def drawn(width: int, batch: int = 2, s: int = 70, heads: int = 2):
    """q, k, v (b, s, k, e) that lie together in (b, s, 3, k, e), as the engine has them; more tokens than a program."""
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(batch, s, 3, heads, width, generator=generator)
    qkv[:, :, 1] += 4 * torch.randn(heads, width, generator=generator)
    return qkv.to(DEVICE).unbind(2)


@pytest.mark.parametrize(("smooth", "rotate", "width"), [(False, False, 16), (True, False, 24), (True, True, 32)])
def test_the_numbers_are_those_of_the_plain_version(smooth: bool, rotate: bool, width: int):
    q, k, v = drawn(width)
    q = q[:, 5:40]
    made = round_heads.rounded(q, k, v, smooth=smooth, rotate=rotate)
    wanted = attention8.rounded(q, k, v, smooth=smooth, rotate=rotate)
    for one, other in zip(made[3:], wanted[3:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)
    for one, other in zip(made[:3], wanted[:3], strict=True):
        assert one.shape == other.shape
        assert one.is_contiguous()
        same = (one.float() == other.float()).float().mean()
        assert same > 0.99  # sums in another order may move a number that lies between two
        torch.testing.assert_close(one.float(), other.float(), rtol=0.13, atol=2**-8)


def test_heads_whose_numbers_lie_apart_are_refused():
    q, k, v = drawn(16)
    with pytest.raises(ShapeError, match="k: heads whose numbers lie one after another"):
        round_heads.rounded(q, k[..., ::2], v[..., ::2], smooth=True, rotate=False)


def test_a_width_that_is_no_power_of_two_is_not_turned():
    with pytest.raises(ConfigError, match="24 wide"):
        round_heads.rounded(*drawn(24), smooth=True, rotate=True)
