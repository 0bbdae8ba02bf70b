"""A T5 v1.1 encoder: token ids → one vector per token, each of which has seen all the others.

The byte encoder of `nano` runs on it, so that the default model starts without importing `transformers`. Tensors
carry the published names, hence the odd ones (`layer.0`, `DenseReluDense`): a published file loads as it is.
Letters: `b` batch, `m` tokens, `c` width, `k` heads, `e` per-head width.

Source: Raffel et al. 2020 (arXiv 1910.10683), section 2.1; the gate, Shazeer 2020 (arXiv 2002.05202).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class T5Config:
    """The sizes of a T5 encoder, named as in the published `config.json`."""

    vocab_size: int
    d_model: int  # width
    d_kv: int  # width of one head; num_heads * d_kv need not be d_model
    d_ff: int
    num_layers: int
    num_heads: int
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6


class T5Encoder(nn.Module):
    """Token ids (b, m) → outputs (b, m, c), normalised. No mask: padding is read like any other token."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.shared = table(config.vocab_size, config.d_model)
        self.encoder = Stack(config)

    def forward(self, ids: Tensor) -> Tensor:
        return self.encoder(self.shared(ids))


class Stack(nn.Module):
    """The blocks and the last norm; the first block holds the position bias that all of them use."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.max_distance = config.relative_attention_max_distance
        self.block = nn.ModuleList(Block(config, has_bias=i == 0) for i in range(config.num_layers))
        self.final_layer_norm = Norm(config)

    def forward(self, x: Tensor) -> Tensor:
        first: Any = self.block[0]
        bias_of = first.layer[0].SelfAttention.relative_attention_bias  # (buckets, k)
        place = torch.arange(x.shape[1], device=x.device)
        relative = place[None, :] - place[:, None]  # (query, key): key - query
        bias = rearrange(bias_of(buckets(relative, bias_of.num_embeddings, self.max_distance)), "q m k -> k q m")
        for block in self.block:
            x = block(x, bias)
        return self.final_layer_norm(x)


class Block(nn.Module):
    """Attention, then the gated MLP."""

    def __init__(self, config: T5Config, has_bias: bool) -> None:
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(config, has_bias), MLPLayer(config)])

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        attend, mlp = self.layer
        return mlp(attend(x, bias))


class AttentionLayer(nn.Module):
    def __init__(self, config: T5Config, has_bias: bool) -> None:
        super().__init__()
        self.SelfAttention, self.layer_norm = SelfAttention(config, has_bias), Norm(config)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return x + self.SelfAttention(self.layer_norm(x), bias)


class MLPLayer(nn.Module):
    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.DenseReluDense, self.layer_norm = GatedMLP(config), Norm(config)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.DenseReluDense(self.layer_norm(x))


class SelfAttention(nn.Module):
    """Attention without the usual 1 / sqrt(e): T5 folds it into its weights. Softmax in float32."""

    def __init__(self, config: T5Config, has_bias: bool) -> None:
        super().__init__()
        self.num_heads, inner = config.num_heads, config.num_heads * config.d_kv
        self.q, self.k, self.v = (nn.Linear(config.d_model, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, config.d_model, bias=False)
        if has_bias:
            self.relative_attention_bias = table(config.relative_attention_num_buckets, self.num_heads)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (rearrange(part(x), "b m (k e) -> b k m e", k=self.num_heads) for part in (self.q, self.k, self.v))
        weights = ((q @ k.mT).float() + bias.float()).softmax(-1).to(v.dtype)
        return self.o(rearrange(weights @ v, "b k m e -> b m (k e)"))


class GatedMLP(nn.Module):
    """wo(gelu(wi_0 x) * wi_1 x), with the tanh form of GELU."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.wi_0, self.wi_1 = (nn.Linear(config.d_model, config.d_ff, bias=False) for _ in range(2))
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class Norm(nn.Module):
    """Division by the root mean square, taken in float32. No mean is removed and no bias added."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(config.d_model)), config.layer_norm_epsilon

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.epsilon)
        return self.weight * (x * scale).to(x.dtype)


def table(rows: int, width: int) -> nn.Embedding:
    """An embedding with a uniform start: the usual normal one, on meta, imports the compiler of torch, 1.5 s."""
    return nn.Embedding.from_pretrained(torch.empty(rows, width).uniform_(-1, 1), freeze=False)


def buckets(relative: Tensor, num_buckets: int = 32, max_distance: int = 128) -> Tensor:
    """The bucket of each relative position (key - query), int64 of the same shape.

    Half of the buckets look back, half ahead. In each half the near distances have a bucket each, the far ones
    share logarithmic buckets, and the last holds all from max_distance on.
    """
    half = num_buckets // 2
    exact = half // 2
    distance = relative.abs()
    depth = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)  # 1 at max_distance
    far = (exact + (depth * (half - exact)).long()).clamp(max=half - 1)
    return (relative > 0) * half + torch.where(distance < exact, distance, far)
