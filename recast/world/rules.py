"""The rules that keep a scene measurable: what is in it can be seen in its picture.

`problems` says what cannot; sampling, edits and chains only make scenes without any. `shows` says which attributes a
picture gives away at all. Both look at the scene alone, and hold for squares as for wide pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from recast.world.draw.people import head
from recast.world.draw.things import stand
from recast.world.lettering import SLOPES, Layout, layout, rise
from recast.world.scene import COLOURS, TIMELESS, TITLE_SIZES, Character, Mark, Scene, Title

CONTRAST = 60
"""Levels of luma (of 255) that must separate lettering from its outline, or from its plate."""
SIDE = 256
"""The square, in pixels, in which a title must have room."""
WIDE = 456
"""A picture as wide as video, in which a long title is broken less and is larger."""
LOOSE_HAIR = ("long", "curly", "ponytail")
"""Hair that is seen under any hat."""


def is_measurable(scene: Scene) -> bool:
    return not problems(scene)


def problems(scene: Scene) -> tuple[str, ...]:
    """Why not everything in the scene can be seen in its picture, one string each; empty if all of it can."""
    found = []
    standing = [character.place for character in scene.characters] + [thing.place for thing in scene.things]
    if len(set(standing)) < len(standing):
        found.append("two stand at one place")
    if len(scene.characters) == 2 and ("center" in standing or scene.things):
        found.append("two people leave no room in the middle")
    if len(scene.things) > 2:
        found.append("more than two things")
    found += [problem for character in scene.characters for problem in _problems_of_character(character, scene)]
    found += _problems_of_ground(scene)
    found += _problems_of_marks(scene)
    if scene.title is not None:
        found += _problems_of_title(scene.title, scene)
    return tuple(found)


def shows(scene: Scene, path: str) -> bool:
    """Whether an attribute, such as "characters.0.hat_colour", can be told from the picture.

    A hat that is not there has no colour, a shirt in black and white has none either, and under a cap short hair and
    spiky hair are the same.
    """
    parts = path.split(".")
    name = parts[-1]
    graphic = parts[0] in ("title", "marks")
    coloured = name == "colour" or name.endswith("_colour") or name in ("shirt", "skin")
    if coloured and not graphic and scene.look == "black and white":
        return False
    if parts[0] == "characters":
        character = scene.characters[int(parts[1])]
        carrier = {"hat_colour": "hat", "logo_colour": "logo", "holding_colour": "holding"}.get(name)
        if carrier is not None:
            return bool(getattr(character, carrier) != "none")
        if name == "hair_colour":
            return character.beard or (character.hair != "bald" and _hair_is_free(character))
        if name == "hair":
            return _hair_is_free(character)
        if len(scene.characters) == 2 and parts[1] == "0":  # the second person stands before the first
            return name not in _BEHIND[character.place]
    if parts[0] == "marks":
        mark = scene.marks[int(parts[1])]
        return name != "shape" or mark.kind in ("sticker", "logo")
    if path in ("title.size", "title.align") and scene.title is not None:
        return _is_free_to(name, scene.title)
    if name == "time":
        return scene.background not in TIMELESS
    return name != "variant" or scene.is_drawn


_BEHIND = {"left": ("holding",), "center": (), "right": ("pose",)}
"""What the person before hides of the one behind, who stands at the left or right: the inner arm."""


@lru_cache(maxsize=1024)
def _is_free_to(name: str, title: Title) -> bool:
    """Whether a title would be another picture at any other size or side: not if it had to shrink to fit a square."""
    laid = [
        layout(title.text, title.font, SIDE, SIDE, title.place, each, title.tilt, title.align)
        for each in (TITLE_SIZES if name == "size" else (title.size,))
    ]
    if name == "size":
        return len({each.em for each in laid}) == len(TITLE_SIZES)
    left, _, right, _ = laid[0].box
    return right - left < 0.75 * SIDE


def luma(colour: str) -> float:
    """How light a colour of COLOURS is, 0..255 (ITU-R BT.601)."""
    red, green, blue = COLOURS[colour]
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _hair_is_free(character: Character) -> bool:
    return character.hat == "none" or character.hair in LOOSE_HAIR


# What must hold for everything to be seen.


def _problems_of_character(character: Character, scene: Scene) -> list[str]:
    found = []
    if character.logo != "none" and character.logo_colour == character.shirt:
        found.append("logo and shirt have one colour")
    held = character.holding != "none"
    if len(scene.characters) == 2 and character is scene.characters[0]:
        if held and character.place == "left":
            found.append("what is held is behind the other person")
        if character.pose in ("waving", "pointing") and character.place == "right":
            found.append("the arm is behind the other person")
    if held and character.place == "center" and any(thing.place == "right" for thing in scene.things):
        found.append("what is held hides a thing")
    if held and character.place == "right" and len(scene.characters) == 1 and character.dx > 0:
        found.append("what is held leaves the picture")
    return found


def _problems_of_ground(scene: Scene) -> list[str]:
    found = []
    if scene.background == "plain":
        if any(mark.kind != "logo" or mark.place != "center" for mark in scene.marks):
            found.append("a sheet has no marks but the logo it shows")
        if any(thing.place != "center" or thing.size != "big" for thing in scene.things):
            found.append("a sheet shows its thing large in the middle")
        if (scene.marks or scene.things) and (scene.characters or scene.title is not None):
            found.append("a sheet of a thing or a logo shows nothing else")
        if scene.characters and [character.place for character in scene.characters] != ["center"]:
            found.append("a sheet shows one person in the middle")
    if scene.blur and (scene.background in TIMELESS or scene.background == "clouds"):
        found.append("nothing to blur")
    if scene.background in TIMELESS and scene.time != "day":
        found.append("no time")
    if scene.look == "black and white" and scene.style != "flat":
        found.append("no colour left to tell the style by")
    beside = [character.place for character in scene.characters if character.place != "center"]
    if len(scene.characters) == 1 and beside and any(thing.place == "center" for thing in scene.things):
        found.append("a thing stands before a shoulder")
    return found


def _problems_of_marks(scene: Scene) -> list[str]:
    found: list[str] = []
    standing = [character.place for character in scene.characters] + [thing.place for thing in scene.things]
    if scene.background == "plain":
        return found
    if len({mark.kind for mark in scene.marks}) < len(scene.marks):
        found.append("two marks of one kind")
    if len({mark.place for mark in scene.marks}) < len(scene.marks):
        found.append("two marks at one place")
    for mark in scene.marks:
        if mark.kind in ("arrow", "circle"):
            if standing and mark.place not in standing:
                found.append(f"the {mark.kind} shows nothing")
            if scene.title is not None and scene.title.place == "middle":
                found.append(f"the title covers the {mark.kind}")
        elif mark.kind in ("sticker", "logo"):
            found += _problems_of_corner(mark, scene)
    return found


def _problems_of_corner(mark: Mark, scene: Scene) -> list[str]:
    found = []
    vertical, horizontal = mark.place.split()
    if scene.title is not None and scene.title.place == vertical:
        found.append(f"the title covers the {mark.kind}")
    if any(character.place == horizontal for character in scene.characters):
        found.append(f"the {mark.kind} covers a person")
    if any(c.holding != "none" and c.place == "center" for c in scene.characters) and horizontal == "right":
        found.append(f"the {mark.kind} covers what is held")
    if vertical == "bottom" and any(thing.place == horizontal for thing in scene.things):
        found.append(f"the {mark.kind} covers a thing")
    return found


def _problems_of_title(title: Title, scene: Scene) -> list[str]:
    found = []
    ground = title.outline if title.outline != "none" else title.plate
    if ground == "none":
        found.append("letters with neither outline nor plate")
    elif abs(luma(ground) - luma(title.colour)) < CONTRAST:
        found.append("letters and what surrounds them are alike")
    if title.plate != "none" and title.plate in (title.colour, title.outline):
        found.append("plate and letters have one colour")
    return found + [f"the title covers {part}" for part in dict.fromkeys(_covered(title, scene))]


# What a title covers: its laid-out box against the boxes of what must be seen.


def _covered(title: Title, scene: Scene) -> Iterator[str]:
    """What the title leaves too little of to be told, in a square or in a wide picture."""
    for width in (SIDE, WIDE):
        aspect = width / SIDE
        for part, box, share in _regions(scene, aspect):
            left, top, right, bottom = max(0.0, box[0]), max(0.0, box[1]), min(aspect, box[2]), min(1.0, box[3])
            over = _box(title, width, round(SIDE * (left + right) / 2))
            across = min(right, over[2]) - max(left, over[0])
            down = min(bottom, over[3]) - max(top, over[1])
            ink = 1.0 if title.plate != "none" else LETTERED
            if across > 0 and down > 0 and ink * across * down > share * (right - left) * (bottom - top):
                yield part


@lru_cache(maxsize=8192)
def _laid(title: Title, width: int) -> Layout:
    return layout(title.text, title.font, width, SIDE, title.place, title.size, title.tilt, title.align)


def _box(title: Title, width: int, x: int) -> Box:
    """The title's box, in picture heights, as it lies at column x if it tilts; with the bar, if there is one."""
    laid = _laid(title, width)
    up = rise(x - laid.middle, SLOPES[title.tilt])
    left, top, right, bottom = laid.box
    return left / SIDE, (top - up) / SIDE, right / SIDE, (bottom - up) / SIDE


def _regions(scene: Scene, aspect: float) -> Iterator[tuple[str, Box, float]]:
    """What must be seen: its name, its box in picture heights, and the share of the box that may be covered."""
    for character in scene.characters:
        x, y, unit = head(character, aspect)
        for part, (left, top, right, bottom), share in _regions_of_person(character):
            yield part, (x + left * unit, y + top * unit, x + right * unit, y + bottom * unit), share
    for thing in scene.things:
        x, bottom, size = stand(thing, aspect, scene.background)
        yield "a thing", (x - 0.4 * size, bottom - size, x + 0.4 * size, bottom), 0.5


def _regions_of_person(character: Character) -> Iterator[tuple[str, Box, float]]:
    """As `_regions`, around the head's centre and in its units (see `draw.people`)."""
    wide, high = character.face.width, character.face.height
    yield "a face", (-0.12 * wide, -0.09 * high, 0.12 * wide, 0.08 * high), 0.2  # eyes and brows
    yield "a face", (-0.09 * wide, 0.08 * high, 0.09 * wide, 0.2 * high), 0.2  # mouth and chin
    if character.hat != "none":
        yield "a hat", (-0.18 * wide, _HAT_TOPS[character.hat] * high, 0.18 * wide, -0.08 * high), 0.4
    elif character.hair != "bald":
        yield "hair", (-0.16 * wide, -0.25 * high, 0.16 * wide, -0.08 * high), 0.5
    yield "a shirt", (-0.24, 0.24, 0.24, 0.6), 0.6
    if character.logo != "none":
        yield "a logo", (-0.09, 0.33, 0.09, 0.51), 0.1
    if character.holding != "none":
        raised = character.pose == "cheering"
        yield "what is held", ((0.12, -0.36, 0.36, -0.1) if raised else (0.11, 0.22, 0.33, 0.46)), 0.3
    if character.pose in _HANDS:
        yield "a hand", _HANDS[character.pose], 0.5


LETTERED = 0.75
"""The share of its box that a title without a bar covers, with its outlines, at most."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
_HAT_TOPS = {"cap": -0.29, "beanie": -0.37, "top hat": -0.4, "crown": -0.35, "party hat": -0.4}
_HANDS: dict[str, Box] = {
    "waving": (-0.32, 0.02, -0.17, 0.2),
    "cheering": (-0.32, -0.15, -0.2, 0.02),
    "pointing": (-0.3, 0.13, -0.16, 0.33),
}
"""The hand that tells the pose."""
