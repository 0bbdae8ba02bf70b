"""What stages are made from, as plain data to hash: a stage is done anew when any of it has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from recast.thumbnails.brief import Brief
from recast.thumbnails.design import Design
from recast.thumbnails.identity import Sheet
from recast.thumbnails.kit import Kit
from recast.thumbnails.lettering import headline
from recast.thumbnails.stages import sha256

SHOWN = ("palette", "fonts", "text_style", "logo", "layouts", "rules")
"""What of a kit shows in a design."""


class Named(Protocol):
    @property
    def name(self) -> str: ...


def said(brief: Brief, kit: Kit, folder: Path) -> dict[str, Any]:
    """For the manifest of a set in `folder`: brief, kit, base and every file they name, with hashes and licences."""
    here = folder.resolve()
    paths = {"brief": brief.file, "kit": brief.kit}
    found = {"brief": brief.sha256, "kit": kit.sha256}
    documents = {
        part: {"file": None if path is None else os.path.relpath(path.resolve(), here), "sha256": found[part]}
        for part, path in paths.items()
    }
    return documents | {"base": {"file": "base.png", "sha256": sha256(folder / "base.png")}, "files": files(brief, kit)}


def files(brief: Brief, kit: Kit) -> list[dict[str, str | None]]:
    """Every picture, font and adapter that brief and kit name: what as, file, SHA-256, licence; None: not stated."""
    base, logo = brief.base, kit.logo
    used: list[tuple[str, Path | None, str | None]] = [
        ("base.frame", base.frame, brief.licenses.get("frame")),
        ("base.keep_mask", base.keep_mask, None),
        *((f"images.{name}", path, brief.licenses.get(name)) for name, path in brief.images.items()),
    ]
    if logo is not None:
        used += [("logo", logo.file, logo.license), ("logo.mono", logo.mono, logo.license)]
    for who in kit.characters:
        used += [(f"characters.{who.id}", path, who.license) for path in who.references]
        used += [(f"characters.{who.id}.lora", who.lora.file, None)] if who.lora and who.lora.file.is_file() else []
    used += [(f"fonts.{each.role}", each.file, each.license) for each in kit.fonts or (headline(kit),)]
    used += [("look.style", kit.look.style, None)]
    return [
        {"used_as": what, "file": path.name, "sha256": sha256(path), "licence": licence}
        for what, path, licence in used
        if path is not None
    ]


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
