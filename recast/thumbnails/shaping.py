"""Text to glyphs: runs of one direction and one script, shaped by HarfBuzz with the font's own kerning and ligatures.

`typeface` (a font file, checked) → `shape` (a line of text) → `Shaped` (where each glyph stands, and its ink).

Lengths are in ems; x runs right, y runs up from the baseline.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from recast.errors import InputError

FONTS = Path(__file__).parent / "fonts"
BUNDLED = ("anton", "geologica")
"""Headline faces that come with recast: heavy condensed Latin; heavy wide Latin, Cyrillic and Greek."""

CAPITALS = "HНΗ"  # Latin, Cyrillic, Greek: flat at the top, so that their height is that of capitals
IDEOGRAPHIC = {"Hani", "Hira", "Kana", "Hang", "Bopo"}  # they stand around the baseline, not on it
JOINED = {"Arab", "Syrc", "Mong", "Nkoo", "Mand", "Adlm", "Rohg", "Deva", "Beng", "Guru"}
"""Scripts whose letters touch: tracking would tear their words."""
ISOLATES = "\u2066\u2067\u2068\u2069"


@dataclass(frozen=True)
class Glyph:
    """An outline as pen commands in font units, and its ink (left, bottom, right, top) in these, None of a space."""

    commands: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    ink: tuple[float, float, float, float] | None


@dataclass(frozen=True, eq=False)
class Typeface:
    """A font file that is ready to shape. units: of its em."""

    path: Path
    font: Any  # uharfbuzz.Font
    units: int
    glyphs: dict[int, Glyph] = field(default_factory=dict, repr=False)

    def glyph(self, index: int) -> Glyph:
        """The outline of a glyph by its number in the font."""
        if index not in self.glyphs:
            from fontTools.pens.boundsPen import BoundsPen
            from fontTools.pens.recordingPen import RecordingPen

            pen, bounds = RecordingPen(), BoundsPen(None)
            self.font.draw_glyph_with_pen(index, pen)
            pen.replay(bounds)
            self.glyphs[index] = Glyph(tuple(pen.value), bounds.bounds)
        return self.glyphs[index]

    def cap_height(self) -> float | None:
        """The height of the font's own H in ems, measured on its outline; None if it has no capitals."""
        for char in CAPITALS:
            index = self.font.get_nominal_glyph(ord(char))
            if index and (ink := self.glyph(index).ink):
                return ink[3] / self.units
        return None


@dataclass(frozen=True)
class Placed:
    """A glyph of the font whose origin stands at (x, y)."""

    index: int
    x: float
    y: float


@dataclass(frozen=True, eq=False)
class Shaped:
    """A line of text as it is set. ink: left, bottom, right, top of what is seen. cap: height of its capitals.

    Of a line in a script without capitals, cap is the height of its tallest letters: above the baseline, or from top
    to bottom for ideographs, kana and hangul, which stand around it.
    """

    text: str
    face: Typeface
    glyphs: tuple[Placed, ...]
    ink: tuple[float, float, float, float]
    cap: float

    @property
    def width(self) -> float:
        return self.ink[2] - self.ink[0]

    def path(self, *, size: float, x: float, y: float) -> str:
        """SVG path data of the line with its origin at (x, y) and `size` units to the em; y runs down there."""
        scale = size / self.face.units
        parts = []
        for placed in self.glyphs:
            left, base = x + placed.x * size, y - placed.y * size
            for name, points in self.face.glyph(placed.index).commands:
                parts.append(_command(name, [(left + px * scale, base - py * scale) for px, py in points]))
        return "".join(parts)


def bundled(name: str) -> Path:
    """The file of a headline face that comes with recast. Raises InputError for a name not in BUNDLED."""
    if name not in BUNDLED:
        raise InputError(f"font={name!r}: {', '.join(BUNDLED)} accepted; choose one, or name a file of your own")
    return FONTS / f"{name}.ttf"


def typeface(path: Path, *, instance: str | None = None) -> Typeface:
    """The font in a TrueType or OpenType file. instance: of a variable font, the named instance to set.

    Raises InputError for what is no whole font with outlines, for a collection or web font, for a variable font
    without an instance, and for an instance the font has not.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        why = error.strerror
        raise InputError(f"font={path}: cannot be read ({why}); a TTF or OTF file accepted; check the path") from error
    return _ready(path, data, instance)


@lru_cache(maxsize=8)
def _ready(path: Path, data: bytes, instance: str | None) -> Typeface:
    import uharfbuzz as hb

    _check(path, data)
    face = hb.Face(data)
    font = hb.Font(face)
    _choose(font, path, instance)
    return Typeface(path, font, face.upem)


def shape(
    face: Typeface,
    text: str,
    *,
    tracking: float = 0.0,
    features: Mapping[str, bool] | None = None,
    rtl: bool | None = None,
) -> Shaped:
    """One line of text, its runs from left to right as they are seen.

    tracking: ems added between letters after shaping, and not within scripts whose letters join; it turns optional
    ligatures off. features: OpenType features on or off by tag. rtl: whether the line runs right to left; None: as its
    first letter does (Unicode Standard Annex 9, rules P2 and P3).
    Raises InputError, with the characters and the file, for what the font has no glyph or no outline for.
    """
    check_characters(text)
    switches = {"liga": False, "clig": False} if tracking else {}
    switches.update(features or {})
    seen = _Seen(face)
    for run in runs(text, is_rtl(text) if rtl is None else rtl):
        seen.add(text, run, 0.0 if run.script in JOINED else tracking, *_shaped(face, text, run, switches))
    _check_drawn(face, text, seen.missing, seen.blank)
    if not seen.ink:
        raise InputError(f"text={text!r}: nothing in it shows; letters accepted; write a title")
    left, bottom, right, top = zip(*seen.ink, strict=True)
    ink = (min(left), min(bottom), max(right), max(top))
    return Shaped(text, face, tuple(seen.glyphs), ink, _cap(face, text, seen.tallest, ink))


@dataclass
class _Seen:
    """What the runs of a line leave behind: glyphs from left to right, their ink, and what the font does not draw."""

    face: Typeface
    pen: float = 0.0
    glyphs: list[Placed] = field(default_factory=list)
    ink: list[tuple[float, float, float, float]] = field(default_factory=list)
    tallest: float = 0.0  # of the letters: see `Shaped.cap`
    missing: set[str] = field(default_factory=set)
    blank: set[str] = field(default_factory=set)

    def add(self, text: str, run: Run, gap: float, infos: Sequence[Any], positions: Sequence[Any]) -> None:
        """Set a run at the pen. gap: ems after each cluster."""
        units, drawn = self.face.units, dict.fromkeys((info.cluster for info in infos), False)
        starts = sorted(drawn)
        letters = {a: text[a:b] for a, b in zip(starts, [*starts[1:], run.stop], strict=True)}
        for at, (info, position) in enumerate(zip(infos, positions, strict=True)):
            chars = letters[info.cluster]
            if info.codepoint == 0:
                self.missing.update([c for c in chars if not self.face.font.get_nominal_glyph(ord(c))] or chars)
            x, y = self.pen + position.x_offset / units, position.y_offset / units
            shown = self.face.glyph(info.codepoint).ink
            if shown is not None:
                drawn[info.cluster] = True
                left, bottom, right, top = (value / units for value in shown)
                self.ink.append((x + left, y + bottom, x + right, y + top))
                self.glyphs.append(Placed(info.codepoint, x, y))
                if position.x_advance and any(c.isalpha() for c in chars):
                    height = top - bottom if run.script in IDEOGRAPHIC else y + top
                    self.tallest = max(self.tallest, height)
            is_last = at + 1 == len(infos) or infos[at + 1].cluster != info.cluster
            self.pen += position.x_advance / units + (gap if is_last else 0.0)
        for cluster, is_drawn in drawn.items():
            if not is_drawn:
                self.blank.update(c for c in letters[cluster] if unicodedata.category(c)[0] in "LNPS")


def cased(text: str, case: str) -> str:
    """The text in the kit's case: "upper" by Unicode's full mapping (ß becomes SS), "as-is" untouched."""
    return text.upper() if case == "upper" else text


def is_rtl(text: str) -> bool:
    """Whether a text runs right to left: as its first strong letter does."""
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind in ("L", "R", "AL"):
            return kind != "L"
    return False


def check_characters(text: str) -> None:
    """Raises InputError for control characters, which no font draws, and for isolates of direction."""
    wrong = sorted({c for c in text if unicodedata.category(c) in ("Cc", "Cs") or c in ISOLATES})
    if wrong:
        raise InputError(f"text={text!r}: {_named(wrong)} came; letters, digits and signs accepted; take them out")


@dataclass(frozen=True)
class Run:
    """text[start:stop] in one script (ISO 15924) and at one bidi level; odd levels run right to left."""

    start: int
    stop: int
    script: str
    level: int


def runs(text: str, rtl: bool) -> list[Run]:
    """The runs of a line in the order in which they are seen, from left to right (UAX 9, rule L2)."""
    scripts, levels = _scripts(text), _levels(text, rtl)
    found: list[Run] = []
    for at, (script, level) in enumerate(zip(scripts, levels, strict=True)):
        if found and (found[-1].script, found[-1].level) == (script, level):
            found[-1] = Run(found[-1].start, at + 1, script, level)
        else:
            found.append(Run(at, at + 1, script, level))
    for level in range(max(levels, default=0), 0, -1):
        at = 0
        while at < len(found):
            end = at
            while end < len(found) and found[end].level >= level:
                end += 1
            found[at:end] = reversed(found[at:end])
            at = end + 1
    return found


def _scripts(text: str) -> list[str]:
    """The script of every character; what all scripts share takes that of the letter before, or else after it."""
    from fontTools import unicodedata as scripts

    found: list[str | None] = []
    for char in text:
        script = scripts.script(char)
        found.append(script if script not in ("Zyyy", "Zinh") else (found[-1] if found else None))
    first = next((script for script in found if script), "Zyyy")
    return [script or first for script in found]


def _levels(text: str, rtl: bool) -> list[int]:
    """The embedding level of every character: UAX 9, rules X1 to I2, by python-bidi's steps.

    What rule X9 takes out (marks of direction, joiners) has the level of the character before.
    """
    from bidi import algorithm as bidi

    storage = bidi.get_empty_storage()
    storage["base_level"], storage["base_dir"] = int(rtl), "LR"[rtl]
    bidi.get_embedding_levels(text, storage)
    for at, char in enumerate(storage["chars"]):
        char["at"] = at
    bidi.explicit_embed_and_overrides(storage)
    bidi.resolve_weak_types(storage)
    bidi.resolve_neutral_types(storage, False)
    bidi.resolve_implicit_levels(storage, False)
    known = {char["at"]: char["level"] for char in storage["chars"]}
    levels: list[int] = []
    for at in range(len(text)):
        levels.append(known.get(at, levels[-1] if levels else int(rtl)))
    return levels


def _shaped(face: Typeface, text: str, run: Run, features: Mapping[str, bool]) -> tuple[Sequence[Any], Sequence[Any]]:
    """HarfBuzz's glyphs and positions of a run; it sees the whole line, so that letters join across runs."""
    import uharfbuzz as hb

    buffer = hb.Buffer()
    buffer.add_codepoints([ord(c) for c in text], run.start, run.stop - run.start)
    buffer.direction = "rtl" if run.level % 2 else "ltr"
    buffer.script = run.script
    buffer.language = "und"
    hb.shape(face.font, buffer, dict(features))
    return buffer.glyph_infos, buffer.glyph_positions


def _cap(face: Typeface, text: str, tallest: float, ink: tuple[float, float, float, float]) -> float:
    """The height of capitals of a line that has cased letters, or no letters at all; of its tallest letters else."""
    letters = [c for c in text if c.isalpha()]
    if not letters or any(c.isupper() or c.islower() for c in letters):
        cap = face.cap_height()
        if cap is not None:
            return cap
    return tallest or ink[3] - ink[1]


def _check_drawn(face: Typeface, text: str, missing: set[str], blank: set[str]) -> None:
    """Raises InputError for characters without a glyph, and for those whose glyph draws nothing."""
    if missing:
        raise InputError(
            f"text={text!r}: {_named(sorted(missing))} came, which {face.path.name} has no glyph for; characters of "
            "the font accepted; write them another way, or name a font of the kit that has them"
        )
    if blank:
        raise InputError(
            f"text={text!r}: {_named(sorted(blank))} came, which {face.path.name} has no outline for (a colour or "
            "bitmap glyph); outlines accepted; take them out, or name a font that has them"
        )


def _named(chars: Sequence[str]) -> str:
    return ", ".join(f"{c!r} (U+{ord(c):04X})" for c in chars)


def _check(path: Path, data: bytes) -> None:
    """Raises InputError unless the bytes are one whole font with outlines and a table of characters."""
    from fontTools.ttLib import TTFont

    kinds = {b"ttcf": "a collection of fonts", b"wOFF": "a web font (WOFF)", b"wOF2": "a web font (WOFF2)"}
    if data[:4] in kinds:
        came = kinds[data[:4]]
        raise InputError(f"font={path}: {came} came; one TTF or OTF font accepted; save the face as a file of its own")
    try:
        with TTFont(io.BytesIO(data)) as font:
            entries = font.reader.tables.items()
            if short := [str(tag) for tag, entry in entries if entry.offset + entry.length > len(data)]:
                raise ValueError(f"cut off in its table {', '.join(short)}")
            outlines = next((tag for tag in ("glyf", "CFF ", "CFF2") if tag in font), None)
            if outlines is None:
                raise ValueError("it has no outlines")
            for tag in ("head", "hhea", "maxp", "hmtx", "cmap", outlines):
                font[tag]  # reads the table
            if not font.getBestCmap():
                raise ValueError("it has no Unicode table of characters")
    except Exception as error:  # fontTools lets through whatever its tables run into
        why = str(error) or type(error).__name__
        raise InputError(f"font={path}: no whole font ({why}); a TTF or OTF file accepted; get it again") from error


def _choose(font: Any, path: Path, instance: str | None) -> None:
    """Set a variable font to its named instance; a static one has none."""
    face = font.face
    names = {face.get_name(each.subfamily_name_id): at for at, each in enumerate(face.named_instances)}
    if not face.has_var_data:
        if instance is not None:
            raise InputError(f"instance={instance!r}: {path.name} is not variable; none accepted; leave it out")
        return
    if instance not in names:
        came = "no named instance came" if instance is None else f"{instance!r} came"
        accepted = ", ".join(map(str, names)) or "none: save one of its weights as its own file"
        raise InputError(f"instance: {came} for the variable font {path.name}; accepted: {accepted}; name one")
    font.var_named_instance = names[instance]


def _command(name: str, points: Sequence[tuple[float, float]]) -> str:
    """A pen command as SVG path data, to hundredths."""
    letter = {"moveTo": "M", "lineTo": "L", "qCurveTo": "Q", "curveTo": "C", "closePath": "Z", "endPath": ""}[name]
    return letter + " ".join(f"{_short(x)} {_short(y)}" for x, y in points)


def _short(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
