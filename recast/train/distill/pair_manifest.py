"""What a folder of pairs says about itself: whose endpoints they are, how they were made, and which files hold them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from recast.errors import InputError, WeightsError

FORMAT = "recast pairs 1"
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder of pairs says about itself."""

    made_by: Mapping[str, str]  # SHA-256 of teacher, autoencoder and text encoder
    settings: Mapping[str, Any]  # `PairSettings`, but its count
    stream: Mapping[str, Any]  # where the examples stand after the last shard
    asked_by: Mapping[str, Any] = field(default_factory=dict)  # `pair_writing.asked_by`; none of earlier versions
    shards: tuple[tuple[str, int, int], ...] = ()  # file, bytes, pairs
    format: str = FORMAT

    @property
    def pairs(self) -> int:
        return sum(pairs for _, _, pairs in self.shards)

    @property
    def digest(self) -> str:
        """Tells this folder, as far as it is written, from any other."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:16]

    def text(self) -> str:
        said = {name: value for name, value in vars(self).items() if name != "asked_by" or value}
        return json.dumps(said, indent=1, sort_keys=True) + "\n"

    @classmethod
    def read(cls, place: Path) -> Self:
        """The manifest of a folder, its shards there in their sizes.

        Raises InputError if there is none, or if it or a shard is damaged.
        """
        path = place / MANIFEST
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            if said["format"] != FORMAT:
                raise ValueError(f"format {said['format']!r}, {FORMAT!r} accepted")
            shards = tuple((str(name), int(size), int(pairs)) for name, size, pairs in said["shards"])
            told = {name: said[name] for name in ("made_by", "settings", "stream")}
            found = cls(**told, asked_by=said.get("asked_by", {}), shards=shards)
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise InputError(
                f"pairs={str(place)!r}: no readable {MANIFEST} ({problem}); a folder of pairs accepted; write it again"
            ) from problem
        for name, size, _ in shards:
            there = (place / name).stat().st_size if (place / name).is_file() else None
            if there != size:
                raise InputError(
                    f"pairs={str(place)!r}: {name} has {there} bytes, {size} were written; a whole folder accepted; "
                    "copy it again, or write it anew in an empty folder"
                )
        return found


def require_same_makers(place: Path, there: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Raises WeightsError if a network named in `here`, by its SHA-256, is not the one that pairs were made by."""
    for name, digest in here.items():
        if there.get(name) != digest:
            raise WeightsError(
                f"pairs={str(place)!r}: made by the {name} {str(there.get(name))[:12]}, this is {digest[:12]}; pairs "
                f"of the same {name} accepted; use it, or write others in an empty folder"
            )
