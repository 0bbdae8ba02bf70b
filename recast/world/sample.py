"""Random scenes: thumbnails as people make them, photograph-like pictures, and sheets that show one thing.

No scene has `rules.problems`: what is in it can be seen in its picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from recast.errors import InputError
from recast.world import heldout, titles
from recast.world.dice import Dice
from recast.world.lettering import FONTS
from recast.world.rules import CONTRAST, is_measurable, luma, problems
from recast.world.scene import (
    BACKGROUNDS,
    BRIGHT,
    CORNERS,
    EXPRESSIONS,
    GLASSES,
    HAIR_COLOURS,
    HAIRS,
    HATS,
    HELD,
    LETTERS,
    LOGOS,
    LOOKS,
    OUTFITS,
    PHOTOGRAPHS,
    PLACES,
    POSES,
    SHIRTS,
    SIZES,
    SKINS,
    STYLES,
    THINGS,
    TILTS,
    TIMELESS,
    TIMES,
    TITLE_PLACES,
    VARIANTS,
    Character,
    Face,
    Mark,
    Scene,
    Thing,
    Title,
)

SPLITS = ("train", "held out", "any")
KINDS = {"cartoon": 0.68, "photo": 0.24, "sheet": 0.08}
"""What kinds of scene there are, and how often each is drawn."""
PHOTO_VARIANTS = 1 << 31
TRIES = 1000
FIRST_UNTRAINED = 1 << 40
"""Training only uses seeds below; those of benchmarks start here."""
Rule = Callable[[Scene], bool]


def scene(seed: int, *, split: str = "train", kind: str | None = None) -> Scene:
    """The random scene of a seed, without problems.

    split: "train" has nothing that `heldout` lists, "held out" has at least one such thing, "any" is not looked at.
    kind: cartoon, photo (photograph-like background) or sheet (one person, thing or logo on a plain ground).
    Raises InputError for another split or kind.
    """
    check_split(split)
    if kind is not None and kind not in KINDS:
        raise InputError(f"kind={kind!r}: {', '.join(KINDS)} accepted, or None for any of them")
    is_fine = is_for_training if split == "train" else is_measurable
    for attempt in range(TRIES):
        dice = Dice(seed, "scene", attempt)
        made = _MAKERS[kind or dice.weighted(KINDS)](dice, is_fine)
        if split == "held out" and not heldout.reasons(made):
            made = _plant(made, dice.stream("plant"))
        if is_fine(made) and (split != "held out" or heldout.reasons(made)):
            return made
    raise AssertionError(f"no scene for seed={seed}, split={split}, kind={kind} in {TRIES} tries")


def source_seed(seed: int, dice: Dice) -> int:
    """A seed for a scene that the thing of `seed` is made from: of a benchmark again one that no training has."""
    return FIRST_UNTRAINED + dice.below(FIRST_UNTRAINED >> 1) if seed >= FIRST_UNTRAINED else dice.below(1 << 31)


def check_split(split: str) -> None:
    if split not in SPLITS:
        raise InputError(f"split={split!r}: {', '.join(SPLITS)} accepted")


def is_for_training(scene: Scene) -> bool:
    """Whether the scene has neither problems nor anything that is held out."""
    return not problems(scene) and not heldout.reasons(scene)


# How scenes are drawn.


def _cartoon(dice: Dice, is_fine: Rule) -> Scene:
    """A drawn background with one person (mostly), things, a title (half the time), marks, a look or a style."""
    ground = dice.stream("background")
    background = ground.choice(BACKGROUNDS)
    time = "day" if background in TIMELESS or ground.chance(0.4) else ground.choice(TIMES)
    made = Scene(background=background, time=time, variant=ground.below(VARIANTS))
    if not is_fine(made):
        made = replace(made, time="day")
    return _furnish(made, dice, is_fine, people={"one": 78, "two": 12, "none": 10})


def _photo(dice: Dice, is_fine: Rule) -> Scene:
    """A photograph-like background, with or without cartoon elements over it."""
    ground = dice.stream("background")
    time = "day" if ground.chance(0.7) else ground.choice(TIMES)
    made = Scene(background=ground.choice(PHOTOGRAPHS), time=time, variant=ground.below(PHOTO_VARIANTS))
    if not is_fine(made):
        made = replace(made, time="day")
    return _furnish(made, dice, is_fine, people={"one": 40, "two": 5, "none": 55})


def _sheet(dice: Dice, is_fine: Rule) -> Scene:
    """One person, thing or logo, large on a plain ground: what an edit takes from a second picture."""
    shown = dice.stream("sheet").weighted({"person": 5, "thing": 3, "logo": 2})
    busy = dice.stream("busy").random()

    def put_in(made: Scene, dice: Dice) -> Scene:
        if shown == "person":
            return replace(made, characters=(person(dice, "center", busy=busy),))
        if shown == "thing":
            return replace(made, things=(replace(thing(dice, "center"), size="big", dx=0.0),))
        return replace(made, marks=(_graphic("logo", "center", dice),))

    made = Scene(background="plain", variant=dice.stream("background").below(VARIANTS))
    return fitting(made, put_in, dice.stream(shown), is_fine, tries=TRIES)


def _furnish(made: Scene, dice: Dice, is_fine: Rule, people: dict[str, float]) -> Scene:
    # Simple scenes as often as busy ones: how much there is, is drawn first.
    busy = dice.stream("busy").choice((0.2, 0.5, 0.9))
    who = dice.stream("people")
    count = who.weighted(people)
    places = {"none": (), "one": (who.weighted({"left": 3, "center": 4, "right": 3}),), "two": ("left", "right")}[count]
    for i, place in enumerate(who.shuffled(places)):

        def put_in(made: Scene, dice: Dice, place: str = place) -> Scene:
            drawn = person(dice, place, busy=busy / len(places))
            drawn = replace(drawn, scale=min(drawn.scale, 1.1 if len(places) == 1 else 60 / 64))
            return replace(made, characters=(*made.characters, drawn))

        made = fitting(made, put_in, dice.stream("person", i), is_fine)
    made = _with_things(made, dice.stream("things"), is_fine, busy, always=count == "none" and made.is_drawn)
    made = fitting(made, _finish, dice.stream("finish"), is_fine)
    if dice.stream("has title").chance(0.57):
        made = fitting(made, lambda scene, d: replace(scene, title=title(d, scene)), dice.stream("title"), is_fine)
    if dice.stream("has marks").chance(0.05 + 0.25 * busy):
        for i in range(1 + (busy > 0.6 and dice.stream("two marks").chance(0.4))):
            made = fitting(made, _with_mark, dice.stream("mark", i), is_fine)
    return made


def _finish(made: Scene, dice: Dice) -> Scene:
    if dice.chance(0.12):
        made = replace(made, style=dice.choice(STYLES[1:]))
    elif dice.chance(0.08):
        made = replace(made, look=dice.choice(LOOKS[1:]))
    if made.background not in TIMELESS and dice.chance(0.06):
        made = replace(made, blur=True)
    return made


def fitting(
    scene: Scene,
    change: Callable[[Scene, Dice], Scene],
    dice: Dice,
    is_fine: Rule = is_measurable,
    tries: int = 20,
) -> Scene:
    """The scene with a random change that leaves it fine, or the scene itself if none of `tries` does."""
    for attempt in range(tries):
        changed = change(scene, dice.stream(attempt))
        if is_fine(changed):
            return changed
    return scene


def person(dice: Dice, place: str, *, busy: float = 0.5) -> Character:
    """A random person at a place; busy in 0..1 says how much they wear and hold."""
    looks, wears, does, stands = (dice.stream(name) for name in ("looks", "wears", "does", "stands"))
    shirt = wears.choice(SHIRTS)
    return Character(
        skin=looks.choice(tuple(SKINS)),
        hair=looks.choice(HAIRS),
        hair_colour=looks.choice(tuple(HAIR_COLOURS)),
        beard=looks.chance(0.2),
        freckles=looks.chance(0.15),
        face=face(dice.stream("face")),
        glasses=wears.choice(GLASSES[1:]) if wears.chance(0.7 * busy) else "none",
        hat=wears.choice(HATS[1:]) if wears.chance(0.65 * busy) else "none",
        hat_colour=wears.choice(BRIGHT),
        outfit="t-shirt" if wears.chance(0.4) else wears.choice(OUTFITS),
        shirt=shirt,
        logo=wears.choice(LOGOS) if wears.chance(0.65 * busy) else "none",
        logo_colour=wears.choice([colour for colour in BRIGHT if colour != shirt]),
        expression=does.choice(EXPRESSIONS),
        pose="standing" if does.chance(0.3) else does.choice(POSES),
        holding=does.choice(HELD[1:]) if does.chance(0.5 * busy) else "none",
        holding_colour=does.choice(BRIGHT),
        place=place,
        dx=stands.on_grid(-2, 0 if place == "right" else 2),
        dy=stands.on_grid(-1, 1),
        scale=stands.on_grid(57, 70),
    )


def face(dice: Dice) -> Face:
    """A random face: each parameter on the grid of 1/64 within [0.85, 1.2]."""
    return Face(
        width=dice.on_grid(55, 76),
        height=dice.on_grid(55, 76),
        eye_size=dice.on_grid(55, 76),
        eye_gap=dice.on_grid(55, 76),
        nose=dice.on_grid(55, 76),
        mouth=dice.on_grid(55, 76),
    )


def thing(dice: Dice, place: str) -> Thing:
    """A random thing at a place."""
    return Thing(
        kind=dice.choice(THINGS),
        colour=dice.choice(BRIGHT),
        size=dice.choice(SIZES),
        place=place,
        dx=dice.on_grid(-2, 2),
    )


def title(dice: Dice, scene: Scene) -> Title:
    """A random title: beside the person if there is one to the side, as thumbnails have it, or wherever."""
    said, drawn, stands = (dice.stream(name) for name in ("said", "drawn", "stands"))
    text = titles.text(said)
    colour = drawn.weighted({"white": 4, "yellow": 4, **dict.fromkeys(LETTERS[2:], 1.0)})
    grounds = [each for each in LETTERS if abs(luma(each) - luma(colour)) >= CONTRAST]
    plate = drawn.choice(grounds) if drawn.chance(0.15) else "none"
    outline = "black" if "black" in grounds and drawn.chance(0.6) else drawn.choice(grounds)
    if plate != "none" and (plate == outline or drawn.chance(0.7)):
        outline = "none"
    place = stands.weighted({"top": 5, "bottom": 3, "middle": 1.5})
    aside = {"left": "right", "right": "left"}.get(scene.characters[0].place) if len(scene.characters) == 1 else None
    if aside is not None and stands.chance(0.7):
        align, place = aside, stands.choice(TITLE_PLACES)
    else:
        align = "center" if stands.chance(0.7) else stands.choice(PLACES)
    return Title(
        text=text,
        font=drawn.choice(tuple(FONTS)),
        colour=colour,
        outline=outline,
        plate=plate,
        size=drawn.weighted({"medium": 3, "large": 4, "huge": 2}),
        place=place,
        align=align,
        tilt=0 if stands.chance(0.8) else stands.choice(TILTS),
    )


def mark(dice: Dice, kind: str, scene: Scene) -> Mark:
    """A random mark of a kind, at a place where it shows something."""
    if kind == "border":
        return Mark(kind="border", colour=dice.choice(BRIGHT), place="all")
    if kind in ("sticker", "logo"):
        return _graphic(kind, dice.choice(CORNERS), dice)
    standing = [each.place for each in scene.characters] + [each.place for each in scene.things]
    return Mark(kind=kind, colour=dice.choice(BRIGHT), place=dice.choice(standing or PLACES))


def _graphic(kind: str, place: str, dice: Dice) -> Mark:
    return Mark(kind=kind, shape=dice.choice(LOGOS), colour=dice.choice(BRIGHT), place=place)


def _with_mark(made: Scene, dice: Dice) -> Scene:
    kind = dice.choice(("arrow", "circle", "border", "sticker", "logo"))
    return replace(made, marks=(*made.marks, mark(dice, kind, made)))


def _with_things(made: Scene, dice: Dice, is_fine: Rule, busy: float, *, always: bool) -> Scene:
    if not always and not dice.chance(0.15 + 0.6 * busy):
        return made
    count = 2 if dice.chance(0.5 * busy) else 1
    for i in range(count):
        made = fitting(made, _with_thing, dice.stream(i), is_fine)
    return made


def _with_thing(made: Scene, dice: Dice) -> Scene:
    return replace(made, things=(*made.things, thing(dice, dice.choice(PLACES))))


# Held-out things, put in on purpose: left to chance, nearly all would be faces.


def _plant(made: Scene, dice: Dice) -> Scene:
    """The scene with one held-out thing put in, if it has room for any."""
    for name in dice.shuffled(tuple(_PLANTS)):
        planted = _PLANTS[name](made, dice.stream(name))
        if heldout.reasons(planted) and not problems(planted):
            return planted
    return made


def _plant_pair_in_scene(made: Scene, dice: Dice) -> Scene:
    pairs = [pair for pair in heldout.SCENE_PAIRS if dict(pair)["background"] in BACKGROUNDS or not made.is_drawn]
    if made.background == "plain":
        return made
    planted = replace(made, **dict(dice.choice(pairs)))
    return replace(planted, variant=planted.variant % VARIANTS) if planted.is_drawn else planted


def _plant_pair_on_person(made: Scene, dice: Dice) -> Scene:
    if not made.characters:
        return made
    changed = replace(made.characters[0], **dict(dice.choice(heldout.CHARACTER_PAIRS)))
    return replace(made, characters=(changed, *made.characters[1:]))


def _plant_face(made: Scene, dice: Dice) -> Scene:
    if not made.characters:
        return made
    for attempt in range(TRIES):
        drawn = face(dice.stream(attempt))
        if heldout.is_held_out_face(drawn):
            return replace(made, characters=(replace(made.characters[0], face=drawn), *made.characters[1:]))
    raise AssertionError("no face is held out")


def _plant_string(made: Scene, dice: Dice) -> Scene:
    if made.title is None:
        return made
    for attempt in range(TRIES):
        drawn = titles.text(dice.stream(attempt))
        if heldout.is_held_out_string(drawn):
            return replace(made, title=replace(made.title, text=drawn))
    raise AssertionError("no string is held out")


def _plant_font(made: Scene, dice: Dice) -> Scene:
    return made if made.title is None else replace(made, title=replace(made.title, font=dice.choice(heldout.FONTS)))


def _plant_thing(made: Scene, dice: Dice) -> Scene:
    if not made.things:
        return made
    kind, colour = dice.choice(heldout.THINGS)
    return replace(made, things=(replace(made.things[0], kind=kind, colour=colour), *made.things[1:]))


def _plant_logo(made: Scene, dice: Dice) -> Scene:
    shape, colour = dice.choice(heldout.LOGOS)
    if made.characters:
        changed = replace(made.characters[0], logo=shape, logo_colour=colour)
        return replace(made, characters=(changed, *made.characters[1:]))
    if made.marks and made.marks[0].kind in ("sticker", "logo"):
        return replace(made, marks=(replace(made.marks[0], shape=shape, colour=colour), *made.marks[1:]))
    return made


_MAKERS: dict[str, Callable[[Dice, Rule], Scene]] = {"cartoon": _cartoon, "photo": _photo, "sheet": _sheet}
_PLANTS: dict[str, Callable[[Scene, Dice], Scene]] = {
    "pair in scene": _plant_pair_in_scene,
    "pair on person": _plant_pair_on_person,
    "face": _plant_face,
    "string": _plant_string,
    "font": _plant_font,
    "thing": _plant_thing,
    "logo": _plant_logo,
}
