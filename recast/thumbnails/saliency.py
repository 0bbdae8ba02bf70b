"""What draws the eye: a map of how much each part of a picture stands out, and the spots that it falls into."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

GRID_PX = 64
"""The longer side of the map; the authors' scale, at which a face or a car is one spot and not its outline."""
NEIGHBOURS = 3  # side of the box that the log spectrum is averaged over
BLUR_PX = 2.5  # a Gaussian's sigma: spots of one thing grow together
TIMES_MEAN = 2.0
"""The least saliency, in means of the map, of what belongs to a spot."""


@dataclass(frozen=True, eq=False)
class Spot:
    """What stands out together. share: of the map's whole mass, 0 to 1. mask: (h, w) bool, where on the map."""

    share: float
    mask: np.ndarray


def spectral_residual(rgb: np.ndarray, ignore: np.ndarray | None = None) -> np.ndarray:
    """Saliency (h, w) float32, longer side 64: what of the picture's spectrum its smooth trend does not explain.

    rgb: (H, W, 3) uint8. ignore: (H, W) bool, what is neither salient nor changes its neighbours, such as letters.
    Source: Hou, Zhang 2007, Saliency Detection: A Spectral Residual Approach, equations 7 to 10.
    """
    height, width = rgb.shape[:2]
    scale = GRID_PX / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    hidden = np.zeros(size[::-1], bool)
    if ignore is not None and ignore.any():
        hidden = cv2.resize(ignore.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.1
        small = cv2.inpaint(small, hidden.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spectrum = np.fft.fft2(grey)
    logarithm = np.log(np.abs(spectrum) + 1e-6)
    residual = logarithm - cv2.blur(logarithm, (NEIGHBOURS, NEIGHBOURS), borderType=cv2.BORDER_REFLECT)
    found = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    made: np.ndarray = cv2.GaussianBlur(found.astype(np.float32), (0, 0), BLUR_PX)
    return np.where(hidden, np.float32(0), made)


def spots(saliency: np.ndarray) -> list[Spot]:
    """The connected spots of a map (h, w), the one with the largest share of its mass first; none of an empty map."""
    mass = float(saliency.sum(dtype=np.float64))
    if mass <= 0:
        return []
    stands_out = (saliency >= TIMES_MEAN * saliency.mean()).astype(np.uint8)
    count, labels = cv2.connectedComponents(stands_out)
    shares = np.bincount(labels.ravel(), saliency.ravel(), count) / mass
    order = sorted(range(1, count), key=lambda label: -shares[label])
    return [Spot(float(shares[label]), labels == label) for label in order]
