"""A scene as plain data: everything that is in a picture of the world, and nothing about pixels.

Every attribute is a word from a list below, a string, a whole number, or a float on a grid of 1/64, so that scenes
compare exactly, travel as JSON and never differ by a rounding. Lengths are fractions of the picture's height.

Order of drawing, back to front: background (with its time), blur of the background, things behind, characters with
what they hold, things in front; over all of that the look and the style; then marks and title, which are graphics
put on the finished picture: no look and no style ever touches them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from recast.errors import InputError

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (222, 46, 50),
    "orange": (244, 132, 36),
    "yellow": (252, 214, 56),
    "green": (56, 168, 76),
    "teal": (26, 172, 170),
    "blue": (42, 98, 218),
    "purple": (136, 68, 192),
    "pink": (246, 128, 182),
    "white": (246, 246, 246),
    "black": (34, 34, 42),
    "brown": (130, 84, 50),
    "gray": (140, 145, 152),
}
SKINS: Mapping[str, tuple[int, int, int]] = {
    "pale": (255, 224, 198),
    "light": (241, 194, 155),
    "tan": (212, 154, 108),
    "brown": (154, 100, 64),
    "dark": (96, 60, 42),
}
HAIR_COLOURS: Mapping[str, tuple[int, int, int]] = {
    "black": (34, 28, 32),
    "brown": (106, 66, 38),
    "blonde": (238, 200, 100),
    "red": (190, 72, 32),
    "gray": (178, 178, 186),
    "blue": (58, 110, 222),
    "pink": (242, 120, 182),
    "green": (70, 172, 92),
}
SHIRTS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "white", "black")
BRIGHT = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")  # of things, logos, hats
LETTERS = ("white", "yellow", "red", "orange", "green", "blue", "pink", "black")
HAIRS = ("short", "long", "curly", "bun", "spiky", "ponytail", "bald")
GLASSES = ("none", "round glasses", "square glasses", "sunglasses")
HATS = ("none", "cap", "beanie", "top hat", "crown", "party hat")
OUTFITS = ("t-shirt", "striped t-shirt", "hoodie", "jacket")
EXPRESSIONS = ("happy", "sad", "surprised", "angry", "calm")
POSES = ("standing", "waving", "cheering", "pointing")
PLACES = ("left", "center", "right")
SIZES = ("small", "big")
THINGS = (
    "car", "ball", "balloon", "cat", "robot", "cup",
    "flower", "rocket", "boat", "umbrella", "cake", "apple", "mushroom", "gift",
)  # fmt: skip
HELD = ("none", "balloon", "cup", "flower", "apple", "gift", "umbrella", "cake", "ball")
LOGOS = ("star", "heart", "lightning bolt", "circle", "triangle", "moon", "cross", "diamond")
BACKGROUNDS = ("beach", "forest", "city", "mountains", "room", "studio", "desert", "space", "rays")
PHOTOGRAPHS = ("leaves", "clouds", "still life", "hills")
"""Photograph-like backgrounds, made from natural statistics; `variant` is any seed."""
OTHER_BACKGROUNDS = ("plain", "photograph")
"""plain: one colour, for sheets that show a logo or a thing. photograph: pixels given to `draw` by the caller."""
TIMES = ("day", "night", "sunset", "winter")
TIMELESS = ("studio", "space", "rays", "plain")
"""Backgrounds that have no time: theirs is "day"."""
STYLES = ("flat", "watercolor", "pencil", "pixel", "poster")
LOOKS = ("none", "black and white", "warm", "cool", "contrast")
MARKS = ("arrow", "circle", "border", "sticker", "logo")
CORNERS = ("top left", "top right", "bottom left", "bottom right")
TITLE_SIZES = ("medium", "large", "huge")
TITLE_PLACES = ("top", "middle", "bottom")
TILTS = (-6, 0, 6)
VARIANTS = 16
"""How many ways each drawn background is laid out: few, so that a measure can tell which one it sees."""
STEP = 1 / 64


@dataclass(frozen=True, kw_only=True)
class Face:
    """The continuous part of an identity, each as a multiple of the usual, on the grid of 1/64 in [0.85, 1.2]."""

    width: float = 1.0
    height: float = 1.0
    eye_size: float = 1.0
    eye_gap: float = 1.0
    nose: float = 1.0
    mouth: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Character:
    """One person. IDENTITY says who it is; everything else may change and leave it the same person."""

    skin: str = "light"
    hair: str = "short"
    hair_colour: str = "brown"
    beard: bool = False
    freckles: bool = False
    face: Face = field(default_factory=Face)

    glasses: str = "none"
    hat: str = "none"
    hat_colour: str = "red"
    outfit: str = "t-shirt"
    shirt: str = "blue"
    logo: str = "none"
    logo_colour: str = "white"
    expression: str = "happy"
    pose: str = "standing"
    holding: str = "none"
    holding_colour: str = "red"

    place: str = "center"
    dx: float = 0.0  # from the place, in heights of the picture
    dy: float = 0.0
    scale: float = 1.0


IDENTITY = ("skin", "hair", "hair_colour", "beard", "freckles", "face")


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object on the ground: big ones stand behind the characters, small ones in front."""

    kind: str = "ball"
    colour: str = "red"
    size: str = "small"
    place: str = "right"
    dx: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Title:
    """Lettering put on the picture. outline, plate: a colour, or none; a plate is a solid bar behind the letters."""

    text: str
    font: str = "anton"
    colour: str = "white"
    outline: str = "black"
    plate: str = "none"
    size: str = "large"
    place: str = "top"
    align: str = "center"
    tilt: int = 0


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A graphic put on the picture: an arrow or circle that shows a place, a border, a sticker or a logo in a corner.

    shape: of a sticker or logo, one of LOGOS. place: one of PLACES for arrow and circle (what they show), one of
    CORNERS for sticker and logo, "center" for the one logo of a sheet, and "all" for a border.
    """

    kind: str
    shape: str = "star"
    colour: str = "red"
    place: str = "center"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything in one picture. `draw` turns it into pixels of any size."""

    background: str = "beach"
    time: str = "day"
    variant: int = 0
    blur: bool = False
    characters: tuple[Character, ...] = ()
    things: tuple[Thing, ...] = ()
    look: str = "none"
    style: str = "flat"
    marks: tuple[Mark, ...] = ()
    title: Title | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether the background is a drawing of ours, whose variant can be told from its pixels."""
        return self.background in BACKGROUNDS


CHOICES: Mapping[type, Mapping[str, tuple[Any, ...]]] = {
    Character: {
        "skin": tuple(SKINS),
        "hair": HAIRS,
        "hair_colour": tuple(HAIR_COLOURS),
        "beard": (False, True),
        "freckles": (False, True),
        "glasses": GLASSES,
        "hat": HATS,
        "hat_colour": BRIGHT,
        "outfit": OUTFITS,
        "shirt": SHIRTS,
        "logo": ("none", *LOGOS),
        "logo_colour": BRIGHT,
        "expression": EXPRESSIONS,
        "pose": POSES,
        "holding": HELD,
        "holding_colour": BRIGHT,
        "place": PLACES,
    },
    Thing: {"kind": THINGS, "colour": BRIGHT, "size": SIZES, "place": PLACES},
    Title: {
        "colour": LETTERS,
        "outline": ("none", *LETTERS),
        "plate": ("none", *LETTERS),
        "size": TITLE_SIZES,
        "place": TITLE_PLACES,
        "align": PLACES,
        "tilt": TILTS,
    },
    Mark: {"kind": MARKS, "shape": LOGOS, "colour": BRIGHT, "place": (*PLACES, *CORNERS, "all")},
    Scene: {
        "background": (*BACKGROUNDS, *PHOTOGRAPHS, *OTHER_BACKGROUNDS),
        "time": TIMES,
        "blur": (False, True),
        "look": LOOKS,
        "style": STYLES,
    },
}
"""What each attribute may be: the one list from which sampling, edits, words and measures all read."""


def get(scene: Scene, path: str) -> Any:
    """The attribute at a path such as "time", "characters.0.shirt", "things.1" or "title.text".

    None where the path leads to a part the scene does not have. Raises InputError for a name that no part has.
    """
    value: Any = scene
    for name in path.split("."):
        if value is None:
            return None
        if isinstance(value, tuple):
            value = value[int(name)] if int(name) < len(value) else None
        elif any(name == each.name for each in fields(value)):
            value = getattr(value, name)
        else:
            accepted = ", ".join(each.name for each in fields(value))
            raise InputError(f"path={path!r}: no attribute {name!r}; accepted: {accepted}")
    return value


def put(scene: Scene, path: str, value: Any) -> Scene:
    """The scene with the attribute at a path (see `get`) set to a value; the parts on the way must exist."""
    put_in: Scene = _put_in(scene, path, value)
    return put_in


def _put_in(part: Any, path: str, value: Any) -> Any:
    first, _, rest = path.partition(".")
    if isinstance(part, tuple):
        index = int(first)
        changed = _put_in(part[index], rest, value) if rest else value
        return (*part[:index], changed, *part[index + 1 :])
    return replace(part, **{first: _put_in(getattr(part, first), rest, value) if rest else value})


def check(scene: Scene) -> Scene:
    """The scene itself, if the world knows every attribute. Raises InputError that names the first it does not."""
    parts: list[tuple[str, Any]] = [("", scene)]
    for name in ("characters", "things", "marks"):
        parts += [(f"{name}.{i}.", part) for i, part in enumerate(getattr(scene, name))]
    if scene.title is not None:
        parts.append(("title.", scene.title))
    for prefix, part in parts:
        for name, accepted in CHOICES[type(part)].items():
            if getattr(part, name) not in accepted:
                words = ", ".join(map(str, accepted))
                raise InputError(f"{prefix}{name}={getattr(part, name)!r}: not known to the world; accepted: {words}")
    if scene.variant < 0 or (scene.is_drawn and scene.variant >= VARIANTS):
        upto = f"0 to {VARIANTS - 1}" if scene.is_drawn else "0 and above"
        raise InputError(f"variant={scene.variant}: of a {scene.background} background; {upto} accepted")
    if scene.background in TIMELESS and scene.time != "day":
        raise InputError(f"time={scene.time!r}: a {scene.background} background has no time; 'day' accepted")
    if len(scene.characters) > 2:
        raise InputError(f"characters: {len(scene.characters)} came; at most 2 accepted")
    return scene


def to_json(scene: Scene) -> dict[str, Any]:
    """The scene as JSON data: what is as usual is left out, so that a line says only what is particular."""
    return _sparse(scene)


def _sparse(part: Any) -> Any:
    usual = None if isinstance(part, Title | Mark) else type(part)()
    out = {}
    for each in fields(part):
        value = getattr(part, each.name)
        if usual is not None and value == getattr(usual, each.name):
            continue
        if isinstance(value, tuple):
            value = [_sparse(item) for item in value]
        elif isinstance(value, Title | Face):
            value = _sparse(value) if isinstance(value, Face) else asdict(value)
        out[each.name] = value
    return out


def from_json(data: Mapping[str, Any]) -> Scene:
    """The scene that `to_json` wrote. Raises InputError for anything else."""
    try:
        made = dict(data)
        made["characters"] = tuple(
            Character(**{**each, "face": Face(**each.get("face", {}))}) for each in data.get("characters", ())
        )
        made["things"] = tuple(Thing(**each) for each in data.get("things", ()))
        made["marks"] = tuple(Mark(**each) for each in data.get("marks", ()))
        made["title"] = Title(**data["title"]) if data.get("title") else None
        return check(Scene(**made))
    except (TypeError, AttributeError) as error:
        raise InputError(f"scene: not a scene of this world ({error}); what `to_json` wrote is accepted") from None
