"""The heads of a discriminator without numbers in them: what they compute and keep, for a plan."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch

from recast.config import ModelConfig
from recast.latents.autoencoder import Autoencoder
from recast.train.distill.add_settings import AddSettings
from recast.train.distill.adversarial_settings import AdversarialSettings
from recast.train.distill.heads import Head, Heads
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.pixel_features import AutoencoderFeatures
from recast.train.distill.pixel_heads import PixelHeads


@cache
def judges_of(settings: AdversarialSettings, model: ModelConfig) -> Judges:
    """The heads of these settings on a teacher, or on its autoencoder's features, on the meta device."""
    with torch.device("meta"):
        if isinstance(settings, LaddSettings):
            return Judges(Heads(model.flow, settings.heads), None)
        assert isinstance(settings, AddSettings)
        features = AutoencoderFeatures(Autoencoder(model.autoencoder))
        return Judges(PixelHeads(features, model.flow, settings.heads), features)


class Judges(NamedTuple):
    """The heads of a discriminator, without numbers in them."""

    heads: Heads | PixelHeads
    features: AutoencoderFeatures | None  # of a discriminator in pixels

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.heads.parameters())

    def flops(self, size: tuple[int, int], side: int) -> int:
        """Of one forward pass on one picture of (width, height); side: pixels along one side of a token."""
        if isinstance(self.heads, Heads):
            return self.heads.flops((size[1] // side, size[0] // side))
        return self.heads.flops(self._grids(size))

    def kept_bytes(self, size: tuple[int, int], side: int) -> float:
        """What the heads keep of one picture for their backward pass: six maps of each head, in fp32."""
        grids = [(size[1] // side, size[0] // side)] * len(self.heads.taps)
        grids = grids if self.features is None else self._grids(size)
        heads = [head for head in self.heads.heads if isinstance(head, Head)]
        pairs = zip(grids, heads, strict=True)
        return sum(4.0 * 6 * rows * columns * head.enter.out_features for (rows, columns), head in pairs)

    def _grids(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        assert self.features is not None
        return [self.features.grid(tap, size[1], size[0]) for tap in self.heads.taps]
