"""Raw distances → scores: the two ends of each scale come from the controls, on the same pictures.

A cosine of 0.6 or a colour distance of 5 says nothing by itself. What strangers reach is 0, what the same picture
reaches through the model's autoencoder is 1. Source: evaluation by controls, as the field's judge-free tables do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from recast.quality.metrics import consistency, kept_score
from recast.quality.store import Score

Scores = Mapping[tuple[str, int], Mapping[str, Score]]


@dataclass(frozen=True)
class Scale:
    """The ends: cosines of strangers' faces and of a face with itself; block distances of the floor and of strangers."""

    impostor: float | None = None
    itself: float = 1.0
    floor: float = 0.0
    reference: float | None = None

    def apply(self, scores: Mapping[str, Score]) -> Mapping[str, Score]:
        """The scores of one unit, and those that need a scale: consistency from the cosine, kept from the distance."""
        added = dict(scores)
        cosine = scores.get("face_cosine")
        if cosine is not None and "consistency" not in scores:
            added["consistency"] = self._consistency(cosine)
        distance = scores.get("block_distance")
        if distance is not None and "kept" not in scores:
            added["kept"] = self._kept(distance)
            success = scores.get("instruction")
            kept = added["kept"].value
            if "precision" not in scores and success is not None:
                known = success.value is not None and kept is not None
                value = float(np.sqrt((success.value or 0) * (kept or 0))) if known else None
                added["precision"] = replace(added["kept"], metric="precision", value=value)
        return added

    def _consistency(self, cosine: Score) -> Score:
        if cosine.value is None:  # there was a face, and there is none; or the check could not be made
            value = 0.0 if cosine.reason == "no_face" else None
            return replace(cosine, metric="consistency", value=value)
        if self.impostor is None or self.itself <= self.impostor:
            return replace(cosine, metric="consistency", value=None, reason="no scale: the stranger control is missing")
        return replace(cosine, metric="consistency", value=consistency(cosine.value, self.impostor, self.itself))

    def _kept(self, distance: Score) -> Score:
        if distance.value is None or self.reference is None or self.reference <= self.floor:
            reason = distance.reason or "no scale: the stranger control is missing"
            return replace(distance, metric="kept", value=None, reason=reason)
        return replace(distance, metric="kept", value=kept_score(distance.value, self.floor, self.reference))


def of(controls: Mapping[str, Scores]) -> Scale:
    """The scale that the controls of a run give; without a floor the ideal is taken: cosine 1, distance 0."""
    faces = _values(controls.get("stranger"), "face_cosine")
    own = _values(controls.get("floor"), "face_cosine")
    far = _values(controls.get("stranger"), "block_distance")
    near = _values(controls.get("floor"), "block_distance")
    return Scale(
        impostor=float(np.mean(faces)) if faces else None,
        itself=float(np.mean(own)) if own else 1.0,
        floor=float(np.median(near)) if near else 0.0,
        reference=float(np.median(far)) if far else None,
    )


def _values(scores: Scores | None, metric: str) -> list[float]:
    found = (unit.get(metric) for unit in (scores or {}).values())
    return [score.value for score in found if score is not None and score.value is not None]
