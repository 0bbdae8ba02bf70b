"""The face: eyes, brows, nose and mouth in five expressions, beard, freckles and glasses, by continuous measures."""

from __future__ import annotations

from recast.world.draw.canvas import Colour, darker, mix
from recast.world.draw.pen import LINE, Pen, lit, mirrored, shaded, shape, smooth, tube
from recast.world.scene import COLOURS, HAIR_COLOURS, SKINS, Character

WHITE: Colour = (252, 252, 252)
MOUTH: Colour = (122, 26, 40)
LIP: Colour = (216, 100, 98)  # so that a closed mouth is seen in a black beard
TONGUE: Colour = (240, 104, 112)

EYE_X, EYE_Y = 0.057, 0.018
BROW = 0.02


def face(pen: Pen, character: Character, path: str) -> None:
    """The head without hair, brows and hat. path: of the character, for the labels, as "characters.0"."""
    canvas, measures = pen.canvas, character.face
    skin, hair = SKINS[character.skin], HAIR_COLOURS[character.hair_colour]
    sx, sy = measures.width, measures.height
    canvas.part(f"{path}.skin")
    for side in (-1, 1):
        pen.inked_disc(0.136 * sx * side, 0.028, 0.034, skin, 0.04)
        pen.disc(0.138 * sx * side, 0.03, 0.016, shaded(skin), 0.022)
    pen.inked(_SKULL, skin, sx=sx, sy=sy, shade=shaded(skin))
    if character.hair == "bald":
        pen.disc(-0.055 * sx, -0.125 * sy, 0.03, lit(skin), 0.016, -25)
    for side in (-1, 1):
        pen.disc(0.085 * sx * side, 0.084 * sy, 0.028, mix(skin, (240, 70, 80), 0.28), 0.018)
    if character.beard:
        canvas.part(f"{path}.beard")
        pen.inked(_BEARD, hair, sx=sx, sy=sy, line=0.8 * pen.line)
        pen.fill(_BEARD_LIGHT, mix(hair, (255, 255, 255), 0.16), sx=sx, sy=sy)
    if character.freckles:
        canvas.part(f"{path}.freckles")
        dot = mix(darker(skin, 0.5), (150, 50, 10), 0.4 if sum(skin) > 300 else 0)
        for side in (-1, 1):
            for x, y in _FRECKLES:
                pen.disc(x * sx * side, y * sy, 0.0085, dot)
    canvas.part(f"{path}.mouth")
    _mouth(pen.moved(0, 0.121 * sy, measures.mouth), character.expression)
    canvas.part(f"{path}.nose")
    n = measures.nose
    pen.disc(0.004, 0.067, 0.027 * n, shaded(skin), 0.021 * n)
    pen.disc(-0.003, 0.062, 0.022 * n, mix(skin, (255, 255, 255), 0.2), 0.017 * n)
    pen.arc(0, 0.065, 0.025 * n, 0.022 * n, 15, 165, LINE, 0.009)
    _eyes(pen, character, path, skin)
    if character.glasses != "none":
        canvas.part(f"{path}.glasses")
        _glasses(pen, character.glasses, EYE_X * measures.eye_gap, 0.13 * sx)


def brows(pen: Pen, character: Character, path: str) -> None:
    """The brows, over the hair: with a bald head under a hat they alone show its colour."""
    pen.canvas.part(f"{path}.brows")
    inner, outer, bend = _BROWS[character.expression]
    x = EYE_X * character.face.eye_gap
    top = EYE_Y - 0.044 * character.face.eye_size - 0.026
    if character.hat != "none":
        top = max(top, -0.056 - min(inner, outer))  # below its edge
    colour = mix(HAIR_COLOURS[character.hair_colour], (0, 0, 0), 0.12)
    points = ((-0.034, inner), (0.0, (inner + outer) / 2 + bend), (0.036, outer))
    for side in (-1, 1):
        pen.fill(tube(points, BROW + 0.014), LINE, x * side, top, sx=side)
        pen.fill(tube(points, BROW), colour, x * side, top, sx=side)


def _eyes(pen: Pen, character: Character, path: str, skin: Colour) -> None:
    mood, size = character.expression, character.face.eye_size
    x = EYE_X * character.face.eye_gap
    rx, ry = 0.034 * size, 0.044 * size
    if mood == "surprised":
        rx, ry = 1.12 * rx, 1.2 * ry
    if character.glasses != "sunglasses":
        pen.canvas.part(f"{path}.eyes")
        thin = 0.75 * pen.line
        for side in (-1, 1):
            pen.disc(x * side, EYE_Y, rx + thin, LINE, ry + thin)
            pen.disc(x * side, EYE_Y, rx, WHITE, ry)
            look = EYE_Y + (0.012 if mood == "sad" else 0.004) * size
            iris = 0.6 if mood == "surprised" else 0.78
            pen.disc((x - 0.004) * side, look, rx * iris, (92, 56, 34), rx * iris * 1.12)
            pen.disc((x - 0.004) * side, look, rx * iris * 0.62, (20, 14, 24), rx * iris * 0.72)
            pen.disc((x - 0.004) * side - 0.3 * rx, look - 0.35 * ry, 0.27 * rx, WHITE)
            if mood in _LIDS:
                # A lid is skin over the upper part of the eye, its edge slanted with the mood
                inner, outer = _LIDS[mood]
                wide, top = rx + 1.3 * thin, EYE_Y - ry - 1.3 * thin
                edge = [((x - wide) * side, EYE_Y + inner * ry), ((x + wide) * side, EYE_Y + outer * ry)]
                lid = [*edge, ((x + wide) * side, top), ((x - wide) * side, top)]
                pen.canvas.polygon([pen.at(*corner) for corner in lid], skin)
                pen.stroke(edge, LINE, 0.013)
        if mood == "sad":
            pen.inked(_TEAR, (110, 200, 255), x + 0.012, 0.085, line=0.6 * pen.line)


def _mouth(pen: Pen, mood: str) -> None:
    """The mouth around (0, 0); the pen is scaled by how wide it is."""
    if mood == "happy":
        pen.inked(_GRIN, MOUTH, line=pen.line)
        pen.fill(_TONGUE, TONGUE)
        pen.fill(_TEETH, WHITE)
    elif mood == "sad":
        pen.arc(0, 0.036, 0.046, 0.036, 195, 345, LIP, 0.034)
        pen.arc(0, 0.034, 0.048, 0.036, 195, 345, LINE, 0.017)
        pen.stroke(((-0.018, 0.047), (0.018, 0.047)), LINE, 0.008)
    elif mood == "surprised":
        pen.inked_disc(0, 0.016, 0.035, MOUTH, 0.044)
        pen.disc(0, 0.038, 0.024, TONGUE, 0.018)
        pen.disc(0, -0.014, 0.022, WHITE, 0.01)
    elif mood == "angry":
        pen.inked(_SNARL, WHITE)
        pen.stroke(((-0.05, 0.016), (0.05, 0.016)), LINE, 0.007)
        for x in (-0.028, 0.0, 0.028):
            pen.stroke(((x, -0.008), (x, 0.036)), LINE, 0.007)
    else:
        pen.arc(0, -0.01, 0.046, 0.032, 25, 155, LIP, 0.034)
        pen.arc(0, -0.012, 0.05, 0.03, 20, 160, LINE, 0.016)


def _glasses(pen: Pen, kind: str, eye_x: float, temple: float) -> None:
    x = max(eye_x, 0.06)
    for side in (-1, 1):
        pen.stroke(((x * side, EYE_Y - 0.014), (temple * side, EYE_Y - 0.018)), LINE, 0.017)
        if kind == "round glasses":
            pen.arc(x * side, EYE_Y, 0.057, 0.057, 0, 360, LINE, 0.019)
            pen.arc(x * side, EYE_Y, 0.057, 0.057, 0, 360, COLOURS["orange"], 0.008)
        elif kind == "square glasses":
            frame = _SQUARE * (pen.unit * side, pen.unit) + pen.at(x * side, EYE_Y)
            pen.canvas.outline(frame, LINE, 0.019 * pen.unit)
            pen.canvas.outline(frame, COLOURS["teal"], 0.008 * pen.unit)
        else:
            pen.inked(_LENS, (38, 38, 52), x * side, EYE_Y, side, 1)
            pen.stroke(((x * side - 0.03, EYE_Y + 0.014), (x * side - 0.005, EYE_Y - 0.03)), (150, 180, 214), 0.016)
    pen.stroke(((-x + 0.05, EYE_Y - 0.012), (0, EYE_Y - 0.018), (x - 0.05, EYE_Y - 0.012)), LINE, 0.018)


_LIDS = {"angry": (-0.05, -0.75), "sad": (-0.75, -0.15), "calm": (-0.28, -0.28)}
"""How far down a lid reaches, at the inner and the outer corner, in half heights of the eye from its middle."""
_BROWS = {
    "happy": (-0.004, 0.002, -0.016),
    "sad": (-0.022, 0.022, -0.004),
    "surprised": (-0.03, -0.02, -0.018),
    "angry": (0.036, -0.018, -0.002),
    "calm": (0.006, 0.008, -0.006),
}
"""Height of a brow's inner and outer end, and how far its middle is bent upward (negative is up)."""
_SKULL = smooth(
    mirrored([(0, -0.182), (0.085, -0.164), (0.129, -0.08), (0.133, 0.03), (0.112, 0.11), (0.058, 0.168), (0, 0.182)])
)
_BEARD = smooth(
    [(-0.138, 0.02), (-0.127, 0.06), (-0.112, 0.105), (-0.06, 0.092), (0, 0.09), (0.06, 0.092), (0.112, 0.105),
     (0.127, 0.06), (0.138, 0.02), (0.141, 0.09), (0.118, 0.165), (0.06, 0.215), (0, 0.228), (-0.06, 0.215),
     (-0.118, 0.165), (-0.141, 0.09)]
)  # fmt: skip
_BEARD_LIGHT = smooth([(-0.118, 0.09), (-0.1, 0.115), (-0.09, 0.155), (-0.05, 0.19), (-0.075, 0.185), (-0.11, 0.14)])
_FRECKLES = ((0.052, 0.076), (0.074, 0.084), (0.094, 0.07), (0.112, 0.058), (0.038, 0.05), (0.11, 0.084))
_GRIN = smooth(
    [(-0.064, -0.018), (0, -0.007), (0.064, -0.018), (0.052, 0.028), (0.022, 0.052), (-0.022, 0.052), (-0.052, 0.028)]
)
_TEETH = smooth([(-0.055, -0.013), (0, -0.004), (0.055, -0.013), (0.046, 0.007), (0, 0.014), (-0.046, 0.007)])
_TONGUE = smooth([(-0.026, 0.038), (0, 0.027), (0.026, 0.038), (0.0, 0.05)])
_SNARL = smooth([(-0.058, 0.036), (-0.045, -0.004), (0, -0.012), (0.045, -0.004), (0.058, 0.036), (0, 0.032)])
_TEAR = smooth([(0, -0.028), (0.016, 0.008), (0, 0.022), (-0.016, 0.008)])
_SQUARE = shape([(-0.05, -0.046), (0.056, -0.05), (0.052, 0.046), (-0.044, 0.046)]).points
_LENS = smooth(
    [(-0.05, -0.045), (0, -0.05), (0.06, -0.047), (0.056, 0.012), (0.02, 0.05), (-0.03, 0.042), (-0.048, 0.0)]
)
