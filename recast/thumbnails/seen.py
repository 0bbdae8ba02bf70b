"""A picture as the brand score and learning see it: colours, tone, style, faces and lines of text, each found once.

Everything is measured at one size, so that a picture that comes smaller or larger is the same picture; and what a
network found counts by a weight that fades in, so that a line it is half sure of does not decide by being there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recast.thumbnails.boxes import Box, union
from recast.thumbnails.design import Design
from recast.thumbnails.palette import Colours, Swatch, colours, palette, working
from recast.thumbnails.seeing import Embeds, FoundFace, ReadLine, Sight
from recast.thumbnails.tone import Tone, tone

PIXELS = 960 * 540
"""All pictures are looked at this size: titles are read at it, and 1280 pixels, give or take some, shrink to it."""
SURE = 0.5, 0.7
"""The score of a line of text at which it begins to count, and from which it counts in full."""
LEAST_LINE = 0.06, 0.10
"""The height of a line's box, a share of the frame, at which it begins to be a title and no part of the scene."""
ON_FACE = 0.45, 0.75
"""The share of a line that lies on a face at which it begins to be no line: readers take eyes for 00."""
SURE_FACE = 0.4, 0.6
"""The same as SURE for faces."""
LESSER = 0.25, 0.75
"""A face's area, as a share of the largest one's, at which it begins to count beside it."""


@dataclass(frozen=True, eq=False)
class Seen:
    """rgb: (H, W, 3) uint8. design: where it comes from, for lettering that is known exactly."""

    rgb: np.ndarray
    sight: Sight
    style: Embeds
    design: Design | None = None

    @cached_property
    def colours(self) -> Colours:
        return colours(self.rgb)

    @cached_property
    def swatches(self) -> tuple[Swatch, ...]:
        """The main colours, to be named: which they are may change with a pixel, so nothing is measured by them."""
        return palette([self.colours], most=12)

    @cached_property
    def tone(self) -> Tone:
        return tone(self.rgb)

    @cached_property
    def embedding(self) -> np.ndarray:
        return np.asarray(self.style.embed(self.rgb), np.float64)

    @cached_property
    def faces(self) -> tuple[FoundFace, ...] | None:
        """The faces, largest first; None where nothing is there to find them with."""
        return None if self.sight.faces is None else tuple(self.sight.faces.faces(self.rgb))

    @cached_property
    def weighed_faces(self) -> tuple[tuple[Box, float], ...] | None:
        """The boxes of faces and how much each counts, 0..1; None where nothing is there to find them with."""
        if self.faces is None:
            return None
        largest = max((each.box.area for each in self.faces), default=1.0)
        return tuple(
            (each.box, ramp(each.score, SURE_FACE) * ramp(each.box.area / largest, LESSER)) for each in self.faces
        )

    @cached_property
    def weighed_lines(self) -> tuple[tuple[ReadLine, float], ...] | None:
        """The lines of the title and how much each counts, 0..1, those that count at all.

        Exact, and 1, where the design is known; None where nothing is there to read with.
        """
        if self.design is not None:
            lettering = self.design.lettering
            return tuple((ReadLine(each.text, each.box, 1.0), 1.0) for each in lettering.lines) if lettering else ()
        if self.sight.text is None:
            return None
        weighed = [(line, self._weight(line)) for line in self.sight.text.read(self.rgb)]
        return tuple((line, weight) for line, weight in weighed if weight > 0)

    def _weight(self, line: ReadLine) -> float:
        if not any(letter.isalnum() for letter in line.text):
            return 0.0
        on_face = max([line.box.overlap(each.box) / line.box.area for each in self.faces or ()], default=0.0)
        return ramp(line.score, SURE) * ramp(line.box.height, LEAST_LINE) * (1 - ramp(on_face, ON_FACE))

    @cached_property
    def lines(self) -> tuple[ReadLine, ...] | None:
        """The lines that count by half or more; None where nothing is there to read with."""
        weighed = self.weighed_lines
        return None if weighed is None else tuple(line for line, weight in weighed if weight >= 0.5)

    @property
    def face(self) -> Box | None:
        """The box of the largest face."""
        return self.faces[0].box if self.faces else None

    @property
    def text(self) -> Box | None:
        """The box around all lines of the title."""
        return union(each.box for each in self.lines or ())


def see(rgb: np.ndarray, sight: Sight, design: Design | None = None) -> Seen:
    """A picture (H, W, 3) uint8 to be looked at; with a hand-made style where `sight` has none."""
    from recast.thumbnails.style import Style

    return Seen(working(rgb, PIXELS), sight, sight.style or Style(), design)


def ramp(value: float, ends: tuple[float, float]) -> float:
    """0 up to the first end, 1 from the second on, straight between: a margin in place of a threshold."""
    return float(np.clip((value - ends[0]) / (ends[1] - ends[0]), 0, 1))
