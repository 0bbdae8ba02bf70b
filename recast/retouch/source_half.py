"""A source as its merges see it: what depends on the source alone is found once for all edits of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recast.retouch.difference import Looked
from recast.retouch.original import Original
from recast.retouch.side import Side
from recast.retouch.thresholds import THRESHOLDS, Thresholds
from recast.retouch.warp import resized
from recast.run import Step


@dataclass(frozen=True, eq=False)
class OnGrid:
    """A source on the grid that it is compared with its edit on: picture (gh, gw, 3) uint8."""

    picture: np.ndarray
    thresholds: Thresholds

    @cached_property
    def side(self) -> Side:
        """What registers an edit."""
        return Side(self.picture, self.thresholds.registering)

    @cached_property
    def looked(self) -> Looked:
        """What tells how far an edit differs."""
        return Looked.at(self.picture, self.thresholds.differing)


@dataclass(frozen=True, eq=False)
class SourceHalf:
    """A source, and its half of the work of a merge, done when it is first needed: `merge` takes one for a source.

    The merges of several edits, on several threads too, may share one; each gives the bytes that it gives alone.
    """

    original: Original
    thresholds: Thresholds = THRESHOLDS
    _grids: dict[tuple[int, int], OnGrid] = field(default_factory=dict, repr=False)
    _decoded: list[tuple[tuple[Any, ...], Tensor, np.ndarray]] = field(default_factory=list, repr=False)

    def on(self, grid: tuple[int, int]) -> OnGrid:
        """The source on a grid of (width, height)."""
        found = self._grids.get(grid)
        if found is None:  # of two threads that come first, one is heard
            found = self._grids.setdefault(grid, OnGrid(resized(self.original.srgb8(), grid), self.thresholds))
        return found

    def decoded(self, step: Step, tokens: Tensor, by: tuple[Any, ...]) -> np.ndarray:
        """What an autoencoder makes of the source's own tokens (1, n, d): pixels (h, w, 3) uint8.

        step: of an edit of this source. by: the generator, and what tells how it reads the tokens: the crop that they
        show, their grid. The last answer is kept, for the next edit of the source.
        """
        if self._decoded:
            one, known, rgb = self._decoded[-1]
            if one[0] is by[0] and one[1:] == by[1:] and known.shape == tokens.shape and torch.equal(known, tokens):
                return rgb
        found = step.decode(tokens)[0].rgb
        self._decoded[:] = [(by, tokens, found)]
        return found
