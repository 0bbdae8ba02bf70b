"""Do the variants of a set differ enough to be worth a test, and in the declared factor alone?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations

import numpy as np

from recast.thumbnails.boxes import Box, union
from recast.thumbnails.brief import Factor
from recast.thumbnails.checks.apart import apart
from recast.thumbnails.checks.evidence import Evidence, Unseen, logo_boxes
from recast.thumbnails.checks.limits import Limits
from recast.thumbnails.checks.title import plain
from recast.thumbnails.findings import Finding
from recast.thumbnails.palette import colours, earth_mover, palette

MAY_DIFFER: Mapping[Factor, tuple[str, ...]] = {
    "text": ("text", "place of the title"),
    "layout": ("layout", "place of the title", "place of the logo", "place of the faces"),
    "colour": ("lettering",),
    "background": ("palette",),
    "expression": (),
    "prop": (),
    "style": ("palette",),
}
"""What of a picture changes with each factor; all else is held equal."""
ADVICE: Mapping[Factor, str] = {
    "text": "Choose titles with other words",
    "layout": "Choose layouts with the title in another place",
    "colour": "Choose colours that are told apart at a glance, and that the ground lets be read",
    "background": "Choose grounds that differ more in colour and shape",
    "expression": "Choose expressions that differ more, or a larger face",
    "prop": "Choose a larger prop, or one of another colour",
    "style": "Choose styles that differ more in colour",
}


def v1(variants: Mapping[str, Evidence], factor: Factor, limits: Limits) -> Finding:
    """Every two variants differ enough in what is declared to differ, or look different."""
    pairs: dict[str, dict[str, float]] = {}
    alike = []
    for a, b in combinations(variants, 2):
        found = apart(variants[a], variants[b], factor, limits)
        pairs[f"{a} / {b}"] = found.numbers
        if not found.is_enough:
            alike.append(f"{a} and {b} ({found.says})")
    names = ("hash_bits", "differs_by", "differs_least", "embedding", "misread", "moved_apart", "separation")
    numbers = {"factor": factor, "pairs": pairs, "limits": {name: getattr(limits, name) for name in names}}
    if alike:
        says = f"Too alike to learn from: {'; '.join(alike)}"
        return Finding(check="V1", verdict="fail", says=says, advice=ADVICE[factor], numbers=numbers)
    return Finding(check="V1", verdict="pass", says="Every two variants look different", numbers=numbers)


def v2(variants: Mapping[str, Evidence], factor: Factor, limits: Limits) -> Finding:
    """Palette, people, text and layout are the same in all variants, but for what the factor changes."""
    found: dict[str, list[str]] = {}
    unseen: dict[str, str] = {}
    parts = {name: part for name, part in _PARTS.items() if name not in MAY_DIFFER[factor]}
    for a, b in combinations(variants, 2):
        for name, part in parts.items():
            try:
                how = part(variants[a], variants[b], limits)
            except Unseen as missing:
                unseen[name] = str(missing)
                continue
            if how:
                found.setdefault(name, []).append(f"{a} / {b}: {how}")
    numbers = {"factor": factor, "differs": found, "not_looked_at": unseen, "palettes": limits.palettes}
    if found:
        told = "; ".join(f"{name} ({pairs[0]})" for name, pairs in found.items())
        says = f"More than the {factor} differs: {told}"
        advice = f"Hold {', '.join(found)} equal: else no result tells whether the {factor} made it"
        return Finding(check="V2", verdict="warn", says=says, advice=advice, numbers=numbers)
    if unseen:
        told = "; ".join(f"{name}: {why}" for name, why in unseen.items())
        return Finding(check="V2", verdict="absent", says=f"Not looked at: {told}", numbers=numbers)
    return Finding(check="V2", verdict="pass", says=f"Only the {factor} differs", numbers=numbers)


def _text(a: Evidence, b: Evidence, limits: Limits) -> str:
    first, second = (None if each.title is None else each.title.text for each in (a, b))
    return "" if plain(first or "") == plain(second or "") else f"{first!r} and {second!r}"


def _lettering(a: Evidence, b: Evidence, limits: Limits) -> str:
    """Font and colours, where both are known: of a design."""
    first, second = (None if each.design is None else each.design.lettering for each in (a, b))
    if first is None or second is None:
        return ""
    names = ("font", "fill", "stroke", "shadow")
    return ", ".join(name for name in names if getattr(first, name) != getattr(second, name))


def _layout(a: Evidence, b: Evidence, limits: Limits) -> str:
    first, second = (None if each.design is None else each.design.layout for each in (a, b))
    return "" if first == second else f"{first} and {second}"


def _title_place(a: Evidence, b: Evidence, limits: Limits) -> str:
    first, second = (
        () if each.title is None else tuple(filter(None, [union(line.box for line in each.title.lines)]))
        for each in (a, b)
    )
    return _moved(first, second, limits)


def _logo_place(a: Evidence, b: Evidence, limits: Limits) -> str:
    return _moved(tuple(logo_boxes(a)), tuple(logo_boxes(b)), limits)


def _face_place(a: Evidence, b: Evidence, limits: Limits) -> str:
    first, second = (tuple(sorted((face.box for face in each.faces), key=_left)) for each in (a, b))
    return _moved(first, second, limits)


def _people(a: Evidence, b: Evidence, limits: Limits) -> str:
    """Whose faces show: those of one picture, from the left, against those of the other."""
    first, second = (sorted(each.faces, key=lambda face: face.box.left) for each in (a, b))
    if len(first) != len(second):
        return f"{len(first)} and {len(second)} faces"
    sees = a.sight.faces
    assert sees is not None
    cosines = [float(one.identity @ other.identity) for one, other in zip(first, second, strict=True)]
    worst = min(cosines, default=1.0)
    return "" if worst >= sees.limit else f"another person, similarity {worst:.2f}"


def _palette(a: Evidence, b: Evidence, limits: Limits) -> str:
    first, second = (palette([colours(each.below)]) for each in (a, b))
    away = earth_mover(first, np.stack([each.lab for each in second]), np.array([each.share for each in second]))
    return "" if away <= limits.palettes else f"{away:.0f} dE00 apart"


def _moved(first: tuple[Box, ...], second: tuple[Box, ...], limits: Limits) -> str:
    if len(first) != len(second):
        return f"{len(first)} and {len(second)}"
    farthest = max((max(_shifts(one, other)) for one, other in zip(first, second, strict=True)), default=0.0)
    return "" if farthest <= limits.moved else f"{farthest:.0%} of the frame away"


def _shifts(one: Box, other: Box) -> Iterator[float]:
    yield abs(one.center[0] - other.center[0])
    yield abs(one.center[1] - other.center[1])


def _left(box: Box) -> float:
    return box.left


_PARTS: Mapping[str, Callable[[Evidence, Evidence, Limits], str]] = {
    "text": _text,
    "lettering": _lettering,
    "layout": _layout,
    "place of the title": _title_place,
    "place of the logo": _logo_place,
    "place of the faces": _face_place,
    "people": _people,
    "palette": _palette,
}
