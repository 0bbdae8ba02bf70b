"""Colours by name: which part of Lab bears it, what of a picture is the subject, and how much of that took the colour.

The eleven names are the basic colour terms (Berlin and Kay 1969), which people agree on; a pixel bears the name whose
nearest example is nearest to it in Lab. Other names are said to be one of these, as most people would.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from recast.quality.metrics import lab

EXAMPLES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "red": ((220, 20, 30), (150, 20, 25), (240, 70, 60)),
    "orange": ((255, 140, 0), (230, 110, 30), (250, 170, 80)),
    "yellow": ((255, 230, 0), (240, 210, 90), (210, 180, 20)),
    "green": ((20, 160, 50), (20, 90, 40), (130, 210, 110), (110, 130, 40), (60, 230, 80)),
    "blue": ((30, 60, 220), (20, 30, 110), (80, 150, 240), (150, 200, 240), (30, 160, 190)),
    "purple": ((130, 40, 170), (80, 30, 110), (180, 120, 220), (180, 40, 180)),
    "pink": ((255, 120, 180), (255, 185, 205), (235, 60, 140)),
    "brown": ((120, 70, 30), (80, 45, 25), (165, 110, 65)),
    "black": ((10, 10, 10), (35, 35, 35)),
    "grey": ((90, 90, 90), (130, 130, 130), (175, 175, 175)),
    "white": ((255, 255, 255), (230, 230, 230)),
}
NAMES: dict[str, str] = {
    **{name: name for name in EXAMPLES},
    "crimson": "red",
    "scarlet": "red",
    "maroon": "red",
    "gold": "yellow",
    "golden": "yellow",
    "lime": "green",
    "emerald": "green",
    "olive": "green",
    "navy": "blue",
    "sky blue": "blue",
    "teal": "blue",
    "turquoise": "blue",
    "cyan": "blue",
    "violet": "purple",
    "lavender": "purple",
    "magenta": "pink",
    "gray": "grey",
    "silver": "grey",
}
LONGEST_PX = 256  # of the picture that the subject is cut out of: a share needs no more
LEAST_SHARE = 0.05  # of a box that a subject fills


def bears(rgb: np.ndarray, colour: str) -> np.ndarray:
    """Which pixels of a picture (H, W, 3) bear one of the eleven names: bool (H, W)."""
    names, examples = _examples()
    distances = ((lab(rgb).reshape(-1, 1, 3) - examples) ** 2).sum(-1)
    return (np.array(names)[distances.argmin(1)] == colour).reshape(rgb.shape[:2])


def shrunk(picture: np.ndarray) -> np.ndarray:
    """The picture with a longest side of at most 256 pixels."""
    scale = LONGEST_PX / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def subject(picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """What in the boxes (n, 4, in pixels of the picture) is the thing, not what is behind it: bool, at `shrunk` size.

    Each box is cut out by colour (GrabCut: Rother, Kolmogorov and Blake 2004); where that leaves next to nothing, or
    the box is the whole picture, the ellipse in the box stands for it.
    """
    small = shrunk(picture)
    scale = small.shape[1] / picture.shape[1]
    found = np.zeros(small.shape[:2], bool)
    for box in boxes:
        left, top, right, bottom = (round(float(side) * scale) for side in box)
        left, top = max(0, left), max(0, top)
        right, bottom = min(small.shape[1], max(right, left + 1)), min(small.shape[0], max(bottom, top + 1))
        found |= _cut(small, left, top, right, bottom)
    return found


def gain(before: np.ndarray, after: np.ndarray, where: np.ndarray, colour: str) -> tuple[float, float]:
    """The share of the subject's pixels that bear the colour, before and after. Pictures of one size, any."""
    shares = [float(bears(shrunk(picture), colour)[where].mean()) for picture in (before, after)]
    return shares[0], shares[1]


def _cut(small: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    ellipse = np.zeros(small.shape[:2], np.uint8)
    middle, axes = (
        ((left + right) // 2, (top + bottom) // 2),
        (max(1, (right - left) // 2), max(1, (bottom - top) // 2)),
    )
    cv2.ellipse(ellipse, middle, axes, 0, 0, 360, 1, -1)
    area = (right - left) * (bottom - top)
    if area < 0.95 * ellipse.size and min(right - left, bottom - top) > 2:
        cv2.setRNGSeed(0)  # its mixtures start at random
        mask = np.zeros(small.shape[:2], np.uint8)
        inside = (left, top, right - left, bottom - top)
        cv2.grabCut(
            np.ascontiguousarray(small), mask, inside, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_RECT
        )
        cut: np.ndarray = (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)
        if cut.sum() >= LEAST_SHARE * area:
            return cut
    return ellipse.astype(bool)


@functools.cache
def _examples() -> tuple[list[str], np.ndarray]:
    """The name of each example, and its Lab (n, 3)."""
    names = [name for name, examples in EXAMPLES.items() for _ in examples]
    colours = np.array([[example for examples in EXAMPLES.values() for example in examples]], np.uint8)
    return names, lab(colours)[0]
