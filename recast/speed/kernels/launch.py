"""What every wrapper asks before it starts a kernel: where rows lie, how large a block is, and on which device.

A launch has one fixed shape, chosen from the width of a row: nothing is tried out, so a cold cache is ready in
seconds. Rows are read whole, 16 bytes to a thread at a time; a block is the next power of two, its rest masked.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
from torch import Tensor

from recast.errors import ConfigError, ShapeError

WIDEST = 32768  # numbers of one row that a program's registers hold


def block(name: str, width: int) -> int:
    """The power of two that holds a row of `width` numbers. Raises ShapeError for a row that no program can hold."""
    if width > WIDEST:
        raise ShapeError(f"{name}: rows of {width} numbers; at most {WIDEST} accepted; use recast.speed.ops.Plain")
    size: int = triton.next_power_of_2(width)
    return size


def warps(size: int) -> int:
    """Warps for a block of `size` numbers: 32 of them to a thread, four vector loads in flight."""
    return min(max(size // 1024, 1), 16)


def apart(name: str, x: Tensor) -> int:
    """How far apart the samples of x (b, s, ...) lie, in elements; within one, its rows lie one after another.

    Raises ShapeError where they do not: a kernel would read other numbers and say nothing.
    """
    if x.numel() and not x[0].is_contiguous():
        raise ShapeError(
            f"{name}: rows that lie one after another needed in each sample; got shape {tuple(x.shape)} with strides "
            f"{x.stride()}; call .contiguous() first"
        )
    return x.stride(0)


def shared(name: str, x: Tensor, b: int, d: int) -> int:
    """How far apart the samples of a modulation (1, 1, d) or (b, 1, d) lie; 0 for one that all share.

    Raises ShapeError for another shape, or numbers that do not lie one after another.
    """
    if x.shape not in ((1, 1, d), (b, 1, d)) or x.stride(-1) != 1:
        raise ShapeError(
            f"{name}: shape (1 or {b}, 1, {d}) with its last axis contiguous needed; got {tuple(x.shape)} with "
            f"strides {x.stride()}"
        )
    return 0 if x.shape[0] == 1 else x.stride(0)


def same_shape(name: str, x: Tensor, shape: torch.Size) -> None:
    """Raises ShapeError unless x has that shape: a kernel would read past its end."""
    if x.shape != shape:
        raise ShapeError(f"{name}: shape {tuple(shape)} needed; got {tuple(x.shape)}")


def on(x: Tensor) -> AbstractContextManager[object]:
    """The device of x, made the current one: Triton starts kernels there.

    Raises ConfigError for a tensor that no kernel can read: one off CUDA, unless Triton's interpreter is on.
    """
    if x.device.type == "cuda":
        return torch.cuda.device(x.device)
    if not triton.knobs.runtime.interpret:
        raise ConfigError(f"x: a tensor on {x.device}; our kernels run on CUDA; use recast.speed.ops.Plain there")
    return nullcontext()
