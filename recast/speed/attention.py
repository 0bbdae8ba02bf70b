"""Which attention runs where. Every one takes q (b, s, k, e), k and v (b, s', k, e), and gives (b, s, k e)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from recast.cpu_units import cpu_units
from recast.loading import has_fast_bf16

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]

WRITTEN_BELOW = 1024  # tokens; with more, scores no longer fit the caches of a CPU, and the library's is as fast


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The library's choice of kernel: the reference."""
    attended = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return attended.transpose(1, 2).flatten(-2)


def written(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(e)) v as two products with all scores between them: on a CPU, the faster for few tokens."""
    b, s, heads, width = q.shape
    out = q.new_empty(b, s, heads, width)
    for sample in range(b):
        queries, keys, values = (part[sample].transpose(0, 1) for part in (q, k, v))
        scores = torch.softmax((queries * (1 / math.sqrt(width))) @ keys.transpose(1, 2), dim=-1)
        out[sample] = (scores @ values).transpose(0, 1)
    return out.flatten(-2)


def cudnn_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The library's cuDNN kernel where it takes these tensors, on Hopper twice as fast as the next."""
    order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(order, set_priority=True):
        return plain(q, k, v)


def by_length(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`written` for few tokens, `plain` for many."""
    return (written if k.shape[1] < WRITTEN_BELOW else plain)(q, k, v)


def fastest(device: torch.device, dtype: torch.dtype) -> tuple[Attend, str]:
    """What to attend with on a device, and why. The same in every process: the last bits depend on it.

    In bf16 on a CPU its units decide: 656 tokens of 5 heads 64 wide take 1.6 ms of a core by the library where there
    are AMX units and 2.8 written out; with AVX-512 alone, 576 tokens take 8.0 and 2.8. In fp32 written out takes 0.9 to
    2 times as long.
    """
    if device.type == "cuda":
        return cudnn_first, "the library's cuDNN kernel where it takes the shape"
    if device.type == "cpu" and dtype == torch.bfloat16 and has_fast_bf16():
        if "AMX" in cpu_units():
            return plain, "the library's, which uses this CPU's AMX units"
        return by_length, f"written out below {WRITTEN_BELOW} tokens: the library's is slow in bf16 without AMX"
    return plain, "the library's"
