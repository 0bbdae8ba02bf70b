"""Space, the sunburst of bold thumbnails, and the plain sheet: places without a time of day."""

from __future__ import annotations

import math

from recast.world.draw.backgrounds.light import Light, paint_stars
from recast.world.draw.canvas import Canvas, Colour, darker, mix
from recast.world.draw.exact import Draws

BURSTS: tuple[tuple[Colour, Colour], ...] = (
    ((255, 208, 40), (255, 142, 24)), ((238, 44, 58), (176, 14, 44)), ((36, 132, 244), (22, 82, 196)),
    ((40, 188, 96), (16, 134, 72)), ((150, 70, 226), (98, 32, 168)), ((255, 92, 160), (214, 40, 116)),
    ((30, 200, 210), (8, 140, 166)), ((255, 128, 44), (222, 72, 24)), ((250, 226, 90), (40, 170, 220)),
    ((255, 240, 220), (240, 70, 70)), ((90, 40, 150), (250, 90, 180)), ((24, 34, 84), (34, 120, 220)),
    ((190, 232, 70), (70, 178, 50)), ((255, 236, 110), (236, 60, 140)), ((210, 246, 255), (60, 170, 240)),
    ((60, 52, 66), (236, 176, 40)),
)  # fmt: skip
SHEETS: tuple[Colour, ...] = (
    (250, 250, 250), (226, 236, 248), (255, 240, 214), (222, 244, 226), (246, 226, 240), (210, 214, 222),
    (255, 246, 176), (186, 222, 250), (196, 236, 222), (250, 208, 196), (222, 206, 246), (176, 190, 206),
    (96, 110, 132), (62, 72, 96), (70, 92, 88), (92, 74, 98),
)  # fmt: skip
GRID = 1 << 16  # sines are rounded to it: their last bit is not the same on every machine


def direction(turns: float) -> tuple[float, float]:
    """The unit vector at an angle in whole turns, clockwise from the right."""
    angle = math.tau * turns
    return round(math.cos(angle) * GRID) / GRID, round(math.sin(angle) * GRID) / GRID


def plain(canvas: Canvas, light: Light, layout: int, palette: int, draws: Draws) -> None:
    """One colour all over."""
    canvas.rectangle(0, 0, canvas.aspect, 1, SHEETS[palette * 4 + layout])


def rays(canvas: Canvas, light: Light, layout: int, palette: int, draws: Draws) -> None:
    """A sunburst in two colours, brighter towards its centre, with dots of print in two corners."""
    w = canvas.aspect
    a, b = BURSTS[palette * 4 + layout]
    x, y = ((0.5, 0.52), (0.26, 0.42), (0.76, 0.36), (0.5, 1.02))[layout]
    count = (14, 11, 16, 20)[layout] + palette
    offset = draws.between(0, 1)
    center = (x * w, y)
    canvas.rectangle(0, 0, w, 1, a)
    for reach, share in ((w + 1.2, 0.0), (0.72, 0.16), (0.5, 0.3), (0.3, 0.46)):
        white = (255, 255, 240)
        if share:
            canvas.circle(center, reach, mix(a, white, share))
        spokes = []
        for i in range(count):
            for half in (0.0, 0.25, 0.5):
                dx, dy = direction((i + half + offset) / count)
                spokes.append((center[0] + dx * reach, y + dy * reach))
            spokes.append(center)
        canvas.polygon(spokes, mix(b, white, share))
    dots = darker(b, 0.8) if sum(b) > 250 else mix(b, (255, 255, 255), 0.3)
    left = layout in (0, 2)
    for i in range(5):
        for j in range(5 - i):
            radius = 0.021 - 0.0032 * (i + j)
            at = 0.035 + 0.06 * i
            canvas.circle((at if left else w - at, 0.035 + 0.06 * j), radius, dots)
            canvas.circle((w - at if left else at, 0.965 - 0.06 * j), radius, dots)


def space(canvas: Canvas, light: Light, layout: int, palette: int, draws: Draws) -> None:
    """Stars and a nebula with a ringed giant, the ground of a moon, a spiral galaxy, or three planets in a row."""
    w = canvas.aspect
    deep, cloud, world = (
        ((14, 10, 52), (110, 50, 180), (255, 150, 70)),
        ((4, 20, 50), (20, 120, 170), (230, 80, 150)),
        ((40, 6, 50), (190, 40, 130), (70, 200, 220)),
        ((6, 8, 24), (50, 70, 160), (120, 220, 110)),
    )[palette]
    canvas.gradient(0, 1, deep, mix(deep, cloud, 0.35))
    slope = draws.between(-0.35, 0.35)
    for share, size in ((0.22, 1.0), (0.42, 0.66), (0.62, 0.36)):  # a nebula across the sky
        for i in range(6):
            x = (i + draws.between(0.2, 0.8)) / 6
            y = 0.42 + slope * (x - 0.5) * 2 + draws.between(-0.05, 0.05)
            canvas.ellipse((x * w, y), (0.16 * size * max(w, 1), 0.17 * size), mix(deep, cloud, share))
    paint_stars(canvas, draws, 44, 1.0)
    second = ((90, 190, 255), (255, 200, 90), (255, 130, 120), (210, 130, 255))[palette]
    if layout == 0:
        _planet(canvas, (0.83 * w, 0.27), 0.2, world, ring=second)
        _planet(canvas, (0.13 * w, 0.76), 0.11, second)
    elif layout == 1:
        _planet(canvas, (0.2 * w, 0.24), 0.15, second)
        ground = mix(world, (190, 190, 200), 0.55)
        canvas.ellipse((0.5 * w, 1.36), (0.95 * max(w, 1), 0.64), ground)
        for x, y, r in (
            (0.14, 0.94, 0.085),
            (0.36, 0.84, 0.05),
            (0.66, 0.86, 0.06),
            (0.86, 0.93, 0.1),
            (0.5, 0.95, 0.05),
        ):
            canvas.ellipse((x * w, y), (r, r * 0.42), darker(ground, 0.72))
            canvas.ellipse((x * w, y + r * 0.08), (r * 0.86, r * 0.32), darker(ground, 0.86))
    elif layout == 2:
        center = (0.76 * w, 0.34)
        for arm in (0.0, 0.5):
            for i in range(22):
                dx, dy = direction(arm + i * 0.042)
                r = 0.035 + i * 0.014
                tone = mix(mix((255, 250, 220), world, min(1, i / 12)), deep, max(0, (i - 12) / 14))
                canvas.circle(
                    (center[0] + dx * r * 1.25, center[1] + dy * r * 0.75 + dx * r * 0.35), 0.05 - 0.0017 * i, tone
                )
        canvas.ellipse(center, (0.09, 0.062), (255, 250, 226), angle=16)
        _planet(canvas, (0.08 * w, 0.86), 0.22, second)
    else:
        _planet(canvas, (0.06 * w, 0.3), 0.24, world)
        _planet(canvas, (0.9 * w, 0.62), 0.15, second, ring=mix(world, (255, 255, 255), 0.4))
        _planet(canvas, (0.7 * w, 0.14), 0.07, mix(second, world, 0.5))
        tail = (0.42 * w, 0.2)
        canvas.polygon(
            ((tail[0], tail[1] - 0.02), (tail[0] + 0.26, tail[1] - 0.15), (tail[0] + 0.01, tail[1] + 0.02)),
            mix(deep, (255, 255, 255), 0.6),
        )
        canvas.circle(tail, 0.03, (255, 255, 236))


def _planet(
    canvas: Canvas, center: tuple[float, float], radius: float, colour: Colour, ring: Colour | None = None
) -> None:
    x, y = center
    if ring is not None:
        canvas.ellipse(center, (radius * 1.75, radius * 0.46), darker(ring, 0.7), -18, 180, 360, thickness=radius * 0.2)
    canvas.circle(center, radius, darker(colour, 0.55))
    canvas.ellipse((x - radius * 0.1, y - radius * 0.08), (radius * 0.89, radius * 0.9), colour)
    for dy, half, tall in ((-0.36, 0.62, 0.1), (0.06, 0.74, 0.13), (0.44, 0.5, 0.08)):
        canvas.ellipse((x - radius * 0.1, y + dy * radius), (half * radius, tall * radius), darker(colour, 0.84), -14)
    canvas.ellipse(
        (x - radius * 0.42, y - radius * 0.46), (radius * 0.2, radius * 0.13), mix(colour, (255, 255, 255), 0.55), -40
    )
    if ring is not None:
        canvas.ellipse(center, (radius * 1.75, radius * 0.46), ring, -18, 0, 180, thickness=radius * 0.2)
