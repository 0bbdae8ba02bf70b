"""People from the waist up, as a presenter stands in a thumbnail: where they are, their clothes, arms and hands.

A person is drawn around its head's centre in units of its own: the chin is at y = 0.18, the shoulders at 0.28, the
logo on the chest at 0.42, and at the usual scale the picture ends at 0.58. Arms and what the hands hold stay clear of
the face and of the logo in every pose. Left and right are those of the picture; things are held on its right.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from recast.world.draw.canvas import Canvas, Colour, mix
from recast.world.draw.hair import hair_before, hair_behind, hat
from recast.world.draw.head import brows, face
from recast.world.draw.pen import LINE, Pen, mirrored, shaded, shape, smooth
from recast.world.draw.things import logo, thing
from recast.world.scene import COLOURS, HAIR_COLOURS, SKINS, Character

OUTLINE = 0.0095
LOGO_Y, LOGO_RADIUS = 0.425, 0.088
SLEEVE, ARM = 0.1, 0.078  # thickness of an upper arm in cloth, and of a bare one

AFFECTED: Mapping[str, tuple[str, ...]] = {
    "hair_colour": ("hair", "brows", "beard"),
    "beard": ("beard",),
    "freckles": ("freckles",),
    "glasses": ("glasses", "brows", "eyes"),
    "hat_colour": ("hat",),
    "shirt": ("shirt",),
    "logo": ("logo",),
    "logo_colour": ("logo",),
    "holding_colour": ("holding",),
}
"""The labels in which an attribute's change stays, where that is less than the whole person."""


def head(character: Character, aspect: float) -> tuple[float, float, float]:
    """Where a person's head is: x and y of its centre, and its unit, all in heights of the picture.

    The face is about 0.27 units wide and 0.36 high, shoulders 0.5 wide. In a picture narrower than high people are
    smaller; a smaller one stands a little lower, and always reaches down to the picture's edge.
    """
    unit = character.scale * min(1.0, 0.2 + 0.8 * aspect)
    # In a wide picture people at the side stand nearer to it than to the middle, as in thumbnails: room for a title
    margin = 0.3 * aspect if aspect < 1 else 0.3 + 0.2 * (aspect - 1)
    x = {"left": margin, "center": aspect / 2, "right": aspect - margin}[character.place] + character.dx
    return x, 0.42 * unit + 0.55 * (1 - unit) + character.dy, unit


def person(canvas: Canvas, character: Character, path: str) -> None:
    """Draw a person with what it holds. path: its place in the scene, as "characters.0", for the labels."""
    x, y, unit = head(character, canvas.aspect)
    pen = Pen(canvas, x, y, unit, OUTLINE)
    sx, sy = character.face.width, character.face.height
    hair, hatted = HAIR_COLOURS[character.hair_colour], character.hat != "none"
    canvas.part(f"{path}.hair")
    hair_behind(pen, character.hair, hair, sx, sy, hatted)
    _body(pen, character, path)
    if character.logo != "none":
        canvas.part(f"{path}.logo")
        logo(canvas, character.logo, pen.at(0, LOGO_Y), LOGO_RADIUS * unit, COLOURS[character.logo_colour])
    _left_arm(pen, character, path)
    face(pen, character, path)
    canvas.part(f"{path}.hair")
    hair_before(pen, character.hair, hair, sx, sy, hatted)
    brows(pen, character, path)
    if hatted:
        canvas.part(f"{path}.hat")
        hat(pen, character.hat, COLOURS[character.hat_colour], sx, sy)
    _right_arm(pen, character, path)


def silhouette(
    character: Character, aspect: float
) -> tuple[tuple[float, float, float, float], list[tuple[float, float]]]:
    """Roughly what a person covers, for its shadow: an ellipse (x, y, rx, ry) and a polygon, in picture heights."""
    x, y, unit = head(character, aspect)
    body = [(x + px * unit, y + py * unit) for px, py in _ROUGH]
    return (x, y - 0.02 * unit, 0.19 * unit, 0.23 * unit), body


def _body(pen: Pen, character: Character, path: str) -> None:
    canvas, shirt, skin = pen.canvas, COLOURS[character.shirt], SKINS[character.skin]
    shade, outfit = shaded(shirt), character.outfit
    canvas.part(f"{path}.shirt")
    if outfit == "hoodie":
        pen.inked(_HOOD, shirt)
        pen.fill(_HOOD_INSIDE, mix(shade, (0, 0, 0), 0.3))
    bottom = (1.05 - pen.y) / pen.unit
    pen.inked(_TORSO, shirt, shade=shade)
    if bottom > _WAIST:
        canvas.part(f"{path}.trousers")
        pen.inked(shape([(-0.212, _WAIST), (0.212, _WAIST), (0.23, bottom), (-0.23, bottom)]), (58, 66, 104))
        pen.stroke(((0, _WAIST + 0.1), (0, bottom)), LINE, 0.02)
        canvas.part(f"{path}.shirt")
    if outfit == "striped t-shirt":
        pen.fill_all(_STRIPES, contrast(shirt))
    if outfit == "jacket":
        inner = contrast(shirt)
        pen.fill(_OPENING, LINE, grow=0.8 * OUTLINE)
        pen.fill(_OPENING, inner)
        for side in (-1, 1):
            pen.inked(_LAPEL, mix(shirt, shade, 0.45), sx=side, line=0.8 * OUTLINE)
    canvas.part(f"{path}.skin")
    pen.fill(_NECK, LINE, grow=OUTLINE)
    pen.fill(_NECK, skin)
    pen.fill(_NECK_SHADE, shaded(skin))
    canvas.part(f"{path}.shirt")
    if outfit == "hoodie":
        for side in (-1, 1):
            pen.inked(_HOOD_EDGE, shirt, sx=side)
            pen.stroke(((0.06 * side, 0.275), (0.066 * side, 0.335)), LINE, 0.03)
            pen.stroke(((0.06 * side, 0.275), (0.066 * side, 0.33)), contrast(shirt), 0.014)
        pen.inked(_POCKET, mix(shirt, shade, 0.35))
    elif outfit != "jacket":
        pen.arc(0, 0.222, 0.078, 0.062, 5, 175, LINE, 0.034)
        pen.arc(0, 0.222, 0.078, 0.062, 5, 175, shade if outfit == "t-shirt" else contrast(shirt), 0.017)
    else:
        pen.arc(0, 0.222, 0.068, 0.058, 15, 165, LINE, 0.012)


def _left_arm(pen: Pen, character: Character, path: str) -> None:
    """The free arm: it hangs, waves, cheers or points."""
    joints = _LEFT[character.pose]
    _arm(pen, character, path, joints)
    skin = SKINS[character.skin]
    x, y = joints[2]
    pen.canvas.part(f"{path}.skin")
    if character.pose == "waving":
        _fingers(pen, skin, x, y, ((-0.075, -0.035), (-0.05, -0.085), (-0.008, -0.1), (0.033, -0.085), (0.062, -0.02)))
    elif character.pose == "cheering":
        _fist(pen, skin, x, y, -1)
    elif character.pose == "pointing":
        pen.inked_stroke(((x - 0.012, y - 0.02), (x - 0.062, y - 0.125)), skin, 0.034)
        _fist(pen, skin, x, y, -1)


def _right_arm(pen: Pen, character: Character, path: str) -> None:
    """The arm that holds things; when it holds nothing it hangs or cheers."""
    holds, cheers = character.holding != "none", character.pose == "cheering"
    shoulder, elbow, (x, y) = _RIGHT["cheering" if cheers else "holding" if holds else "hanging"]
    size, drop, aside = _GRIP[character.holding]
    x += aside
    skin = SKINS[character.skin]
    _arm(pen, character, path, (shoulder, elbow, (x, y)))
    if holds:
        pen.canvas.part(f"{path}.holding")
        colour = COLOURS[character.holding_colour]
        thing(pen.canvas, character.holding, pen.at(x, y + drop), size * pen.unit, colour)
    if holds or cheers:
        pen.canvas.part(f"{path}.skin")
        _fist(pen, skin, x, y, 1)


def _arm(pen: Pen, character: Character, path: str, joints: tuple[tuple[float, float], ...]) -> None:
    """Shoulder, elbow, wrist; a t-shirt's sleeve ends before the elbow."""
    shoulder, elbow, wrist = joints
    shirt, skin = COLOURS[character.shirt], SKINS[character.skin]
    canvas = pen.canvas
    short = character.outfit in ("t-shirt", "striped t-shirt")
    if short:
        hem = (shoulder[0] + 0.66 * (elbow[0] - shoulder[0]), shoulder[1] + 0.66 * (elbow[1] - shoulder[1]))
        canvas.part(f"{path}.skin")
        pen.inked_tube((hem, elbow, wrist), skin, ARM)
        canvas.part(f"{path}.shirt")
        pen.inked_tube((shoulder, hem), shirt, SLEEVE)
        if character.outfit == "striped t-shirt":
            middle = (shoulder[0] + 0.8 * (hem[0] - shoulder[0]), shoulder[1] + 0.8 * (hem[1] - shoulder[1]))
            across = (middle[1] - shoulder[1], shoulder[0] - middle[0])
            length = max((across[0] ** 2 + across[1] ** 2) ** 0.5, 1e-6)
            ux, uy = 0.038 * across[0] / length, 0.038 * across[1] / length
            pen.stroke(((middle[0] - ux, middle[1] - uy), (middle[0] + ux, middle[1] + uy)), contrast(shirt), 0.028)
        pen.stroke((shoulder, (shoulder[0] * 0.9, shoulder[1] + 0.01)), shirt, SLEEVE * 0.7)
        return
    canvas.part(f"{path}.shirt")
    pen.inked_tube(joints, shirt, SLEEVE)
    pen.stroke((shoulder, (shoulder[0] * 0.9, shoulder[1] + 0.01)), shirt, SLEEVE * 0.7)
    cuff = (wrist[0] + 0.25 * (elbow[0] - wrist[0]), wrist[1] + 0.25 * (elbow[1] - wrist[1]))
    pen.stroke((wrist, cuff), shaded(shirt), SLEEVE * 0.8)


def _fist(pen: Pen, skin: Colour, x: float, y: float, side: int) -> None:
    pen.inked_disc(x, y, 0.05, skin, 0.046)
    for i in (-1, 0, 1):
        pen.stroke(((x + 0.018 * i, y - 0.036), (x + 0.018 * i, y - 0.006)), shaded(skin), 0.008)
    pen.stroke(((x - 0.03 * side, y + 0.012), (x + 0.012 * side, y + 0.016)), LINE, 0.008)


def _fingers(pen: Pen, skin: Colour, x: float, y: float, tips: tuple[tuple[float, float], ...]) -> None:
    """An open hand: fingers and thumb spread."""
    for tip in tips:
        pen.stroke(((x, y), (x + tip[0], y + tip[1])), LINE, 0.032 + 2 * OUTLINE)
    pen.disc(x, y - 0.005, 0.048 + OUTLINE, LINE, 0.05 + OUTLINE)
    for tip in tips:
        pen.stroke(((x, y), (x + tip[0], y + tip[1])), skin, 0.032)
    pen.disc(x, y - 0.005, 0.048, skin, 0.05)
    pen.arc(x, y + 0.004, 0.026, 0.022, 20, 160, shaded(skin), 0.009)


def contrast(shirt: Colour) -> Colour:
    """What stands out on a shirt: white, or on a light one dark blue."""
    return (248, 248, 252) if 3 * shirt[0] + 6 * shirt[1] + shirt[2] < 1900 else (62, 74, 128)


_LEFT = {
    "standing": ((-0.222, 0.345), (-0.27, 0.56), (-0.262, 0.84)),
    "waving": ((-0.222, 0.345), (-0.285, 0.44), (-0.243, 0.13)),
    "cheering": ((-0.222, 0.345), (-0.3, 0.2), (-0.252, -0.085)),
    "pointing": ((-0.222, 0.345), (-0.292, 0.5), (-0.225, 0.26)),
}
_RIGHT = {
    "hanging": ((0.222, 0.345), (0.27, 0.56), (0.262, 0.84)),
    "cheering": ((0.222, 0.345), (0.29, 0.2), (0.237, -0.085)),
    "holding": ((0.222, 0.345), (0.28, 0.56), (0.208, 0.475)),
}
"""Shoulder, elbow and wrist of each arm."""
_GRIP = {
    "none": (0.0, 0.0, 0.0),
    "balloon": (0.4, 0.06, 0.02),
    "cup": (0.19, -0.02, 0.0),
    "flower": (0.31, 0.05, 0.005),
    "apple": (0.2, -0.02, 0.0),
    "gift": (0.23, -0.02, 0.005),
    "umbrella": (0.31, 0.045, 0.058),
    "cake": (0.21, -0.02, 0.01),
    "ball": (0.22, -0.02, 0.0),
}
"""How large a held thing is, how far below the hand's middle it ends, and how far right of the usual the hand is."""

_WAIST = 0.9
_TORSO = smooth(
    mirrored(
        [
            (0, 0.225),
            (0.075, 0.225),
            (0.165, 0.25),
            (0.235, 0.295),
            (0.262, 0.36),
            (0.235, 0.47),
            (0.222, 0.65),
            (0.222, _WAIST),
            (0, _WAIST + 0.01),
        ]
    )
)
_ROUGH = mirrored([(0, 0.2), (0.12, 0.22), (0.27, 0.3), (0.32, 0.5), (0.32, 2.5), (0, 2.5)])
_NECK = smooth(mirrored([(0, 0.1), (0.055, 0.1), (0.056, 0.19), (0.072, 0.235), (0.045, 0.268), (0, 0.282)]))
_NECK_SHADE = smooth(mirrored([(0, 0.12), (0.055, 0.12), (0.056, 0.19), (0.03, 0.212), (0, 0.218)]))
_HOOD = smooth(mirrored([(0, 0.09), (0.13, 0.1), (0.192, 0.19), (0.178, 0.28), (0.08, 0.32), (0, 0.33)]))
_HOOD_INSIDE = smooth(mirrored([(0, 0.12), (0.11, 0.13), (0.155, 0.2), (0.13, 0.26), (0, 0.28)]))
_HOOD_EDGE = smooth(
    [(0.0, 0.322), (0.045, 0.268), (0.1, 0.212), (0.165, 0.18), (0.186, 0.232), (0.14, 0.286), (0.07, 0.325)]
)
_POCKET = shape([(-0.12, 0.56), (0.12, 0.56), (0.165, 0.72), (0.165, 0.78), (-0.165, 0.78), (-0.165, 0.72)])
_OPENING = shape(mirrored([(0, 0.232), (0.07, 0.232), (0.098, 0.34), (0.112, 0.5), (0.12, 0.88), (0, 0.88)]))
_LAPEL = shape(
    [(0.062, 0.218), (0.118, 0.226), (0.178, 0.32), (0.14, 0.338), (0.155, 0.365), (0.104, 0.46), (0.086, 0.34)]
)


def _half_width(y: float) -> float:
    """Of the torso at a height, a little inside its edge."""
    places = ((0.26, 0.165), (0.295, 0.222), (0.36, 0.248), (0.47, 0.228), (0.65, 0.214), (0.9, 0.214))
    for (y0, w0), (y1, w1) in pairwise(places):
        if y <= y1:
            return w0 + (w1 - w0) * (y - y0) / (y1 - y0)
    return places[-1][1]


_STRIPES = tuple(
    shape(
        [
            (-_half_width(y), y),
            (_half_width(y), y),
            (_half_width(y + 0.035), y + 0.035),
            (-_half_width(y + 0.035), y + 0.035),
        ]
    )
    for y in (0.3, 0.375, 0.45, 0.525, 0.6, 0.675, 0.75, 0.825)
)
