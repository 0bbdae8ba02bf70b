"""A picture as people see it who lack one kind of cone."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from recast.errors import ConfigError

_MATRICES: Mapping[str, np.ndarray] = {
    name: np.array(rows, np.float32)
    for name, rows in {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    }.items()
}
KINDS = tuple(_MATRICES)
"""Without cones for long (red), middle (green) and short (blue) waves."""

_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
_BETWEEN = np.where(
    (_HALVES := (np.arange(255) + 0.5) / 255) <= 0.04045, _HALVES / 12.92, ((_HALVES + 0.055) / 1.055) ** 2.4
).astype(np.float32)  # the light half-way between two levels: rounding without a power for each pixel


def simulate(rgb: np.ndarray, kind: str) -> np.ndarray:
    """sRGB (H, W, 3) uint8 as it looks without one kind of cone: "protan", "deutan" or "tritan"; same shape and dtype.

    What leaves the gamut is cut off. Source: Machado, Oliveira, Fernandes 2009, A Physiologically-based Model for
    Simulation of Color Vision Deficiency, the matrices of severity 1.0, in linear light.
    """
    if kind not in _MATRICES:
        raise ConfigError(f"kind={kind!r}: no such colour blindness; {', '.join(KINDS)} accepted; choose one of them")
    linear = cv2.transform(_LINEAR[rgb], _MATRICES[kind])
    made: np.ndarray = np.searchsorted(_BETWEEN, linear.ravel()).astype(np.uint8).reshape(rgb.shape)
    return made
