"""Anchors: what keeps turn after turn near the first picture, beside the merge of each turn.

Carried: the model's tokens of all that an edit left alone, and of the insides of what it changed, go on to the next
turn as they are, so that the autoencoder does not lose a little of them each time. Riding: the root rides along as a
further context image, so that the model sees what the thread began with.

torch is imported by what handles tokens: to list a thread takes none.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recast.errors import InputError
from recast.pixels.geometry import Fit
from recast.pixels.image import Picture
from recast.retouch.thresholds import THRESHOLDS

if TYPE_CHECKING:
    from recast.context.keeping import Carried
    from recast.run import Result

TOKENS = "tokens"
"""What the file of a node that holds its tokens is called."""


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """Which anchors hold. The merge of each turn, and what the autoencoder loses, are the editor's to keep."""

    carries: bool = True
    rides: bool = False

    def given(
        self, editor: Any, options: Mapping[str, Any], tokens: bytes | None, root: Picture | None
    ) -> dict[str, Any]:
        """Options more for the editor's `edit`. tokens: of the node that is edited; root: None where it is the root."""
        more: dict[str, Any] = {}
        if self.rides and root is not None:
            references = options.get("references", ())
            named = list(references.items()) if isinstance(references, Mapping) else list(references)
            more["references"] = [*named, (None, root)]
        if self.carries and tokens is not None and "carried" not in options:
            carried = _carried(tokens, editor, options)
            more |= {} if carried is None else {"carried": carried}
        return more


def tokens_of(result: Result) -> bytes | None:
    """The tokens that are known of a result's one picture, as a file; None where its generator gives none."""
    from recast.context.keeping import Carried
    from recast.retouch.carry import carry

    if not result.recipes or not result.tokens or result.source_tokens is None:
        return None
    recipe = result.recipe
    if not recipe.images or recipe.preserving.crop is not None:
        return None
    fit = Fit.from_dict(recipe.images[0].fit)
    edited: Any = result
    if getattr(result, "edits", ()):
        known = carry(edited)
    else:  # not merged: the picture is what these tokens decode to
        known = Carried(result.tokens[0].float(), np.ones(fit.grid, bool))
    if known is None:
        return None
    about: dict[str, Any] = {
        "model": recipe.model,
        "weights": dict(recipe.weights),
        "size": recipe.size,
        "grid": list(fit.grid),
    }
    about |= {"scale": min(fit.scale_x, fit.scale_y)}
    file = io.BytesIO()
    np.savez_compressed(
        file,
        tokens=known.tokens.float().cpu().numpy(),
        is_valid=known.is_valid,
        about=np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8),
    )
    return file.getvalue()


def _carried(data: bytes, editor: Any, options: Mapping[str, Any]) -> Carried | None:
    """The tokens for an edit, if it works on the same grid by the same weights; else the picture is encoded anew."""
    import torch

    from recast.context.keeping import Carried

    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            about = json.loads(held["about"].tobytes())
            tokens, is_valid = held["tokens"], held["is_valid"]
    except (ValueError, KeyError, OSError) as error:
        raise InputError(
            f"tokens: not as recast wrote them ({error}); `recast thread check` checks a thread"
        ) from error
    has_place = options.get("mask") is not None or bool(options.get("boxes"))
    may_crop = has_place and about["scale"] < THRESHOLDS.editing.least_scale
    model, weights = getattr(getattr(editor, "config", None), "name", None), _weights(editor)
    is_same = (model, weights) == (about["model"], about["weights"]) and options.get("size", "auto") == about["size"]
    if not is_same or may_crop or options.get("context", "auto") not in ("auto", "whole"):
        return None
    return Carried(torch.from_numpy(tokens), is_valid)


def _weights(editor: Any) -> dict[str, str]:
    """The hashes of the weights that an editor's generator works with, as its recipes have them."""
    checksums = getattr(getattr(editor, "generator", editor), "checksums", None)
    return {} if checksums is None else dict(checksums())
