"""What a text of the world says, as classes: which words a text encoder must have read to know it.

One table, ATTRIBUTES, made from the lists of `recast.world`: for each attribute the values that a text may state. "Not
said" is class 0 of each. People, things and marks have slots in the order in which a text speaks of them. In an
instruction an attribute is what shall be, and one under ".old" or ".which" says what is spoken of.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from recast.errors import InputError
from recast.world import edits, phrases
from recast.world import vocabulary as say
from recast.world.dice import Dice
from recast.world.edits import Edit
from recast.world.instructions import BETWEEN, QUOTES, every_typo, typo
from recast.world.lettering import FONTS
from recast.world.scene import CHOICES, PLACES, THINGS, Character, Mark, Scene, Thing, Title, get
from recast.world.titles import LONGEST
from recast.world.words import Description

SLOTS = 2
"""People, things and marks that a description may speak of, of each sort: no scene of the world has more."""
UNKNOWN = -1
"""The class of what the words leave open in a way that has no class: neither loss nor score looks at it."""
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
"""What a title may be spelled with: 96 characters; the class after them is the end."""
END = len(CHARACTERS)
ALIKE = {"style for content": "style of picture 2", "one letter": "change title"}
"""Kinds of edit that are asked for in the words of another kind."""
SHOWN: Mapping[str, tuple[str, ...]] = {
    "logo onto shirt": ("logo", "logo_colour"),
    "thing into picture": ("colour",),
    "logo into corner": ("shape", "colour"),
    "style of picture 2": ("style",),
    "style for content": ("style",),
}
"""What a kind asks for by pointing at a picture: the words do not say it."""
PICTURED_THING = "thing into picture"
"""The kind that may call a thing of picture 2 "the object"."""
ANY_KIND = "already so"
"""The kind that speaks as others do: which one, only a picture tells."""


def _kinds() -> tuple[str, ...]:
    kinds = dict.fromkeys(kind for each in edits.KINDS.values() for kind in each)
    return tuple(kind for kind in kinds if kind not in (*ALIKE, ANY_KIND))


def _attributes() -> dict[str, tuple[str, ...]]:
    def of(kind: type) -> dict[str, tuple[str, ...]]:
        return {name: tuple(map(str, values)) for name, values in CHOICES[kind].items()}

    table = {"edit.kind": _kinds(), "edit.contexts": ("0", "1", "2"), "edit.base": ("1", "2")}
    table |= of(Scene)
    at = ("person", "left person", "right person", *THINGS, *PLACES)
    for i in range(SLOTS):
        person = {"said": ("yes",), "which": PLACES, **of(Character)}
        table |= {f"person.{i}.{name}": values for name, values in person.items()}
        table |= {f"thing.{i}.{name}": values for name, values in {"said": ("yes",), **of(Thing)}.items()}
        table |= {f"mark.{i}.{name}": values for name, values in {"said": ("yes",), **of(Mark), "at": at}.items()}
    table |= {f"thing.old.{name}": of(Thing)[name] for name in ("kind", "colour", "place")}
    table |= {f"mark.old.{name}": of(Mark)[name] for name in ("kind", "shape", "place")}
    table |= {f"title.{name}": values for name, values in {"said": ("yes",), **of(Title), "font": tuple(FONTS)}.items()}
    return table


ATTRIBUTES: Mapping[str, tuple[str, ...]] = _attributes()
"""Name → the values a text may state; the class of value i is i + 1, and 0 is "not said"."""


def _words() -> tuple[str, ...]:
    """All words of two letters or more that the world speaks in, from its own lists."""
    lists = [value for name, value in vars(say).items() if name.isupper()]
    lists += [phrases.PAGES, phrases.WRAPPERS, phrases.KEEPERS, LOOSE_WORDS, list(ATTRIBUTES.values())]
    lists += [font.words for font in FONTS.values()]
    return tuple(sorted({word for word in _WORD.findall(" ".join(map(str, lists)).lower()) if len(word) > 1}))


_WORD = re.compile(r"[a-z]+")
LOOSE_WORDS = "a an the with and or top bar behind it letters font outline pointing around chest holding skin beard"
"""Words that only stand inside the world's functions."""
WORDS: Mapping[str, int] = {word: index for index, word in enumerate(_words())}
"""What the world's words are called, numbered: a token may say which one it is part of."""
HASH = hashlib.sha256(json.dumps([list(ATTRIBUTES.items()), CHARACTERS, LONGEST, list(WORDS)]).encode()).hexdigest()[
    :16
]
"""Of the whole label space: heads and streams of another one do not fit."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """A text and what it says. values: by name of ATTRIBUTES. unknown: names that nobody can tell from the words.

    new: the string the title shall have or has; old: the one it is known by in an instruction. Both stand in the text
    between quotation marks, or are None.
    """

    text: str
    values: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    new: str | None = None
    old: str | None = None

    def classes(self) -> list[int]:
        """One class for each of ATTRIBUTES, in its order."""
        return [
            UNKNOWN
            if name in self.unknown
            else ATTRIBUTES[name].index(self.values[name]) + 1
            if name in self.values
            else 0
            for name in ATTRIBUTES
        ]


def group(name: str) -> str:
    """The group that an attribute is reported in."""
    part, _, rest = name.rpartition(".")
    if part == "edit":
        return "edit"
    if rest in ("which", "at") or part.endswith(".old"):
        return "which one"
    if "colour" in rest or rest in ("shirt", "outline", "plate"):
        return "colour"
    if rest == "place":
        return "place"
    return {"": "scene", "title": "title look"}.get(part, part.partition(".")[0])


def of_description(scene: Scene, made: Description) -> Said:
    """What a description of the scene says."""
    values = {"edit.contexts": "0"}
    for path in made.named:
        values |= _stated(scene, path, path.split(".")[1] if path.startswith(tuple(_PARTS)) else "")
        part = path.split(".")
        if part[0] in _PARTS or part[0] == "title":
            values[f"{_PARTS[part[0]]}.{part[1]}.said" if part[0] in _PARTS else "title.said"] = "yes"
    new = scene.title.text if scene.title is not None and "title.text" in made.named else None
    return Said(text=made.text, values=values, new=new)


def of_edit(made: Edit) -> Said:
    """What the instruction of an edit says: what shall be, and what is spoken of."""
    source, target, text = made.source, made.target, made.instruction
    values = {"edit.contexts": str(len(made.contexts))}
    if made.kind != ANY_KIND:
        values["edit.kind"] = _kind(made)
    if len(made.contexts) > 1:
        values["edit.base"] = str(made.base + 1)
    people = _people(made.asked)
    for path in made.asked:
        part = path.split(".")
        if part[-1] in SHOWN.get(made.kind, ()):
            continue
        if path.endswith(".kind") and made.kind == PICTURED_THING and not says(text, str(get(target, path))):
            continue
        slot = str(people.index(part[1])) if part[0] == "characters" else "0"
        values |= _stated(_as_said(made, path), path, slot)
    for number, index in enumerate(people):
        side = source.characters[int(index)].place if int(index) < len(source.characters) else ""
        sides = [f"{side} {noun}" for noun in say.PEOPLE] + [f"{noun} on the {side}" for noun in say.PEOPLE]
        if side and len(source.characters) > 1 and any(says(text, each) for each in sides):
            values[f"person.{number}.which"] = side
    values |= _spoken_of(made)
    new = target.title.text if target.title is not None and "title.text" in made.asked else None
    old = source.title.text if source.title is not None else None
    return Said(
        text=text,
        values=values,
        unknown=("edit.kind",) if made.kind == ANY_KIND else (),
        new=new,
        old=old if old is not None and old != new and _find(text, old) else None,
    )


_MASK = "\ue000"  # stands for what is quoted: no letter of any word
_PARTS = {"characters": "person", "things": "thing", "marks": "mark"}


def _stated(scene: Scene, path: str, slot: str) -> dict[str, str]:
    """The attribute that a named path of the scene states, and its value; nothing for a whole part."""
    part = path.split(".")
    value = get(scene, path)
    if part[0] not in _PARTS:
        return {} if path in ("title", "title.text") else {path: str(value)}
    if len(part) < 3:
        return {}
    name = f"{_PARTS[part[0]]}.{slot}.{part[2]}"
    if part[0] == "marks" and part[2] == "place" and scene.marks[int(part[1])].kind in ("arrow", "circle"):
        return {f"mark.{slot}.at": _at(scene, str(value))}
    return {name: str(value)}


def _at(scene: Scene, place: str) -> str:
    """What an arrow or a circle shows, as `naming.at_place` calls it."""
    for each in scene.characters:
        if each.place == place:
            return "person" if len(scene.characters) == 1 else f"{place} person"
    return next((each.kind for each in scene.things if each.place == place), place)


def _as_said(made: Edit, path: str) -> Scene:
    """The scene in whose words a path is stated: what is asked for later in the same remark is not done yet."""
    later = made.asked[made.asked.index(path) + 1 :]
    if path.startswith("marks") and any(each.startswith("things") for each in later):
        target = made.target
        return Scene(
            characters=target.characters, things=made.source.things, marks=target.marks, background=target.background
        )
    return made.target


def _people(asked: Sequence[str]) -> list[str]:
    """The indices of the people that an instruction is about, in the order in which it speaks of them."""
    paths = [path.split(".") for path in asked if path.startswith("characters")]
    paths.sort(key=lambda path: len(path) < 3)  # a whole person says nothing of the order
    return list(dict.fromkeys(path[1] for path in paths))


def _kind(made: Edit) -> str:
    if made.kind == "remove mark" and len(made.target.marks) > len(made.source.marks):  # the way back
        kind = made.target.marks[-1].kind
        return "add corner logo" if kind == "logo" else f"add {kind}"
    return ALIKE.get(made.kind, made.kind)


def _spoken_of(made: Edit) -> Iterator[tuple[str, str]]:
    """The thing or the mark of the source that the instruction is about, by what the words say of it."""
    text = made.instruction
    for path in made.asked:
        part = path.split(".")
        if part[0] == "things" and int(part[1]) < len(made.source.things):
            thing = made.source.things[int(part[1])]
            yield "thing.old.kind", thing.kind
            if says(text, f"{thing.colour} {thing.kind}"):
                yield "thing.old.colour", thing.colour
            grounds = ("", " on the ground")
            if any(says(text, f"{thing.kind}{on} {side}") for on in grounds for side in say.SIDES[thing.place]):
                yield "thing.old.place", thing.place
        elif part[0] == "marks" and int(part[1]) < len(made.source.marks):
            mark = made.source.marks[int(part[1])]
            yield "mark.old.kind", mark.kind
            if mark.kind in ("sticker", "logo"):
                if says(text, f"{mark.shape} {mark.kind}"):
                    yield "mark.old.shape", mark.shape
                if says(text, f"{mark.kind} in the {mark.place}") or says(text, f"{mark.kind} at the {mark.place}"):
                    yield "mark.old.place", mark.place


def says(text: str, words: str) -> bool:
    """Whether the text has these words, in any case, outside quotation marks or in, perhaps with one slip in them."""
    text, words = text.lower(), words.lower()
    return words in text or any(slipped in text for slipped in _slips(words))


def _slips(words: str) -> Iterator[str]:
    """Every way in which `instructions.typo` may spell the words, which may be parts of longer ones in a text."""
    for i in range(len(words) - 1):
        if words[i : i + 2].isalpha():
            yield words[:i] + words[i + 1] + words[i] + words[i + 2 :]
            yield words[: i + 1] + words[i] + words[i + 1 :]
            yield words[:i] + words[i + 1 :]


_BETWEEN = (*BETWEEN, *sorted(set().union(*map(every_typo, BETWEEN)) - set(BETWEEN)))
"""What stands between the two lines of a title, each in quotation marks; a slip of the fingers may have met it, too."""


def spans(said: Said) -> dict[str, list[tuple[int, int]]]:
    """Where the title's characters stand: under "new" and "old", (place in the text, place in the string) pairs.

    A line feed between two lines stands nowhere. Raises InputError for a string that the text does not quote.
    """
    found = {}
    for name, string in (("new", said.new), ("old", said.old)):
        if string is None:
            continue
        places = _find(said.text, string)
        if not places:
            raise InputError(f"text={said.text!r}: {string!r} is not quoted in it; a text of this world accepted")
        found[name] = places
    return found


def _find(text: str, string: str) -> list[tuple[int, int]]:
    """(place in the text, place in the string) of a quoted string's characters; empty if it is not in the text."""
    lines = string.split("\n")
    for left, right in QUOTES:
        for between in _BETWEEN if len(lines) > 1 else ("",):
            at = text.find(between.join(f"{left}{line}{right}" for line in lines))
            if at < 0:
                continue
            places, character = [], 0
            for line in lines:
                at += len(left)
                places += [(at + i, character + i) for i in range(len(line))]
                at += len(line) + len(right) + len(between)
                character += len(line) + 1
            return places
    return []


def words(said: Said) -> list[tuple[int, int, int]]:
    """The text's known words outside of its quoted strings: (first place, place after the last, number in WORDS)."""
    found = [(each.start(), each.end(), each.group()) for each in _WORD.finditer(_masked(said).lower())]
    return [(first, last, WORDS[word]) for first, last, word in found if word in WORDS]


def slipped(said: Said, dice: Dice) -> Said:
    """The same with one slip of the fingers in a word outside the quoted strings; itself if there is no such word."""
    quoted = {at for places in spans(said).values() for at, _ in places}
    parts = typo(_masked(said), dice).split(_MASK)
    kept = [said.text[at] for at in sorted(quoted)]
    return replace(said, text="".join(each for pair in zip(parts, [*kept, ""], strict=True) for each in pair))


def _masked(said: Said) -> str:
    """The text with its quoted strings made unreadable, of the same length."""
    quoted = {at for places in spans(said).values() for at, _ in places}
    return "".join(_MASK if at in quoted else each for at, each in enumerate(said.text))


def spelled(string: str | None) -> list[int]:
    """The classes of a title's characters, ends after them: LONGEST + 1 in all; of None, ends alone.

    Raises InputError for a character that has no class, and for a string that is too long.
    """
    string = string or ""
    strange = sorted(set(string) - set(CHARACTERS))
    if strange or len(string) > LONGEST:
        raise InputError(
            f"title={string!r}: up to {LONGEST} characters of printable ASCII accepted; strange: {strange}"
        )
    return [CHARACTERS.index(each) for each in string] + [END] * (LONGEST + 1 - len(string))
