"""Context images as tokens, each at its own virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recast.latents.tokens import positions


class ContextTokens(NamedTuple):
    """All context images of a request, one after another."""

    tokens: Tensor  # (1, r, d)
    positions: Tensor  # (1, r, 3): image index from 1, row, column
    grids: tuple[tuple[int, int], ...]  # rows and columns of each image


def in_order(tokens: Sequence[Tensor], grids: Sequence[tuple[int, int]]) -> ContextTokens:
    """Context images one after another, each at a virtual time of its own, from 1: the target is at 0.

    tokens: (1, n, d) of each image, one or more. grids: its rows and columns.
    Source: arXiv 2506.15742, section 3 (token sequence construction).
    """
    for one, (rows, columns) in zip(tokens, grids, strict=True):
        assert one.shape[1] == rows * columns, "an image is encoded onto the grid of its fit"
    places = [positions(grid, index=index) for index, grid in enumerate(grids, start=1)]
    together = torch.cat(list(tokens), dim=1)
    return ContextTokens(together, torch.cat(places, dim=1).to(together.device), tuple(grids))
