"""GroupNorm and SiLU of channels-last pictures, in two walks over them. For a group of channels of one picture:

    z = weight (x - mean) / sqrt(var + eps) + bias,    out = z sigmoid(z)

The first walk takes, of each run of pixels and each channel, their number, mean and sum of squared distances to it;
a run's sums are shifted by its first pixel, so that a large mean cancels nothing. A small launch joins these by
group, in a fixed order: the same picture gives the same bits, whatever else the device does. Then a picture is
x slope + offset by channel, which the second walk writes. Statistics are fp32; the result is rounded once.
Bands of one picture are joined the same way (`statistics` takes several), so that a cut picture stays one.
Plain: `plain`, which rounds between norm and SiLU too. Source: Wu & He 2018 (arXiv 1803.08494).

Letters: `g` groups, `i` runs of pixels.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from recast.errors import ConfigError, ShapeError
from recast.speed.kernels.launch import block, on, same_shape

TILE = 4096  # numbers in hand at a time: some pixels, all channels
RUNS = 1024  # at most; of a size that depends on the picture alone, not on the device
TILES = 4  # of a program of the second walk
AT_ONCE = 128  # runs joined at a time


def plain(x: Tensor, weight: Tensor, bias: Tensor, num_groups: int, eps: float) -> Tensor:
    """The same by the library, one after another."""
    return F.silu(F.group_norm(x, num_groups, weight, bias, eps))


@triton.jit(do_not_specialize=["pixels", "run"])
def _measure(x, parts, x_b, pixels, run, C: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr):
    index, sample = tl.program_id(0), tl.program_id(1)
    channels = tl.arange(0, BLOCK)
    inside = channels < C
    x += sample.to(tl.int64) * x_b
    first = index * run
    last = tl.minimum(first + run, pixels)
    shift = tl.load(x + first.to(tl.int64) * C + channels, inside, other=0.0).to(tl.float32)
    sums = tl.zeros((P, BLOCK), tl.float32)
    squares = tl.zeros((P, BLOCK), tl.float32)
    for start in range(first, last, P):
        at = start + tl.arange(0, P)
        mask = (at < last)[:, None] & inside[None, :]
        value = tl.load(x + at.to(tl.int64)[:, None] * C + channels[None, :], mask, other=0.0).to(tl.float32)
        value = tl.where(mask, value - shift[None, :], 0.0)
        sums += value
        squares += value * value
    count = (last - first).to(tl.float32)
    mean = tl.sum(sums, 0) / count
    to = parts + (sample.to(tl.int64) * tl.num_programs(0) + index) * (3 * C) + channels
    tl.store(to, tl.zeros((BLOCK,), tl.float32) + count, inside)
    tl.store(to + C, shift + mean, inside)
    tl.store(to + 2 * C, tl.maximum(tl.sum(squares, 0) - count * mean * mean, 0.0), inside)


@triton.jit(do_not_specialize=["runs"])
def _join(
    parts, weight, bias, affine, runs, eps,
    C: tl.constexpr, GROUP: tl.constexpr, AT_ONCE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    group, sample = tl.program_id(0), tl.program_id(1).to(tl.int64)
    within = tl.arange(0, BLOCK)
    channels = group * GROUP + within
    parts += sample * runs * (3 * C)
    counts = tl.zeros((AT_ONCE, BLOCK), tl.float32)
    sums = tl.zeros((AT_ONCE, BLOCK), tl.float32)
    for start in range(0, runs, AT_ONCE):
        index = start + tl.arange(0, AT_ONCE)
        at = parts + index[:, None] * (3 * C) + channels[None, :]
        mask = (index < runs)[:, None] & (within < GROUP)[None, :]
        count = tl.load(at, mask, other=0.0)
        counts += count
        sums += count * tl.load(at + C, mask, other=0.0)
    count_of_all = tl.sum(tl.sum(counts, 0), 0)
    mean_of_all = tl.sum(tl.sum(sums, 0), 0) / count_of_all
    squares = tl.zeros((AT_ONCE, BLOCK), tl.float32)
    for start in range(0, runs, AT_ONCE):
        index = start + tl.arange(0, AT_ONCE)
        at = parts + index[:, None] * (3 * C) + channels[None, :]
        mask = (index < runs)[:, None] & (within < GROUP)[None, :]
        further = tl.load(at + C, mask, other=0.0) - mean_of_all
        squares += tl.load(at + 2 * C, mask, other=0.0) + tl.load(at, mask, other=0.0) * further * further
    inverse = tl.rsqrt(tl.sum(tl.sum(squares, 0), 0) / count_of_all + eps)
    slope = tl.load(weight + channels, within < GROUP, other=0.0).to(tl.float32) * inverse
    offset = tl.load(bias + channels, within < GROUP, other=0.0).to(tl.float32) - mean_of_all * slope
    tl.store(affine + sample * (2 * C) + channels, slope, within < GROUP)
    tl.store(affine + sample * (2 * C) + C + channels, offset, within < GROUP)


@triton.jit(do_not_specialize=["pixels"])
def _apply(
    x, affine, out, x_b, out_b, pixels,
    C: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr, TILES: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(1).to(tl.int64)
    channels = tl.arange(0, BLOCK)
    inside = channels < C
    slope = tl.load(affine + sample * (2 * C) + channels, inside, other=0.0)[None, :]
    offset = tl.load(affine + sample * (2 * C) + C + channels, inside, other=0.0)[None, :]
    for tile in tl.static_range(TILES):
        at = (tl.program_id(0) * TILES + tile) * P + tl.arange(0, P)
        mask = (at < pixels)[:, None] & inside[None, :]
        where = at.to(tl.int64)[:, None] * C + channels[None, :]
        value = tl.load(x + sample * x_b + where, mask, other=0.0).to(tl.float32) * slope + offset
        if SILU:
            value = value / (1 + tl.exp(-value))
        tl.store(out + sample * out_b + where, value.to(out.dtype.element_ty), mask)


def group_norm_silu(x: Tensor, weight: Tensor, bias: Tensor, num_groups: int, eps: float) -> Tensor:
    """SiLU(GroupNorm(x)) of a channels-last picture x (b, c, h, w), channels-last too.

    weight, bias: (c,). Raises ShapeError for another layout or shape, ConfigError for groups that do not divide c.
    """
    return scale_shift(x, statistics([x], weight, bias, num_groups, eps), silu=True)


def statistics(bands: Sequence[Tensor], weight: Tensor, bias: Tensor, num_groups: int, eps: float) -> Tensor:
    """What GroupNorm does to each channel: slope and offset (b, 2, c) fp32, over bands (b, c, rows, w) of pictures.

    Raises as `group_norm_silu`.
    """
    b, c = bands[0].shape[:2]
    if c % num_groups:
        raise ConfigError(f"num_groups={num_groups}: a divisor of the {c} channels needed")
    same_shape("weight", weight.contiguous(), torch.Size([c]))
    same_shape("bias", bias.contiguous(), torch.Size([c]))
    every = [_parts(band) for band in bands]
    parts = every[0] if len(every) == 1 else torch.cat(every, dim=1)
    affine = torch.empty(b, 2, c, dtype=torch.float32, device=parts.device)
    group = c // num_groups
    with on(parts):
        _join[(num_groups, b)](
            parts, weight, bias, affine, parts.shape[1], eps,
            C=c, GROUP=group, AT_ONCE=AT_ONCE, BLOCK=triton.next_power_of_2(group), num_warps=4,
        )  # fmt: skip
    return affine


def scale_shift(x: Tensor, affine: Tensor, *, silu: bool) -> Tensor:
    """x slope + offset by channel, with or without SiLU, for a channels-last picture or band x (b, c, h, w).

    affine: slope and offset (b, 2, c) fp32, from `statistics`.
    """
    pixels, size = _layout(x)
    same_shape("affine", affine, torch.Size([x.shape[0], 2, x.shape[1]]))
    out = torch.empty_like(x, memory_format=torch.channels_last)
    many = max(1, TILE // size)
    grid = (triton.cdiv(pixels, many * TILES), x.shape[0])
    with on(x):
        _apply[grid](
            x, affine, out, x.stride(0), out.stride(0), pixels,
            C=x.shape[1], P=many, BLOCK=size, TILES=TILES, SILU=silu, num_warps=4,
        )  # fmt: skip
    return out


def _parts(x: Tensor) -> Tensor:
    """Number, mean and squared distances (b, i, 3, c) fp32 of the channels in each run of pixels."""
    pixels, size = _layout(x)
    b, c = x.shape[:2]
    many = max(1, TILE // size)
    run = many * triton.cdiv(triton.cdiv(pixels, many), RUNS)
    parts = torch.empty(b, triton.cdiv(pixels, run), 3, c, dtype=torch.float32, device=x.device)
    with on(x):
        _measure[(parts.shape[1], b)](x, parts, x.stride(0), pixels, run, C=c, P=many, BLOCK=size, num_warps=4)
    return parts


def _layout(x: Tensor) -> tuple[int, int]:
    """Pixels of a picture, and the block that holds its channels. Raises ShapeError unless x is channels-last."""
    _, c, h, w = x.shape
    by_pixel = x.movedim(1, -1)
    if not x.numel() or not by_pixel[0].is_contiguous():
        raise ShapeError(
            f"x: a picture in channels-last layout needed; got shape {tuple(x.shape)} with strides {x.stride()}; "
            "call .to(memory_format=torch.channels_last) first"
        )
    return h * w, block("x", c)
