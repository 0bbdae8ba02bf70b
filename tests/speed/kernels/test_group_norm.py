"""GroupNorm and SiLU of channels-last pictures are the library's, however the picture is cut."""

import pytest
import torch

from recast.errors import ConfigError, ShapeError
from recast.speed.kernels import group_norm
from recast.speed.kernels.group_norm import group_norm_silu, plain, scale_shift, statistics
from tests.speed.kernels.inputs import assert_rounded_once, draw


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Few pixels at a time, so that a small picture has many tiles, runs and joins, the last of them ragged."""
    for name, value in {"TILE": 256, "RUNS": 3, "TILES": 2, "AT_ONCE": 2}.items():
        monkeypatch.setattr(group_norm, name, value)


def picture(b: int, c: int, h: int, w: int, dtype: torch.dtype) -> torch.Tensor:
    x = draw(b, c, h, w, dtype=torch.float32) * 2 + draw(1, c, 1, 1, dtype=torch.float32) * 3
    return x.to(dtype, memory_format=torch.channels_last)


def learned(c: int, dtype: torch.dtype) -> list[torch.Tensor]:
    return [draw(c, dtype=dtype, seed=seed) for seed in (1, 2)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("size", "groups"), [((2, 16, 5, 7), 2), ((1, 12, 3, 3), 4)])
def test_it_is_the_library_s_rounded_once(size, groups, dtype):
    x = picture(*size, dtype)
    made = group_norm_silu(x, *learned(size[1], dtype), groups, 1e-6)
    assert_rounded_once(made, plain(x.float(), *(part.float() for part in learned(size[1], dtype)), groups, 1e-6))
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_bands_of_a_picture_have_the_statistics_of_the_whole():
    x = picture(2, 16, 9, 4, torch.float32)
    weights = learned(16, torch.float32)
    bands = [band.contiguous(memory_format=torch.channels_last) for band in x.split([4, 3, 2], dim=2)]
    affine = statistics(bands, *weights, 4, 1e-6)
    torch.testing.assert_close(affine, statistics([x], *weights, 4, 1e-6), rtol=1e-5, atol=1e-6)
    made = torch.cat([scale_shift(band, affine, silu=False) for band in bands], dim=2)
    torch.testing.assert_close(made, torch.nn.functional.group_norm(x, 4, *weights, 1e-6), rtol=1e-5, atol=3e-6)


def test_a_large_mean_takes_nothing_from_the_variance():
    x = picture(1, 8, 6, 5, torch.float32) + 3000
    made = group_norm_silu(x, *learned(8, torch.float32), 2, 1e-6)
    wanted = plain(x.double(), *(part.double() for part in learned(8, torch.float32)), 2, 1e-6).float()
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-2)  # 3000 itself is known to 1e-4


def test_the_same_picture_gives_the_same_bits():
    x = picture(1, 16, 5, 7, torch.bfloat16)
    weights = learned(16, torch.bfloat16)
    assert torch.equal(group_norm_silu(x, *weights, 4, 1e-6), group_norm_silu(x, *weights, 4, 1e-6))


def test_a_picture_in_another_layout_is_refused():
    with pytest.raises(ShapeError, match="channels-last"):
        group_norm_silu(draw(1, 8, 3, 4, dtype=torch.float32), *learned(8, torch.float32), 2, 1e-6)


def test_groups_that_do_not_divide_the_channels_and_weights_of_others_are_refused():
    x = picture(1, 8, 3, 4, torch.float32)
    with pytest.raises(ConfigError, match="num_groups=3"):
        group_norm_silu(x, *learned(8, torch.float32), 3, 1e-6)
    with pytest.raises(ShapeError, match="weight"):
        group_norm_silu(x, *learned(4, torch.float32), 2, 1e-6)
