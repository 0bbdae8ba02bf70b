"""The autoencoder: normalisation, and bands that change nothing but the memory."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.profiler import ProfilerActivity, profile

from recast.config import AutoencoderConfig, tiny
from recast.errors import ShapeError
from recast.latents.autoencoder import (
    Autoencoder,
    Downsample,
    PixelAttention,
    Upsample,
    bands,
    group_norm_as_affine,
    in_bands,
)
from tests.tiny import randomise, tiny_autoencoder

SEAM = 1 / 255 * 2  # one level of 255, in pixels of [-1, 1]


def random_autoencoder(seed: int, **changes) -> Autoencoder:
    """Random weights in every parameter, norms included, scaled so that activations stay finite."""
    return randomise(Autoencoder(replace(tiny().autoencoder, **changes)), seed, std=0.08).eval().requires_grad_(False)


@pytest.mark.parametrize("band", [16, 24, 40, 64])
@pytest.mark.parametrize("size", [(64, 48), (80, 32), (72, 40)])
def test_bands_equal_the_whole_picture(band: int, size: tuple[int, int]):
    model = random_autoencoder(3)
    pixels = torch.rand(2, 3, *size) * 2 - 1
    latents = model.encode(pixels)
    torch.testing.assert_close(model.encode(pixels, band=band), latents, rtol=0, atol=1e-5)
    whole = model.decode(latents)
    assert (model.decode(latents, band=band) - whole).abs().max() < SEAM / 100 * max(1, whole.abs().max())


def test_bands_see_the_norms_of_the_whole_picture():
    """A picture that is dark above and bright below: bands that normed themselves would show a seam."""
    model = random_autoencoder(4)
    pixels = torch.cat([torch.full((1, 3, 48, 48), -0.9), torch.full((1, 3, 48, 48), 0.9)], dim=2)
    latents = model.encode(pixels)
    alone = torch.cat([model.decode(half) for half in latents.chunk(2, dim=2)], dim=2)
    whole = model.decode(latents)
    assert (alone - whole).abs().max() > SEAM
    assert (model.decode(latents, band=32) - whole).abs().max() < SEAM / 100


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 24), st.integers(0, 2))
def test_any_band_of_any_layer_equals_the_layer(half_height: int, band: int, which: int):
    layer, overlap = [
        (nn.Conv2d(4, 6, 3, padding=1), 1),
        (Upsample(4), 1),
        (Downsample(4), 2),
    ][which]
    x = torch.randn(1, 4, 2 * half_height, 6)
    plain = layer(x) if overlap == 1 else layer(x, None)
    got = in_bands(lambda rows: layer(rows), x, band + band % 2, overlap=overlap)
    torch.testing.assert_close(got, plain, rtol=0, atol=1e-6)


def test_a_norm_taken_in_bands_is_the_norm():
    norm = nn.GroupNorm(4, 12, eps=1e-6)
    randomise(norm, 0)
    x = torch.randn(2, 12, 17, 5) * 3 + 40  # a mean far from 0, where sums of squares would lose their digits
    scale, shift = group_norm_as_affine(norm, x, band=4)
    torch.testing.assert_close(x * scale + shift, norm(x), rtol=0, atol=2e-5)


def test_bands_hold_fewer_rows_than_the_picture_has(monkeypatch):
    """Every convolution of the two finest levels works on a band and its overlap, not on the picture."""
    model, seen = random_autoencoder(5), []
    for conv in model.decoder.up[0].modules():
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
            conv.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[-2]))
    latents = torch.randn(1, 16, 16, 4)
    model.decode(latents, band=32)
    assert len(seen) > 0
    assert max(seen) <= 32 + 2
    assert 16 * 8 > 34  # the picture has more


def test_attention_never_holds_all_scores_at_once():
    """Of 1,600 positions, on a stack of 64 such heads: the scores alone would be 655 MB."""
    layer = PixelAttention(8, tiny().autoencoder).eval()
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        layer(torch.randn(64, 8, 40, 40))
    largest = max(event.cpu_memory_usage for event in seen.events())
    assert largest < 100 << 20


def test_latents_are_shifted_then_scaled():
    config = tiny().autoencoder
    model = tiny_autoencoder()
    pixels = torch.rand(1, 3, 32, 48) * 2 - 1
    mean = model.encoder(pixels)[:, :16]
    torch.testing.assert_close(model.encode(pixels), config.scale_factor * (mean - config.shift_factor))
    raw = torch.randn(1, 16, 4, 6)
    torch.testing.assert_close(
        model.decode(raw), model.decoder(raw / config.scale_factor + config.shift_factor), rtol=0, atol=1e-6
    )


def test_published_sizes():
    """83,819,683 parameters in 244 tensors: 34,274,208 in the encoder, 49,545,475 in the decoder."""
    with torch.device("meta"):
        model = Autoencoder(AutoencoderConfig())
    assert len(model.state_dict()) == 244
    assert sum(p.numel() for p in model.encoder.parameters()) == 34_274_208
    assert sum(p.numel() for p in model.decoder.parameters()) == 49_545_475


def test_a_size_that_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="multiples of 8"):
        tiny_autoencoder().encode(torch.zeros(1, 3, 30, 32))


def test_encoding_one_of_a_batch_is_encoding_it_alone():
    model = tiny_autoencoder()
    pixels = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(model.encode(pixels)[2:], model.encode(pixels[2:]), rtol=0, atol=1e-5)


def test_bands_cover_the_picture_in_even_numbers_of_rows():
    assert [(s.start, s.stop) for s in bands(10, 3)] == [(0, 4), (4, 8), (8, 10)]
