"""GELU in its tanh form: x sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x^3), in fp32, rounded once.

The result may be written in eight bits, a scale to each row; then a program holds a whole row. Exact rounds to the
dtype of x before that, as the core does. Plain: `recast.speed.ops.Plain.gelu`, whose library writes 1 + tanh u: for
x < -3 that loses digits which the sigmoid keeps, so that the two differ there by up to 1e-7.
Source: arXiv 1606.08415.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from recast.speed.kernels.launch import apart, block, on, warps
from recast.speed.kernels.rows import eight, empty_rows
from recast.speed.linear import Rows

_TWICE = tl.constexpr(2 * math.sqrt(2 / math.pi))
FLAT = 4096  # numbers of one program where rows do not matter


@triton.jit
def _gelu(x):
    return x / (1 + tl.exp(-(x + 0.044715 * x * x * x) * _TWICE))


@triton.jit
def _flat(x, out, x_b, size, BLOCK: tl.constexpr):
    sample = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + sample * x_b + at, at < size, other=0.0).to(tl.float32)
    tl.store(out + sample * size + at, _gelu(value).to(out.dtype.element_ty), at < size)


@triton.jit
def _rows(x, values, scales, x_b, D: tl.constexpr, BLOCK: tl.constexpr, EXACT: tl.constexpr):
    token, sample = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    row = sample * tl.num_programs(0) + token
    columns = tl.arange(0, BLOCK)
    mask = columns < D
    value = _gelu(tl.load(x + sample * x_b + token * D + columns, mask, other=0.0).to(tl.float32))
    if EXACT:
        value = value.to(x.dtype.element_ty).to(tl.float32)
    made, scale = eight(value, EXACT)
    tl.store(values + row * D + columns, made, mask)
    tl.store(scales + row, scale)


def gelu(x: Tensor) -> Tensor:
    """GELU of x (b, s, h); its samples may lie apart, its rows may not."""
    b, s, h = x.shape
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    if x.numel():
        with on(x):
            grid = (triton.cdiv(s * h, FLAT), b)
            _flat[grid](x, out, apart("x", x), s * h, BLOCK=FLAT, num_warps=warps(FLAT))
    return out


def gelu_rows(x: Tensor, *, exact: bool) -> Rows:
    """GELU of x (b, s, h) in eight bits, a scale to each row; its samples may lie apart, its rows may not."""
    b, s, h = x.shape
    size, rows = block("x", h), empty_rows(x)
    if x.numel():
        with on(x):
            _rows[(s, b)](x, *rows, apart("x", x), D=h, BLOCK=size, EXACT=exact, num_warps=warps(size))
    return rows
