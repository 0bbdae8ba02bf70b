"""The parts of the transformer: norms, rotary positions, attention, modulation, and its two kinds of block.

Letters, beside the house's: `p` rotary pairs (e / 2), `s` the joint sequence (text, target, context), m + n + r.
Attribute names are those of the published checkpoints, so the BFL layout loads as it is.
Source: FLUX.1 (black-forest-labs/flux); Esser et al. 2024 (arXiv 2403.03206) for the double stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from recast.config import FlowConfig


def sinusoid(value: Tensor, width: int = 256) -> Tensor:
    """Sinusoidal features of a number in [0, 1], or of a guidance scale.

    value: (b,). Returns (b, width): cosines first, then sines, of 1000 value / 10000^(j / (width/2)).
    The product with 1000 is taken in the dtype of `value`, which the published weights have learned:
    in bf16 a guidance of 2.5 is 2496.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=value.device) / half)
    angles = (1000 * value)[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1).to(value.dtype)


def rotary_table(positions: Tensor, axes_dim: Sequence[int], theta: float) -> Tensor:
    """Rotary positions as unit complex numbers e^(i angle).

    positions: (b, s, axes). Returns complex64 (b, 1, s, p), the pairs of the axes in order; frequencies
    and angles are computed in fp64, on the CPU where the device (MPS) has none.
    Source: Su et al. 2021 (arXiv 2104.09864), one table per axis.
    """
    exact = positions.cpu() if positions.device.type == "mps" else positions
    angles = []
    for axis, width in enumerate(axes_dim):
        exponents = torch.arange(0, width, 2, dtype=torch.float64, device=exact.device) / width
        angles.append(exact[..., axis, None].double() * theta**-exponents)
    angle = torch.cat(angles, dim=-1)
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)[:, None].to(positions.device)


def rotate(x: Tensor, rotary: Tensor) -> Tensor:
    """Turn each pair of channels (2p, 2p + 1) of x (b, k, s, e) by its position: one complex product, in fp32."""
    pairs = torch.view_as_complex(rearrange(x.float(), "b k s (p two) -> b k s p two", two=2))
    return torch.view_as_real(pairs * rotary).flatten(-2).to(x.dtype)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(e)) v, without a mask. q (b, k, s, e); k, v (b, k, s', e). Returns (b, s, k e)."""
    return rearrange(F.scaled_dot_product_attention(q, k, v), "b k s e -> b s (k e)")


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form: x (1 + tanh(u)) / 2 with u = sqrt(2/pi) (x + 0.044715 x^3), or x sigmoid(2u).

    In fp32 on a CPU the sigmoid is written out: half the time of the library's tanh, equal to 5e-7.
    Source: Hendrycks & Gimpel 2016 (arXiv 1606.08415).
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return F.gelu(x, approximate="tanh")
    twice = 2 * math.sqrt(2 / math.pi)
    return x.square().mul_(0.044715 * twice).add_(twice).mul_(x).sigmoid_().mul_(x)


class GELU(nn.Module):
    """`gelu` as a module without parameters, so that an MLP's tensors keep their published numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return gelu(x)


def no_autocast(like: Tensor) -> AbstractContextManager[object]:
    """Where the conditioning vector is made and used: in the dtype of the weights, which a training keeps in fp32.

    One vector steers every token of a sample, so its error is everywhere at once, and its products cost next to
    nothing. Without autocast on the device of `like` this does nothing.
    """
    kind = like.device.type
    is_on = kind != "meta" and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_on else nullcontext()


def layer_norm(x: Tensor) -> Tensor:
    """Zero mean and unit variance over the last axis; nothing learned."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


class Modulation(NamedTuple):
    """What the conditioning vector does to one half of a block, each (b, 1, d)."""

    shift: Tensor
    scale: Tensor
    gate: Tensor

    def enter(self, x: Tensor) -> Tensor:
        """The normalised x (b, s, d), scaled and shifted: (1 + scale) norm(x) + shift."""
        return torch.addcmul(self.shift, layer_norm(x), 1 + self.scale)

    def leave(self, x: Tensor, update: Tensor) -> Tensor:
        """x plus the gated update, both (b, s, d), in the dtype of x."""
        return torch.addcmul(x, self.gate, update).to(x.dtype)


class Modulate(nn.Module):
    """The conditioning vector (b, d) to `count` modulations. Source: Peebles & Xie 2022 (arXiv 2212.09748)."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.lin = nn.Linear(width, 3 * count * width)

    def forward(self, vector: Tensor) -> list[Modulation]:
        with no_autocast(vector):
            found = self.lin(F.silu(vector.to(self.lin.weight.dtype)))
        parts = found[:, None].chunk(3 * self.count, dim=-1)
        return [Modulation(*parts[3 * i : 3 * i + 3]) for i in range(self.count)]


class RMSNorm(nn.Module):
    """x / rms(x) over the last axis, rounded to the dtype of x and only then multiplied by the learned scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], eps=1e-6) * self.scale


class QKNorm(nn.Module):
    """A norm for queries and one for keys, over the width of one head. Source: arXiv 2302.05442."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.query_norm = RMSNorm(head_dim)
        self.key_norm = RMSNorm(head_dim)

    def forward(self, qkv: Tensor, num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """qkv (b, s, 3 k e), its rows ordered q, k, v, each by head. Returns q, k, v (b, k, s, e)."""
        q, k, v = rearrange(qkv, "b s (three k e) -> three b k s e", three=3, k=num_heads)
        return self.query_norm(q), self.key_norm(k), v


class Attention(nn.Module):
    """The projections of one stream; the attention itself is joint and belongs to the block."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.norm = QKNorm(config.head_dim)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (b, s, d) to q, k, v (b, k, s, e), normed, not yet rotated."""
        return self.norm(self.qkv(x), self.num_heads)


class Embedder(nn.Module):
    """Two linear layers with a SiLU between: time, guidance or pooled text (b, width) to the vector's space (b, d)."""

    def __init__(self, width: int, hidden_size: int) -> None:
        super().__init__()
        self.in_layer = nn.Linear(width, hidden_size)
        self.out_layer = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        with no_autocast(x):
            return self.out_layer(F.silu(self.in_layer(x.to(self.in_layer.weight.dtype))))


def mlp(config: FlowConfig) -> nn.Sequential:
    """Linear, GELU (tanh form), linear."""
    return nn.Sequential(
        nn.Linear(config.hidden_size, config.mlp_hidden),
        GELU(),
        nn.Linear(config.mlp_hidden, config.hidden_size),
    )


class KeysValues(NamedTuple):
    """Rotated keys and values of the context in one block, each (b, k, r, e)."""

    keys: Tensor
    values: Tensor


class DoubleStreamBlock(nn.Module):
    """Text and image each with weights of their own, meeting in one attention over the joint sequence."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.img_mod = Modulate(config.hidden_size, 2)
        self.img_attn = Attention(config)
        self.img_mlp = mlp(config)
        self.txt_mod = Modulate(config.hidden_size, 2)
        self.txt_attn = Attention(config)
        self.txt_mlp = mlp(config)
        self.attend = attention

    def forward(
        self, text: Tensor, image: Tensor, vector: Tensor, rotary: Tensor, context: KeysValues | None = None
    ) -> tuple[Tensor, Tensor]:
        """One step of both streams.

        text (b, m, d); image (b, n, d): the target, and in full mode the context after it. vector (b, d).
        rotary (b, 1, m + n, p). context: in cached mode, its keys and values, appended after the image's.
        Returns text and image, shapes unchanged.
        """
        text_attention, text_mlp = self.txt_mod(vector)
        image_attention, image_mlp = self.img_mod(vector)
        streams = self.txt_attn(text_attention.enter(text)), self.img_attn(image_attention.enter(image))
        q, k, v = (torch.cat(pair, dim=2) for pair in zip(*streams, strict=True))
        q, k, v = _with_context(rotate(q, rotary), rotate(k, rotary), v, context)
        from_text, from_image = self.attend(q, k, v).split([text.shape[1], image.shape[1]], dim=1)

        text = text_attention.leave(text, self.txt_attn.proj(from_text))
        text = text_mlp.leave(text, self.txt_mlp(text_mlp.enter(text)))
        image = image_attention.leave(image, self.img_attn.proj(from_image))
        image = image_mlp.leave(image, self.img_mlp(image_mlp.enter(image)))
        return text, image

    def context_alone(self, context: Tensor, vector: Tensor, rotary: Tensor) -> tuple[Tensor, KeysValues]:
        """The context stream (b, r, d) attending only to itself, and the keys and values others may read."""
        to_attention, to_mlp = self.img_mod(vector)
        q, k, v = self.img_attn(to_attention.enter(context))
        k = rotate(k, rotary)
        update = self.attend(rotate(q, rotary), k, v)
        context = to_attention.leave(context, self.img_attn.proj(update))
        return to_mlp.leave(context, self.img_mlp(to_mlp.enter(context))), KeysValues(k, v)


class SingleStreamBlock(nn.Module):
    """The whole sequence in one stream; attention and MLP side by side, read and written by one matrix each.

    Source: Dehghani et al. 2023 (arXiv 2302.05442), parallel layers.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.widths = [3 * config.hidden_size, config.mlp_hidden]
        self.modulation = Modulate(config.hidden_size, 1)
        self.linear1 = nn.Linear(config.hidden_size, sum(self.widths), bias=config.qkv_bias)
        self.linear2 = nn.Linear(config.hidden_size + config.mlp_hidden, config.hidden_size)
        self.norm = QKNorm(config.head_dim)
        self.attend = attention

    def forward(
        self,
        x: Tensor,
        vector: Tensor,
        rotary: Tensor,
        context: KeysValues | None = None,
        rows: slice = slice(None),
    ) -> tuple[Tensor, KeysValues]:
        """One step of the joint sequence x (b, s, d). Returns it, and its own keys and values.

        rows: those that will be read afterwards, the only ones computed to the end and returned. All rows give
        keys and values, but of the last block, say, only the target's are read.
        """
        (modulation,) = self.modulation(vector)
        qkv, hidden = self.linear1(modulation.enter(x)).split(self.widths, dim=-1)
        q, k, v = self.norm(qkv, self.num_heads)
        k = rotate(k, rotary)
        attended = self.attend(*_with_context(rotate(q[:, :, rows], rotary[:, :, rows]), k, v, context))
        update = self.linear2(torch.cat([attended, gelu(hidden[:, rows])], dim=-1))
        return modulation.leave(x[:, rows], update), KeysValues(k, v)


def _with_context(q: Tensor, k: Tensor, v: Tensor, context: KeysValues | None) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v with the context's keys and values after the sequence's own."""
    if context is None:
        return q, k, v
    keys, values = (cached.expand(k.shape[0], -1, -1, -1) for cached in context)
    return q, torch.cat([k, keys], dim=2), torch.cat([v, values], dim=2)
