"""Hair and hats: what grows or sits on a head whose centre is (0, 0) and whose face is about 0.26 wide, 0.34 high.

Hair has a part behind the head and a part before it. Under a hat only what a hat leaves free is drawn, so that each
kind of hair is still told by its sides: no tip sticks through the cloth.
"""

from __future__ import annotations

from recast.world.draw.canvas import Colour, mix
from recast.world.draw.pen import LINE, Pen, cosine, lit, mirrored, shaded, shape, sine, smooth

GOLD: Colour = (255, 206, 60)
WHITE: Colour = (250, 250, 252)


def hair_behind(pen: Pen, kind: str, colour: Colour, sx: float, sy: float, hatted: bool) -> None:
    """The hair behind the head; sx, sy: how much wider and higher than usual the face is."""
    if kind == "long":
        pen.inked(_LONG, colour, sx=sx, shade=shaded(colour))
    elif kind == "curly":
        pen.inked(_CURLY_HATTED if hatted else _CURLY, colour, sx=sx, shade=shaded(colour))
    elif kind == "bun":
        x, y = (0.175 * sx, 0.1) if hatted else (0.0, -0.235 * sy)
        pen.inked_disc(x, y, 0.075, colour, shade=shaded(colour))
        pen.arc(x, y, 0.04, 0.04, 180, 330, shaded(colour), 0.011)
    elif kind == "ponytail":
        pen.inked(_TAIL, colour, sx=sx, shade=shaded(colour))


def hair_before(pen: Pen, kind: str, colour: Colour, sx: float, sy: float, hatted: bool) -> None:
    """The hair before the forehead; for a bald head, the light on it."""
    if kind == "bald":
        return
    front = _HATTED[kind] if hatted else _FRONT[kind]
    pen.inked(front, colour, sx=sx, sy=sy)
    if not hatted:
        for points in _SHINE[kind]:
            pen.stroke([(x * sx, y * sy) for x, y in points], lit(colour), 0.014)
    if kind == "ponytail":
        pen.inked_disc(-0.148 * sx, -0.1 * sy, 0.024, (255, 90, 120))


def hat(pen: Pen, kind: str, colour: Colour, sx: float, sy: float) -> None:
    """The hat on the head, as wide as the head is."""
    y = -0.17 * (sy - 1)  # a higher head carries it higher
    shade = shaded(colour)
    if kind == "cap":
        pen.inked(_CAP_DOME, colour, y=y, sx=sx, shade=shade)
        pen.stroke([(0.0, -0.26 + y), (0.012, -0.2 + y), (0.008, -0.12 + y)], shade, 0.008)
        pen.inked(_CAP_VISOR, mix(shade, colour, 0.35), y=y, sx=sx)
        pen.inked_disc(0, -0.272 + y, 0.015, colour)
        pen.inked_disc(-0.015, -0.18 + y, 0.036, WHITE)
    elif kind == "beanie":
        pen.inked_disc(0, -0.315 + y, 0.045, lit(colour))
        pen.inked(_BEANIE, colour, y=y, sx=sx, shade=shade)
        pen.inked(_CUFF, lit(colour), y=y, sx=sx)
        for x in (-0.105, -0.055, 0.0, 0.055, 0.105):
            pen.stroke([(x * sx, -0.14 + y), (x * sx, -0.09 + y)], shade, 0.008)
    elif kind == "top hat":
        pen.inked(_TOP, colour, y=y, sx=sx, shade=shade)
        pen.fill(_BAND, LINE, y=y, sx=sx)
        pen.inked(_BRIM, colour, y=y, sx=sx, shade=shade)
    elif kind == "crown":
        pen.inked(_VELVET, colour, y=y, sx=sx)
        pen.inked(_CROWN, GOLD, y=y, sx=sx, shade=(224, 160, 30))
        for x, high in ((-0.125, -0.155), (0.0, -0.155), (0.125, -0.155)):
            pen.inked_disc(x * sx, high + y, 0.03, colour)
        for x, high in ((-0.16, -0.27), (0.0, -0.315), (0.16, -0.27)):
            pen.inked_disc(x * sx, high + y, 0.022, colour)
    elif kind == "party hat":
        pen.inked(_CONE, colour, y=y, shade=shade)
        for points in _CONE_STRIPES:
            pen.stroke([(px, py + y) for px, py in points], WHITE, 0.022)
        for i in range(6):
            pen.disc(0.028 * cosine(60 * i), -0.35 + y + 0.028 * sine(60 * i), 0.03, LINE)
        pen.disc(0, -0.35 + y, 0.042, lit(lit(colour)))
        pen.disc(0, -0.35 + y, 0.022, colour)


def _bumps(count: int, radius: float, depth: float, y: float, wide: float = 1.0) -> list[tuple[float, float]]:
    radii = (radius, radius - depth)
    step = 180 / count
    return [(wide * radii[i % 2] * cosine(i * step), y + radii[i % 2] * sine(i * step)) for i in range(2 * count)]


_LONG = smooth(
    mirrored(
        [(0, -0.235), (0.11, -0.215), (0.18, -0.11), (0.19, 0.05), (0.215, 0.22), (0.2, 0.33), (0.1, 0.31), (0, 0.3)]
    )
)
_CURLY = smooth(_bumps(11, 0.228, 0.035, -0.055), 4)
_CURLY_HATTED = smooth(
    mirrored(
        [
            (0, -0.15),
            (0.17, -0.13),
            (0.19, -0.08),
            (0.235, -0.05),
            (0.215, 0.01),
            (0.235, 0.06),
            (0.195, 0.1),
            (0.17, 0.13),
            (0, 0.1),
        ]
    )
)
_TAIL = smooth(
    [
        (-0.1, -0.16),
        (-0.17, -0.17),
        (-0.235, -0.08),
        (-0.25, 0.08),
        (-0.225, 0.23),
        (-0.255, 0.31),
        (-0.18, 0.27),
        (-0.145, 0.13),
        (-0.14, 0.0),
    ]
)

_SHORT = smooth(
    [(-0.14, 0.03), (-0.155, -0.07), (-0.13, -0.175), (-0.05, -0.225), (0.06, -0.23), (0.14, -0.175), (0.157, -0.07),
     (0.14, 0.03), (0.123, -0.03), (0.11, -0.095), (0.05, -0.138), (-0.03, -0.1), (-0.085, -0.115), (-0.118, -0.06),
     (-0.127, 0.0)]
)  # fmt: skip
_FRINGE = smooth(
    mirrored(
        [
            (0, -0.215),
            (0.09, -0.21),
            (0.155, -0.12),
            (0.165, 0.03),
            (0.15, 0.13),
            (0.128, 0.06),
            (0.112, -0.05),
            (0.06, -0.1),
            (0, -0.165),
        ]
    )
)
_CURLS = smooth(
    [(-0.155, 0.03), (-0.175, -0.06), (-0.15, -0.14), (-0.09, -0.2), (0, -0.22), (0.09, -0.2), (0.15, -0.14),
     (0.175, -0.06), (0.155, 0.03), (0.125, 0.0), (0.13, -0.055), (0.105, -0.075), (0.085, -0.115), (0.05, -0.1),
     (0.015, -0.125), (-0.02, -0.1), (-0.06, -0.115), (-0.085, -0.085), (-0.115, -0.075), (-0.125, -0.02)], 4
)  # fmt: skip
_SLICK = smooth(
    mirrored(
        [
            (0, -0.222),
            (0.08, -0.212),
            (0.14, -0.15),
            (0.153, -0.05),
            (0.138, 0.02),
            (0.124, -0.05),
            (0.085, -0.115),
            (0, -0.15),
        ]
    )
)
_SPIKES = shape(
    [(-0.142, 0.03), (-0.2, -0.03), (-0.165, -0.07), (-0.225, -0.145), (-0.15, -0.155), (-0.155, -0.26),
     (-0.08, -0.21), (-0.045, -0.31), (0.01, -0.225), (0.075, -0.305), (0.095, -0.205), (0.175, -0.25),
     (0.155, -0.15), (0.23, -0.13), (0.165, -0.065), (0.2, -0.02), (0.142, 0.03), (0.122, -0.05), (0.088, -0.08),
     (0.07, -0.13), (0.03, -0.085), (-0.01, -0.135), (-0.05, -0.085), (-0.085, -0.13), (-0.122, -0.05)]
)  # fmt: skip
_SWEPT = smooth(
    [(-0.14, 0.02), (-0.153, -0.06), (-0.13, -0.165), (-0.05, -0.218), (0.06, -0.22), (0.14, -0.165), (0.155, -0.06),
     (0.14, 0.05), (0.124, -0.03), (0.095, -0.09), (0.0, -0.1), (-0.075, -0.14), (-0.118, -0.08), (-0.126, -0.02)]
)  # fmt: skip
_FRONT = {"short": _SHORT, "long": _FRINGE, "curly": _CURLS, "bun": _SLICK, "spiky": _SPIKES, "ponytail": _SWEPT}

_SIDES = smooth(
    mirrored([(0, -0.15), (0.13, -0.15), (0.155, -0.06), (0.144, 0.05), (0.123, 0.0), (0.112, -0.08), (0, -0.09)])
)
_SIDES_SPIKED = shape(
    mirrored([(0, -0.15), (0.13, -0.15),
              (0.16, -0.1), (0.225, -0.07), (0.175, -0.03), (0.215, 0.02), (0.145, 0.05), (0.122, -0.03), (0.1, -0.055),
              (0.07, -0.09), (0.035, -0.06), (0, -0.09)])
)  # fmt: skip
_HATTED = {"short": _SIDES, "long": _FRINGE, "curly": _CURLS, "bun": _SLICK, "spiky": _SIDES_SPIKED, "ponytail": _SWEPT}
_SHINE = {
    "short": (((-0.09, -0.165), (-0.03, -0.192), (0.02, -0.196)),),
    "long": (((0.05, -0.175), (0.1, -0.145), (0.13, -0.08)), ((-0.06, -0.165), (-0.1, -0.135))),
    "curly": (((-0.1, -0.15), (-0.06, -0.17)), ((0.05, -0.15), (0.09, -0.135)), ((-0.02, -0.185), (0.02, -0.19))),
    "bun": (((-0.09, -0.15), (-0.04, -0.185), (0.03, -0.19)),),
    "spiky": (((-0.1, -0.14), (-0.11, -0.19)), ((-0.03, -0.17), (-0.04, -0.24)), ((0.06, -0.17), (0.065, -0.23))),
    "ponytail": (((-0.07, -0.165), (0.0, -0.185), (0.07, -0.175)),),
}

_CAP_DOME = smooth(mirrored([(0, -0.272), (0.09, -0.252), (0.15, -0.19), (0.168, -0.105), (0.09, -0.09), (0, -0.088)]))
_CAP_VISOR = smooth(
    [
        (-0.1, -0.115),
        (0.0, -0.125),
        (0.12, -0.13),
        (0.25, -0.1),
        (0.285, -0.06),
        (0.2, -0.062),
        (0.08, -0.082),
        (-0.04, -0.082),
    ]
)
_BEANIE = smooth(mirrored([(0, -0.31), (0.08, -0.29), (0.14, -0.215), (0.157, -0.12), (0, -0.1)]))
_CUFF = smooth(mirrored([(0, -0.158), (0.155, -0.15), (0.172, -0.115), (0.16, -0.073), (0, -0.072)]))
_TOP = shape(mirrored([(0, -0.395), (0.1, -0.39), (0.135, -0.375), (0.118, -0.25), (0.122, -0.12), (0, -0.105)]))
_BAND = shape(mirrored([(0, -0.19), (0.12, -0.195), (0.123, -0.145), (0, -0.14)]))
_BRIM = smooth(mirrored([(0, -0.128), (0.12, -0.14), (0.21, -0.165), (0.225, -0.13), (0.14, -0.09), (0, -0.076)]))
_VELVET = smooth(mirrored([(0, -0.285), (0.08, -0.27), (0.14, -0.2), (0.13, -0.13), (0, -0.12)]))
_CROWN = shape(mirrored([(0, -0.31), (0.045, -0.195), (0.1, -0.225), (0.16, -0.27), (0.165, -0.1), (0, -0.082)]))
_CONE = shape(
    [
        (0, -0.36),
        (0.06, -0.25),
        (0.125, -0.115),
        (0.06, -0.1),
        (0, -0.095),
        (-0.06, -0.1),
        (-0.125, -0.115),
        (-0.06, -0.25),
    ]
)
_CONE_STRIPES = (
    ((-0.034, -0.275), (0.044, -0.235)),
    ((-0.068, -0.21), (0.078, -0.165)),
    ((-0.1, -0.14), (0.0, -0.112)),
)
