"""The way from the last block to velocities in one launch:

    x' = x + gate update,    out = ((1 + scale) LayerNorm(x') + shift) W^T + bias

Some rows to a program, in two walks along them: the first takes mean and variance, chunk by chunk (Chan et al.
1983, "Algorithms for computing the sample variance", eq. 2.1), the second norms, modulates and multiplies.
x' is written nowhere, and neither is the row. Plain: `recast.speed.ops.Plain.head`.
Rounding as in `modulated_norm`; the row is rounded to the dtype of the weights, which multiply it.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from recast.errors import ShapeError
from recast.speed.kernels.launch import apart, on, same_shape, shared
from recast.speed.kernels.modulated_norm import modulated

ROWS, CHUNK_BYTES, OUTPUTS = 16, 256, 64  # of one program: tokens, of a row at a time, outputs at most


@triton.jit
def _arrived(
    x, update, gate, tokens, columns, mask,
    D: tl.constexpr, LEAVE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """x' (ROWS, CHUNK) fp32, zero outside."""
    at = tokens[:, None] * D + columns[None, :]
    value = tl.load(x + at, mask, other=0.0).to(tl.float32)
    if LEAVE:
        by = tl.load(gate + columns, columns < D, other=0.0).to(tl.float32)
        value += by[None, :] * tl.load(update + at, mask, other=0.0).to(tl.float32)
        if EXACT:
            value = value.to(x.dtype.element_ty).to(tl.float32)
    return value


@triton.jit(do_not_specialize=["s"])
def _kernel(
    x, update, gate, shift, scale, weight, bias, out, s,
    x_b, update_b, gate_b, shift_b, scale_b,
    D: tl.constexpr, OUT: tl.constexpr, ROWS: tl.constexpr, CHUNK: tl.constexpr, OUTPUTS: tl.constexpr,
    LEAVE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(1).to(tl.int64)
    tokens = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    outputs = tl.program_id(2) * OUTPUTS + tl.arange(0, OUTPUTS)
    dtype: tl.constexpr = x.dtype.element_ty
    x += sample * x_b
    if LEAVE:
        update += sample * update_b
        gate += sample * gate_b

    mean = tl.zeros((ROWS,), tl.float32)
    squares = tl.zeros((ROWS,), tl.float32)  # of distances to the mean
    for first in tl.range(0, D, CHUNK, num_stages=3):
        columns = first + tl.arange(0, CHUNK)
        mask = (tokens < s)[:, None] & (columns < D)[None, :]
        value = _arrived(x, update, gate, tokens, columns, mask, D, LEAVE, EXACT)
        count = tl.minimum(CHUNK, D - first).to(tl.float32)
        share = count / (first + count)
        of_chunk = tl.sum(value, 1) / count
        centred = tl.where(mask, value - of_chunk[:, None], 0.0)
        further = of_chunk - mean
        squares += tl.sum(centred * centred, 1) + further * further * (first * share)
        mean += further * share
    inverse = tl.rsqrt(squares / D + 1e-6)

    total = tl.zeros((ROWS, OUTPUTS), tl.float32)
    for first in range(0, D, CHUNK):
        columns = first + tl.arange(0, CHUNK)
        mask = (tokens < s)[:, None] & (columns < D)[None, :]
        value = _arrived(x, update, gate, tokens, columns, mask, D, LEAVE, EXACT)
        normed = (value - mean[:, None]) * inverse[:, None]
        to = tl.load(shift + sample * shift_b + columns, columns < D, other=0.0).to(tl.float32)
        times = tl.load(scale + sample * scale_b + columns, columns < D, other=0.0).to(tl.float32)
        row = modulated(normed, to[None, :], times[None, :], dtype, EXACT).to(dtype)
        across = weight + outputs[None, :] * D + columns[:, None]
        matrix = tl.load(across, (outputs < OUT)[None, :] & (columns < D)[:, None], other=0.0)
        total = tl.dot(row, matrix, total, input_precision="ieee")
    total += tl.load(bias + outputs, outputs < OUT, other=0.0).to(tl.float32)[None, :]
    inside = (tokens < s)[:, None] & (outputs < OUT)[None, :]
    tl.store(out + (sample * s + tokens)[:, None] * OUT + outputs[None, :], total.to(dtype), inside)


def head(
    x: Tensor,
    update: Tensor | None,
    gate: Tensor | None,
    shift: Tensor,
    scale: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    exact: bool,
) -> Tensor:
    """Velocities (b, s, o) of tokens x (b, s, d), with what waits to be added to them.

    update (b, s, d) and gate (1, 1, d) or (b, 1, d), or None for both. shift, scale: as gate. weight (o, d) and bias
    (o,) in the dtype of x. Raises ShapeError where a shape, a layout or a dtype does not fit.
    """
    (b, s, d), o = x.shape, weight.shape[0]
    if weight.shape != (o, d) or bias.shape != (o,) or not weight.is_contiguous() or weight.dtype != x.dtype:
        raise ShapeError(
            f"weight, bias: contiguous (o, {d}) and (o,) in {x.dtype} needed; got {tuple(weight.shape)} "
            f"with strides {weight.stride()} in {weight.dtype}, and {tuple(bias.shape)}"
        )
    if update is not None:
        same_shape("update", update, x.shape)
    strides = (
        apart("x", x),
        0 if update is None else apart("update", update),
        0 if gate is None else shared("gate", gate, b, d),
        shared("shift", shift, b, d),
        shared("scale", scale, b, d),
    )
    out = torch.empty(b, s, o, dtype=x.dtype, device=x.device)
    if x.numel():
        chunk = min(CHUNK_BYTES // x.element_size(), max(16, triton.next_power_of_2(d)))
        outputs = min(OUTPUTS, max(16, triton.next_power_of_2(o)))
        with on(x):
            _kernel[(triton.cdiv(s, ROWS), b, triton.cdiv(o, outputs))](
                x, update, gate, shift, scale, weight, bias, out, s, *strides,
                D=d, OUT=o, ROWS=ROWS, CHUNK=chunk, OUTPUTS=outputs,
                LEAVE=update is not None, EXACT=exact, num_warps=4,
            )  # fmt: skip
    return out
