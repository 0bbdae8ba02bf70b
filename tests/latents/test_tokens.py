"""Latents and tokens, and where tokens sit."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recast.errors import ShapeError
from recast.latents.tokens import pack, positions, unpack

sides = st.integers(1, 9)


@given(sides, sides, st.integers(1, 3), st.integers(1, 5))
def test_unpacking_undoes_packing(rows: int, columns: int, batch: int, channels: int):
    latents = torch.randn(batch, channels, 2 * rows, 2 * columns)
    assert torch.equal(unpack(pack(latents), (rows, columns)), latents)


def test_token_channels_are_ordered_channel_then_row_then_column():
    """Token i (w/2) + j holds z[c, 2i + p, 2j + q] at channel 4c + 2p + q."""
    latents = torch.arange(3 * 4 * 6).float().reshape(1, 3, 4, 6)
    tokens = pack(latents)
    for i, j, c, p, q in itertools.product(range(2), range(3), range(3), range(2), range(2)):
        assert tokens[0, i * 3 + j, 4 * c + 2 * p + q] == latents[0, c, 2 * i + p, 2 * j + q]


def test_positions_are_image_index_row_column():
    table = positions((2, 3), index=4)
    assert table.dtype == torch.float32
    assert table[0].tolist() == [[4, 0, 0], [4, 0, 1], [4, 0, 2], [4, 1, 0], [4, 1, 1], [4, 1, 2]]


@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=5))
def test_positions_of_a_request_never_collide(grids):
    """The target is image 0; context image k is image k: no two tokens of a request share a position."""
    places = torch.cat([positions(grid, index=k)[0] for k, grid in enumerate(grids)])
    assert len(torch.unique(places, dim=0)) == len(places)


def test_odd_latents_are_refused():
    with pytest.raises(ShapeError, match="even height and width"):
        pack(torch.zeros(1, 4, 3, 4))


def test_tokens_of_another_grid_are_refused():
    with pytest.raises(ShapeError, match="2 x 3 = 6 needed"):
        unpack(torch.zeros(1, 5, 16), (2, 3))
