"""The best-known merge node, written anew from its published behaviour, default settings: what people use today.

flux-kontext-diff-merge as of March 2026: no registration; a fixed threshold on weighted 8-bit CIELAB; contours by area;
a mask widened and blurred twice; Poisson cloning centred on the pixel farthest from the mask's edge.
"""

from __future__ import annotations

import cv2
import numpy as np

THRESHOLD, GLOBAL_THRESHOLD = 0.02, 0.15
MIN_CHANGE_AREA, EXPAND, BLUR, FEATHER = 250, 8, 15, 15


def diff_merge(source: np.ndarray, edited: np.ndarray, blend: str = "poisson") -> tuple[np.ndarray, np.ndarray]:
    """The merged picture (H, W, 3) uint8 and the soft mask (H, W) in 0..1. blend: "poisson", the usual, or "alpha"."""
    height, width = source.shape[:2]
    if edited.shape != source.shape:
        edited = cv2.resize(edited, (width, height))
    soft = _refined(_changed(source, edited))
    if blend == "poisson":
        edited = _cloned(source, edited, soft)
    alpha = (soft.astype(np.float32) / 255)[..., None]
    merged = source.astype(np.float32) * (1 - alpha) + edited.astype(np.float32) * alpha
    return merged.astype(np.uint8), alpha[..., 0]


def _changed(source: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """Where its "adaptive" detection sees a change, after its filter of specks: (H, W) uint8, 0 or 255."""
    first, second = (cv2.cvtColor(each, cv2.COLOR_RGB2LAB).astype(np.float32) for each in (source, edited))
    lightness, a, b = np.moveaxis(np.abs(first - second), -1, 0)
    distance = 0.5 * lightness + 0.25 * a + 0.25 * b
    mean = float(distance.mean())
    cut = mean + THRESHOLD * 255 if mean > GLOBAL_THRESHOLD * 255 else THRESHOLD * 255
    mask = (distance > cut).astype(np.uint8) * 255
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    kept = [contour for contour in contours if cv2.contourArea(contour) > MIN_CHANGE_AREA]
    return cv2.drawContours(np.zeros_like(mask), kept, -1, 255, thickness=cv2.FILLED)


def _refined(mask: np.ndarray) -> np.ndarray:
    small = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    mask = cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, small), cv2.MORPH_OPEN, small)
    side = 2 * EXPAND + 1
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    mask = cv2.GaussianBlur(mask, (2 * BLUR + 1, 2 * BLUR + 1), 0)
    return cv2.GaussianBlur(mask, (2 * FEATHER + 1, 2 * FEATHER + 1), FEATHER / 3)


def _cloned(source: np.ndarray, edited: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """Its Poisson mode; the edit as it is where OpenCV refuses, as there."""
    mask = (soft > 127).astype(np.uint8) * 255
    if not mask.any():
        return edited
    pad = 0
    if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
        pad = 2
        source, edited = (cv2.copyMakeBorder(x, pad, pad, pad, pad, cv2.BORDER_REFLECT) for x in (source, edited))
        mask = cv2.copyMakeBorder(mask, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    try:  # OpenCV 5 writes into the mask it is given
        cloned = cv2.seamlessClone(edited, source, mask.copy(), (int(x), int(y)), cv2.NORMAL_CLONE)
    except cv2.error:
        cloned = edited
    height, width = soft.shape
    return cloned[pad : pad + height, pad : pad + width]
