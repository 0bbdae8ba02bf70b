"""Several tensors in one run of bytes, and back: what makes a block of weights one copy.

Any mix of dtypes, shapes and strides. Tensors that share memory share it in the run too: the columns of a matrix that
are a layer of their own, beside the whole matrix, cost nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recast.errors import ShapeError

ALIGNED_BYTES = 256  # of every piece's first byte: more than any kernel of a matrix product asks for


@dataclass(frozen=True)
class Piece:
    """Bytes that lie together where they come from: those of one tensor, or of several that overlap."""

    tensor: int  # the index of a tensor in that storage
    source: int  # first byte in its storage
    size: int
    offset: int  # first byte in the run


@dataclass(frozen=True)
class View:
    """One tensor in the run."""

    offset: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Where tensors lie in a run of `size` bytes."""

    size: int
    pieces: tuple[Piece, ...]
    views: tuple[View, ...]


def layout_of(tensors: Sequence[Tensor]) -> Layout:
    """How `tensors` lie in one run of bytes.

    Raises ShapeError for two that overlap such that one would not begin at a whole number of its own.
    """
    spans = sorted((t.untyped_storage()._cdata, *_span(t), index) for index, t in enumerate(tensors))
    pieces: list[Piece] = []
    offsets, size, owner, end = [0] * len(tensors), 0, None, 0
    for storage, first, last, index in spans:
        if storage == owner and first < end:  # overlaps the one before
            start = pieces[-1]
            end = max(end, last)
            pieces[-1] = Piece(start.tensor, start.source, end - start.source, start.offset)
        else:
            pieces.append(Piece(index, first, last - first, size))
            owner, end = storage, last
        piece = pieces[-1]
        offsets[index] = piece.offset + first - piece.source
        if offsets[index] % tensors[index].element_size():
            raise ShapeError(
                f"tensors[{index}]: {tensors[index].dtype} {tuple(tensors[index].shape)} overlaps another tensor "
                "off its own grid; tensors that share memory whole numbers apart accepted; clone it"
            )
        size = -(-(piece.offset + piece.size) // ALIGNED_BYTES) * ALIGNED_BYTES
    views = (
        View(offset, t.dtype, tuple(t.shape), tuple(t.stride())) for offset, t in zip(offsets, tensors, strict=True)
    )
    return Layout(size, tuple(pieces), tuple(views))


def fill(run: Tensor, tensors: Sequence[Tensor], layout: Layout) -> None:
    """Copy the bytes of `tensors` to their places in `run` (size,) uint8, which may be on another device."""
    for piece in layout.pieces:
        run[piece.offset : piece.offset + piece.size].copy_(_bytes(tensors[piece.tensor], piece.source, piece.size))


def views(run: Tensor, layout: Layout) -> list[Tensor]:
    """The tensors of a layout in `run`, at least (size,) uint8; in the order they were given."""
    found = []
    for view in layout.views:
        whole = run[: run.numel() // 16 * 16].view(view.dtype)
        found.append(
            whole.as_strided(view.shape, view.stride, whole.storage_offset() + view.offset // view.dtype.itemsize)
        )
    return found


def _span(tensor: Tensor) -> tuple[int, int]:
    """The first byte of a tensor in its storage, and the one after its last."""
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    first = int(tensor.storage_offset()) * tensor.element_size()
    return first, first + (int(reach) + 1) * tensor.element_size() if tensor.numel() else first


def _bytes(tensor: Tensor, first: int, size: int) -> Tensor:
    whole = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    return whole.set_(tensor.untyped_storage(), first, (size,), (1,))
