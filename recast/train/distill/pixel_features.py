"""What a discriminator in pixels sees: frozen features of pictures, at several depths, through which gradients flow.

DINOv2's, where its files are at hand, as published; else those of our own autoencoder's encoder, which says less of
what is shown and as much of how. Nothing here enters autocast: a stage that runs in bf16 calls it inside its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from recast import cost
from recast.errors import ConfigError
from recast.latents.autoencoder import Autoencoder
from recast.train.distill.dinov2 import WEIGHTS, Dinov2
from recast.weights.files import checksum

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pictures that DINOv2 was trained on, in [0, 1]."""


class PixelFeatures(Protocol):
    """A frozen network cut into `depth` parts, each of which can be looked at."""

    @property
    def depth(self) -> int: ...
    @property
    def pooled_width(self) -> int: ...
    def width(self, tap: int) -> int:
        """Channels after a part, counted from 0."""
        ...

    def grid(self, tap: int, height: int, width: int) -> tuple[int, int]:
        """Places h, v after a part, of a picture of these sides."""
        ...

    def maps(self, pixels: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """Features (b, h, v, c) of pixels (b, 3, H, W) in [-1, 1] after each part of `taps`, in that order."""
        ...

    def pooled(self, pixels: Tensor) -> Tensor:
        """One vector (b, c) for each picture."""
        ...

    def flops(self, height: int, width: int, taps: Sequence[int]) -> float:
        """Of one forward pass on one picture as far as the deepest tap."""
        ...

    def describe(self) -> dict[str, Any]:
        """What decides the result, as JSON data, for the record of the run."""
        ...


class DinoFeatures:
    """DINOv2's layers. A picture's vector is the class token.

    Pictures of sides that are no multiples of the patch (14) are resized, bilinear, to the nearest that are.
    """

    def __init__(self, network: Dinov2, files: str | Path | None = None) -> None:
        """files: the folder it was read from."""
        self.network = network.eval().requires_grad_(False)
        self.files = None if files is None else Path(files)
        self.depth = network.config.num_hidden_layers
        self.pooled_width = network.config.hidden_size

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> DinoFeatures:
        """From a local folder, as `Dinov2.load` reads it."""
        return cls(Dinov2.load(folder, device), folder)

    def width(self, tap: int) -> int:
        return self.network.config.hidden_size

    def grid(self, tap: int, height: int, width: int) -> tuple[int, int]:
        patch = self.network.config.patch_size
        return self._side(height) // patch, self._side(width) // patch

    def maps(self, pixels: Tensor, taps: Sequence[int]) -> list[Tensor]:
        _check(taps, self.depth)
        found, _ = self.network(self._fitted(pixels), taps)
        return [each.float() for each in found]

    def pooled(self, pixels: Tensor) -> Tensor:
        _, token = self.network(self._fitted(pixels), ())
        assert token is not None
        return token.float()

    def flops(self, height: int, width: int, taps: Sequence[int]) -> float:
        rows, columns = (self._side(side) for side in (height, width))
        return float(self.network.flops(rows, columns, max(taps) + 1))

    def describe(self) -> dict[str, Any]:
        files = None if self.files is None else checksum(self.files / WEIGHTS)
        return {"kind": "dinov2", "layers": self.depth, "width": self.pooled_width, "sha256": files}

    def _side(self, side: int) -> int:
        patch = self.network.config.patch_size
        return max(round(side / patch), 1) * patch

    def _fitted(self, pixels: Tensor) -> Tensor:
        """As the network was trained: of its mean and deviation, of whole patches."""
        height, width = pixels.shape[-2:]
        sides = self._side(height), self._side(width)
        x = pixels.float()
        if sides != (height, width):
            x = F.interpolate(x, size=sides, mode="bilinear", align_corners=False, antialias=True)
        mean, std = (x.new_tensor(each)[:, None, None] for each in (MEAN, STD))
        return ((x + 1) / 2 - mean) / std


class AutoencoderFeatures:
    """The stages of an autoencoder's encoder, and its middle. A picture's vector is the mean of the middle's.

    No network beside the model's own is held.
    """

    def __init__(self, autoencoder: Autoencoder) -> None:
        self.autoencoder = autoencoder
        config = autoencoder.config
        widths = [config.ch * multiple for multiple in config.ch_mult]
        self._widths = (*widths, widths[-1])
        self.depth = len(self._widths)
        self.pooled_width = self._widths[-1]

    def width(self, tap: int) -> int:
        return self._widths[tap]

    def grid(self, tap: int, height: int, width: int) -> tuple[int, int]:
        halvings = min(tap + 1, self.depth - 2)  # the last stage and the middle keep the size
        return height >> halvings, width >> halvings

    def maps(self, pixels: Tensor, taps: Sequence[int]) -> list[Tensor]:
        _check(taps, self.depth)
        encoder = self.autoencoder.encoder
        x, seen = encoder.conv_in(pixels), {}
        for number, stage in enumerate((*encoder.down, encoder.mid)):
            if number > max(taps):
                break
            (x,) = stage([x])
            seen[number] = rearrange(x, "b c h v -> b h v c")
        return [seen[tap].float() for tap in taps]

    def pooled(self, pixels: Tensor) -> Tensor:
        (deepest,) = self.maps(pixels, [self.depth - 1])
        return deepest.mean(dim=(1, 2))

    def flops(self, height: int, width: int, taps: Sequence[int]) -> float:
        """Of the whole encoder: what is left out after the deepest tap is little."""
        return float(cost.encode_work(self.autoencoder.config, width=width, height=height).total)

    def describe(self) -> dict[str, Any]:
        return {"kind": "autoencoder", "stages": self.depth, "width": self.pooled_width}


def _check(taps: Sequence[int], depth: int) -> None:
    if not taps or any(not 0 <= tap < depth for tap in taps):
        raise ConfigError(f"taps={tuple(taps)}: one or more parts from 0 to {depth - 1} accepted")
