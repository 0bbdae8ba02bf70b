"""One of the two pictures of a registration, and what is found in it: once, however often it is looked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from recast.retouch import keypoints as points
from recast.retouch import residual
from recast.retouch.keypoints import Keypoints
from recast.retouch.thresholds import THRESHOLDS, Registering


@dataclass(frozen=True, eq=False)
class Side:
    """A picture (h, w, 3) uint8 as a registration sees it."""

    picture: np.ndarray
    thresholds: Registering = THRESHOLDS.registering

    @cached_property
    def grey(self) -> np.ndarray:
        """(h, w) uint8."""
        return cv2.cvtColor(self.picture, cv2.COLOR_RGB2GRAY)

    @cached_property
    def keypoints(self) -> Keypoints:
        return self._keypoints(self.grey)

    @cached_property
    def mirrored(self) -> Keypoints:
        """Those of the picture with left and right exchanged."""
        return self._keypoints(cv2.flip(self.grey, 1))

    @cached_property
    def scales(self) -> list[np.ndarray]:
        """As of `residual.scales`: what its tiles are compared on."""
        return residual.scales(self.grey)

    def _keypoints(self, grey: np.ndarray) -> Keypoints:
        return points.keypoints(grey, pixels=self.thresholds.keypoint_pixels, most=self.thresholds.most_keypoints)
