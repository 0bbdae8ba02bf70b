"""Every check of a thumbnail and of a set: what is wrong, how wrong, and what to do about it.

A check is a function from what was `seen` to a `Finding`. What it needs and cannot have is reported as absent, with
what to install or pass; nothing is skipped in silence.

```
file    G1 G2 G3 G4   what a platform takes        look    C1 C2 C3 X1   one subject, tones, colour blindness
zones   S1            badge and margins            brand   B1            the channel's own
text    T1 … T5       the title                    proof   P1            what an edit kept
faces   F1 F2         the people                   sets    V1 V2         variants as an experiment
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.errors import ConfigError
from recast.pixels.image import Picture
from recast.thumbnails.brief import Factor
from recast.thumbnails.checks import brand, faces, file, look, proof, sets, text, zones
from recast.thumbnails.checks.evidence import Evidence, Expected, Unseen
from recast.thumbnails.checks.limits import Limits
from recast.thumbnails.checks.report import advise, table
from recast.thumbnails.findings import Finding

if TYPE_CHECKING:
    import os

__all__ = [
    "CHECKS",
    "Evidence",
    "Expected",
    "Limits",
    "advise",
    "check",
    "check_picture",
    "check_set",
    "table",
]

CHECKS: Mapping[str, Callable[[Evidence], Finding]] = {
    each.__name__.upper(): each
    for each in (
        file.g1,
        file.g2,
        file.g3,
        file.g4,
        zones.s1,
        text.t1,
        text.t2,
        text.t3,
        text.t4,
        text.t5,
        faces.f1,
        faces.f2,
        look.c1,
        look.c2,
        look.c3,
        look.x1,
        brand.b1,
        proof.p1,
    )
}
"""The checks of one picture, by id, in the order in which they are reported."""


def check_picture(source: str | os.PathLike[str] | Picture, **known: Any) -> list[Finding]:
    """The findings of one picture, a check each; `known` are the fields of `Evidence`: design, kit, expected, sight, …

    source: a file of any origin, or a picture that is not written yet. Without a design its text is read, if a reader
    is there, and what is measured on it is said to be estimated. Limits are those of the kit unless given.
    Raises InputError for a file that is no picture, or a character's reference that cannot be used.
    """
    known.setdefault("limits", Limits.of(known.get("kit")))
    return check(Evidence(source=source if isinstance(source, Picture) else Path(source), **known))


def check(seen: Evidence, only: Sequence[str] | None = None) -> list[Finding]:
    """The findings of what was seen: those of all checks, or `only` of some, by id."""
    unknown = [name for name in only or () if name not in CHECKS]
    if unknown:
        raise ConfigError(f"only={unknown}: no such check; {', '.join(CHECKS)} accepted; choose among them")
    return [_one(name, seen) for name in (CHECKS if only is None else only)]


def check_set(variants: Mapping[str, Evidence], *, factor: Factor, limits: Limits | None = None) -> list[Finding]:
    """V1 and V2 of a set of variants, by name. Raises ConfigError for fewer than two: there is nothing to compare."""
    if len(variants) < 2:
        raise ConfigError(f"variants: {len(variants)} came; two or more accepted; make more, or check the picture")
    if factor not in sets.MAY_DIFFER:
        known = ", ".join(sets.MAY_DIFFER)
        raise ConfigError(f"factor={factor!r}: no such factor; {known} accepted; choose one of them")
    limits = limits or next(iter(variants.values())).limits
    return [sets.v1(variants, factor, limits), sets.v2(variants, factor, limits)]


def _one(name: str, seen: Evidence) -> Finding:
    try:
        return CHECKS[name](seen)
    except Unseen as missing:
        says = str(missing)
        return Finding(check=name, verdict="absent", says=says[:1].upper() + says[1:])
