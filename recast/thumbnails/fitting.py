"""A title into its place: line breaks, size and position, away from what must not be covered.

`fit` shapes every way to break the text, finds the rectangles that are free, and takes the pair that lets the letters
be largest. Sizes follow by division, since ink grows with the em; there is no search over sizes.

Lengths inside are shares of the frame's height, across as well as down.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Literal

from recast.errors import ConfigError, InputError
from recast.thumbnails.boxes import HARD, SOFT, Box, union
from recast.thumbnails.design import Lettering, Line, Plate, Shadow, Stroke
from recast.thumbnails.kit import Font, Rules, ShadowStyle, TextStyle
from recast.thumbnails.shaping import Shaped, Typeface, cased, is_rtl, shape, typeface

Align = Literal["left", "center", "right"]

CAP_LEAST, CAP_GOOD, CAP_MOST = 0.10, 0.15, 0.20
"""Cap heights, shares of the frame's height: less than the first is not read small; headlines are the other two."""
GAP = 0.22  # between the ink of two lines, in cap heights
LEADING = 1.2  # least, from baseline to baseline, in cap heights
PLATE_PAD = 0.035  # from ink to a plate's edge
PLATE_RADIUS = 0.02
STYLE_PX = 720  # the height of the frame whose pixels a kit's strokes and shadows are given in
LIMIT_BREAKS = 60  # places where a title may break; more is no title
NO_START = set("、。，．・：；？！ー」』）］｝〉》】〕’”…‥ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ々%％!?,.:;)]}")
NO_END = set("「『（［｛〈《【〔‘“([{")
"""Characters of CJK text that no line starts with, and none ends with (JIS X 4051)."""


def fit(
    text: str,
    font: Font,
    style: TextStyle,
    *,
    area: Box,
    avoid: Sequence[Box] = (),
    rules: Rules | None = None,
    aspect: float = 16 / 9,
    align: Align | None = None,
    plate: str | None = None,
) -> Lettering:
    """The text as large as it fits into `area`, on at most rules.max_lines lines, meeting nothing of `avoid`.

    Lines break at spaces, and between the characters of CJK text; a line break in the text is kept. Of all breaks the
    one counts that lets the letters be largest, up to CAP_MOST; of equals that with the fewest lines. Strokes stay
    inside as well. Within the recommended margin if capitals reach CAP_GOOD there, else within the hard one.
    style: colours as "#RRGGBB". align: None is the middle for an area around the frame's, else the side at which the
    text starts. plate: colour of a box behind the letters, which then lies inside the area as well.
    Raises InputError like `shaping`, and ConfigError, saying how many characters fit, below CAP_LEAST.
    """
    rules = rules or Rules()
    face = typeface(font.file, instance=font.instance)
    whole = cased(text, font.case)
    breaks = list(_broken(face, whole, font.tracking / 1000, rules.max_lines))
    stroke = None if style.stroke is None else Stroke(colour=style.stroke.color, width=style.stroke.px / STYLE_PX)
    room = _Room(aspect, max(stroke.width / 2 if stroke else 0.0, PLATE_PAD if plate else 0.0), rules.max_lines)
    best, boxes = None, []
    for margin in (SOFT, HARD):
        if best is None or best.cap < CAP_GOOD:
            within = _within(area, margin)
            boxes = free_areas(avoid, within) if within else []
            best = _best(breaks, boxes, room)
    if best is None or best.cap < CAP_LEAST - 1e-9:
        raise ConfigError(_too_long(whole, best, breaks, boxes, room))
    lines = _set(best, align or _align(area, whole), room)
    around = union(line.box for line in lines)
    assert around is not None
    return Lettering(
        text=whole,
        lines=lines,
        font=font.file.name,
        size=best.size,
        fill=style.fill,
        stroke=stroke,
        shadow=_shadow(style.shadow),
        plate=_plate(plate, around, aspect),
        aspect=aspect,
    )


def free_area(avoid: Sequence[Box], area: Box) -> Box | None:
    """The largest rectangle of `area` that meets nothing of `avoid`; None where nothing is left."""
    return max(free_areas(avoid, area), key=lambda box: box.area, default=None)


def free_areas(avoid: Sequence[Box], area: Box) -> list[Box]:
    """Every rectangle of `area` that meets nothing of `avoid` and cannot grow, in a fixed order."""
    near = [each for each in avoid if each.meets(area)]
    lefts = sorted({area.left, *(each.right for each in near if each.right < area.right)})
    rights = sorted({area.right, *(each.left for each in near if each.left > area.left)})
    tops = sorted({area.top, *(each.bottom for each in near if each.bottom < area.bottom)})
    bottoms = sorted({area.bottom, *(each.top for each in near if each.top > area.top)})
    sides = product(lefts, tops, rights, bottoms)
    inside = [Box(*each) for each in sides if each[0] < each[2] and each[1] < each[3]]
    empty = [box for box in inside if not any(box.meets(each) for each in near)]
    return [box for box in empty if not any(box is not other and box.is_within(other) for other in empty)]


@dataclass(frozen=True)
class _Block:
    """Lines shaped at one em. leading: from baseline to baseline, the same for all."""

    lines: tuple[Shaped, ...]

    @property
    def leading(self) -> float:
        """As near as GAP between the ink of neighbours allows, at least LEADING of the font's own cap heights."""
        needed = [below.ink[3] - above.ink[1] + GAP * self.cap for above, below in pairwise(self.lines)]
        return max([LEADING * self.cap, *needed])

    @property
    def width(self) -> float:
        return max(line.width for line in self.lines)

    @property
    def height(self) -> float:
        return self.lines[0].ink[3] + self.leading * (len(self.lines) - 1) - self.lines[-1].ink[1]

    @property
    def cap(self) -> float:
        """Of capitals, or of the tallest letters on any line: all lines are of one size, and are judged alike."""
        return max(line.cap for line in self.lines)


@dataclass(frozen=True)
class _Room:
    """What all rectangles have in common. inset: kept free inside them, for strokes and plates."""

    aspect: float
    inset: float
    max_lines: int

    def within(self, box: Box) -> tuple[float, float]:
        """The width and height that ink may take in a box."""
        return box.width * self.aspect - 2 * self.inset, box.height - 2 * self.inset


@dataclass(frozen=True)
class _Choice:
    block: _Block
    box: Box
    size: float

    @property
    def cap(self) -> float:
        return self.size * self.block.cap


def _best(blocks: Sequence[_Block], boxes: Sequence[Box], room: _Room) -> _Choice | None:
    """The largest of all blocks in all rectangles; of equals the fewest lines, then the most room around."""
    found = []
    for box in boxes:
        across, down = room.within(box)
        for block in blocks:
            size = min(across / block.width, down / block.height, CAP_MOST / block.cap)
            if size > 0:
                found.append(_Choice(block, box, size))
    return max(found, key=lambda each: (round(each.size, 6), -len(each.block.lines), each.box.area), default=None)


def _broken(face: Typeface, text: str, tracking: float, max_lines: int) -> Iterator[_Block]:
    """The text on each number of lines it can take, its longest line as short as can be."""
    rtl = is_rtl(text)
    forced = [re.sub(r"[ \t]+", " ", part).strip() for part in text.splitlines() if part.strip()]
    if not forced:
        raise InputError(f"text={text!r}: nothing in it shows; letters accepted; write a title")
    if len(forced) > max_lines:
        raise InputError(f"text={text!r}: {len(forced)} lines came; at most {max_lines} accepted; join some")
    if len(forced) > 1:
        yield _Block(tuple(shape(face, line, tracking=tracking, rtl=rtl) for line in forced))
        return
    pieces = _pieces(forced[0])
    if len(pieces) > LIMIT_BREAKS:
        raise InputError(
            f"text: {len(text)} characters in {len(pieces)} words came; at most {LIMIT_BREAKS} accepted; "
            "write the few words that the picture needs"
        )
    shaped: dict[tuple[int, int], Shaped] = {}

    def line(start: int, stop: int) -> Shaped:
        if (start, stop) not in shaped:
            shaped[start, stop] = shape(face, "".join(pieces[start:stop]).strip(), tracking=tracking, rtl=rtl)
        return shaped[start, stop]

    for count in range(1, min(max_lines, len(pieces)) + 1):
        yield _Block(tuple(line(a, b) for a, b in pairwise(_cuts(len(pieces), count, lambda a, b: line(a, b).width))))


def _cuts(pieces: int, count: int, width: Callable[[int, int], float]) -> tuple[int, ...]:
    """Where to cut `pieces` into `count` lines so that the widest is as narrow as can be, the earliest of equals."""
    rows: dict[int, tuple[float, tuple[int, ...]]] = {
        stop: (width(0, stop), (0, stop)) for stop in range(1, pieces + 1)
    }
    for done in range(1, count):
        rows = {
            stop: min((max(rows[cut][0], width(cut, stop)), (*rows[cut][1], stop)) for cut in range(done, stop))
            for stop in range(done + 1, pieces + 1)
        }
    return rows[pieces][1]


def _pieces(text: str) -> list[str]:
    """A line cut wherever it may break: after spaces, and between characters of CJK text that may stand at an edge."""
    pieces = [text[0]]
    for before, char in pairwise(text):
        wide = _is_cjk(before) or _is_cjk(char)
        if (before == " " or (wide and char != " " and before not in NO_END)) and char not in NO_START:
            pieces.append(char)
        else:
            pieces[-1] += char
    return pieces


def _is_cjk(char: str) -> bool:
    """Whether lines may break beside it: ideographs and kana; Korean breaks at its spaces."""
    name = unicodedata.name(char, "")
    return name.startswith(("CJK ", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "FULLWIDTH", "BOPOMOFO"))


def _set(choice: _Choice, align: Align, room: _Room) -> tuple[Line, ...]:
    """The lines of a choice in its rectangle: its ink at the side that `align` says, halfway between top and bottom."""
    box, size = choice.box, choice.size
    left, right = box.left * room.aspect + room.inset, box.right * room.aspect - room.inset
    top = (box.top + box.bottom - choice.block.height * size) / 2
    base = top + choice.block.lines[0].ink[3] * size
    lines = []
    for row, line in enumerate(choice.block.lines):
        rest = right - left - line.width * size
        start = left + rest * {"left": 0, "center": 0.5, "right": 1}[align]
        x, y = start - line.ink[0] * size, base + row * choice.block.leading * size
        ink = Box(
            (x + line.ink[0] * size) / room.aspect,
            y - line.ink[3] * size,
            (x + line.ink[2] * size) / room.aspect,
            y - line.ink[1] * size,
        )
        path = line.path(size=1000 * size, x=1000 * x, y=1000 * y)
        lines.append(Line(text=line.text, path=path, box=ink, cap_height=choice.cap))
    return tuple(lines)


def _shadow(style: ShadowStyle | None) -> Shadow | None:
    if style is None:
        return None
    dx, dy, blur = (each / STYLE_PX for each in (style.dx, style.dy, style.blur))
    return Shadow(dx=dx, dy=dy, blur=blur, opacity=style.opacity)


def _plate(colour: str | None, ink: Box, aspect: float) -> Plate | None:
    if colour is None:
        return None
    return Plate(colour=colour, box=ink.grown(PLATE_PAD / aspect, PLATE_PAD), radius=PLATE_RADIUS)


def _align(area: Box, text: str) -> Align:
    if abs(area.center[0] - 0.5) < 0.1:
        return "center"
    return "right" if is_rtl(text) else "left"


def _within(area: Box, margin: Box) -> Box | None:
    """What of an area lies within a margin."""
    if not area.meets(margin):
        return None
    return Box(
        max(area.left, margin.left),
        max(area.top, margin.top),
        min(area.right, margin.right),
        min(area.bottom, margin.bottom),
    )


def _too_long(text: str, best: _Choice | None, blocks: Sequence[_Block], boxes: Sequence[Box], room: _Room) -> str:
    came = f"text={text!r}: {len(text)} characters came"
    if not boxes:
        return f"{came}, and nothing of the area is free; room beside faces and logo accepted; choose another layout"
    reached = best.cap if best else 0.0
    lines, letters = max((_fitting(blocks[0], box, room) for box in boxes), key=lambda each: (each[0] * each[1], each))
    return (
        f"{came}, whose capitals would stand {reached:.1%} of the frame high; at least {CAP_LEAST:.0%} accepted, for "
        f"which about {letters} characters a line fit on {lines} lines there; write fewer or shorter words, or choose "
        "a layout with more room"
    )


def _fitting(block: _Block, box: Box, room: _Room) -> tuple[int, int]:
    """How many lines, and how many characters like those of a block on each, fit into a box at CAP_LEAST."""
    size = CAP_LEAST / block.cap
    across, down = room.within(box)
    letter = sum(line.width for line in block.lines) / sum(len(line.text) for line in block.lines)
    lines = 1 + int((down / size - (block.lines[0].ink[3] - block.lines[0].ink[1])) // block.leading)
    return max(0, min(lines, room.max_lines)), max(0, int(across / size / letter))
