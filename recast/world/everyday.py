"""Asks for what a thumbnail maker wants every day, of drawings and of real photographs alike.

Titles, arrows, circles, borders, stickers and corner logos; night, sunset and winter; looks, styles and blur. None of
them needs to know what is in the picture, so all of them work on `Scene(background="photograph")`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

from recast.world import naming, sample, titles
from recast.world import vocabulary as say
from recast.world.asks import Ask, Maker, Slots
from recast.world.dice import Dice
from recast.world.instructions import Phrase
from recast.world.lettering import FONTS
from recast.world.rules import CONTRAST, luma, shows
from recast.world.scene import (
    BRIGHT,
    LETTERS,
    LOOKS,
    PLACES,
    STYLES,
    TILTS,
    TIMELESS,
    TIMES,
    TITLE_PLACES,
    TITLE_SIZES,
    Mark,
    Scene,
    Title,
    put,
)
from recast.world.vocabulary import article


def add_title(scene: Scene, dice: Dice) -> Ask | None:
    if scene.title is not None:
        return None
    new = sample.title(dice.stream("title"), scene)
    drawn = dice.stream("named")
    named = [name for name in naming.TITLE_WORDS if drawn.chance(0.35) and getattr(new, name) != "none"]
    slots = {**_noun(dice), "quote": new.text, "how": naming.title_how(new, named, dice.stream("how"))}
    return Ask(
        phrase=("add title", slots),
        target=replace(scene, title=new),
        asked=("title", "title.text", *(f"title.{name}" for name in named)),
        free=tuple(f"title.{each.name}" for each in fields(Title) if each.name not in ("text", *named)),
        back=("remove title", {**_noun(dice), "old_quote": new.text}),
    )


def change_title(scene: Scene, dice: Dice) -> Ask | None:
    return _retitle(scene, "change title", lambda old: titles.text(dice.stream("text")), dice)


def one_letter(scene: Scene, dice: Dice) -> Ask | None:
    return _retitle(scene, "one letter", lambda old: titles.one_letter_off(old, dice.stream("letter")), dice)


def _retitle(scene: Scene, kind: str, change: Callable[[str], str], dice: Dice) -> Ask | None:
    if scene.title is None:
        return None
    old = scene.title.text
    new = change(old)
    if new == old:
        return None
    noun = _noun(dice)
    return Ask(
        phrase=(kind, {**noun, "quote": new, "old_quote": old}),
        target=put(scene, "title.text", new),
        asked=("title.text",),
        back=(kind, {**noun, "quote": old, "old_quote": new}),
    )


def title_already(scene: Scene, dice: Dice, same: bool = True) -> Ask | None:
    """Asks for the title that is there."""
    if scene.title is None:
        return None
    return Ask(phrase=("change title", {**_noun(dice), "quote": scene.title.text}), target=scene, asked=("title.text",))


def remove_title(scene: Scene, dice: Dice) -> Ask | None:
    if scene.title is None:
        return None
    slots = {**_noun(dice), "old_quote": scene.title.text}
    return Ask(phrase=("remove title", slots), target=replace(scene, title=None), asked=("title",))


def _title(kind: str, name: str, options: Sequence[object], words: Callable[[object, Dice], Slots]) -> Maker:
    """A maker that changes one attribute of the title; `words` gives the slots that say a value."""

    def maker(scene: Scene, dice: Dice) -> Ask | None:
        if scene.title is None or getattr(scene.title, name) not in options or not shows(scene, f"title.{name}"):
            return None
        old = getattr(scene.title, name)
        new = dice.choice([each for each in options if each != old])
        noun = {**_noun(dice), "quote": scene.title.text}
        forth, back = words(new, dice.stream("new")), words(old, dice.stream("old"))
        said = {"old": back["new"]} if name not in ("place", "tilt", "font") else {}
        said_back = {"old": forth["new"]} if said else {}
        return Ask(
            phrase=(kind, {**noun, **forth, **said}),
            target=put(scene, f"title.{name}", new),
            asked=(f"title.{name}",),
            back=(kind, {**noun, **back, **said_back}),
        )

    return maker


def _plain(value: object, dice: Dice) -> Slots:
    return {"new": str(value)}


def _place(value: object, dice: Dice) -> Slots:
    return {"new": dice.choice(say.TITLE_PLACES[str(value)]), "towards": dice.choice(say.TITLE_TOWARDS[str(value)])}


def _side(value: object, dice: Dice) -> Slots:
    side, towards = dice.choice(say.TITLE_SIDES[str(value)]), dice.choice(say.TITLE_SIDEWAYS[str(value)])
    return {"new": str(value), "side": side, "towards": towards}


def _tilt(value: object, dice: Dice) -> Slots:
    return {"new": dice.choice(say.TILTED[str(value)])}


def _font(value: object, dice: Dice) -> Slots:
    return {"new": naming.font(str(value), dice)}


def add_plate(scene: Scene, dice: Dice) -> Ask | None:
    if scene.title is None or scene.title.plate != "none":
        return None
    new = dice.choice([each for each in LETTERS if abs(luma(each) - luma(scene.title.colour)) >= CONTRAST])
    noun = {**_noun(dice), "quote": scene.title.text}
    return Ask(
        phrase=("add plate", {**noun, "new": new}),
        target=put(scene, "title.plate", new),
        asked=("title.plate",),
        back=("remove plate", {**noun, "old": new}),
    )


def remove_plate(scene: Scene, dice: Dice) -> Ask | None:
    if scene.title is None or scene.title.plate == "none":
        return None
    noun, old = {**_noun(dice), "quote": scene.title.text}, scene.title.plate
    return Ask(
        phrase=("remove plate", {**noun, "old": old}),
        target=put(scene, "title.plate", "none"),
        asked=("title.plate",),
        back=("add plate", {**noun, "new": old}),
    )


def _noun(dice: Dice) -> dict[str, str]:
    return {"title": dice.choice(say.TITLES)}


# Marks.


def add_mark(scene: Scene, dice: Dice, kind: str) -> Ask | None:
    new = sample.mark(dice.stream("mark"), kind, scene)
    coloured = dice.chance(0.75)
    words = article(naming.graphic(new, dice, coloured=coloured, placed=False))
    slots = {"a_new": words} | ({"colour": new.colour} if coloured else {})
    if kind in ("arrow", "circle"):
        at = naming.at_place(scene, new.place, dice)
        slots["at"] = f"at {at}" if kind == "arrow" else at
    elif " " in new.place:
        slots["corner"] = new.place
    path = f"marks.{len(scene.marks)}"
    named = ["kind", *(["shape"] if kind in ("sticker", "logo") else []), *(["colour"] if coloured else [])]
    target = replace(scene, marks=(*scene.marks, new))
    return Ask(
        phrase=("add corner logo" if kind == "logo" else f"add {kind}", slots),
        target=target,
        asked=(path, *(f"{path}.{name}" for name in named), f"{path}.place"),
        free=() if coloured else (f"{path}.colour",),
        back=("remove mark", {"mark": naming.the_mark(target, new, dice)}),
    )


def mark_colour(scene: Scene, dice: Dice) -> Ask | None:
    if not scene.marks or scene.background == "plain":
        return None
    index = dice.below(len(scene.marks))
    mark = scene.marks[index]
    new = dice.choice([each for each in BRIGHT if each != mark.colour])
    name = naming.the_mark(scene, mark, dice)
    return Ask(
        phrase=("mark colour", {"mark": name, "old": mark.colour, "new": new}),
        target=put(scene, f"marks.{index}.colour", new),
        asked=(f"marks.{index}.colour",),
        back=("mark colour", {"mark": name, "old": new, "new": mark.colour}),
    )


def remove_mark(scene: Scene, dice: Dice) -> Ask | None:
    if not scene.marks or scene.background == "plain":
        return None
    last = scene.marks[-1]
    return Ask(
        phrase=("remove mark", {"mark": naming.the_mark(scene, last, dice)}),
        target=replace(scene, marks=scene.marks[:-1]),
        asked=(f"marks.{len(scene.marks) - 1}",),
        back_asked=_named_again(last, f"marks.{len(scene.marks) - 1}"),
        back=_add_again(scene, last, dice) if last.kind in ("sticker", "logo", "border") else None,
    )


def _named_again(mark: Mark, path: str) -> tuple[str, ...]:
    """What `_add_again` says of the mark."""
    return tuple(
        f"{path}.{name}" for name in ("kind", "colour", *(() if mark.kind == "border" else ("shape", "place")))
    )


def _add_again(scene: Scene, mark: Mark, dice: Dice) -> Phrase:
    slots = {"a_new": article(naming.graphic(mark, dice, placed=False)), "corner": mark.place}
    return "add corner logo" if mark.kind == "logo" else f"add {mark.kind}", slots


# The whole picture.


def time(scene: Scene, dice: Dice) -> Ask | None:
    """Another time of day or season; of photographs, which are never made day again, only from day."""
    if scene.background in TIMELESS or (not scene.is_drawn and scene.time != "day"):
        return None
    new = dice.choice([each for each in TIMES if each != scene.time])
    back: Phrase | None = (scene.time, {}) if scene.is_drawn else None
    return Ask(phrase=(new, {}), target=replace(scene, time=new), asked=("time",), back=back)


def look(scene: Scene, dice: Dice) -> Ask | None:
    if scene.look != "none":
        return None
    new = dice.choice(LOOKS[1:])
    return Ask(phrase=(new, {}), target=replace(scene, look=new), asked=("look",))


def blur(scene: Scene, dice: Dice) -> Ask | None:
    if scene.blur or scene.background in (*TIMELESS, "clouds"):
        return None
    return Ask(phrase=("blur", {}), target=replace(scene, blur=True), asked=("blur",))


def style(scene: Scene, dice: Dice) -> Ask | None:
    if scene.style != "flat":
        return None
    new = dice.choice(STYLES[1:])
    name = dice.choice(say.STYLES[new])
    return Ask(
        phrase=("style", {"new": name, "a_new": say.a_style(name)}), target=replace(scene, style=new), asked=("style",)
    )


def style_already(scene: Scene, dice: Dice, same: bool = True) -> Ask | None:
    """Asks for the style, look or time that the picture has."""
    if scene.style != "flat":
        name = dice.choice(say.STYLES[scene.style])
        return Ask(phrase=("style", {"new": name, "a_new": say.a_style(name)}), target=scene, asked=("style",))
    if scene.look == "black and white":
        return Ask(phrase=("black and white", {}), target=scene, asked=("look",))
    if scene.background in TIMELESS or scene.background == "photograph":
        return None
    return Ask(phrase=(scene.time, {}), target=scene, asked=("time",))


def _mark_maker(kind: str) -> Maker:
    return lambda scene, dice: add_mark(scene, dice, kind) if scene.background != "plain" else None


MARKS: dict[str, Maker] = {
    "add arrow": _mark_maker("arrow"),
    "add circle": _mark_maker("circle"),
    "add border": _mark_maker("border"),
    "add sticker": _mark_maker("sticker"),
    "add corner logo": _mark_maker("logo"),
    "mark colour": mark_colour,
    "remove mark": remove_mark,
}
FINISH: dict[str, Maker] = {"time": time, "look": look, "blur": blur}
TEXT: dict[str, Maker] = {
    "add title": add_title,
    "change title": change_title,
    "one letter": one_letter,
    "remove title": remove_title,
    "title colour": _title("title colour", "colour", LETTERS, _plain),
    "title place": _title("title place", "place", TITLE_PLACES, _place),
    "title side": _title("title side", "align", PLACES, _side),
    "title font": _title("title font", "font", tuple(FONTS), _font),
    "title outline": _title("title outline", "outline", LETTERS, _plain),
    "title size": _title("title size", "size", TITLE_SIZES, _plain),
    "title tilt": _title("title tilt", "tilt", TILTS, _tilt),
    "add plate": add_plate,
    "plate colour": _title("plate colour", "plate", LETTERS, _plain),
    "remove plate": remove_plate,
}
STYLE: dict[str, Maker] = {"style": style}
