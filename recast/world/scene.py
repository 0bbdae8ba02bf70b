"""A scene as plain data: everything that is in a picture of the world, and nothing about pixels.

Every attribute is a word from a list below, a string, a whole number, or a float on a grid of 1/64, so that scenes
compare exactly, travel as JSON and never differ by a rounding. Lengths are fractions of the picture's height.

Order of drawing, back to front: background (with its time), blur of the background, things behind, characters with
what they hold, things in front; over all of that the look and the style; then marks and title, which are graphics
put on the finished picture: no look and no style ever touches them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
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
    """The continuous part of an identity, each as a multiple of the usual, on the grid of 1/64; see RANGES."""

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
RANGES: Mapping[type, Mapping[str, tuple[float, float]]] = {
    Face: {each.name: (0.75, 1.25) for each in fields(Face)},
    Character: {"dx": (-0.25, 0.25), "dy": (-0.25, 0.25), "scale": (0.5, 1.5)},
    Thing: {"dx": (-0.25, 0.25)},
}
"""The least and the most of each float that is drawn, both accepted, on the grid of STEP; random scenes keep closer."""
MARK_PLACES: Mapping[str, tuple[str, ...]] = {
    "arrow": PLACES,
    "circle": PLACES,
    "border": ("all",),
    "sticker": CORNERS,
    "logo": (*CORNERS, "center"),
}
"""Where each kind of mark may be."""
PARTS: Mapping[str, type] = {"characters": Character, "things": Thing, "marks": Mark}
"""The parts of which a scene may have several."""


def get(scene: Scene, path: str) -> Any:
    """The attribute at a path such as "time", "characters.0.shirt", "things.1" or "title.text".

    None where the path leads to, or through, a part the scene does not have. Raises InputError for a name that a part
    does not have.
    """
    value: Any = scene
    for name in path.split("."):
        if value is None:
            return None
        if isinstance(value, tuple):
            if not name.isdecimal():
                raise InputError(f"path={path!r}: {name!r} came; a number from 0 accepted, such as things.0")
            value = value[int(name)] if int(name) < len(value) else None
        elif not is_dataclass(value):
            raise InputError(f"path={path!r}: nothing has an attribute {name!r} there; leave .{name} out")
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
    _check_part("scene", scene, Scene)
    for name, kind in PARTS.items():
        parts = getattr(scene, name)
        if type(parts) is not tuple:
            raise InputError(f"{name}: {type(parts).__name__} came; a tuple of {kind.__name__} accepted")
        for i, part in enumerate(parts):
            _check_part(f"{name}.{i}", part, kind)
    for i, character in enumerate(scene.characters):
        _check_part(f"characters.{i}.face", character.face, Face)
    for i, mark in enumerate(scene.marks):
        if mark.place not in MARK_PLACES[mark.kind]:
            words = ", ".join(MARK_PLACES[mark.kind])
            raise InputError(f"marks.{i}.place={mark.place!r}: of the kind {mark.kind!r}; accepted: {words}")
    if scene.title is not None:
        _check_part("title", scene.title, Title)
        _check_lettering(scene.title)
    if type(scene.variant) is not int or scene.variant < 0 or (scene.is_drawn and scene.variant >= VARIANTS):
        upto = f"0 to {VARIANTS - 1}" if scene.is_drawn else "0 and above"
        raise InputError(
            f"variant={scene.variant!r}: of a {scene.background} background; a whole number, {upto} accepted"
        )
    if scene.background in TIMELESS and scene.time != "day":
        raise InputError(f"time={scene.time!r}: a {scene.background} background has no time; 'day' accepted")
    if len(scene.characters) > 2:
        raise InputError(f"characters: {len(scene.characters)} came; at most 2 accepted")
    return scene


def _check_part(path: str, part: Any, kind: type) -> None:
    """Raise InputError unless a part is of its kind, and has words of its lists and floats in their ranges."""
    if type(part) is not kind:
        raise InputError(f"{path}: {type(part).__name__} came; {kind.__name__} accepted")
    for name, accepted in CHOICES.get(kind, {}).items():
        value = getattr(part, name)
        # The type as well: to Python 1 is True and 0.0 is 0, but as JSON they are other scenes.
        if value not in accepted or type(value) is not type(accepted[0]):
            raise InputError(f"{_within(path, name)}={value!r}: accepted: {', '.join(map(repr, accepted))}")
    for name, (least, most) in RANGES.get(kind, {}).items():
        value = getattr(part, name)
        if type(value) is not float or not least <= value <= most or not (value / STEP).is_integer():
            allowed = f"a float from {least} to {most}, a multiple of 1/64, accepted"
            raise InputError(f"{_within(path, name)}={value!r}: {allowed}")


def _check_lettering(title: Title) -> None:
    from recast.world.lettering import FONTS  # brings Pillow, which a scene without lettering does not need

    if type(title.text) is not str or not title.text:
        raise InputError(f"title.text={title.text!r}: a string with at least one character accepted")
    if type(title.font) is not str or title.font not in FONTS:
        raise InputError(f"title.font={title.font!r}: accepted: {', '.join(FONTS)}")


def _within(path: str, name: str) -> str:
    return name if path == "scene" else f"{path}.{name}"


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
    made = _object("scene", data)
    for name, kind in PARTS.items():
        if name in made:
            if not isinstance(made[name], list | tuple):
                raise InputError(f"{name}: {type(made[name]).__name__} came; a list accepted")
            made[name] = tuple(_part(f"{name}.{i}", each, kind) for i, each in enumerate(made[name]))
    if made.get("title") is not None:
        made["title"] = _part("title", made["title"], Title)
    return check(_part("scene", made, Scene))


def _part(path: str, data: Any, kind: type) -> Any:
    """A part from its JSON object."""
    made = _object(path, data)
    if kind is Character and "face" in made:
        made["face"] = _part(f"{path}.face", made["face"], Face)
    try:
        return kind(**made)
    except TypeError as error:  # a name too many, or one that is missing
        what = str(error).removeprefix(f"{kind.__name__}.__init__() ")
        raise InputError(f"{path}: not of this world ({what}); what `to_json` wrote is accepted") from None


def _object(path: str, data: Any) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: {type(data).__name__} came; a JSON object accepted, as `to_json` writes it")
    return dict(data)
