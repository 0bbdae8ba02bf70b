"""Context images to tokens, each at its own virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recast.latents.autoencoder import Autoencoder
from recast.latents.tokens import pack, positions


class ContextTokens(NamedTuple):
    """All context images of a request, one after another."""

    tokens: Tensor  # (1, r, d)
    positions: Tensor  # (1, r, 3): image index from 1, row, column
    grids: tuple[tuple[int, int], ...]  # rows and columns of each image


def encode_images(
    images: Sequence[Tensor], autoencoder: Autoencoder, *, first_index: int = 1, band: int | None = None
) -> ContextTokens | None:
    """The tokens of context images, in order; None where there are none.

    images: pixels (1, 3, H, W) in [-1, 1], of any sizes that are multiples of a token's.
    first_index: the virtual time of the first image; the target is 0, so two images never share a position.
    band: rows held at once while encoding, for large pictures (`Autoencoder.encode`).
    Source: arXiv 2506.15742, section 3 (token sequence construction).
    """
    if not images:
        return None
    tokens, places, grids = [], [], []
    for index, pixels in enumerate(images, start=first_index):
        latents = autoencoder.encode(pixels, band=band)
        grid = latents.shape[-2] // 2, latents.shape[-1] // 2
        tokens.append(pack(latents))
        places.append(positions(grid, index=index).to(latents.device))
        grids.append(grid)
    return ContextTokens(torch.cat(tokens, dim=1), torch.cat(places, dim=1), tuple(grids))
