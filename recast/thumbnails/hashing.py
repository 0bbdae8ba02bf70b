"""A 64-bit fingerprint of what a picture looks like from afar, and how far two of them are apart."""

from __future__ import annotations

import cv2
import numpy as np

from recast.errors import ShapeError

BITS = 64
SIDE = 32  # pixels that the picture is shrunk to
KEPT = 8  # waves across, and down, that the fingerprint keeps
_GREY = np.array([[0.299, 0.587, 0.114]], np.float32)


def perceptual_hash(rgb: np.ndarray) -> int:
    """64 bits, of each of the 8 x 8 longest waves of the grey picture whether it is above their median.

    rgb: (H, W, 3) uint8 of any size. Scaling, compression and a change of brightness leave almost every bit.
    Source: Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions, section 3.2.1.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ShapeError(f"rgb: {rgb.dtype} {rgb.shape} came; uint8 (H, W, 3) accepted; `read` the picture first")
    grey = cv2.transform(rgb.astype(np.float32), _GREY)
    waves = cv2.dct(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA))[:KEPT, :KEPT].ravel()
    above = waves > np.median(waves[1:])  # the first is the mean grey, far from all others
    return int("".join("1" if each else "0" for each in above), 2)


def distance(first: int, second: int) -> int:
    """How many of the 64 bits of two fingerprints differ."""
    return (first ^ second).bit_count()
