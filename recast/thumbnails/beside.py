"""Titles that do not hold where they are small, set again beside a finished set: nothing of the set is touched."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recast.errors import InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails import base as bases
from recast.thumbnails import export as exports
from recast.thumbnails import made_from, openraster
from recast.thumbnails import manifest as manifests
from recast.thumbnails.boxes import Box
from recast.thumbnails.brief import read_brief_and_kit
from recast.thumbnails.design import Design
from recast.thumbnails.export import Exported
from recast.thumbnails.improve import WHERE_SMALL, Improved, improve
from recast.thumbnails.kit import Kit
from recast.thumbnails.lettering import lettered
from recast.thumbnails.profiles import USUAL, Profile
from recast.thumbnails.render import layers, render
from recast.thumbnails.seeing import Sight
from recast.thumbnails.setting import checked_in, design
from recast.thumbnails.stages import sha256
from recast.thumbnails.vector import to_svg

REPORT = "improved.json"
SUFFIXES = (".jpg", ".png", ".ora")


@dataclass(frozen=True, kw_only=True)
class Start:
    """What is to be set again, in `profile`. design: None where it has no title, which is why nothing is done."""

    name: str
    design: Design | None
    kit: Kit
    faces: Sequence[Box] | None
    profile: Profile = USUAL

    def improved(self, sight: Sight) -> Improved | None:
        return None if self.design is None else improve(self.design, self.kit, sight=sight, faces=self.faces)


def of_set(folder: Path, names: Sequence[str], sight: Sight) -> Iterator[Start]:
    """Variants of a finished set by name, as its brief and kit set them; none named: those whose titles complain.

    Raises InputError for a name that the set has not, a variant without a picture, and for brief, kit or a file of
    theirs that is gone, or has changed since; for titles that a model painted.
    """
    data = manifests.read(folder)
    rows: Mapping[str, Mapping[str, Any]] = {each["name"]: each for each in data["variants"]}
    for name in names:
        if name not in rows:
            raise InputError(f"variant={name!r}: not in {folder}; {', '.join(rows)} accepted")
        if not rows[name]["findings"]:
            raise InputError(f"variant={name!r}: has no picture ({rows[name]['reason']}); choose another")
    brief, kit = read_brief_and_kit(_unchanged(folder, data))
    if kit.sha256 != data["made_from"]["kit"]["sha256"]:
        raise _changed(brief.kit)
    both = (data["made_from"]["files"], made_from.files(brief, kit))
    was, found = (Counter((each["used_as"], each["file"], each["sha256"]) for each in files) for files in both)
    for _, file, _ in (was - found) + (found - was):  # two files of one name may be used as one thing
        raise _changed(Path(str(file)))
    if brief.text_in_scene:
        raise InputError(
            f"{brief.file}: text_in_scene: the model paints its titles; a set with letters of ours accepted"
        )
    profile = checked_in(brief, kit)
    for name in names or [name for name, row in rows.items() if _complains(row)]:
        level = next(each for each in brief.levels if each.name == rows[name]["level"])
        picture = image.read(folder / "variants" / f"{name}.png", name=name)
        faces = _faces(picture, sight)
        made = design(picture, brief, kit, level, faces, profile=profile)
        yield Start(name=name, design=made if made.lettering else None, kit=kit, faces=faces, profile=profile)


def of_picture(path: Path, text: str, kit: Kit, sight: Sight) -> Start:
    """A 16:9 picture without letters, and a title for it. Raises InputError for another shape, ConfigError for a title
    that does not fit.
    """
    picture = image.read(path)
    if picture.width * USUAL.height != picture.height * USUAL.width:
        raise InputError(f"{path}: {picture.width}x{picture.height} came; 16:9 accepted; crop it")
    faces = _faces(picture, sight)
    return Start(name=path.stem, design=lettered(picture, text, kit, faces=faces), kit=kit, faces=faces)


def check_free(out: Path, names: Sequence[str]) -> None:
    """Raise InputError for a folder that holds a file which would be written."""
    taken = [f"{name}{suffix}" for name in names for suffix in SUFFIXES if (out / f"{name}{suffix}").exists()]
    taken += [REPORT] if (out / REPORT).exists() else []
    if taken or (out.exists() and not out.is_dir()):
        what = f"holds {', '.join(taken)}" if taken else "is a file"
        raise InputError(f"out={str(out)!r}: {what}; a folder without accepted, for nothing is written over; name one")


def write(out: Path, name: str, made: Improved, profile: Profile) -> tuple[Path, ...]:
    """The design as a file of the profile and as a layered master."""
    out.mkdir(parents=True, exist_ok=True)
    width, height = profile.width, profile.height
    flat = render(made.design, width=width, height=height)
    written: Exported = exports.export(flat, profile, out, name)
    svg = to_svg(made.design, width=width, height=height)
    master = openraster.write(out / f"{name}.ora", layers(made.design, width=width, height=height), flat, svg=svg)
    return out / written.file, master


def report(out: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """What was changed of each, as JSON."""
    out.mkdir(parents=True, exist_ok=True)
    return image.write_bytes(json.dumps(list(rows), indent=1, ensure_ascii=False).encode(), out / REPORT)


def _faces(picture: Picture, sight: Sight) -> Sequence[Box] | None:
    """Where faces are; None where nothing looks for them, and layouts say where they should be."""
    return None if sight.faces is None else bases.faces_of(picture, sight.faces)


def _complains(row: Mapping[str, Any]) -> bool:
    return any(each["check"] in WHERE_SMALL and each["verdict"] in ("fail", "warn") for each in row["findings"])


def _unchanged(folder: Path, data: Mapping[str, Any]) -> Path:
    """The brief of a set, as it was when the set was made."""
    said = data.get("made_from", {}).get("brief", {})
    if not said.get("file"):
        raise InputError(f"{folder}: its manifest does not say from which brief it was made; make the set again")
    path: Path = folder / said["file"]
    if not path.is_file():
        raise InputError(f"{path}: the brief of this set is not there; put it back, or make the set again")
    if sha256(path) != said["sha256"]:
        raise _changed(path)
    return path


def _changed(path: Path) -> InputError:
    return InputError(f"{path}: has changed since the set was made; make the set again, then improve it")
