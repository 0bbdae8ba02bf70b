"""The embedding of the guidance scale that a student has and its teacher lacks, and adapters trained with it."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from recast.errors import ConfigError
from recast.flow.layers import Embedder
from recast.flow.transformer import FlowTransformer
from recast.train import adapters
from recast.train.objective import generator


def with_guidance(flow: FlowTransformer, *, seed: int = 0) -> FlowTransformer:
    """A copy of a network with an embedding of the guidance scale that changes nothing at first, at any scale.

    All other weights have the values of `flow`, which stays as it is. The embedding's last layer is zero and its
    first one normal with 0.02, by the seed. To be made before the network is wrapped or has adapters on.
    Raises ConfigError for a network that has such an embedding.
    """
    if flow.config.guidance_embed:
        raise ConfigError("flow: has a guidance embedding; a network without one accepted; train it as it is")
    made = copy.deepcopy(flow)
    made.config = replace(flow.config, guidance_embed=True)
    like = flow.img_in.weight
    embedder = Embedder(256, flow.config.hidden_size)
    with torch.no_grad():
        for parameter in embedder.parameters():
            parameter.zero_()
        nn.init.normal_(embedder.in_layer.weight, std=0.02, generator=generator(seed, 0, "guidance_in"))
    made.guidance_in = embedder.to(like.device, like.dtype)
    return made.train(flow.training).requires_grad_(True)


def attach(flow: FlowTransformer, lora: adapters.LoRA, *, seed: int = 0) -> adapters.Adapters:
    """Low-rank adapters on a student, which are trained together with its embedding of the scale; all else is frozen.

    Raises ConfigError for targets that take in the embedding, which is trained whole, for a network without one, and
    as `adapters.attach` does.
    """
    if not flow.config.guidance_embed:
        raise ConfigError("flow: no guidance embedding; a network from with_guidance accepted; make one first")
    made = adapters.attach(flow, lora, seed=seed)
    if any(each.module.startswith("guidance_in") for each in made.low_ranks()):
        adapters.detach(flow)
        raise ConfigError(
            f"targets={lora.targets!r}: take in guidance_in, which is trained whole; targets of blocks accepted, "
            "'attention+mlp' is usual"
        )
    flow.guidance_in.requires_grad_(True)
    return made
