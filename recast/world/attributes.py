"""One attribute of a picture: the values it may have, and which of them is seen, all else being as it is.

Every value is drawn and compared with the picture where the drawings differ. An attribute is *unknown* where the value
most like the picture is not clearly nearer than the next, and where none is near. Values that draw the same picture
are one: a finding names the first and lists the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from recast.errors import InputError
from recast.world import scene as world
from recast.world.eye import Box, Comparison, Eye, hill
from recast.world.rules import shows
from recast.world.scene import CHOICES, STEP, VARIANTS, Face, Mark, Scene, get, put

UNKNOWN = "unknown"
HIDDEN = "does not show"
FAR = 16.0
"""A value whose drawing differs from the picture by more than this, where it shows, is not what the picture shows."""
FAR_SHARE = 0.6
"""... unless it is nearer than this share of its distance from the next value."""
CLEAR = 0.25
"""How much of the way between two values, from the middle, the picture must be past to be told which one it shows."""
TOLERANCE = 5
"""Steps of 1/64 within which two sizes count as one: 8 %, less than the eye tells apart."""
SIZES = {"dx": (-6, 6, 0), "dy": (-6, 6, 0), "scale": (-10, 11, 1), "face": (-9, 12, 1)}
"""Attributes on a scale: the least and the greatest step of 1/64, and what step 0 is."""
STRIDES = (4, 2, 1)
"""Steps in which a scale is searched."""

CHARACTER_ORDER = (
    "place", "skin", "hair", "hair_colour", "outfit", "shirt", "pose", "hat", "hat_colour", "glasses", "expression",
    "beard", "freckles", "logo", "logo_colour", "holding", "holding_colour",
)  # fmt: skip
CARRIERS = {"hat_colour": "hat", "logo_colour": "logo", "holding_colour": "holding"}
"""Colours that only show where something has them."""


@dataclass(frozen=True)
class Finding:
    """What one attribute was found to be. value: UNKNOWN if it cannot be told, and `reason` says why.

    alike: the values that would look just like the one found. distance: mean Lab distance between the picture and the
    best drawing where the value shows. margin: from 0 (as near to the next value) to 1 (as far from it as the two are
    from each other). box: where in the picture the attribute shows, None if nowhere.
    """

    path: str
    value: Any
    distance: float
    margin: float
    reason: str = ""
    alike: tuple[Any, ...] = ()
    box: Box | None = None

    @property
    def is_known(self) -> bool:
        return self.reason == ""

    @property
    def is_hidden(self) -> bool:
        """Whether no value would look any different."""
        return self.reason.startswith(HIDDEN)

    def may_be(self, value: Any) -> bool:
        """Whether the picture is just what it would be with this value."""
        return any(value == each and type(value) is type(each) for each in (self.value, *self.alike))


def readable(scene: Scene) -> tuple[str, ...]:
    """The paths of all attributes on a list that can show in a picture of this scene, big ones first."""
    paths = []
    if scene.is_drawn:
        paths += ["background", *(["time"] if scene.background not in world.TIMELESS else []), "variant"]
    elif scene.background in (*world.PHOTOGRAPHS, "photograph"):
        paths.append("time")
    paths += ["style", "look"]
    for i, _ in enumerate(scene.characters):
        paths += [f"characters.{i}.{name}" for name in CHARACTER_ORDER]
    for i, _ in enumerate(scene.things):
        paths += [f"things.{i}.{name}" for name in ("place", "size", "kind", "colour")]
    for i, mark in enumerate(scene.marks):
        names = ("kind", "place", "colour") if mark.kind not in ("sticker", "logo") else ("shape", "place", "colour")
        paths += [f"marks.{i}.{name}" for name in names]
    if scene.background not in (*world.TIMELESS, "clouds"):
        paths.append("blur")
    return tuple(path for path in paths if shows(scene, path))


def listed(scene: Scene) -> tuple[str, ...]:
    """As `readable`, and those that would show in another picture of the same people and things."""
    dressed = tuple(replace(each, hat="cap", hair="long", logo="star", holding="cup") for each in scene.characters)
    return readable(replace(scene, characters=dressed, look="none"))


def values(scene: Scene, path: str) -> Sequence[Any]:
    """Every value that the attribute at `path` may have. Raises InputError where it has no list of them."""
    owner_path, _, name = path.rpartition(".")
    owner = get(scene, owner_path) if owner_path else scene
    if owner is None:
        raise InputError(f"path={path!r}: the scene has no such part; a path of the scene accepted")
    if path == "variant":
        return range(VARIANTS) if scene.is_drawn else (scene.variant,)
    if path == "background":
        return (*world.BACKGROUNDS, *(world.PHOTOGRAPHS if scene.background in world.PHOTOGRAPHS else ()))
    if isinstance(owner, Face) or name in SIZES:
        least, most, usual = SIZES["face" if isinstance(owner, Face) else name]
        return [usual + step * STEP for step in range(least, most + 1)]
    if isinstance(owner, Mark):
        return _of_mark(owner, name)
    if name in CHOICES.get(type(owner), {}):
        return CHOICES[type(owner)][name]
    raise InputError(f"path={path!r}: no list of values; accepted: {', '.join(readable(scene))}")


def _of_mark(mark: Mark, name: str) -> Sequence[Any]:
    if name == "place":
        usual = world.PLACES if mark.kind in ("arrow", "circle") else world.CORNERS
        return usual if mark.place in usual else (mark.place,)  # a border is all around, the logo of a sheet centred
    if name == "kind":
        return next(kinds for kinds in (("arrow", "circle"), ("sticker", "logo"), ("border",)) if mark.kind in kinds)
    return CHOICES[Mark][name]


def candidates(scene: Scene, path: str) -> list[Scene]:
    """The scene with every value that the attribute at `path` may have, the present one first."""
    now = get(scene, path)
    return [scene, *(with_value(scene, path, value) for value in values(scene, path) if value != now)]


def combinations(scene: Scene, paths: Sequence[str]) -> list[Scene]:
    """The scene with every combination of values at several paths; no colour of what is not there."""
    names = [path.rpartition(".")[2] for path in paths]
    lists = [values(scene, path) for path in paths]
    made = {scene: None}
    for combined in product(*lists):
        named = dict(zip(names, combined, strict=True))
        if any(
            named.get(CARRIERS.get(name, "")) == "none" and value != lists[i][0]
            for i, (name, value) in enumerate(named.items())
        ):
            continue
        other = scene
        for path, value in zip(paths, combined, strict=True):
            other = with_value(other, path, value)
        made[other] = None
    return list(made)


def with_value(scene: Scene, path: str, value: Any) -> Scene:
    """The scene with a value at a path, and with what follows from it: a studio has no time, and few variants."""
    changed = put(scene, path, value)
    if path != "background":
        return changed
    timeless = changed.background in world.TIMELESS
    return replace(
        changed,
        time="day" if timeless else changed.time,
        blur=changed.blur and not timeless and changed.background != "clouds",
        variant=changed.variant % VARIANTS if changed.is_drawn else changed.variant,
    )


def settle(eye: Eye, scene: Scene, path: str) -> tuple[Finding, Scene]:
    """What the attribute at `path` is, all others being as in the scene; and the scene with it."""
    if not shows(scene, path):
        return Finding(path, UNKNOWN, 0.0, 0.0, f"{HIDDEN} in such a scene", tuple(values(scene, path))), scene
    if is_size(path):
        return _slide(eye, scene, path)
    return choose(eye, path, candidates(scene, path))


def is_size(path: str) -> bool:
    """Whether the attribute is on a scale, where values near each other look alike."""
    owner, _, name = path.rpartition(".")
    return owner.endswith(".face") or name in ("dx", "dy", "scale")


def choose(eye: Eye, path: str, options: Sequence[Scene]) -> tuple[Finding, Scene]:
    """Which of several scenes, alike but for what is at `path`, the picture shows; the first is the present one."""
    compared = eye.compare(options)
    return _finding(path, [get(option, path) for option in options], compared), options[compared.best]


def _slide(eye: Eye, scene: Scene, path: str) -> tuple[Finding, Scene]:
    """As `choose`, for an attribute on a scale: downhill from where it is; only sizes that far apart are rivals."""
    scale = values(scene, path)
    now = min(range(len(scale)), key=lambda place: abs(scale[place] - get(scene, path)))
    far = [place for place in (now - TOLERANCE, now + TOLERANCE) if 0 <= place < len(scale)]
    compared = eye.compare([scene, *(put(scene, path, scale[place]) for place in far)])
    if compared.box is None:
        return _finding(path, [scale[place] for place in (now, *far)], compared), scene
    box = compared.box
    best = hill(lambda place: eye.cost(put(scene, path, scale[place]), box), now, len(scale), STRIDES)
    rivals = [place for place in (best - TOLERANCE, best + TOLERANCE) if 0 <= place < len(scale)]
    options = [put(scene, path, scale[place]) for place in (best, *rivals)]
    compared = eye.compare(options)
    return _finding(path, [get(option, path) for option in options], compared), options[0]


def _finding(path: str, found: Sequence[Any], compared: Comparison) -> Finding:
    value, best = found[compared.best], compared.best
    alike = tuple(each for i, each in enumerate(found) if i != best and compared.margins[i] is None)
    rivals = sorted(
        (i for i, margin in enumerate(compared.margins) if margin is not None), key=compared.costs.__getitem__
    )
    if not rivals:
        reason = f"{HIDDEN}: any value looks the same" if alike else ""
        return Finding(path, UNKNOWN if alike else value, 0.0, 0.0, reason, tuple(found), compared.box)
    clearest = min(rivals, key=lambda i: compared.margins[i] or 0.0)
    margin, reason = compared.margins[clearest] or 0.0, ""
    if margin < CLEAR:
        reason = f"between {value!r} and {found[clearest]!r}"
    else:
        for i in rivals[:3]:  # from those farther off it may be told by what else is wrong there
            if compared.near[i] > max(FAR, FAR_SHARE * compared.gaps[i]):
                reason = f"like none: {compared.near[i]:.0f} from {value!r}"
    distance = max(compared.near[i] for i in rivals[:3])
    return Finding(path, UNKNOWN if reason else value, distance, margin, reason, alike, compared.box)
