"""Asks on things, and on the background behind everything. See `asks`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from recast.world import naming, sample
from recast.world import vocabulary as say
from recast.world.asks import Ask, Maker, without_old
from recast.world.dice import Dice
from recast.world.instructions import Phrase
from recast.world.rules import shows
from recast.world.scene import (
    BACKGROUNDS,
    BRIGHT,
    PHOTOGRAPHS,
    PLACES,
    SIZES,
    THINGS,
    TIMELESS,
    TIMES,
    VARIANTS,
    Scene,
    put,
)


def add_thing(scene: Scene, dice: Dice) -> Ask | None:
    new = sample.thing(dice.stream("thing"), dice.choice(PLACES))
    path = f"things.{len(scene.things)}"
    named = {name for name in ("colour", "size") if dice.chance(0.75 if name == "colour" else 0.35)}
    if scene.look == "black and white":
        named.discard("colour")
    target = replace(scene, things=(*scene.things, new))
    slots = {"a_new": naming.a_thing(new, named, dice), "where": dice.choice(say.SIDES[new.place])}
    free = {"dx", "colour", "size"} - named
    return Ask(
        phrase=("add thing", slots),
        target=target,
        asked=(path, *(f"{path}.{name}" for name in ("kind", "colour", "size", "place") if name not in free)),
        free=tuple(f"{path}.{name}" for name in ("dx", "colour", "size") if name in free),
        back=("remove thing", {"old": naming.the_thing(target, len(scene.things), dice)}),
    )


def remove_thing(scene: Scene, dice: Dice) -> Ask | None:
    if not scene.things:
        return None
    index = len(scene.things) - 1
    slots = {"old": naming.the_thing(scene, index, dice)}
    return Ask(
        phrase=("remove thing", slots), target=replace(scene, things=scene.things[:-1]), asked=(f"things.{index}",)
    )


def replace_thing(scene: Scene, dice: Dice) -> Ask | None:
    if not scene.things:
        return None
    index = dice.below(len(scene.things))
    old = scene.things[index]
    new = replace(old, kind=dice.choice([each for each in THINGS if each != old.kind]))
    named = dice.chance(0.5) and scene.look != "black and white"
    if named:
        new = replace(new, colour=dice.choice(BRIGHT))
    target = put(scene, f"things.{index}", new)
    colours = {"colour"} if named else set()
    return Ask(
        phrase=("replace thing", _exchange(scene, index, naming.a_thing(new, colours, dice), dice)),
        target=target,
        asked=(f"things.{index}.kind", *([f"things.{index}.colour"] if named else [])),
        free=() if named else (f"things.{index}.colour",),
        back=("replace thing", _exchange(target, index, naming.a_thing(old, colours, dice), dice)),
    )


def _exchange(scene: Scene, index: int, a_new: str, dice: Dice) -> dict[str, str]:
    return {"old": naming.the_thing(scene, index, dice), "a_new": a_new}


def change_thing(
    scene: Scene,
    dice: Dice,
    name: str,
    options: Sequence[str],
    phrase: Callable[[str, str, str, Dice], Phrase],
    *,
    same: bool = False,
) -> Ask | None:
    """One attribute of one thing becomes another; `phrase` is told its name in the scene, the old and the new value."""
    shown = [i for i in range(len(scene.things)) if shows(scene, f"things.{i}.{name}")]
    if not shown:
        return None
    index = dice.choice(shown)
    path = f"things.{index}.{name}"
    old = getattr(scene.things[index], name)
    new = old if same else dice.choice([each for each in options if each != old])
    target = put(scene, path, new)
    kind, slots = phrase(naming.the_thing(scene, index, dice), old, new, dice.stream("to"))
    if same:
        return Ask(phrase=(kind, without_old(slots)), target=target, asked=(path,))
    back = phrase(naming.the_thing(target, index, dice), new, old, dice.stream("back"))
    return Ask(phrase=(kind, slots), target=target, asked=(path,), back=back)


def thing_colour(scene: Scene, dice: Dice, same: bool = False) -> Ask | None:
    def phrase(thing: str, old: str, new: str, dice: Dice) -> Phrase:
        return "thing colour", {"thing": thing, "old": old, "new": new}

    return change_thing(scene, dice, "colour", BRIGHT, phrase, same=same)


def thing_size(scene: Scene, dice: Dice) -> Ask | None:
    def phrase(thing: str, old: str, new: str, dice: Dice) -> Phrase:
        return "thing size", {
            "thing": thing,
            "old": old,
            "new": new,
            "newer": {"big": "bigger", "small": "smaller"}[new],
        }

    return change_thing(scene, dice, "size", SIZES, phrase) if scene.background != "plain" else None


def move_thing(scene: Scene, dice: Dice) -> Ask | None:
    def phrase(thing: str, old: str, new: str, dice: Dice) -> Phrase:
        return "move thing", {
            "thing": thing,
            "new": dice.choice(say.SIDES[new]),
            "towards": dice.choice(say.TOWARDS[new]),
        }

    made = change_thing(scene, dice, "place", PLACES, phrase) if scene.background != "plain" else None
    return made and replace(made, free=(f"{made.asked[0].rpartition('.')[0]}.dx",))  # how far, the words do not say


# The background behind them.


def background(scene: Scene, dice: Dice, choices: Sequence[str] = BACKGROUNDS, *, timed: bool = False) -> Ask | None:
    """Another background; with `timed`, at a time that is said, otherwise at the same time if the new one has any."""
    if scene.background == "photograph" or not (scene.characters or scene.things):
        return None
    new = dice.choice([each for each in choices if each != scene.background and not (timed and each in TIMELESS)])
    time = dice.choice(TIMES) if timed else "day" if new in TIMELESS else scene.time
    variant = dice.below(VARIANTS if new in BACKGROUNDS else sample.PHOTO_VARIANTS)
    target = replace(scene, background=new, time=time, variant=variant, blur=scene.blur and new not in TIMELESS)
    slots = {"new": dice.choice(say.BACKGROUNDS[new]), "where": dice.choice(say.WHERE[new])}
    if timed:
        kind, slots = "background and time", {**slots, "when": dice.choice(say.WHEN[time])}
    elif new in PHOTOGRAPHS:
        kind = "photo background"
    else:
        kind, slots = "background", {**slots, "old": dice.choice(say.BACKGROUNDS[scene.background])}
    lost = tuple(name for name in ("time", "blur") if getattr(scene, name) != getattr(target, name) and not timed)
    free = ("variant", *lost, *(("blur",) if timed and scene.blur != target.blur else ()))
    asked = ("background", "time") if timed else ("background",)
    return Ask(phrase=(kind, slots), target=target, asked=asked, free=free)


OBJECTS: dict[str, Maker] = {
    "add thing": add_thing,
    "remove thing": remove_thing,
    "replace thing": replace_thing,
    "thing colour": thing_colour,
    "thing size": thing_size,
    "move thing": move_thing,
}
GROUNDS: dict[str, Maker] = {
    "background": background,
    "background and time": lambda scene, dice: background(scene, dice, timed=True),
    "photo background": lambda scene, dice: background(scene, dice, PHOTOGRAPHS),
}
