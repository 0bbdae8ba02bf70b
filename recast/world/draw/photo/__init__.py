"""Photograph-like pictures made from natural statistics, without any data set, and what can be done to photographs."""

from __future__ import annotations

import numpy as np

from recast.errors import InputError
from recast.world.draw.photo.clouds import clouds
from recast.world.draw.photo.hills import hills
from recast.world.draw.photo.leaves import leaves
from recast.world.draw.photo.lens import blur, blur_background, camera
from recast.world.draw.photo.light import time_of_day
from recast.world.draw.photo.still_life import still_life
from recast.world.scene import PHOTOGRAPHS

__all__ = ["base", "blur", "blur_background", "camera", "time_of_day"]

PAINTERS = {"leaves": leaves, "clouds": clouds, "still life": still_life, "hills": hills}


def base(kind: str, variant: int, time: str, width: int, height: int) -> np.ndarray:
    """A picture (height, width, 3) uint8 with the statistics of a photograph: one of PHOTOGRAPHS, at a time of day.

    variant: any seed of 0 to 2^31; the same one shows the same place at every size. Its nights, sunsets and winters
    are what `time_of_day` makes of its day, so that the truth of an edit is known for every photograph alike.
    Raises InputError for a kind or time the world does not know.
    """
    if kind not in PAINTERS:
        raise InputError(f"kind={kind!r}: not a photograph of this world; accepted: {', '.join(PHOTOGRAPHS)}")
    return time_of_day(camera(PAINTERS[kind](variant, width, height), variant), time)
