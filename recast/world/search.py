"""The scene most like a picture, from one that may differ in much.

`descend` changes one attribute at a time while that brings the drawing nearer, and looks again only where a drawing has
changed since. Where it stalls, and only there, attributes are tried together: a hat in a wrong colour can be farther
from the picture than no hat. Where people stand is searched from coarse to fine before anything else. `refit` is for a
picture that is as drawn but for a part: it opens whatever stands there, wanted or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace

import numpy as np

from recast.world import scene as world
from recast.world.attributes import Finding, candidates, combinations, is_size, listed, settle, with_value
from recast.world.eye import OFF, Box, Eye
from recast.world.rules import problems, shows
from recast.world.scene import (
    LOOKS,
    MARK_PLACES,
    PARTS,
    STEP,
    STYLES,
    TIMELESS,
    TIMES,
    VARIANTS,
    Face,
    Mark,
    Scene,
    put,
)

MAX_ROUNDS = 4
TOGETHER = (
    ("hat", "hat_colour"),
    ("hair", "hair_colour"),
    ("outfit", "shirt"),
    ("logo", "logo_colour"),
    ("holding", "holding_colour"),
    ("pose", "holding"),
)
"""Attributes of a person that hide each other: a value of one can only be seen with the right value of the other."""
LOWEST_PX = 64
FEW = 6
"""How many of the coarse guesses are looked at closely."""
DRAWN = 3.0
"""A median distance in Lab up to which a picture is as drawn but for a part: noise at 31 dB makes 1.8 to 2.1, what
`nano`'s autoencoder loses 3 to 16."""


def fit(eye: Eye, start: Scene, paths: Sequence[str], *, is_thorough: bool = True) -> tuple[Scene, dict[str, Finding]]:
    """The scene most like the picture that differs from `start` at no other path, and what was found at each.

    is_thorough: whether attributes are tried together where one at a time is not enough.
    """
    scene = start
    if is_thorough and not eye.is_like(scene):
        scene = _grounds(eye, scene, paths)
        scene = _stands(eye, scene, paths)
    scene, found = descend(eye, scene, paths)
    if not is_thorough:
        return scene, found
    tried: dict[tuple[str, ...], Scene] = {}
    for _ in range(MAX_ROUNDS):
        before = scene
        for group in _groups(scene, paths):
            boxes = [found[path].box for path in group if path in found]
            box = _around([box for box in boxes if box is not None])
            if group in tried and not _meet(box, eye.compare((tried[group], scene)).box):
                continue  # nothing has changed there since
            if box is not None and any(found[path].distance > OFF for path in group if path in found):
                scene = tried[group] = eye.nearest(combinations(scene, group))
        if scene == before:
            break
        scene, found = descend(eye, scene, paths, found, before)
    if not eye.is_like(scene):  # one step may be all that is wanted, and others taken before it have led away
        words = [path for path in paths if shows(start, path) and not is_size(path)]
        single = eye.nearest([start, *(each for path in words for each in candidates(start, path)[1:])])
        if eye.is_like(single):
            return descend(eye, single, paths)
    return scene, found


def is_partly(eye: Eye, scene: Scene) -> bool:
    """Whether the picture is as the scene's drawing but for a part: not everywhere, and over most of it."""
    return not eye.is_like(scene) and float(np.median(eye.residual(scene))) <= DRAWN


def refit(eye: Eye, scenes: Sequence[Scene], asked: Sequence[str] = ()) -> Scene:
    """The scene most like a picture that is as drawn but for a part, with all open that stands in that part.

    Open is every attribute and size of the people, things and marks there, whether each thing or mark is there at all,
    and whether one more mark is. The ground, its look and style, and the title stay: the first three show over more
    than a part, and titles are read by themselves. Sizes go first: with a face too narrow no hair is right.
    scenes: where to start from. asked: paths that lead to the same parts afterwards.
    """
    sized = []
    for scene in scenes:
        start = eye.nearest([scene, *_less(scene, asked), *_more(eye, scene)])
        sized.append(descend(eye, start, [path for owner in _off(eye, start) for path in _sizes(owner)])[0])
        if eye.is_like(sized[-1]):
            return sized[-1]
    best = min(sized, key=eye.cost)
    owners = _off(eye, best)
    words = [path for path in listed(best) if path.rpartition(".")[0] in owners]
    return fit(eye, best, [*words, *(path for owner in owners for path in _sizes(owner))])[0]


def without(scene: Scene, owner: str) -> Scene:
    """The scene without one of its parts, such as "things.0"."""
    kind, _, index = owner.partition(".")
    parts = getattr(scene, kind)
    return put(scene, kind, (*parts[: int(index)], *parts[int(index) + 1 :]))


def _off(eye: Eye, scene: Scene) -> list[str]:
    """The parts of the scene that the picture does not show as drawn."""
    owners = []
    for kind in PARTS:
        for index, _ in enumerate(getattr(scene, kind)):
            owner = f"{kind}.{index}"
            box = eye.compare((scene, without(scene, owner))).box
            if box is not None and int(np.count_nonzero(eye.residual(scene, box) > OFF)) >= eye.enough:
                owners.append(owner)
    return owners


def _sizes(owner: str) -> list[str]:
    """The paths of all that is on a scale in a part."""
    if owner.startswith("characters"):
        faces = [f"{owner}.face.{each.name}" for each in fields(Face)]
        return [*faces, *(f"{owner}.{name}" for name in ("dx", "dy", "scale"))]
    return [f"{owner}.dx"] if owner.startswith("things") else []


def _less(scene: Scene, asked: Sequence[str]) -> Iterator[Scene]:
    """The scene without one of its things or marks, none of those that were asked for or counted before one."""
    for kind in ("things", "marks"):
        indices = [int(path.split(".")[1]) for path in asked if path.startswith(f"{kind}.")]
        for index in range(max(indices, default=-1) + 1, len(getattr(scene, kind))):
            yield without(scene, f"{kind}.{index}")


def _more(eye: Eye, scene: Scene) -> Iterator[Scene]:
    """The scene with one more mark, of every kind, colour and place where the picture is not as drawn there."""
    if scene.background == "plain":
        return  # a sheet has no mark but the logo it shows
    had = set(problems(scene))
    for kind, places in MARK_PLACES.items():
        for place in places:
            if (kind, place) == ("logo", "center"):
                continue  # of a sheet
            more = replace(scene, marks=(*scene.marks, Mark(kind=kind, place=place)))
            found = eye.compare((scene, more))
            if set(problems(more)) - had or (found.best == 0 and found.near[1] <= OFF):
                continue
            yield from candidates(more, f"marks.{len(scene.marks)}.colour")


def descend(
    eye: Eye,
    scene: Scene,
    paths: Sequence[str],
    found: dict[str, Finding] | None = None,
    before: Scene | None = None,
) -> tuple[Scene, dict[str, Finding]]:
    """Each attribute settled in turn, and again if a drawing changed where it shows, up to MAX_ROUNDS times.

    found, before: what is known already, of which scene.
    """
    known = dict(found or {})
    stale = set(paths)
    if found is not None and before is not None:
        changed = eye.compare((before, scene)).box
        stale = {path for path in paths if _meet(known[path].box, changed) or known[path].box is None}
    for _ in range(MAX_ROUNDS):
        for path in paths:
            if path not in stale:
                continue
            stale.discard(path)
            known[path], settled = settle(eye, scene, path)
            if settled != scene:
                changed = eye.compare((scene, settled)).box
                scene = settled
                stale |= {p for p in known if p != path and (known[p].box is None or _meet(known[p].box, changed))}
        if not stale:
            break
    return scene, known


def _groups(scene: Scene, paths: Sequence[str]) -> Iterable[tuple[str, ...]]:
    """Which of the paths are tried together."""
    asked = set(paths)
    made = []
    for i, _ in enumerate(scene.characters):
        made += [tuple(f"characters.{i}.{name}" for name in names) for names in TOGETHER]
    for i, _ in enumerate(scene.things):
        made += [(f"things.{i}.kind", f"things.{i}.colour"), (f"things.{i}.place", f"things.{i}.size")]
    for i, mark in enumerate(scene.marks):
        made.append(
            (f"marks.{i}.shape" if mark.kind in ("sticker", "logo") else f"marks.{i}.place", f"marks.{i}.colour")
        )
    if len(scene.characters) == 2:
        made.append(("characters.0.place", "characters.1.place"))
    for group in made:
        if asked.issuperset(group):
            yield group


def _grounds(eye: Eye, scene: Scene, paths: Sequence[str]) -> Scene:
    """The scene on the ground most like the picture's, in its style and look: all tried together, but small."""
    free = [path for path in ("background", "time", "variant", "style", "look") if path in paths]
    if not {"background", "style", "look"} & set(free) or not scene.is_drawn:
        return scene
    small = eye.smaller(max(1, min(eye.width, eye.height) // LOWEST_PX))
    plain = []
    for background in world.BACKGROUNDS if "background" in free else (scene.background,):
        grounded = with_value(scene, "background", background)
        times = TIMES if "time" in free and background not in TIMELESS else (grounded.time,)
        for variant in range(VARIANTS) if "variant" in free else (scene.variant,):
            plain += [replace(grounded, time=time, variant=variant) for time in times]
    on_ground = small.on_grounds(replace(scene, style="flat", look="none"))
    drawings = [on_ground(each) for each in plain]
    ranked = [scene]
    for style, look in dict.fromkeys((("flat", "none"), (scene.style, scene.look), ("flat", "black and white"))):
        if ("style" in free or style == scene.style) and ("look" in free or look == scene.look):
            costs = [small.cost_of(small.finished(drawing, look, style)) for drawing in drawings]
            order = sorted(range(len(plain)), key=costs.__getitem__)[:FEW]
            ranked += [replace(plain[index], style=style, look=look) for index in order]
    styles = STYLES if "style" in free else (scene.style,)
    looks = LOOKS if "look" in free else (scene.look,)
    finished = [
        replace(each, style=style, look=look)
        for each in ranked
        for style, look in (*((style, "none") for style in styles), *(("flat", look) for look in looks))
        if style in styles and look in looks
    ]
    ranked = sorted(dict.fromkeys(finished), key=small.cost)[:FEW]
    return min((scene, *ranked), key=eye.cost)


def _stands(eye: Eye, scene: Scene, paths: Sequence[str]) -> Scene:
    """The scene with its people and things where they are in the picture: coarse first, then to the step."""
    small = eye.smaller(max(1, min(eye.width, eye.height) // (2 * LOWEST_PX)))
    for i, _ in enumerate(scene.characters):
        who = f"characters.{i}"
        free = [name for name in ("place", "dx", "dy", "scale") if f"{who}.{name}" in paths]
        if "scale" not in free and "dx" not in free:
            continue
        options = [scene]
        if "place" in free:
            options = candidates(scene, f"{who}.place")
        if "scale" in free:
            options += [put(o, f"{who}.scale", 1 + s * STEP) for o in options for s in (-8, 0, 8)]
        if "dx" in free:
            options += [put(o, f"{who}.dx", s * STEP) for o in options for s in (-4, 4)]
        scene = min(options, key=small.cost)
        for _ in range(2):
            for name in free:
                if name != "place":
                    scene = settle(small, scene, f"{who}.{name}")[1]
    return scene


def _around(boxes: Sequence[Box]) -> Box | None:
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _meet(a: Box | None, b: Box | None) -> bool:
    if a is None or b is None:
        return False
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
