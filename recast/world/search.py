"""The scene most like a picture, from one that may differ in much.

`descend` changes one attribute at a time while that brings the drawing nearer, and looks again only where a drawing has
changed since. Where it stalls, and only there, attributes are tried together: a hat in a wrong colour can be farther
from the picture than no hat. Where people stand is searched from coarse to fine before anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from recast.world import scene as world
from recast.world.attributes import Finding, candidates, combinations, is_size, settle, with_value
from recast.world.eye import OFF, Box, Eye
from recast.world.rules import shows
from recast.world.scene import LOOKS, STEP, STYLES, TIMELESS, TIMES, VARIANTS, Scene, put

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
