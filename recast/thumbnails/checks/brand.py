"""Does it look like this channel? The brand consistency score, part by part, held to the kit's limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recast.thumbnails.checks.evidence import Evidence, Unseen
from recast.thumbnails.findings import Finding, Verdict
from recast.thumbnails.kit import Kit
from recast.thumbnails.score import Part, brand_score
from recast.thumbnails.seeing import FoundFace, ReadLine

JUDGED_BY_F2 = "identity"
"""The sub-score that only a kit's own limit judges here: one wrong face is one finding."""


def b1(seen: Evidence) -> Finding:
    """Each sub-score above its limit: the kit's own fails, the usual one warns."""
    kit = seen.kit
    if kit is None:
        raise Unseen("there is no brand to compare with; pass a brand kit")
    parts = _parts(seen, kit)
    least = kit.rules.brand_min
    numbers = {
        "scores": {each.name: None if each.value is None else round(each.value, 1) for each in parts},
        "least": dict(least),
        "good": seen.limits.brand,
    }
    known = [(each.value, each) for each in parts if each.value is not None]
    broken = [(value, each) for value, each in known if value < least.get(each.name, 0)]
    low = [(value, each) for value, each in known if each.name not in (*least, JUDGED_BY_F2)]
    low = [(value, each) for value, each in low if value < seen.limits.brand]
    worst = [*sorted(broken, key=_value), *sorted(low, key=_value)]
    if worst:
        says = "; ".join(f"{each.name} {value:.0f} of 100: {each.reason}" for value, each in worst)
        advice = "; ".join(dict.fromkeys(each.fix for _, each in worst if each.fix))
        verdict: Verdict = "fail" if broken else "warn"
        return Finding(check="B1", verdict=verdict, says=says, advice=advice, numbers=numbers)
    missing = [each for each in parts if each.value is None and (each.name in least or not known)]
    if missing:
        says = f"Not scored: {'; '.join(f'{each.name}: {each.reason}' for each in missing)}"
        return Finding(check="B1", verdict="absent", says=says, numbers=numbers)
    says = f"On brand: {', '.join(f'{each.name} {value:.0f}' for value, each in known)}"
    return Finding(check="B1", verdict="pass", says=says, numbers=numbers)


def _parts(seen: Evidence, kit: Kit) -> Sequence[Part]:
    """The sub-scores, made from the faces and lines that are known already."""
    sight = seen.sight
    if sight.faces is not None:
        eyes = sight.faces
        sight = replace(sight, faces=_Faces(seen.all_faces, eyes.name, eyes.limit, eyes.smallest_px))
    if sight.text is not None and seen.design is None:
        sight = replace(sight, text=_Lines(seen.lines, sight.text.name))
    required = seen.expected.characters
    sheets = [each for each in seen.known_sheets if required is None or each.character in required]
    return brand_score(seen.rgb, kit, sight=sight, design=seen.design, sheets=sheets).parts


@dataclass(frozen=True)
class _Faces:
    """The faces of one picture, found already."""

    found: Sequence[FoundFace]
    name: str
    limit: float
    smallest_px: int

    def faces(self, rgb: np.ndarray) -> Sequence[FoundFace]:
        return self.found


@dataclass(frozen=True)
class _Lines:
    """The lines of one picture, read already."""

    found: Sequence[ReadLine]
    name: str

    def read(self, rgb: np.ndarray) -> Sequence[ReadLine]:
        return self.found


def _value(scored: tuple[float, Part]) -> float:
    return scored[0]
