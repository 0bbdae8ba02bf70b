"""The smallest whole model, with random weights: what most tests run on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from recast.config import FlowConfig, ModelConfig, tiny
from recast.context.t5 import T5Config, T5Encoder
from recast.context.text import ByteT5
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.pipeline import Pipeline


def randomise(module: nn.Module, seed: int, *, std: float | None = None) -> nn.Module:
    """Fill every parameter from a seed, so that no gate, norm or modulation is at a value that hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            scale = std or (parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return module


def tiny_flow(seed: int = 0, **changes: Any) -> FlowTransformer:
    """A transformer of the `tiny` preset, or a changed one."""
    flow: FlowConfig = replace(tiny().flow, **changes)
    module = randomise(FlowTransformer(flow), seed).eval().requires_grad_(False)
    assert isinstance(module, FlowTransformer)
    return module


def tiny_autoencoder(seed: int = 0) -> Autoencoder:
    """An autoencoder of the `tiny` preset."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Autoencoder(tiny().autoencoder)  # its own initialisation keeps activations in range
    return module.eval().requires_grad_(False)


def tiny_text(seed: int = 0) -> ByteT5:
    """A byte encoder of the widths that `tiny` wants."""
    width = tiny().flow.context_in_dim
    config = T5Config(vocab_size=384, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=3)
    network = randomise(T5Encoder(config), seed).eval().requires_grad_(False)
    assert isinstance(network, T5Encoder)
    return ByteT5(network, tiny().text.max_length)


def tiny_pipeline(seed: int = 0, **changes: Any) -> Pipeline:
    """A pipeline of the `tiny` preset; changes are fields of its ModelConfig."""
    config: ModelConfig = replace(tiny(), **changes)
    flow = randomise(FlowTransformer(config.flow), seed)
    assert isinstance(flow, FlowTransformer)
    return Pipeline(config, flow, tiny_autoencoder(seed), tiny_text(seed), checksums=lambda: {"tiny": f"seed {seed}"})
