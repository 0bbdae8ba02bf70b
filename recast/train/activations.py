"""Memory for arithmetic: activation checkpointing of a transformer, block by block.

A checkpointed block keeps its inputs and computes the rest again in the backward pass. The numbers do not change.
Source: Chen et al. 2016 (arXiv 1604.06174); Korthikanti et al. 2022 (arXiv 2205.05198) for the selective kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from recast.errors import ConfigError
from recast.flow.layers import DoubleStreamBlock, SingleStreamBlock
from recast.flow.transformer import FlowTransformer
from recast.train.settings import Checkpointing

_aten = torch.ops.aten
_MATRIX_PRODUCTS = frozenset({_aten.mm.default, _aten.addmm.default, _aten.bmm.default, _aten.linear.default})
_ATTENTIONS = frozenset(
    {
        _aten._scaled_dot_product_flash_attention.default,
        _aten._scaled_dot_product_flash_attention_for_cpu.default,
        _aten._scaled_dot_product_efficient_attention.default,
        _aten._scaled_dot_product_cudnn_attention.default,
    }
)


def blocks(network: FlowTransformer) -> list[DoubleStreamBlock | SingleStreamBlock]:
    """The blocks in the order in which the sequence passes them."""
    return [*network.double_blocks, *network.single_blocks]


def checkpoint_blocks(network: nn.Module, kind: Checkpointing) -> None:
    """Let the blocks of a transformer compute their activations again instead of keeping them, in place.

    kind: none; full, the inputs of a block are all that is kept; selective, the outputs of attention and of every
    second matrix product are kept too. Parameter names stay.
    Raises ConfigError for a network that has no blocks.
    """
    if kind == "none":
        return
    if not isinstance(network, FlowTransformer):
        raise ConfigError(f"checkpointing={kind!r}: for transformers alone, not {type(network).__name__}; pass none")
    for block in blocks(network):
        for name in ("forward", "context_alone"):
            if hasattr(block, name):
                setattr(block, name, _checkpointed(getattr(block, name), kind))


def _checkpointed(method: Callable[..., Any], kind: Checkpointing) -> Callable[..., Any]:
    """The method, its activations computed again. Blocks draw nothing at random, so no generator is kept."""
    again: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    if kind == "selective":
        again["context_fn"] = _selective
    return wraps(method)(partial(checkpoint, method, **again))


def _selective() -> Any:
    """Contexts of one call of a block: what is kept, and what is computed again."""
    seen: Counter[bool] = Counter()  # matrix products so far, of the forward pass and of the second one

    def policy(context: Any, operation: Any, *_: Any, **__: Any) -> CheckpointPolicy:
        if operation in _ATTENTIONS:
            return CheckpointPolicy.MUST_SAVE
        if operation in _MATRIX_PRODUCTS:
            seen[context.is_recompute] += 1
            if seen[context.is_recompute] % 2:
                return CheckpointPolicy.MUST_SAVE
        return CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)
