"""Two pictures of a thread, pixel by pixel: how much differs, where, and by how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from recast.errors import InputError
from recast.pixels.image import Picture
from recast.retouch.thread.drift import DIGITS, delta_e_of

WHITE_AT = 20.0
"""The CIEDE2000 that is white in the picture of a comparison."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between two pictures of one size.

    changed: pixels that differ in any byte, of colour or alpha; share: of all. box: (left, top, right, bottom) round
    them, None if nothing differs. delta_e_mean: CIEDE2000 over the changed pixels; delta_e_max: the largest.
    alpha_changed: pixels whose alpha differs. map: (H, W) float32, CIEDE2000 of every pixel.
    """

    width: int
    height: int
    changed: int
    share: float
    box: tuple[int, int, int, int] | None
    delta_e_mean: float
    delta_e_max: float
    alpha_changed: int
    map: np.ndarray = field(repr=False)

    def picture(self) -> np.ndarray:
        """The difference to look at: rgb (H, W, 3) uint8, black where nothing differs, white from dE00 20 upwards."""
        levels = np.rint(np.minimum(self.map / WHITE_AT, 1) * 255).astype(np.uint8)
        return np.repeat(levels[..., None], 3, axis=2)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, without the map."""
        names = ("width", "height", "changed", "share", "box", "delta_e_mean", "delta_e_max", "alpha_changed")
        return {name: getattr(self, name) for name in names}


def compare(a: Picture, b: Picture) -> Comparison:
    """What differs. Raises InputError for two sizes: nothing is resized."""
    if (a.width, a.height) != (b.width, b.height):
        raise InputError(
            f"diff: {a.width}x{a.height} against {b.width}x{b.height}; two pictures of one size accepted; choose two "
            "nodes that come from one root"
        )
    differs = (a.rgb != b.rgb).any(-1)
    delta = delta_e_of(a.rgb, b.rgb, differs)
    drawn = np.zeros(differs.shape, np.float32)
    drawn[differs] = delta
    opaque = np.full(differs.shape, 255, np.uint8)
    alpha = (opaque if a.alpha is None else a.alpha) != (opaque if b.alpha is None else b.alpha)
    changed = differs | alpha
    left, top, width, height = cv2.boundingRect(changed.astype(np.uint8))
    return Comparison(
        width=a.width,
        height=a.height,
        changed=int(changed.sum()),
        share=round(float(changed.mean()), 6),
        box=(left, top, left + width, top + height) if changed.any() else None,
        delta_e_mean=round(float(delta.mean(dtype=np.float64)), DIGITS) if len(delta) else 0.0,
        delta_e_max=round(float(delta.max(initial=0.0)), DIGITS),
        alpha_changed=int(alpha.sum()),
        map=drawn,
    )
