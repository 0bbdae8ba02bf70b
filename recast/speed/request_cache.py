"""What requests have in common, computed once: the latents of a picture, the keys and values of a context.

Twenty variants of one base, or the turns of a thread, look at the same source: its latents depend on its pixels, and
in cached mode its keys and values on its tokens, and on nothing else. Both are found again by the hash of what they
were made from. Exact: what is found is what was computed.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from recast.flow.layers import KeysValues
from recast.speed.engine import Engine
from recast.speed.recent import Recent

LATENTS_LIMIT_BYTES = 256 << 20
CONTEXT_LIMIT_BYTES = 6 << 30  # two pictures of one megapixel for `kontext_dev` in bf16


class EncodesOnce:
    """An autoencoder that knows the pictures it has seen lately; in all else the one it was given."""

    def __init__(self, autoencoder: Any, limit_bytes: int = LATENTS_LIMIT_BYTES) -> None:
        self._autoencoder = autoencoder
        self.recent: Recent[Tensor] = Recent(limit_bytes, lambda latents: latents.nbytes)

    def encode(self, pixels: Tensor, *, band: int | None = None) -> Tensor:
        """As `Autoencoder.encode`. The bands are part of what is looked up: they decide the last bits."""

        def make() -> Tensor:
            made: Tensor = self._autoencoder.encode(pixels, band=band)
            return made

        return self.recent.get((digest(pixels), band), make)

    def __getattr__(self, name: str) -> Any:
        if name == "_autoencoder":  # of a copy that is being made
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        return getattr(self._autoencoder, name)


class CachesContext:
    """An engine in cached mode that knows the contexts it has seen lately; in all else the one it was given.

    An adapter folded into its weights makes what is known wrong: `forget` it then.
    """

    def __init__(self, engine: Engine, limit_bytes: int = CONTEXT_LIMIT_BYTES) -> None:
        self.engine = engine
        self.recent: Recent[list[KeysValues]] = Recent(
            limit_bytes, lambda made: sum(part.nbytes for block in made for part in block)
        )
        self._make, engine.cache_context = engine.cache_context, self.cache_context  # type: ignore[method-assign]

    def cache_context(self, context: Tensor, positions: Tensor) -> list[KeysValues]:
        """As `Engine.cache_context`."""
        return self.recent.get(digest(context, positions), lambda: self._make(context, positions))

    def forget(self) -> None:
        """Forget them all: the weights are others."""
        self.recent.clear()

    def leave(self) -> None:
        """Forget them all, and let the engine make each anew: what is kept here is memory that it needs."""
        self.forget()
        self.engine.cache_context = self._make  # type: ignore[method-assign]


def digest(*tensors: Tensor) -> str:
    """The SHA-256 of tensors, with their shapes and dtypes."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()
