"""Which attention runs where. Every one takes q (b, s, k, e), k and v (b, s', k, e), and gives (b, s, k e)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]

WRITTEN_BELOW = 1024  # tokens; above it the scores of a CPU no longer fit its caches, and the library's is as fast


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


def cudnn(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The library's cuDNN kernel and no other; an error where it cannot run."""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return plain(q, k, v)


def by_length(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`written` for few tokens, `plain` for many: for a CPU."""
    return (written if k.shape[1] < WRITTEN_BELOW else plain)(q, k, v)
