"""The critic of patches and the weight it is given."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from recast.errors import ConfigError
from recast.train import discriminator
from recast.train.discriminator import PatchDiscriminator


def test_a_logit_sees_seventy_pixels_and_no_more():
    network = PatchDiscriminator(width=8, norm="none").initialise(0)
    pixels = torch.zeros(1, 3, 128, 128, requires_grad=True)
    logits, _ = network(pixels)
    assert logits.shape == (1, 1, 14, 14)
    (slope,) = torch.autograd.grad(logits[0, 0, 7, 7], pixels)
    rows = slope[0].abs().sum((0, 2)).nonzero()[:, 0]
    assert rows[-1] - rows[0] + 1 == 70


@pytest.mark.parametrize("norm", ["group", "none"])
def test_a_picture_is_judged_the_same_in_any_batch(norm):
    network = PatchDiscriminator(width=8, norm=norm).initialise(0)
    pixels = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(network(pixels)[0][1:2], network(pixels[1:2])[0], atol=1e-6)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def test_weights_are_drawn_by_the_seed_alone():
    one, two, other = (PatchDiscriminator(width=8).initialise(seed) for seed in (1, 1, 2))
    assert torch.equal(one.head.weight, two.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    drawn = PatchDiscriminator().initialise(0).stages[2][0].weight
    assert drawn.std().item() == pytest.approx(0.02, rel=0.02)


def test_it_computes_in_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        logits, features = PatchDiscriminator(width=8)(torch.zeros(1, 3, 32, 32))
    assert {logits.dtype, *(feature.dtype for feature in features)} == {torch.float32}


def test_the_hinge_is_flat_beyond_the_margin():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.25])
    assert discriminator.hinge(real, fake).item() == pytest.approx((0.25 + 0.625) / 2)
    assert discriminator.hinge(torch.zeros(4), torch.zeros(4)) == 1
    assert discriminator.adversarial(fake).item() == pytest.approx(1.375)


def test_matched_features_pull_the_reconstruction_and_not_the_picture():
    fake, real = torch.ones(2, 4, requires_grad=True), torch.zeros(2, 4, requires_grad=True)
    value = discriminator.feature_matching([fake, 3 * fake], [real, real])
    assert value.item() == 2
    value.backward()
    assert fake.grad is not None
    assert real.grad is None


def test_the_last_layers_gradient_needs_no_second_pass():
    generator = torch.Generator().manual_seed(0)
    layer, x = nn.Conv2d(8, 3, 3, padding=1), torch.randn(2, 8, 12, 10, generator=generator)
    made = layer(x)
    (by_autograd,) = torch.autograd.grad(made.sin().mean(), layer.weight, retain_graph=True)
    (slope,) = torch.autograd.grad(made.sin().mean(), made)
    ours = discriminator.last_layer_gradient(x, layer.weight.shape, slope)
    assert torch.allclose(ours, by_autograd, atol=1e-6)


def test_the_adaptive_weight_is_the_ratio_of_norms_and_stays_in_bounds():
    assert discriminator.adaptive_weight(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0])).item() == pytest.approx(
        5 / 2.0001
    )
    assert discriminator.adaptive_weight(torch.tensor([1e3]), torch.tensor([0.0])) == 1e4
    assert not discriminator.adaptive_weight(torch.ones(1, requires_grad=True), torch.ones(1)).requires_grad


def test_the_ramp_rises_over_its_length():
    rises = [discriminator.ramp(share, 0.6, 0.1) for share in (0, 0.59, 0.6, 0.65, 0.7, 1)]
    assert rises == pytest.approx([0, 0, 0, 0.5, 1, 1])
    assert discriminator.ramp(0.6, 0.6, 0) == 1


def test_flops_are_two_a_multiplication():
    network = PatchDiscriminator(width=8, layers=2, norm="none")
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 32, 24))
    assert network.flops(32, 24) == counter.get_total_flops()


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigError, match="batch"):
        PatchDiscriminator(norm="batch")
    with pytest.raises(ConfigError, match="width=12"):
        PatchDiscriminator(width=12)
