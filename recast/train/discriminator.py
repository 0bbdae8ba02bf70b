"""A critic of patches, and what an autoencoder learns from it.

Everything is in float32: hinge losses in half precision lose the small gradients that the adaptive weight divides by.
Sources: Isola et al. 2017 (arXiv 1611.07004), the critic; Esser et al. 2021 (arXiv 2012.09841), the adaptive weight;
Wang et al. 2018 (arXiv 1711.11585), feature matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from recast.errors import ConfigError

GROUP = 16  # channels that share their statistics
LARGEST = 1e4  # of adaptive weights


class PatchDiscriminator(nn.Module):
    """One logit a patch of some 70 pixels. Its norms look at one picture alone, so a small batch does no harm."""

    def __init__(self, *, width: int = 64, layers: int = 3, norm: Literal["group", "none"] = "group") -> None:
        """width: channels of the first layer, doubled up to 8 times. layers: halvings of the picture.

        Raises ConfigError for a width that the groups do not divide, or another norm.
        """
        super().__init__()
        if norm not in ("group", "none"):
            raise ConfigError(f"norm={norm!r}: group or none accepted; a norm over the batch breaks at small batches")
        if width < 1 or layers < 1 or (norm == "group" and 2 * width % GROUP):
            raise ConfigError(
                f"width={width}, layers={layers}: numbers from 1 accepted, and with norm='group' a width that is a "
                f"multiple of {GROUP // 2}; choose 64 and 3"
            )
        widths = [width * min(2**i, 8) for i in range(layers + 1)]
        self.stages = nn.ModuleList([nn.Sequential(nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2))])
        for i, (narrow, wide) in enumerate(pairwise(widths)):
            stride = 1 if i == layers - 1 else 2
            self.stages.append(
                nn.Sequential(
                    nn.Conv2d(narrow, wide, 4, stride, 1),
                    nn.GroupNorm(wide // GROUP, wide) if norm == "group" else nn.Identity(),
                    nn.LeakyReLU(0.2),
                )
            )
        self.head = nn.Conv2d(widths[-1], 1, 4, 1, 1)

    def initialise(self, seed: int) -> PatchDiscriminator:
        """Weights drawn from N(0, 0.02) by the seed, biases 0, norms as they are made; returns itself."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                drawn = torch.randn(module.weight.shape, generator=generator) * 0.02
                with torch.no_grad():
                    module.weight.copy_(drawn)
                    assert module.bias is not None
                    module.bias.zero_()
        return self

    def forward(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (b, 1, h, w), high for what looks real, and the features of every stage, of pixels (b, 3, H, W)."""
        with torch.autocast(pixels.device.type, enabled=False):
            x, features = pixels.float(), []
            for stage in self.stages:
                x = stage(x)
                features.append(x)
            return self.head(x), features

    def flops(self, height: int, width: int) -> int:
        """Of one forward pass on a picture: two for each multiplication of its convolutions."""
        total = 0
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                height, width = ((side - 2) // conv.stride[0] + 1 for side in (height, width))
                total += 2 * conv.weight.numel() * height * width
        return total


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The critic's loss, of logits on pictures and on reconstructions: 1 where all are 0.

    Half of mean relu(1 - real) + mean relu(1 + fake), over patches. Source: Lim and Ye 2017 (arXiv 1705.02894).
    """
    return (F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()) / 2


def adversarial(fake: Tensor) -> Tensor:
    """The generator's loss, of logits on its reconstructions: minus their mean."""
    return -fake.float().mean()


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """The mean over stages of the L1 distance between features; those of real pictures take no gradient."""
    return torch.stack([F.l1_loss(a.float(), b.detach().float()) for a, b in zip(fake, real, strict=True)]).mean()


def last_layer_gradient(layer_input: Tensor, weight_shape: Sequence[int], pixel_gradient: Tensor) -> Tensor:
    """The gradient of the decoder's last weight, (out, in, 3, 3), from that of the pixels which it made.

    layer_input: (b, in, H, W), what the layer was given; pixel_gradient: (b, out, H, W). The layer is a convolution
    with padding 1. So no second pass through a graph is needed, nor the weight itself, which may be sharded.
    """
    with torch.autocast(layer_input.device.type, enabled=False):
        return conv2d_weight(layer_input.detach().float(), list(weight_shape), pixel_gradient.float(), padding=1)


def adaptive_weight(reconstruction_gradient: Tensor, adversarial_gradient: Tensor) -> Tensor:
    """How many times stronger the first gradient of the last layer is: a scalar without a graph, from 0 to 10,000.

    The ratio of their norms, with 1e-4 added below. Source: arXiv 2012.09841, equation 7.
    """
    ratio = reconstruction_gradient.float().norm() / (adversarial_gradient.float().norm() + 1e-4)
    return ratio.clamp(0, LARGEST).detach()


def ramp(share: float, start: float, length: float) -> float:
    """0 up to `start`, then linearly to 1 over `length`; all are shares of the run."""
    if share < start:
        return 0.0
    return min((share - start) / length, 1.0) if length > 0 else 1.0
