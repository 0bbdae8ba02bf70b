"""The autoencoder: normalisation, and bands that change nothing but the memory."""

import weakref
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.profiler import ProfilerActivity, profile

from recast.config import AutoencoderConfig, tiny
from recast.errors import ConfigError, ShapeError
from recast.latents.autoencoder import (
    Autoencoder,
    Downsample,
    PixelAttention,
    Upsample,
    norm_of_all,
    over,
    split,
)
from tests.tiny import randomise, tiny_autoencoder

SEAM = 1 / 255 * 2  # one level of 255, in pixels of [-1, 1]


def random_autoencoder(seed: int, **changes) -> Autoencoder:
    """Random weights in every parameter, norms included, scaled so that activations stay finite."""
    return randomise(Autoencoder(replace(tiny().autoencoder, **changes)), seed, std=0.08).eval().requires_grad_(False)


@pytest.mark.parametrize("band", [16, 32, 48, 64])
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
@given(st.integers(1, 20), st.integers(1, 12), st.integers(0, 2))
def test_any_bands_of_any_layer_equal_the_layer(half_height: int, half_rows: int, which: int):
    layer = [lambda x: over(nn.Conv2d(4, 6, 3, padding=1).requires_grad_(False), x), Upsample(4), Downsample(4)][which]
    torch.manual_seed(0)
    x = torch.randn(1, 4, 2 * half_height, 6)
    torch.manual_seed(1)
    (whole,) = layer([x])
    torch.manual_seed(1)
    torch.testing.assert_close(torch.cat(layer(split(x, 2 * half_rows)), dim=2), whole, rtol=0, atol=1e-6)


def test_a_norm_of_all_bands_is_the_norm_of_the_whole():
    norm = nn.GroupNorm(4, 12, eps=1e-6)
    randomise(norm, 0)
    x = torch.randn(2, 12, 17, 5) * 3 + 40  # a mean far from 0, where sums of squares would lose their digits
    apply = norm_of_all(norm, split(x, 4))  # the last band has one row
    torch.testing.assert_close(apply(x), norm(x), rtol=0, atol=2e-5)


def test_bands_are_freed_as_they_are_used():
    """Of eight bands, two are alive at a time: the one at work and the one below it."""
    alive = []
    bands = split(torch.randn(1, 2, 64, 8), 8)
    bands = [band.clone() for band in bands]
    watched = [weakref.ref(band) for band in bands]

    def layer(rows: torch.Tensor) -> torch.Tensor:
        alive.append(sum(one() is not None for one in watched))
        return rows

    over(layer, bands)
    assert alive == [8, 7, 6, 5, 4, 3, 2, 1]
    assert bands == []


def test_bands_save_memory():
    """Decoding 512 rows of 128 on a wide first level, in bands of 64: measured, not assumed."""
    model = random_autoencoder(5, ch=32)
    latents = torch.randn(1, 16, 64, 16)
    peaks = []
    for band in (None, 64):
        with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            model.decode(latents, band=band)
        live = highest = 0
        for event in sorted(
            (e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()
        ):
            live += event.nbytes()
            highest = max(highest, live)
        peaks.append(highest)
    assert peaks[1] < 0.8 * peaks[0], peaks


def test_a_band_that_will_not_do_is_refused_with_one_that_will():
    with pytest.raises(ConfigError, match="band=20: a multiple of 16 accepted; try 16"):
        tiny_autoencoder().encode(torch.zeros(1, 3, 64, 64), band=20)


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
    mean = model.encoder([pixels])[:, :16]
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
