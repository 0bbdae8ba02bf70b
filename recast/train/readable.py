"""How much lettering survives an autoencoder: titles of the world, whose strings are known, read back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recast.train.held_out import Measure
from recast.world.draw import draw
from recast.world.reading import read_title
from recast.world.scene import Scene, from_json

log = logging.getLogger(__name__)


def lettering(pictures: Sequence[np.ndarray], truths: Sequence[Mapping[str, Any] | None]) -> Measure:
    """1 where the title of a picture can still be read exactly, 0 where not, None where there was none to read.

    pictures: as they are, (H, W, 3) uint8. truths: of their examples; the last scene is the picture's. A title that
    cannot be read in the picture itself is none to read. Of a title only its own string is tried: any other reading
    would be wrong.
    """
    known = [_titled(picture, truth) for picture, truth in zip(pictures, truths, strict=True)]
    if not any(known):
        log.warning("lettering: none of %d held-out pictures has a title that can be read; not measured", len(known))

    def measure(number: int, picture: np.ndarray) -> float | None:
        scene, bare = known[number] or (None, None)
        return None if scene is None else float(_reads(picture, scene, bare))

    return measure


def _titled(picture: np.ndarray, truth: Mapping[str, Any] | None) -> tuple[Scene, np.ndarray] | None:
    """The scene of a picture whose title reads right, and the picture without it."""
    scene = from_json(truth["scenes"][-1]) if truth is not None else None
    if scene is None or scene.title is None or scene.background == "photograph":
        return None
    height, width = picture.shape[:2]
    bare = draw(replace(scene, title=None), width, height)
    return (scene, bare) if _reads(picture, scene, bare) else None


def _reads(picture: np.ndarray, scene: Scene, bare: np.ndarray | None) -> bool:
    assert scene.title is not None
    return read_title(picture, fonts=(), guesses=(scene.title,), background=bare).text is not None
