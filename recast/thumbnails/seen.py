"""A picture as the brand score and learning see it: colours, tone, style, faces and lines of text, each found once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recast.thumbnails.boxes import Box, union
from recast.thumbnails.design import Design
from recast.thumbnails.palette import Colours, Swatch, colours, palette, working
from recast.thumbnails.seeing import Embeds, FoundFace, ReadLine, Sight
from recast.thumbnails.tone import Tone, tone

PIXELS = 1280 * 720
"""Larger pictures are looked at this small: as they are shown."""
SURE = 0.6
"""The least score of a line of text that counts."""
LEAST_LINE = 0.08
"""The least height of a line's box that is a title, as a share of the frame: smaller ones are part of the scene."""
ON_FACE = 0.6
"""The share of a line that lies on a face from which it is no line: readers take eyes for 00."""


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
    def lines(self) -> tuple[ReadLine, ...] | None:
        """The lines of the title, exact where the design is known; None where nothing is there to read with."""
        if self.design is not None:
            lettering = self.design.lettering
            return tuple(ReadLine(each.text, each.box, 1.0) for each in lettering.lines) if lettering else ()
        if self.sight.text is None:
            return None
        faces = [each.box for each in self.faces or ()]
        return tuple(
            line
            for line in self.sight.text.read(self.rgb)
            if line.score >= SURE
            and line.box.height >= LEAST_LINE
            and any(letter.isalnum() for letter in line.text)
            and not any(line.box.overlap(face) > ON_FACE * line.box.area for face in faces)
        )

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

    if rgb.shape[0] * rgb.shape[1] > PIXELS:
        rgb = working(rgb, PIXELS)
    return Seen(rgb, sight, sight.style or Style(), design)
