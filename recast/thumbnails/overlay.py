"""A picture with what was found drawn over it: margins, badge and bar as platforms have them, a box a finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recast.errors import ConfigError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.boxes import BADGE, BAR, HARD, SOFT, Box
from recast.thumbnails.findings import Finding
from recast.thumbnails.profiles import USUAL, Profile

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
COLOURS: Mapping[str, str] = {"fail": "#E5252A", "warn": "#FFB000"}
"""Of boxes and labels, in the order in which they are drawn over one another: what fails last."""
INK: Mapping[str, str] = {"fail": "#FFFFFF", "warn": "#111111"}
SIDE_PX = 1280
"""A smaller picture is enlarged to it, so that labels can be read; a larger one is drawn at its own size."""
DURATION = "12:34"
WATCHED = 0.4
"""Of the bar that is drawn, what is red."""


def write(path: Path, picture: Path | Picture, findings: Sequence[Finding], *, profile: Profile = USUAL) -> Path:
    """Write the overlay, in the format of the path's suffix. Raises InputError like `image.read` and `image.write`."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in image.WRITE:
        raise ConfigError(f"overlay={str(path)!r}: .png, .jpg or .webp accepted; end the name so")
    return image.write(overlay(image.read(picture, name="picture"), findings, profile=profile), path)


def overlay(picture: Picture, findings: Sequence[Finding], *, profile: Profile = USUAL) -> Picture:
    """The picture with its longer side at least SIDE_PX, opaque, and below it a line for each finding without a box.

    Solid white: the margin outside which a check fails; dotted: the one that is recommended. Badge and bar are drawn
    where the profile has them. Red boxes fail, amber ones warn; what passes is not drawn.
    """
    scale = max(1.0, SIDE_PX / max(picture.width, picture.height))
    width, height = round(picture.width * scale), round(picture.height * scale)
    drawn = Image.new("RGBA", (width, height), "#808080")  # what is transparent is shown as grey
    drawn.alpha_composite(picture.to_pil().convert("RGBA").resize((width, height), Image.Resampling.BICUBIC))
    unit = max(1, round(max(width, height) / 640))  # the thinnest line
    font = ImageFont.load_default(9 * unit)
    over = Image.new("RGBA", drawn.size)
    pen = ImageDraw.Draw(over)
    _frame(pen, drawn.size, unit, font, profile)
    open_ones = [each for each in findings if each.verdict in COLOURS]
    _boxes(pen, drawn.size, unit, font, open_ones)
    drawn.alpha_composite(over)
    whole = _with_lines(drawn, [each for each in open_ones if not each.boxes], unit, font)
    return Picture(np.asarray(whole.convert("RGB")))


def _frame(pen: ImageDraw.ImageDraw, size: tuple[int, int], unit: int, font: Font, profile: Profile) -> None:
    """Margins, and what a platform draws over the picture."""
    if profile.has_badge:
        pen.rectangle(_px(BADGE, size), fill=(0, 0, 0, 70), outline=(255, 255, 255, 130), width=unit)
        left, top, right, bottom = _px(BAR, size)
        pen.rectangle((left, top, right, bottom), fill=(200, 200, 200, 130))
        pen.rectangle((left, top, left + round((right - left) * WATCHED), bottom), fill=(255, 0, 0, 190))
        _label(pen, (right - 4 * unit, top - 2 * unit), DURATION, font, "#000000CC", "#FFFFFF", unit, anchor="rb")
    pen.rectangle(_px(HARD, size), outline=(255, 255, 255, 190), width=unit)
    left, top, right, bottom = _px(SOFT, size)
    for x in range(left, right, 6 * unit):
        for y in (top, bottom):
            pen.rectangle((x, y, min(x + 3 * unit, right), y + unit - 1), fill=(255, 255, 255, 170))
    for y in range(top, bottom, 6 * unit):
        for x in (left, right):
            pen.rectangle((x, y, x + unit - 1, min(y + 3 * unit, bottom)), fill=(255, 255, 255, 170))


def _boxes(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    unit: int,
    font: Font,
    findings: Sequence[Finding],
) -> None:
    """The boxes, each once, with the checks that name it; labels do not cover one another."""
    taken: list[tuple[float, ...]] = []
    for verdict in reversed(list(COLOURS)):
        grouped = _by_box(each for each in findings if each.verdict == verdict)
        for box, checks in grouped.items():
            left, top, right, bottom = _px(box, size)
            pen.rectangle((left, top, right, bottom), outline=COLOURS[verdict], width=2 * unit)
            text = " ".join(checks)
            place = _free_place(pen, (left, top, right, bottom), text, font, unit, size, taken)
            taken.append(_label(pen, place, text, font, COLOURS[verdict], INK[verdict], unit))


def _by_box(findings: Iterable[Finding]) -> dict[Box, list[str]]:
    found: dict[Box, list[str]] = {}
    for each in findings:
        for box in each.boxes:
            found.setdefault(box, []).append(each.check)
    return found


def _free_place(
    pen: ImageDraw.ImageDraw,
    sides: tuple[int, int, int, int],
    text: str,
    font: Font,
    unit: int,
    size: tuple[int, int],
    taken: Sequence[tuple[float, ...]],
) -> tuple[float, float]:
    """Where a label's top left corner goes: above its box if there is room, else within, else further down."""
    left, top, *_ = sides
    across, down = _extent(pen, text, font, unit)
    x = min(max(left, 0), size[0] - across)
    y: float = top - down if top >= down else max(top, 0)
    while y + down < size[1] and any(
        x < other[2] and x + across > other[0] and y < other[3] and y + down > other[1] for other in taken
    ):
        y += down / 2
    return x, min(y, size[1] - down)


def _label(
    pen: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    font: Font,
    ground: str,
    ink: str,
    unit: int,
    *,
    anchor: str = "lt",
) -> tuple[float, float, float, float]:
    """A text on a plate whose corner (anchor: lt or rb) is at `place`; the sides of the plate."""
    across, down = _extent(pen, text, font, unit)
    x, y = place if anchor == "lt" else (place[0] - across, place[1] - down)
    sides = x, y, x + across, y + down
    pen.rounded_rectangle(sides, 2 * unit, fill=ground)
    pen.text((x + across / 2, y + down / 2), text, fill=ink, font=font, anchor="mm")
    return sides


def _extent(pen: ImageDraw.ImageDraw, text: str, font: Font, unit: int) -> tuple[float, float]:
    return pen.textlength(text, font=font) + 5 * unit, 13 * unit


def _with_lines(drawn: Image.Image, findings: Sequence[Finding], unit: int, font: Font) -> Image.Image:
    """The picture on a strip that says what has no place in it; as it is where there is nothing to say."""
    if not findings:
        return drawn
    row = 16 * unit
    whole = Image.new("RGBA", (drawn.width, drawn.height + row * len(findings) + 6 * unit), "#1B1B1B")
    whole.paste(drawn)
    pen = ImageDraw.Draw(whole)
    for i, each in enumerate(sorted(findings, key=lambda each: each.verdict)):  # "fail" before "warn"
        y = drawn.height + 4 * unit + i * row
        _, _, right, _ = _label(pen, (5 * unit, y), each.check, font, COLOURS[each.verdict], INK[each.verdict], unit)
        room = drawn.width - right - 10 * unit
        said = _cut(pen, each.says, font, room)
        pen.text((right + 5 * unit, y + 6.5 * unit), said, fill="#F1F1F1", font=font, anchor="lm")
    return whole


def _cut(pen: ImageDraw.ImageDraw, text: str, font: Font, room: float) -> str:
    """As much of a text as there is room for."""
    if pen.textlength(text, font=font) <= room:
        return text
    while text and pen.textlength(text + "…", font=font) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def _px(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels of a box, the last ones included, cut to the picture."""
    left, top, right, bottom = box.pixels(width=size[0], height=size[1])
    return left, top, max(right - 1, left), max(bottom - 1, top)
