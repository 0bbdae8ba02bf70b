"""Anchors: what keeps turn after turn near the first picture, beside the merge of each turn.

Carried: the model's tokens of all that an edit left alone, and of the insides of what it changed, go on to the next
turn as they are, so that the autoencoder does not lose a little of them each time; and a picture that was encoded for a
turn before, as a reference, say, is not encoded again (`encoded`). Riding: the root rides along as a further context
image, so that the model sees what the thread began with.

torch is imported by what handles tokens: to list a thread takes none.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recast.errors import ConfigError, InputError
from recast.pixels.geometry import Fit, tokens_touched
from recast.pixels.image import Picture
from recast.retouch.thresholds import THRESHOLDS

if TYPE_CHECKING:
    from recast.context.keeping import Carried
    from recast.retouch.thread.encoded import Encoded
    from recast.run import Result

TOKENS = "tokens"
"""What the file of a node that holds its tokens is called."""
LIMIT_BYTES = 1 << 30


KEPT = "anchors"
"""What the options of a node call the anchors that held when it was made."""


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """Which anchors hold. The merge of each turn, and what the autoencoder loses, are the editor's to keep.

    None: what an edit that is made again had; of a new one the tokens are carried, and the root does not ride.
    """

    carries: bool | None = None
    rides: bool | None = None

    def over(self, kept: Mapping[str, Any]) -> Anchors:
        """These, and where they leave it open those that a node has kept, or else the usual ones."""
        if not isinstance(kept, Mapping):
            raise ConfigError(f"anchors={kept!r}: a thread's switches, none of one edit; pass them to Thread.open")
        carries = bool(kept.get("carries", True)) if self.carries is None else self.carries
        rides = bool(kept.get("rides", False)) if self.rides is None else self.rides
        return Anchors(carries=carries, rides=rides)

    def given(
        self,
        editor: Any,
        options: Mapping[str, Any],
        tokens: bytes | None,
        root: Picture | None,
        encoded: Encoded | None = None,
    ) -> dict[str, Any]:
        """Options more for the editor's `edit`. tokens: of the node that is edited; root: None where it is the root.

        encoded: tokens of pictures that were encoded before, for a generator that asks for them.
        """
        held, more = self.over({}), dict[str, Any]()
        if held.rides and root is not None:
            from recast.context.references import named

            more["references"] = [*named(options.get("references", ())), (None, root)]
        if held.carries and tokens is not None:
            carried = _carried(tokens, editor, options)
            more |= {} if carried is None else {"carried": carried}
        if held.carries and encoded is not None:
            from recast.retouch.plan import accepts

            asks = accepts(getattr(editor, "generator", editor), "start_edit", "encodings")
            more |= {"encodings": encoded} if asks else {}
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
    return _file(known.tokens.float().cpu().numpy(), known.is_valid, about)


def tokens_without(data: bytes, recipe: Mapping[str, Any], changed: np.ndarray) -> bytes:
    """The tokens of a node for the same edit with other regions taken: no longer valid where its picture is another.

    recipe: of the node. changed: (H, W) bool, where the pictures differ. Raises InputError for spoilt tokens.
    """
    tokens, is_valid, about = _read(data)
    touched = tokens_touched(Fit.from_dict(recipe["images"][0]["fit"]), changed)
    return _file(tokens, is_valid & ~touched, about)


def _carried(data: bytes, editor: Any, options: Mapping[str, Any]) -> Carried | None:
    """The tokens for an edit, if it works on the same grid by the same weights; else the picture is encoded anew."""
    import torch

    from recast.context.keeping import Carried

    tokens, is_valid, about = _read(data)
    context, size = options.get("context", "auto"), options.get("size", "auto")
    has_place = options.get("mask") is not None or bool(options.get("boxes"))
    may_crop = context != "whole" and has_place and about["scale"] < THRESHOLDS.editing.least_scale
    model, weights = getattr(getattr(editor, "config", None), "name", None), _weights(editor)
    asked = size if isinstance(size, str) else "x".join(map(str, size))
    is_same = (model, weights, asked) == (about["model"], about["weights"], about["size"])
    if not is_same or may_crop or context not in ("auto", "whole"):
        return None
    return Carried(torch.from_numpy(tokens), is_valid)


def _file(tokens: np.ndarray, is_valid: np.ndarray, about: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    text = np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)
    np.savez_compressed(file, tokens=tokens, is_valid=is_valid, about=text)
    return file.getvalue()


def _read(data: bytes) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """What `_file` wrote. Raises InputError for anything else: a thread may come from a stranger."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            size = sum(info.file_size for info in members.infolist())
        if size > LIMIT_BYTES:
            raise ValueError(f"{size} bytes unpacked, up to {LIMIT_BYTES} accepted")
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            about = json.loads(held["about"].tobytes())
            tokens, is_valid = held["tokens"], held["is_valid"]
        if (
            {"model", "weights", "size", "scale"} - set(about)
            or (tokens.dtype, is_valid.dtype) != (np.float32, np.bool_)
            or (tokens.ndim, is_valid.ndim) != (3, 2)
            or tokens.shape[:2] != (1, is_valid.size)
        ):
            raise ValueError("they do not fit together")
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"tokens: not as recast wrote them ({error}); a thread as recast wrote it accepted; edit with carrying off"
        ) from error
    return tokens, is_valid, about


def _weights(editor: Any) -> dict[str, str]:
    """The hashes of the weights that an editor's generator works with, as its recipes have them, recalled if it can."""
    generator = getattr(editor, "generator", editor)
    hashes = getattr(generator, "recalled", None) or getattr(generator, "checksums", None)
    return {} if hashes is None else dict(hashes())
