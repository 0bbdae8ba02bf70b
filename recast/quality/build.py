"""Suites by name: the world's, and everyday edits of real photographs, written when they are first asked for.

The photographs come with scikit-image, are in the public domain, and are never trained on. The right answers are made
by the world's own operators, so that they are exact.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recast.errors import InputError
from recast.quality import suites
from recast.quality.suites import Suite
from recast.world import suite as world
from recast.world.edits import EVERYDAY, Edit, edit
from recast.world.folder import Writer
from recast.world.scene import Scene

PHOTOGRAPHS: Mapping[str, str] = {
    "astronaut": "NASA, public domain",
    "chelsea": "Stefan van der Walt, CC0",
    "coffee": "Rachel Michetti, CC0",
    "rocket": "SpaceX, public domain",
    "camera": "Lav Varshney, CC0",
    "hubble_deep_field": "NASA, public domain",
}
"""Photographs that scikit-image packages, by its function's name, and who gave them away."""
PHOTO_EDITS = "photo-edits-1"
FRAMES: tuple[tuple[str, int, int], ...] = (("square", 288, 288), ("wide", 432, 240))
KINDS_EACH = 10
SEED = world.SEEDS + (1 << 22)
FIRST = (None, "add title", "add sticker", "add arrow", "logo into corner")
"""What may have to be done to a photograph before a kind of edit makes sense; tried in this order."""


HASHES: Mapping[str, str] = {
    "worldchains-1": "f937fa1c7abc6cb7e986acc9ae0848e332c708f5a4b782df34815820bce787b8",
    "worldwords-1": "153e639507365d668f7d95a92afc92ba871585710e9cf9a484498be0c45e6254",
    "photo-edits-1": "d266b21fdd8f7c4060a3b53c7c7f00c91301170a1eed713af8d64f981bdad202",
    "worldbench-1": "59f9aa06b71f5b3706c88ec42b6dceecb2ee96e63267ae4ff1e542923122ff81",
}
"""What each built-in suite's sha256 is with the pinned libraries: another one is another suite."""


def find(name: str, place: Path) -> Suite:
    """The suite of a name, written to `place` unless it is there; or the suite in the folder of that name.

    Raises InputError for a name that is neither, and where `place` holds another suite.
    """
    if name not in (*world.SUITES, PHOTO_EDITS):
        folder = Path(name)
        if folder.exists():
            return suites.load(folder)
        known = ", ".join((*world.SUITES, PHOTO_EDITS))
        raise InputError(f"suite={name!r}: no such folder, and no built-in suite; built in: {known}")
    if not (place / "suite.json").is_file():
        part = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
        try:
            for _ in write(name, part):
                pass
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()
            part.rename(place)  # all of it or nothing: what was stopped is begun anew
        finally:
            shutil.rmtree(part, ignore_errors=True)
    found = suites.load(place)
    if f"{found.name}-{found.version}" != name:
        raise InputError(f"out: its suite/ holds {found.name}-{found.version}, not {name}; name another folder")
    if found.sha256 != HASHES.get(name, found.sha256):
        other = "other libraries draw it otherwise than the pinned ones; its numbers compare with no others"
        return replace(
            found, warnings=(*found.warnings, f"{name}: {found.sha256[:12]}, not {HASHES[name][:12]}: {other}")
        )
    return found


def write(name: str, out: Path) -> Iterator[int]:
    """Write a built-in suite into a new folder; the number of items written, as they are."""
    if name != PHOTO_EDITS:
        yield from world.write(name, out)
        return
    writer = Writer(out)
    rows: list[dict[str, Any]] = []
    for row in world.frozen(PHOTO_EDITS):
        photograph = framed(load(row["base"]), row["width"], row["height"])
        made = world.drawn(writer, row, photograph)
        rows.append({**made, "truth": {**made["truth"], "photograph": writer.picture(photograph)}})
        yield len(rows)
    credits = "; ".join(f"{photograph}: {credit}" for photograph, credit in PHOTOGRAPHS.items())
    writer.finish(
        rows,
        name="photo-edits",
        version="1",
        title="photo-edits 1: everyday edits of photographs with exact answers",
        licence=f"photographs as packaged by scikit-image ({credits}); answers CC0-1.0",
        notes=["these photographs must never be trained on"],
    )


def photo_edits() -> Iterator[dict[str, Any]]:
    """How what photo-edits-1 asks was drawn: every photograph in both frames, KINDS_EACH everyday edits in turn."""
    number = 0
    for photograph in PHOTOGRAPHS:
        for frame, width, height in FRAMES:
            for _ in range(KINDS_EACH):
                made = of_photograph(SEED + number, EVERYDAY[number * 7 % len(EVERYDAY)])
                row = world.edit_row(made, f"{photograph}-{frame}-{number:04d}", made.category, number)
                yield {**row, "base": photograph, "width": width, "height": height, "split": "held out"}
                number += 1


def of_photograph(seed: int, kind: str) -> Edit:
    """An everyday edit of a photograph; where there must be a title or a mark to be edited, it has one."""
    for first in FIRST:
        source = Scene(background="photograph")
        if first is not None:
            source = edit(seed, kind=first, split="any", source=source).target
        try:
            return edit(seed + 1, kind=kind, split="any", source=source)
        except InputError:
            continue
    raise AssertionError(f"{kind!r}: suits no photograph")


def load(photograph: str) -> np.ndarray:
    """A photograph of PHOTOGRAPHS as uint8 (H, W, 3)."""
    from skimage import data

    picture = np.asarray(getattr(data, photograph)())
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else np.ascontiguousarray(picture[..., :3])


def framed(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The largest part from the middle with the aspect ratio of width x height, at that size."""
    h, w = picture.shape[:2]
    part_w, part_h = min(w, h * width // height), min(h, w * height // width)
    left, top = (w - part_w) // 2, (h - part_h) // 2
    box = (left, top, left + part_w, top + part_h)
    # Pillow resamples in whole numbers: the same bytes everywhere.
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS, box=box))
