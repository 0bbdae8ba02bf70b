"""A tiny model on the disk that stands for `nano`, and students of it, trained by nobody: random changes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from recast import weights
from recast.config import ModelConfig, tiny
from recast.flow.transformer import FlowTransformer
from recast.train import adapters
from recast.train.distill.embedding import with_guidance
from tests.tiny import randomise, tiny_autoencoder, tiny_flow, tiny_text

SMALL = {"depth": 1, "depth_single_blocks": 1, "guidance_embed": False}
TEXT = {
    "vocab_size": 384, "d_model": 24, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 3,
    "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6,
}  # fmt: skip


def base_config() -> ModelConfig:
    """A model called nano, guided by two passes in text-to-image alone, as that is."""
    defaults = replace(tiny().defaults, steps=28, guidance=None, generate_true_guidance=3.0)
    return replace(tiny(), name="nano", flow=replace(tiny().flow, **SMALL), defaults=defaults)


def turbo_config() -> ModelConfig:
    """What four steps of re-noising make of it."""
    defaults = replace(base_config().defaults, steps=4, sampler="renoise", generate_true_guidance=1.0)
    return replace(base_config(), name="nano-turbo", defaults=defaults, is_few_step=True)


def dev_config() -> ModelConfig:
    """What an embedding of the scale makes of it."""
    base = base_config()
    defaults = replace(base.defaults, guidance=3.0, edit_guidance=1.0, generate_true_guidance=1.0)
    return replace(base, name="nano-dev", flow=replace(base.flow, guidance_embed=True), defaults=defaults)


def write_base(folder: Path, seed: int = 0) -> Path:
    """The folder of the base, in fp32."""
    parts: dict[str, nn.Module] = {
        "flow": tiny_flow(seed, **SMALL),
        "autoencoder": tiny_autoencoder(),
        "text_encoder": tiny_text().network,
    }
    return weights.save(folder, parts, base_config(), text_encoder_config=TEXT)


def trained(std: float = 0.02) -> FlowTransformer:
    """The base, every number of it changed."""
    flow = tiny_flow(0, **SMALL)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * std
    return flow


def adapted() -> FlowTransformer:
    """The base with an embedding of the scale and adapters of rank 2, folded in: each as if trained."""
    student = with_guidance(tiny_flow(0, **SMALL))
    lora = adapters.LoRA(rank=2, alpha=3.0, targets=("double_blocks.*_attn.qkv", "single_blocks.0.linear1"))
    low_rank = adapters.attach(student, lora)
    randomise(low_rank, 1)
    with torch.no_grad():
        changes = low_rank.changes()
        adapters.detach(student)
        for change in changes:
            change.apply(student.get_parameter(change.parameter), 1.0)
    randomise(student.guidance_in, 2)
    return student.requires_grad_(False)
