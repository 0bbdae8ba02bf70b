"""Words for scenes: `description` says what is in a picture, `instruct` what shall be done to it.

A description names some of what a scene holds, true to the last word, and lists the attributes it named, so that a
picture made from it is judged by these and by no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from recast.errors import InputError
from recast.world import naming
from recast.world import vocabulary as say
from recast.world.dice import Dice
from recast.world.instructions import finish, hold, instruct, quotation_marks, quoted
from recast.world.rules import shows
from recast.world.scene import Character, Mark, Scene, Thing, Title
from recast.world.vocabulary import article

__all__ = ["LENGTHS", "Description", "describe", "description", "instruct"]

LENGTHS = {"short": (1, 3), "medium": (4, 7), "long": (8, 40)}
"""How many facts a description of each length names, at least (if the scene has so many) and at most."""


@dataclass(frozen=True)
class Description:
    """A text, and the paths of the attributes it names; a path to a part, "characters.0", means that it is there."""

    text: str
    named: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """Something that may be said: words that go into slot `slot` of part `part`, and the attributes they give away."""

    part: str
    slot: str
    words: str
    paths: tuple[str, ...]


def describe(scene: Scene, dice: Dice, *, length: str = "medium", limit_bytes: int | None = None) -> str:
    """The text of `description`."""
    return description(scene, dice, length=length, limit_bytes=limit_bytes).text


def description(
    scene: Scene,
    dice: Dice,
    *,
    length: str = "medium",
    limit_bytes: int | None = None,
    typos: bool = True,
) -> Description:
    """A true description of the scene, short, medium or long, and what it names.

    limit_bytes: the longest text accepted, in UTF-8: facts are left out until it fits, none is cut.
    Raises InputError for another length, and for a limit under which not one fact can be said.
    """
    if length not in LENGTHS:
        raise InputError(f"length={length!r}: {', '.join(LENGTHS)} accepted")
    facts = _in_turn(dice.stream("order").shuffled(list(_facts(scene, dice.stream("facts")))))
    least, most = LENGTHS[length]
    count = least + dice.stream("count").below(most - least + 1) if length != "long" else most
    facts = facts[:count]
    while True:
        # A new attempt at the same facts would be another text: the streams start anew, so only what is left out moves.
        text = _compose(scene, facts, dice, typos)
        if limit_bytes is None or len(text.encode()) <= limit_bytes:
            named = [path for fact in facts for path in fact.paths]
            return Description(text, tuple(dict.fromkeys(named)))
        if not facts:
            raise InputError(f"limit_bytes={limit_bytes}: nothing can be said in so few; 48 or more accepted")
        facts = facts[:-1]


def _in_turn(facts: list[Fact]) -> list[Fact]:
    """The facts in their order, but none of a second person, thing or mark before one of the first.

    Whoever draws the description counts in its order: the only person that it speaks of is the first.
    """
    ordered: list[Fact] = []
    named: set[str] = set()
    while facts:
        fact = next(each for each in facts if all(_one_before(path) in (None, *named) for path in each.paths))
        facts = [each for each in facts if each is not fact]
        ordered.append(fact)
        named.update(fact.paths)
    return ordered


def _one_before(path: str) -> str | None:
    """The part that comes before the one a path leads to: "things.0" for "things.1.colour", None for the first."""
    name, _, rest = path.partition(".")
    index = rest.partition(".")[0]
    return f"{name}.{int(index) - 1}" if index.isdigit() and index != "0" else None


def _facts(scene: Scene, dice: Dice) -> Iterator[Fact]:
    """Everything that may be said of the scene, each with its words already chosen."""
    own = scene.background != "photograph"  # of a picture from outside nobody knows what it shows
    if own:
        yield Fact("scene", "where", dice.stream("where").choice(say.WHERE[scene.background]), ("background",))
    if shows(scene, "time") and (scene.time != "day" or (own and dice.stream("day").chance(0.3))):
        yield Fact("scene", "when", dice.stream("when").choice(say.WHEN[scene.time]), ("time",))
    if scene.blur:
        yield Fact("scene", "blur", "with the background out of focus", ("blur",))
    if scene.style != "flat" or dice.stream("flat").chance(0.15):
        yield Fact("scene", "style", dice.stream("style").choice(say.STYLES[scene.style]), ("style",))
    if scene.look != "none":
        yield Fact("scene", "look", dice.stream("look").choice(say.LOOKED[scene.look]), ("look",))
    for i, character in enumerate(scene.characters):
        yield from _facts_of_person(scene, character, f"characters.{i}", dice.stream("person", i))
    for i, thing in enumerate(scene.things):
        yield _fact_of_thing(scene, thing, f"things.{i}", dice.stream("thing", i))
    for i, mark in enumerate(scene.marks):
        yield _fact_of_mark(scene, mark, f"marks.{i}", dice.stream("mark", i))
    if scene.title is not None:
        yield from _facts_of_title(scene, scene.title, dice.stream("title"))


def _facts_of_person(scene: Scene, person: Character, part: str, dice: Dice) -> Iterator[Fact]:
    here = (part, f"{part}.place") if len(scene.characters) > 1 else (part,)  # of two the side is always said

    def fact(slot: str, words: str, *names: str) -> Fact:
        return Fact(part, slot, words, (*here, *(f"{part}.{name}" for name in names)))

    def coloured(name: str) -> bool:
        return dice.stream(name, "coloured").chance(0.8) and shows(scene, f"{part}.{name}")

    style, colour = shows(scene, f"{part}.hair"), shows(scene, f"{part}.hair_colour") and person.hair != "bald"
    if style and colour and dice.stream("hair only").chance(0.3):
        style, colour = (True, False) if dice.stream("which").chance(0.5) else (False, True)
    if style or colour:
        names = (["hair"] if style else []) + (["hair_colour"] if colour else [])
        yield fact("has", naming.hair(person, dice.stream("hair"), style=style, colour=colour), *names)
    if shows(scene, f"{part}.skin"):
        yield fact("has", f"{person.skin} skin", "skin")
    if person.beard:
        yield fact("has", "a beard", "beard")
    if person.freckles:
        yield fact("has", "freckles", "freckles")
    if person.glasses != "none":
        yield fact("has", dice.stream("glasses").choice(say.GLASSES[person.glasses]), "glasses")
    if person.hat != "none":
        with_colour = coloured("hat_colour")
        words = article(naming.hat(person, dice.stream("hat"), coloured=with_colour))
        yield fact("wears", words, "hat", *(["hat_colour"] if with_colour else []))
    clothes = _fact_of_clothes(scene, person, part, dice)
    yield replace(clothes, paths=tuple(dict.fromkeys((*here, *clothes.paths))))
    if person.logo != "none":
        with_colour = coloured("logo_colour")
        words = article(f"{person.logo_colour} {person.logo}" if with_colour else person.logo)
        yield fact("chest", f"{words} on the chest", "logo", *(["logo_colour"] if with_colour else []))
    yield fact("adjective", dice.stream("expression").choice(say.EXPRESSIONS[person.expression]), "expression")
    if shows(scene, f"{part}.pose") and (person.pose != "standing" or dice.stream("standing").chance(0.2)):
        yield fact("does", dice.stream("pose").choice(say.POSES[person.pose]), "pose")
    if person.holding != "none":
        with_colour = coloured("holding_colour")
        words = article(f"{person.holding_colour} {person.holding}" if with_colour else person.holding)
        yield fact("does", f"holding {words}", "holding", *(["holding_colour"] if with_colour else []))
    if len(scene.characters) == 1:
        yield fact("stands", dice.stream("place").choice(say.SIDES[person.place]), "place")


def _fact_of_clothes(scene: Scene, person: Character, part: str, dice: Dice) -> Fact:
    stream = dice.stream("clothes")
    coloured = shows(scene, f"{part}.shirt")
    if coloured and stream.chance(0.25):
        return Fact(part, "wears", article(f"{person.shirt} top"), (part, f"{part}.shirt"))
    if not coloured or stream.chance(0.15):
        return Fact(part, "wears", article(naming.shirt(person, stream)), _outfit(person, part))
    return Fact(part, "wears", naming.clothes(person, stream), (*_outfit(person, part), f"{part}.shirt"))


def _outfit(person: Character, part: str) -> tuple[str, ...]:
    # "a shirt" is what people call a plain t-shirt, a striped one and more: it says nothing of the outfit.
    return (part,) if person.outfit == "t-shirt" else (part, f"{part}.outfit")


def _fact_of_thing(scene: Scene, thing: Thing, part: str, dice: Dice) -> Fact:
    colour = {"colour"} if dice.chance(0.8) and shows(scene, f"{part}.colour") else set()
    size = {"size"} if dice.chance(0.4) and scene.background != "plain" else set()
    words = naming.a_thing(thing, colour | size, dice)
    place = {"place"} if dice.chance(0.6) else set()
    if place:
        words += " " + dice.choice(say.SIDES[thing.place])
    named = [name for name in ("kind", "colour", "size", "place") if name in {"kind"} | colour | size | place]
    return Fact(part, "is", words, (part, *(f"{part}.{name}" for name in named)))


def _fact_of_mark(scene: Scene, mark: Mark, part: str, dice: Dice) -> Fact:
    coloured, placed = dice.chance(0.8), dice.chance(0.7)
    words = article(naming.graphic(mark, dice, coloured=coloured, placed=placed))
    named = ["kind"] + (["colour"] if coloured else []) + (["shape"] if mark.kind in ("sticker", "logo") else [])
    shown: tuple[str, ...] = ()
    if placed and mark.kind in ("arrow", "circle"):
        preposition = "pointing at" if mark.kind == "arrow" else "around"
        at = naming.at_place(scene, mark.place, dice)
        words += f" {preposition} {at}"
        shown = _paths_of_place(scene, mark.place, at)
    if placed and mark.kind != "border" and (" " in mark.place or mark.kind != "logo"):  # but not of a sheet's logo
        named.append("place")
    return Fact(part, "is", words, (part, *(f"{part}.{name}" for name in named), *shown))


def _paths_of_place(scene: Scene, place: str, said: str) -> tuple[str, ...]:
    """What is named where `naming.at_place` said so of a place."""
    for i, person in enumerate(scene.characters):
        if person.place == place:
            return (f"characters.{i}", *([f"characters.{i}.place"] if len(scene.characters) > 1 else []))
    for i, thing in enumerate(scene.things):
        if thing.place == place:
            path, words = f"things.{i}", set(said.split())
            colour = (f"{path}.colour",) if thing.colour in words else ()
            side = (f"{path}.place",) if any(said.endswith(each) for each in say.SIDES[place]) else ()
            return (path, f"{path}.kind", *colour, *side)
    return ()


def _facts_of_title(scene: Scene, title: Title, dice: Dice) -> Iterator[Fact]:
    named = [name for name in ("size", "colour", "font", "outline", "plate", "place") if dice.chance(0.4)]
    named = [name for name in named if getattr(title, name) != "none" and shows(scene, f"title.{name}")]
    words = naming.title_how(title, named, dice)
    yield Fact("title", "is", words, ("title", "title.text", *(f"title.{name}" for name in named)))


def _compose(scene: Scene, facts: list[Fact], dice: Dice, typos: bool) -> str:
    held: list[str] = []
    form = dice.stream("form")
    people = [
        _person(scene, i, [fact for fact in facts if fact.part == f"characters.{i}"], dice.stream("noun", i))
        for i in range(len(scene.characters))
    ]
    people = [each for each in people if each]
    things = [fact.words for fact in facts if fact.part.startswith("things")]
    marks = [fact.words for fact in facts if fact.part.startswith("marks")]
    said = {fact.slot: fact.words for fact in facts if fact.part == "scene"}
    place = " ".join(said[name] for name in ("where", "when", "blur") if name in said)
    title = []
    for fact in facts:
        if fact.part == "title" and scene.title is not None:
            marking = quotation_marks([scene.title.text], dice.stream("marks"))
            text = hold(held, quoted(scene.title.text, marking, dice.stream("lines")))
            noun = dice.stream("noun").choice(("the title", "the text", "the words", "a title saying"))
            title.append(f"{noun} {text}{fact.words}")
    shown = " and ".join(people) if len(people) > 1 else "".join(people)
    if shown and things and form.chance(0.4):
        shown, things = f"{shown}, with {' and '.join(things)}", []
    parts = [shown, *things, place]
    if form.chance(0.3):
        parts = [place, shown, *things]
    parts = [*parts, *title, *marks] if form.chance(0.8) else [*title, *parts, *marks]
    parts = [part for part in parts if part]
    if "look" in said:
        parts.append(said["look"])
    text = ", ".join(parts)
    if "style" in said:
        text = _styled(text, said["style"], form)
    return finish(_opening(form) + text if text else form.choice(("a picture", "an image")), held, dice, typos=typos)


def _styled(text: str, style: str, dice: Dice) -> str:
    if not text:
        return dice.choice((say.a_style(style), f"a picture in {style} style"))
    if text.startswith(("a ", "an ")) and dice.chance(0.5):
        return f"{say.a_style(style)} of {text}"
    return dice.choice((f"{style} style, {text}", f"{text}, {style} style", f"{text}, as {say.a_style(style)}"))


def _opening(dice: Dice) -> str:
    return dice.weighted({"": 14, "a thumbnail: ": 1, "thumbnail, ": 1, "make a picture: ": 1, "draw ": 0.0})


def _person(scene: Scene, index: int, facts: list[Fact], dice: Dice) -> str:
    """One person: "a happy host with short hair, wearing a red cap and a blue hoodie, waving on the left"."""
    if not facts:
        return ""
    said: dict[str, list[str]] = {}
    for fact in facts:
        said.setdefault(fact.slot, []).append(fact.words)
    words = article(" ".join([*said.get("adjective", ()), dice.choice(say.PEOPLE)]))
    if "has" in said:
        words += f" with {_listed(said['has'])}"
    if "wears" in said:
        words += f"{',' if 'has' in said else ''} {dice.choice(('wearing', 'in'))} {_listed(said['wears'])}"
    if "chest" in said:
        words += f"{' and' if 'has' in said or 'wears' in said else ' with'} {said['chest'][0]}"
    if "does" in said:
        words += f"{',' if 'has' in said or 'wears' in said or 'chest' in said else ''} {' and '.join(said['does'])}"
    if len(scene.characters) > 1:
        return f"{words} {say.SIDES[scene.characters[index].place][0]}"
    return words + (f" {said['stands'][0]}" if "stands" in said else "")


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
