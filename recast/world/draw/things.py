"""The fourteen things and the eight logos of the world, each in one colour; where things stand in a picture.

A thing is drawn in a box one high whose bottom centre is (0, 0), y down; only what its colour names has the colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from recast.world.draw.canvas import Canvas, Colour, Point
from recast.world.draw.pen import (
    CIRCLE,
    LINE,
    Pen,
    Shape,
    cosine,
    lit,
    mirrored,
    shaded,
    shape,
    sine,
    smooth,
    star_shape,
)
from recast.world.scene import Thing

DARK: Colour = (52, 48, 62)
STEEL: Colour = (196, 204, 216)
GLASS: Colour = (176, 226, 250)
CREAM: Colour = (255, 240, 206)
LEAF: Colour = (60, 158, 66)
WOOD: Colour = (150, 92, 52)

THING_LINE = 0.03  # of the thing's size
FINEST_LINE = 0.0065  # of the picture's height: what can still be seen at 256 pixels


def thing(canvas: Canvas, kind: str, bottom_center: Point, size: float, colour: Colour) -> None:
    """Draw a thing of THINGS, `size` picture heights high, standing with its bottom centre at a point."""
    line = max(THING_LINE, FINEST_LINE / size)
    _DRAWN[kind](Pen(canvas, *bottom_center, size, line), colour)


def logo(canvas: Canvas, kind: str, center: Point, radius: float, colour: Colour) -> None:
    """Draw a logo of LOGOS that fills a circle of `radius` picture heights; its dark line shows it on any ground."""
    line = max(0.11, 0.8 * FINEST_LINE / radius)
    Pen(canvas, *center, radius * (1 - 0.8 * line), line).inked(LOGO_SHAPES[kind], colour)


def stand(each: Thing, aspect: float, background: str = "beach") -> tuple[float, float, float]:
    """Where a thing stands: x and y of its bottom centre, and its size, in heights of the picture."""
    narrow = min(1.0, 0.3 + 0.7 * aspect)
    if background == "plain" and each.size == "big":  # a sheet: nothing else is there
        size = 0.74 * narrow
        return _ACROSS[each.place] * aspect + each.dx, 0.5 + size / 2, size
    x = _ACROSS[each.place] * aspect + each.dx
    return (x, 0.8, 0.5 * narrow) if each.size == "big" else (x, 0.965, 0.25 * narrow)


_ACROSS: Mapping[str, float] = {"left": 0.16, "center": 0.5, "right": 0.84}


def _car(pen: Pen, colour: Colour) -> None:
    pen.inked(_CAR_CABIN, colour, shade=shaded(colour))
    pen.fill(_CAR_WINDOW, LINE, grow=0.5 * pen.line)
    pen.fill(_CAR_WINDOW, GLASS)
    pen.stroke(((0.0, -0.68), (0.0, -0.42)), LINE, 0.04)
    pen.inked(_CAR_BODY, colour, shade=shaded(colour))
    pen.stroke(((0.0, -0.38), (0.0, -0.2)), shaded(colour), 0.025)
    pen.disc(0.585, -0.3, 0.055, (255, 238, 140))
    pen.disc(-0.59, -0.3, 0.045, (255, 92, 70))
    for x in (-0.34, 0.34):
        pen.disc(x, -0.135, 0.155, LINE)
        pen.disc(x, -0.135, 0.075, STEEL)


def _ball(pen: Pen, colour: Colour) -> None:
    pen.inked_disc(0, -0.5, 0.47, colour, shade=shaded(colour))
    pen.fill(_BALL_BAND, LINE, grow=0.6 * pen.line)
    pen.fill(_BALL_BAND, (250, 250, 250))
    pen.fill(_STAR, LINE, 0.02, -0.47, 0.2, 0.2, grow=0.6 * pen.line)
    pen.fill(_STAR, colour, 0.02, -0.47, 0.2, 0.2)
    pen.disc(-0.22, -0.76, 0.07, (255, 255, 255), 0.045, -35)


def _balloon(pen: Pen, colour: Colour) -> None:
    pen.stroke(((0, -0.4), (0.035, -0.27), (-0.03, -0.13), (0.0, 0.0)), LINE, 0.022)
    pen.inked(_KNOT, colour)
    pen.inked(_BALLOON, colour, shade=shaded(colour))
    pen.disc(-0.12, -0.82, 0.05, lit(lit(colour)), 0.1, 28)


def _cat(pen: Pen, colour: Colour) -> None:
    pen.inked_stroke(((0.2, -0.1), (0.4, -0.1), (0.47, -0.24), (0.4, -0.4)), colour, 0.085)
    pen.inked(_CAT_BODY, colour, shade=shaded(colour))
    pen.disc(0, -0.17, 0.13, CREAM, 0.16)
    for x in (-0.12, 0.12):
        pen.inked_disc(x, -0.05, 0.1, colour, 0.055)
    pen.inked(_CAT_HEAD, colour, shade=shaded(colour))
    for side in (-1, 1):
        pen.fill(_CAT_EAR, (255, 150, 170), sx=side)
        pen.disc(0.13 * side, -0.66, 0.075, LINE, 0.09)
        pen.disc(0.13 * side, -0.66, 0.05, (182, 240, 96), 0.068)
        pen.disc(0.13 * side, -0.66, 0.02, LINE, 0.06)
        pen.stroke(((0.2 * side, -0.53), (0.42 * side, -0.57)), LINE, 0.014)
        pen.stroke(((0.2 * side, -0.5), (0.41 * side, -0.48)), LINE, 0.014)
    pen.disc(0, -0.5, 0.13, CREAM, 0.075)
    pen.disc(0, -0.545, 0.042, (250, 110, 140), 0.03)
    pen.stroke(((-0.06, -0.475), (0, -0.5), (0.06, -0.475)), LINE, 0.018)


def _robot(pen: Pen, colour: Colour) -> None:
    pen.stroke(((0, -0.8), (0, -0.93)), LINE, 0.035)
    pen.inked_disc(0, -0.93, 0.05, (255, 86, 76))
    for side in (-1, 1):
        pen.inked_stroke(((0.27 * side, -0.38), (0.39 * side, -0.3), (0.37 * side, -0.17)), STEEL, 0.06)
        pen.inked(_ROBOT_FOOT, DARK, x=0.13 * side)
    pen.inked(_ROBOT_BODY, colour, shade=shaded(colour))
    pen.fill(_ROBOT_PANEL, LINE, grow=0.5 * pen.line)
    pen.fill(_ROBOT_PANEL, CREAM)
    pen.disc(-0.07, -0.25, 0.038, (255, 92, 76))
    pen.disc(0.05, -0.25, 0.038, (60, 196, 110))
    pen.inked(_ROBOT_HEAD, colour, shade=shaded(colour))
    pen.fill(_ROBOT_FACE, (34, 40, 62))
    for side in (-1, 1):
        pen.disc(0.12 * side, -0.66, 0.055, (110, 240, 255))
    pen.stroke(((-0.09, -0.545), (0, -0.525), (0.09, -0.545)), (110, 240, 255), 0.025)


def _cup(pen: Pen, colour: Colour) -> None:
    pen.arc(0.34, -0.36, 0.16, 0.17, 0, 360, LINE, 0.1 + 2 * pen.line)
    pen.arc(0.34, -0.36, 0.16, 0.17, 0, 360, colour, 0.09)
    pen.inked(_CUP, colour, shade=shaded(colour))
    pen.inked_disc(0, -0.66, 0.36, lit(colour), 0.09)
    pen.disc(0, -0.65, 0.29, (98, 56, 32), 0.058)
    for x in (-0.13, 0.1):
        pen.stroke(((x, -0.76), (x + 0.05, -0.83), (x - 0.02, -0.9), (x + 0.03, -0.97)), LINE, 0.07)
        pen.stroke(((x, -0.76), (x + 0.05, -0.83), (x - 0.02, -0.9), (x + 0.03, -0.97)), (250, 250, 252), 0.036)
    pen.stroke(((-0.25, -0.5), (-0.21, -0.18)), lit(colour), 0.05)


def _flower(pen: Pen, colour: Colour) -> None:
    pen.inked_stroke(((0.0, -0.5), (0.02, -0.25), (0.0, -0.02)), LEAF, 0.04)
    pen.inked(_FLOWER_LEAF, LEAF)
    pen.inked(_FLOWER_LEAF, LEAF, y=-0.06, sx=-1)
    for x, y in _PETALS:
        pen.disc(0.215 * x, -0.68 + 0.215 * y, 0.135 + pen.line, LINE)
    for x, y in _PETALS:
        pen.disc(0.215 * x, -0.68 + 0.215 * y, 0.135, shaded(colour))
        pen.disc(0.19 * x - 0.01, -0.69 + 0.19 * y, 0.12, colour)
    pen.inked_disc(0, -0.68, 0.115, (110, 66, 34))
    pen.disc(-0.02, -0.7, 0.065, (176, 112, 48))


def _rocket(pen: Pen, colour: Colour) -> None:
    pen.inked(_FLAME, (255, 120, 30))
    pen.fill(_FLAME, (255, 226, 90), y=-0.095, sx=0.5, sy=0.55)
    for side in (-1, 1):
        pen.inked(_FIN, colour, sx=side)
    pen.inked(_HULL, (240, 243, 250), shade=(188, 196, 216))
    pen.inked(_NOSE, colour, shade=shaded(colour))
    pen.inked_disc(0, -0.56, 0.095, GLASS)
    pen.disc(-0.03, -0.59, 0.035, (255, 255, 255))
    pen.inked(_KEEL, colour)


def _boat(pen: Pen, colour: Colour) -> None:
    pen.stroke(((0.0, -0.95), (0.0, -0.25)), LINE, 0.05)
    pen.inked(_MAINSAIL, (252, 252, 255), shade=(206, 212, 228))
    pen.inked(_JIB, colour, shade=shaded(colour))
    pen.inked(_BOAT_HULL, colour, shade=shaded(colour))
    pen.stroke(((-0.44, -0.235), (0.46, -0.235)), (255, 255, 255), 0.045)


def _umbrella(pen: Pen, colour: Colour) -> None:
    pen.stroke(((0, -0.96), (0, -0.09)), LINE, 0.055)
    pen.arc(0.07, -0.09, 0.07, 0.065, 0, 180, LINE, 0.055)
    pen.inked(_UMBRELLA, colour, shade=shaded(colour))
    pen.fill(_UMBRELLA_GORE, lit(colour))
    pen.stroke(((0.0, -0.93), (-0.15, -0.72), (-0.165, -0.52)), LINE, 0.02)
    pen.stroke(((0.0, -0.93), (0.15, -0.72), (0.165, -0.52)), LINE, 0.02)


def _cake(pen: Pen, colour: Colour) -> None:
    pen.inked_disc(0, -0.07, 0.5, (236, 240, 248), 0.07)
    pen.inked(_CAKE, CREAM, shade=(228, 200, 150))
    pen.inked(_FROSTING, colour, shade=shaded(colour))
    pen.stroke(((-0.36, -0.2), (0.36, -0.2)), colour, 0.06)
    for x, y in ((-0.24, -0.53), (0.0, -0.55), (0.22, -0.53)):
        pen.inked_stroke(((x, y - 0.04), (x, y - 0.2)), (255, 255, 255), 0.045)
        pen.disc(x, y - 0.3, 0.055, LINE, 0.085)
        pen.disc(x, y - 0.295, 0.034, (255, 190, 40), 0.06)


def _apple(pen: Pen, colour: Colour) -> None:
    pen.inked(_APPLE, colour, shade=shaded(colour))
    pen.stroke(((0.0, -0.74), (0.02, -0.86), (0.07, -0.95)), LINE, 0.07)
    pen.inked(_APPLE_LEAF, LEAF)
    pen.disc(-0.22, -0.56, 0.055, lit(lit(colour)), 0.11, 25)


def _mushroom(pen: Pen, colour: Colour) -> None:
    pen.inked(_STALK, CREAM, shade=(222, 198, 158))
    pen.inked(_CAP, colour, shade=shaded(colour))
    dot = (255, 255, 255) if min(colour) < 200 else (196, 190, 204)
    for x, y, r in ((-0.22, -0.62, 0.09), (0.1, -0.77, 0.1), (0.29, -0.55, 0.07), (0.02, -0.52, 0.055)):
        pen.disc(x, y, r, dot, 0.85 * r)
    for side in (-1, 1):
        pen.disc(0.08 * side, -0.24, 0.028, LINE, 0.045)


def _gift(pen: Pen, colour: Colour) -> None:
    ribbon = (255, 222, 60) if colour[2] > 90 or colour[1] < 100 else (226, 40, 60)
    pen.inked(_BOX, colour, shade=shaded(colour))
    pen.inked(_RIBBON, ribbon)
    pen.inked(_LID, colour)
    pen.inked(_RIBBON_LID, ribbon)
    for side in (-1, 1):
        pen.inked(_BOW, ribbon, sx=side)
    pen.inked_disc(0, -0.77, 0.07, ribbon)


def _box(left: float, top: float, right: float, bottom: float, corner: float = 0.0) -> Shape:
    """A rectangle, its corners cut by `corner`."""
    c = corner
    if not c:
        return shape([(left, top), (right, top), (right, bottom), (left, bottom)])
    k = 0.3 * c
    return shape(
        [
            (left + c, top), (right - c, top), (right - k, top + k), (right, top + c),
            (right, bottom - c), (right - k, bottom - k), (right - c, bottom), (left + c, bottom),
            (left + k, bottom - k), (left, bottom - c), (left, top + c), (left + k, top + k),
        ]
    )  # fmt: skip


_STAR = star_shape(5, 0.46)
_CAR_CABIN = smooth(
    [(-0.42, -0.38), (-0.33, -0.7), (-0.2, -0.77), (0.15, -0.77), (0.27, -0.7), (0.43, -0.38), (0, -0.3)]
)
_CAR_WINDOW = shape([(-0.33, -0.44), (-0.25, -0.67), (0.19, -0.67), (0.33, -0.44)])
_CAR_BODY = smooth(
    [(-0.62, -0.15), (-0.64, -0.35), (-0.57, -0.43), (-0.3, -0.45), (0.3, -0.45), (0.55, -0.4), (0.64, -0.32),
     (0.63, -0.15), (0.5, -0.11), (-0.5, -0.11)]
)  # fmt: skip
_BALL_BAND = smooth(
    [
        (-0.46, -0.52),
        (-0.2, -0.66),
        (0.1, -0.7),
        (0.43, -0.64),
        (0.46, -0.45),
        (0.2, -0.3),
        (-0.15, -0.25),
        (-0.43, -0.32),
    ]
)
_BALLOON = smooth(
    [
        (0, -0.98),
        (0.2, -0.93),
        (0.29, -0.75),
        (0.23, -0.56),
        (0.06, -0.43),
        (-0.06, -0.43),
        (-0.23, -0.56),
        (-0.29, -0.75),
        (-0.2, -0.93),
    ]
)
_KNOT = shape([(0, -0.45), (0.06, -0.37), (-0.06, -0.37)])
_CAT_BODY = smooth(mirrored([(0, -0.5), (0.18, -0.42), (0.27, -0.2), (0.22, -0.02), (0, -0.01)]))
_CAT_HEAD = shape(
    mirrored(
        [
            (0, -0.85),
            (0.13, -0.85),
            (0.22, -0.99),
            (0.29, -0.95),
            (0.33, -0.75),
            (0.34, -0.6),
            (0.27, -0.46),
            (0.14, -0.39),
            (0, -0.38),
        ]
    )
)
_CAT_EAR = shape([(0.17, -0.86), (0.23, -0.93), (0.265, -0.91), (0.275, -0.8)])
_ROBOT_BODY = _box(-0.25, -0.44, 0.25, -0.1, 0.05)
_ROBOT_PANEL = _box(-0.14, -0.33, 0.14, -0.17, 0.03)
_ROBOT_FOOT = _box(-0.09, -0.12, 0.09, -0.02, 0.04)
_ROBOT_HEAD = _box(-0.31, -0.82, 0.31, -0.47, 0.09)
_ROBOT_FACE = _box(-0.235, -0.755, 0.235, -0.5, 0.06)
_CUP = smooth(
    [(-0.36, -0.66), (0, -0.62), (0.36, -0.66), (0.34, -0.3), (0.24, -0.05), (0, -0.02), (-0.24, -0.05), (-0.34, -0.3)]
)
_FLOWER_LEAF = smooth([(0.01, -0.1), (0.1, -0.27), (0.29, -0.33), (0.24, -0.14)])
_PETALS = tuple((cosine(60 * i - 90), sine(60 * i - 90)) for i in range(6))
_FLAME = smooth([(-0.1, -0.2), (0, -0.23), (0.1, -0.2), (0.08, -0.08), (0, 0.0), (-0.08, -0.08)])
_FIN = smooth([(0.13, -0.5), (0.31, -0.3), (0.34, -0.12), (0.2, -0.19), (0.12, -0.22)])
_HULL = smooth(mirrored([(0, -0.97), (0.13, -0.78), (0.19, -0.52), (0.15, -0.22), (0, -0.19)]))
_NOSE = smooth(mirrored([(0, -0.99), (0.06, -0.91), (0.14, -0.755), (0, -0.72)]))
_KEEL = _box(-0.035, -0.36, 0.035, -0.14, 0.02)
_MAINSAIL = smooth([(0.04, -0.97), (0.27, -0.66), (0.42, -0.32), (0.22, -0.3), (0.04, -0.31)])
_JIB = shape([(-0.05, -0.9), (-0.06, -0.33), (-0.36, -0.33), (-0.22, -0.6)])
_BOAT_HULL = smooth(
    [(-0.52, -0.29), (0, -0.25), (0.55, -0.29), (0.44, -0.1), (0.3, -0.02), (-0.26, -0.02), (-0.42, -0.1)]
)
_UMBRELLA = shape(
    [(0.55 * cosine(180 + 10 * i), -0.46 - 0.48 * sine(-(180 + 10 * i))) for i in range(19)]
    + [(0.45, -0.51), (0.36, -0.46), (0.27, -0.51), (0.18, -0.46), (0.09, -0.51), (0, -0.46),
       (-0.09, -0.51), (-0.18, -0.46), (-0.27, -0.51), (-0.36, -0.46), (-0.45, -0.51)]
)  # fmt: skip
_UMBRELLA_GORE = shape(
    [
        (0, -0.91),
        (0.12, -0.74),
        (0.145, -0.52),
        (0.09, -0.53),
        (0, -0.49),
        (-0.09, -0.53),
        (-0.145, -0.52),
        (-0.12, -0.74),
    ]
)
_CAKE = _box(-0.4, -0.48, 0.4, -0.09, 0.06)
_FROSTING = smooth(
    [(-0.42, -0.5), (-0.2, -0.57), (0.2, -0.57), (0.42, -0.5), (0.42, -0.36), (0.34, -0.32), (0.25, -0.4),
     (0.15, -0.3), (0.04, -0.39), (-0.07, -0.28), (-0.17, -0.39), (-0.28, -0.3), (-0.36, -0.34), (-0.42, -0.38)], 4
)  # fmt: skip
_APPLE = smooth(
    [(0, -0.71), (0.15, -0.77), (0.34, -0.72), (0.44, -0.5), (0.36, -0.2), (0.16, -0.02), (0, -0.06), (-0.16, -0.02),
     (-0.36, -0.2), (-0.44, -0.5), (-0.34, -0.72), (-0.15, -0.77)]
)  # fmt: skip
_APPLE_LEAF = smooth([(0.05, -0.83), (0.14, -0.96), (0.33, -0.97), (0.25, -0.83)])
_STALK = smooth(mirrored([(0, -0.5), (0.15, -0.46), (0.14, -0.25), (0.22, -0.05), (0, -0.01)]))
_CAP = smooth(
    [
        (-0.47, -0.45),
        (-0.4, -0.72),
        (-0.2, -0.93),
        (0, -0.98),
        (0.2, -0.93),
        (0.4, -0.72),
        (0.47, -0.45),
        (0.25, -0.39),
        (0, -0.41),
        (-0.25, -0.39),
    ]
)
_BOX = _box(-0.38, -0.55, 0.38, -0.02, 0.03)
_LID = _box(-0.44, -0.71, 0.44, -0.52, 0.03)
_RIBBON = _box(-0.085, -0.52, 0.085, -0.02)
_RIBBON_LID = _box(-0.085, -0.71, 0.085, -0.52)
_BOW = smooth([(0.02, -0.76), (0.16, -0.97), (0.33, -0.95), (0.34, -0.79), (0.2, -0.73)])

LOGO_SHAPES: Mapping[str, Shape] = {
    "star": star_shape(5, 0.47),
    "heart": smooth(
        mirrored([(0, -0.5), (0.28, -0.84), (0.72, -0.82), (0.96, -0.42), (0.78, 0.1), (0.35, 0.6), (0, 0.92)])
    ),
    "lightning bolt": shape(
        [(0.2, -1.0), (-0.62, 0.14), (-0.1, 0.14), (-0.3, 1.0), (0.62, -0.26), (0.1, -0.26), (0.5, -1.0)]
    ),
    "circle": shape(CIRCLE.points * 0.88),
    "triangle": shape([(0, -0.92), (0.94, 0.74), (-0.94, 0.74)]),
    "moon": shape(
        [(0.96 * cosine(a) - 0.05, 0.96 * sine(a)) for a in range(45, 316, 15)]
        + [(0.45 + 0.72 * cosine(a), 0.72 * sine(a)) for a in range(270, 89, -15)]
    ),
    "cross": shape(
        [(-0.33, -0.92), (0.33, -0.92), (0.33, -0.33), (0.92, -0.33), (0.92, 0.33), (0.33, 0.33), (0.33, 0.92),
         (-0.33, 0.92), (-0.33, 0.33), (-0.92, 0.33), (-0.92, -0.33), (-0.33, -0.33)]
    ),
    "diamond": shape([(0, -0.98), (0.72, 0), (0, 0.98), (-0.72, 0)]),
}  # fmt: skip

_DRAWN: Mapping[str, Callable[[Pen, Colour], None]] = {
    "car": _car, "ball": _ball, "balloon": _balloon, "cat": _cat, "robot": _robot, "cup": _cup, "flower": _flower,
    "rocket": _rocket, "boat": _boat, "umbrella": _umbrella, "cake": _cake, "apple": _apple, "mushroom": _mushroom,
    "gift": _gift,
}  # fmt: skip
