"""Do the variants of a set differ enough to be worth a test, and in the declared factor alone?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations

import numpy as np

from recast.errors import ConfigError
from recast.thumbnails.boxes import Box, union
from recast.thumbnails.brief import Factor
from recast.thumbnails.checks.evidence import Evidence, Unseen, logo_boxes
from recast.thumbnails.checks.limits import Limits
from recast.thumbnails.checks.title import plain
from recast.thumbnails.findings import Finding
from recast.thumbnails.hashing import distance, perceptual_hash
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


def v1(variants: Mapping[str, Evidence], limits: Limits) -> Finding:
    """Every two variants look different, from afar or by their embeddings."""
    prints = {name: perceptual_hash(seen.rgb) for name, seen in variants.items()}
    vectors = {name: _style(seen) for name, seen in variants.items()} if limits.embedding is not None else {}
    pairs: dict[str, dict[str, float]] = {}
    alike = []
    for a, b in combinations(variants, 2):
        bits = distance(prints[a], prints[b])
        pairs[f"{a} / {b}"] = {"bits": bits}
        first, second = vectors.get(a), vectors.get(b)
        apart = None if first is None or second is None else float(1 - first @ second)
        if apart is not None:
            pairs[f"{a} / {b}"]["embedding"] = round(apart, 3)
        is_apart = apart is not None and limits.embedding is not None and apart >= limits.embedding
        if bits < limits.hash_bits and not is_apart:
            alike.append(f"{a} and {b} ({bits} of 64 bits)")
    numbers = {"pairs": pairs, "hash_bits": limits.hash_bits, "embedding": limits.embedding}
    if alike:
        says = f"Too alike to learn from: {'; '.join(alike)}; {limits.hash_bits} bits are the least"
        advice = "Choose levels that differ more: another side, another ground, another size"
        return Finding(check="V1", verdict="fail", says=says, advice=advice, numbers=numbers)
    return Finding(check="V1", verdict="pass", says="Every two variants look different", numbers=numbers)


def v2(variants: Mapping[str, Evidence], factor: Factor, limits: Limits) -> Finding:
    """Palette, people, text and layout are the same in all variants, but for what the factor changes."""
    if factor not in MAY_DIFFER:
        raise ConfigError(f"factor={factor!r}: no such factor; {', '.join(MAY_DIFFER)} accepted; choose one of them")
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


def _style(seen: Evidence) -> np.ndarray | None:
    return None if seen.sight.style is None else seen.sight.style.embed(seen.rgb)


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
