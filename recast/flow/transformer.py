"""Tokens, positions, text, context and t to velocity: the network of FLUX.1 and FLUX.1 Kontext.

The joint sequence is [text | target | context 1 | context 2 ...]. Everything that depends neither on the
target nor on t is computed once, in `condition`; one evaluation is then `transformer(x_t, t, condition)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from recast.config import FlowConfig
from recast.errors import ConfigError, ShapeError
from recast.flow.guidance import MayChange, Velocity
from recast.flow.layers import (
    DoubleStreamBlock,
    Embedder,
    KeysValues,
    SingleStreamBlock,
    layer_norm,
    no_autocast,
    rotary_table,
    sinusoid,
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What one request asks for, embedded: constant over the steps of a sampler, and over its variants.

    `context` holds embedded tokens (b, r, d) in full mode, the keys and values of every block in cached mode.
    """

    text: Tensor  # (b, m, d)
    pooled: Tensor | None  # (b, d)
    guidance: Tensor | None  # (b, d)
    rotary: Tensor  # (b, 1, m + n + r, p); in cached mode without the context
    context: Tensor | list[KeysValues] | None
    extra: Tensor | None  # (b, n, in_channels - out_channels): Fill and Control


class Network(Protocol):
    """What a pipeline asks of a velocity field: the one below, or a faster one with the same weights."""

    @property
    def config(self) -> FlowConfig: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def condition(self, *args: Any, **inputs: Any) -> Condition: ...
    def with_text(self, condition: Condition, text: Tensor, pooled: Tensor | None) -> Condition: ...
    def along(self, condition: Condition, times: Sequence[float], may_change: MayChange | None = None) -> Velocity:
        """The velocity function of one walk, for a sampler: x (b, n, out_channels) fp32 at a time t, to fp32.

        times: those the walk will ask for. may_change: asked at each step for the tokens (b or 1, n) bool that the
        walk lets change, None for all; where there is one, what comes back for the others is not used.
        """
        ...


class FlowTransformer(nn.Module):
    """The velocity field. Parameter names and shapes are those of the published BFL files."""

    guidance_in: Embedder  # where config.guidance_embed
    vector_in: Embedder  # where config.vec_in_dim
    double_blocks: Sequence[DoubleStreamBlock]
    single_blocks: Sequence[SingleStreamBlock]

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.img_in = nn.Linear(config.in_channels, width)
        self.txt_in = nn.Linear(config.context_in_dim, width)
        self.time_in = Embedder(256, width)
        if config.guidance_embed:
            self.guidance_in = Embedder(256, width)
        if config.vec_in_dim is not None:
            self.vector_in = Embedder(config.vec_in_dim, width)
        double = (DoubleStreamBlock(config) for _ in range(config.depth))
        single = (SingleStreamBlock(config) for _ in range(config.depth_single_blocks))
        self.double_blocks = nn.ModuleList(double)  # type: ignore[assignment]
        self.single_blocks = nn.ModuleList(single)  # type: ignore[assignment]
        self.final_layer = FinalLayer(width, config.out_channels)

    def condition(
        self,
        *,
        positions: Tensor,
        text: Tensor,
        pooled: Tensor | None = None,
        guidance: Tensor | None = None,
        context: Tensor | None = None,
        context_positions: Tensor | None = None,
        extra: Tensor | None = None,
    ) -> Condition:
        """Embed what stays the same from step to step.

        positions (b, n, axes) of the target. text (b, m, c), at position 0. pooled (b, vec_in_dim).
        guidance (b,), the raw scale. context (b, r, d_in) with context_positions (b, r, axes): all context
        images, one after another. extra (b, n, in_channels - out_channels).
        Raises ConfigError if the network needs an input that is missing, or has no use for one that came.
        """
        config = self.config
        _expect("pooled", pooled, wanted=config.vec_in_dim is not None)
        _expect("guidance", guidance, wanted=config.guidance_embed)
        _expect("extra", extra, wanted=config.extra_channels > 0)
        _expect("context_positions", context_positions, wanted=context is not None)
        if positions.shape[-1] != len(config.axes_dim):
            raise ShapeError(
                f"positions: {len(config.axes_dim)} axes needed, one for each of axes_dim={config.axes_dim}; "
                f"got shape {tuple(positions.shape)}"
            )
        if context is not None and context.shape[-1] != config.out_channels:
            raise ShapeError(f"context: tokens of {config.out_channels} channels needed; got {tuple(context.shape)}")

        joint = [positions.new_zeros(text.shape[0], text.shape[1], positions.shape[-1]), positions]
        embedded: Tensor | list[KeysValues] | None = None
        if context is not None and context_positions is not None:
            if config.context_attention == "cached":
                embedded = self.cache_context(context, context_positions)
            else:
                embedded = self.embed(context, None)
                joint.append(context_positions)
        batch = max(part.shape[0] for part in joint)
        table = torch.cat([part.expand(batch, -1, -1) for part in joint], dim=1)
        return Condition(
            text=self.txt_in(text),
            pooled=None if pooled is None else self.vector_in(pooled),
            guidance=None if guidance is None else self.guidance_in(sinusoid(guidance.to(text.dtype))),
            rotary=rotary_table(table, config.axes_dim, config.theta),
            context=embedded,
            extra=extra,
        )

    def with_text(self, condition: Condition, text: Tensor, pooled: Tensor | None) -> Condition:
        """The same condition for another prompt of the same length: text (b, m, c), pooled (b, vec_in_dim).

        Positions, guidance and context, its cache included, are shared: a negative prompt costs its own text only.
        """
        _expect("pooled", pooled, wanted=self.config.vec_in_dim is not None)
        if text.shape[1] != condition.text.shape[1]:
            raise ShapeError(f"text: {condition.text.shape[1]} tokens needed; got {tuple(text.shape)}")
        return replace(condition, text=self.txt_in(text), pooled=None if pooled is None else self.vector_in(pooled))

    def cache_context(self, context: Tensor, positions: Tensor) -> list[KeysValues]:
        """The keys and values of every block for context tokens (b, r, d_in) at positions (b, r, axes).

        The context attends only to itself and is modulated at t = 0, without text, pooled vector or guidance:
        it depends on nothing but the pictures, so one cache serves every step, prompt, seed and guidance.
        """
        x = self.embed(context, None)
        positions = positions.expand(x.shape[0], -1, -1)  # as `condition` does: a shape of its own costs a graph
        rotary = rotary_table(positions, self.config.axes_dim, self.config.theta)
        vector = self.time_in(sinusoid(x.new_zeros(x.shape[0])))
        cache = []
        for double in self.double_blocks:
            x, kept = double.context_alone(x, vector, rotary)
            cache.append(kept)
        for single in self.single_blocks:
            x, kept = single(x, vector, rotary)
            cache.append(kept)
        return cache

    @property
    def device(self) -> torch.device:
        return self.img_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.img_in.weight.dtype

    def along(self, condition: Condition, times: Sequence[float], may_change: MayChange | None = None) -> Velocity:
        """As `Network.along`: every evaluation is whole, and stands alone."""

        @torch.inference_mode()
        def velocity(x: Tensor, t: float) -> Tensor:
            at = torch.full(x.shape[:1], t, device=x.device)
            return self(x.to(self.dtype), at, condition).float()

        return velocity

    def forward(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The velocity (b, n, out_channels) of target tokens x (b, n, out_channels) at times t (b,)."""
        if t.shape != x.shape[:1]:
            raise ShapeError(f"t: one time per sample needed, shape {tuple(x.shape[:1])}; got {tuple(t.shape)}")
        text, target = condition.text, x.shape[1]
        image = self.embed(x, condition.extra)
        caches: list[KeysValues | None] = [None] * (len(self.double_blocks) + len(self.single_blocks))
        if isinstance(condition.context, list):
            caches = list(condition.context)
        elif condition.context is not None:
            image = torch.cat([image, condition.context.expand(x.shape[0], -1, -1)], dim=1)

        vector = self.time_in(sinusoid(t.to(x.dtype)))
        for part in (condition.guidance, condition.pooled):  # in this order: bf16 sums depend on it
            vector = vector if part is None else vector + part

        text = text.expand(x.shape[0], -1, -1)
        for double, cache in zip(self.double_blocks, caches, strict=False):
            text, image = double(text, image, vector, condition.rotary, cache)
        joint = torch.cat([text, image], dim=1)
        read = slice(text.shape[1], text.shape[1] + target)
        *but_last, (last, last_cache) = zip(self.single_blocks, caches[len(self.double_blocks) :], strict=True)
        for single, cache in but_last:
            joint = single(joint, vector, condition.rotary, cache)[0]  # its keys and values are freed at once
        image, _ = last(joint, vector, condition.rotary, last_cache, read)
        return self.final_layer(image, vector)

    def embed(self, tokens: Tensor, extra: Tensor | None) -> Tensor:
        """Tokens (b, n, out_channels), with their extra channels, to the network's width (b, n, d)."""
        if self.config.extra_channels == 0:
            return self.img_in(tokens)
        if extra is None:  # context images carry no condition of their own
            extra = tokens.new_zeros(*tokens.shape[:-1], self.config.extra_channels)
        return self.img_in(torch.cat([tokens, extra.expand(tokens.shape[0], -1, -1)], dim=-1))


class FinalLayer(nn.Module):
    """The last modulated norm and the way back to token channels."""

    def __init__(self, width: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x (b, n, d) to (b, n, out_channels). The BFL order is shift, scale; diffusers files store the other."""
        dtype = self.linear.weight.dtype
        with no_autocast(x):
            shift, scale = self.adaLN_modulation(vector.to(dtype))[:, None].chunk(2, dim=-1)
            return self.linear(torch.addcmul(shift, layer_norm(x.to(dtype)), 1 + scale))


def _expect(name: str, value: Tensor | None, *, wanted: bool) -> None:
    if wanted and value is None:
        raise ConfigError(f"{name}: missing, and this network has an input for it; pass one")
    if not wanted and value is not None:
        raise ConfigError(f"{name}: got a tensor, and this network has no input for it; leave it out")
