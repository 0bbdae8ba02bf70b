"""Asks that take something from a second picture, or the same person into a new one.

All of them show at least one other scene, or leave the one shown behind: what must be the same is not the pixels but
the person, the logo, the thing or the style.
"""

from __future__ import annotations

from dataclasses import replace

from recast.world import naming, sample
from recast.world import vocabulary as say
from recast.world.asks import Ask, Maker
from recast.world.dice import Dice
from recast.world.scene import (
    BACKGROUNDS,
    BRIGHT,
    CORNERS,
    EXPRESSIONS,
    LOGOS,
    OUTFITS,
    PLACES,
    POSES,
    SHIRTS,
    STYLES,
    TIMELESS,
    VARIANTS,
    Character,
    Mark,
    Scene,
    Thing,
)

PERSON_IS_FREE = tuple(f"characters.0.{name}" for name in ("place", "dx", "dy", "scale"))


def plain(scene: Scene, dice: Dice) -> Scene:
    """The scene with nothing in it but its people: what a picture of one person is."""
    return replace(scene, things=(), marks=(), title=None, look="none", style="flat", blur=False)


def _one(dice: Dice) -> dict[str, str]:
    """What the two pictures are called."""
    noun, form = dice.choice(say.PICTURES), dice.choice(("number", "ordinal"))
    if form == "number":
        return {"one": f"{noun} 1", "two": f"{noun} 2"}
    return {"one": f"the first {noun}", "two": f"the second {noun}"}


def _place(dice: Dice) -> tuple[Scene, dict[str, str]]:
    """An empty scene at a new place, and slots for its name."""
    background = dice.choice(BACKGROUNDS)
    made = Scene(background=background, variant=dice.below(VARIANTS))
    return made, {"where": dice.choice(say.WHERE[background]), "new": dice.choice(say.BACKGROUNDS[background])}


def _stand(character: Character, place: str, dice: Dice) -> Character:
    """The same person, standing elsewhere."""
    there = sample.person(dice, place)
    return replace(character, place=place, dx=there.dx, dy=there.dy, scale=min(there.scale, 66 / 64))


def elsewhere(scene: Scene, dice: Dice, change: str = "") -> Ask | None:
    """The same person at another place, perhaps with another pose and expression, or in other clothes."""
    if len(scene.characters) != 1 or scene != plain(scene, dice):
        return None
    made, slots = _place(dice.stream("place"))
    before = scene.characters[0]
    after = _stand(before, dice.choice(PLACES), dice.stream("stand"))
    asked = ["background"]
    slots["this"] = dice.choice([f"this {noun}" for noun in say.PEOPLE[:2]] + ["the person in the picture"])
    if change == "doing":
        pose = dice.choice([each for each in POSES[1:] if each != before.pose])
        expression = dice.choice([each for each in EXPRESSIONS if each != before.expression])
        after, doing = replace(after, pose=pose), dice.choice(say.POSES[pose])
        asked.append("characters.0.pose")
        if dice.chance(0.5):
            after = replace(after, expression=expression)
            doing += f" and looking {dice.choice(say.EXPRESSIONS[expression])}"
            asked.append("characters.0.expression")
        slots["doing"] = doing
    elif change == "dressed":
        outfit = dice.choice([each for each in OUTFITS if each != before.outfit])
        shirt = dice.choice([each for each in SHIRTS if each != before.shirt])
        after = replace(after, outfit=outfit, shirt=shirt)
        slots["clothes"] = naming.clothes(after, dice, plainly=True)
        asked += ["characters.0.outfit", "characters.0.shirt"]
    return Ask(
        phrase=(f"person elsewhere {change}".strip(), slots),
        target=replace(made, characters=(after,)),
        asked=tuple(asked),
        free=("variant", "time", *PERSON_IS_FREE),
        identity=((0, 0, 0),),
    )


def sheet_into_scene(scene: Scene, dice: Dice) -> Ask | None:
    """A person shown on a plain ground, in a scene that is described: place, pose, a thing, a title."""
    if len(scene.characters) != 1 or scene != plain(scene, dice) or scene.background != "plain":
        return None
    made, slots = _place(dice.stream("place"))
    place = dice.choice(PLACES)
    after = _stand(scene.characters[0], place, dice.stream("stand"))
    asked, more = ["background", "characters.0.place"], f" {dice.choice(say.SIDES[place])}"
    free = ["variant", *PERSON_IS_FREE[1:]]
    if dice.chance(0.6):
        after = replace(after, pose=dice.choice(POSES[1:]))
        asked.append("characters.0.pose")
        more += f", {dice.choice(say.POSES[after.pose])}"
    made = replace(made, characters=(after,))
    if made.background not in TIMELESS and dice.chance(0.5):
        made = replace(made, time=dice.choice(("night", "sunset", "winter")))
        asked.append("time")
        more += f", {dice.choice(say.WHEN[made.time])}"
    if dice.chance(0.4):
        new = sample.thing(dice.stream("thing"), dice.choice([each for each in PLACES if each != place]))
        made = replace(made, things=(new,))
        asked += ["things.0", "things.0.kind", "things.0.colour", "things.0.place"]
        free += ["things.0.dx", "things.0.size"]
        more += f", with {naming.a_thing(new, {'colour'}, dice)} {dice.choice(say.SIDES[new.place])}"
    if dice.chance(0.4):
        title = sample.title(dice.stream("title"), made)
        made = replace(made, title=title)
        slots["quote"] = title.text
        asked += ["title", "title.text"]
        free += [f"title.{name}" for name in ("font", "colour", "outline", "plate", "size", "place", "align", "tilt")]
        more += f", with the {dice.choice(say.TITLES)} {{quote}}"
    slots["this"] = dice.choice([f"this {noun}" for noun in say.PEOPLE[:2]])
    return Ask(
        phrase=("sheet into scene", {**slots, "more": more}),
        target=made,
        asked=tuple(asked),
        free=tuple(free),
        identity=((0, 0, 0),),
    )


def _sheet(dice: Dice, *, thing: Thing | None = None, logo: Mark | None = None) -> Scene:
    return Scene(
        background="plain",
        variant=dice.below(VARIANTS),
        things=() if thing is None else (replace(thing, place="center", size="big", dx=0.0),),
        marks=() if logo is None else (replace(logo, kind="logo", place="center"),),
    )


def logo_onto_shirt(scene: Scene, dice: Dice) -> Ask | None:
    bare = [i for i, each in enumerate(scene.characters) if each.logo == "none"]
    if not bare or scene.look == "black and white":
        return None
    index = dice.choice(bare)
    mark = Mark(kind="logo", shape=dice.choice(LOGOS), colour=dice.choice(BRIGHT))
    before = scene.characters[index]
    after = replace(before, logo=mark.shape, logo_colour=mark.colour)
    people = tuple(after if i == index else each for i, each in enumerate(scene.characters))
    slots = {**_one(dice), **naming.owner(scene, index, dice), "shirt": naming.shirt(before, dice)}
    return Ask(
        phrase=("logo onto shirt", slots),
        target=replace(scene, characters=people),
        asked=(f"characters.{index}.logo", f"characters.{index}.logo_colour"),
        contexts=(scene, _sheet(dice.stream("sheet"), logo=mark)),
    )


def person_into_place(scene: Scene, dice: Dice) -> Ask | None:
    """The person of one picture in the place of the other, which otherwise stays as it is."""
    if scene.characters or scene.background == "plain":
        return None
    place = dice.choice(PLACES)
    there = sample.person(dice.stream("there"), dice.choice(PLACES))
    if dice.chance(0.5):
        shown = Scene(
            background="plain", variant=dice.below(VARIANTS), characters=(replace(there, place="center", dx=0.0),)
        )
    else:
        shown = replace(_place(dice.stream("place"))[0], characters=(there,))
    after = _stand(shown.characters[0], place, dice.stream("stand"))
    names, base = _one(dice), 1 if dice.chance(0.6) else 0
    if base == 0:
        names = {"one": names["two"], "two": names["one"]}
    return Ask(
        phrase=("person into place", names),
        target=replace(scene, characters=(after,)),
        asked=("characters.0",),
        free=PERSON_IS_FREE,
        contexts=(shown, scene) if base == 1 else (scene, shown),
        base=base,
        identity=((0, 1 - base, 0),),
    )


def thing_into_picture(scene: Scene, dice: Dice) -> Ask | None:
    if scene.look == "black and white":
        return None
    new = sample.thing(dice.stream("thing"), dice.choice(PLACES))
    path = f"things.{len(scene.things)}"
    slots = {**_one(dice), "thing": dice.choice((new.kind, "object")), "where": dice.choice(say.SIDES[new.place])}
    return Ask(
        phrase=("thing into picture", slots),
        target=replace(scene, things=(*scene.things, new)),
        asked=(path, f"{path}.kind", f"{path}.colour", f"{path}.place"),
        free=(f"{path}.dx", f"{path}.size"),
        contexts=(scene, _sheet(dice.stream("sheet"), thing=new)),
    )


def logo_into_corner(scene: Scene, dice: Dice) -> Ask | None:
    mark = Mark(kind="logo", shape=dice.choice(LOGOS), colour=dice.choice(BRIGHT), place=dice.choice(CORNERS))
    if scene.background == "plain":
        return None
    path = f"marks.{len(scene.marks)}"
    return Ask(
        phrase=("logo into corner", {**_one(dice), "corner": mark.place}),
        target=replace(scene, marks=(*scene.marks, mark)),
        asked=(path, *(f"{path}.{name}" for name in ("kind", "shape", "colour", "place"))),
        contexts=(scene, _sheet(dice.stream("sheet"), logo=mark)),
    )


def two_people_together(scene: Scene, dice: Dice) -> Ask | None:
    if len(scene.characters) != 1 or scene != plain(scene, dice):
        return None
    other = Scene(
        background="plain", variant=dice.below(VARIANTS), characters=(sample.person(dice.stream("other"), "center"),)
    )
    made, slots = _place(dice.stream("place"))
    places = dice.shuffled(("left", "right"))
    people = [
        _stand(each.characters[0], place, dice.stream("stand", place))
        for each, place in zip((scene, other), places, strict=True)
    ]
    names = _one(dice)
    said = dice.stream("side").below(2)  # where one of them goes says where the other goes
    slots["side"] = f"the one from {names[('one', 'two')[said]]} {dice.choice(say.SIDES[places[said]])}"
    return Ask(
        phrase=("two people together", {**slots, **names}),
        target=replace(made, characters=tuple(replace(each, scale=min(each.scale, 60 / 64)) for each in people)),
        asked=("background", "characters.1", "characters.0.place", "characters.1.place"),
        free=("variant", "time", *(f"characters.{i}.{name}" for i in (0, 1) for name in ("dx", "dy", "scale"))),
        contexts=(scene, other),
        identity=((0, 0, 0), (1, 1, 0)),
    )


def style_of_picture_2(scene: Scene, dice: Dice) -> Ask | None:
    if scene.style != "flat" or scene.look == "black and white":
        return None
    new = dice.choice(STYLES[1:])
    made, _ = _place(dice.stream("place"))
    shown = replace(made, style=new)
    if dice.chance(0.6):
        shown = replace(shown, characters=(sample.person(dice.stream("person"), dice.choice(PLACES), busy=0.3),))
    return Ask(
        phrase=("style of picture 2", _one(dice)),
        target=replace(scene, style=new),
        asked=("style",),
        contexts=(scene, shown),
    )


CHARACTER: dict[str, Maker] = {
    "person elsewhere": elsewhere,
    "person elsewhere doing": lambda scene, dice: elsewhere(scene, dice, "doing"),
    "person elsewhere dressed": lambda scene, dice: elsewhere(scene, dice, "dressed"),
    "sheet into scene": sheet_into_scene,
}
STYLE: dict[str, Maker] = {"style of picture 2": style_of_picture_2}
TWO: dict[str, Maker] = {
    "logo onto shirt": logo_onto_shirt,
    "person into place": person_into_place,
    "thing into picture": thing_into_picture,
    "logo into corner": logo_into_corner,
    "two people together": two_people_together,
    "style for content": style_of_picture_2,
}
