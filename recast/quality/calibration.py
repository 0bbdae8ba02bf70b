"""Raw distances → scores: the two ends of each scale come from the controls, on the same pictures.

A cosine of 0.6 or a colour distance of 5 says nothing by itself. What strangers reach is 0, what the same picture
reaches through the model's autoencoder is 1. Source: evaluation by controls, as the field's judge-free tables do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from recast.quality.metrics import consistency, kept_score
from recast.quality.store import Score

Scores = Mapping[tuple[str, int], Mapping[str, Score]]
NO_FACE = "no_face"
NO_SCALE = "no scale: the stranger control is missing"


Way = tuple[str, object]
"""How a distance was taken, the check and the share left out: distances taken in different ways are not comparable."""


@dataclass(frozen=True)
class Scale:
    """The ends of each scale.

    impostor, itself: mean cosine of strangers' faces, and of a face with its own floor. floors, references: median
    block distance of the floor and of strangers, by the way they were taken.
    """

    impostor: float | None = None
    itself: float = 1.0
    floors: Mapping[Way, float] = field(default_factory=dict)
    references: Mapping[Way, float] = field(default_factory=dict)

    def apply(self, scores: Mapping[str, Score]) -> Mapping[str, Score]:
        """The scores of one unit, and those that need a scale: consistency, kept, and what is made of them."""
        added = dict(scores)
        if "face_cosine" in scores and "consistency" not in scores:
            added["consistency"] = self._consistency(scores["face_cosine"])
        if "block_distance" in scores and "kept" not in scores:
            added["kept"] = self._kept(scores["block_distance"])
            if "precision" not in scores and "instruction" in scores:
                both = [scores["instruction"], added["kept"]]
                added["precision"] = _product("precision", added["kept"], both, root=True)
        if "instructed" in scores and "quality" not in scores and "kept" in added:
            parts = [added[name] for name in ("instructed", "kept", "consistency") if name in added]
            added["quality"] = _product("quality", scores["instructed"], parts)
            if "consistency" in added:
                added["identity"] = replace(added["consistency"], metric="identity")
        return added

    def _consistency(self, cosine: Score) -> Score:
        if cosine.value is None:  # there was a face, and there is none; or the check could not be made
            return replace(cosine, metric="consistency", value=0.0 if cosine.reason == NO_FACE else None)
        if self.impostor is None or self.itself <= self.impostor:
            return replace(cosine, metric="consistency", value=None, reason=NO_SCALE)
        return replace(cosine, metric="consistency", value=consistency(cosine.value, self.impostor, self.itself))

    def _kept(self, distance: Score) -> Score:
        floor, reference = self.floors.get(_way(distance), 0.0), self.references.get(_way(distance))
        if distance.value is None or reference is None or reference <= floor:
            return replace(distance, metric="kept", value=None, reason=distance.reason or NO_SCALE)
        return replace(distance, metric="kept", value=kept_score(distance.value, floor, reference))


def of(floor: Scores | None, stranger: Scores | None) -> Scale:
    """The scale that two controls give; without a floor the ideal is taken: cosine 1, distance 0."""
    faces = [value for _, value in _found(stranger, "face_cosine")]
    own = [value for _, value in _found(floor, "face_cosine")]
    return Scale(
        impostor=float(np.mean(faces)) if faces else None,
        itself=float(np.mean(own)) if own else 1.0,
        floors=_medians(floor),
        references=_medians(stranger),
    )


def _product(metric: str, like: Score, parts: Sequence[Score], *, root: bool = False) -> Score:
    """The product of scores, or its root; None, with the first reason, if one of them is unknown."""
    known = [part.value for part in parts if part.value is not None]
    if len(known) < len(parts):
        reason = next(part.reason for part in parts if part.value is None)
        return replace(like, metric=metric, value=None, reason=reason)
    value = float(np.prod(known))
    return replace(like, metric=metric, value=value**0.5 if root else value)


def _way(distance: Score) -> Way:
    return distance.check, distance.detail.get("share")


def _medians(scores: Scores | None) -> dict[Way, float]:
    taken: dict[Way, list[float]] = {}
    for score, value in _found(scores, "block_distance"):
        taken.setdefault(_way(score), []).append(value)
    return {way: float(np.median(values)) for way, values in taken.items()}


def _found(scores: Scores | None, metric: str) -> list[tuple[Score, float]]:
    """Every score of a metric that has a value, with it."""
    found = (unit.get(metric) for unit in (scores or {}).values())
    return [(score, score.value) for score in found if score is not None and score.value is not None]
