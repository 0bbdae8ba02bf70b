"""A toy world to try measures on: four shapes on a plain ground, 96 x 96, with requests and editors of known faults."""

import io
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image

SIZE = 96
cv2.setNumThreads(1)  # pictures this small lose more to waiting than a second thread gives
COLOURS = (
    *((214, 40, 40), (42, 157, 60), (40, 80, 200), (240, 200, 50), (150, 60, 170)),
    *((240, 130, 30), (245, 245, 245), (40, 40, 40), (60, 190, 200), (230, 120, 170)),
)
GROUNDS = ((235, 225, 200), (180, 210, 235), (200, 230, 190), (90, 100, 120))
SIGMA = 255 * 10 ** (-31 / 20)  # of noise at 31 dB


@dataclass(frozen=True)
class Shape:
    kind: int
    colour: int
    radius: int


@dataclass(frozen=True)
class Scene:
    ground: int
    shapes: tuple[Shape | None, ...]

    def with_shape(self, slot: int, shape: Shape | None) -> "Scene":
        return replace(self, shapes=(*self.shapes[:slot], shape, *self.shapes[slot + 1 :]))


def scene(rng: np.random.Generator) -> Scene:
    shapes = [Shape(*(int(rng.integers(low, high)) for low, high in ((0, 4), (0, 10), (8, 15)))) for _ in range(4)]
    return Scene(int(rng.integers(len(GROUNDS))), tuple(shapes))


@lru_cache(maxsize=64)
def draw(scene: Scene, fine: int = 4) -> np.ndarray:
    """The scene's picture (96, 96, 3), its edges smoothed by drawing it `fine` times as large."""
    large = np.empty((SIZE * fine, SIZE * fine, 3), np.uint8)
    large[:] = GROUNDS[scene.ground]
    for slot, shape in enumerate(scene.shapes):
        if shape is None:
            continue
        x, y, r = (24 + 48 * (slot % 2)) * fine, (24 + 48 * (slot // 2)) * fine, shape.radius * fine
        if shape.kind == 0:
            cv2.circle(large, (x, y), r, COLOURS[shape.colour], -1)
            continue
        corners = {
            1: [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)],
            2: [(x, y - r), (x + r, y + r), (x - r, y + r)],
            3: [(x, y - r), (x + r, y), (x, y + r), (x - r, y)],
        }[shape.kind]
        cv2.fillPoly(large, [np.array(corners)], COLOURS[shape.colour])
    picture = cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    picture.flags.writeable = False  # it is cached
    return picture


def edit(scene: Scene, slot: int, operation: int, by: int) -> Scene:
    """The scene with a shape recoloured, taken away, replaced or resized; `by` (1 to 9) says to what."""
    shape = scene.shapes[slot]
    assert shape is not None
    changed = {
        0: replace(shape, colour=(shape.colour + by) % 10),
        1: None,
        2: replace(shape, kind=(shape.kind + 1 + by % 3) % 4),
        3: replace(shape, radius=shape.radius + 5 if shape.radius < 11 else shape.radius - 4),
    }[operation]
    return scene.with_shape(slot, changed)


def noisy(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.rint(picture + rng.normal(0, SIGMA, picture.shape)), 0, 255).astype(np.uint8)


def tinted(picture: np.ndarray, by: tuple[float, float, float]) -> np.ndarray:
    return np.clip(np.rint(picture + np.array(by)), 0, 255).astype(np.uint8)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
