"""A thumbnail before it is flattened: a picture, and over it a logo and lettering that stay vector until the end.

Every check that can be exact is: where letters lie, how high their capitals stand, in which colour, is known from here
rather than read from pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """A line around each glyph, half of it outside. width: share of the frame's height."""

    colour: str
    width: float


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """A blurred copy behind the glyphs. dx, dy, blur (sigma): shares of the frame's height; opacity 0..1."""

    dx: float
    dy: float
    blur: float
    opacity: float
    colour: str = "#000000"


@dataclass(frozen=True, kw_only=True)
class Plate:
    """A box of one colour behind the letters. radius: of its corners, a share of the frame's height."""

    colour: str
    box: Box
    radius: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line as it is set. path: its outlines as SVG path data in a frame 1000 units high, y down.

    text: what it says, in reading order. box: around the ink, without stroke and shadow. cap_height: of its capitals,
    or of the title's tallest letters in a script that has none, as a share of the frame's height.
    """

    text: str
    path: str
    box: Box
    cap_height: float


@dataclass(frozen=True, kw_only=True)
class Lettering:
    """A title as it is set. font: the file's name; fill and colours: "#RRGGBB". size: em, a share of the height."""

    text: str
    lines: tuple[Line, ...]
    font: str
    size: float
    fill: str
    stroke: Stroke | None = None
    shadow: Shadow | None = None
    plate: Plate | None = None
    aspect: float = 16 / 9  # of the frame that it was set in: width / height


@dataclass(frozen=True, kw_only=True)
class Logo:
    """A logo as it is placed: its pixels with alpha (H, W, 4) come from `svg` text or `raster`; one of the two."""

    file: str
    box: Box
    svg: str | None = None
    raster: Picture | None = None


@dataclass(frozen=True, kw_only=True)
class Design:
    """base: the picture below, at any size of the frame's shape. layout: the id of the kit's layout it was set in."""

    base: Picture
    lettering: Lettering | None = None
    logo: Logo | None = None
    layout: str | None = None
    notes: tuple[str, ...] = field(default=())
