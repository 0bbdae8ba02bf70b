"""The embedding of the guidance scale that a student has and its teacher lacks, and both ways to ship a student.

A student trained whole is a network like any other. One trained by adapters and its embedding is a delta: a file that
`recast.weights.read_adapter` reads for `with_guidance` of the base, and `fold` puts in.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from recast.errors import ConfigError, WeightsError
from recast.flow.layers import Embedder
from recast.flow.transformer import FlowTransformer
from recast.train import adapters
from recast.train.objective import generator
from recast.train.parallel import ALONE, Ranks
from recast.weights.files import TensorFile, arriving
from recast.weights.writing import DTYPE_NAMES, tensor_bytes

PREFIX = "diffusion_model."
"""Of the names in a delta: ComfyUI's, before our own."""
ROLES = {"weight": "set_weight", "bias": "diff_b"}
"""How a delta calls the embedding's parameters: its biases are 0 in `with_guidance`, so their change is all of them."""


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


def save_delta(
    path: str | Path,
    student: FlowTransformer,
    low_rank: adapters.Adapters,
    *,
    dtype: torch.dtype | None = None,
    about: Mapping[str, Any] | None = None,
    ranks: Ranks = ALONE,
) -> Path:
    """Write adapters and embedding of a student as one .safetensors file, whole or not at all; the path.

    low_rank: from `attach`. dtype: of the file's tensors, as they are if None; about: JSON data for the header. All
    ranks call it, the first writes. Inside `Average.all_in` it is the averages that are written.
    Raises WeightsError if something is at `path`, or a number is not finite.
    """
    path = Path(path)
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "low-rank.safetensors"
        adapters.save(plain, low_rank, format="bfl", dtype=dtype, about=about, ranks=ranks)
        low_rank.reshard()
        embedding = {name: adapters.whole(parameter) for name, parameter in student.guidance_in.named_parameters()}
        if ranks.rank == 0:
            with safe_open(plain, "pt") as file:
                header = {name: value for name, value in file.metadata().items() if name != "format"}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            for name, tensor in embedding.items():
                module, _, leaf = name.rpartition(".")
                tensors[f"{PREFIX}guidance_in.{module}.{ROLES[leaf]}"] = tensor if dtype is None else tensor.to(dtype)
            _write(path, tensors, header)
    ranks.barrier()
    return path


def _write(path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, str]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor.float()).all():
            raise WeightsError(f"{name}: has numbers that are not finite as {tensor.dtype}; train again, or pass fp32")
    entries = {name: (DTYPE_NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}
    with arriving(path) as partial, TensorFile(partial, entries, header) as file:
        for name, tensor in tensors.items():
            file.put(name, tensor_bytes(tensor))
