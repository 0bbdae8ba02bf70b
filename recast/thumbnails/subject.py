"""Where the people of a picture are, from their faces: what an edit of the background must leave alone."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from recast.errors import InputError
from recast.thumbnails.boxes import Box

WORK_PX = 320
"""Width at which the cut is made; its border is made sharp again at full size."""
ROUNDS = 6


def people(rgb: np.ndarray, faces: Sequence[Box]) -> np.ndarray:
    """The people that the faces belong to: (H, W) bool, of the size of rgb (H, W, 3) uint8.

    The faces are taken for certain, a body is expected below each, and the border between the colours of the people and
    those of the rest is found by graph cuts (Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004). Only what hangs
    together with a face counts. A cut-out made by hand is better; a brief takes one as base.keep_mask.
    Raises InputError without faces, or where no border is found.
    """
    if not faces:
        raise InputError(
            "keep='characters': no face in the base picture; give keep_mask or keep_boxes, or keep: nothing"
        )
    height, width = rgb.shape[:2]
    scale = min(1.0, WORK_PX / width)
    small = cv2.resize(rgb, (max(8, round(width * scale)), max(8, round(height * scale))), interpolation=cv2.INTER_AREA)
    labels = _expected(small.shape[0], small.shape[1], faces)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, labels, (0, 0, 1, 1), *models, ROUNDS, cv2.GC_INIT_WITH_MASK)  # with a mask no rectangle counts
    cut = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    cut = _with_faces(cut, faces)
    share = float(cut.mean())
    if not 0.005 <= share <= 0.95:
        raise InputError(
            f"keep='characters': the people could not be told from the background ({share:.0%} of the frame); "
            "give a cut-out as keep_mask"
        )
    sharp = cv2.resize(cut.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return sharp >= 0.5


def _expected(height: int, width: int, faces: Sequence[Box]) -> np.ndarray:
    """What graph cuts start from: certain within faces, likely in the bodies below, unlikely elsewhere."""
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    for face in faces:
        above = Box(face.left - 0.6 * face.width, face.top - 0.6 * face.height, face.right + 0.6 * face.width, 1.0)
        left, top, right, bottom = above.grown(0.8 * face.width, 0.0).pixels(width=width, height=height)
        region = labels[top:bottom, left:right]
        region[region == cv2.GC_BGD] = cv2.GC_PR_BGD
    for face in faces:
        body = Box(
            face.left - 0.5 * face.width, face.bottom, face.right + 0.5 * face.width, max(1.0, face.bottom + 0.01)
        )
        left, top, right, bottom = body.pixels(width=width, height=height)
        labels[top:bottom, left:right] = cv2.GC_PR_FGD
        left, top, right, bottom = face.grown(0.15 * face.width, 0.15 * face.height).pixels(width=width, height=height)
        labels[top:bottom, left:right] = cv2.GC_PR_FGD
    for face in faces:
        middle = face.grown(-0.15 * face.width, -0.15 * face.height)
        middle = Box(middle.left, face.top - 0.2 * face.height, middle.right, middle.bottom)  # with hair above
        left, top, right, bottom = middle.pixels(width=width, height=height)
        labels[top:bottom, left:right] = cv2.GC_FGD
    return labels


def _with_faces(cut: np.ndarray, faces: Sequence[Box]) -> np.ndarray:
    """The parts of a cut (h, w) that hang together with a face, their small holes filled."""
    closed = cv2.morphologyEx(cut.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    height, width = cut.shape
    _, parts = cv2.connectedComponents(closed)
    kept = np.zeros_like(cut)
    for face in faces:
        left, top, right, bottom = face.pixels(width=width, height=height)
        for part in np.unique(parts[top:bottom, left:right]):
            if part:
                kept |= parts == part
    _, holes, sizes, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8))
    small = [i for i in range(1, len(sizes)) if sizes[i, cv2.CC_STAT_AREA] < 0.002 * cut.size]
    return kept | np.isin(holes, small)
