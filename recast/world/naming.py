"""How the parts of a scene are called in a sentence: whose shirt, which car, what kind of title."""

from __future__ import annotations

from collections.abc import Callable

from recast.world import vocabulary as say
from recast.world.dice import Dice
from recast.world.lettering import FONTS
from recast.world.rules import shows
from recast.world.scene import COLOURS, Character, Mark, Scene, Thing, Title
from recast.world.vocabulary import article


def owner(scene: Scene, index: int, dice: Dice) -> dict[str, str]:
    """Slots the, of, who, to and for of one of the scene's people, told apart by side if there are two."""
    noun = dice.choice(say.PEOPLE)
    if len(scene.characters) == 1:
        the = dice.weighted({"the": 6, "their": 2, f"the {noun}'s": 3})
        to = dice.choice(("", f" to the {noun}"))
        return {"the": the, "of": "", "who": f"the {noun}", "to": to, "for": ""}
    side = scene.characters[index].place
    who = dice.choice((f"the {noun} on the {side}", f"the {side} {noun}"))
    rest = {"who": who, "to": f" to {who}", "for": f" for {who}"}
    if dice.chance(0.5):
        return {"the": f"the {side} {noun}'s", "of": "", **rest}
    return {"the": "the", "of": f" of {who}", **rest}


def the_thing(scene: Scene, index: int, dice: Dice) -> str:
    """A name that only this thing has, held ones counted: "the car", or one by its colour, its place or the ground."""
    thing = scene.things[index]
    others = [each for i, each in enumerate(scene.things) if i != index]
    held = [(each.holding, each.holding_colour) for each in scene.characters if each.holding != "none"]
    alike = [(each.kind, each.colour) for each in others] + held
    side = dice.choice(say.SIDES[thing.place])  # no two things stand at one place, but a hand may be above it
    ground = f"the {thing.kind} on the ground" if thing.kind in [kind for kind, _ in held] else f"the {thing.kind}"
    names = [f"{ground} {side}"]
    if thing.kind not in [each.kind for each in others]:
        names.append(ground)
    if (thing.kind, thing.colour) not in alike and shows(scene, f"things.{index}.colour"):
        names.append(f"the {thing.colour} {thing.kind}")
    return dice.choice(names)


def a_thing(thing: Thing, named: set[str], dice: Dice) -> str:
    """Its kind, and of size and colour what is `named`."""
    size = dice.choice(say.SIZES[thing.size]) if "size" in named else ""
    return _a(size, thing.colour if "colour" in named else "", thing.kind)


def hat(character: Character, dice: Dice, *, coloured: bool) -> str:
    """Such as "red cap", "crown with red gems", or without the colour."""
    name = dice.choice(say.HATS[character.hat])
    if not coloured:
        return name
    if character.hat in say.HAT_COLOURED:
        return dice.choice(say.HAT_COLOURED[character.hat]).format(colour=character.hat_colour)
    return f"{character.hat_colour} {name}"


def hair(character: Character, dice: Dice, *, style: bool, colour: bool) -> str:
    """Such as "short brown hair", "a brown ponytail", or only one of the two."""
    if not colour:
        return dice.choice(say.HAIR[character.hair])
    if not style:
        return f"{character.hair_colour} hair"
    if character.hair == "bun":
        return f"{character.hair_colour} hair in a bun"
    if character.hair == "ponytail":
        return f"a {character.hair_colour} ponytail"
    return f"{character.hair} {character.hair_colour} hair"


def shirt(character: Character, dice: Dice) -> str:
    """What the shirt is called: a hoodie is a hoodie."""
    return dice.choice(say.OUTFITS[character.outfit])


def clothes(character: Character, dice: Dice, *, plainly: bool = False) -> str:
    """Such as "a red hoodie"; `plainly`, so that "a red shirt" could not be a striped one."""
    if plainly and character.outfit == "t-shirt":
        return f"a plain {character.shirt} t-shirt"
    return article(f"{character.shirt} {shirt(character, dice)}")


def graphic(mark: Mark, dice: Dice, *, coloured: bool = True, placed: bool = True) -> str:
    """Such as "red arrow", "yellow star sticker in the top left corner": a mark in full or in part."""
    shape = {
        "sticker": f"{mark.shape} sticker",
        "logo": f"{mark.shape} logo",
        "border": dice.choice(("border", "frame")),
    }
    name = shape.get(mark.kind, mark.kind)
    where = f" in the {mark.place} corner" if placed and " " in mark.place else ""
    return f"{mark.colour} {name}{where}" if coloured else f"{name}{where}"


def the_mark(scene: Scene, mark: Mark, dice: Dice) -> str:
    """Such as "arrow", "star sticker": a mark as spoken of when it is there; a scene has one of a kind at most."""
    shapes = [each.logo for each in scene.characters] + [each.shape for each in scene.marks if each.kind != "circle"]
    if mark.kind == "circle" and "circle" in shapes:
        return dice.choice(("ring", "drawn circle"))
    if mark.kind in ("sticker", "logo"):
        return dice.choice((f"{mark.kind} in the {mark.place} corner", f"{mark.shape} {mark.kind} at the {mark.place}"))
    return mark.kind


def at_place(scene: Scene, place: str, dice: Dice) -> str:
    """What an arrow points at or a circle goes around: the person, the thing, or the part of the picture."""
    for i, character in enumerate(scene.characters):
        if character.place == place:
            return owner(scene, i, dice)["who"]
    for i, thing in enumerate(scene.things):
        if thing.place == place:
            return the_thing(scene, i, dice)
    return {"left": "the left side", "center": "the middle", "right": "the right side"}[place]


TITLE_WORDS: dict[str, Callable[[Title, Dice], str]] = {
    "size": lambda title, dice: f"{title.size} letters",
    "colour": lambda title, dice: f"{title.colour} letters",
    "font": lambda title, dice: f"{article(font(title.font, dice))} font",
    "outline": lambda title, dice: f"{article(title.outline)} outline",
    "plate": lambda title, dice: f"{article(title.plate)} bar behind it",
    "place": lambda title, dice: dice.choice(say.TITLE_PLACES[title.place]),
}


def font(name: str, dice: Dice) -> str:
    """What a font looks like, in words that are no colour: "wide black" lettering may well be red."""
    return dice.choice([words for words in FONTS[name].words if not set(words.split()) & set(COLOURS)])


def title_how(title: Title, named: list[str], dice: Dice) -> str:
    """Of a title what is `named`, to follow its text: " in huge yellow letters with a black outline at the top"."""
    letters = " ".join(getattr(title, name) for name in ("size", "colour") if name in named)
    how = f" in {letters} letters" if letters else ""
    if "colour" in named and "size" not in named and dice.chance(0.6):
        how = f" in {title.colour}"
    if "font" in named:
        how += f" in {article(font(title.font, dice))} font"
    rims = [TITLE_WORDS[name](title, dice) for name in ("outline", "plate") if name in named]
    how += " with " + " and ".join(rims) if rims else ""
    return how + (f" {TITLE_WORDS['place'](title, dice)}" if "place" in named else "")


def _a(*words: str) -> str:
    return article(" ".join(word for word in words if word))
