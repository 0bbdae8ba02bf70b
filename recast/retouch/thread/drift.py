"""How far a picture has drifted from the root, on the pixels that no edit was meant to touch."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import PIL.Image

from recast.pixels.lab import ciede2000, lab

Identity = Callable[[np.ndarray, np.ndarray], float | None]
"""A face model: root and node, rgb (H, W, 3) uint8, to the likeness of their faces, or None where there is no face."""
DIGITS = 4
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""The weights of ITU-R BT.709."""


def drift(
    root: np.ndarray, node: np.ndarray, support: np.ndarray | None, identity: Identity | None = None
) -> dict[str, Any]:
    """The drift of a node against its root, as plain data.

    root, node: rgb (H, W, 3) uint8. support: (H, W) bool, the union of the supports on the way from the root; None, or
    all of the frame, where some edit kept nothing apart, and then the whole frame is measured, changes that were asked
    for included.

    Comes back as: over, "preserved" or "frame"; preserved and of, pixels; changed, how many of those measured differ
    in any byte; delta_e_mean and delta_e_max, CIEDE2000 over those measured; sharpness, the ratio of the variances of
    the Laplacian (node over root) where a pixel and its neighbours were measured, None where the root is flat;
    identity, None with its reason in `absent` where there is no face model or no face.
    """
    absent = []
    if root.shape != node.shape:
        came = f"{node.shape[1]}x{node.shape[0]} against {root.shape[1]}x{root.shape[0]}"
        return {"over": None, "absent": [f"everything: another size than the root, {came}"]}
    if support is not None and support.all():
        support = None
    measured = np.ones(root.shape[:2], bool) if support is None else ~support
    found: dict[str, Any] = {
        "over": "frame" if support is None else "preserved",
        "preserved": 0 if support is None else int(measured.sum()),
        "of": measured.size,
    }
    delta = delta_e_of(root, node, measured)
    sharpness = _sharpness(root, node, measured)
    if sharpness is None:
        absent.append("sharpness: the root is flat where it was preserved")
    likeness = None if identity is None else identity(root, node)
    if likeness is None:
        absent.append("identity: no face model given" if identity is None else "identity: no face found")
    return found | {
        "changed": len(delta),
        "delta_e_mean": round(float(delta.sum(dtype=np.float64)) / int(measured.sum()), DIGITS),
        "delta_e_max": round(float(delta.max(initial=0.0)), DIGITS),
        "sharpness": sharpness,
        "identity": likeness,
        "absent": absent,
    }


def delta_e_of(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> np.ndarray:
    """CIEDE2000 (n,) float32 of those pixels of `where` (H, W) bool whose bytes differ; all others have 0."""
    differs = (a != b).any(-1) & where
    if not differs.any():
        return np.zeros(0, np.float32)
    return ciede2000(lab(a[differs][None]), lab(b[differs][None]))[0]


def union(supports: list[bytes | None], shape: tuple[int, int]) -> np.ndarray | None:
    """The union (H, W) bool of supports as `support_png` wrote them; None if one is missing or of another size."""
    total = np.zeros(shape, bool)
    for data in supports:
        if data is None:
            return None
        mask = np.asarray(PIL.Image.open(io.BytesIO(data)).convert("1"))
        if mask.shape != shape:
            return None
        total |= mask
    return total


def support_png(support: np.ndarray) -> bytes:
    """A support (H, W) bool as a picture of one bit a pixel: white where bytes may differ."""
    file = io.BytesIO()
    PIL.Image.fromarray(support).save(file, "PNG")
    return file.getvalue()


def _sharpness(root: np.ndarray, node: np.ndarray, measured: np.ndarray) -> float | None:
    """The variance of the node's Laplacian over that of the root's, away from pixels that were not measured."""
    kernel = np.ones((3, 3), np.uint8)
    inner = cv2.erode(measured.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    if not inner.any():
        return None
    before, after = (cv2.Laplacian(rgb @ LUMA, cv2.CV_32F)[inner].var(dtype=np.float64) for rgb in (root, node))
    return None if before == 0 else round(float(after / before), DIGITS)
