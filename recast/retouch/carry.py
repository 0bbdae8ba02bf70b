"""Tokens handed from one turn of a thread to the next, so that what lies still goes through the autoencoder once.

A turn begins with the tokens of its source and ends with those of its edit. Where the merged picture kept the source's
pixels, the former still describe it; where it shows the edit as decoded, the latter do; the rest, borders above all,
is encoded afresh.
"""

from __future__ import annotations

import numpy as np
import torch

from recast.context.keeping import Carried
from recast.pixels.geometry import Fit, tokens_touched
from recast.retouch.editor import Edited
from recast.retouch.thresholds import THRESHOLDS, Editing


def carry(edited: Edited, index: int = 0, *, thresholds: Editing = THRESHOLDS.editing) -> Carried | None:
    """What the next edit of picture `index` may take over, with the map of where it holds.

    None where there is nothing to hand on: an edit that was not merged, of a crop, or by a generator without tokens.
    """
    if not edited.edits or edited.source_tokens is None or not edited.tokens:
        return None
    recipe, made = edited.recipes[index], edited.edits[index]
    if recipe.preserving.crop is not None:
        return None
    fit = Fit.from_dict(recipe.images[0].fit)
    is_kept = ~tokens_touched(fit, made.support)
    is_new = _looks_like(fit, edited.pictures[index].rgb, edited.raws[index].rgb, thresholds.carry_levels) & ~is_kept
    source, new = edited.source_tokens.float(), edited.tokens[index].float()
    tokens = torch.where(torch.from_numpy(is_new.ravel()).to(new.device)[:, None], new, source.to(new.device))
    return Carried(tokens, is_kept | is_new)


def _looks_like(fit: Fit, picture: np.ndarray, raw: np.ndarray, levels: float) -> np.ndarray:
    """The tokens (rows, columns) bool in which two pictures (H, W, 3) uint8 are this close, root mean square."""
    apart = np.square(picture.astype(np.float32) - raw).mean(2)
    rows = (np.arange(fit.source_height) + 0.5) * fit.scale_y // fit.multiple
    columns = (np.arange(fit.source_width) + 0.5) * fit.scale_x // fit.multiple
    places = (rows[:, None] * fit.grid[1] + columns).astype(int).ravel()
    counts = np.bincount(places, minlength=fit.tokens)
    sums = np.bincount(places, apart.ravel(), minlength=fit.tokens)
    close = (counts > 0) & (sums <= levels**2 * np.maximum(counts, 1))
    return np.asarray(close.reshape(fit.grid))
