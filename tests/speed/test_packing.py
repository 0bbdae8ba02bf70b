"""Tensors put into one run of bytes come out as they were, and what they share they share there too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from recast.errors import ShapeError
from recast.speed.packing import ALIGNED_BYTES, fill, layout_of, views


def through(tensors: list[Tensor]) -> tuple[list[Tensor], int]:
    layout = layout_of(tensors)
    run = torch.full((layout.size,), 255, dtype=torch.uint8)
    fill(run, tensors, layout)
    return views(run, layout), layout.size


def test_any_mix_of_dtypes_shapes_and_strides_comes_out_as_it_was() -> None:
    numbers = torch.randn(7, 5)
    tensors = [
        numbers,
        numbers.bfloat16(),
        numbers.to(torch.float8_e4m3fn),
        torch.arange(3, dtype=torch.int32),
        torch.randn(4, 6).t(),  # as an eight-bit product wants its weights
        torch.tensor(1.5),
        torch.empty(0, 3),
    ]
    found, _ = through(tensors)
    for one, other in zip(tensors, found, strict=True):
        assert other.dtype == one.dtype
        assert other.stride() == one.stride()
        assert_close(other.float(), one.float(), atol=0, rtol=0)


def test_every_tensor_begins_aligned() -> None:
    layout = layout_of([torch.randn(size) for size in (1, 3, 65, 2)])
    assert [view.offset % ALIGNED_BYTES for view in layout.views] == [0, 0, 0, 0]


def test_what_shares_memory_is_kept_once_and_shares_it_again() -> None:
    """A single block's outputs: two layers that are columns of one matrix, beside the matrix."""
    whole = torch.randn(6, 10)
    (left, right, again), size = through([whole[:, :4], whole[:, 4:], whole])
    assert size == ALIGNED_BYTES
    assert_close(again, whole, atol=0, rtol=0)
    again[2, 3], again[2, 4] = 7, 8
    assert (left[2, 3], right[2, 0]) == (7, 8)


def test_tensors_of_one_file_take_no_more_than_their_own_bytes() -> None:
    """Mapped weights are views of one storage, the whole file."""
    file = torch.randn(100_000)
    tensors = [file[90_000:90_064], file[:64]]
    found, size = through(tensors)
    assert size == 2 * ALIGNED_BYTES
    for one, other in zip(tensors, found, strict=True):
        assert_close(other, one, atol=0, rtol=0)


def test_an_overlap_off_the_grid_of_its_numbers_is_refused() -> None:
    raw = torch.zeros(32, dtype=torch.uint8)
    with pytest.raises(ShapeError, match=r"tensors\[1\]: torch.float32 .* overlaps"):
        layout_of([raw[1:30], raw[4:12].view(torch.float32)])
