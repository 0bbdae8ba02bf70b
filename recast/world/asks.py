"""Asks: one change to one scene each, with the words for it and for the way back. Here those on people.

A maker takes a scene and dice and returns an Ask, or None where the scene has nothing to change so. Whether the
result can be seen, and may be used in training, is for `edits` to judge, which tries again with other dice.

New parts come last, and only the last of several may be removed: so a path means the same part before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recast.world import naming, sample
from recast.world import vocabulary as say
from recast.world.dice import Dice
from recast.world.instructions import Phrase
from recast.world.rules import LOOSE_HAIR, shows
from recast.world.scene import (
    BRIGHT,
    EXPRESSIONS,
    GLASSES,
    HAIR_COLOURS,
    HAIRS,
    HATS,
    HELD,
    LOGOS,
    OUTFITS,
    PLACES,
    POSES,
    SHIRTS,
    Character,
    Scene,
    put,
)
from recast.world.vocabulary import article


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One change: the scene it leads to, the phrase that asks for it, and the phrase that asks for the way back.

    asked, free: paths (see `edits.Edit`). back_asked: what the way back names besides `asked`. contexts: what is shown,
    if it is not the scene alone; base: which of them the rest is kept from. identity: as in `Edit`, if it is not
    "everyone stays who they are".
    """

    phrase: Phrase
    target: Scene
    asked: tuple[str, ...]
    free: tuple[str, ...] = ()
    back: Phrase | None = None
    back_asked: tuple[str, ...] = ()
    contexts: tuple[Scene, ...] = ()
    base: int = 0
    identity: tuple[tuple[int, int, int], ...] | None = None


Maker = Callable[[Scene, Dice], Ask | None]
Slots = Mapping[str, str]


def change(
    scene: Scene,
    dice: Dice,
    name: str,
    options: Sequence[Any],
    phrase: Callable[[Character, Character, Slots, Dice], Phrase],
    *,
    only: Callable[[Character], bool] = lambda character: True,
    same: bool = False,
) -> Ask | None:
    """One attribute of one person becomes another of `options`, or, for an edit that changes nothing, the `same`."""
    fitting = [i for i, each in enumerate(scene.characters) if only(each) and shows(scene, f"characters.{i}.{name}")]
    if not fitting:
        return None
    index = dice.choice(fitting)
    before, path = scene.characters[index], f"characters.{index}.{name}"
    old = getattr(before, name)
    after = before if same else replace(before, **{name: dice.choice([each for each in options if each != old])})
    target = put(scene, f"characters.{index}", after)
    kind, slots = phrase(before, after, naming.owner(scene, index, dice.stream("owner")), dice.stream("to"))
    if same:
        return Ask(phrase=(kind, without_old(slots)), target=target, asked=(path,))
    back = phrase(after, before, naming.owner(target, index, dice.stream("back owner")), dice.stream("back"))
    return Ask(phrase=(kind, slots), target=target, asked=(path,), back=back)


def without_old(slots: Slots) -> dict[str, str]:
    return {name: said for name, said in slots.items() if not name.startswith("old")}


# People: the attributes that everyone has.


def shirt_colour(scene: Scene, dice: Dice, same: bool = False) -> Ask | None:
    def phrase(old: Character, new: Character, own: Slots, dice: Dice) -> Phrase:
        return "shirt colour", {**own, "shirt": naming.shirt(old, dice), "old": old.shirt, "new": new.shirt}

    return change(scene, dice, "shirt", SHIRTS, phrase, same=same)


def outfit(scene: Scene, dice: Dice, same: bool = False) -> Ask | None:
    def phrase(old: Character, new: Character, own: Slots, dice: Dice) -> Phrase:
        names = {"t-shirt": ("plain t-shirt",), "striped t-shirt": say.OUTFITS["striped t-shirt"]}
        said = [dice.choice(names.get(each.outfit, say.OUTFITS[each.outfit])) for each in (old, new)]
        return "outfit", {**own, "old": said[0], "new": said[1]}

    made = change(scene, dice, "outfit", OUTFITS, phrase, same=same)
    if made is None or same:
        return made
    return replace(made, free=(f"{made.asked[0].rpartition('.')[0]}.shirt",))  # a hoodie, but of which colour?


def outfit_and_colour(scene: Scene, dice: Dice) -> Ask | None:
    first = outfit(scene, dice.stream("outfit"))
    if first is None or scene.look == "black and white":
        return None
    path = first.asked[0].rsplit(".", 1)[0]
    index = int(path[-1])
    before, after = scene.characters[index], first.target.characters[index]
    after = replace(after, shirt=dice.choice([each for each in SHIRTS if each != before.shirt]))
    said = [naming.clothes(each, dice, plainly=True) for each in (before, after)]
    own = naming.owner(scene, index, dice)
    return Ask(
        phrase=("outfit and colour", {**own, "new": said[1], "old": said[0].split(" ", 1)[1]}),
        back=("outfit and colour", {**own, "new": said[0], "old": said[1].split(" ", 1)[1]}),
        target=put(scene, path, after),
        asked=(f"{path}.outfit", f"{path}.shirt"),
    )


def hair_colour(scene: Scene, dice: Dice, same: bool = False) -> Ask | None:
    def phrase(old: Character, new: Character, own: Slots, dice: Dice) -> Phrase:
        hair = "hair and beard" if old.beard else "hair"  # one colour for both
        return "hair colour", {**own, "hair": hair, "old": old.hair_colour, "new": new.hair_colour}

    has_hair = lambda each: each.hair != "bald" and (each.hat == "none" or each.hair in LOOSE_HAIR)  # noqa: E731
    return change(scene, dice, "hair_colour", tuple(HAIR_COLOURS), phrase, only=has_hair, same=same)


def hair_style(scene: Scene, dice: Dice, same: bool = False) -> Ask | None:
    def phrase(old: Character, new: Character, own: Slots, dice: Dice) -> Phrase:
        return "hair style", {
            **own,
            "old": say.HAIR[old.hair][0].removeprefix("a "),
            "new": dice.choice(say.HAIR[new.hair]),
        }

    # From bald to hair, nothing in the picture says which colour: that is not this edit.
    return change(scene, dice, "hair", HAIRS[:-1], phrase, only=lambda each: each.hair != "bald", same=same)


def expression(scene: Scene, dice: Dice, same: bool = False) -> Ask | None:
    def phrase(old: Character, new: Character, own: Slots, dice: Dice) -> Phrase:
        said = [dice.choice(say.EXPRESSIONS[each.expression]) for each in (old, new)]
        return "expression", {**own, "old": said[0], "new": said[1]}

    return change(scene, dice, "expression", EXPRESSIONS, phrase, same=same)


def pose(scene: Scene, dice: Dice, same: bool = False) -> Ask | None:
    def phrase(old: Character, new: Character, own: Slots, dice: Dice) -> Phrase:
        slots = {"old": say.POSES[old.pose][0], "new": dice.choice(say.POSES[new.pose])}
        return "pose", {**own, **slots, "verb": dice.choice(say.POSE_VERBS[new.pose])}

    return change(scene, dice, "pose", POSES, phrase, same=same)


def move_person(scene: Scene, dice: Dice) -> Ask | None:
    def phrase(old: Character, new: Character, own: Slots, dice: Dice) -> Phrase:
        towards, there = dice.choice(say.TOWARDS[new.place]), dice.choice(say.SIDES[new.place])
        return "move person", {**own, "old": old.place, "new": there, "towards": towards}

    made = change(scene, dice, "place", PLACES, phrase) if len(scene.characters) == 1 else None
    return made and replace(made, free=("characters.0.dx",))  # how far, the words do not say


# People: what they may have or not.


def _beard(wanted: bool) -> Maker:
    def maker(scene: Scene, dice: Dice) -> Ask | None:
        def phrase(old: Character, new: Character, own: Slots, dice: Dice) -> Phrase:
            return "add beard" if new.beard else "shave beard", own

        return change(scene, dice, "beard", (wanted,), phrase, only=lambda each: each.beard != wanted)

    return maker


def _worn(name: str, values: Sequence[str], phrase: Callable[..., Phrase]) -> dict[str, Maker]:
    """Makers that add, exchange and remove what may be worn or held, `phrase` saying each of the three."""
    some, colour = tuple(values[1:]), f"{name}_colour"

    def add(scene: Scene, dice: Dice) -> Ask | None:
        made = change(scene, dice, name, some, phrase, only=lambda each: getattr(each, name) == "none")
        return _coloured(made, scene, dice)

    def other(scene: Scene, dice: Dice) -> Ask | None:
        made = change(scene, dice, name, some, phrase, only=lambda each: getattr(each, name) != "none")
        return made and replace(made, free=_colour_of(made))  # of the new one the words do not say the colour

    def remove(scene: Scene, dice: Dice) -> Ask | None:
        made = change(scene, dice, name, ("none",), phrase, only=lambda each: getattr(each, name) != "none")
        return made and replace(made, back_asked=_colour_of(made))  # the way back names what was there in full

    def _colour_of(made: Ask) -> tuple[str, ...]:
        return () if name == "glasses" else (f"{made.asked[0]}_colour",)

    def recolour(scene: Scene, dice: Dice) -> Ask | None:
        return change(scene, dice, colour, BRIGHT, phrase, only=lambda each: getattr(each, name) != "none")

    def _coloured(made: Ask | None, scene: Scene, dice: Dice) -> Ask | None:
        if made is None or name == "glasses":
            return made
        path = made.asked[0].rsplit(".", 1)[0]
        index = int(path[-1])
        drawn = dice.stream("colour")
        target = put(made.target, f"{path}.{colour}", drawn.choice(BRIGHT))
        named = drawn.chance(0.7) and scene.look != "black and white"
        own = naming.owner(scene, index, dice.stream("owner"))
        said = phrase(scene.characters[index], target.characters[index], own, dice.stream("to"), coloured=named)
        paths = (made.asked[0], f"{path}.{colour}")
        return replace(
            made, phrase=said, target=target, asked=paths if named else paths[:1], free=() if named else paths[1:]
        )

    return {"add": add, "other": other, "remove": remove, "recolour": recolour}


def _glasses_phrase(old: Character, new: Character, own: Slots, dice: Dice) -> Phrase:
    if new.glasses == "none":
        return "remove glasses", {**own, "old": dice.choice(say.GLASSES[old.glasses])}
    slots = {**own, "new": dice.choice(say.GLASSES[new.glasses])}
    if old.glasses == "none":
        return "add glasses", slots
    return "other glasses", {**slots, "old": dice.choice(say.GLASSES[old.glasses])}


def _hat_phrase(old: Character, new: Character, own: Slots, dice: Dice, *, coloured: bool = True) -> Phrase:
    if new.hat == "none":
        return "remove hat", {**own, "old": dice.choice(say.HATS[old.hat])}
    if old.hat == new.hat:
        return "hat colour", {**own, "hat": _hat_word(new), "old": old.hat_colour, "new": new.hat_colour}
    if old.hat == "none":
        return "add hat", {**own, "a_new": article(naming.hat(new, dice, coloured=coloured))}
    a_new = article(naming.hat(new, dice, coloured=False))
    return "other hat", {**own, "old": dice.choice(say.HATS[old.hat]), "a_new": a_new}


def _hat_word(character: Character) -> str:
    return "crown gems" if character.hat == "crown" else character.hat


def _logo_phrase(old: Character, new: Character, own: Slots, dice: Dice, *, coloured: bool = True) -> Phrase:
    slots = {**own, "shirt": naming.shirt(old, dice)}
    if new.logo == "none":
        return "remove logo", {**slots, "old": old.logo}
    if old.logo == new.logo:
        return "logo colour", {**slots, "logo": new.logo, "old": old.logo_colour, "new": new.logo_colour}
    if old.logo == "none":
        word = new.logo + dice.choice(("", " logo", " symbol"))
        return "add logo", {**slots, "a_new": article(f"{new.logo_colour} {word}" if coloured else word)}
    return "other logo", {**slots, "old": old.logo, "a_new": article(new.logo)}


def _hold_phrase(old: Character, new: Character, own: Slots, dice: Dice, *, coloured: bool = True) -> Phrase:
    if new.holding == "none":
        return "let go", {**own, "old": old.holding}
    if old.holding == new.holding:
        return "held colour", {**own, "held": new.holding, "old": old.holding_colour, "new": new.holding_colour}
    a_new = article(f"{new.holding_colour} {new.holding}" if coloured else new.holding)
    if old.holding == "none":
        return "hold", {**own, "a_new": a_new}
    return "hold other", {**own, "old": old.holding, "a_new": article(new.holding)}


def glasses_already(scene: Scene, dice: Dice, same: bool = True) -> Ask | None:
    def phrase(old: Character, new: Character, own: Slots, dice: Dice) -> Phrase:
        return "add glasses", {**own, "new": dice.choice(say.GLASSES[new.glasses])}

    return change(scene, dice, "glasses", GLASSES, phrase, only=lambda each: each.glasses != "none", same=same)


def add_person(scene: Scene, dice: Dice) -> Ask | None:
    if len(scene.characters) > 1 or scene.things or any(each.place == "center" for each in scene.characters):
        return None
    taken = [each.place for each in scene.characters]
    place = dice.choice([each for each in (("left", "right") if taken else PLACES) if each not in taken])
    new = sample.person(dice.stream("person"), place, busy=0.2)
    path = f"characters.{len(taken)}"
    target = replace(scene, characters=(*scene.characters, replace(new, scale=min(new.scale, 60 / 64))))
    named = [name for name in ("expression", "hair", "shirt") if dice.chance(0.6)]
    named = [name for name in named if shows(target, f"{path}.{name}")]
    words = article(
        " ".join(([dice.choice(say.EXPRESSIONS[new.expression])] if "expression" in named else []) + ["person"])
    )
    words += f" with {dice.choice(say.HAIR[new.hair])}" if "hair" in named else ""
    words += f" in {article(new.shirt)} {naming.shirt(new, dice)}" if "shirt" in named else ""
    if "shirt" in named and new.outfit != "t-shirt":  # "a shirt" says nothing of the outfit
        named.append("outfit")
    slots = {"a_new": words, "where": dice.choice(say.SIDES[place])}
    return Ask(
        phrase=("add person", slots),
        target=target,
        asked=(path, f"{path}.place", *(f"{path}.{name}" for name in named)),
        free=(path,),
        back=("remove person", naming.owner(target, len(taken), dice)),
    )


def remove_person(scene: Scene, dice: Dice) -> Ask | None:
    if len(scene.characters) != 2:
        return None
    slots = naming.owner(scene, 1, dice)
    return Ask(
        phrase=("remove person", slots), target=replace(scene, characters=scene.characters[:1]), asked=("characters.1",)
    )


_GLASSES = _worn("glasses", GLASSES, _glasses_phrase)
_HAT = _worn("hat", HATS, _hat_phrase)
_LOGO = _worn("logo", ("none", *LOGOS), _logo_phrase)
_HOLD = _worn("holding", HELD, _hold_phrase)

PEOPLE: dict[str, Maker] = {
    "shirt colour": shirt_colour,
    "outfit": outfit,
    "outfit and colour": outfit_and_colour,
    "hair colour": hair_colour,
    "hair style": hair_style,
    "add beard": _beard(True),
    "shave beard": _beard(False),
    "add glasses": _GLASSES["add"],
    "other glasses": _GLASSES["other"],
    "remove glasses": _GLASSES["remove"],
    "add hat": _HAT["add"],
    "other hat": _HAT["other"],
    "hat colour": _HAT["recolour"],
    "remove hat": _HAT["remove"],
    "add logo": _LOGO["add"],
    "other logo": _LOGO["other"],
    "logo colour": _LOGO["recolour"],
    "remove logo": _LOGO["remove"],
    "expression": expression,
    "pose": pose,
    "hold": _HOLD["add"],
    "hold other": _HOLD["other"],
    "held colour": _HOLD["recolour"],
    "let go": _HOLD["remove"],
    "move person": move_person,
    "add person": add_person,
    "remove person": remove_person,
}
ALREADY: tuple[Callable[..., Ask | None], ...] = (
    shirt_colour, outfit, hair_colour, hair_style, expression, pose, glasses_already,
)  # fmt: skip
"""Makers that can also ask for what already holds."""
