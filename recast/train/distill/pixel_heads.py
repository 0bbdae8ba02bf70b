"""The discriminator of an adversarial distillation in pixels: small heads on frozen features of pictures.

They are those of `heads` on maps of any width and grid, told the words and the picture that was to be edited, and no
noise level: what they look at is clean. Where there is no such picture, its place is zero.
Source: Sauer et al. 2023 (arXiv 2311.17042), section 3.2; with convolutions of two dimensions instead of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recast.config import FlowConfig
from recast.errors import ShapeError
from recast.flow.layers import layer_norm
from recast.train.distill.heads import Head, HeadSettings, initialise, text_width
from recast.train.distill.pixel_features import PixelFeatures


class PixelHeads(nn.Module):
    """A head for each of some parts of the features. Its parameters are made by `initialise`, and saved.

    taps: the parts, counted from 0, as `HeadSettings.of` gives them.
    """

    def __init__(self, features: PixelFeatures, config: FlowConfig, settings: HeadSettings) -> None:
        """config: of the transformer whose words heads are told."""
        super().__init__()
        self.taps = settings.of(features.depth)
        told = text_width(config) + features.pooled_width
        self.heads = nn.ModuleList(
            Head(features.width(tap), settings.width, settings.groups, told) for tap in self.taps
        )

    def initialise(self, seed: int) -> PixelHeads:
        """As `heads.initialise`; returns itself."""
        initialise(self, seed)
        return self

    def forward(self, given: Sequence[Tensor], text: Tensor, source: Tensor) -> list[Tensor]:
        """The logits (b, h, v) fp32 of every head, from its inputs (b, h, v, d) by `heads.inputs`.

        text (b, c), of `heads.text_vector`. source (b, c'): of the picture to be edited, of one scale; 0 for none.
        Raises ShapeError for inputs that are not one for each head.
        """
        if len(given) != len(self.heads):
            raise ShapeError(f"given: {len(self.heads)} inputs needed; got {[tuple(each.shape) for each in given]}")
        told = torch.cat([layer_norm(text.float()), source.float()], dim=-1)
        return [
            head(each.flatten(1, 2), (each.shape[1], each.shape[2]), told)
            for head, each in zip(self.heads, given, strict=True)
        ]

    def flops(self, grids: Sequence[tuple[int, int]]) -> int:
        """Of one forward pass of all heads on one sample, each on its grid."""
        heads = zip(self.heads, grids, strict=True)
        return sum(head.flops(grid) for head, grid in heads if isinstance(head, Head))
