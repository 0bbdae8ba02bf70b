"""What a set was made of and how it came out, in one JSON file beside the pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recast.config import VERSION
from recast.errors import InputError
from recast.pixels import image
from recast.thumbnails.brief import Brief
from recast.thumbnails.export import Exported
from recast.thumbnails.findings import Finding
from recast.thumbnails.kit import Kit
from recast.thumbnails.variants import Made

SCHEMA = 1
NAME = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One variant of a set. place: its rank among those that passed, from 1; None where it is rejected. is_shipped:
    whether it was exported. brand: sub-scores by name, as far as they are known. points: what its rank comes from.
    """

    made: Made
    text: str
    layout: str | None
    findings: tuple[Finding, ...] = ()
    place: int | None = None
    is_shipped: bool = False
    points: float | None = None
    brand: Mapping[str, float] = field(default_factory=dict)
    files: tuple[Exported, ...] = ()
    notes: tuple[str, ...] = ()


def manifest(
    brief: Brief,
    kit: Kit,
    entries: Sequence[Entry],
    findings: Sequence[Finding],
    *,
    model: Mapping[str, Any],
    seen_by: Mapping[str, str | None],
    licences: Mapping[str, str],
    steps: int | None = None,
    made_from: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The set as plain data. findings: of the set as a whole. seen_by: what looked at faces, text and style.

    licences: of model and fonts, by name. steps: of the sampler. made_from: as `made_from.said` has it.
    """
    asked = brief.variants
    return {
        "schema": SCHEMA,
        "recast": VERSION,
        "title": brief.title,
        "kit": kit.name,
        "factor": brief.variants.factor,
        "levels": [level.name for level in brief.variants.levels],
        "hypothesis": brief.hypothesis,
        "asked": {
            "ship": asked.ship,
            "seeds_per_level": asked.seeds_per_level,
            "retries": asked.retries,
            "seed": brief.seed,
        },
        "steps": steps,
        "model": dict(model),
        "seen_by": dict(seen_by),
        "made_from": dict(made_from or {}),
        "licences": dict(licences),
        "consent": {
            each.id: {"by": each.consent.by, "date": str(each.consent.date)} for each in kit.characters if each.consent
        },
        "set": [each.to_dict() for each in findings],
        "variants": [_entry(each) for each in entries],
    }


def write(path: Path, data: Mapping[str, Any]) -> Path:
    """Write a manifest, whole or not at all."""
    return image.write_bytes(json.dumps(data, indent=1, ensure_ascii=False).encode(), path)


def read(path: Path) -> dict[str, Any]:
    """The manifest of a set: a file, or the folder it lies in. Raises InputError for whatever is not one."""
    file = path / NAME if path.is_dir() else path
    try:
        data = json.loads(file.read_text())
    except FileNotFoundError:
        raise InputError(f"{file}: not there; the folder of a finished set accepted; make the set first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: no manifest ({error}); the file that `thumbnails make` wrote accepted") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or "variants" not in data:
        raise InputError(f"{file}: no manifest of schema {SCHEMA}; the file that `thumbnails make` wrote accepted")
    return data


def _entry(each: Entry) -> dict[str, Any]:
    made = each.made
    return {
        "name": made.name,
        "level": made.level,
        "seed": made.seed,
        "is_kept": each.place is not None,
        "reason": made.reason,
        "similarity": dict(made.similarity),
        "tried": [{"seed": seed, "fate": fate} for seed, fate in made.tried],
        "seconds": made.seconds,
        "text": each.text,
        "layout": each.layout,
        "place": each.place,
        "points": each.points,
        "is_shipped": each.is_shipped,
        "brand": dict(each.brand),
        "findings": [finding.to_dict() for finding in each.findings],
        "files": [file.to_dict() for file in each.files],
        "notes": list(each.notes),
    }
