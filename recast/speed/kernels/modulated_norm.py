"""Gate, residual, norm and modulation in one pass over a row:

    x' = x + gate update,    row = (1 + scale) (x' - mean x') / sqrt(var x' + 1e-6) + shift

x' is written beside the row; where nothing waits to be added, x' = x and only the row is. The row may be written in
eight bits. Mean and variance are of one row, in fp32. Plain: `recast.speed.ops.Plain.leave_enter` and `.enter`.

Rounding, to the dtype of x: exact rounds x', the normed row, 1 + scale and the row, as the core does; what differs
from it is the order of the sums in mean and variance, which turns a last bit where a number lies between two. Fast
rounds x' and the row where they are written, and nothing between.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from recast.speed.kernels.launch import apart, block, on, same_shape, shared, warps
from recast.speed.kernels.rows import eight, empty_rows
from recast.speed.linear import Rows


@triton.jit
def modulated(normed, shift, scale, dtype: tl.constexpr, EXACT: tl.constexpr):
    """(1 + scale) normed + shift, all fp32; exact rounds to `dtype` what the core rounds before the last sum."""
    one_more = 1 + scale
    if EXACT:
        normed = normed.to(dtype).to(tl.float32)
        one_more = one_more.to(dtype).to(tl.float32)
    return shift + normed * one_more


@triton.jit
def _kernel(
    x, update, gate, shift, scale, left, entered, row_scale,
    x_b, update_b, gate_b, shift_b, scale_b,
    D: tl.constexpr, BLOCK: tl.constexpr, LEAVE: tl.constexpr, EIGHT: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    token, sample = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    row = sample * tl.num_programs(0) + token
    columns = tl.arange(0, BLOCK)
    mask = columns < D
    dtype: tl.constexpr = x.dtype.element_ty
    value = tl.load(x + sample * x_b + token * D + columns, mask, other=0.0).to(tl.float32)
    if LEAVE:
        by = tl.load(gate + sample * gate_b + columns, mask, other=0.0).to(tl.float32)
        value += by * tl.load(update + sample * update_b + token * D + columns, mask, other=0.0).to(tl.float32)
        stored = value.to(dtype)
        tl.store(left + row * D + columns, stored, mask)
        if EXACT:
            value = stored.to(tl.float32)
    centred = tl.where(mask, value - tl.sum(value, 0) / D, 0.0)
    normed = centred * tl.rsqrt(tl.sum(centred * centred, 0) / D + 1e-6)
    to = tl.load(shift + sample * shift_b + columns, mask, other=0.0).to(tl.float32)
    times = tl.load(scale + sample * scale_b + columns, mask, other=0.0).to(tl.float32)
    made = modulated(normed, to, times, dtype, EXACT)
    if EIGHT:
        if EXACT:
            made = made.to(dtype).to(tl.float32)
        values, magnitude = eight(made, EXACT)
        tl.store(entered + row * D + columns, values, mask)
        tl.store(row_scale + row, magnitude)
    else:
        tl.store(entered + row * D + columns, made.to(dtype), mask)


def enter(x: Tensor, shift: Tensor, scale: Tensor, *, exact: bool, rows: bool = False) -> Tensor | Rows:
    """(1 + scale) LayerNorm(x) + shift of x (b, s, d); shift, scale (1, 1, d) or (b, 1, d)."""
    return _launch(x, None, None, shift, scale, exact=exact, rows=rows)[1]


def leave_enter(
    x: Tensor, update: Tensor, gate: Tensor, shift: Tensor, scale: Tensor, *, exact: bool, rows: bool = False
) -> tuple[Tensor, Tensor | Rows]:
    """x + gate update, all (b, s, d), and `enter` of it. gate: (1, 1, d) or (b, 1, d)."""
    same_shape("update", update, x.shape)
    left, entered = _launch(x, update, gate, shift, scale, exact=exact, rows=rows)
    assert left is not None
    return left, entered


def _launch(
    x: Tensor, update: Tensor | None, gate: Tensor | None, shift: Tensor, scale: Tensor, *, exact: bool, rows: bool
) -> tuple[Tensor | None, Tensor | Rows]:
    b, s, d = x.shape
    size = block("x", d)
    left = None if update is None else torch.empty_like(x, memory_format=torch.contiguous_format)
    entered = empty_rows(x) if rows else torch.empty_like(x, memory_format=torch.contiguous_format)
    values, row_scale = entered if isinstance(entered, Rows) else (entered, None)
    strides = (
        apart("x", x),
        0 if update is None else apart("update", update),
        0 if gate is None else shared("gate", gate, b, d),
        shared("shift", shift, b, d),
        shared("scale", scale, b, d),
    )
    if x.numel():
        with on(x):
            _kernel[(s, b)](
                x, update, gate, shift, scale, left, values, row_scale, *strides,
                D=d, BLOCK=size, LEAVE=update is not None, EIGHT=rows, EXACT=exact, num_warps=warps(size),
            )  # fmt: skip
    return left, entered
