"""What a channel's own pictures have in common and how far they stray: the numbers that a new one is held against.

Kept in a side file beside the kit (brand.style.json), written by `learn`, read by the brand consistency score.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.thumbnails.kit import Colour
from recast.thumbnails.tone import Tone

SCHEMA = 1
USUAL, FAR = 0.5, 0.95
"""Quantiles of the channel's own pictures: up to the first a picture gets full marks, at the second AT_FAR of 100."""
AT_FAR = 60.0


@dataclass(frozen=True)
class Rating:
    """What is said of one part of a brand. value: 0..100, None where it cannot be had. reason, fix: sentences.

    sure: 0..1, how much there was to see of what is rated; its part in the one number shrinks with it.
    """

    value: float | None
    reason: str
    fix: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    sure: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Habits:
    """Numbers of n pictures, one each, in the order of `pictures` (file names).

    embedder: the name of what made `embeddings`, vectors (n, d) of length 1. away: cosine distance of each to the
    centroid of the others. covered, moved: share within the palette of the others, and earth mover's distance to it.
    palette: that of all, for which these were measured: a kit whose palette is edited has other numbers.
    texts: the title of each, "" for none; None where nobody read.
    """

    pictures: tuple[str, ...]
    embedder: str
    embeddings: np.ndarray
    away: tuple[float, ...]
    tones: tuple[Tone, ...]
    palette: tuple[Colour, ...]
    covered: tuple[float, ...]
    moved: tuple[float, ...]
    texts: tuple[str, ...] | None = None

    @property
    def centroid(self) -> np.ndarray:
        """The mean direction (d,) of all embeddings, of length 1."""
        return centroid(self.embeddings)

    @property
    def nearest(self) -> tuple[float, ...]:
        """The cosine distance of each picture to the nearest other."""
        cosines = self.embeddings @ self.embeddings.T - 2 * np.eye(len(self.embeddings))
        return tuple(float(1 - each) for each in cosines.max(1))

    def to_json(self) -> bytes:
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        plain["embeddings"] = [[round(float(x), 5) for x in row] for row in self.embeddings]
        plain["tones"] = [asdict(each) for each in self.tones]
        plain["palette"] = [asdict(each) for each in self.palette]
        return (json.dumps({"schema": SCHEMA, **plain}, ensure_ascii=False, indent=1) + "\n").encode()


def centroid(embeddings: np.ndarray) -> np.ndarray:
    """The mean direction (d,), of length 1, of vectors (n, d)."""
    mean = embeddings.mean(0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9))


def read_habits(path: Path) -> Habits:
    """The numbers that `Habits.to_json` wrote to a file. Raises InputError that names it for anything else."""
    try:
        plain = json.loads(path.read_bytes())
        if plain.pop("schema") != SCHEMA:
            raise ValueError(f"another schema than {SCHEMA}")
        values: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in plain.items()}
        values["embeddings"] = np.array(plain["embeddings"], np.float64)
        values["tones"] = tuple(Tone(**each) for each in plain["tones"])
        values["palette"] = tuple(Colour(**each) for each in plain["palette"])
        made = Habits(**values)
        lengths = {len(getattr(made, name)) for name in ("embeddings", "away", "tones", "covered", "moved", "pictures")}
        if len(lengths) != 1 or made.embeddings.ndim != 2 or not np.isfinite(made.embeddings).all():
            raise ValueError("numbers of unlike length")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as failure:
        words = "cannot be used; the brand.style.json that `learn` wrote accepted; learn the kit again"
        raise InputError(f"{path}: {words} ({failure})") from failure
    return made


def rated(value: float, own: Sequence[float], *, floor: float) -> float:
    """0..100 for a distance `value`, by how the channel's own distances spread: falls without a jump, never rises.

    Up to their median 100; at their 95th percentile AT_FAR; as far again beyond it AT_FAR % of that, and so on.
    floor: the least distance from median to 95th percentile, so that three look-alikes do not condemn all others.
    """
    usual, far = np.quantile(own, (USUAL, FAR))
    return float(100 * (AT_FAR / 100) ** max((value - usual) / max(far - usual, floor), 0))


def percentile(value: float, own: Sequence[float]) -> float:
    """The share, 0..100, of the channel's own distances that are as large as `value` or larger."""
    return float(100 * np.mean(np.asarray(own) >= value))
