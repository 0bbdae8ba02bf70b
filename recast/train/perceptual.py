"""LPIPS, AlexNet variant, with a gradient: how different two pictures look to a network, as a loss.

`recast.quality` measures by the same files; here pictures are batches of tensors, and what comes back is to be
differentiated. The files are the published ones, in one folder, `alexnet` (torchvision's) and `alex` (the linear
weights of version 0.1), each as .safetensors or .pth. Source: Zhang et al. 2018 (arXiv 1801.03924), formula 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from recast.errors import MissingWeights, ShapeError, WeightsError
from recast.weights.files import checksum, few

TRUNK = ("alexnet.safetensors", "alexnet.pth", "alexnet-owt-7be5be79.pth")
LINEAR = ("alex.safetensors", "alex.pth")
LEAST_PX = 35
"""Below, the last map of AlexNet has no pixel."""
LAYERS = ((0, 11, 4, 2, False), (3, 5, 1, 2, True), (6, 3, 1, 1, True), (8, 3, 1, 1, False), (10, 3, 1, 1, False))
"""Of `features` of torchvision's AlexNet: index, kernel, stride, padding of each convolution; pooled before."""
MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet's, for inputs in [-1, 1]."""


class Lpips(nn.Module):
    """The distance (b,) of two batches of pixels (b, 3, H, W) in [-1, 1]; 0 for equal ones. Nothing of it is trained.

    Widths are those of the file, so that a small network of the same layers is read too.
    """

    def __init__(self, folder: Path | str) -> None:
        """Raises MissingWeights for a folder without the files, WeightsError for tensors of another network."""
        super().__init__()
        trunk, linear = (_file(Path(folder), names) for names in (TRUNK, LINEAR))
        self.files = {file.name: checksum(file) for file in (trunk, linear)}
        found, lines = _read(trunk), _read(linear)
        found = {name: tensor for name, tensor in found.items() if not name.startswith("classifier.")}
        wanted: dict[str, tuple[int, ...]] = {}
        wanted_lines: dict[str, tuple[int, ...]] = {}
        into = 3
        for layer, (index, kernel, *_) in enumerate(LAYERS):
            width = found.get(f"features.{index}.bias", torch.empty(0)).numel()
            wanted[f"features.{index}.weight"] = (width, into, kernel, kernel)
            wanted[f"features.{index}.bias"] = (width,)
            wanted_lines[f"lin{layer}.model.1.weight"] = (1, width, 1, 1)
            into = width
        _check(trunk, found, wanted)
        _check(linear, lines, wanted_lines)
        for name, tensor in (found | lines).items():
            self.register_buffer(name.replace(".", "_"), tensor.float())
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])

    def forward(self, reconstruction: Tensor, pixels: Tensor) -> Tensor:
        """Raises ShapeError unless both are of one shape, with sides of at least 35 pixels."""
        if reconstruction.shape != pixels.shape or min(pixels.shape[-2:]) < LEAST_PX:
            raise ShapeError(
                f"reconstruction, pixels: {tuple(reconstruction.shape)} and {tuple(pixels.shape)} came; one shape with "
                f"sides of at least {LEAST_PX} pixels accepted; take larger crops"
            )
        total = pixels.new_zeros(len(pixels), dtype=torch.float32)
        with torch.autocast(pixels.device.type, enabled=False):
            maps = self._maps(torch.cat([reconstruction.float(), pixels.float()]))
        for layer, both in enumerate(maps):
            ours, theirs = both.chunk(2)
            weights = self.get_buffer(f"lin{layer}_model_1_weight")
            total = total + (weights * (ours - theirs).square()).sum(1).mean(dim=(-2, -1))
        return total

    def _maps(self, x: Tensor) -> list[Tensor]:
        """The five maps after their rectifiers, of length 1 over channels at each place."""
        x = (x - self.get_buffer("mean")) / self.get_buffer("deviation")
        maps = []
        for index, _, stride, padding, pools_before in LAYERS:
            if pools_before:
                x = F.max_pool2d(x, kernel_size=3, stride=2)
            weight, bias = (self.get_buffer(f"features_{index}_{name}") for name in ("weight", "bias"))
            x = F.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))
            # Published with 1e-10 beside the length; under the root it does the same, and no root of 0 is taken.
            maps.append(x * (x.square().sum(1, keepdim=True) + 1e-20).rsqrt())
        return maps


def _file(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise MissingWeights(
        f"lpips={str(folder)!r}: none of {', '.join(names)} there; a folder with AlexNet and its linear weights "
        "accepted; copy them here"
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        found = dict(torch.load(path, map_location="cpu", weights_only=True))
        others = [repr(name) for name, value in found.items() if not (type(name) is str and isinstance(value, Tensor))]
        if others:
            raise TypeError(f"no tensors under {few(others)}")
        return found
    except Exception as error:  # each reader has errors of its own
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"lpips={str(path)!r}: {why}; a file of tensors accepted; get it again") from error


def _check(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    if shapes != wanted:
        misshapen = {name for name in wanted.keys() & shapes.keys() if wanted[name] != shapes[name]}
        raise WeightsError(
            f"lpips={str(path)!r}: missing {few(wanted.keys() - shapes.keys())}, unexpected "
            f"{few(shapes.keys() - wanted.keys())}, misshapen {few(misshapen)}; the AlexNet variant "
            "accepted; get that one"
        )
