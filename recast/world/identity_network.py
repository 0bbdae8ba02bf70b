"""The two small networks that know the people of the world: where faces are in a picture, and whose a face is.

`Finder` gives a map of face centres with sizes, read by its peaks (Zhou et al. 2019, "Objects as Points",
arXiv 1904.07850, section 3). `Namer` gives an aligned crop a unit vector that moves with IDENTITY of `scene` and with
nothing else (Schroff et al. 2015, arXiv 1503.03832). Both read sRGB in [-1, 1].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

STRIDE = 4
"""Pixels of the finder's input for one cell of its map."""
MULTIPLE = 16
"""The finder's input has sides of a multiple of so many pixels."""
CROP_PX = 64
WIDTH = 64
"""Numbers in an identity vector."""
REACH = 2.0
"""Cells: how far from a cell's middle a face's centre may be said to lie."""
USUAL_PX = 32.0
"""The width and height of a face that the finder counts from, in logarithms."""


class Found(NamedTuple):
    """What the finder says of each cell, (b, h, w) or (b, h, w, 2) of a map of STRIDE pixels a cell."""

    heat: Tensor  # logit: how sure it is that a face's centre lies here
    offset: Tensor  # x, y of that centre from the cell's middle, in cells
    size: Tensor  # logarithm of the face's width and height, each over USUAL_PX
    gap: Tensor  # between the middle of the face and an eye, as a share of the face's width
    seen: Tensor  # logit: whether the eyes are seen


class Finder(nn.Module):
    """Pictures (b, 3, H, W) to a `Found` of H / 4 x W / 4 cells."""

    def __init__(self, *, is_folded: bool = False) -> None:
        super().__init__()

        def two(inputs: int, outputs: int) -> nn.Sequential:
            down = Conv(inputs, outputs, stride=2, is_folded=is_folded)
            return nn.Sequential(down, Conv(outputs, outputs, is_folded=is_folded))

        self.stem = Conv(3, 16, stride=2, is_folded=is_folded)
        self.fine, self.middle, self.coarse = two(16, 24), two(24, 32), two(32, 40)
        self.from_coarse = nn.Conv2d(40, 32, 1)
        self.from_middle = nn.Conv2d(32, 24, 1)
        self.join = Conv(24, 24, is_folded=is_folded)
        self.out = nn.Conv2d(24, 7, 1)
        with torch.no_grad():
            self.out.bias.zero_()  # type: ignore[union-attr]
            self.out.bias[0] = -4.0  # type: ignore[index]  # one cell in some fifty is near a face

    def forward(self, pixels: Tensor) -> Found:
        fine = self.fine(self.stem(pixels))
        middle = self.middle(fine)
        middle = middle + _twice(self.from_coarse(self.coarse(middle)))
        read = self.out(self.join(fine + _twice(self.from_middle(middle))))
        heat, x, y, wide, high, gap, seen = read.unbind(1)
        offset = REACH * torch.tanh(torch.stack([x, y], -1))
        return Found(heat, offset, torch.stack([wide, high], -1), 0.2 * torch.sigmoid(gap) + 0.12, seen)


class Namer(nn.Module):
    """Crops (b, 3, 64, 64) to unit vectors (b, 64)."""

    features = 48 * 4 * 4
    """Numbers that `read` gives of a crop: 48 channels of 4 x 4 places."""

    def __init__(self, *, is_folded: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 48)):
            layers += [Conv(inputs, outputs, stride=2, is_folded=is_folded), Residual(outputs, is_folded=is_folded)]
        self.body = nn.Sequential(*layers)
        self.out = nn.Linear(self.features, WIDTH, bias=False)

    def read(self, crops: Tensor) -> Tensor:
        """What the vector is made from, (b, features): where on a face something is stays told apart."""
        return F.avg_pool2d(self.body(crops), 2).flatten(1)

    def forward(self, crops: Tensor) -> Tensor:
        return self.name(self.read(crops))

    def name(self, features: Tensor) -> Tensor:
        """Features (b, f) to unit vectors (b, 64)."""
        return F.normalize(self.out(features), dim=-1)


class IdentityNetwork(nn.Module):
    """Both networks. is_folded: as they are kept and used; else as they are trained, with batch normalisation."""

    def __init__(self, *, is_folded: bool = False) -> None:
        super().__init__()
        self.finder, self.namer = Finder(is_folded=is_folded), Namer(is_folded=is_folded)


class Conv(nn.Module):
    """A 3 x 3 convolution, batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167) and, unless last, a ReLU.

    Normalising each picture by itself instead takes its colours away, and with them who it is: after 200 steps skin
    was read right in 29 crops of a hundred and hair colour in 26, where this reads 58 and 68.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int = 1, is_last: bool = False, is_folded: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=is_folded)
        self.norm = nn.Identity() if is_folded else nn.BatchNorm2d(outputs, momentum=0.05)
        self.is_last = is_last

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return x if self.is_last else F.relu(x)


class Residual(nn.Module):
    """Two convolutions beside the identity (He et al. 2015, arXiv 1512.03385)."""

    def __init__(self, channels: int, *, is_folded: bool = False) -> None:
        super().__init__()
        self.one = Conv(channels, channels, is_folded=is_folded)
        self.two = Conv(channels, channels, is_last=True, is_folded=is_folded)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.two(self.one(x)))


def folded(network: IdentityNetwork) -> IdentityNetwork:
    """The same networks with each normalisation, as it stands, worked into the convolution before it."""
    tensors = dict(network.state_dict())
    for name, layer in network.named_modules():
        if isinstance(layer, Conv) and isinstance(layer.norm, nn.BatchNorm2d):
            norm = layer.norm
            assert norm.running_mean is not None
            assert norm.running_var is not None
            for each in norm.state_dict():
                del tensors[f"{name}.norm.{each}"]
            weight, bias = fuse_conv_bn_weights(
                layer.conv.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            tensors |= {f"{name}.conv.weight": weight, f"{name}.conv.bias": bias}
    made = IdentityNetwork(is_folded=True)
    made.load_state_dict({name: each.detach() for name, each in tensors.items()})
    return made.eval()


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
