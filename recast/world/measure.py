"""Pixels → what is in the picture: by drawing every possibility and looking which one is there.

A measure starts from a scene the picture may show, and changes it to whatever makes the drawing most like the picture
(analysis by synthesis): `attributes` decides one attribute, `search` goes from one to the next, `eye` compares. It
answers *unknown* rather than guessing: where the best value is not clearly nearer than the next, where neither is near,
and where the attribute does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.world import search
from recast.world.attributes import HIDDEN, UNKNOWN, Finding, candidates, choose, listed, readable, settle
from recast.world.eye import Eye, looks_same
from recast.world.scene import Scene

__all__ = [
    "HIDDEN", "UNKNOWN", "Eye", "Finding", "Reading", "candidates", "choose", "looks_same", "read", "readable",
    "settle",
]  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """A picture read: the scene most like it, what was found attribute by attribute, and how far the drawing is.

    distance: mean over the picture, in Lab.
    """

    scene: Scene
    found: Mapping[str, Finding]
    distance: float

    def value(self, path: str) -> Any:
        """The attribute's value, or UNKNOWN."""
        return self.found[path].value if path in self.found else UNKNOWN


def read(
    pixels: np.ndarray | Eye,
    like: Scene | Sequence[Scene],
    paths: Iterable[str] | None = None,
    *,
    photograph: np.ndarray | None = None,
    is_thorough: bool = True,
) -> Reading:
    """What the attributes at `paths` (all that can show, if None) are in a picture (H, W, 3) uint8, or an Eye on one.

    like: a scene the picture may show, or several: the search starts from the nearest. It takes from it whatever is
    not asked for. photograph: the pixels of a scene whose background is "photograph", at the picture's size.
    is_thorough: whether to try attributes together, and people in other places, where the drawing stays far from the
    picture: slower, and needed only if the picture may differ from `like` in several that hide each other.
    """
    likes = [like] if isinstance(like, Scene) else list(like)
    if not likes:
        raise InputError("like: nothing came; at least one scene to start from accepted")
    eye = pixels if isinstance(pixels, Eye) else Eye(pixels, photograph)
    start = min(likes, key=eye.cost) if len(likes) > 1 else likes[0]
    wanted = tuple(dict.fromkeys(paths)) if paths is not None else listed(start)
    scene, found = search.fit(eye, start, wanted, is_thorough=is_thorough)
    return Reading(scene, found, float(eye.residual(scene).mean()))
