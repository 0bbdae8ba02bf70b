"""Five points of a face → the 112 × 112 crop that face recognisers of the ArcFace family were trained on."""

from __future__ import annotations

import numpy as np

from recast.errors import InputError
from recast.quality.features.regions import picture

CROP_PX = 112
# Eye on the image's left, eye on its right, tip of the nose, corner of the mouth left, right (InsightFace's template).
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)


def similarity_transform(points: np.ndarray, targets: np.ndarray = TEMPLATE) -> np.ndarray:
    """The matrix (2, 3) that turns, scales and shifts points (n, 2) closest to targets (n, 2); never mirrors.

    Raises InputError for points that all coincide. Source: Umeyama 1991, equations 40-43.
    """
    points, targets = np.asarray(points, float), np.asarray(targets, float)
    if points.shape != targets.shape or points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"points: {points.shape} came; {targets.shape} accepted, in the order of the template")
    centre, target_centre = points.mean(0), targets.mean(0)
    variance = ((points - centre) ** 2).sum(1).mean()
    if not variance > 1e-12:  # so written, it catches NaN as well
        raise InputError("points: all in one place, or not numbers; points of a face accepted")
    covariance = (targets - target_centre).T @ (points - centre) / len(points)
    u, singular, vt = np.linalg.svd(covariance)
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])  # a mirror image is no better face
    rotation = u @ np.diag(signs) @ vt
    scale = (singular * signs).sum() / variance
    return np.column_stack([scale * rotation, target_centre - scale * rotation @ centre])


def aligned_crop(pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face at points (5, 2) as uint8 (112, 112, 3): bilinear, black where the picture ends.

    Without a low-pass filter even for large faces: so were the recogniser's training crops made.
    """
    import cv2

    matrix = similarity_transform(points)
    size = (CROP_PX, CROP_PX)
    return cv2.warpAffine(picture(pixels), matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
