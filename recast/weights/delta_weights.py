"""The tensors of a delta: written, with a hash of the base; checked against it, and put into its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from recast.errors import WeightsError
from recast.weights.adapters import read_adapter
from recast.weights.checkpoint import Checkpoint
from recast.weights.deltas import Delta, header_of
from recast.weights.files import TensorFile, arriving, few
from recast.weights.folding import fold, settle
from recast.weights.reading import default_dtype, map_tensor, read_tensor
from recast.weights.writing import DTYPE_NAMES, tensor_bytes

PREFIX = "diffusion_model."
"""Of the names in a delta: ComfyUI's, before our own or, of the parts of a fused matrix, those of diffusers."""
_DIGESTS: dict[tuple[object, ...], str] = {}


def digest(checkpoint: Checkpoint) -> str:
    """SHA-256, in hex, over name, shape, dtype and values of every tensor of a part, under its BFL names.

    The same for BFL and diffusers layout, for one file and for shards, and as `recast.train.adapters.fingerprint` of
    a network that was loaded in the dtype of its file. Reads every byte; remembered while the files stay as they are.
    """
    stamps = [(file, file.stat().st_size, file.stat().st_mtime_ns) for file in checkpoint.files]
    key = (checkpoint.part, *stamps)
    if key not in _DIGESTS:
        total, maps = hashlib.sha256(), dict[Path, Tensor]()
        for name, source in sorted(checkpoint.tensors.items()):
            mapped = map_tensor(source, maps)
            tensor = mapped if mapped is not None and mapped.dtype == default_dtype(source) else read_tensor(source)
            total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            total.update(tensor_bytes(tensor))
        _DIGESTS[key] = total.hexdigest()
    return _DIGESTS[key]


def check_base(delta: Delta, base: Checkpoint) -> None:
    """Raises WeightsError unless a delta is over this very flow transformer."""
    found = digest(base)
    if found != delta.base.sha256:
        raise WeightsError(
            f"delta={delta.path.name!r}: is over {delta.base.name} with weights {delta.base.sha256[:12]}; those at "
            f"{str(base.path)!r} are {found[:12]}; the very base it was made from accepted; put that beside the delta"
        )


def apply_delta(flow: nn.Module, delta: Delta) -> None:
    """Make the base in `flow`, a flow transformer, the model of the delta. Sums are taken in fp32 and cast once.

    An embedding that the base lacks is to be there already, its biases 0. Adapters may be folded in afterwards.
    Raises WeightsError if a tensor of the delta fits nothing in the network.
    """
    adapter = read_adapter(delta.path, flow)
    left = (*adapter.report.unmatched, *adapter.report.text_encoder)
    if left:
        raise WeightsError(f"delta={delta.path.name!r}: {few(left)} fit nothing in {delta.base.name}; get it again")
    fold(flow, adapter)
    settle(flow)


def save_delta(path: str | Path, tensors: Mapping[str, Tensor], delta: Delta) -> Delta:
    """Write a delta, whole or not at all, and return it with its path and sizes.

    tensors: by the names of an adapter file, on the CPU. delta: what the header shall say.
    Raises WeightsError if something is at `path`, for another ending, and for numbers that are not finite.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"path={path.name!r}: a name that ends in .safetensors accepted; add the ending")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor.float()).all():
            raise WeightsError(f"{name}: has numbers that are not finite as {tensor.dtype}; train again, or pass fp32")
    entries = {name: (DTYPE_NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}
    with arriving(path) as partial, TensorFile(partial, entries, header_of(delta)) as file:
        for name, tensor in tensors.items():
            file.put(name, tensor_bytes(tensor))
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    return replace(delta, path=path, parameters=sum(t.numel() for t in tensors.values()), size_bytes=size)
