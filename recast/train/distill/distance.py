"""How far a student's tokens are from where they should be: all of them, or those that an edit leaves alone.

A mask says which tokens of an edit must change. In the others, M, the right answer is known whatever the noise: it is
y, the tokens of the picture that is changed. The end of the teacher's walk x* is not it, for that drifts outside the
mask too, and a student that is drawn to x* alone learns the drift with the rest. So the term outside the mask is, with
the student's clean prediction x̂ = x_t - t v and d the distance of two tokens,

    outside(x̂) = 1 / |M| Σ_M d(x̂_i, y_i)

as large for a small mask as for a large one. Where the mask is known, a step from state to state or to the end of a
phase has the same target: a token that is y in the end is reached by a straight path, whose velocity at every time
leads to y at once.
Beside the mask the right picture's tokens are not quite the source's, as the encoder sees a little farther than one
token: how far, and how far `nano`'s own pictures are, says docs/distill.md.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from recast.errors import ConfigError
from recast.train.uses import Pass

Distance = Literal["l1", "huber", "mse"]
DISTANCES: tuple[Distance, ...] = ("l1", "huber", "mse")
HUBER = 0.1
"""Where the Huber distance turns from squares to lines, in units of normalised latents."""


def check_distance(kind: str) -> None:
    if kind not in DISTANCES:
        raise ConfigError(f"distance={kind!r}: {', '.join(DISTANCES)} accepted; choose one")


def distance(predicted: Tensor, wanted: Tensor, kind: Distance) -> Tensor:
    """How far (b,) predicted (b, n, d) is from wanted (b, n, d), the mean over tokens and channels, in fp32.

    l1: |x|. mse: x^2. huber: x^2 / 2 up to HUBER, HUBER (|x| - HUBER / 2) from there.
    """
    return _each(predicted, wanted, kind).mean(dim=1)


def outside(clean: Tensor, each: Pass, kind: Distance) -> tuple[Tensor, Tensor]:
    """How far (k,) clean predictions (k, n, d) of a pass are from the source outside its masks; and who has that.

    The second, (k,) bool, is true of examples whose mask is known, leaves out a token, and whose source stands on the
    target's own grid; of the others the first is 0.
    """
    if each.mask is None or each.context is None:
        nothing = clean.new_zeros(len(each.uses), dtype=torch.float32)
        return nothing, nothing.bool()
    runs = each.context.split([rows * columns for rows, columns in each.context_grids], dim=1)
    fits = [use.has_mask and each.context_grids[use.base] == each.grid for use in each.uses]
    pairs = enumerate(zip(each.uses, fits, strict=True))
    source = torch.stack([(runs[use.base] if fit else clean.detach())[row].float() for row, (use, fit) in pairs])
    kept = ~each.mask & torch.tensor(fits, device=clean.device)[:, None]
    apart = (_each(clean, source, kind) * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
    return apart, kept.any(dim=1)


def _each(predicted: Tensor, wanted: Tensor, kind: Distance) -> Tensor:
    """Of every token (b, n), the mean over its channels."""
    predicted, wanted = predicted.float(), wanted.float()
    if kind == "l1":
        apart = (predicted - wanted).abs()
    elif kind == "mse":
        apart = (predicted - wanted).square()
    else:
        apart = F.huber_loss(predicted, wanted, reduction="none", delta=HUBER)
    return apart.mean(dim=2)
