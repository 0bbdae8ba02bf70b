"""Rows in eight bits: x is about values * scale, scale = max |x| / 448 of each row, values float8_e4m3fn.

Plain: `recast.speed.ops.Plain.to_rows`. The kernels that hold a row anyway (`modulated_norm`, `gelu`) call `eight`.
Rounding: exact divides by the scale, as Plain does, bit for bit; fast multiplies by its reciprocal, which may move a
number that lies between two to the other one.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from recast.speed.kernels.launch import apart, block, on, warps
from recast.speed.linear import Rows
from recast.speed.ops import LARGEST, SMALLEST_SCALE

_LARGEST = tl.constexpr(LARGEST)
_SMALLEST_SCALE = tl.constexpr(SMALLEST_SCALE)


@triton.jit
def eight(row, EXACT: tl.constexpr):
    """A row (BLOCK,) fp32, zero past its end, as float8_e4m3fn and its scale."""
    scale = tl.maximum(tl.div_rn(tl.max(tl.abs(row), 0), _LARGEST), _SMALLEST_SCALE)
    if EXACT:
        values = tl.div_rn(row, tl.zeros_like(row) + scale)
    else:
        values = row * (1 / scale)
    return values.to(tl.float8e4nv), scale


@triton.jit
def _kernel(x, values, scales, x_b, D: tl.constexpr, BLOCK: tl.constexpr, EXACT: tl.constexpr):
    token, sample = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    row = sample * tl.num_programs(0) + token
    columns = tl.arange(0, BLOCK)
    mask = columns < D
    value = tl.load(x + sample * x_b + token * D + columns, mask, other=0.0).to(tl.float32)
    made, scale = eight(value, EXACT)
    tl.store(values + row * D + columns, made, mask)
    tl.store(scales + row, scale)


def empty_rows(like: Tensor) -> Rows:
    """Rows for a tensor (b, s, d), not yet filled."""
    values = torch.empty(like.shape, dtype=torch.float8_e4m3fn, device=like.device)
    return Rows(values, torch.empty(*like.shape[:-1], 1, dtype=torch.float32, device=like.device))


def to_rows(x: Tensor, *, exact: bool) -> Rows:
    """x (b, s, d) in eight bits, a scale to each row; its samples may lie apart, its rows may not."""
    b, s, d = x.shape
    size, rows = block("x", d), empty_rows(x)
    if x.numel():
        with on(x):
            _kernel[(s, b)](x, *rows, apart("x", x), D=d, BLOCK=size, EXACT=exact, num_warps=warps(size))
    return rows
