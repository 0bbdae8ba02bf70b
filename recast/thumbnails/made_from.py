"""What stages are made from, as plain data to hash: a stage is done anew when any of it has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from recast.thumbnails.design import Design
from recast.thumbnails.identity import Sheet
from recast.thumbnails.kit import Kit
from recast.thumbnails.stages import sha256

SHOWN = ("palette", "fonts", "text_style", "logo", "layouts", "rules")
"""What of a kit shows in a design."""


class Named(Protocol):
    @property
    def name(self) -> str: ...


def design_kit(kit: Kit) -> dict[str, Any]:
    """What of the kit shows in a design, and the hashes of its files."""
    files = [each.file for each in kit.fonts] + ([] if kit.logo is None else [kit.logo.file, kit.logo.mono])
    return {"parts": repr({part: getattr(kit, part) for part in SHOWN}), "files": hashes(files)}


def placed(plan: Design) -> str:
    """Where a design has its letters and logo, and in which colours: it follows the faces that were seen."""
    logo = plan.logo and (plan.logo.file, plan.logo.box)
    return hashlib.sha256(repr((plan.lettering, logo)).encode()).hexdigest()


def identity(sheets: Sequence[Sheet]) -> list[Any]:
    """Whom faces are compared with, and how strictly."""
    return [[each.character, each.limit, each.recogniser, each.identities.round(4).tolist()] for each in sheets]


def name(eye: Named | None) -> str | None:
    """What looks, by its name."""
    return None if eye is None else eye.name


def hashes(paths: Sequence[Path | None]) -> list[str | None]:
    """SHA-256 of files; None where there is none."""
    return [None if path is None else sha256(path) for path in paths]
