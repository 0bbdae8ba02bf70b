"""The pixels of a picture that a mask names, fast: NumPy picks whole pixels ten times as fast as their channels."""

from __future__ import annotations

import numpy as np


def picked(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """picture[mask] for a picture (h, w) or (h, w, c) of numbers and a mask (h, w) bool: (n,) or (n, c), row by row."""
    if picture.ndim == 2 or not picture.shape[2]:
        found: np.ndarray = picture[mask]
        return found
    channels = picture.shape[2]
    whole = np.ascontiguousarray(picture).view(np.dtype((np.void, channels * picture.itemsize)))[..., 0]
    return whole[mask].view(picture.dtype).reshape(-1, channels)
