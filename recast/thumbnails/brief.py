"""A brief: what one video's thumbnails are to be, as plain data, and its file.

The dataclasses are the schema of the file: a key each field, read and refused as `documents` does. What contradicts
itself, or names what the kit has not, is refused before anything is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from recast.errors import InputError
from recast.pixels import image
from recast.thumbnails.cut_out import cut_out
from recast.thumbnails.documents import check_sides, error, line_of, read_document
from recast.thumbnails.kit import Kit, Percent, ProfileName, read_kit
from recast.thumbnails.marks import NAME, PAINT, SOME, Between, Like, PictureFile
from recast.thumbnails.stages import sha256

Factor = Literal["text", "layout", "colour", "background", "expression", "prop", "style"]
"""What the variants of a set differ in. text, layout, colour: set anew over one picture; the others: edited."""
SCHEMA = 1
CARRIES = {"text": "text", "layout": "layout", "colour": "colour"}
"""The key of a level that holds the value of a factor; of the other factors it is `edit`."""
MOST_WORDS, MOST_CHARACTERS = 12, 60
"""Of a title on a picture: at a tenth of the height, the least that is read at 168 pixels, no more has room."""
MOST_VARIANTS = 200
"""Of a set, levels by seeds: far more than anybody looks through, and fewer than seeds between a try and the next."""
FRAME_PX = 64
"""The least side of a frame to start from: the smallest picture that the models take."""
LEVEL = Like("[A-Za-z0-9][A-Za-z0-9 _-]{0,39}", "a name of letters, digits, spaces, _ and - (files are called by it)")
MENTION = re.compile(r"(?<![\w@])@([A-Za-z][A-Za-z0-9_-]*)")


@dataclass(frozen=True, kw_only=True)
class Level:
    """One value of the declared factor.

    name: short and unique. edit: the instruction, for factors that are edited; None leaves the base as it is. text: the
    title, layout: the id of a layout, colour: fill of the letters, each None for the brief's own.
    """

    name: Annotated[str, LEVEL]
    edit: Annotated[str, SOME] | None = None
    text: str | None = None
    layout: str | None = None
    colour: Annotated[str, PAINT] | None = None


@dataclass(frozen=True, kw_only=True)
class Base:
    """The picture that all variants share: a given frame, or words to generate one; frame with edit: edited first.

    keep: what no edit may touch. "characters": the faces found, and what belongs to them; "nothing"; or boxes in
    percent of the frame come as `keep_boxes`. keep_mask: a cut-out as large as the base, which is as large as its
    frame, and 1280x720 where words make it.
    """

    frame: Annotated[Path, PictureFile(FRAME_PX)] | None = None
    prompt: Annotated[str, SOME] | None = None
    edit: Annotated[str, SOME] | None = None
    keep: Literal["characters", "nothing"] = "characters"
    keep_boxes: tuple[tuple[Percent, Percent, Percent, Percent], ...] = ()
    keep_mask: Annotated[Path, PictureFile()] | None = None  # of the base's size, white where nothing may change


@dataclass(frozen=True, kw_only=True)
class Variants:
    """factor and levels; each is made with `seeds_per_level` seeds, together at most MOST_VARIANTS; more than one seed
    where levels are edited. retries: new seeds for a face that is lost.
    """

    factor: Factor
    levels: Annotated[tuple[Level, ...], Between(1, 100)]
    seeds_per_level: Annotated[int, Between(1, 100)] = 1
    retries: Annotated[int, Between(0, 20)] = 2
    ship: Annotated[int, Between(1, 100)] = 3  # how many of those that pass are exported, best first, one a level


@dataclass(frozen=True, kw_only=True)
class Brief:
    """One video. text: the title on the picture. kit: the brand kit's file. characters: ids that must show.

    hypothesis: what the set is to find out; manifests carry it. topic, hooks: what `concepts` are made of. promise,
    audience: notes for people. images: further context pictures by name, such as product: the instructions call them
    @product; @host and @logo come from the kit. licenses: of the frame (frame) and of images, by name; manifests carry
    them. file, sha256: what it was read from, None for a brief that was not.
    """

    title: Annotated[str, SOME]
    text: str
    kit: Path
    folder: Path
    base: Base
    variants: Variants
    topic: str = ""
    promise: str = ""
    audience: str = ""
    hooks: Annotated[tuple[str, ...], Between(0, 3)] = ()
    hypothesis: str = ""
    characters: tuple[str, ...] = ()
    images: Mapping[str, Annotated[Path, PictureFile(16, takes_svg=True)]] = field(default_factory=dict)
    layout: str | None = None
    text_in_scene: bool = False  # glyphs set into the scene by the model, read back, else the layer
    seed: Annotated[int, Between(0, 2**31 - 1)] = 0
    steps: Annotated[int, Between(1, 200)] | None = None
    profiles: Annotated[tuple[ProfileName, ...], Between(0, 8)] = ()  # none: the kit's
    licenses: Mapping[str, Annotated[str, SOME]] = field(default_factory=dict)
    file: Path | None = None
    sha256: str | None = None

    @property
    def levels(self) -> tuple[Level, ...]:
        return self.variants.levels


def variant_name(level: Level, again: int) -> str:
    """What a variant and its files are called: LEVEL, LEVEL-2, LEVEL-3 ...; again: which of its seeds, from 0."""
    return level.name if again == 0 else f"{level.name}-{again + 1}"


def read_brief(path: Path) -> Brief:
    """The brief in a YAML file, itself without contradictions; its kit exists, and is not opened.

    Raises InputError that names the line for whatever in it cannot be used.
    """
    return _read(path)[0]


def read_brief_and_kit(path: Path) -> tuple[Brief, Kit]:
    """The brief in a YAML file and the kit it names, which fit each other. Raises InputError with file and line."""
    brief, lines = _read(path)
    kit = read_kit(brief.kit)
    for name, words in _unknown(brief, kit):
        raise error(path, line_of(lines, name), name, words)
    return brief, kit


def _read(path: Path) -> tuple[Brief, dict[str, int]]:
    brief, lines = read_document(path, Brief, schema=SCHEMA, folder=path.parent, file=path, sha256=sha256(path))
    for name, words in _contradictions(brief):
        raise error(path, line_of(lines, name), name, words)
    for i, sides in enumerate(brief.base.keep_boxes):
        check_sides(path, lines[f"base.keep_boxes[{i}]"], f"base.keep_boxes[{i}]", sides)
    return brief, lines


def _contradictions(brief: Brief) -> Iterator[tuple[str, str]]:
    """What in a brief cannot be together: the name of the value, and the words of the error."""
    base, variants = brief.base, brief.variants
    if base.frame and base.prompt:
        yield "base.prompt", "comes beside base.frame; one of the two accepted; remove one, or call it base.edit"
    if not base.frame and not base.prompt:
        yield "base", "neither frame nor prompt came; one of the two accepted; add frame: picture.jpg or prompt: words"
    if base.edit and not base.frame:
        yield "base.edit", "comes without base.frame, which it would change; say it in base.prompt"
    yield from _bad_title("text", brief.text)
    if brief.text_in_scene and variants.factor in CARRIES:
        yield (
            "text_in_scene",
            (
                f"true came beside variants.factor: {variants.factor}; lettering painted into the picture that all "
                "variants share cannot differ between them; write false, or choose another factor"
            ),
        )
    if brief.text_in_scene and not brief.text.strip():
        yield "text_in_scene", "true came beside an empty text; write the text, or false"
    if variants.ship > len(variants.levels):
        came = f"{variants.ship} came, of {len(variants.levels)} levels"
        yield "variants.ship", f"{came}; one of each level is shipped; write at most {len(variants.levels)}"
    yield from _levels(brief)
    yield from _seeds(variants)
    yield from _keep_mask(base)
    for name in ("characters", "profiles", "hooks"):
        came = getattr(brief, name)
        for i, each in enumerate(came):
            if each in came[:i]:
                yield f"{name}[{i}]", f"{each!r} came twice; every one once accepted; remove one"
    pictures = [*(["frame"] if base.frame else []), *brief.images]
    for name in brief.licenses:
        if name not in pictures:
            yield f"licenses.{name}", f"no picture of this brief; {', '.join(pictures) or 'none'} accepted; rename it"
    for name in brief.images:
        if name == "logo" or not re.fullmatch(NAME.pattern, name):
            yield f"images.{name}", f"{name!r} came; {NAME.words} accepted, other than logo, which is the kit's"
        if name == "frame" and base.frame:
            yield f"images.{name}", "'frame' came beside base.frame; licenses could not tell them apart; rename it"


def _levels(brief: Brief) -> Iterator[tuple[str, str]]:
    """Levels that differ in more or less than the declared factor."""
    factor, levels, seeds = brief.variants.factor, brief.variants.levels, brief.variants.seeds_per_level
    carries = CARRIES.get(factor, "edit")
    own = {"text": brief.text, "layout": brief.layout}.get(carries)  # what a level without a value has
    names: dict[str, tuple[int, str]] = {}
    values: dict[str | None, int] = {}
    for i, level in enumerate(levels):
        at = f"variants.levels[{i}]"
        for again in range(seeds):
            name = variant_name(level, again)
            first, was = names.setdefault(name.lower(), (i, level.name))
            if first == i:
                continue
            if was.lower() == level.name.lower():
                words = f"{level.name!r} came, as in levels[{first}]; a name of its own accepted"
            else:
                words = (
                    f"{level.name!r} came beside {was!r} of levels[{first}]; with {seeds} seeds each, two variants are "
                )
                words += f"called {name!r}"
            yield f"{at}.name", f"{words}; rename one"
        for key in ("edit", "text", "layout", "colour"):
            if key != carries and getattr(level, key) is not None:
                words = f"comes beside factor: {factor}; levels that differ in {carries} alone accepted"
                yield f"{at}.{key}", f"{words}; remove it, or declare another factor"
        value = getattr(level, carries)
        value = own if value is None else value
        if value in values:
            came = f"{carries} {value!r}" if getattr(level, carries) is not None else f"no {carries}"
            words = f"{came} came, which is what levels[{values[value]}] has; levels that differ accepted"
            yield (
                f"{at}.{carries}" if getattr(level, carries) is not None else at,
                f"{words}; write a {carries}: of its own",
            )
        values[value] = i
        yield from _bad_title(f"{at}.text", level.text or "")


def _seeds(variants: Variants) -> Iterator[tuple[str, str]]:
    """More seeds than make pictures that differ, and more pictures than a set may have."""
    name, seeds, levels = "variants.seeds_per_level", variants.seeds_per_level, len(variants.levels)
    if seeds > 1 and not any(level.edit for level in variants.levels):
        words = (
            f"{seeds} came beside factor: {variants.factor}, and no level has an edit; all seeds give the same picture"
        )
        yield name, f"{words}; write 1, or choose a factor that is edited, and levels with edit: words"
    if seeds * levels > MOST_VARIANTS:
        came = f"{seeds} came, which with {levels} levels are {seeds * levels} variants"
        yield name, f"{came}; at most {MOST_VARIANTS} accepted; write at most {MOST_VARIANTS // levels}"


def _keep_mask(base: Base) -> Iterator[tuple[str, str]]:
    """A cut-out of another size than the base will have, and one that keeps nothing or all."""
    from recast.thumbnails.base import MASTER_PX  # which is made of a brief

    if base.keep_mask is None:
        return
    size = MASTER_PX
    if base.frame is not None:
        frame = image.read(base.frame, name="base.frame")
        size = frame.width, frame.height
    try:
        cut_out(base.keep_mask, size=size)
    except InputError as failure:
        yield "base.keep_mask", str(failure).replace(str(base.keep_mask), base.keep_mask.name, 1)


def _bad_title(name: str, text: str) -> Iterator[tuple[str, str]]:
    """A title of nothing but blanks, and one that has no room."""
    words, characters = len(text.split()), len(text)
    if text and not words:
        yield name, f'{text!r} came, in which nothing shows; a title, or "" for none, accepted'
    if words > MOST_WORDS or characters > MOST_CHARACTERS:
        came = f"{words} words, {characters} characters came; at most {MOST_WORDS} words and {MOST_CHARACTERS} "
        yield name, f"{came}characters have room on a picture; write two to five words"


def _unknown(brief: Brief, kit: Kit) -> Iterator[tuple[str, str]]:
    """What a brief names that its kit has not."""
    people, layouts = [each.id for each in kit.characters], [each.id for each in kit.layouts]
    for i, each in enumerate(brief.characters):
        if each not in people:
            yield f"characters[{i}]", _none_such(each, people, "characters", brief)
    named = [("layout", brief.layout)]
    named += [(f"variants.levels[{i}].layout", level.layout) for i, level in enumerate(brief.levels)]
    for name, layout in named:
        if layout is not None and layout not in layouts:
            yield name, _none_such(layout, layouts, "layouts", brief)
    roles = [each.role for each in kit.palette]
    for i, level in enumerate(brief.levels):
        if level.colour and not level.colour.startswith("#") and level.colour not in roles:
            yield f"variants.levels[{i}].colour", _none_such(level.colour, roles, "roles of the palette", brief)
    for name in brief.images:
        if name in people:
            yield f"images.{name}", f"a character of {brief.kit.name} is called so; choose another name"
    known = [*people, *(["logo"] if kit.logo else []), *brief.images]
    instructions = [("base.prompt", brief.base.prompt), ("base.edit", brief.base.edit)]
    instructions += [(f"variants.levels[{i}].edit", level.edit) for i, level in enumerate(brief.levels)]
    for name, words in instructions:
        for mention in MENTION.findall(words or ""):
            if mention not in known:
                yield name, _none_such(f"@{mention}", [f"@{each}" for each in known], "pictures", brief)


def _none_such(came: str, known: list[str], what: str, brief: Brief) -> str:
    near = get_close_matches(came, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"add it to {brief.kit.name}, or leave it out"
    return f"{came!r} came; {what} there are: {', '.join(known) or 'none'}; {hint}"
