"""DINOv2's vision transformer, read from the files that transformers reads, to look at pictures with a gradient.

Parameter names are those of the published files. Source: Oquab et al. 2023 (arXiv 2304.07193); Touvron et al. 2021
(arXiv 2103.17239) for the scales of layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from recast.errors import MissingWeights, ShapeError, WeightsError
from recast.weights.files import few, read_header, read_json

WEIGHTS = "model.safetensors"
UNUSED = {"embeddings.mask_token"}
"""What the files hold for training alone."""


@dataclass(frozen=True, kw_only=True)
class DinoConfig:
    """The sizes of a network, named as in its `config.json`. The defaults are those of ViT-S."""

    hidden_size: int = 384
    num_hidden_layers: int = 12
    num_attention_heads: int = 6
    mlp_ratio: int = 4
    image_size: int = 518  # whose grid the positions were learned on
    patch_size: int = 14
    layer_norm_eps: float = 1e-6

    @classmethod
    def read(cls, content: Mapping[str, Any], where: str) -> DinoConfig:
        """From the content of a `config.json`. Raises WeightsError for another kind of network."""
        said = {"model_type": "dinov2", "hidden_act": "gelu", "use_swiglu_ffn": False, "num_channels": 3}
        for name, wanted in said.items():
            if content.get(name, None if name == "model_type" else wanted) != wanted:
                raise WeightsError(
                    f"{where}: {name}={content.get(name)!r}; {wanted!r} accepted: DINOv2 ViT-S, B or L without "
                    "registers; get one of those"
                )
        found = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        wrong = {name: value for name, value in found.items() if not (isinstance(value, int | float) and value > 0)}
        if wrong or found.get("hidden_size", 384) % found.get("num_attention_heads", 6):
            raise WeightsError(f"{where}: {wrong or found}; the sizes of a DINOv2 network accepted; get it again")
        return cls(**found)


class Dinov2(nn.Module):
    """The network. Position embeddings fit any grid: they are resized to it."""

    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))})
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> Dinov2:
        """From the `config.json` and `model.safetensors` of a folder: fp32, in eval mode, frozen.

        Raises MissingWeights for a file that is not there, WeightsError for one of another kind, or without all the
        tensors of the network and no others.
        """
        folder = Path(folder)
        absent = [name for name in ("config.json", WEIGHTS) if not (folder / name).is_file()]
        if absent:
            raise MissingWeights(
                f"dinov2={str(folder)!r}: without {', '.join(absent)}; a folder with both accepted, as of "
                "facebook/dinov2-small; copy it here"
            )
        config = DinoConfig.read(read_json(folder / "config.json"), f"dinov2={str(folder)!r}")
        there = {name: stored.shape for name, stored in read_header(folder / WEIGHTS).tensors.items()}
        with torch.device("meta"):
            network = cls(config)
        wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        problems = {
            "missing": wanted.keys() - there.keys(),
            "unexpected": there.keys() - wanted.keys() - UNUSED,
            "misshapen": {name for name in wanted if tuple(there.get(name, wanted[name])) != wanted[name]},
        }
        listed = [f"{kind} {few(names)}" for kind, names in problems.items() if names]
        if listed:
            raise WeightsError(
                f"dinov2={str(folder)!r}: {'; '.join(listed)}; the tensors of its config.json and no others accepted; "
                "get the whole folder again"
            )
        tensors = {name: tensor for name, tensor in load_file(folder / WEIGHTS).items() if name in wanted}
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
        return network.to(device).eval().requires_grad_(False)

    def forward(self, pixels: Tensor, taps: Sequence[int]) -> tuple[list[Tensor], Tensor | None]:
        """Patches (b, h, v, d) after each layer of `taps`, and the class token (b, d) after the last layer's norm.

        pixels: (b, 3, H, W), normalised as the network was trained, H and W multiples of its patch. Layers after the
        deepest tap do not run; the class token is None then.
        Raises ShapeError for other sides.
        """
        patch = self.config.patch_size
        if any(side % patch for side in pixels.shape[-2:]):
            raise ShapeError(f"pixels: multiples of {patch} needed; got {tuple(pixels.shape)}; resize them first")
        grid = pixels.shape[-2] // patch, pixels.shape[-1] // patch
        x, seen = self.embeddings(pixels), {}
        layers = self.encoder["layer"]
        assert isinstance(layers, nn.ModuleList)
        for number in range(max(taps, default=len(layers) - 1) + 1):
            x = layers[number](x)
            if number in taps:
                seen[number] = rearrange(x[:, 1:], "b (h v) d -> b h v d", h=grid[0], v=grid[1])
        is_whole = max(taps, default=len(layers) - 1) == len(layers) - 1
        return [seen[tap] for tap in taps], self.layernorm(x[:, 0]) if is_whole else None

    def flops(self, height: int, width: int, layers: int) -> int:
        """Of one forward pass through the first `layers` layers: two for each multiplication of matrices."""
        config, patch = self.config, self.config.patch_size
        tokens, d = (height // patch) * (width // patch) + 1, config.hidden_size
        layer = tokens * d * d * (4 + 2 * config.mlp_ratio) + 2 * tokens * tokens * d
        return 2 * (layers * layer + (tokens - 1) * 3 * patch * patch * d)


class Embeddings(nn.Module):
    """Patches and a class token, each with its position."""

    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        side, d = config.image_size // config.patch_size, config.hidden_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d))
        self.position_embeddings = nn.Parameter(torch.zeros(1, side * side + 1, d))
        self.patch_embeddings = nn.ModuleDict({"projection": nn.Conv2d(3, d, config.patch_size, config.patch_size)})

    def forward(self, pixels: Tensor) -> Tensor:
        """Tokens (b, 1 + h v, d), the class token first."""
        patches = self.patch_embeddings["projection"](pixels)
        grid = patches.shape[-2:]
        tokens = rearrange(patches, "b d h v -> b (h v) d")
        return torch.cat([self.cls_token.expand(len(pixels), -1, -1), tokens], dim=1) + self._positions(grid)

    def _positions(self, grid: Sequence[int]) -> Tensor:
        """(1, 1 + h v, d): the learned ones, those of patches resized to the grid."""
        side = math.isqrt(self.position_embeddings.shape[1] - 1)
        if tuple(grid) == (side, side):
            return self.position_embeddings
        own = rearrange(self.position_embeddings[:, 1:], "1 (h v) d -> 1 d h v", h=side)
        fitted = F.interpolate(own.float(), size=tuple(grid), mode="bicubic", align_corners=False)
        return torch.cat([self.position_embeddings[:, :1], rearrange(fitted, "1 d h v -> 1 (h v) d")], dim=1)


class Layer(nn.Module):
    """x + scale attention(norm x), then x + scale MLP(norm x)."""

    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        d, eps = config.hidden_size, config.layer_norm_eps
        self.norm1, self.norm2 = nn.LayerNorm(d, eps=eps), nn.LayerNorm(d, eps=eps)
        self.attention = Attention(config)
        self.layer_scale1, self.layer_scale2 = Scale(d), Scale(d)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(d, config.mlp_ratio * d), "fc2": nn.Linear(config.mlp_ratio * d, d)})

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (b, n, d) to tokens (b, n, d)."""
        x = x + self.layer_scale1(self.attention(self.norm1(x)))
        hidden = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
        return x + self.layer_scale2(hidden)


class Attention(nn.Module):
    """Every token looks at every other one."""

    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        d = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.attention = nn.ModuleDict({name: nn.Linear(d, d) for name in ("query", "key", "value")})
        self.output = nn.ModuleDict({"dense": nn.Linear(d, d)})

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (b, n, d) to tokens (b, n, d)."""
        q, k, v = (
            rearrange(self.attention[name](x), "b n (k e) -> b k n e", k=self.num_heads)
            for name in ("query", "key", "value")
        )
        return self.output["dense"](rearrange(F.scaled_dot_product_attention(q, k, v), "b k n e -> b n (k e)"))


class Scale(nn.Module):
    """A factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.lambda1
