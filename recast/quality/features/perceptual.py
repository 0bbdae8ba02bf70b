"""LPIPS, AlexNet variant: how different two pictures look to a network, as a map and as its mean.

Source: Zhang et al. 2018 (arXiv:1801.03924), version 0.1 of the published linear weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recast.errors import ConfigError, InputError, MissingWeights, WeightsError
from recast.quality.features.files import lpips_files
from recast.quality.features.regions import picture
from recast.weights.files import checksum, few

if TYPE_CHECKING:
    from torch import Tensor

LEAST_PX = 35  # below, the last map of AlexNet has no pixel
# torchvision's AlexNet: index of each convolution in `features`, (out, in, kernel), stride, padding, pooled before.
LAYERS = (
    (0, (64, 3, 11), 4, 2, False),
    (3, (192, 64, 5), 1, 2, True),
    (6, (384, 192, 3), 1, 1, True),
    (8, (256, 384, 3), 1, 1, False),
    (10, (256, 256, 3), 1, 1, False),
)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's mean and deviation, for inputs in [-1, 1]


class Lpips:
    """AlexNet's five maps and their linear weights. Compare at one fixed size of 256 to 512 pixels: it moves values."""

    def __init__(self, folder: str | Path, *, device: str = "cpu") -> None:
        """Raises MissingWeights for missing files, WeightsError for weights of another network."""
        try:
            import torch
        except ImportError as error:
            raise ConfigError("lpips: needs the package torch; pip install torch") from error
        self.folder, self.device = Path(folder), device
        try:
            trunk, linear = lpips_files(self.folder)
        except MissingWeights as error:
            raise MissingWeights(f"lpips={str(folder)!r}: {error}") from error
        wanted: dict[str, tuple[int, ...]] = {}
        for index, (out, into, kernel), *_ in LAYERS:
            wanted[f"features.{index}.weight"] = (out, into, kernel, kernel)
            wanted[f"features.{index}.bias"] = (out,)
        weights = _read(trunk, wanted)
        self._trunk = {name: tensor.to(device, torch.float32) for name, tensor in weights.items()}
        lines: dict[str, tuple[int, ...]] = {
            f"lin{i}.model.1.weight": (1, out, 1, 1) for i, (_, (out, *_), *_) in enumerate(LAYERS)
        }
        self._linear = [tensor.to(device, torch.float32) for tensor in _read(linear, lines).values()]

    def map(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The distance at every pixel, float32 (H, W): the five layers' maps enlarged bilinearly and added.

        Raises InputError unless both pictures have one size of at least 35 pixels a side.
        """
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            maps = self._differences(first, second)
            size = first.shape[:2]
            large = [functional.interpolate(d, size=size, mode="bilinear", align_corners=False) for d in maps]
            return torch.stack(large).sum(0)[0, 0].cpu().numpy()

    def distance(self, first: np.ndarray, second: np.ndarray) -> float:
        """The published number: 0 for equal pictures, about 0.7 for unrelated ones. Raises InputError like `map`."""
        import torch

        with torch.inference_mode():
            return float(sum(difference.mean() for difference in self._differences(first, second)))

    def distance_on(self, first: np.ndarray, second: np.ndarray, where: np.ndarray) -> float:
        """The mean of the map where a mask (H, W) of bool is true.

        Each layer sees tens to hundreds of pixels around: what changed within that reach of the mask is seen too.
        Raises InputError for a mask of another size or without a pixel.
        """
        if where.dtype != bool or where.shape != first.shape[:2] or not where.any():
            came = f"{where.dtype} {where.shape}, {int(np.count_nonzero(where))} true"
            raise InputError(f"where: {came} came; bool {first.shape[:2]} with a true pixel accepted")
        return float(self.map(first, second)[where].mean())

    def describe(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        import torch

        files = {file.name: checksum(file) for file in lpips_files(self.folder)}
        return {"files": files, "network": "alex", "version": "0.1", "torch": torch.__version__, "device": self.device}

    def _differences(self, first: np.ndarray, second: np.ndarray) -> list[Tensor]:
        """One map (1, 1, h, w) of weighted squared differences for each layer."""
        first, second = picture(first, "first"), picture(second, "second")
        if first.shape != second.shape or min(first.shape[:2]) < LEAST_PX:
            came = f"{first.shape} and {second.shape}"
            raise InputError(f"second: {came} came; one size of at least {LEAST_PX} pixels accepted; register it first")
        maps = zip(self._features(first), self._features(second), self._linear, strict=True)
        return [(weights * (a - b).square()).sum(1, keepdim=True) for a, b, weights in maps]

    def _features(self, pixels: np.ndarray) -> list[Tensor]:
        """The five maps after their rectifiers, of length 1 over channels at each place."""
        import torch
        from torch.nn import functional

        x = torch.from_numpy(pixels).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        shift, scale = (torch.tensor(v, device=self.device)[None, :, None, None] for v in (SHIFT, SCALE))
        x = (x - shift) / scale
        maps = []
        for index, _, stride, padding, pools_before in LAYERS:
            if pools_before:
                x = functional.max_pool2d(x, kernel_size=3, stride=2)
            weight, bias = self._trunk[f"features.{index}.weight"], self._trunk[f"features.{index}.bias"]
            x = functional.relu(functional.conv2d(x, weight, bias, stride=stride, padding=padding))
            maps.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return maps


def _read(path: Path, wanted: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The wanted tensors of a file, in that order. AlexNet's classifier is passed over; anything else is an error."""
    import torch
    from safetensors.torch import load_file

    try:
        is_safe = path.suffix == ".safetensors"
        found = load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
        shapes = {name: tuple(tensor.shape) for name, tensor in found.items() if not name.startswith("classifier.")}
    except Exception as error:  # each reader has errors of its own
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"lpips={str(path)!r}: {why}; a file of tensors accepted; get it again") from error
    if shapes != wanted:
        missing, unexpected = wanted.keys() - shapes.keys(), shapes.keys() - wanted.keys()
        misshapen = {name for name in wanted.keys() & shapes.keys() if wanted[name] != shapes[name]}
        lists = f"missing {few(missing)}, unexpected {few(unexpected)}, misshapen {few(misshapen)}"
        raise WeightsError(f"lpips={str(path)!r}: {lists}; the AlexNet variant accepted; get that one")
    return {name: found[name] for name in wanted}
