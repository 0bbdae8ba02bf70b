"""The autoencoder in less work: the same pictures and latents as the core's, in any bands."""

import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recast import cost
from recast.config import nano, tiny
from recast.errors import ConfigError, ShapeError
from recast.latents.autoencoder import Autoencoder
from recast.pipeline import Pipeline
from recast.speed.autoencoder import FastAutoencoder, by_kernel, by_library, in_one, in_runs, phases
from tests.speed.kernels.inputs import DEVICE
from tests.tiny import randomise, tiny_autoencoder, tiny_pipeline

SIZES = [(64, 48), (40, 72), (8, 24)]


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    """Random weights in every parameter, norms included, scaled so that activations stay finite."""
    made = randomise(Autoencoder(replace(tiny().autoencoder, num_res_blocks=2)), 3, std=0.08)
    assert isinstance(made, Autoencoder)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def fast(model: Autoencoder) -> FastAutoencoder:
    return FastAutoencoder(model)


def psnr(one: Tensor, other: Tensor) -> float:
    """Between tensors, against the range of `other`."""
    return float(20 * torch.log10((other.max() - other.min()) / (one - other).square().mean().sqrt()))


@pytest.mark.parametrize("band", [None, 16, 32])
@pytest.mark.parametrize("size", SIZES)
def test_latents_and_pictures_are_those_of_the_core(
    model: Autoencoder, fast: FastAutoencoder, size: tuple[int, int], band: int | None
):
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, *size) * 2 - 1
    latents = model.encode(pixels)
    torch.testing.assert_close(fast.encode(pixels, band=band), latents, rtol=0, atol=1e-4)
    torch.testing.assert_close(fast.decode(latents, band=band), model.decode(latents), rtol=0, atol=1e-4)


@pytest.mark.parametrize("band", [None, 16])
def test_in_bf16_the_picture_is_within_40_db(model: Autoencoder, band: int | None):
    fast = FastAutoencoder(model, dtype=torch.bfloat16)
    pixels = torch.rand(1, 3, 32, 48) * 2 - 1
    latents = model.encode(pixels)
    for made, expected in [
        (fast.encode(pixels, band=band), latents),
        (fast.decode(latents, band=band), model.decode(latents)),
    ]:
        assert made.dtype == torch.float32
        assert psnr(made, expected) > 40


def test_four_small_kernels_equal_a_large_one_over_the_doubled_picture():
    weight = torch.randn(5, 3, 3, 3, dtype=torch.float64)
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    expected = F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, padding=1)
    for i in (0, 1):
        for j in (0, 1):
            place = F.conv2d(F.pad(x, (1 - j, j, 1 - i, i)), phases(weight)[i, j])
            torch.testing.assert_close(place, expected[..., i::2, j::2])


def test_a_norm_over_bands_is_that_of_the_whole():
    norm = randomise(nn.GroupNorm(4, 12, eps=1e-6), 0)
    x = torch.randn(2, 12, 17, 5) * 3 + 20
    bands = list(x.split(4, dim=2))  # the last one has one row
    layer = by_library(bands, norm.weight.detach(), norm.bias.detach(), 4, 1e-6)
    expected = F.silu(norm(x))
    torch.testing.assert_close(torch.cat([layer(band) for band in bands], dim=2), expected, rtol=0, atol=5e-5)


def test_our_kernels_make_the_same_layer():
    """From the statistics of a whole picture and of its bands, on rows in any layout."""
    x = (torch.randn(2, 8, 6, 5) + 2).to(DEVICE, memory_format=torch.channels_last)
    affine = torch.randn(8, device=DEVICE), torch.randn(8, device=DEVICE)
    for bands in ([x], list(x.split(4, dim=2))):
        made, expected = (make(bands, *affine, 4, 1e-6) for make in (by_kernel, by_library))
        torch.testing.assert_close(made(x.contiguous()), expected(x))


def test_attention_in_runs_is_attention(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("recast.speed.autoencoder.SCORES_BYTES", 2 * 23 * 4 * 5)  # five queries at a time
    q, k, v = torch.randn(3, 2, 23, 16).unbind(0)
    torch.testing.assert_close(in_runs(q, k, v), in_one(q, k, v))
    torch.testing.assert_close(in_one(q, k, v), torch.softmax(q @ k.mT, dim=-1) @ v)


def held(part: Any) -> dict[int, Tensor]:
    """Every tensor that a part of a fast autoencoder holds, by its storage."""
    if isinstance(part, Tensor):
        return {part.untyped_storage()._cdata: part}
    inside = (
        part if isinstance(part, list) else getattr(part, "__dict__", part if isinstance(part, dict) else {}).values()
    )
    return {key: tensor for one in inside for key, tensor in held(one).items()}


def test_weights_are_shared_and_the_core_is_not_kept():
    core = tiny_autoencoder().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fast = FastAutoencoder(core)
    assert fast.decoder.conv_in.weight.data_ptr() == core.decoder.conv_in.weight.data_ptr()
    gone = weakref.ref(core)
    del core
    assert gone() is None


def test_in_bf16_the_device_holds_two_bytes_a_weight_and_no_master():
    """As the recipes count it: the fp32 weights stay on the host. The meta device stands for one."""
    core = Autoencoder(nano().autoencoder)
    fast = FastAutoencoder(core, dtype=torch.bfloat16, device=torch.device("meta"))
    tensors = [*held(fast).values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    size = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    assert size == pytest.approx(2 * cost.autoencoder_parameters(core.config), rel=0.05)


def test_it_stands_in_the_place_of_the_core_s():
    pipeline = tiny_pipeline()
    fast = Pipeline(pipeline.config, pipeline.flow, FastAutoencoder(pipeline.autoencoder), pipeline.text)
    source = (torch.rand(64, 48, 3) * 255).byte().numpy()
    expected, made = (each.edit(source, "x", steps=1, seed=1).pictures[0].rgb for each in (pipeline, fast))
    assert abs(made.astype(int) - expected).max() <= 1


def test_what_the_core_refuses_is_refused(fast: FastAutoencoder, model: Autoencoder):
    with pytest.raises(ShapeError, match="multiples of 8"):
        fast.encode(torch.zeros(1, 3, 20, 16))
    with pytest.raises(ConfigError, match="band=24"):
        fast.decode(torch.zeros(1, 16, 2, 2), band=24)
    with pytest.raises(ConfigError, match="dtype"):
        FastAutoencoder(model, dtype=torch.int8)


def test_stages_of_large_pictures_at_full_size_begin_without_what_lies_idle_in_the_heap(
    monkeypatch: pytest.MonkeyPatch, fast: FastAutoencoder
):
    begun: list[int] = []
    monkeypatch.setattr("recast.speed.autoencoder.give_back_idle", lambda: begun.append(1))
    monkeypatch.setattr("recast.speed.autoencoder.WORTH_PX", 32 * 32)
    fast.encode(torch.zeros(1, 3, 32, 24))
    fast.decode(torch.zeros(1, fast.config.z_channels, 4, 3))
    assert not begun
    fast.encode(torch.zeros(1, 3, 32, 32))
    assert len(begun) == 2 + 1 + 1  # two blocks, the halving, and once what they left
    fast.decode(torch.zeros(1, fast.config.z_channels, 4, 4))
    assert len(begun) == 4 + 1 + 3  # the last doubling and three blocks
