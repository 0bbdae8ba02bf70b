"""A brand kit: the colours, letters, logo, people, layouts and rules of one channel, as plain data, and its file.

The dataclasses are the schema of the file: a key each field, read and refused as `documents` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from recast.errors import InputError
from recast.thumbnails.boxes import Box
from recast.thumbnails.documents import error, line_of, read_document
from recast.thumbnails.marks import HEX, NAME, PAINT, SOME, Between, Bundled, Like, MayBeAbsent, OneOf, PictureFile
from recast.thumbnails.profiles import PROFILES
from recast.thumbnails.shaping import typeface
from recast.thumbnails.stages import sha256

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right", "center"]
SCHEMA = 1
SCORES = {"palette": 20, "typography": 15, "logo": 10, "layout": 15, "identity": 20, "look": 20}
"""The sub-scores of brand consistency, each 0..100, and their weights in the one number."""
ProfileName = Annotated[str, OneOf(tuple(PROFILES))]
Percent = Annotated[float, Between(0, 100)]
Share = Annotated[float, Between(0, 1)]
OUR_FONTS = Bundled(Path(__file__).parent / "fonts", ".ttf")
REFERENCE_PX = 32
"""The least side of a picture of a face: below it no recogniser tells anybody."""


@dataclass(frozen=True, kw_only=True)
class Colour:
    """One colour of the palette. hex: "#RRGGBB"; tol: CIEDE2000 within which a colour counts as this one.

    share: of a picture's salient area that it usually covers, 0..1; None where nobody has measured it.
    """

    role: Annotated[str, NAME]
    hex: Annotated[str, HEX]
    tol: Annotated[float, Between(0.5, 50)] = 5.0
    share: Share | None = None


@dataclass(frozen=True, kw_only=True)
class Font:
    """role: "headline" or a name of the channel's own. tracking: thousandths of an em between letters.

    file: in a kit's file also the bare name of a font that we bring, such as anton. instance: the named instance of a
    variable font, such as "Black".
    """

    role: Annotated[str, NAME]
    file: Annotated[Path, OUR_FONTS]
    license: Annotated[str, SOME]
    case: Literal["upper", "as-is"] = "as-is"
    tracking: Annotated[float, Between(-200, 500)] = 0.0
    instance: Annotated[str, SOME] | None = None


@dataclass(frozen=True, kw_only=True)
class StrokeStyle:
    """color: hex or a role of the palette. px: at a frame 720 pixels high."""

    color: Annotated[str, PAINT]
    px: Annotated[float, Between(0, 72)]


@dataclass(frozen=True, kw_only=True)
class ShadowStyle:
    """Pixels of a frame 720 pixels high; blur is a Gaussian's sigma."""

    dx: Annotated[float, Between(-72, 72)] = 0.0
    dy: Annotated[float, Between(-72, 72)] = 6.0
    blur: Annotated[float, Between(0, 72)] = 12.0
    opacity: Share = 0.6


@dataclass(frozen=True, kw_only=True)
class TextStyle:
    """fill: hex or a role of the palette."""

    fill: Annotated[str, PAINT] = "#FFFFFF"
    stroke: StrokeStyle | None = None
    shadow: ShadowStyle | None = None


@dataclass(frozen=True, kw_only=True)
class LogoStyle:
    """width_pct: least and most width in percent of the frame; clear_space_pct: nothing else so near."""

    file: Annotated[Path, PictureFile(16, takes_svg=True)]
    license: Annotated[str, SOME] | None = None
    anchor: Corner = "top-left"
    width_pct: tuple[Percent, Percent] = (8.0, 14.0)
    clear_space_pct: Annotated[float, Between(0, 25)] = 2.0
    mono: Annotated[Path, PictureFile(16, takes_svg=True)] | None = None


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """An adapter of a character. optional: without its file pictures are made all the same."""

    file: Annotated[Path, MayBeAbsent()]
    weight: Annotated[float, Between(-2, 2)] = 1.0
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Who allowed the use of a face, and when (ISO date)."""

    by: Annotated[str, SOME]
    date: Annotated[str, Like(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", "a date such as 2026-01-10")]


@dataclass(frozen=True, kw_only=True)
class Character:
    """A person of the channel. references: 1 to 8 pictures that show one face each.

    identity_min: the least cosine to the references; None: the recogniser's own calibrated limit. must_keep: a note for
    people. license: of the references.
    """

    id: Annotated[str, NAME]
    references: Annotated[tuple[Annotated[Path, PictureFile(REFERENCE_PX)], ...], Between(1, 8)]
    lora: LoRA | None = None
    identity_min: Annotated[float, Between(-1, 1)] | None = None
    must_keep: tuple[str, ...] = ()
    license: Annotated[str, SOME] | None = None
    consent: Consent | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where face and text go, in percent of the frame as (left, top, right, bottom); the logo's corner."""

    id: Annotated[str, NAME]
    text: Box
    face: Box | None = None
    logo: Corner | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """saturation: least and most mean (HSV, 0..1). key: how light the channel's pictures are. avoid: a note for people.

    style: the file that `learn` writes: how the channel's own pictures look, and how far they are from one another.
    """

    reference_images: tuple[Annotated[Path, PictureFile()], ...] = ()
    saturation: tuple[Share, Share] | None = None
    key: Literal["high", "mid", "low"] | None = None
    avoid: tuple[str, ...] = ()
    style: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Rules:
    """max_words, max_characters, max_lines: of a title. min_contrast: of letters to what is around them (WCAG)."""

    max_words: Annotated[int, Between(1, 12)] = 5
    max_characters: Annotated[int, Between(1, 60)] = 24
    max_lines: Annotated[int, Between(1, 4)] = 2
    forbid_badge_zone: bool = True
    min_contrast: Annotated[float, Between(1, 21)] = 4.5
    brand_min: dict[str, Percent] = field(default_factory=dict)  # least sub-score (0..100) by name; below: fail
    extra_faces: bool = False  # whether faces other than the characters' may show


@dataclass(frozen=True, kw_only=True)
class ExportStyle:
    profiles: Annotated[tuple[ProfileName, ...], Between(1, 8)] = ("youtube-portable",)


@dataclass(frozen=True, kw_only=True)
class Kit:
    """Everything a channel's thumbnails have in common. folder: that its relative paths start from.

    sha256: of the file that it was read from, None for a kit that was not.
    """

    name: Annotated[str, SOME]
    folder: Path
    palette: Annotated[tuple[Colour, ...], Between(0, 16)] = ()
    fonts: tuple[Font, ...] = ()
    text_style: TextStyle = field(default_factory=TextStyle)
    logo: LogoStyle | None = None
    characters: tuple[Character, ...] = ()
    layouts: tuple[Layout, ...] = ()
    look: Look = field(default_factory=Look)
    rules: Rules = field(default_factory=Rules)
    export: ExportStyle = field(default_factory=ExportStyle)
    sha256: str | None = None

    def colour(self, name: str) -> str:
        """The hex of a role of the palette; a hex comes back as it is."""
        return next((each.hex for each in self.palette if each.role == name), name)


def read_kit(path: Path) -> Kit:
    """The brand kit in a YAML file. Raises InputError that names the line for whatever in it cannot be used."""
    kit, lines = read_document(path, Kit, schema=SCHEMA, folder=path.parent, sha256=sha256(path))
    for each in _problems(kit):
        raise error(path, line_of(lines, each[0]), *each)
    return kit


def _problems(kit: Kit) -> Iterable[tuple[str, str]]:
    """What contradicts itself in a kit: the name of the value, and the words of the error."""
    roles = [each.role for each in kit.palette]
    for name, key, all_of_them in (
        ("palette", "role", roles),
        ("fonts", "role", [each.role for each in kit.fonts]),
        ("characters", "id", [each.id for each in kit.characters]),
        ("layouts", "id", [each.id for each in kit.layouts]),
        ("export", "profiles", list(kit.export.profiles)),
    ):
        for i, each in enumerate(all_of_them):
            if each in all_of_them[:i]:
                at = f"export.profiles[{i}]" if name == "export" else f"{name}[{i}].{key}"
                yield at, f"{each!r} came twice; every one once accepted; rename or remove one"
    style = kit.text_style
    for at, paint in (
        ("text_style.fill", style.fill),
        ("text_style.stroke.color", style.stroke and style.stroke.color),
    ):
        if paint and not paint.startswith("#") and paint not in roles:
            known = f"roles of the palette ({', '.join(roles) or 'it has none'})"
            yield at, f"{paint!r} came; {known} and colours in quotes accepted"
    if kit.logo and not 0 < kit.logo.width_pct[0] <= kit.logo.width_pct[1]:
        yield "logo.width_pct", _no_range(kit.logo.width_pct)
    if kit.look.saturation and kit.look.saturation[0] > kit.look.saturation[1]:
        yield "look.saturation", _no_range(kit.look.saturation)
    for i, character in enumerate(kit.characters):
        if character.id == "logo":
            yield f"characters[{i}].id", "'logo' came; that is what instructions call the logo; choose another name"
        lora, consent = character.lora, character.consent
        if lora and not lora.optional and not lora.file.exists():
            words = f"{str(lora.file)!r} does not exist; train it and put it there, or write optional: true"
            yield f"characters[{i}].lora.file", words
        if consent and not _is_day(consent.date):
            yield f"characters[{i}].consent.date", f"{consent.date!r} came, which no calendar has; write the day it was"
    for part in kit.rules.brand_min:
        if part not in SCORES:
            yield f"rules.brand_min.{part}", f"no sub-score; {', '.join(SCORES)} accepted"
    yield from _broken_files(kit)


def _broken_files(kit: Kit) -> Iterable[tuple[str, str]]:
    """Fonts that cannot be set, and numbers of the style that cannot be read."""
    from recast.thumbnails.habits import read_habits  # which is made of the colours of a kit

    for i, font in enumerate(kit.fonts):
        try:
            typeface(font.file, instance=font.instance)
        except InputError as failure:
            words, of_file = str(failure), f"font={font.file}: "
            if words.startswith(of_file):
                yield f"fonts[{i}].file", f"{font.file.name}: {words.removeprefix(of_file)}"
            else:
                yield f"fonts[{i}].instance", words.partition(": ")[2]
    if kit.look.style is not None:
        try:
            read_habits(kit.look.style)
        except InputError as failure:
            yield "look.style", str(failure).replace(str(kit.look.style), kit.look.style.name, 1)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _no_range(came: tuple[float, float]) -> str:
    return f"[{came[0]:g}, {came[1]:g}] came; [least, most] above 0 accepted; swap them"
