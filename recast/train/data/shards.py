"""WebDataset shards: plain tar files, read in any order through an index of where each member lies.

A record is the members of one key: everything before the first dot of a member's name, its folder included. Pictures
are `source`, `source2`, ... (or `src`, `input`) and `target` (or `tgt`, `output`, `edited`), with any suffix of a
picture; `mask` may be one; words are in `json` (fields of `world.shards`, or caption) or `txt`. A record whose one
picture has no name but its suffix is a picture to be made from its words.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from recast.errors import InputError
from recast.train.data import pictures, split
from recast.train.data.example import Shape
from recast.train.data.record import Encoded, Origin, Record, Records
from recast.world.folder import write_whole

SUFFIXES = ("png", "jpg", "jpeg", "webp", "gif", "tif", "tiff", "bmp", "ppm", "avif")
SOURCE = re.compile(r"(?:source|src|input)(\d*)")
TARGET = ("target", "tgt", "output", "edited")
INDEX = ".index.json"
SCHEMA = 1

Members = dict[str, list[int]]
"""Of one record: each member's offset and length in the tar, and, if it is a picture, its width and height."""


class ShardSource(Records):
    """The records of some tar files, or of all in a folder, in the order of their names.

    The index of a shard is made once and kept beside it, where that can be written; it is made again when the shard's
    length or time has changed. Raises InputError for no shards, and for one that is not a whole tar.
    """

    def __init__(self, place: Path | str | Sequence[Path | str], *, licence: str = "unknown") -> None:
        if isinstance(place, Path | str):
            folder = Path(place)
            paths = sorted(folder.glob("*.tar")) if folder.is_dir() else [folder]
        else:
            paths = [Path(each) for each in place]
        if not paths:
            raise InputError(f"place={place}: no *.tar in it; a folder of shards, or their paths, accepted")
        self.paths, self.licence = paths, licence
        self.shards = [_index(path) for path in paths]
        self.places = [(n, key) for n, shard in enumerate(self.shards) for key in shard]
        if not self.places:
            raise InputError(f"place={place}: no record in {len(paths)} shards; at least one accepted; name others")

    @property
    def length(self) -> int:
        return len(self.places)

    def id(self, index: int) -> str:
        shard, key = self.places[index]
        return f"{self.paths[shard].stem}/{key}"

    def shape(self, index: int) -> Shape:
        contexts, target, _ = self._pictures(index)
        return Shape(target.measured(), tuple(each.measured() for each in contexts))

    def record(self, index: int) -> Record:
        shard, key = self.places[index]
        contexts, target, mask = self._pictures(index)
        about = self._words(self.paths[shard], key, self.shards[shard][key])
        captions = about.get("captions")
        if captions is None and about.get("caption") is not None:
            captions = [*[None] * len(contexts), about["caption"]]
        return Record(
            id=self.id(index),
            contexts=contexts,
            target=target,
            instruction=about.get("instruction") if contexts else None,
            inverse=about.get("inverse"),
            captions=tuple(captions) if captions is not None else None,
            mask=mask,
            base=about.get("base", 0),
            kind=str(about.get("kind", "")),
            scores=about.get("scores", {}),
            licence=about.get("licence", self.licence),
            truth=about if "scenes" in about else None,
        )

    def origins(self) -> Iterator[Origin]:
        """Of each record its base context and its target, by their bytes."""
        for index, (shard, key) in enumerate(self.places):
            path = self.paths[shard]
            try:
                slots = self._slots(index)
                base = int(self._words(path, key, self.shards[shard][key]).get("base", 0)) + 1
                shown = [slots[slot][1] for slot in (base, 0) if slot in slots]
                yield Origin(tuple(split.named(path, offset, length) for offset, length, *_ in shown))
            except (InputError, TypeError, ValueError):  # `example` says what is wrong
                yield Origin()

    def about(self) -> Mapping[str, Any]:
        """Its folder, and a hash of the names, lengths and contents' places of its shards."""
        digest = hashlib.sha256()
        for path, shard in zip(self.paths, self.shards, strict=True):
            digest.update(json.dumps([path.name, shard], sort_keys=True).encode())
        return {
            "kind": "shards",
            "place": str(self.paths[0].parent),
            "examples": self.length,
            "sha256": digest.hexdigest(),
            "licence": self.licence,
        }

    def _pictures(self, index: int) -> tuple[tuple[Encoded, ...], Encoded, Encoded | None]:
        """The contexts in order, the target, and the mask if there is one."""
        shard, key = self.places[index]
        path = self.paths[shard]
        found = {
            slot: Encoded(
                name=f"{path}:{key}.{name}",
                load=partial(_read, path, offset, length),
                size=(size[0], size[1]) if size else None,
            )
            for slot, (name, (offset, length, *size)) in self._slots(index).items()
        }
        return tuple(found[n] for n in sorted(found) if n > 0), found[0], found.get(-1)

    def _slots(self, index: int) -> dict[int, tuple[str, list[int]]]:
        """The pictures' members and where they lie: by context, from 1 on; 0 is the target, -1 the mask."""
        shard, key = self.places[index]
        path, members = self.paths[shard], self.shards[shard][key]
        found: dict[int, tuple[str, list[int]]] = {}
        for name, where in members.items():
            part, _, suffix = name.rpartition(".")
            if suffix not in SUFFIXES:
                continue
            named = SOURCE.fullmatch(part)
            slot = int(named[1] or 1) if named else 0 if part in TARGET or not part else -1 if part == "mask" else None
            if slot in found:
                raise InputError(
                    f"{path}: record {key!r} has two pictures for one place, {path}:{key}.{found[slot][0]} and {name}; "
                    "one accepted; write the shard again"
                )
            if slot is not None:
                found[slot] = name, where
        contexts = sorted(slot for slot in found if slot > 0)
        if 0 not in found or contexts != list(range(1, len(contexts) + 1)):
            raise InputError(
                f"{path}: record {key!r} has {', '.join(sorted(members))}; source.*, source2.*, ... and target.*, or "
                "one picture, accepted; write the shard again"
            )
        return found

    def _words(self, path: Path, key: str, members: Members) -> dict[str, Any]:
        """What is said about a record, by the names of `world.shards`."""
        try:
            if "json" in members:
                about = json.loads(_read(path, *members["json"][:2]))
                if not isinstance(about, dict):
                    raise ValueError("a JSON object is needed")
                return about
            if "txt" in members:
                words = _read(path, *members["txt"][:2]).decode().strip()
                return {"instruction": words, "caption": words if not _has_source(members) else None}
        except ValueError as error:
            name = "json" if "json" in members else "txt"
            raise InputError(
                f"{path}:{key}.{name}: cannot be read ({error}); UTF-8 accepted; write it again"
            ) from error
        raise InputError(f"{path}: record {key!r} has no words; a member json or txt accepted; write the shard again")


def _has_source(members: Members) -> bool:
    return any(SOURCE.fullmatch(name.rpartition(".")[0]) for name in members)


def _read(path: Path, offset: int, length: int) -> bytes:
    """Some bytes of a shard. Raises InputError if they are not all there."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check that it is still there") from error
    if len(data) != length:
        raise InputError(
            f"{path}: ends at byte {offset + len(data)}, inside a member; a whole tar accepted; fetch it again"
        )
    return data


def _index(path: Path) -> dict[str, Members]:
    """The records of a shard: from beside it if that is of this file, else made, and put there if that can be."""
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); a tar file accepted; check the path") from error
    head = {"schema": SCHEMA, "bytes": state.st_size, "time_ns": state.st_mtime_ns}
    beside = path.with_name(path.name + INDEX)
    with suppress(OSError, ValueError):
        kept = json.loads(beside.read_bytes())
        if isinstance(kept, dict) and all(kept.get(name) == value for name, value in head.items()):
            records: dict[str, Members] = kept["records"]
            return records
    records = _members(path)
    if os.access(path.parent, os.W_OK):
        with suppress(OSError):  # it is only kept to save time
            write_whole(beside, json.dumps({**head, "records": records}, separators=(",", ":")).encode())
    return records


def _members(path: Path) -> dict[str, Members]:
    records: dict[str, Members] = {}
    member = None
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                key, _, part = name.partition(".")
                records.setdefault(f"{folder}/{key}" if folder else key, {})[part.lower()] = _place(path, member)
    except (tarfile.TarError, EOFError) as error:
        after = f" after {member.name}" if member is not None else ""
        raise InputError(
            f"{path}: broken{after} ({error}); a whole, plain tar accepted; fetch or write it again"
        ) from error
    return records


def _place(path: Path, member: tarfile.TarInfo) -> list[int]:
    """Where a member lies, and its size if it is a picture whose header can be read: else an example will say so."""
    where = [member.offset_data, member.size]
    if member.name.rpartition(".")[2].lower() in SUFFIXES:
        with suppress(InputError):
            where += pictures.size(_read(path, *where), member.name)
    return where
