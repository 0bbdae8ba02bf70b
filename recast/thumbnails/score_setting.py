"""Parts of the brand score that come from what is set over the picture: letters, logo, and where things stand.

Exact where the design is known; else from what is read, found and seen in the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from recast.pixels.image import Picture
from recast.thumbnails import logos
from recast.thumbnails.boxes import Box
from recast.thumbnails.design import Lettering
from recast.thumbnails.habits import Rating
from recast.thumbnails.kit import Corner, Font, Kit, Layout, LogoStyle
from recast.thumbnails.letterforms import OTHER, SAME, likeness
from recast.thumbnails.logo_match import FOUND, FoundLogo, find
from recast.thumbnails.palette import distances, to_lab
from recast.thumbnails.seen import Seen, ramp

GOOD = 75.0
EXACT = {"font": 0.45, "case": 0.1, "fill": 0.25, "stroke": 0.1, "shadow": 0.1}
"""Weights of what is compared in lettering of ours; of lettering that is read: font, case and fill."""
ALIKE = frozenset("cijklopsuvwxyz")
"""Letters whose capital has the same shape: a reader guesses which it is, so of lettering that is read they say
nothing about case."""
FAR_COLOUR = 40.0
"""CIEDE2000 beyond the tolerance at which a colour of letters has no marks."""
LOGO = {"likeness": 0.4, "place": 0.2, "size": 0.15, "clear": 0.1, "shape": 0.15}
CERTAIN = 0.8
"""The correlation from which place, size, room and shape of a logo that is found count in full."""
LIKE = 0.92
"""The correlation from which a logo that is found has full marks: compression takes the rest."""
RENDER_PX = 256
ANCHORS: Mapping[Corner, tuple[float, float]] = {
    "top-left": (0, 0),
    "top-right": (1, 0),
    "bottom-left": (0, 1),
    "bottom-right": (1, 1),
    "center": (0.5, 0.5),
}
FREE_PLACE, LAST_PLACE = 0.12, 0.5
"""How far from its corner, beyond its own half size, a logo has full marks, and none: shares of the frame."""
FULL_SIZE = 0.4
"""The share of its area in a layout, by height, that a face or text fills at least."""


def typography(seen: Seen, kit: Kit) -> Rating:
    """Font, case, colour, stroke and shadow of the title."""
    if not kit.fonts:
        return Rating(None, "the kit has no fonts", "add fonts")
    if seen.design is not None:
        lettering = seen.design.lettering
        if lettering is None:
            return Rating(None, "the picture has no lettering")
        return _weighed(_exact(lettering, kit), "known from the design")
    if seen.lines is None:
        return Rating(None, seen.sight.why.get("text", "nothing is there to read with"), "install recast[reading]")
    weighed = seen.weighed_lines
    if not weighed:
        return Rating(None, "no title was read")
    parts = _read(seen, kit)
    if parts is None:
        return Rating(None, "the letters that were read cannot be parted from what is behind them")
    made = _weighed(parts, "estimated from the letters' shapes")
    return replace(made, sure=max(weight for _, weight in weighed))


def _weighed(parts: Mapping[str, tuple[float, str]], how: str) -> Rating:
    total = sum(EXACT[name] for name in parts)
    value = 100 * sum(EXACT[name] * share for name, (share, _) in parts.items()) / total
    wrong = [words for share, words in parts.values() if share < 0.9 and words]
    numbers = {name: round(100 * share, 1) for name, (share, _) in parts.items()}
    reason = f"{'; '.join(wrong) if wrong else 'the letters are as in the kit'} ({how})"
    return Rating(value, reason, "set the title again by the kit" if value < GOOD else "", numbers)


def _exact(lettering: Lettering, kit: Kit) -> dict[str, tuple[float, str]]:
    """Share of the marks, and what is wrong, for each of EXACT."""
    names = [each.file.name for each in kit.fonts]
    font = next((each for each in kit.fonts if each.file.name == lettering.font), None)
    text = "".join(line.text for line in lettering.lines)
    style = kit.text_style
    stroke, shadow = lettering.stroke, lettering.shadow
    found: dict[str, tuple[float, str]] = {
        "font": (float(font is not None), f"set in {lettering.font}, not in {' or '.join(names)}"),
        "case": _case(text, font or kit.fonts[0]),
        "fill": _paint(lettering.fill, kit),
    }
    if style.stroke is None:
        found["stroke"] = (float(stroke is None), "a stroke that the kit has not")
    elif stroke is None:
        found["stroke"] = (0.0, "the kit's stroke is missing")
    else:
        wanted = style.stroke.px / 720
        width = min(stroke.width, wanted) / max(stroke.width, wanted, 1e-9)
        colour = _near(stroke.colour, kit.colour(style.stroke.color), 5.0)
        found["stroke"] = (width * colour, f"a stroke of {720 * stroke.width:.0f} px in {stroke.colour}")
    has = (style.shadow is not None, shadow is not None)
    words = "the kit's shadow is missing" if has[0] else "a shadow that the kit has not"
    found["shadow"] = (float(has[0] == has[1]), words)
    return found


def _read(seen: Seen, kit: Kit) -> dict[str, tuple[float, str]] | None:
    """The same of lettering that was read, as far as pixels tell; None where they do not."""
    best: tuple[float, Font, str] | None = None
    for font in kit.fonts:
        found = [
            (each.value * weight, each.colour)
            for line, weight in seen.weighed_lines or ()
            if (each := likeness(seen.rgb, line.text, line.box, font.file, instance=font.instance)) is not None
        ]
        if found:
            value, colour = max(found)  # the clearest: what lies behind the others may reach into them
            if best is None or value > best[0]:
                best = value, font, colour
    if best is None:
        return None
    value, font, colour = best
    share = float(np.clip((value - OTHER) / (SAME - OTHER), 0, 1))
    text = "".join(line.text for line in seen.lines or ())
    text = "".join(each for each in text if each.lower() not in ALIKE)
    words = f"letters have {value:.0%} in common with {font.file.stem}, its own have {SAME:.0%}"
    return {"font": (share, words), "case": _case(text, font), "fill": _paint(colour, kit)}


def _case(text: str, font: Font) -> tuple[float, str]:
    """Of the letters that have a case, the share that is capital where the font is set in capitals."""
    letters = [each for each in text if each.upper() != each.lower()]
    if font.case != "upper" or not letters:
        return 1.0, ""
    return sum(each == each.upper() for each in letters) / len(letters), "not in capitals"


def _paint(colour: str, kit: Kit) -> tuple[float, str]:
    """The kit's fill has full marks, another colour of its palette nearly."""
    fill = kit.colour(kit.text_style.fill)
    share = max(
        [_near(colour, fill, 5.0), *(0.9 * _near(colour, each.hex, each.tol) for each in kit.palette)],
    )
    return share, f"letters are {colour}, the kit's {fill}"


def _near(colour: str, other: str, tolerance: float) -> float:
    away = float(distances(to_lab(colour)[None], to_lab(other)[None])[0, 0])
    return float(np.clip(1 - (away - tolerance) / FAR_COLOUR, 0, 1))


def logo(seen: Seen, kit: Kit) -> Rating:
    """Whether the logo is there, in its corner, as large as agreed, undistorted, with nothing near it."""
    style = kit.logo
    if style is None:
        return Rating(None, "the kit has no logo", "add logo")
    found, exact = _where(seen, style)
    if found is None or found.correlation < FOUND:
        came = "" if found is None else f" (the likeliest place is {found.correlation:.2f} like it, of {FOUND})"
        # never a jump: at FOUND a logo that is found has as little
        value = 0.0 if found is None else 20 * max(found.correlation, 0) / FOUND
        return Rating(value, f"the logo is not found{came}", f"place it {_corner(seen, kit)}", {
            "correlation": None if found is None else round(found.correlation, 3)
        })  # fmt: skip
    height, width = seen.rgb.shape[:2]
    aspect = width / height
    box = found.box
    corner = _corner(seen, kit)
    least, most = (each / 100 for each in style.width_pct)
    away = _from_corner(box, corner)
    clear = style.clear_space_pct / 100
    others = [*((line.box, weight) for line, weight in seen.weighed_lines or ()), *(seen.weighed_faces or ())]
    kept_free = box.grown(clear, clear * aspect)
    near = max([weight * (1 - _same(each, box)) * each.overlap(kept_free) for each, weight in others], default=0.0)
    shares = {
        "likeness": float(np.clip((found.correlation - FOUND) / (LIKE - FOUND), 0, 1)),
        "place": float(np.clip(1 - (away - FREE_PLACE) / (LAST_PLACE - FREE_PLACE), 0, 1)),
        "size": float(np.clip(1 - 3 * max(least - box.width, box.width - most, 0) / least, 0, 1)),
        "clear": float(np.clip(1 - 4 * near / kept_free.area, 0, 1)),
        "shape": float(np.clip(1 - 4 * max(abs(np.log(found.stretch)) - 0.06, 0), 0, 1)),
    }
    there = ramp(found.correlation, (FOUND, CERTAIN))  # where it is says nothing before it is sure that it is there
    value = 20 + 80 * sum(LOGO[name] * share * (1 if name == "likeness" else there) for name, share in shares.items())
    said = {
        "likeness": f"it is only {found.correlation:.2f} like its file",
        "place": f"it is not {corner}",
        "size": f"it is {box.width:.1%} wide, {least:.0%} to {most:.0%} agreed",
        "clear": f"something is nearer than {clear:.0%}",
        "shape": f"it is stretched by {found.stretch:.2f}",
    }
    wrong = [said[name] for name, share in shares.items() if share < 0.9]
    how = "known from the design" if exact else f"found with a correlation of {found.correlation:.2f}"
    numbers = {name: round(100 * share, 1) for name, share in shares.items()} | {
        "correlation": round(found.correlation, 3),
        "box": [round(x, 4) for x in (box.left, box.top, box.right, box.bottom)],
    }
    reason = f"{'; '.join(wrong) if wrong else 'the logo is as agreed'} ({how})"
    return Rating(value, reason, f"place it {corner} by the kit" if value < GOOD else "", numbers)


def _where(seen: Seen, style: LogoStyle) -> tuple[FoundLogo | None, bool]:
    """The logo's place, and whether it is known exactly."""
    files = [style.file, *([style.mono] if style.mono else [])]
    if seen.design is not None:
        placed = seen.design.logo
        if placed is None or placed.file not in [each.name for each in files]:
            return None, True
        return FoundLogo(placed.box, 1.0, 1.0), True  # it is laid into its box in its own shape
    widths = (style.width_pct[0] / 100, style.width_pct[1] / 100)
    found = [each for path in files if (each := find(seen.rgb, _drawn(path), widths=widths)) is not None]
    return max(found, key=lambda each: each.correlation, default=None), False


def _drawn(path: Path) -> Picture:
    """A logo's file as pixels with alpha, about RENDER_PX wide."""
    from recast.thumbnails.render import rasterize

    mark = logos.read(path)
    if mark.svg is None:
        assert mark.raster is not None
        return mark.raster
    wide = RENDER_PX if mark.ratio >= 1 else max(round(RENDER_PX * mark.ratio), 8)
    return rasterize(mark.svg, width=wide, height=max(round(wide / mark.ratio), 1))


def _corner(seen: Seen, kit: Kit) -> Corner:
    assert kit.logo is not None
    chosen = next((each for each in kit.layouts if seen.design and each.id == seen.design.layout), None)
    return (chosen and chosen.logo) or kit.logo.anchor


def _from_corner(box: Box, corner: Corner) -> float:
    """How far the box is from touching its corner, or its middle from the frame's: a share of the frame."""
    x, y = ANCHORS[corner]
    if corner == "center":
        return float(np.hypot(box.center[0] - x, box.center[1] - y))
    return float(np.hypot(box.left if x == 0 else 1 - box.right, box.top if y == 0 else 1 - box.bottom))


def _same(one: Box, other: Box) -> float:
    """How far, 0..1, most of one lies in the other: letters of the logo that were read as a line."""
    return ramp(one.overlap(other) / min(one.area, other.area), (0.35, 0.65))


def layout(seen: Seen, kit: Kit) -> Rating:
    """How well face and text lie in the areas of a layout: the design's own, else the one that fits best."""
    if not kit.layouts:
        return Rating(None, "the kit has no layouts", "add layouts")
    if seen.lines is None and seen.faces is None:
        return Rating(
            None, "nothing is there to find faces and text with", "pass a recogniser, install recast[reading]"
        )
    own = [each for each in kit.layouts if seen.design is not None and each.id == seen.design.layout]
    best = max((_held(seen, each) for each in own or kit.layouts), key=lambda each: each[0])
    value, held, chosen = best
    if not held:
        return Rating(None, f"{chosen.id}: what it places cannot be looked for", "pass a recogniser")
    wrong = [
        f"{name} {'is missing' if share == 0 else f'lies {share:.0%} in its area'}"
        for name, share in held.items()
        if share < 0.9
    ]
    reason = f"{chosen.id}: {'; '.join(wrong) if wrong else 'face and text lie in their areas'}"
    fix = f"set it by the layout {chosen.id}" if value < GOOD else ""
    return Rating(value, reason, fix, {"layout": chosen.id} | {name: round(100 * x, 1) for name, x in held.items()})


def _held(seen: Seen, layout: Layout) -> tuple[float, dict[str, float], Layout]:
    held = {}
    if seen.lines is not None:
        held["text"] = _inside([(each.box, weight) for each, weight in seen.weighed_lines or ()], layout.text)
    if seen.faces is not None and layout.face is not None:
        held["face"] = _inside(seen.weighed_faces or (), layout.face)
    value = 100 * sum(held.values()) / len(held) if held else 0.0
    return value, held, layout


def _inside(boxes: Sequence[tuple[Box, float]], area: Box) -> float:
    """The share of what some boxes cover that lies in an area, less where they fill little of it; 0 of none.

    By area, so that a small line that a reader makes out of nothing counts little, and each box by its weight, 0..1.
    """
    total = sum(weight * each.area for each, weight in boxes)
    if total <= 0:
        return 0.0
    filled = min(_rows(boxes) / (FULL_SIZE * area.height), 1.0)
    share = sum(weight * each.overlap(area) for each, weight in boxes) / total
    return max(weight for _, weight in boxes) * share * (0.7 + 0.3 * filled)


def _rows(boxes: Sequence[tuple[Box, float]]) -> float:
    """The height, a share of the frame, that some boxes cover together: each row by the largest weight of any."""
    edges = sorted({edge for each, _ in boxes for edge in (each.top, each.bottom)})
    return sum(
        (bottom - top) * max([weight for each, weight in boxes if each.top <= top and each.bottom >= bottom], default=0)
        for top, bottom in pairwise(edges)
    )
