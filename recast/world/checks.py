"""Is it as asked? The values at any paths of a scene, whole parts and titles included, read from a picture.

`measure` reads single attributes and `lettered` titles; here they are asked about whatever an instruction named: "the
shirt of the second person", "the title", "the car that should be gone". What draws the same picture is the same: where
the wanted value cannot be told from the one found, the wanted one is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.world import lettered, measure, search
from recast.world.attributes import TOLERANCE, is_size, with_value
from recast.world.measure import UNKNOWN, Eye, choose
from recast.world.rules import shows
from recast.world.scene import (
    IDENTITY,
    LETTERS,
    STEP,
    Character,
    Face,
    Mark,
    Scene,
    Thing,
    Title,
    get,
    put,
)

__all__ = [
    "FACE_TOLERANCE", "Found", "equal", "identity", "read", "similarity", "wanted", "with_identity", "with_value",
]  # fmt: skip

WORN = ("expression", "glasses", "hat", "hat_colour")
"""What changes the look of a face and not whose it is."""
FACE_TOLERANCE = TOLERANCE * STEP
"""A size counts as right within 8 %: less than the eye tells apart, more than an autoencoder displaces an edge."""
LOST = 3
"""Tolerances by which a size may be off before it counts for nothing."""
PARTS = {"characters": Character, "things": Thing, "marks": Mark}
NAMED: Mapping[type, tuple[str, ...]] = {
    Character: tuple(name for name in IDENTITY if name != "face"),
    Thing: ("kind", "colour", "size", "place"),
    Mark: ("kind", "shape", "colour", "place"),
    Title: ("text", "colour", "place"),
}
"""What makes a whole part the right one."""
TITLE_COLOURS = ("none", *LETTERS)
COLOURS_OF_TITLES = ("title.colour", "title.outline", "title.plate")


@dataclass(frozen=True)
class Found:
    """What a picture shows at some paths: `scene`, the drawing nearest to it, and a value or UNKNOWN for each."""

    scene: Scene
    target: Scene
    values: Mapping[str, Any]

    def value(self, path: str) -> Any:
        return self.values.get(path, UNKNOWN)

    def holds(self, path: str) -> bool:
        """Whether the picture shows at this path what the target has there; unknown is not right."""
        return equal(path, wanted(self.target, path), self.value(path))


def wanted(scene: Scene, path: str) -> Any:
    """What a scene has at a path; None where it has no such part."""
    owner, _, _ = path.rpartition(".")
    if owner and get(scene, owner) is None:
        return None
    return get(scene, path)


def equal(path: object, want: Any, found: Any) -> bool:
    """Whether what was found is what was wanted; sizes within their tolerance, parts by what names them."""
    if isinstance(want, float) and isinstance(found, float):
        return similarity(want, found) == 1
    if type(want) in NAMED and type(found) is type(want):
        return all(getattr(want, name) == getattr(found, name) for name in NAMED[type(want)])
    return bool(want == found and type(want) is type(found))


def similarity(want: Any, found: Any) -> float:
    """How alike two values of one attribute are, 0..1: for sizes 1 within their tolerance, then falling in a straight
    line to 0 at LOST times the tolerance, so that a drift in small steps shows; for all else 1 or 0.
    """
    if isinstance(want, float) and isinstance(found, float):
        excess = abs(want - found) / FACE_TOLERANCE - 1
        return min(1.0, max(0.0, 1 - excess / (LOST - 1)))
    return float(want == found and type(want) is type(found))


def read(
    pixels: np.ndarray,
    target: Scene,
    source: Scene | None,
    paths: Sequence[str],
    free: Sequence[str] = (),
    *,
    photograph: np.ndarray | None = None,
) -> Found:
    """What a picture (H, W, 3) uint8 shows at `paths`, if it is anything between the source and the target.

    free: what the target leaves open, fitted along, so that a model's own choice there does not hide the rest. Of a
    picture made from words alone (source None) everything but `paths` is open.
    """
    eye = Eye(pixels, photograph)
    if eye.shows(target):
        return Found(target, target, {path: wanted(target, path) for path in (*paths, *free)})
    drawable = source is not None and (source.background == "photograph") == (photograph is not None)
    if source is not None and drawable and eye.shows(source):
        return Found(source, target, {path: _as_in(eye, source, target, path) for path in paths})
    start = min(_starts(target, source), key=eye.cost)
    open_paths: list[str] = []
    if not eye.is_like(start):
        open_paths = [path for path in _opened(target, source, free) if _is_readable(target, path)]
    found = _read_from(eye, start, target, source, paths, free, open_paths)
    if all(found.value(path) != UNKNOWN for path in paths) or not search.is_partly(eye, start):
        return found
    better = search.refit(eye, tuple(dict.fromkeys((start, found.scene))), paths)
    again = _read_from(eye, better, target, source, paths, free, open_paths, is_hidden_wanted=False)
    if not eye.is_like(again.scene):
        return found
    known = {path: value for path, value in found.values.items() if value != UNKNOWN}
    return Found(again.scene, target, {**again.values, **known})


def _read_from(
    eye: Eye,
    start: Scene,
    target: Scene,
    source: Scene | None,
    paths: Sequence[str],
    free: Sequence[str],
    open_paths: Sequence[str],
    *,
    is_hidden_wanted: bool = True,
) -> Found:
    """As `read`, with all as in `start` but what is at `paths` and the open paths.

    is_hidden_wanted: whether what is hidden counts as wanted; else it is unknown: what nobody asked for may hide it.
    """
    inside = [f"{path}.{name}" for path in paths if _is_part(path) for name in _names_in(target, path, free)]
    plain = [path for path in paths if not _is_part(path)]
    asked = [path for path in (*plain, *inside) if _is_readable(target, path)]
    scene, values = start, {}
    together = tuple(dict.fromkeys((*open_paths, *asked)))
    if together:
        found = measure.read(eye, start, together)
        scene = found.scene
        for path, finding in found.found.items():
            want = wanted(target, path)
            is_wanted = finding.may_be(want) and (is_hidden_wanted or not finding.is_hidden)
            values[path] = want if is_wanted else finding.value
    for path in paths:
        if _is_title(path):
            continue
        if _is_part(path):
            values[path] = _part(eye, scene, target, source, path, values, free)
        elif not _exists(target, path):
            values[path] = _gone(eye, scene, source, path)
    titles = [path for path in paths if _is_title(path)]
    if titles:
        is_font_open = "title.font" in (*paths, *free) or source is None
        before = source.title if source is not None else None
        found_title = lettered.read(eye, scene, target.title, before, is_font_open=is_font_open)
        scene, found_title, unsure = _in_its_colours(eye, scene, found_title)
        for path in titles:
            colour = "title.colour" if path == "title" else path  # that the title at this path is known by
            is_told = colour not in unsure or colour in free
            values[path] = found_title.value(path, free) if is_told else UNKNOWN
    return Found(scene, target, values)


def _in_its_colours(eye: Eye, scene: Scene, found: lettered.FoundTitle) -> tuple[Scene, lettered.FoundTitle, set[str]]:
    """The scene with the title as found, the title in the colours it has, and the paths that cannot be told.

    A title is read by its shapes: one in a colour somewhat like it passes for it there.
    """
    if isinstance(found.title, str):
        return scene, found, set()
    if found.title is None:
        return replace(scene, title=None), found, set()
    strange = {path for path in COLOURS_OF_TITLES if getattr(found.title, path.partition(".")[2]) not in TITLE_COLOURS}
    if strange:  # a picture may show letters in a colour that the world never gives them: no drawing to compare with
        return scene, found, strange
    scene = replace(scene, title=found.title)
    seen = measure.read(eye, scene, COLOURS_OF_TITLES, is_thorough=False)
    unsure = {path for path, finding in seen.found.items() if not finding.is_known and not finding.is_hidden}
    return seen.scene, replace(found, title=seen.scene.title), unsure


def identity(pixels: np.ndarray | Eye, scene: Scene, target: Scene, index: int) -> dict[str, float]:
    """How alike each visible component of who a character is, is to the target's, 0..1; an unknown one is not (0).

    Components: skin, hair, its colour, beard, freckles, and six sizes of the face (see `similarity`). scene: the
    drawing nearest to the picture otherwise, so that a new pose or place does not hide the face.
    """
    eye = pixels if isinstance(pixels, Eye) else Eye(pixels)
    start = with_identity(scene, target, index)
    who = f"characters.{index}"
    plain = [f"{who}.{name}" for name in IDENTITY if name != "face"]
    shape = [f"{who}.face.{each.name}" for each in fields(Face)]
    if eye.shows(start):
        return {path.removeprefix(f"{who}."): 1.0 for path in (*plain, *shape) if shows(start, path)}
    # Read along, and not counted: a new mood or hat that nobody asked for must not pass for another face.
    worn = [f"{who}.{name}" for name in WORN if shows(start, f"{who}.{name}")]
    found = measure.read(eye, start, (*plain, *worn, *shape))
    same = {}
    for path, finding in found.found.items():
        if finding.is_hidden or path in worn:
            continue
        want = get(target, path)
        is_same = not is_size(path) and finding.is_known and finding.may_be(want)
        same[path.removeprefix(f"{who}.")] = 1.0 if is_same else similarity(want, finding.value)
    return same


def with_identity(scene: Scene, target: Scene, index: int) -> Scene:
    """The scene with the target's person in the clothes, pose and place of the scene's own."""
    if index >= len(scene.characters):
        return target
    person = scene.characters[index]
    who = {name: getattr(target.characters[index], name) for name in IDENTITY}
    return put(scene, f"characters.{index}", replace(person, **who))


def _starts(target: Scene, source: Scene | None) -> list[Scene]:
    """The target, and the target with the title of the source or none: what a title hides is not seen."""
    titles = dict.fromkeys((target.title, source.title if source is not None else None, None))
    return [replace(target, title=title) for title in titles]


def _opened(target: Scene, source: Scene | None, free: Sequence[str]) -> Iterable[str]:
    """The paths of all attributes that are free, those inside free parts and faces included."""
    if source is None:
        free = (*free, *measure.readable(target), *(f"characters.{i}.face" for i, _ in enumerate(target.characters)))
    for path in free:
        if not _exists(target, path):
            continue
        value = get(target, path)
        if isinstance(value, Character):
            yield from (f"{path}.{each.name}" for each in fields(value) if each.name != "face")
            yield from (f"{path}.face.{each.name}" for each in fields(Face))
        elif is_dataclass(value) and not isinstance(value, Title):
            yield from (f"{path}.{each.name}" for each in fields(value))
        else:
            yield path


def _as_in(eye: Eye, source: Scene, target: Scene, path: str) -> Any:
    """What a picture that shows the source has at a path: the wanted value, if the source would look just like that."""
    want, now = wanted(target, path), wanted(source, path)
    if is_dataclass(now) or want is None or now is None or _is_title(path):
        return now
    try:
        other = with_value(source, path, want)
        return want if measure.looks_same(source, other, eye.width, eye.height, eye.photograph) else now
    except InputError:  # no such scene: a studio at night
        return now


def _part(
    eye: Eye,
    scene: Scene,
    target: Scene,
    source: Scene | None,
    path: str,
    values: Mapping[str, Any],
    free: Sequence[str],
) -> Any:
    """A whole part as found: with the values read inside it, None if it is not there, or UNKNOWN."""
    want = get(target, path)
    if want is None:
        return _gone(eye, scene, source, path)
    finding, _ = choose(eye, path.partition(".")[0], [scene, search.without(scene, path)])
    if not finding.is_known:
        return UNKNOWN
    if finding.value != getattr(scene, path.partition(".")[0]):
        return None
    inside = {name: values.get(f"{path}.{name}", UNKNOWN) for name in _names_in(target, path, free)}
    return UNKNOWN if UNKNOWN in inside.values() else replace(want, **inside)


def _gone(eye: Eye, scene: Scene, source: Scene | None, path: str) -> Any:
    """None if what the source has at this path is gone from the picture; what the source has if it is still there."""
    owner, _, _ = path.rpartition(".")
    part = path if _is_part(path) else owner if _is_part(owner) else None
    if source is None or part is None or get(source, part) is None:
        return None
    kind, _, index = part.partition(".")
    there = list(getattr(scene, kind))
    there.insert(int(index), get(source, part))
    back = put(scene, kind, tuple(there))
    finding, _ = choose(eye, kind, [scene, back])
    if not finding.is_known:
        return UNKNOWN
    return get(source, path) if finding.value == getattr(back, kind) else None


def _names_in(target: Scene, path: str, free: Sequence[str]) -> tuple[str, ...]:
    """The attributes that make the part at a path the right one, without those that are free."""
    part = get(target, path)
    if part is None or path in free:
        return ()
    names = NAMED[type(part)]
    if isinstance(part, Mark):
        names = (
            ("kind", "shape", "colour", "place") if part.kind in ("sticker", "logo") else ("kind", "colour", "place")
        )
    return tuple(name for name in names if f"{path}.{name}" not in free and shows(target, f"{path}.{name}"))


def _is_readable(target: Scene, path: str) -> bool:
    return _exists(target, path) and not _is_title(path) and not is_dataclass(get(target, path))


def _exists(scene: Scene, path: str) -> bool:
    owner, _, _ = path.rpartition(".")
    return not owner or get(scene, owner) is not None


def _is_title(path: str) -> bool:
    return path.partition(".")[0] == "title"


def _is_part(path: str) -> bool:
    kind, _, index = path.partition(".")
    return kind in PARTS and index.isdigit()
