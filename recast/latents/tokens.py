"""Latents to tokens and back, and where each token sits."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from recast.errors import ShapeError


def pack(latents: Tensor) -> Tensor:
    """Latents (b, c, 2h, 2w) to tokens (b, h w, 4c), row by row; in a token: channel, then row, then column."""
    if latents.shape[-2] % 2 or latents.shape[-1] % 2:
        raise ShapeError(f"latents: even height and width needed for 2 x 2 patches; got {tuple(latents.shape)}")
    return rearrange(latents, "b c (h p) (w q) -> b (h w) (c p q)", p=2, q=2)


def unpack(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens (b, h w, 4c) back to latents (b, c, 2h, 2w); grid: (h, w)."""
    rows, columns = grid
    if tokens.shape[1] != rows * columns:
        raise ShapeError(f"tokens: {rows} x {columns} = {rows * columns} needed; got {tuple(tokens.shape)}")
    return rearrange(tokens, "b (h w) (c p q) -> b c (h p) (w q)", h=rows, w=columns, p=2, q=2)


def positions(grid: tuple[int, int], *, index: int = 0) -> Tensor:
    """Where the tokens of one picture sit: (1, h w, 3), fp32, of (index, row, column).

    index: 0 for the target, k for the k-th context image, its virtual time (arXiv 2506.15742, section 3).
    Integers above 256 are not exact in bf16, so positions stay in fp32.
    """
    rows, columns = grid
    axes = torch.meshgrid(torch.tensor([index]), torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack(axes, dim=-1).reshape(1, rows * columns, 3).float()
