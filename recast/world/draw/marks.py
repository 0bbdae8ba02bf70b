"""Graphics put on a finished picture: an arrow or a ring that shows a place, a border, a sticker or logo."""

from __future__ import annotations

import numpy as np

from recast.errors import InputError
from recast.world.draw.canvas import Canvas, Colour, Point, darker, mix
from recast.world.draw.pen import LINE, Pen, Shape, cosine, shape, sine
from recast.world.draw.people import head
from recast.world.draw.things import LOGO_SHAPES, logo, stand
from recast.world.scene import COLOURS, CORNERS, MARKS, PLACES, Mark, Scene

WHITE: Colour = (255, 255, 255)
NAVY: Colour = (26, 30, 54)
BORDER = 0.04  # thickness, in heights of the picture
STICKER, LOGO = 0.105, 0.1  # radii
INSET = 0.145  # of a corner's centre from both edges
TILT = -14  # of a sticker, in degrees

# An arrow that points at the origin from the right, its length 1
ARROW = shape([(0, 0), (0.46, -0.36), (0.43, -0.15), (1.0, -0.19), (1.0, 0.19), (0.43, 0.15), (0.46, 0.36)])


def draw(canvas: Canvas, mark: Mark, scene: Scene) -> None:
    """Paint a mark of the scene on the canvas.

    Raises InputError for a kind of mark the world does not know, or a place that kind cannot have.
    """
    colour = COLOURS[mark.colour]
    if mark.kind in ("arrow", "circle"):
        _check(mark, PLACES)
        (_arrow if mark.kind == "arrow" else _ring)(canvas, colour, mark.place, scene)
    elif mark.kind in ("sticker", "logo"):
        _check(mark, (*CORNERS, "center"))
        center, size = _spot(mark.place, canvas.aspect)
        (_sticker if mark.kind == "sticker" else _logo)(canvas, mark.shape, colour, center, size)
    elif mark.kind == "border":
        _border(canvas, colour)
    else:
        raise InputError(f"kind={mark.kind!r}: not known to the world; accepted: {', '.join(MARKS)}")


def shown(scene: Scene, place: str, aspect: float) -> tuple[Point, float, float]:
    """What an arrow or ring at a place shows: its centre, its radius, and the arrow's way there.

    The way is an angle in degrees, clockwise from the right: where the arrow comes from. A head is shown if a person
    stands at the place, else a thing, else the picture's own middle height there, as of a photograph.
    """
    inward = 180 if place == "right" else 0
    for character in scene.characters:
        if character.place == place:
            x, y, unit = head(character, aspect)
            # Beside a lone head, from the free side; between two, from the outer corner, so that no face is covered
            alone = len(scene.characters) == 1
            if alone:
                angle = inward + (18 if inward else -18)
            else:
                angle = -142 if x < aspect / 2 else -38
            return (x, y), 0.238 * unit, angle
    for thing in scene.things:
        if thing.place == place:
            x, bottom, size = stand(thing, aspect, scene.background)
            return (x, bottom - size / 2), 0.6 * size, -115 if inward else -65
    across = {"left": 1 / 5, "center": 1 / 2, "right": 4 / 5}[place]
    return (across * aspect, 0.5), 0.17 * _narrow(aspect), -128 if inward else -52


def _arrow(canvas: Canvas, colour: Colour, place: str, scene: Scene) -> None:
    (x, y), radius, angle = shown(scene, place, canvas.aspect)
    length = 0.28 * _narrow(canvas.aspect)
    reach = radius * 0.92
    tip = (x + reach * cosine(angle), y + reach * sine(angle))
    pen = Pen(canvas, *tip, length, 0.05)
    turned = _turned(ARROW, angle)
    pen.fill(turned, LINE, grow=0.115)
    pen.fill(turned, WHITE, grow=0.075)
    pen.fill(turned, mix(colour, LINE, 0.3) if sum(colour) > 720 else WHITE, grow=0.01)
    pen.fill(turned, colour)


def _ring(canvas: Canvas, colour: Colour, place: str, scene: Scene) -> None:
    (x, y), radius, _ = shown(scene, place, canvas.aspect)
    thickness = 0.026 * _narrow(canvas.aspect)
    # Drawn by hand: a turn and an eighth whose end leaves the ring before it meets the beginning
    angles = [-125 + 9.0 * i for i in range(46)]
    radii = [radius + max(0, i - 37) * 0.26 * thickness for i in range(46)]
    for half, tone in ((thickness / 2 + 0.009, LINE), (thickness / 2, colour)):
        outer, inner = (
            [(x + 1.02 * (r + side) * cosine(a), y + (r + side) * sine(a)) for a, r in zip(angles, radii, strict=True)]
            for side in (half, -half)
        )
        canvas.polygon([*outer, *inner[::-1]], tone)
        for i in (0, -1):
            end = (outer[i][0] + inner[i][0]) / 2, (outer[i][1] + inner[i][1]) / 2
            canvas.circle(end, half, tone)


def _border(canvas: Canvas, colour: Colour) -> None:
    w = canvas.aspect
    for thickness, tone in ((BORDER + 0.008, LINE), (BORDER, colour), (BORDER * 0.3, darker(colour, 0.8))):
        for left, top, right, bottom in (
            (0, 0, w, thickness),
            (0, 1 - thickness, w, 1),
            (0, 0, thickness, 1),
            (w - thickness, 0, w, 1),
        ):
            canvas.rectangle(left, top, right, bottom, tone)


def _sticker(canvas: Canvas, kind: str, colour: Colour, center: Point, size: float) -> None:
    pen = Pen(canvas, *center, STICKER * size, 0.09)
    turned = _turned(LOGO_SHAPES[kind], TILT)
    pen.fill(turned, (70, 70, 84), x=0.05, y=0.09, grow=0.3)
    pen.fill(turned, WHITE, grow=0.29)
    pen.inked(turned, colour)


def _logo(canvas: Canvas, kind: str, colour: Colour, center: Point, size: float) -> None:
    red, green, blue = colour
    plate = NAVY if 77 * red + 150 * green + 29 * blue > 100 * 256 else WHITE
    canvas.circle(center, LOGO * size, mix(plate, colour, 0.75))
    canvas.circle(center, LOGO * size * 0.92, plate)
    logo(canvas, kind, center, LOGO * size * 0.66, colour)


def _spot(place: str, aspect: float) -> tuple[Point, float]:
    """The centre of a sticker or logo, and how many times larger than usual it is."""
    if place == "center":
        return (aspect / 2, 0.5), 3.6 * min(1.0, aspect)
    narrow = _narrow(aspect)
    inset = INSET * narrow
    x = inset if place.endswith("left") else aspect - inset
    return (x, inset if place.startswith("top") else 1 - inset), narrow


def _narrow(aspect: float) -> float:
    """How much smaller marks are in a picture narrower than high."""
    return min(1.0, 0.3 + 0.7 * aspect)


def _turned(outline: Shape, degrees: float) -> Shape:
    turn = np.array(((cosine(degrees), sine(degrees)), (-sine(degrees), cosine(degrees))))
    return Shape(outline.points @ turn, outline.outward @ turn)


def _check(mark: Mark, accepted: tuple[str, ...]) -> None:
    if mark.place not in accepted:
        raise InputError(f"place={mark.place!r}: no place of a {mark.kind}; accepted: {', '.join(accepted)}")
