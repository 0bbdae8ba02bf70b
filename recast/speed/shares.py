"""A process's share of the blocks: some heads and some of the MLP's width of every stream.

What makes heads and hidden numbers is cut by its outputs, what reads them by its inputs; the outputs of the latter
are parts of a sum over the processes. A bias belongs to the first process's part, so the sum has it once. In a
single block attention and MLP add up before the sum is taken: one exchange a block; in a double block, two a stream.
Norms and their scales work head by head and stay as they are.
Source: Shoeybi et al. 2019 (arXiv 1909.08053), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.speed.blocks import Block, Double, Single, Stream
from recast.speed.engine import Blocks, Resident
from recast.speed.linear import Linear, Plain, Rows
from recast.speed.processes import Process


def shares(blocks: Sequence[Block], rank: int, size: int) -> list[Block]:
    """The share of process `rank` of `size`, on the device of the blocks and in storage of its own.

    What comes back is not an engine's yet: its layers give parts of sums. It may be put into eight bits, or be
    streamed, and then `several.shared` takes it. Raises ConfigError for layers that are not plain weights, and
    where the widths do not divide.
    """
    return [_of_block(block, rank, size) for block in blocks]


def summing(blocks: Blocks, here: Process) -> Blocks:
    """Blocks of shares as blocks of an engine: what reads heads or hidden numbers sums over the processes."""
    if isinstance(blocks, Resident):
        return Resident([_summed(block, here) for block in blocks.blocks])
    return Summing(blocks, here)


@dataclass(frozen=True)
class Summing:
    """Shares that live elsewhere, on a host for one, made to sum as they come."""

    blocks: Blocks
    here: Process

    def __len__(self) -> int:
        return len(self.blocks)

    def walk(self, first: int, last: int) -> Iterator[Block]:
        return (_summed(block, self.here) for block in self.blocks.walk(first, last))


@dataclass(frozen=True)
class Summed:
    """A layer whose inputs are shared out: every process gives its part, and all have the sum."""

    part: Linear
    here: Process

    @property
    def eats_rows(self) -> bool:
        return self.part.eats_rows

    def __call__(self, x: Tensor | Rows, out: Tensor | None = None) -> Tensor:
        whole = self.here.summed(self.part(x))
        return whole if out is None else out.copy_(whole)

    def add_to(self, total: Tensor, x: Tensor | Rows) -> Tensor:
        """total: itself a part of a sum."""
        return self.here.summed(self.part.add_to(total, x))

    def outputs(self, first: int, last: int) -> Summed:
        return Summed(self.part.outputs(first, last), self.here)


def _summed(block: Block, here: Process) -> Block:
    if isinstance(block, Double):
        text, image = (
            replace(stream, proj=Summed(stream.proj, here), mlp_out=Summed(stream.mlp_out, here))
            for stream in (block.text, block.image)
        )
        return Double(text, image)
    stream = replace(block.stream, mlp_out=Summed(block.stream.mlp_out, here))  # `proj` is a part of what it adds to
    return Single(stream, None if block.joined is None else Summed(block.joined, here))


def _of_block(block: Block, rank: int, size: int) -> Block:
    if isinstance(block, Double):
        return Double(_of_stream(block.text, rank, size), _of_stream(block.image, rank, size))
    joined = None
    if block.joined is not None:
        width = _plain(block.joined).weight.shape[0]
        hidden = _plain(block.joined).weight.shape[1] - width
        joined = _by_inputs(block.joined, [width, hidden], rank, size)
    return Single(_of_stream(block.stream, rank, size), joined)


def _of_stream(stream: Stream, rank: int, size: int) -> Stream:
    return replace(
        stream,
        qkv=_by_outputs(stream.qkv, 3, rank, size),
        proj=_by_inputs(stream.proj, [_plain(stream.proj).weight.shape[1]], rank, size),
        mlp_in=_by_outputs(stream.mlp_in, 1, rank, size),
        mlp_out=_by_inputs(stream.mlp_out, [_plain(stream.mlp_out).weight.shape[1]], rank, size),
    )


def _by_outputs(layer: Linear, parts: int, rank: int, size: int) -> Plain:
    """A share of each of the `parts`, equal and one after another, that the outputs are."""
    whole = _plain(layer)
    runs = _runs([whole.weight.shape[0] // parts] * parts, rank, size)
    bias = None if whole.bias is None else torch.cat([whole.bias[run] for run in runs])
    return Plain(torch.cat([whole.weight[run] for run in runs]), bias)


def _by_inputs(layer: Linear, parts: Sequence[int], rank: int, size: int) -> Plain:
    """A share of each of the parts that the inputs are; the first process's has the bias."""
    whole = _plain(layer)
    runs = _runs(parts, rank, size)
    bias = whole.bias.clone() if whole.bias is not None and rank == 0 else None
    return Plain(torch.cat([whole.weight[:, run] for run in runs], dim=1), bias)


def _runs(parts: Sequence[int], rank: int, size: int) -> list[slice]:
    """Where the share of a process lies, in each of the parts of a row of things."""
    runs, start = [], 0
    for part in parts:
        if part % size:
            raise ConfigError(f"tensor={size}: must divide the width {part} of every layer; choose a divisor")
        share = part // size
        runs.append(slice(start + rank * share, start + (rank + 1) * share))
        start += part
    return runs


def _plain(layer: Linear) -> Plain:
    if not isinstance(layer, Plain):
        raise ConfigError(
            f"tensor: plain weights can be shared out, not {type(layer).__name__}; cut the blocks first "
            "(`recast.speed.shares.shares`), then put the shares into another format"
        )
    return layer
