"""What the autoencoder loses of a picture, given back where an edit left it alone.

An edit comes out of a decoder, and so lacks what the decoder cannot draw: grain, fine lettering, or, where a large
picture was scaled down for the model, everything finer than its grid. The source put through the same way shows
exactly what that is. Adding it back hides no change: edit - source becomes edit - decoded source.
"""

from __future__ import annotations

import cv2
import numpy as np

from recast.retouch.thresholds import THRESHOLDS, Editing

BAND_ROWS = 512


def give_back(
    edited: np.ndarray, source: np.ndarray, decoded: np.ndarray, thresholds: Editing = THRESHOLDS.editing
) -> np.ndarray:
    """The edit with source - decoded added, wholly where edit and decoded agree, fading to nothing where they differ.

    edited; source; decoded, the source as the same autoencoder gives it back: all (H, W, 3) uint8. Returns such.
    """
    apart = cv2.absdiff(edited, decoded).max(axis=2)
    side = 2 * thresholds.agree_radius_px + 1
    apart = cv2.blur(apart, (side, side), borderType=cv2.BORDER_REPLICATE)
    fades = np.clip((np.arange(256, dtype=np.float32) - thresholds.agree_levels) / thresholds.fade_levels, 0, 1)
    shares = 1 - fades * fades * (3 - 2 * fades)
    result = np.empty_like(edited)
    for top in range(0, len(edited), BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        lost = source[rows].astype(np.float32) - decoded[rows]
        lost *= shares[apart[rows]][..., None]
        lost += edited[rows]
        result[rows] = np.rint(lost.clip(0, 255, out=lost))
    return result
