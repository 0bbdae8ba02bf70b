"""Where the faces of a scene are in its picture, and how a picture is cut and scaled for the networks that see them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from recast.world.draw.head import EYE_X, EYE_Y
from recast.world.draw.people import head
from recast.world.identity_network import CROP_PX, MULTIPLE
from recast.world.scene import Scene

HALF_WIDTH, HALF_HEIGHT = 0.133, 0.182
"""Of a usual face from ear to ear and from the top of the forehead to the chin, in a head's units."""
GRID_PX = 192
"""A picture is searched at as many pixels as a square of this side has."""
CROP = 1.75
"""Side of a face's crop, in heights of the face: hair and beard are part of who it is."""


@dataclass(frozen=True)
class FaceBox:
    """A face from ear to ear and from forehead to chin, as shares of the picture's width and height."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def center(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def width(self) -> float:
        return self.right - self.left

    def overlap(self, other: FaceBox) -> float:
        """The shared area over the area of both together, 0..1."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        shared = max(0.0, across) * max(0.0, down)
        return shared / (self.width * self.height + other.width * other.height - shared)

    def within(self) -> float:
        """The share of the box that lies in the picture."""
        across = min(self.right, 1.0) - max(self.left, 0.0)
        down = min(self.bottom, 1.0) - max(self.top, 0.0)
        return max(0.0, across) * max(0.0, down) / (self.width * self.height)


def eyes(box: FaceBox, gap: float, *, width: int, height: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """The two eyes of a face as shares of a picture of width x height; gap: from the face's middle, in face widths."""
    x, y = box.center
    below = EYE_Y / (2 * HALF_HEIGHT) * box.height
    return (x - gap * box.width, y + below), (x + gap * box.width, y + below)


def true_faces(scene: Scene, aspect: float) -> Iterator[tuple[FaceBox, float, bool]]:
    """Of each character: its face, how far an eye is from its middle in face widths, and whether the eyes are seen.

    aspect: width over height of the picture.
    """
    for each in scene.characters:
        x, y, unit = head(each, aspect)
        across, down = HALF_WIDTH * each.face.width * unit, HALF_HEIGHT * each.face.height * unit
        box = FaceBox((x - across) / aspect, y - down, (x + across) / aspect, y + down)
        yield box, EYE_X * each.face.eye_gap / (2 * HALF_WIDTH * each.face.width), each.glasses != "sunglasses"


def to_grid(rgb: np.ndarray) -> tuple[np.ndarray, float, float]:
    """A picture (H, W, 3) uint8 at the size it is searched at, filled up below and right; its scale across and down.

    Shares of the picture times its size and the scale are pixels of the grid.
    """
    height, width = rgb.shape[:2]
    scale = (GRID_PX**2 / (width * height)) ** 0.5
    wide, high = max(MULTIPLE, round(width * scale)), max(MULTIPLE, round(height * scale))
    if (wide, high) != (width, height):
        rgb = cv2.resize(rgb, (wide, high), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    right, down = -wide % MULTIPLE, -high % MULTIPLE
    if right or down:
        rgb = cv2.copyMakeBorder(rgb, 0, down, 0, right, cv2.BORDER_REPLICATE)
    return rgb, wide / width, high / height


def crop(rgb: np.ndarray, box: FaceBox) -> np.ndarray:
    """The face in a picture (H, W, 3) uint8 as the recogniser reads it, (CROP_PX, CROP_PX, 3) uint8.

    A square around the face, area-averaged where it shrinks; what lies outside the picture repeats its edge.
    """
    height, width = rgb.shape[:2]
    side = max(2, round(CROP * box.height * height))
    left, top = round(box.center[0] * width - side / 2), round(box.center[1] * height - side / 2)
    inside = rgb[max(0, top) : max(1, top + side), max(0, left) : max(1, left + side)]
    inside = inside if inside.size else rgb[-1:, -1:]
    above, before = max(0, -top), max(0, -left)
    below, after = max(0, side - above - inside.shape[0]), max(0, side - before - inside.shape[1])
    if above or before or below or after:
        inside = cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_REPLICATE)
    inside = inside[:side, :side]
    return cv2.resize(inside, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA if side > CROP_PX else cv2.INTER_LINEAR)
