"""From which cosine on are two faces one person? A limit for a recogniser, from pictures of people that are known.

A cosine means nothing by itself, and no limit carries over from one recogniser, crop or kind of picture to another:
it is taken from what pairs of different people reach, at the rate of false acceptances that is allowed.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import ConfigError, InputError, RecastError
from recast.pixels import image
from recast.thumbnails.seeing import SeesFaces

FALSE_ACCEPT = 0.001
"""The share of pairs of different people that may pass for one person."""
QUANTILES = (0.0, 0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999, 1.0)
SURE = 0.95
STEP = 1e-4
"""Limits are rounded up to a multiple of it."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Cosines of pairs of pictures (n,), of one person and of different people; people: how many there are."""

    same: np.ndarray
    different: np.ndarray
    people: int

    @classmethod
    def of(cls, people: Sequence[np.ndarray]) -> Pairs:
        """All pairs of the vectors of each person, (pictures, d) each, of length 1."""
        whole = np.concatenate(people)
        who = np.repeat(np.arange(len(people)), [len(each) for each in people])
        first, second = np.triu_indices(len(whole), 1)
        cosines, is_same = (whole @ whole.T)[first, second], who[first] == who[second]
        return cls(cosines[is_same], cosines[~is_same], len(people))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The limit of a recogniser and what it was measured on.

    name, network: of the recogniser, and the SHA-256 of its file. limit: the least cosine that passes for one person.
    true_accept, false_accept: the shares of same and different pairs that reach it. at_most: with the certainty SURE
    the rate of false acceptances is below this, were all pairs independent. quantiles: cosines of both kinds of pair.
    """

    name: str
    network: str
    limit: float
    asked: float
    true_accept: float
    false_accept: float
    at_most: float
    people: int
    same_pairs: int
    different_pairs: int
    quantiles: Mapping[str, Mapping[str, float]]

    @property
    def is_certain(self) -> bool:
        """Whether there were pairs enough to show a rate near the one asked for: 3 over the rate, by the rule of three.

        Source: Hanley and Lippman-Hand 1983.
        """
        return self.different_pairs * self.asked >= 3

    def write(self, path: Path | str, **more: Any) -> Path:
        """Write it as JSON, whole or not at all, and return the path. more: beside it, as JSON data."""
        path = Path(path)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            part.write_text(json.dumps({**asdict(self), **more}, indent=1) + "\n", encoding="utf-8")
            os.replace(part, path)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()
        return path


def calibrate(pairs: Pairs, *, name: str, network: str = "", false_accept: float = FALSE_ACCEPT) -> Calibration:
    """The least limit that no more than the share `false_accept` of pairs of different people reach.

    With too few pairs the limit lies above all of them, and `at_most` says how little that shows.
    Raises ConfigError for a rate outside (0, 1), InputError without pairs of both kinds or with cosines beyond 1.
    """
    if not 0 < false_accept < 1:
        raise ConfigError(f"false_accept={false_accept}: a share between 0 and 1 accepted; {FALSE_ACCEPT} is usual")
    if not len(pairs.same) or not len(pairs.different):
        raise InputError(
            f"pairs: {len(pairs.same)} of one person and {len(pairs.different)} of different people came; one or more "
            "of each needed: two people or more, and two pictures of one of them"
        )
    for cosines in (pairs.same, pairs.different):
        if not (np.isfinite(cosines).all() and np.abs(cosines).max() <= 1 + 1e-4):
            raise InputError("pairs: numbers that are no cosines; vectors of length 1 accepted; normalise them")
    count = len(pairs.different)
    allowed = math.floor(false_accept * count)
    highest = np.sort(pairs.different)[::-1]
    limit = _above(float(highest[min(allowed, count - 1)]))
    accepted = int((pairs.different >= limit).sum())
    return Calibration(
        name=name,
        network=network,
        limit=limit,
        asked=false_accept,
        true_accept=float((pairs.same >= limit).mean()),
        false_accept=accepted / count,
        at_most=_at_most(accepted, count),
        people=pairs.people,
        same_pairs=len(pairs.same),
        different_pairs=count,
        quantiles={
            kind: {f"{share:g}": round(float(np.quantile(cosines, share)), 4) for share in QUANTILES}
            for kind, cosines in (("same", pairs.same), ("different", pairs.different))
        },
    )


def calibrate_folder(
    folder: Path | str, faces: SeesFaces, *, network: str = "", false_accept: float = FALSE_ACCEPT
) -> tuple[Calibration, tuple[str, ...]]:
    """A limit from one's own pictures, FOLDER/PERSON/*: each of one person, whose face is the largest in it.

    Also returns which pictures were left out, a phrase each: unreadable, without a face, or with one under
    `faces.smallest_px`. Raises InputError where nothing is left to compare.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"folder={str(folder)!r}: no such folder; one with a folder for each person accepted")
    people, left_out = [], []
    for person in sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")):
        vectors = []
        for file in sorted(each for each in person.iterdir() if each.is_file() and not each.name.startswith(".")):
            vector, why = _vector(file, faces)
            if vector is None:
                left_out.append(f"{person.name}/{file.name}: {why}")
            else:
                vectors.append(vector)
        if vectors:
            people.append(np.stack(vectors))
    if len(people) < 2:
        said = f"; left out: {'; '.join(left_out[:5])}" if left_out else ""
        raise InputError(
            f"folder={str(folder)!r}: faces of {len(people)} people came; two or more needed, in a folder each{said}"
        )
    return calibrate(Pairs.of(people), name=faces.name, network=network, false_accept=false_accept), tuple(left_out)


def read_limit(path: Path | str, *, network: str) -> float:
    """The limit that a file of `Calibration.write` holds for the recogniser whose file has the SHA-256 `network`.

    Raises InputError without the file, for another kind of file, and for the limit of another recogniser.
    """
    try:
        kept = json.loads(Path(path).read_text(encoding="utf-8"))
        limit, of = float(kept["limit"]), str(kept["network"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"calibration={str(path)!r}: {error!r}; a file that calibration wrote accepted") from None
    if of != network or not -1 <= limit <= 1:
        raise InputError(
            f"calibration={str(path)!r}: the limit {limit:g} of the recogniser {of[:12]} came; -1 to 1 of "
            f"{network[:12]} accepted; calibrate this recogniser"
        )
    return limit


def _above(cosine: float) -> float:
    """The least multiple of STEP above a cosine."""
    steps = math.floor(cosine / STEP)
    while (limit := round(steps * STEP, 4)) <= cosine:
        steps += 1
    return limit


def _vector(file: Path, faces: SeesFaces) -> tuple[np.ndarray | None, str]:
    try:
        rgb = image.read(file).rgb
    except RecastError as error:
        return None, str(error)
    found = faces.faces(rgb)
    if not found:
        return None, "no face found"
    if found[0].box.height * rgb.shape[0] < faces.smallest_px:
        return None, f"its face is under {faces.smallest_px} pixels high"
    return found[0].identity, ""


def _at_most(accepted: int, count: int) -> float:
    """The upper end of the one-sided interval of a share: exact for none, else Wilson's (1927)."""
    if accepted == 0:
        return float(1 - (1 - SURE) ** (1 / count))
    share, z = accepted / count, 1.645
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle + spread) / (1 + z * z / count)
