"""The drawn backgrounds: nine places and one plain sheet, each at its times of day and in sixteen variants.

A variant is a layout (its remainder by four) and a palette (its quotient), with positions drawn from both: variants
differ in large shapes and colours at both sides of the picture, so that a measure can tell which one stands behind a
person.
"""

from __future__ import annotations

from recast.errors import InputError
from recast.world.draw.backgrounds.bold import plain, rays, space
from recast.world.draw.backgrounds.city import city
from recast.world.draw.backgrounds.indoors import room, studio
from recast.world.draw.backgrounds.light import Light
from recast.world.draw.backgrounds.nature import beach, desert, forest, mountains
from recast.world.draw.canvas import Canvas
from recast.world.draw.exact import Draws
from recast.world.scene import VARIANTS, Scene

__all__ = ["draw"]

PAINTERS = {
    "beach": beach,
    "forest": forest,
    "city": city,
    "mountains": mountains,
    "room": room,
    "studio": studio,
    "desert": desert,
    "space": space,
    "rays": rays,
    "plain": plain,
}


def draw(canvas: Canvas, scene: Scene) -> None:
    """Paint the scene's background, its time included, over the whole canvas.

    Raises InputError for a background that is not drawn, or a variant beyond VARIANTS.
    """
    if scene.background not in PAINTERS:
        raise InputError(f"background={scene.background!r}: not a drawn one; accepted: {', '.join(PAINTERS)}")
    if not 0 <= scene.variant < VARIANTS:
        raise InputError(f"variant={scene.variant}: 0 to {VARIANTS - 1} accepted for a drawn background")
    layout, palette = scene.variant % 4, scene.variant // 4
    draws = Draws(list(PAINTERS).index(scene.background), scene.variant)
    PAINTERS[scene.background](canvas, Light(scene.time, palette), layout, palette, draws)
