"""City: towers, a street, a skyline over water, and gabled houses."""

from __future__ import annotations

from recast.world.draw.backgrounds.light import SNOW, Light, boxes
from recast.world.draw.canvas import Canvas, Colour, darker, mix
from recast.world.draw.exact import Draws

LAMP: Colour = (255, 222, 120)


def city(canvas: Canvas, light: Light, layout: int, palette: int, draws: Draws) -> None:
    """Towers, a street between houses, a skyline over water with a bridge, or a row of gabled houses."""
    w = canvas.aspect
    walls: tuple[Colour, ...] = (
        ((64, 112, 190), (92, 150, 216), (240, 120, 90), (54, 84, 150)),
        ((232, 106, 86), (246, 170, 92), (120, 84, 150), (200, 76, 92)),
        ((40, 150, 150), (244, 196, 92), (70, 110, 140), (30, 116, 126)),
        ((150, 96, 190), (236, 120, 170), (90, 92, 180), (110, 70, 150)),
    )[palette]
    light.paint_sky(canvas, 0.8)
    light.paint_sun(
        canvas, (0.26, 0.5, 0.72, 0.5)[layout], (0.5, 0.56, 0.44, 0.3)[layout] if light.is_sunset else 0.17, 0.09
    )
    light.paint_air(canvas, draws, 0.5)
    for far, low, high in ((0.66, 0.4, 0.62), (0.42, 0.34, 0.6)):
        skyline: list[float] = []
        for _ in range(9):
            skyline += [draws.between(low, high)] * 2
        _blocks(canvas, skyline, light.air(walls[3], far, 0.1))
    if layout == 0:
        for x, top, half, i in (
            (0.1, 0.1, 0.1, 0),
            (0.3, 0.36, 0.08, 1),
            (0.68, 0.3, 0.08, 3),
            (0.88, 0.04, 0.1, 2),
            (0.5, 0.46, 0.08, 1),
        ):
            _tower(canvas, light, (x + draws.between(-0.02, 0.02)) * w, top, half * max(w, 0.8), 0.9, walls[i], draws)
        _road(canvas, light, 0.86)
    elif layout == 1:
        canvas.rectangle(0, 0.7, w, 1, light.on((196, 190, 190), 0.75))
        for side in (0, 1):
            for near, far, top, rise, i in (
                (0.3, 0.42, 0.34, 0.14, 1),
                (0.14, 0.3, 0.16, 0.16, 0),
                (-0.06, 0.14, -0.12, 0.22, 2),
            ):
                _street_front(canvas, light, w, side, near, far, top + 0.05 * side, rise, walls[i - side])
        pavement = light.on((196, 190, 190), 0.75)
        canvas.polygon(((0.43 * w, 0.7), (0.57 * w, 0.7), (1.2 * w, 1), (-0.2 * w, 1)), pavement)
        canvas.polygon(((0.46 * w, 0.7), (0.54 * w, 0.7), (1.0 * w, 1), (0.0 * w, 1)), light.on((84, 88, 104), 0.35))
        for near, far in ((1.0, 0.92), (0.87, 0.82), (0.79, 0.76), (0.74, 0.72)):
            a, b = (near - 0.7) * 0.05 * w, (far - 0.7) * 0.05 * w
            canvas.polygon(
                ((0.5 * w - a, near), (0.5 * w + a, near), (0.5 * w + b, far), (0.5 * w - b, far)),
                light.on((255, 236, 140)),
            )
    elif layout == 2:
        for x, top, half, i in (
            (0.06, 0.3, 0.07, 0),
            (0.2, 0.16, 0.07, 2),
            (0.34, 0.4, 0.08, 1),
            (0.62, 0.42, 0.07, 3),
            (0.76, 0.34, 0.06, 0),
        ):
            _tower(canvas, light, x * w, top, half * max(w, 0.8), 0.7, walls[i], draws)
        water = light.on(((40, 120, 200), (70, 120, 190), (20, 140, 170), (80, 90, 190))[palette])
        canvas.gradient(0.7, 1, mix(water, light.sky[2], 0.45), darker(water, 0.8))
        for _ in range(16):
            x, y = draws.between(0, w), draws.between(0.72, 0.99)
            glow = LAMP if light.is_night else (255, 255, 255)
            canvas.line((x, y), (x + draws.between(0.05, 0.16), y), mix(water, glow, 0.45), 0.009)
        _bridge(canvas, light, w)
    else:
        x = 0.0
        for i in range(6):
            wide = w * (0.15, 0.19, 0.16, 0.18, 0.14, 0.18)[(i + palette) % 6]
            _gable(canvas, light, x, wide, draws.between(0.26, 0.44), walls[(i * 3 + 1) % 4 if i % 2 else i % 3], draws)
            x += wide
        _road(canvas, light, 0.84)
    light.paint_snow(canvas, draws)


def _blocks(canvas: Canvas, tops: list[float], colour: Colour) -> None:
    step = canvas.aspect / (len(tops) // 2)
    ridge = [((i + 1) // 2 * step, y) for i, y in enumerate(tops)]
    canvas.polygon([*ridge, (canvas.aspect, 0.9), (0, 0.9)], colour)


def _window_glass(light: Light, wall: Colour) -> tuple[Colour, Colour]:
    if light.is_night:
        return LAMP, darker(light.on(wall), 0.7)
    lit = light.on((190, 232, 255)) if not light.is_sunset else (255, 214, 130)
    return lit, mix(light.on(wall), (30, 50, 90), 0.5)


def _tower(
    canvas: Canvas, light: Light, x: float, top: float, half: float, base: float, wall: Colour, draws: Draws
) -> None:
    tone = light.on(wall, 0.05)
    canvas.rectangle(x - half, top, x + half, base, tone)
    canvas.rectangle(x + half * 0.62, top, x + half, base, darker(tone, 0.72))
    bright, dim = _window_glass(light, wall)
    pattern, rows = draws.word(), min(7, int((base - top) / 0.085))
    columns = [x - half * (0.8 - 0.47 * i) for i in range(3)]
    floors = [top + 0.045 + 0.085 * i for i in range(rows)]
    panes = [(left, y, left + half * 0.3, y + 0.045) for y in floors for left in columns]
    boxes(canvas, [pane for i, pane in enumerate(panes) if not pattern >> i & 1], dim)
    boxes(canvas, [pane for i, pane in enumerate(panes) if pattern >> i & 1], bright)
    if light.is_winter:
        canvas.rectangle(x - half * 1.04, top - 0.02, x + half * 1.04, top + 0.015, SNOW)
    elif half * 7 > 0.6:
        canvas.line((x, top), (x, top - 0.07), darker(tone, 0.7), 0.01)


def _road(canvas: Canvas, light: Light, top: float) -> None:
    w = canvas.aspect
    canvas.rectangle(0, top, w, 1, light.on((88, 92, 108), 0.3))
    canvas.rectangle(0, top, w, top + 0.03, light.on((206, 200, 196), 0.8))
    for i in range(5):
        x = w * (0.02 + 0.21 * i)
        canvas.rectangle(x, 0.935, x + 0.1 * w, 0.95, light.on((255, 240, 170)))


def _street_front(
    canvas: Canvas, light: Light, w: float, side: int, near: float, far: float, top: float, rise: float, wall: Colour
) -> None:
    def at(x: float, y: float) -> tuple[float, float]:
        return (w * x if side == 0 else w * (1 - x), y)

    def base(x: float) -> float:
        return 0.7 + max(0.43 - x, 0) * 0.48

    tone = light.on(wall if side == 0 else darker(wall, 0.82), 0.05)
    canvas.polygon((at(near, top), at(far, top + rise), at(far, base(far)), at(near, base(near))), tone)
    bright, dim = _window_glass(light, wall)
    for row in range(4):
        for column in range(2):
            a, b = near + (far - near) * (0.14 + 0.44 * column), near + (far - near) * (0.42 + 0.44 * column)
            corners = []
            for x, low in ((a, 0.1), (b, 0.1), (b, 0.22), (a, 0.22)):
                share = (x - near) / (far - near)
                y0, y1 = top + rise * share, base(x)
                corners.append(at(x, y0 + (y1 - y0) * (low + 0.2 * row)))
            canvas.polygon(corners, bright if (row * 3 + column * 2 + side) % 3 else dim)
    if light.is_winter:
        canvas.polygon(
            (at(near, top - 0.025), at(far, top + rise - 0.02), at(far, top + rise + 0.015), at(near, top + 0.02)), SNOW
        )


def _bridge(canvas: Canvas, light: Light, w: float) -> None:
    steel = light.on((216, 72, 58))
    deck = 0.66
    canvas.rectangle(0.5 * w, deck, w, deck + 0.035, steel)
    for x in (0.64, 0.94):
        canvas.rectangle(x * w - 0.02, 0.2, x * w + 0.02, 0.84, steel)
        canvas.rectangle(x * w + 0.006, 0.2, x * w + 0.02, 0.84, darker(steel, 0.75))
    cable = [(w * (0.64 + 0.3 * i / 8), 0.22 + 0.4 * (1 - (i / 4 - 1) ** 2)) for i in range(9)]
    canvas.outline(cable, steel, 0.014, closed=False)
    canvas.line((0.64 * w, 0.22), (0.5 * w, deck), steel, 0.014)
    for x, y in cable[1:-1]:
        canvas.line((x, y), (x, deck), steel, 0.008)


def _gable(canvas: Canvas, light: Light, left: float, wide: float, top: float, wall: Colour, draws: Draws) -> None:
    tone, roof = light.on(wall, 0.05), light.on(((150, 70, 60), (96, 76, 100))[draws.below(2)], 0.1)
    right, middle = left + wide, left + wide / 2
    canvas.rectangle(left, top, right, 0.86, tone)
    canvas.rectangle(right - wide * 0.08, top, right, 0.86, darker(tone, 0.8))
    canvas.polygon(((left - 0.01, top), (middle, top - 0.15), (right + 0.01, top)), roof)
    if light.is_winter:
        canvas.polygon(((left - 0.015, top), (middle, top - 0.165), (right + 0.015, top), (middle, top - 0.06)), SNOW)
    bright, dim = _window_glass(light, wall)
    pattern = draws.word()
    places = [(left + wide * (0.16 + 0.42 * i), top + 0.05 + 0.15 * row) for row in range(3) for i in range(2)]
    places = [(x, y) for x, y in places if y <= 0.63]
    frames = [(x - 0.008, y - 0.008, x + wide * 0.26 + 0.008, y + 0.098) for x, y in places]
    boxes(canvas, frames, light.on((252, 246, 236)))
    for tone_of_pane, is_lit in ((bright, 1), (dim, 0)):
        panes = [(x, y, x + wide * 0.26, y + 0.09) for i, (x, y) in enumerate(places) if pattern >> i & 1 == is_lit]
        boxes(canvas, panes, tone_of_pane)
    canvas.rectangle(middle - wide * 0.13, 0.73, middle + wide * 0.13, 0.86, light.on((110, 60, 50)))
