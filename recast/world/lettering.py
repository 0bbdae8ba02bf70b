"""Titles: bold lettering on a picture, every glyph at a whole pixel of its own, the same bytes on any machine.

`layout` (where every glyph stands) → `coverage` (masks of fill, outline and shadow) → `paint` (colours onto pixels).

What makes it exact, and readable back (`reading.py`): a ladder of cap heights instead of any size; whole-pixel
advances from the font's own table, no kerning, no ligatures; a tilt that slides columns of pixels up or down, so that
stems stay upright and every pen keeps its column; integer arithmetic from FreeType's coverage to the last byte.

Lengths are pixels; x runs right, y down. `em` is the font size in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recast.errors import InputError

if TYPE_CHECKING:
    from recast.world.scene import Title

T = TypeVar("T")


@dataclass(frozen=True)
class Font:
    """A bundled face. units: of its em; cap: height of H in these units; words: what it looks like."""

    name: str
    units: int
    cap: int
    words: tuple[str, ...]

    @property
    def path(self) -> Path:
        return Path(__file__).parent / "fonts" / f"{self.name}.ttf"


FONTS: Mapping[str, Font] = {
    font.name: font
    for font in (
        Font("anton", 2048, 1760, ("bold condensed", "tall narrow", "heavy headline")),
        Font("archivo", 1000, 688, ("wide black", "heavy sans-serif", "thick grotesque")),
        Font("bangers", 1000, 738, ("comic book", "slanted comic", "superhero")),
        Font("chunky", 2048, 1438, ("chunky cartoon", "fat playful", "bouncy cartoon")),
        Font("marker", 1024, 758, ("marker pen", "hand-written marker", "felt-tip")),
        Font("rounded", 1000, 691, ("rounded", "soft rounded", "friendly round")),
        Font("script", 1000, 877, ("brush script", "flowing script", "cursive")),
        Font("slab", 2048, 1456, ("slab serif", "heavy slab", "bold serif")),
    )
}
CHARACTERS = "".join(map(chr, range(32, 127))) + "ÄÖÜäöüßÉéÈèÑñÇç€£°–—…"
"""What every bundled face can write: printable ASCII, and what German, French and Spanish titles need most."""

CAPS = (0.22, 0.2, 0.18, 0.16, 0.145, 0.132, 0.12, 0.11, 0.1, 0.09, 0.081, 0.073, 0.066, 0.06, 0.055, 0.05)
"""The ladder of cap heights, in shorter sides of the picture. A title that does not fit steps down."""
SIZES: Mapping[str, float] = {"medium": 0.11, "large": 0.16, "huge": 0.22}
SPAN = 0.94  # of the picture's width that a line may fill
LEADING = 1.5  # from baseline to baseline, in cap heights
GAP = 0.03  # above caps at the top and below the baseline at the bottom, in heights of the picture ...
ROOM = 0.42  # ... and, for accents and descenders, in cap heights
MAX_LINES = 4
WRAP_BELOW = 0.7  # of its nominal size, a title of several words goes onto several lines
OUTLINE = 0.1  # thickness, in cap heights
SHADOW = 0.08  # how far the shadow falls to the right and down, in cap heights
SHADOW_STRENGTH = 150  # of 255
SHADOW_COLOUR = (0, 0, 0)
PAD = 0.4  # from letters to the plate's edge, in cap heights
SLOPES: Mapping[int, int] = {-6: -6888, 0: 0, 6: 6888}
"""Pixels up per 65,536 pixels to the right: the tangent of the tilt, as a whole number."""
PLATE_STEPS = 8  # rows of samples per pixel along the sloping edge of a plate


@dataclass(frozen=True)
class Placed:
    """A character whose pen stands at (x, y): y is the baseline, below the pen where the title tilts."""

    char: str
    x: int
    y: int


@dataclass(frozen=True)
class Layout:
    """Where every glyph of a title stands. box: the plate (left, top, right, bottom) before it tilts about `middle`."""

    font: str
    em: int
    tilt: int
    lines: tuple[str, ...]
    glyphs: tuple[Placed, ...]
    box: tuple[int, int, int, int]
    middle: int


@dataclass(frozen=True)
class Glyph:
    """Masks (h, w) uint8 of one character; its top left lies at (left, top) from the pen. outline covers fill, too."""

    left: int
    top: int
    fill: np.ndarray
    outline: np.ndarray


def layout(
    text: str, font: str, width: int, height: int, place: str, size: str, tilt: int, align: str = "center"
) -> Layout:
    """Where every glyph of `text` stands in a picture of width x height pixels.

    The title takes the nominal cap height of `size` or the next step of CAPS that fits SPAN of the width and the
    height. Its lines are those of the text; a text of one line that would shrink below WRAP_BELOW is broken at spaces
    into the number of lines that lets it be largest (the fewest of equals), the longest line as short as can be.
    Raises InputError for a character that no face has, for spaces that no picture shows, and for a title that does not
    fit at the smallest step.
    """
    check_text(text)
    lines, em = _fit(text, _known(font), width, height, _known_choice("size", size, SIZES), _tilt(tilt))
    cap = cap_px(font, em)
    leading = leading_px(cap)
    base = first_baseline(place, cap, len(lines), width, height, tilt)
    margin = round(width * (1 - SPAN) / 2)
    middle, slope = width // 2, SLOPES[tilt]
    glyphs, widths, starts = [], [], []
    for row, line in enumerate(lines):
        advance = advances(font, em)
        widths.append(sum(advance[c] for c in line))
        x = _known_choice(
            "align", align, {"left": margin, "center": (width - widths[-1]) // 2, "right": width - margin - widths[-1]}
        )
        starts.append(x)
        for c in line:
            glyphs.append(Placed(c, x, base + row * leading - rise(x - middle, slope)))
            x += advance[c]
    pad = round(PAD * cap)
    right = max(x + w for x, w in zip(starts, widths, strict=True))
    box = (min(starts) - pad, base - cap - pad, right + pad, base + (len(lines) - 1) * leading + pad)
    return Layout(font, em, tilt, lines, tuple(glyphs), box, middle)


def coverage(layout: Layout, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks (H, W) uint8 of a title's fill, of its outline with what it surrounds, and of the shadow of an outline.

    A title without an outline casts the shadow of its fill, `shifted` in the same way.
    """
    fill, outline = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for mask, x, y, part in _parts(layout, (fill, outline)):
        stamp(mask, part, x, y)
    return fill, outline, shifted(outline, shadow_px(cap_px(layout.font, layout.em)))


def paint(pixels: np.ndarray, title: Title) -> None:
    """Put a title on pixels (H, W, 3) uint8, in place: plate, then shadow, outline and fill.

    Raises InputError where `layout` does, and for a colour the world does not know.
    """
    from recast.world.scene import COLOURS  # scene describes titles with FONTS; colours are its own

    height, width = pixels.shape[:2]
    plan = layout(title.text, title.font, width, height, title.place, title.size, title.tilt, title.align)
    if title.plate != "none":
        paint_plate(pixels, plan, _known_choice("plate", title.plate, COLOURS))
    fill = _known_choice("colour", title.colour, COLOURS)
    outline = None if title.outline == "none" else _known_choice("outline", title.outline, COLOURS)
    paint_letters(pixels, plan, fill, outline)


def paint_letters(
    pixels: np.ndarray, layout: Layout, fill: tuple[int, int, int], outline: tuple[int, int, int] | None
) -> None:
    """Put shadow, outline and fill of a layout on pixels (H, W, 3) uint8, in place; outline None: there is none."""
    height, width = pixels.shape[:2]
    reach = shadow_px(cap_px(layout.font, layout.em))
    parts = [(p, glyph(layout.font, layout.em, layout.tilt, p.char)) for p in layout.glyphs]
    x0 = max(0, min(p.x + g.left for p, g in parts))
    y0 = max(0, min(p.y + g.top for p, g in parts))
    x1 = min(width, max(p.x + g.left + g.fill.shape[1] for p, g in parts) + reach)
    y1 = min(height, max(p.y + g.top + g.fill.shape[0] for p, g in parts) + reach)
    if x1 <= x0 or y1 <= y0:
        return
    ink = np.zeros((y1 - y0, x1 - x0), np.uint8)
    ring = np.zeros_like(ink) if outline is not None else ink
    for p, g in parts:
        stamp(ink, g.fill, p.x + g.left - x0, p.y + g.top - y0)
        if outline is not None:
            stamp(ring, g.outline, p.x + g.left - x0, p.y + g.top - y0)
    # Pillow blends in whole numbers, so the bytes are the same wherever it runs.
    region = Image.fromarray(pixels[y0:y1, x0:x1])
    shadow = Image.fromarray(ring).point(_DIM)
    region.paste(SHADOW_COLOUR, (reach, reach), shadow)
    if outline is not None:
        region.paste(outline, (0, 0), Image.fromarray(ring))
    region.paste(fill, (0, 0), Image.fromarray(ink))
    pixels[y0:y1, x0:x1] = np.asarray(region)


def paint_plate(pixels: np.ndarray, layout: Layout, colour: tuple[int, int, int]) -> None:
    """Put the solid box behind a layout's letters on pixels (H, W, 3) uint8, in place."""
    top, mask = plate_mask(layout, (pixels.shape[0], pixels.shape[1]))
    if not mask.size:
        return
    left = max(0, layout.box[0])
    region = Image.fromarray(pixels[top : top + mask.shape[0], left : left + mask.shape[1]])
    region.paste(colour, (0, 0), Image.fromarray(mask))
    pixels[top : top + mask.shape[0], left : left + mask.shape[1]] = np.asarray(region)


def plate_mask(layout: Layout, shape: tuple[int, int]) -> tuple[int, np.ndarray]:
    """The plate's first row and its coverage (h, w) uint8 from there, its left edge at box[0], cut to the picture."""
    left, top, right, bottom = layout.box
    left, right = max(0, left), min(shape[1], right)
    slope = SLOPES[layout.tilt]
    columns = np.arange(left, right, dtype=np.int64) - layout.middle
    lift = columns * slope * PLATE_STEPS >> 16  # up, in PLATE_STEPS of a pixel
    reach = rise(shape[1], abs(slope)) + 1
    y0, y1 = max(0, top - reach), min(shape[0], bottom + reach)
    rows = (np.arange(y0, y1, dtype=np.int64) * PLATE_STEPS)[:, None] + lift
    below_top = np.clip(rows + PLATE_STEPS - top * PLATE_STEPS, 0, PLATE_STEPS)
    above_bottom = np.clip(bottom * PLATE_STEPS - rows, 0, PLATE_STEPS)
    mask = np.minimum(below_top, above_bottom) * 255 // PLATE_STEPS
    return y0, mask.astype(np.uint8)


def extent(title: Title, width: int, height: int) -> np.ndarray:
    """Mask (H, W) uint8, 255 wherever painting the title may change a pixel: plate, outline and shadow."""
    plan = layout(title.text, title.font, width, height, title.place, title.size, title.tilt, title.align)
    fill, outline, _ = coverage(plan, (height, width))
    ink = fill if title.outline == "none" else outline
    mask = np.maximum(ink, shifted(ink, shadow_px(cap_px(plan.font, plan.em))))
    if title.plate != "none":
        top, plate = plate_mask(plan, (height, width))
        stamp(mask, plate, max(0, plan.box[0]), top)
    return np.where(mask > 0, 255, 0).astype(np.uint8)


def check_text(text: str) -> None:
    """Raise InputError unless every character can be written and every space can be seen."""
    for c in text.replace("\n", ""):
        if c not in CHARACTERS:
            raise InputError(f"text={text!r}: the bundled fonts lack {c!r} (U+{ord(c):04X}); accepted: {CHARACTERS}")
    lines = text.split("\n")
    if any(not line or line != " ".join(line.split(" ")).strip(" ") or "  " in line for line in lines):
        raise InputError(f"text={text!r}: lines of words with one space between accepted; no picture shows the others")
    if len(lines) > MAX_LINES:
        raise InputError(f"text={text!r}: {len(lines)} lines came; up to {MAX_LINES} accepted")


def em_px(font: str, cap: float, width: int, height: int) -> int:
    """The font size of a step of CAPS in a picture."""
    face = FONTS[font]
    return round(cap * min(width, height) * face.units / face.cap)


def cap_px(font: str, em: int) -> int:
    """The height of capitals, to the pixel."""
    return round(em * FONTS[font].cap / FONTS[font].units)


def leading_px(cap: int) -> int:
    """From one baseline to the next."""
    return round(LEADING * cap)


def outline_px(cap: int) -> float:
    """Thickness of the outline: never below 1.5, so that its two edges do not share a pixel."""
    return max(1.5, OUTLINE * cap)


def shadow_px(cap: int) -> int:
    """How far the shadow falls, to the right and down."""
    return max(1, round(SHADOW * cap))


def room_px(cap: int, width: int, height: int, tilt: int) -> int:
    """Kept free above the caps of a title at the top and below the baseline of one at the bottom."""
    return round(GAP * height + ROOM * cap) + rise(width // 2, abs(SLOPES[tilt]))


def rise(x: int, slope: int) -> int:
    """How many pixels up a tilted line is, x pixels to the right of the middle."""
    return x * slope + 32768 >> 16


def first_baseline(place: str, cap: int, num_lines: int, width: int, height: int, tilt: int) -> int:
    """The first line's baseline at the middle of the picture; whatever the text, a tilted title has room to tilt."""
    room = room_px(cap, width, height, tilt)
    block = cap + (num_lines - 1) * leading_px(cap)
    tops = {"top": room, "middle": (height - block) // 2, "bottom": height - room - block}
    return _known_choice("place", place, tops) + cap


@lru_cache(maxsize=1024)
def advances(font: str, em: int) -> Mapping[str, int]:
    """How far the pen moves after each character, in whole pixels."""
    units = FONTS[font].units
    return {c: (2 * em * advance + units) // (2 * units) for c, advance in _advances(font).items()}


@lru_cache(maxsize=40_000)
def glyph(font: str, em: int, tilt: int, char: str) -> Glyph:
    """The masks of one character. Drawn larger, tilted there by whole samples, and averaged down."""
    scale = 4 if em <= 256 else 2
    face = _face(font, em * scale)
    stroke = outline_px(cap_px(font, em)) * scale
    left, top, right, bottom = face.getbbox(char, stroke_width=stroke, anchor="ls")
    slope = SLOPES[tilt]
    sway = rise(int(max(abs(left), abs(right))) + scale, abs(slope)) + 1
    x0, y0 = (int(edge) // scale - 1 for edge in (left, top - sway))
    x1, y1 = (-(int(-edge) // scale) + 1 for edge in (right, bottom + sway))
    size = ((x1 - x0) * scale, (y1 - y0) * scale)
    masks = []
    for width in (0, stroke):
        image = Image.new("L", size)
        pen = (-x0 * scale, -y0 * scale)
        ImageDraw.Draw(image).text(pen, char, fill=255, font=face, anchor="ls", stroke_width=width)
        masks.append(_shrink(_slide(np.asarray(image), -x0 * scale, slope), scale))
    fill, outline = masks[0], np.maximum(masks[1], masks[0])
    rows, columns = np.flatnonzero(outline.any(1)), np.flatnonzero(outline.any(0))
    if not rows.size:  # a space
        return Glyph(0, 0, np.zeros((0, 0), np.uint8), np.zeros((0, 0), np.uint8))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Glyph(x0 + int(columns[0]), y0 + int(rows[0]), fill[part].copy(), outline[part].copy())


def shifted(mask: np.ndarray, by: int) -> np.ndarray:
    """A mask (H, W) moved right and down by a number of pixels."""
    moved = np.zeros_like(mask)
    moved[by:, by:] = mask[: mask.shape[0] - by, : mask.shape[1] - by]
    return moved


_DIM = [level * SHADOW_STRENGTH // 255 for level in range(256)]


def _fit(text: str, font: str, width: int, height: int, nominal: float, tilt: int) -> tuple[tuple[str, ...], int]:
    """The lines of a text and the font size: see `layout`."""
    whole = tuple(text.split("\n"))
    steps = [cap for cap in CAPS if cap <= nominal]
    best = _largest(whole, font, width, height, steps, tilt)
    words = text.split(" ")
    choice, lines = best, whole
    if len(whole) == 1 and (best is None or steps[best] < WRAP_BELOW * nominal):
        for count in range(2, min(len(words), MAX_LINES) + 1):
            broken = _break(words, font, count)
            step = _largest(broken, font, width, height, steps, tilt)
            if step is not None and (choice is None or step < choice):
                choice, lines = step, broken
    if choice is None:
        raise InputError(
            f"text={text!r}: does not fit {width}x{height} pixels in {font!r} at the smallest size; "
            "a shorter text, or more spaces or line breaks, accepted"
        )
    return lines, em_px(font, steps[choice], width, height)


def _largest(lines: tuple[str, ...], font: str, width: int, height: int, steps: list[float], tilt: int) -> int | None:
    """The first of the steps at which the lines fit, or None."""
    for index, step in enumerate(steps):
        em = em_px(font, step, width, height)
        cap = cap_px(font, em)
        block = cap + (len(lines) - 1) * leading_px(cap)
        if block + 2 * room_px(cap, width, height, tilt) > height:
            continue
        advance = advances(font, em)
        if all(sum(advance[c] for c in line) <= SPAN * width for line in lines):
            return index
    return None


def _break(words: list[str], font: str, count: int) -> tuple[str, ...]:
    """The words on `count` lines whose longest is as short as can be; the earliest breaks of equals."""
    advance = _advances(font)
    best: tuple[int, tuple[str, ...]] | None = None
    for cuts in combinations(range(1, len(words)), count - 1):
        edges = (0, *cuts, len(words))
        lines = tuple(" ".join(words[a:b]) for a, b in pairwise(edges))
        longest = max(sum(advance[c] for c in line) for line in lines)
        if best is None or longest < best[0]:
            best = (longest, lines)
    assert best is not None
    return best[1]


def _parts(layout: Layout, masks: tuple[np.ndarray, np.ndarray]) -> Iterator[tuple[np.ndarray, int, int, np.ndarray]]:
    """What to stamp where: a mask of the picture, x, y, and the part of a glyph."""
    for placed in layout.glyphs:
        each = glyph(layout.font, layout.em, layout.tilt, placed.char)
        for mask, part in zip(masks, (each.fill, each.outline), strict=True):
            yield mask, placed.x + each.left, placed.y + each.top, part


def stamp(mask: np.ndarray, part: np.ndarray, x: int, y: int) -> None:
    """Put a part (h, w) on a mask (H, W) at (x, y), the larger of the two where they meet; cut to the mask."""
    h, w = part.shape
    if x < 0 or y < 0 or x + w > mask.shape[1] or y + h > mask.shape[0]:
        left, top = max(0, -x), max(0, -y)
        part = part[top : max(top, mask.shape[0] - y), left : max(left, mask.shape[1] - x)]
        x, y, (h, w) = x + left, y + top, part.shape
        if not part.size:
            return
    region = mask[y : y + h, x : x + w]
    np.maximum(region, part, out=region)


def _slide(samples: np.ndarray, pen: int, slope: int) -> np.ndarray:
    """Samples (h, w) with each column moved up by its distance from the pen's column times the slope."""
    if not slope:
        return samples
    h, w = samples.shape
    lift = (np.arange(w) - pen) * slope + 32768 >> 16
    moved = np.zeros_like(samples)
    edges = [0, *(np.flatnonzero(np.diff(lift)) + 1).tolist(), w]
    for left, right in pairwise(edges):  # columns that move alike
        up = int(lift[left])
        moved[max(0, -up) : h - max(0, up), left:right] = samples[max(0, up) : h + min(0, up), left:right]
    return moved


def _shrink(samples: np.ndarray, scale: int) -> np.ndarray:
    """Averages (h / scale, w / scale) uint8 of blocks of samples, rounded to the nearest."""
    h, w = samples.shape
    sums = samples.reshape(h // scale, scale, w // scale, scale).sum((1, 3), dtype=np.uint32)
    return ((sums + scale * scale // 2) // (scale * scale)).astype(np.uint8)


@lru_cache(maxsize=1024)
def _face(font: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS[font].path, size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _advances(font: str) -> Mapping[str, int]:
    """The font's own table: at as many pixels per em as it has units, Pillow's lengths are units."""
    face = _face(font, FONTS[font].units)
    return {c: round(face.getlength(c)) for c in CHARACTERS}


def _known(font: str) -> str:
    if font not in FONTS:
        raise InputError(f"font={font!r}: {', '.join(FONTS)} accepted; choose one of the bundled fonts")
    return font


def _tilt(tilt: int) -> int:
    if tilt not in SLOPES:
        raise InputError(f"tilt={tilt!r}: {', '.join(map(str, SLOPES))} degrees accepted; choose one")
    return tilt


def _known_choice(name: str, value: str, choices: Mapping[str, T]) -> T:
    if value not in choices:
        raise InputError(f"{name}={value!r}: {', '.join(choices)} accepted; choose one")
    return choices[value]
