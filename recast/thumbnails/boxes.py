"""Rectangles of a thumbnail in shares of its frame, and the zones where nothing important may be.

Boxes are shares, not pixels: one layout serves every export size, and what is measured at 168 pixels compares with what
was placed at 1280.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from recast.errors import ConfigError

EDGE = 1e-6
"""Of a pixel: what rounding may add to an edge that is meant to lie between two."""


@dataclass(frozen=True)
class Box:
    """left, top, right, bottom as shares of the frame's width and height; 0, 0 is the top left corner.

    Raises ConfigError unless left < right and top < bottom. A box may reach out of the frame: what is drawn there is
    cut off, which is what the checks look for.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (self.left < self.right and self.top < self.bottom):
            came = f"{self.left:g}, {self.top:g}, {self.right:g}, {self.bottom:g}"
            raise ConfigError(f"box: {came} came; left < right and top < bottom accepted; swap the sides")

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Share of the frame, where the box lies within it."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @classmethod
    def of_pixels(cls, left: float, top: float, right: float, bottom: float, *, width: int, height: int) -> Box:
        """The box of pixel edges in a frame of width x height pixels."""
        return cls(left / width, top / height, right / width, bottom / height)

    def pixels(self, *, width: int, height: int) -> tuple[int, int, int, int]:
        """The whole pixels that the box touches in a frame of width x height: left, top, right, bottom, cut to it.

        Slices of an array: `rgb[top:bottom, left:right]`.
        """
        left, right = (
            min(max(x, 0), width) for x in (math.floor(self.left * width + EDGE), math.ceil(self.right * width - EDGE))
        )
        top, bottom = (
            min(max(y, 0), height)
            for y in (math.floor(self.top * height + EDGE), math.ceil(self.bottom * height - EDGE))
        )
        return left, top, right, bottom

    def meets(self, other: Box) -> bool:
        """Whether the two share an area; touching sides share none."""
        return self.overlap(other) > 0

    def overlap(self, other: Box) -> float:
        """The area that the two share, as a share of the frame."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)

    def is_within(self, other: Box) -> bool:
        slack = 1e-9
        return (
            self.left >= other.left - slack
            and self.top >= other.top - slack
            and self.right <= other.right + slack
            and self.bottom <= other.bottom + slack
        )

    def grown(self, across: float, down: float | None = None) -> Box:
        """The box with its sides moved out: by `across` left and right, by `down` (usual: the same) up and down."""
        down = across if down is None else down
        return Box(self.left - across, self.top - down, self.right + across, self.bottom + down)


FRAME = Box(0, 0, 1, 1)
BADGE = Box(0.78, 0.82, 1, 1)
"""Where the duration badge lies; published advice ranges from 15 to 25 % of the corner."""
BAR = Box(0, 0.96, 1, 1)
"""Where the watched-progress bar lies."""
HARD = FRAME.grown(-0.05)
"""Within the margin that rounded corners and cropping leave: outside it a check fails."""
SOFT = FRAME.grown(-0.08, -0.10)
"""Within the margin that is recommended: outside it a check warns."""


def union(boxes: Iterable[Box]) -> Box | None:
    """The smallest box around all; None of none."""
    known = list(boxes)
    if not known:
        return None
    return Box(
        min(each.left for each in known),
        min(each.top for each in known),
        max(each.right for each in known),
        max(each.bottom for each in known),
    )
