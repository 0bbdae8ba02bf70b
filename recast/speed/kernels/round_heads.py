"""q, k and v for attention in eight bits: two passes over each, instead of the dozen of `attention8.rounded`.

The first finds the longest row, the largest number, and the sums over tokens, block by block; the second takes the
mean off, turns, divides and rounds. A turn is a product with signs, in TF32: rounded to 11 bits before 4 are kept.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from recast.errors import ShapeError
from recast.speed.attention8 import LARGEST_VALUE, Factors, hadamard
from recast.speed.kernels.launch import on
from recast.speed.ops import LARGEST

TOKENS = 64  # rows of one head that a program holds


@triton.jit
def _load(
    x: tl.tensor,
    x_b: tl.tensor,
    x_s: tl.tensor,
    x_k: tl.tensor,
    size: tl.tensor,
    E: tl.constexpr,
    BLOCK: tl.constexpr,
    TOKENS: tl.constexpr,
) -> tl.tensor:
    """The rows of this program, (TOKENS, BLOCK) fp32, zero past their ends."""
    tokens = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    columns = tl.arange(0, BLOCK)
    first = x + tl.program_id(2).to(tl.int64) * x_b + tl.program_id(1) * x_k
    mask = (tokens[:, None] < size) & (columns[None, :] < E)
    return tl.load(first + tokens[:, None] * x_s + columns[None, :], mask, other=0.0).to(tl.float32)


@triton.jit
def _survey(
    x: tl.tensor,
    sums: tl.tensor,
    squares: tl.tensor,
    largest: tl.tensor,
    x_b: tl.tensor,
    x_s: tl.tensor,
    x_k: tl.tensor,
    size: tl.tensor,
    E: tl.constexpr,
    BLOCK: tl.constexpr,
    TOKENS: tl.constexpr,
) -> None:
    value = _load(x, x_b, x_s, x_k, size, E, BLOCK, TOKENS)
    columns = tl.arange(0, BLOCK)
    head = tl.program_id(2).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    place = head * tl.num_programs(0) + tl.program_id(0)
    tl.store(sums + place * E + columns, tl.sum(value, 0), columns < E)
    tl.store(squares + place, tl.max(tl.sum(value * value, 1), 0))
    tl.store(largest + place, tl.max(tl.max(tl.abs(value), 1), 0))


@triton.jit
def _round(
    x: tl.tensor,
    mean: tl.tensor,
    signs: tl.tensor,
    scale: tl.tensor,
    made: tl.tensor,
    x_b: tl.tensor,
    x_s: tl.tensor,
    x_k: tl.tensor,
    size: tl.tensor,
    shrink: tl.tensor,
    SMOOTH: tl.constexpr,
    ROTATE: tl.constexpr,
    E: tl.constexpr,
    BLOCK: tl.constexpr,
    TOKENS: tl.constexpr,
) -> None:
    value = _load(x, x_b, x_s, x_k, size, E, BLOCK, TOKENS)
    columns = tl.arange(0, BLOCK)
    sample, head, heads = tl.program_id(2).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    if SMOOTH:
        value = value - tl.load(mean + (sample * heads + head) * E + columns, columns < E, other=0.0)[None, :]
    if ROTATE:
        turn = tl.load(signs + columns[:, None] * E + columns[None, :])
        value = tl.dot(value, turn, input_precision="tf32") * shrink
    value = tl.div_rn(value, tl.zeros_like(value) + tl.load(scale))
    tokens = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    row = (sample * size + tokens) * heads + head
    mask = (tokens[:, None] < size) & (columns[None, :] < E)
    tl.store(made + row[:, None] * E + columns[None, :], value.to(tl.float8e4nv), mask)


def rounded(q: Tensor, k: Tensor, v: Tensor, *, smooth: bool, rotate: bool) -> Factors:
    """As `recast.speed.attention8.rounded`; each head's numbers lie one after another. Raises ShapeError if not."""
    signs = (hadamard(q.shape[-1], q.device) * math.sqrt(q.shape[-1])).round() if rotate else None
    of_q, of_k, of_v = (_surveyed(name, part) for name, part in (("q", q), ("k", k), ("v", v)))
    q_longest, k_longest, mean = of_q[1].sqrt(), of_k[1].sqrt(), None
    if smooth:
        mean = of_k[0]
        k_longest = k_longest + mean.norm(dim=-1).amax()
    bounds = (q_longest / LARGEST, k_longest / LARGEST, of_v[2] / LARGEST_VALUE)
    scales = [bound.clamp_min(1e-12).reshape(1) for bound in bounds]
    return Factors(
        _rounded(q, scales[0], None, signs),
        _rounded(k, scales[1], mean, signs),
        _rounded(v, scales[2], None, None),
        *scales,
    )


def _surveyed(name: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of x (b, s, k, e): the mean over tokens (b, k, e), the longest row squared, and the largest number, fp32."""
    if x.stride(-1) != 1:
        raise ShapeError(f"{name}: heads whose numbers lie one after another needed; got strides {x.stride()}")
    b, s, heads, width = x.shape
    blocks = triton.cdiv(s, TOKENS)
    sums = torch.empty(b, heads, blocks, width, dtype=torch.float32, device=x.device)
    squares, largest = torch.empty(2, b * heads * blocks, dtype=torch.float32, device=x.device)
    size = triton.next_power_of_2(width)
    with on(x):
        _survey[(blocks, heads, b)](
            x, sums, squares, largest, *x.stride()[:3], s, E=width, BLOCK=size, TOKENS=TOKENS, num_warps=4
        )
    return sums.sum(dim=2) / s, squares.amax(), largest.amax()


def _rounded(x: Tensor, scale: Tensor, mean: Tensor | None, signs: Tensor | None) -> Tensor:
    """x (b, s, k, e) less its mean (b, k, e), turned, over its scale (1,): float8_e4m3fn, all in a row."""
    b, s, heads, width = x.shape
    made = torch.empty(x.shape, dtype=torch.float8_e4m3fn, device=x.device)
    size = triton.next_power_of_2(width)
    with on(x):
        _round[(triton.cdiv(s, TOKENS), heads, b)](
            x,
            x if mean is None else mean,
            x if signs is None else signs,
            scale,
            made,
            *x.stride()[:3],
            s,
            1 / math.sqrt(width),
            SMOOTH=mean is not None,
            ROTATE=signs is not None,
            E=width,
            BLOCK=size,
            TOKENS=TOKENS,
            num_warps=4,
        )
    return made
