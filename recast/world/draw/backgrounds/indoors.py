"""Room and studio."""

from __future__ import annotations

from typing import Protocol

from recast.world.draw.backgrounds.light import SNOW, Light, boxes, dots, glow, sparkle
from recast.world.draw.canvas import Canvas, Colour, darker, mix
from recast.world.draw.exact import Draws


class Inside(Protocol):
    """What the light of a room does to a colour; `lamplit` (0 to 1) keeps that much of it from the time of day."""

    def __call__(self, colour: Colour, lamplit: float = 0.0) -> Colour: ...


def room(canvas: Canvas, light: Light, layout: int, palette: int, draws: Draws) -> None:
    """A living room: window left and shelf right, pictures and a lamp, a wide curtained window, or a brick loft."""
    w = canvas.aspect
    wall = ((60, 160, 170), (238, 128, 104), (242, 190, 84), (150, 120, 206))[palette]
    wood = ((196, 138, 88), (160, 104, 70), (130, 92, 80), (206, 160, 116))[palette]
    fabric = ((240, 110, 90), (60, 130, 170), (60, 150, 130), (250, 170, 70))[palette]

    def inside(colour: Colour, lamplit: float = 0.0) -> Colour:
        # Indoors snow does not fall: winter is a cool pale light, night a blue one that lamps push back
        tone = light.on(colour)
        kept = lamplit + (0.06 if light.is_night else 0.0)
        return mix(tone, colour, kept) if not light.is_sunset else tone

    paint, floor = inside(wall), inside(wood)
    canvas.gradient(0, 0.8, mix(paint, (255, 255, 255), 0.1), darker(paint, 0.86))
    if layout == 3:
        brick = inside(mix(wall, (170, 80, 60), 0.55))
        canvas.rectangle(0, 0, w, 0.8, brick)
        boxes(canvas, [(0, row * 0.08, w, row * 0.08 + 0.009) for row in range(10)], darker(brick, 0.74))
        ends = [(w * (i + 0.5 * (row % 2)) / 5.5, row * 0.08) for row in range(10) for i in range(6)]
        boxes(canvas, [(x, y + 0.009, x + 0.009, y + 0.08) for x, y in ends], darker(brick, 0.74))
    elif layout == 1:
        for i in range(7):
            canvas.rectangle(w * i / 7, 0, w * (i + 0.5) / 7, 0.8, mix(paint, (255, 255, 255), 0.16))
    elif layout == 0:
        canvas.rectangle(0, 0.56, w, 0.8, mix(paint, (255, 255, 255), 0.3))
        canvas.rectangle(0, 0.55, w, 0.57, mix(paint, (255, 255, 255), 0.6))
    canvas.gradient(0.8, 1, floor, darker(floor, 0.75))
    for i in range(9):
        canvas.line((w * i / 8, 0.8), (w * (0.5 + (i / 8 - 0.5) * 1.8), 1), darker(floor, 0.8), 0.006)
    canvas.rectangle(0, 0.785, w, 0.81, inside((248, 244, 236)))
    if layout == 0:
        _window(canvas, light, inside, 0.19 * w, 0.32, 0.14 * max(w, 0.9), 0.22, draws)
        _shelves(canvas, inside, 0.84 * w, 0.13 * max(w, 0.9), (0.16, 0.34, 0.52), wood, draws)
        _plant(canvas, inside, 0.09 * w, 0.93, 0.2)
    elif layout == 1:
        _window(canvas, light, inside, 0.83 * w, 0.31, 0.13 * max(w, 0.9), 0.2, draws)
        for x, y, half, colour in (
            (0.1, 0.2, 0.075, 0),
            (0.28, 0.17, 0.06, 1),
            (0.12, 0.44, 0.06, 2),
            (0.29, 0.4, 0.08, 3),
        ):
            _picture(
                canvas,
                inside,
                x * w,
                y,
                half * max(w, 0.9) * 0.8,
                ((250, 200, 70), (80, 180, 220), (230, 90, 110), (120, 200, 120))[colour],
            )
        _sofa(canvas, inside, 0.18 * w, 0.94, 0.3, fabric)
        _lamp(canvas, light, inside, 0.93 * w)
    elif layout == 2:
        _window(canvas, light, inside, 0.5 * w, 0.33, 0.34 * w, 0.23, draws)
        for side in (-1, 1):
            x = (0.5 + side * 0.36) * w
            cloth = inside(fabric)
            canvas.polygon(
                ((x - 0.1 * w, 0.04), (x + 0.1 * w, 0.04), (x + 0.08 * w, 0.76), (x - 0.08 * w, 0.76)), cloth
            )
            for dx in (-0.05, 0.01, 0.06):
                canvas.line((x + dx * w, 0.05), (x + dx * 0.8 * w, 0.75), darker(cloth, 0.78), 0.012)
        canvas.rectangle(0.02 * w, 0.03, 0.98 * w, 0.055, inside(darker(wood, 0.7)))
        _plant(canvas, inside, 0.1 * w, 0.95, 0.24)
        _plant(canvas, inside, 0.92 * w, 0.95, 0.2)
    else:
        _window(canvas, light, inside, 0.8 * w, 0.27, 0.15 * max(w, 0.9), 0.18, draws)
        _shelves(canvas, inside, 0.13 * w, 0.13 * max(w, 0.9), (0.12, 0.28, 0.44, 0.6), darker(wood, 0.8), draws)
        _sofa(canvas, inside, 0.84 * w, 0.94, 0.26, fabric)
        _lamp(canvas, light, inside, 0.33 * w)
    if light.is_winter:  # a string of coloured lights
        for i in range(13):
            x, sag = w * i / 12, abs((i % 6) - 3)
            canvas.circle(
                (x, 0.075 - 0.014 * sag + 0.02),
                0.015,
                ((255, 80, 80), (255, 220, 90), (90, 220, 120), (90, 170, 255))[i % 4],
            )


def _window(
    canvas: Canvas, light: Light, inside: Inside, x: float, y: float, half: float, tall: float, draws: Draws
) -> None:
    frame = inside((252, 248, 240), 0.2)
    canvas.rectangle(x - half - 0.03, y - tall - 0.03, x + half + 0.03, y + tall + 0.03, frame)
    for i in range(6):
        low, high = y - tall + i * tall / 3, y - tall + (i + 1) * tall / 3
        share = i / 5
        tone = (
            mix(light.sky[0], light.sky[1], share * 2)
            if share < 0.5
            else mix(light.sky[1], light.sky[2], share * 2 - 1)
        )
        canvas.rectangle(x - half, low, x + half, high, tone)
    if light.is_night:
        for _ in range(6):
            sparkle(canvas, (x + draws.between(-0.9, 0.9) * half, y - draws.between(0.1, 0.9) * tall), 0.008)
        canvas.circle((x + half * 0.45, y - tall * 0.45), 0.05, (248, 246, 222))
    elif light.is_sunset:
        canvas.circle((x + half * 0.3, y + tall * 0.3), 0.075, (255, 240, 160))
    else:
        canvas.circle(
            (x + half * 0.5, y - tall * 0.5), 0.045, (255, 246, 170) if not light.is_winter else (255, 255, 250)
        )
    hill = light.on((84, 170, 90), 0.9)
    canvas.polygon(
        (
            (x - half, y + tall * 0.35),
            (x - half * 0.3, y + tall * 0.55),
            (x + half * 0.3, y + tall * 0.4),
            (x + half, y + tall * 0.7),
            (x + half, y + tall),
            (x - half, y + tall),
        ),
        hill,
    )
    if light.is_winter:
        spread = [(draws.between(-0.95, 0.95), draws.between(-0.9, 0.9)) for _ in range(9)]
        dots(canvas, [(x + dx * half, y + dy * tall, 0.011) for dx, dy in spread], SNOW)
    canvas.rectangle(x - 0.01, y - tall, x + 0.01, y + tall, frame)
    canvas.rectangle(x - half, y - 0.01, x + half, y + 0.01, frame)
    canvas.rectangle(x - half - 0.05, y + tall + 0.02, x + half + 0.05, y + tall + 0.055, darker(frame, 0.9))


def _shelves(
    canvas: Canvas, inside: Inside, x: float, half: float, heights: tuple[float, ...], wood: Colour, draws: Draws
) -> None:
    books = (
        (222, 70, 66),
        (60, 130, 200),
        (250, 200, 80),
        (80, 170, 110),
        (160, 90, 180),
        (240, 240, 232),
        (40, 60, 90),
    )
    for y in heights:
        left = x - half
        while left < x + half - 0.04:
            wide, tall = draws.between(0.018, 0.036), draws.between(0.075, 0.115)
            canvas.rectangle(left, y + 0.12 - tall, left + wide, y + 0.12, inside(books[draws.below(7)], 0.1))
            left += wide + (0.05 if draws.below(5) == 0 else 0.004)
        canvas.rectangle(x - half - 0.02, y + 0.12, x + half + 0.02, y + 0.142, inside(wood, 0.1))


def _plant(canvas: Canvas, inside: Inside, x: float, base: float, size: float) -> None:
    green = inside((50, 150, 84))
    for dx, dy in ((-0.8, -1.3), (0.8, -1.35), (-0.4, -1.8), (0.45, -1.75), (0.0, -2.0), (-1.0, -0.8), (1.0, -0.85)):
        tip = (x + dx * size * 0.6, base + dy * size)
        side = (tip[0] * 0.5 + x * 0.5 - dy * size * 0.12, tip[1] * 0.5 + base * 0.5 - size * 0.3)
        other = (tip[0] * 0.5 + x * 0.5 + dy * size * 0.12, tip[1] * 0.5 + base * 0.5 - size * 0.3)
        canvas.polygon(((x, base - size * 0.5), side, tip, other), green if dx < 0.1 else darker(green, 0.8))
    rim, foot = size * 0.36, size * 0.26
    pot = ((x - rim, base - size * 0.6), (x + rim, base - size * 0.6), (x + foot, base), (x - foot, base))
    canvas.polygon(pot, inside((236, 226, 214)))


def _picture(canvas: Canvas, inside: Inside, x: float, y: float, half: float, colour: Colour) -> None:
    canvas.rectangle(
        x - half - 0.015, y - half - 0.015, x + half + 0.015, y + half + 0.015, inside((250, 246, 240), 0.1)
    )
    canvas.rectangle(x - half, y - half, x + half, y + half, inside(colour, 0.1))
    canvas.polygon(
        ((x - half, y + half), (x - half * 0.2, y - half * 0.2), (x + half * 0.7, y + half)),
        inside(darker(colour, 0.6), 0.1),
    )
    canvas.circle((x + half * 0.45, y - half * 0.4), half * 0.26, inside((255, 250, 230), 0.1))


def _sofa(canvas: Canvas, inside: Inside, x: float, base: float, half: float, colour: Colour) -> None:
    tone = inside(colour)
    canvas.rectangle(x - half, base - 0.27, x + half, base - 0.08, darker(tone, 0.85))
    canvas.ellipse((x, base - 0.27), (half, 0.045), darker(tone, 0.85))
    canvas.rectangle(x - half, base - 0.14, x + half, base, tone)
    for side in (-1, 1):
        canvas.rectangle(x + side * half - 0.045, base - 0.19, x + side * half + 0.045, base, darker(tone, 0.94))
        canvas.circle((x + side * half, base - 0.19), 0.045, darker(tone, 0.94))
    canvas.line((x, base - 0.26), (x, base - 0.02), darker(tone, 0.7), 0.008)


def _lamp(canvas: Canvas, light: Light, inside: Inside, x: float) -> None:
    if light.is_night or light.is_winter:
        glow(canvas, (x, 0.43), 0.36, (190, 130, 60) if light.is_night else (90, 60, 30))
    canvas.rectangle(x - 0.009, 0.46, x + 0.009, 0.92, inside((60, 54, 60)))
    canvas.ellipse((x, 0.92), (0.07, 0.016), inside((60, 54, 60)))
    shade = (255, 226, 150) if light.is_night else inside((255, 240, 210))
    canvas.polygon(((x - 0.05, 0.34), (x + 0.05, 0.34), (x + 0.095, 0.49), (x - 0.095, 0.49)), shade)


def studio(canvas: Canvas, light: Light, layout: int, palette: int, draws: Draws) -> None:
    """A film studio: spotlights, a split wall with neon rings, hexagons under light bars, or shelves with screens."""
    w = canvas.aspect
    base, glow, accent = (
        ((64, 28, 120), (255, 70, 190), (60, 220, 255)),
        ((14, 60, 130), (30, 190, 255), (255, 190, 60)),
        ((130, 26, 60), (255, 110, 70), (255, 220, 110)),
        ((10, 84, 84), (60, 240, 180), (255, 110, 160)),
    )[palette]
    canvas.gradient(0, 0.82, darker(base, 0.6), mix(base, glow, 0.35))
    if layout == 0:
        for x, lean in ((0.12, 0.22), (0.5, 0.0), (0.88, -0.22)):
            far = (x + lean) * w
            beam = mix(mix(base, glow, 0.3), (255, 255, 255), 0.16)
            canvas.polygon(((x * w - 0.03, 0.08), (x * w + 0.03, 0.08), (far + 0.26, 0.82), (far - 0.26, 0.82)), beam)
            canvas.polygon(
                ((x * w - 0.02, 0.08), (x * w + 0.02, 0.08), (far + 0.13, 0.82), (far - 0.13, 0.82)),
                mix(beam, glow, 0.4),
            )
        canvas.rectangle(0, 0.03, w, 0.05, (40, 36, 50))
        for x in (0.12, 0.5, 0.88):
            canvas.polygon(
                ((x * w - 0.05, 0.02), (x * w + 0.05, 0.02), (x * w + 0.065, 0.11), (x * w - 0.065, 0.11)), (36, 32, 46)
            )
            canvas.ellipse((x * w, 0.11), (0.058, 0.018), (255, 252, 220))
    elif layout == 1:
        canvas.polygon(((0, 0), (0.62 * w, 0), (0.38 * w, 0.82), (0, 0.82)), mix(base, accent, 0.42))
        for i in range(6):
            for j in range(5):
                x, y = (i + 0.5 * (j % 2)) * 0.06 + 0.03, 0.06 + j * 0.055
                canvas.circle((x, y), 0.018 - 0.0025 * j, mix(base, accent, 0.75))
        for x, y, r, tone in ((0.85, 0.3, 0.17, glow), (0.14, 0.62, 0.12, accent)):
            canvas.circle((x * w, y), r, mix(base, tone, 0.5), thickness=0.06)
            canvas.circle((x * w, y), r, mix(tone, (255, 255, 255), 0.55), thickness=0.022)
    elif layout == 2:
        r = 0.105
        for row in range(6):
            for column in range(int(w / (r * 1.75)) + 2):
                x, y = (column + 0.5 * (row % 2)) * r * 1.75, row * r * 1.52
                shade = mix(darker(base, 0.7), glow, (0.1, 0.32, 0.2, 0.5)[(column * 3 + row * (2 + palette)) % 4])
                corners = ((0, -1), (0.866, -0.5), (0.866, 0.5), (0, 1), (-0.866, 0.5), (-0.866, -0.5))
                canvas.polygon([(x + dx * r * 0.94, y + dy * r * 0.94) for dx, dy in corners], shade)
        for x, tone in ((0.07, accent), (0.93, glow)):
            canvas.line((x * w, 0.1), (x * w, 0.7), mix(base, tone, 0.55), 0.07)
            canvas.line((x * w, 0.1), (x * w, 0.7), mix(tone, (255, 255, 255), 0.6), 0.026)
    else:
        for x in (0.15, 0.85):
            for y in (0.2, 0.43, 0.66):
                canvas.rectangle((x - 0.15) * w, y, (x + 0.15) * w, y + 0.11, mix(base, accent, 0.3))
                canvas.rectangle((x - 0.15) * w, y + 0.105, (x + 0.15) * w, y + 0.13, (44, 36, 52))
                canvas.rectangle((x - 0.15) * w, y + 0.13, (x + 0.15) * w, y + 0.142, mix(glow, (255, 255, 255), 0.5))
                for i in range(3):
                    px, tone = (
                        (x - 0.11 + 0.095 * i) * w,
                        (glow, accent, (255, 255, 255), darker(base, 0.5))[draws.below(4)],
                    )
                    if draws.below(2):
                        canvas.circle((px, y + 0.07), 0.036, tone)
                    else:
                        canvas.rectangle(px - 0.03, y + 0.02, px + 0.03, y + 0.106, tone)
        canvas.rectangle(0.34 * w, 0.1, 0.66 * w, 0.5, (30, 26, 40))
        canvas.rectangle(0.355 * w, 0.12, 0.645 * w, 0.48, mix(accent, (20, 20, 60), 0.3))
    canvas.gradient(0.82, 1, mix(base, glow, 0.5), darker(base, 0.6))
    canvas.rectangle(0, 0.815, w, 0.828, mix(glow, (255, 255, 255), 0.55))
