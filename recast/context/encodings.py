"""Tokens of pictures that were encoded before, for whoever keeps them from request to request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from recast.pixels.geometry import Fit
from recast.pixels.image import Picture


class Encodings(Protocol):
    """Where tokens are kept. To be asked of every picture of a request, the source and its references."""

    def get(self, picture: str, by: Callable[[], str | None], encode: Callable[[], Tensor]) -> Tensor:
        """The tokens (1, n, d) that `encode` gives in fp32, or has given before for the same picture, by the same.

        picture: the hash of what is encoded (`seen`). by: the hash of all else that decides the bits, None where it is
        not known; it may take a while, and is called only where it is needed.
        """
        ...


def seen(picture: Picture, fit: Fit, band: int | None) -> str:
    """The hash of a picture as an encoder sees it: its pixels, where they lie on the grid, and its bands of rows."""
    about = {"picture": picture.sha256(), "fit": fit.to_dict(), "band": band}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
