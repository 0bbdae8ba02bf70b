"""Which of a kit's colours can be read on the picture that is there: measured, not guessed.

Nothing is chosen by the colours alone. Every candidate is set, drawn on the base, and its contrast measured along the
outline of its letters, where a stroke, a shadow and a plate count as what they are: surroundings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from recast.errors import RecastError
from recast.pixels.image import Picture
from recast.thumbnails import contrast
from recast.thumbnails.design import Design, Lettering
from recast.thumbnails.kit import StrokeStyle, TextStyle
from recast.thumbnails.render import coverage, render, resized

LEAST = 4.5
"""WCAG 2.2, criterion 1.4.3."""
MEASURED_PX = 360  # height of the frame that contrast is measured in
RING_PX = 2  # at that height: within the usual stroke
STROKE_PX = 10.0  # of a stroke that is added, at a frame 720 pixels high
TRIED = 3  # pairs of a fill with a stroke or plate: their colours are known to differ, what they cover is not
NEUTRAL = ("#FFFFFF", "#000000")
"""What a kit without a palette has."""

Setting = Callable[[TextStyle, str | None], Lettering]
"""Sets a title in a style, on a plate of a colour or on none."""


@dataclass(frozen=True)
class Legible:
    """How a title is set. contrast: 10th percentile along its outline. note: what was changed, "" if nothing was."""

    style: TextStyle
    lettering: Lettering
    contrast: float
    note: str = ""


def legible(
    setting: Setting, style: TextStyle, base: Picture, *, palette: Sequence[str], least: float = LEAST
) -> Legible:
    """The title in the first of these ways that reaches `least`: as the kit says; in another colour of the palette;
    with a stroke; on a plate. Of other colours the one with the most contrast; strokes and plates come with the kit's
    own fill first.

    style: colours as "#RRGGBB". palette: all that may be used beside those of the style. Where no way reaches `least`,
    the way with the most contrast, and the note says so. Raises whatever `setting` raises for the style itself; a
    stroke or a plate that finds no room is passed over.
    """
    small: Picture | None = None
    covers: dict[tuple[str, ...], np.ndarray] = {}
    best: Legible | None = None
    reached_by: dict[str, float] = {}  # fills without a plate
    for way, options in _ways(style, palette, reached_by):
        for option, plate in options:
            try:
                lettering = setting(option, plate)
            except RecastError:
                if best is None:
                    raise
                continue
            if small is None:
                small = resized(base, width=round(MEASURED_PX * lettering.aspect), height=MEASURED_PX)
            outlines = tuple(line.path for line in lettering.lines)
            if outlines not in covers:  # another colour has the same outlines
                covers[outlines] = coverage(lettering, width=small.width, height=small.height)
            reached = measured(lettering, small, covers[outlines])
            reached_by.setdefault(option.fill.upper(), reached)
            if best is None or reached > best.contrast:
                best = Legible(option, lettering, reached, f"{way} {_colours(option, plate)}")
        assert best is not None
        if best.contrast >= least:
            break
    assert best is not None
    return _noted(best, style, least)


def measured(lettering: Lettering, base: Picture, cover: np.ndarray) -> float:
    """The 10th percentile of the WCAG ratio along the outline of letters on a base of the frame's shape.

    cover: of the letters (H, W), the base's size, MEASURED_PX high.
    """
    picture = render(Design(base=base, lettering=lettering), width=base.width, height=base.height)
    return contrast.along_outline(picture.rgb, cover, RING_PX)


def _ways(
    style: TextStyle, palette: Sequence[str], reached_by: Mapping[str, float]
) -> Iterator[tuple[str, list[tuple[TextStyle, str | None]]]]:
    """Each way and its options, in the order in which they are tried.

    reached_by: contrast of each fill that was tried; of two fills that differ as much from their stroke, the one that
    is read better without it comes first.
    """
    own = [style.fill, *([style.stroke.color] if style.stroke else []), *(palette or NEUTRAL)]
    colours = list(dict.fromkeys(each.upper() for each in own))
    px = style.stroke.px if style.stroke else STROKE_PX
    yield "as the kit says:", [(style, None)]
    yield "in another colour:", [(replace(style, fill=each), None) for each in colours]
    pairs = [(fill, other, contrast.of_colours(fill, other)) for fill, other in product(colours, colours)]
    pairs.sort(key=lambda pair: (pair[0] != colours[0], -pair[2], -reached_by.get(pair[0], 0.0)))  # its own fill first
    pairs = [pair for pair in pairs if pair[2] >= LEAST][:TRIED]
    for fill, stroke, _ in pairs:
        yield "with a stroke:", [(replace(style, fill=fill, stroke=StrokeStyle(color=stroke, px=px)), None)]
    for fill, plate, _ in pairs:
        yield "on a plate:", [(replace(style, fill=fill, stroke=None, shadow=None), plate)]


def _noted(chosen: Legible, style: TextStyle, least: float) -> Legible:
    """The choice with a note on what it changes, or on what it does not reach."""
    note = "" if chosen.style == style and chosen.lettering.plate is None else f"title {chosen.note}"
    before = f"contrast {chosen.contrast:.1f} : 1"
    if chosen.contrast < least:
        note = (
            f"{note or 'title as the kit says'}; {before} is below {least:g}, and the palette does no better; "
            "give it a lighter or darker colour"
        )
    elif note:
        note = f"{note}; {before}"
    return replace(chosen, note=note)


def _colours(style: TextStyle, plate: str | None) -> str:
    parts = [f"fill {style.fill}"]
    if style.stroke:
        parts.append(f"stroke {style.stroke.color}")
    if plate:
        parts.append(f"plate {plate}")
    return ", ".join(parts)
