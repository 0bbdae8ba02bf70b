"""Beach, forest, mountains and desert."""

from __future__ import annotations

from recast.world.draw.backgrounds.light import SNOW, Light, land, rolling
from recast.world.draw.canvas import Canvas, Colour, darker, mix
from recast.world.draw.exact import Draws


def beach(canvas: Canvas, light: Light, layout: int, palette: int, draws: Draws) -> None:
    """Sea and sand: a palm and an island, a cliff with a lighthouse, parasol and sail, or a volcano between palms."""
    w = canvas.aspect
    sea = ((16, 140, 212), (0, 178, 186), (40, 96, 206), (20, 196, 160))[palette]
    sand = ((255, 222, 140), (255, 236, 190), (250, 200, 150), (244, 214, 110))[palette]
    horizon = (0.5, 0.46, 0.54, 0.5)[layout]
    light.paint_sky(canvas, horizon)
    sun_x = (0.72, 0.3, 0.5, 0.24)[layout] + draws.between(-0.06, 0.06)
    light.paint_sun(canvas, sun_x, horizon - 0.08 if light.is_sunset else draws.between(0.14, 0.2), 0.085)
    light.paint_air(canvas, draws, horizon)
    if layout == 0:
        island = light.air((60, 150, 90), 0.25, 0.5)
        canvas.ellipse((0.74 * w, horizon + 0.02), (0.3 * w, 0.13), island, start=180, end=360)
        canvas.ellipse((0.9 * w, horizon + 0.02), (0.2 * w, 0.09), darker(island, 0.85), start=180, end=360)
    if layout == 3:
        rock = light.air((120, 84, 100), 0.25, 0.35)
        canvas.polygon(((0.5 * w, 0.62), (0.7 * w, 0.2), (0.82 * w, 0.2), (1.04 * w, 0.62)), rock)
        canvas.polygon(((0.7 * w, 0.2), (0.82 * w, 0.2), (0.85 * w, 0.26), (0.77 * w, 0.24), (0.67 * w, 0.27)), SNOW)
        canvas.polygon(((0.78 * w, 0.23), (0.82 * w, 0.2), (1.04 * w, 0.62), (0.84 * w, 0.62)), darker(rock, 0.82))
    canvas.gradient(horizon, 1, light.on(mix(sea, (0, 30, 90), 0.25)), light.on(mix(sea, (180, 255, 240), 0.25)))
    shine = mix(light.on(sea), (255, 255, 255), 0.28 if light.is_night else 0.5)
    if light.is_sunset or light.is_night:
        for i in range(5):
            half, y = 0.16 - 0.022 * i, horizon + 0.022 + 0.04 * i
            canvas.line((sun_x * w - half, y), (sun_x * w + half, y), mix(shine, (255, 230, 150), 0.5), 0.011)
    for _ in range(9):
        x, y = draws.between(0, w), draws.between(horizon + 0.02, 0.72)
        canvas.line((x, y), (x + draws.between(0.05, 0.13), y), shine, 0.007)
    if layout == 2:
        x = draws.between(0.12, 0.2) * w
        canvas.polygon(((x, 0.26), (x, 0.52), (x + 0.15, 0.52)), light.on((255, 255, 255)))
        canvas.polygon(((x - 0.015, 0.3), (x - 0.015, 0.52), (x - 0.1, 0.52)), light.on((250, 96, 72)))
        canvas.polygon(((x - 0.13, 0.54), (x + 0.17, 0.54), (x + 0.12, 0.6), (x - 0.09, 0.6)), light.on((124, 62, 40)))
    if layout == 1:
        cliff = light.on((150, 112, 84))
        canvas.polygon(((w, 0.3), (0.74 * w, 0.34), (0.68 * w, 0.5), (0.6 * w, 0.8), (w, 0.95)), cliff)
        canvas.polygon(((0.74 * w, 0.34), (0.68 * w, 0.5), (0.6 * w, 0.8), (0.76 * w, 0.8)), darker(cliff, 0.8))
        canvas.polygon(((w, 0.27), (0.73 * w, 0.32), (0.71 * w, 0.37), (w, 0.37)), light.on((84, 170, 84), 0.9))
        _lighthouse(canvas, light, 0.86 * w)
    shore = ((0.8, 0.7, 0.74, 0.66), (0.66, 0.72, 0.76, 0.86), (0.78, 0.74, 0.72, 0.78), (0.7, 0.78, 0.76, 0.7))[layout]
    land(canvas, rolling([y - 0.028 for y in shore]), mix(shine, (255, 255, 255), 0.5))
    land(canvas, rolling(shore), light.on(darker(sand, 0.86), 0.55))
    land(canvas, rolling([y + 0.03 for y in shore]), light.on(sand, 0.8))
    for _ in range(10):
        x, y = draws.between(0, w), draws.between(0.86, 1)
        canvas.ellipse((x, y), (0.03, 0.006), light.on(darker(sand, 0.88), 0.7))
    if layout == 2:
        _parasol(canvas, light, 0.83 * w, ((232, 52, 64), (32, 120, 220), (250, 170, 30), (170, 60, 190))[palette])
    palms: tuple[tuple[float, float], ...] = {0: ((0.1, 0.12),), 3: ((0.06, 0.1), (0.95, -0.1))}.get(layout, ())
    for x, lean in palms:
        _palm(canvas, light, x * w, lean)
    light.paint_snow(canvas, draws)


def _palm(canvas: Canvas, light: Light, x: float, lean: float) -> None:
    bark, leaf = light.on((136, 88, 52)), light.on((34, 150, 72), 0.35)
    top = (x + lean, 0.24)
    canvas.polygon(((x - 0.03, 0.98), (x + 0.03, 0.98), (top[0] + 0.016, top[1]), (top[0] - 0.016, top[1])), bark)
    for i in range(5):
        share = 0.15 + 0.16 * i
        mid = (x + lean * share, 0.98 - 0.74 * share)
        canvas.line((mid[0] - 0.02, mid[1]), (mid[0] + 0.02, mid[1] - 0.012), darker(bark, 0.75), 0.01)
    for dx, dy, drop in (
        (-0.27, 0.02, 0.1),
        (0.27, 0.02, 0.1),
        (-0.2, -0.11, 0.02),
        (0.2, -0.11, 0.02),
        (0.0, -0.15, 0.0),
        (-0.15, 0.14, 0.1),
        (0.15, 0.14, 0.1),
    ):
        tip = (top[0] + dx, top[1] + dy + drop)
        bend = (top[0] + dx * 0.55, top[1] + dy - 0.07)
        under = (top[0] + dx * 0.5, top[1] + dy + 0.005)
        canvas.polygon((top, bend, tip, under), leaf if dy < 0.1 else darker(leaf, 0.8))
    for dx in (-0.022, 0.022):
        canvas.circle((top[0] + dx, top[1] + 0.025), 0.024, light.on((110, 66, 40)))


def _lighthouse(canvas: Canvas, light: Light, x: float) -> None:
    white, red = light.on((250, 250, 250)), light.on((222, 50, 52))
    if light.is_night:
        canvas.polygon(((x, 0.1), (x - 0.5, 0.02), (x - 0.5, 0.2)), mix(light.sky[1], (255, 240, 170), 0.35))
    canvas.polygon(((x - 0.05, 0.31), (x + 0.05, 0.31), (x + 0.035, 0.12), (x - 0.035, 0.12)), white)
    canvas.polygon(((x - 0.046, 0.27), (x + 0.046, 0.27), (x + 0.042, 0.22), (x - 0.042, 0.22)), red)
    canvas.polygon(((x - 0.039, 0.17), (x + 0.039, 0.17), (x + 0.036, 0.13), (x - 0.036, 0.13)), red)
    canvas.rectangle(
        x - 0.025, 0.075, x + 0.025, 0.125, (255, 236, 140) if light.is_night else light.on((120, 170, 190))
    )
    canvas.polygon(((x - 0.036, 0.078), (x + 0.036, 0.078), (x, 0.035)), red)


def _parasol(canvas: Canvas, light: Light, x: float, colour: Colour) -> None:
    canvas.line((x + 0.03, 0.42), (x + 0.06, 0.96), light.on((240, 240, 230)), 0.016)
    for i, (start, end) in enumerate(((180, 215), (215, 250), (250, 290), (290, 325), (325, 360))):
        fill = light.on(colour if i % 2 == 0 else (255, 250, 240), 0.3)
        canvas.ellipse((x + 0.03, 0.52), (0.2, 0.16), fill, angle=-6, start=start, end=end)


def forest(canvas: Canvas, light: Light, layout: int, palette: int, draws: Draws) -> None:
    """Trees: conifers, round trees along a path, great trunks, or birches in a glade."""
    w = canvas.aspect
    leaf = ((44, 160, 70), (18, 120, 92), (236, 130, 34), (140, 186, 40))[palette]
    ground = ((96, 176, 72), (50, 130, 96), (176, 120, 60), (190, 206, 84))[palette]
    light.paint_sky(canvas, 0.7)
    light.paint_sun(canvas, (0.3, 0.5, 0.66, 0.42)[layout], 0.42 if light.is_sunset else 0.2, 0.09)
    if light.is_night:
        light.paint_air(canvas, draws, 0.5)
    for far, base, size in ((0.62, 0.6, 0.3), (0.36, 0.68, 0.4)):
        tone = light.air(leaf, far, 0.25)
        heights = [base - draws.between(0.0, size) * (1 if i % 2 else 0.25) for i in range(15)]
        if layout in (0, 2):
            land(canvas, heights, tone)
        else:
            land(canvas, rolling(heights[::2], 5), tone)
    lawn = ((0.72, 0.7, 0.68, 0.72), (0.74, 0.7, 0.74, 0.7), (0.76, 0.76, 0.72, 0.78), (0.68, 0.74, 0.72, 0.66))[layout]
    land(canvas, rolling(lawn), light.on(mix(ground, (255, 255, 160), 0.15), 0.85))
    land(canvas, rolling([y + 0.12 for y in lawn[::-1]]), light.on(ground, 0.8))
    if layout == 1:
        sand = light.on((232, 196, 130), 0.6)
        canvas.polygon(
            ((0.47 * w, 0.72), (0.53 * w, 0.72), (0.62 * w, 0.82), (0.8 * w, 1), (0.2 * w, 1), (0.42 * w, 0.84)), sand
        )
        for x, y, size in ((0.24, 0.74, 0.17), (0.76, 0.74, 0.18), (0.06, 0.84, 0.27), (0.95, 0.86, 0.28)):
            _round_tree(canvas, light, x * w, y, size, leaf)
    elif layout == 0:
        for x, y, size in (
            (0.28, 0.78, 0.44),
            (0.7, 0.78, 0.48),
            (0.05, 0.9, 0.72),
            (0.2, 0.94, 0.5),
            (0.93, 0.92, 0.8),
        ):
            _conifer(canvas, light, (x + draws.between(-0.03, 0.03)) * w, y, size, leaf)
    elif layout == 2:
        bark = ((112, 74, 52), (74, 62, 70), (96, 58, 44), (128, 96, 64))[palette]
        for x, half, far in (
            (0.34, 0.035, 0.3),
            (0.66, 0.04, 0.3),
            (0.86, 0.06, 0.12),
            (0.1, 0.11, 0.0),
            (0.99, 0.1, 0.0),
        ):
            _trunk(canvas, light, x * w, half, light.air(bark, far), light.is_winter)
        canopy = light.on(darker(leaf, 0.8), 0.4)
        for i in range(8):
            canvas.circle((w * i / 7, draws.between(-0.06, 0.02)), 0.15, canopy if i % 2 else light.on(leaf, 0.4))
    else:
        for x, half in ((0.3, 0.018), (0.72, 0.02), (0.16, 0.028), (0.88, 0.03), (0.03, 0.036)):
            _birch(canvas, light, x * w, half, draws)
        for x, y, r in ((0.02, 0.05, 0.2), (0.2, 0.0, 0.16), (0.4, -0.03, 0.13), (0.7, -0.02, 0.15), (0.92, 0.04, 0.2)):
            canvas.circle((x * w, y), r, light.on(leaf, 0.4))
            canvas.circle((x * w - 0.03, y - 0.04), r * 0.72, light.on(mix(leaf, (255, 255, 150), 0.25), 0.5))
    for _ in range(8):
        x, y = draws.between(0, w), draws.between(0.86, 0.99)
        canvas.circle(
            (x, y), 0.012, light.on(((255, 240, 120), (240, 120, 190), (255, 90, 60), (255, 255, 255))[palette])
        )
    light.paint_snow(canvas, draws)


def _conifer(canvas: Canvas, light: Light, x: float, base: float, size: float, leaf: Colour) -> None:
    green = light.on(darker(leaf, 0.82), 0.12)
    canvas.rectangle(x - size * 0.045, base - size * 0.12, x + size * 0.045, base, light.on((104, 66, 44)))
    for low, high, half in ((0.1, 0.5, 0.3), (0.34, 0.74, 0.235), (0.58, 1.0, 0.17)):
        bottom, top, span = base - low * size, base - high * size, half * size
        canvas.polygon(((x - span, bottom), (x, top), (x + span, bottom), (x, bottom - 0.03 * size)), green)
        canvas.polygon(((x, bottom - 0.03 * size), (x, top), (x + span, bottom)), darker(green, 0.8))
        if light.is_winter:
            tip = (top + bottom) / 2
            canvas.polygon(
                ((x - span * 0.5, tip), (x, top - 0.01), (x + span * 0.5, tip), (x, tip - 0.03 * size)), SNOW
            )


def _round_tree(canvas: Canvas, light: Light, x: float, base: float, size: float, leaf: Colour) -> None:
    canvas.polygon(
        (
            (x - size * 0.14, base),
            (x + size * 0.14, base),
            (x + size * 0.08, base - size),
            (x - size * 0.08, base - size),
        ),
        light.on((122, 78, 48)),
    )
    shade, lit = light.on(darker(leaf, 0.74), 0.2), light.on(leaf, 0.2)
    top = base - size * 1.5
    for colour, dx, dy in ((shade, 0.0, 0.12), (lit, -0.08, 0.0)):
        for px, py, r in ((-0.5, 0.25, 0.6), (0.55, 0.2, 0.58), (0.0, -0.3, 0.75), (0.0, 0.35, 0.6)):
            canvas.circle((x + (px + dx) * size, top + (py + dy) * size), r * size, colour)
    crown = SNOW if light.is_winter else light.on(mix(leaf, (255, 255, 140), 0.3))
    canvas.ellipse((x - 0.22 * size, top - 0.55 * size), (0.42 * size, 0.26 * size), crown, angle=-15)


def _trunk(canvas: Canvas, light: Light, x: float, half: float, bark: Colour, snowy: bool) -> None:
    canvas.polygon(
        (
            (x - half * 1.7, 1),
            (x - half, 0.8),
            (x - half * 0.85, 0),
            (x + half * 0.85, 0),
            (x + half, 0.8),
            (x + half * 1.7, 1),
        ),
        bark,
    )
    canvas.polygon(
        ((x + half * 0.2, 1), (x + half * 0.35, 0), (x + half * 0.85, 0), (x + half, 0.8), (x + half * 1.7, 1)),
        darker(bark, 0.76),
    )
    canvas.line((x - half * 0.5, 0.1), (x - half * 0.55, 0.7), mix(bark, (255, 230, 190), 0.22), half * 0.16)
    if snowy:
        canvas.polygon(((x - half * 0.95, 0.74), (x - half * 0.5, 0.1), (x - half * 0.85, 0.1)), SNOW)


def _birch(canvas: Canvas, light: Light, x: float, half: float, draws: Draws) -> None:
    bark = light.on((238, 234, 224))
    canvas.rectangle(x - half, 0, x + half, 0.86, bark)
    canvas.rectangle(x + half * 0.3, 0, x + half, 0.86, darker(bark, 0.82))
    for _ in range(6):
        y = draws.between(0.1, 0.8)
        canvas.polygon(((x - half, y), (x + half * 0.3, y + 0.008), (x - half, y + 0.024)), light.on((60, 50, 52)))


def mountains(canvas: Canvas, light: Light, layout: int, palette: int, draws: Draws) -> None:
    """One great peak, twin peaks, a jagged range over a lake, or green hills under a table mountain."""
    w = canvas.aspect
    rock = ((96, 108, 150), (132, 100, 110), (70, 124, 146), (146, 120, 90))[palette]
    meadow = ((86, 178, 84), (150, 190, 70), (40, 146, 110), (206, 176, 70))[palette]
    light.paint_sky(canvas, 0.68)
    light.paint_sun(canvas, (0.78, 0.5, 0.24, 0.7)[layout], 0.5 if light.is_sunset else draws.between(0.13, 0.19), 0.08)
    light.paint_air(canvas, draws, 0.5)
    far = [0.6 - draws.between(0.0, 0.2) * (i % 2) for i in range(10)]
    land(canvas, far, light.air(rock, 0.62, 0.4))
    peaks = (
        ((0.3, 0.1, 0.52),),
        ((0.16, 0.16, 0.36), (0.84, 0.2, 0.36)),
        ((0.5, 0.3, 0.2), (0.02, 0.3, 0.24), (0.24, 0.18, 0.22), (0.76, 0.14, 0.24), (0.98, 0.28, 0.2)),
        ((0.82, 0.28, 0.3),),
    )[layout]
    for x, top, half in peaks:
        x, half = (x + draws.between(-0.03, 0.03)) * w, half * max(w, 1.2)
        _peak(canvas, light, x, top, half, rock, table=layout == 3)
    if layout == 2:
        water = light.on(((40, 150, 210), (60, 190, 200), (20, 120, 190), (90, 170, 200))[palette])
        canvas.gradient(0.68, 1, mix(water, light.sky[2], 0.5), water)
        for _ in range(10):
            x, y = draws.between(0, w), draws.between(0.7, 0.9)
            canvas.line((x, y), (x + draws.between(0.06, 0.16), y), mix(water, (255, 255, 255), 0.4), 0.007)
        land(canvas, rolling((0.82, 0.96, 1.05, 0.97, 0.84)), light.on(meadow, 0.85))
    else:
        shape = ((0.66, 0.74, 0.7, 0.62), (0.74, 0.66, 0.66, 0.74), (), (0.5, 0.62, 0.7, 0.66))[layout]
        land(canvas, rolling(shape), light.air(darker(meadow, 0.86), 0.2, 0.8))
        land(canvas, rolling([y + 0.12 for y in shape[::-1]]), light.on(meadow, 0.85))
        land(canvas, rolling([y + 0.26 for y in shape]), light.on(darker(meadow, 0.88), 0.8))
    trees = ((0.08, 0.93, 0.28), (0.2, 0.97, 0.22), (0.9, 0.92, 0.3), (0.8, 0.97, 0.2))
    for x, base, size in trees[: (4, 2, 3, 1)[layout]] if layout != 1 else trees[2:]:
        _conifer(canvas, light, x * w, base, size, (40, 120, 80))
    light.paint_snow(canvas, draws)


def _peak(canvas: Canvas, light: Light, x: float, top: float, half: float, rock: Colour, table: bool) -> None:
    lit, shade = light.air(rock, 0.1, 0.2), light.air(darker(rock, 0.7), 0.1, 0.1)
    flat = half * 0.34 if table else 0.0
    canvas.polygon(((x - half, 0.8), (x - flat, top), (x + flat, top), (x + half, 0.8)), lit)
    canvas.polygon(
        ((x + flat, top), (x + half, 0.8), (x + half * 0.1, 0.8), (x + flat - half * 0.12, top + 0.2)), shade
    )
    snow = light.on((250, 252, 255)) if not light.is_winter else SNOW
    depth = (0.62 if light.is_winter else 0.34) * (0.8 - top)
    cut = [(-1, 1), (-0.6, 0.74), (-0.3, 1.08), (0.05, 0.7), (0.4, 1.05), (0.7, 0.8), (1, 1)]
    lower = [(x + dx * (flat + (half - flat) * depth / (0.8 - top)), top + depth * dy) for dx, dy in cut]
    if not table or light.is_winter:
        canvas.polygon([(x - flat, top), (x + flat, top), *lower[::-1]], snow)
        canvas.polygon([(x + flat, top), *lower[:3:-1], lower[3]], mix(snow, light.on((120, 140, 200)), 0.45))


def desert(canvas: Canvas, light: Light, layout: int, palette: int, draws: Draws) -> None:
    """Table mountains, pyramids in dunes, canyon walls, or a field of cacti."""
    w = canvas.aspect
    sand = ((244, 184, 96), (238, 150, 90), (250, 214, 140), (222, 128, 76))[palette]
    rock = ((206, 98, 58), (168, 74, 70), (222, 140, 84), (150, 66, 60))[palette]
    light.paint_sky(canvas, 0.66)
    sun = ((0.24, 0.08), (0.74, 0.1), (0.5, 0.1), (0.72, 0.15))[layout]
    light.paint_sun(canvas, sun[0], 0.46 if light.is_sunset else 0.2, sun[1])
    if light.is_night:
        light.paint_air(canvas, draws, 0.55)
    land(canvas, rolling([0.6 - draws.between(0, 0.08) for _ in range(6)]), light.air(rock, 0.6, 0.3))
    if layout == 0:
        for x, top, half in ((0.82, 0.3, 0.2), (0.12, 0.36, 0.13), (0.34, 0.5, 0.08)):
            _mesa(canvas, light, (x + draws.between(-0.03, 0.03)) * w, top, half * max(w, 1), rock)
    if layout == 1:
        for x, top, half in ((0.86, 0.42, 0.2), (0.22, 0.24, 0.34)):
            left, right, face = x * w - half, x * w + half, light.on(mix(sand, rock, 0.35), 0.35)
            canvas.polygon(((left, 0.72), (x * w, top), (right, 0.72)), face)
            canvas.polygon(((x * w + half * 0.35, 0.72), (x * w, top), (right, 0.72)), darker(face, 0.7))
    dunes = (
        (0.66, 0.62, 0.68, 0.64),
        (0.74, 0.64, 0.7, 0.58),
        (0.7, 0.74, 0.74, 0.7),
        (0.66, 0.7, 0.66, 0.7),
    )[layout]
    land(canvas, rolling(dunes), light.on(mix(sand, (255, 244, 200), 0.25), 0.75))
    land(canvas, rolling([y + 0.13 for y in dunes[::-1]]), light.on(darker(sand, 0.84), 0.65))
    land(canvas, rolling([y + 0.2 for y in dunes[::-1]]), light.on(sand, 0.75))
    if layout == 2:
        for side in (0, 1):
            tone = light.on(rock, 0.1)
            edge = [
                (0.0, 0.08),
                (0.26, 0.12),
                (0.3, 0.3),
                (0.22, 0.36),
                (0.27, 0.6),
                (0.2, 0.72),
                (0.3, 1.0),
                (0.0, 1.0),
            ]
            wall = [(w * (x if side == 0 else 1 - x * 0.9), y + 0.08 * side) for x, y in edge]
            canvas.polygon(wall, tone)
            for i, y in enumerate((0.24, 0.44, 0.62, 0.8)):
                x = w * (0.02 if side == 0 else 0.82)
                canvas.rectangle(
                    x - 0.02 * w, y, x + 0.16 * w, y + 0.05, (mix(tone, sand, 0.4), darker(tone, 0.8))[i % 2]
                )
            if light.is_winter:
                canvas.polygon([*wall[:2], (wall[1][0], wall[1][1] + 0.06), (wall[0][0], wall[0][1] + 0.05)], SNOW)
    few = ((0.1, 0.95, 0.24),)
    many = ((0.13, 0.92, 0.5), (0.87, 0.95, 0.42), (0.3, 0.78, 0.18), (0.68, 0.76, 0.16))
    for x, base, size in {0: few, 3: many}.get(layout, ()):
        _cactus(canvas, light, x * w, base, size)
    light.paint_snow(canvas, draws)


def _mesa(canvas: Canvas, light: Light, x: float, top: float, half: float, rock: Colour) -> None:
    tone = light.air(rock, 0.1, 0.1)
    canvas.polygon(((x - half, 0.72), (x - half * 0.72, top), (x + half * 0.72, top), (x + half, 0.72)), tone)
    canvas.polygon(
        ((x + half * 0.3, 0.72), (x + half * 0.36, top), (x + half * 0.72, top), (x + half, 0.72)), darker(tone, 0.76)
    )
    canvas.rectangle(
        x - half * 0.72, top, x + half * 0.72, top + 0.035, SNOW if light.is_winter else mix(tone, (255, 220, 150), 0.3)
    )
    canvas.rectangle(x - half * 0.8, top + 0.12, x + half * 0.8, top + 0.145, mix(tone, (255, 220, 150), 0.22))


def _cactus(canvas: Canvas, light: Light, x: float, base: float, size: float) -> None:
    green = light.on((44, 140, 84), 0.1)
    thick = size * 0.2
    for colour, inset in ((darker(green, 0.6), 0.0), (green, 0.035 * size)):
        canvas.line((x, base), (x, base - size * 0.9), colour, thick - inset)
        for side, low, high in ((-1, 0.35, 0.7), (1, 0.48, 0.82)):
            elbow = (x + side * size * 0.26, base - low * size)
            canvas.line((x, elbow[1]), elbow, colour, thick * 0.72 - inset)
            canvas.line(elbow, (elbow[0], base - high * size), colour, thick * 0.72 - inset)
    canvas.line(
        (x - thick * 0.2, base - size * 0.05),
        (x - thick * 0.2, base - size * 0.88),
        mix(green, (255, 255, 160), 0.3),
        0.014 * size,
    )
    if light.is_winter:
        for dx, y in ((0, 0.98), (-0.26, 0.75), (0.26, 0.87)):
            canvas.ellipse((x + dx * size, base - y * size), (thick * 0.46, thick * 0.26), SNOW)
