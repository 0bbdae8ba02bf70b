"""Queries and keys normed by head, scaled, and turned by their position, in place. For a head's row x (e,):

    y = scale x / sqrt(mean x^2 + 1e-6),    y'_2p + i y'_2p+1 = (y_2p + i y_2p+1) e^(i angle_p)

Means and turns are in fp32. Plain: `recast.speed.ops.Plain.norm_rotate`. Rounding, to the dtype of qkv: exact rounds
x / rms, y and y', as the core does; fast rounds y' alone.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from recast.errors import ShapeError
from recast.speed.kernels.launch import apart, block, on, same_shape, warps


@triton.jit
def _kernel(
    qkv, query_scale, key_scale, rotary, qkv_b, rotary_b, rotary_s,
    K: tl.constexpr, E: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_E: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    token, sample, part = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64), tl.program_id(2)
    heads, columns = tl.arange(0, BLOCK_K)[:, None], tl.arange(0, BLOCK_E)
    pairs = tl.arange(0, BLOCK_E // 2)
    mask = (heads < K) & (columns < E)[None, :]
    dtype: tl.constexpr = qkv.dtype.element_ty
    at = qkv + sample * qkv_b + token * (3 * K * E) + part * (K * E) + heads * E + columns[None, :]
    x = tl.load(at, mask, other=0.0).to(tl.float32)
    if part == 0:
        scale = tl.load(query_scale + columns, columns < E, other=0.0).to(tl.float32)
    else:
        scale = tl.load(key_scale + columns, columns < E, other=0.0).to(tl.float32)
    y = x * tl.rsqrt(tl.sum(x * x, 1) / E + 1e-6)[:, None]
    if EXACT:
        y = y.to(dtype).to(tl.float32)
    y = y * scale[None, :]
    if EXACT:
        y = y.to(dtype).to(tl.float32)
    table = rotary + sample * rotary_b + token * rotary_s + 2 * pairs
    cosine = tl.load(table, 2 * pairs < E, other=0.0)[None, :]
    sine = tl.load(table + 1, 2 * pairs < E, other=0.0)[None, :]
    real, imaginary = tl.split(tl.reshape(y, (BLOCK_K, BLOCK_E // 2, 2)))
    turned = tl.join(real * cosine - imaginary * sine, real * sine + imaginary * cosine)
    tl.store(at, tl.reshape(turned, (BLOCK_K, BLOCK_E)).to(dtype), mask)


def norm_rotate(qkv: Tensor, query_scale: Tensor, key_scale: Tensor, rotary: Tensor, *, exact: bool) -> None:
    """q and k of qkv (b, s, 3, k, e) normed by head, scaled by (e,) and turned, in place; v stays.

    rotary: complex64 (1, 1, s, p) or (b, 1, s, p), p = e / 2. The samples of qkv may lie apart, its rows may not.
    Raises ShapeError where a shape or a layout does not fit.
    """
    b, s, three, k, e = qkv.shape
    if three != 3 or e % 2:
        raise ShapeError(f"qkv: shape (b, s, 3, k, e) with an even e needed; got {tuple(qkv.shape)}")
    if rotary.shape not in ((1, 1, s, e // 2), (b, 1, s, e // 2)) or rotary.dtype != torch.complex64:
        raise ShapeError(
            f"rotary: complex64 of shape (1 or {b}, 1, {s}, {e // 2}) needed; got {rotary.dtype} {tuple(rotary.shape)}"
        )
    if rotary.stride(-1) != 1:
        raise ShapeError(f"rotary: its last axis contiguous needed; got strides {rotary.stride()}")
    for name, scale in (("query_scale", query_scale), ("key_scale", key_scale)):
        same_shape(name, scale.contiguous(), torch.Size([e]))
    block_e = block("qkv", e)
    block_k = block("qkv", k * block_e) // block_e
    floats = torch.view_as_real(rotary)
    if qkv.numel():
        with on(qkv):
            _kernel[(s, b, 2)](
                qkv, query_scale, key_scale, floats,
                apart("qkv", qkv), 0 if rotary.shape[0] == 1 else floats.stride(0), floats.stride(2),
                K=k, E=e, BLOCK_K=block_k, BLOCK_E=block_e, EXACT=exact, num_warps=warps(block_k * block_e),
            )  # fmt: skip
