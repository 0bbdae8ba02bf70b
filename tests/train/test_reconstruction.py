"""The losses on pixels: closed forms, and the field's own numbers beside ours."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from skimage.metrics import structural_similarity

from recast.errors import ConfigError, ShapeError
from recast.pixels.image import to_pixels
from recast.quality import metrics
from recast.train import reconstruction
from recast.train.reconstruction import Weights


def pixels(seed: int = 0, count: int = 2, side: int = 64) -> torch.Tensor:
    """Smooth pictures with some noise, in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, side // 8, side // 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")
    return (smooth + 0.2 * torch.rand(count, 3, side, side, generator=generator)).clamp(0, 1.2) / 0.6 - 1


def test_every_part_is_zero_for_the_picture_itself_and_above_zero_for_another():
    same, _ = reconstruction.loss(pixels(), pixels(), Weights())
    assert same.abs() < 1e-6
    value, parts = reconstruction.loss(pixels(1), pixels(), Weights())
    assert set(parts) == {"pixel", "gradient", "frequency", "structure"}
    assert all(part > 0.01 for part in parts.values())
    weighted = parts["pixel"] + 0.5 * parts["gradient"] + 0.25 * parts["frequency"] + 0.25 * parts["structure"]
    assert value.item() == pytest.approx(weighted.item(), rel=1e-5)


def test_the_pixel_loss_of_a_constant_difference_is_its_size_at_every_scale():
    apart = reconstruction.pixel(pixels() + 0.25, pixels(), charbonnier=0)
    assert apart.item() == pytest.approx(0.25 * (1 + 0.5 + 0.25), rel=1e-4)
    smooth = reconstruction.pixel(pixels() + 0.25, pixels(), charbonnier=0.1)
    assert smooth.item() == pytest.approx((math.hypot(0.25, 0.1) - 0.1) * 1.75, rel=1e-4)


def test_small_differences_have_a_finite_gradient_with_and_without_charbonnier():
    for charbonnier in (0.0, 1e-3):
        x = pixels().requires_grad_()
        (slope,) = torch.autograd.grad(reconstruction.pixel(x, pixels(), charbonnier), x)
        assert slope.isfinite().all()


def test_the_gradient_loss_does_not_see_a_constant_shift_and_sees_a_slope():
    assert reconstruction.gradient(pixels() + 0.3, pixels()) < 1e-6
    slope = 0.01 * torch.arange(64.0).expand(2, 3, 64, 64)
    # across 0.01, 0.02, 0.04 at the three scales, down nothing
    expected = (0.01 + 0.5 * 0.02 + 0.25 * 0.04) / 2
    assert reconstruction.gradient(pixels() + slope, pixels()).item() == pytest.approx(expected, rel=1e-3)


def test_a_constant_block_has_a_mean_and_no_other_frequency():
    found = reconstruction.block_dct(torch.full((1, 3, 16, 24), 0.5))
    assert found.shape == (1, 3, 2, 3, 8, 8)
    assert torch.allclose(found[..., 0, 0], torch.tensor(4.0))  # 0.5 * 64 / 8
    found[..., 0, 0] = 0
    assert found.abs().max() < 1e-6


def test_the_cosine_transform_is_that_of_scipy():
    x = pixels(side=16)
    ours = reconstruction.block_dct(x)[1, 2, 1, 0].numpy()
    assert np.allclose(ours, dctn(x[1, 2, 8:16, 0:8].numpy(), norm="ortho"), atol=1e-5)


def test_the_frequency_loss_weighs_fine_errors_more_than_a_shift():
    board = 0.1 * (-1.0) ** (torch.arange(64)[:, None] + torch.arange(64)[None, :]).expand(2, 3, 64, 64)
    zero = torch.zeros(2, 3, 64, 64)
    mean_only = reconstruction.frequency(zero + 0.1, zero)
    assert mean_only.item() == pytest.approx(0.1 * 8 / 64 / 8, rel=1e-4)  # one coefficient of 64, weighted 1/8
    assert reconstruction.frequency(board, zero) > 5 * mean_only


def test_equal_pictures_have_a_similarity_of_one_and_others_less():
    assert torch.allclose(reconstruction.ms_ssim(pixels(), pixels()), torch.ones(2), atol=1e-6)
    other = reconstruction.ms_ssim(pixels() + 0.3 * torch.randn(2, 3, 64, 64, generator=torch.Generator()), pixels())
    assert (other < 0.9).all()
    assert (other > 0).all()


def test_similarity_is_that_of_scikit_image_and_of_quality():
    a, b = (np.random.default_rng(seed).integers(60, 200, (48, 40, 3), dtype=np.uint8) for seed in (0, 1))
    b = (0.7 * a + 0.3 * b).astype(np.uint8)
    ours = reconstruction.ssim(to_pixels(a), to_pixels(b)).item()
    theirs = structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2
    )
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert ours == pytest.approx(metrics.ssim(a, b), abs=1e-4)
    assert reconstruction.psnr(to_pixels(a), to_pixels(b)).item() == pytest.approx(metrics.psnr(a, b), abs=1e-3)


def test_one_scale_of_ms_ssim_is_ssim():
    a, b = pixels(), 0.7 * pixels() + 0.3 * pixels(1)
    assert torch.allclose(reconstruction.ms_ssim(a, b, 1), reconstruction.ssim(a, b), atol=1e-5)


def test_similarity_has_a_gradient_where_pictures_are_opposite():
    x = (-pixels()).requires_grad_()
    (slope,) = torch.autograd.grad(reconstruction.ms_ssim(x, pixels()).mean(), x)
    assert slope.isfinite().all()


def test_a_learned_distance_comes_from_outside_with_its_gradient():
    x = pixels(1).requires_grad_()
    weights = Weights(gradient=0, frequency=0, structure=0, perceptual=2.0)
    value, parts = reconstruction.loss(x, pixels(), weights, lambda a, b: (a - b).square().mean(dim=(1, 2, 3)))
    assert value.item() == pytest.approx((parts["pixel"] + 2 * parts["perceptual"]).item(), rel=1e-5)
    alone, _ = reconstruction.loss(x, pixels(), weights)
    (with_it,), (without,) = torch.autograd.grad(value, x), torch.autograd.grad(alone, x)
    assert torch.allclose(with_it - without, 2 * 2 * (x - pixels()).detach() / x.numel(), atol=1e-7)


def test_losses_are_computed_in_float32():
    half = pixels().bfloat16()
    value, _ = reconstruction.loss(half, half, Weights())
    assert value.dtype == torch.float32


def test_what_cannot_work_is_refused():
    with pytest.raises(ShapeError, match="the same"):
        reconstruction.loss(pixels(), pixels(count=1), Weights())
    with pytest.raises(ShapeError, match="44 pixels"):
        reconstruction.ms_ssim(pixels(side=32), pixels(side=32))
    with pytest.raises(ShapeError, match="multiples of 8"):
        reconstruction.block_dct(torch.zeros(1, 3, 12, 16))
    with pytest.raises(ConfigError, match="pixel=-1"):
        Weights(pixel=-1)
    with pytest.raises(ConfigError, match="all are 0"):
        Weights(pixel=0, gradient=0, frequency=0, structure=0)


def test_windows_are_taken_of_contiguous_pixels(monkeypatch):
    """A channels-last picture on a GPU goes to cuDNN, which rounds to TF32."""
    seen, conv2d = [], reconstruction.F.conv2d

    def watched(x, *arguments, **named):
        seen.append(x.is_contiguous())
        return conv2d(x, *arguments, **named)

    monkeypatch.setattr(reconstruction.F, "conv2d", watched)
    a = torch.rand(2, 3, 48, 48).contiguous(memory_format=torch.channels_last)
    reconstruction.ssim(a, a)
    assert seen
    assert all(seen)
