"""Features of pictures from our own autoencoder, and heads on features of any width and grid."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from recast.config import tiny
from recast.errors import ConfigError, ShapeError
from recast.train.distill import heads as critic
from recast.train.distill.heads import Head, HeadSettings
from recast.train.distill.pixel_features import AutoencoderFeatures
from recast.train.distill.pixel_heads import PixelHeads
from tests.tiny import tiny_autoencoder

FEATURES = AutoencoderFeatures(tiny_autoencoder())
SETTINGS = HeadSettings(taps=(0.4, 1.0), width=16, groups=4)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_stages_are_those_that_the_encoder_passes():
    """What is left of the encoder after the last stage leads to the latents."""
    pixels = drawn(2, 3, 32, 48)
    taps = range(FEATURES.depth)
    maps = FEATURES.maps(pixels, taps)
    assert [tuple(each.shape[1:3]) for each in maps] == [FEATURES.grid(tap, 32, 48) for tap in taps]
    assert [each.shape[3] for each in maps] == [FEATURES.width(tap) for tap in taps]
    assert len(FEATURES.maps(pixels, [0])) == 1
    torch.testing.assert_close(FEATURES.maps(pixels, [3, 1])[1], maps[1])
    autoencoder = FEATURES.autoencoder
    last = maps[-1].permute(0, 3, 1, 2)
    encoder = autoencoder.encoder
    moments = encoder.conv_out(torch.nn.functional.silu(encoder.norm_out(last)))
    config = autoencoder.config
    latents = config.scale_factor * (moments.chunk(2, dim=1)[0] - config.shift_factor)
    torch.testing.assert_close(latents, autoencoder.encode(pixels), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(FEATURES.pooled(pixels), maps[-1].mean(dim=(1, 2)))
    for wrong in ((), (5,)):
        with pytest.raises(ConfigError, match="from 0 to 4"):
            FEATURES.maps(pixels, wrong)


def heads_on(seed: int = 0) -> PixelHeads:
    return PixelHeads(FEATURES, tiny().flow, SETTINGS).initialise(seed)


def given_of(pixels: Tensor, taps: Sequence[int]) -> list[Tensor]:
    return critic.inputs(FEATURES.maps(pixels, taps))


def test_heads_sit_on_parts_of_the_depth_each_of_its_width():
    heads = heads_on()
    assert heads.taps == (1, 4)
    given = given_of(drawn(2, 3, 32, 48), heads.taps)
    logits = heads(given, drawn(2, 24), torch.zeros(2, FEATURES.pooled_width))
    assert [tuple(each.shape) for each in logits] == [(2, 8, 12), (2, 4, 6)]
    with pytest.raises(ShapeError, match="2 inputs needed"):
        heads(given[:1], drawn(2, 24), torch.zeros(2, FEATURES.pooled_width))
    assert heads.flops([(8, 12), (4, 6)]) == sum(
        head.flops(grid) for head, grid in zip(heads.heads, [(8, 12), (4, 6)], strict=True) if isinstance(head, Head)
    )
    assert heads_on(1).state_dict()["heads.0.enter.weight"].ne(heads.state_dict()["heads.0.enter.weight"]).all()


def test_rows_of_a_picture_are_rows_of_its_logits():
    heads = heads_on()
    given = [torch.zeros(1, 4, 9, 16), torch.zeros(1, 4, 9, FEATURES.width(4))]
    moved = [each.clone() for each in given]
    moved[0][0, 1, 7] = drawn(16)
    told = drawn(1, 24), torch.zeros(1, FEATURES.pooled_width)
    row, column = divmod(int((heads(moved, *told)[0] - heads(given, *told)[0]).abs().argmax()), 9)
    assert abs(row - 1) <= 2
    assert abs(column - 7) <= 2


def test_the_penalty_on_inputs_of_heads_knows_maps_as_well_as_rows():
    heads = heads_on()
    given = [each.requires_grad_() for each in given_of(drawn(2, 3, 16, 16), heads.taps)]
    logits = heads(given, drawn(2, 24), torch.zeros(2, FEATURES.pooled_width))
    found = critic.gradient_penalty(logits, given)
    expected = torch.zeros(2)
    for one, other in zip(logits, given, strict=True):
        (gradient,) = torch.autograd.grad(one.sum(), other, retain_graph=True)
        expected += gradient.square().flatten(1).sum(dim=1) / 2 / len(logits)
    torch.testing.assert_close(found, expected)
    assert (found > 0).all()
