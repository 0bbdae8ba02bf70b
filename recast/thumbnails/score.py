"""How much a picture looks like its channel: six sub-scores first, one number second, and how new it is beside them.

Where the channel's own pictures were learned (`look.style` of the kit), distances are held against their own spread;
without, against fixed scales, and the reason says so. What cannot be looked at has no value, and its weight goes to the
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from recast.thumbnails.design import Design
from recast.thumbnails.habits import Habits, read_habits
from recast.thumbnails.identity import Sheet, sheet
from recast.thumbnails.kit import SCORES, Kit
from recast.thumbnails.score_looks import identity, look, novelty, palette
from recast.thumbnails.score_setting import layout, logo, typography
from recast.thumbnails.seeing import Sight
from recast.thumbnails.seen import see


@dataclass(frozen=True, kw_only=True)
class Part:
    """One sub-score. value: 0..100, None where it cannot be had. reason: a sentence; fix: what to do, or "".

    weight: in the one number, times `sure`, 0..1, which is less than 1 where little was there to see: a title that is
    half read counts half, so that nothing jumps when it comes and goes. numbers: what was measured, plain data.
    """

    name: str
    weight: float
    value: float | None
    reason: str
    fix: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    sure: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Score:
    """parts: in the order of SCORES. novelty: 0 is one of the channel's own pictures, 100 as far from all of them as
    they usually are from one another, or farther; None where none were learned.
    """

    parts: tuple[Part, ...]
    novelty: float | None = None

    @property
    def value(self) -> float | None:
        """The one number: the mean of the parts there are, by weight; None of none."""
        known = [(each.value, each.weight * each.sure) for each in self.parts if each.value is not None]
        weight = sum(each[1] for each in known)
        return sum(value * part for value, part in known) / weight if weight else None

    @property
    def measured(self) -> float:
        """The share of all weights, 0..1, whose parts have a value: how much the one number stands on."""
        known = sum(each.weight * each.sure for each in self.parts if each.value is not None)
        return known / sum(each.weight for each in self.parts)

    def part(self, name: str) -> Part:
        return next(each for each in self.parts if each.name == name)

    def to_dict(self) -> dict[str, Any]:
        """The score as plain data, ready for JSON."""
        parts = [asdict(each) for each in self.parts]
        return {"value": self.value, "measured": self.measured, "novelty": self.novelty, "parts": parts}


def brand_score(
    rgb: np.ndarray,
    kit: Kit,
    *,
    sight: Sight | None = None,
    design: Design | None = None,
    sheets: Sequence[Sheet] | None = None,
    habits: Habits | None = None,
) -> Score:
    """The brand consistency of a picture (H, W, 3) uint8 with a kit.

    design: where the picture comes from, for lettering, logo and layout that are known exactly. sheets: of the
    characters who must show; None: of all the kit's. habits: of the channel's own pictures; None: the kit's look.style.
    Raises InputError that names the file for a reference, logo or font of the kit that cannot be used.
    """
    seen = see(rgb, sight or Sight(), design)
    if habits is None and kit.look.style is not None:
        habits = read_habits(kit.look.style)
    if sheets is None:
        sheets = [sheet(each, seen.sight.faces) for each in kit.characters] if seen.sight.faces else []
    ratings = {
        "palette": palette(seen, kit, habits),
        "typography": typography(seen, kit),
        "logo": logo(seen, kit),
        "layout": layout(seen, kit),
        "identity": identity(seen, kit, sheets),
        "look": look(seen, kit, habits),
    }
    parts = (Part(name=name, weight=weight, **vars(ratings[name])) for name, weight in SCORES.items())
    return Score(parts=tuple(parts), novelty=novelty(seen, habits))
