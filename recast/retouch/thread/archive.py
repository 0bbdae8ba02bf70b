"""A whole thread in one zip file, and back: every file under its hash, and one manifest that says what they are.

    manifest.json       "recast-thread-1": facts, nodes, branches, notes, and the hash and size of every object
    objects/ab/SHA256   the objects, stored as they are

Rows travel as JSON and are added anew, so that nobody's database is ever opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import sqlite3
import stat
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.config import VERSION
from recast.errors import InputError, RecastError
from recast.retouch.thread import schema
from recast.retouch.thread.branches import way
from recast.retouch.thread.drift import Identity
from recast.retouch.thread.node import COLUMNS, check_branch_name, check_text, insert_node, nodes_in, set_fact
from recast.retouch.thread.objects import NAME, fsync_folder
from recast.retouch.thread.store import Store, Writing, new_store, reason

if TYPE_CHECKING:
    from recast.retouch.thread.tree import Thread

FORMAT = "recast-thread-1"
MANIFEST = "manifest.json"
MEMBERS = 50_000
MANIFEST_BYTES = 512 << 20
OBJECT_BYTES = 1 << 30
RATIO = 100
"""More bytes out than in by this factor is a bomb: pictures hardly shrink, and JSON by ten or twenty."""
ROLE = re.compile(r"(picture|raw|support|tokens|option/\d{1,6}|parts/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99})")
ID = re.compile(r"[0-9a-z]{8}")
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same thread gives the same bytes


def export(store: Store, path: str | os.PathLike[str]) -> Path:
    """Write the whole thread as one zip file: whole or not at all; the same thread gives the same bytes.

    Raises InputError if something is there, if it cannot be written, or if the disk has spoilt an object.
    """
    target = Path(path)
    label = f"path={os.fspath(path)!r}"
    if target.exists():
        raise InputError(f"{label}: is there already; a new name accepted; choose another")
    with store.reading() as db:
        manifest = _manifest(db)
    if len(manifest["objects"]) >= MEMBERS:
        raise InputError(f"thread: {len(manifest['objects'])} objects; fewer than {MEMBERS} accepted; prune branches")
    part = target.with_name(f".{target.name}-{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                text = json.dumps(manifest, ensure_ascii=False).encode()
                archive.writestr(_member(MANIFEST, zipfile.ZIP_DEFLATED), text)
                for entry in manifest["objects"]:
                    data = store.objects.read(entry["sha256"])
                    archive.writestr(_member(_place(entry["sha256"]), zipfile.ZIP_STORED), data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, target)
        fsync_folder(target.absolute().parent)
    except OSError as error:
        raise InputError(
            f"{label}: cannot be written ({reason(error)}); a new file in an existing folder with space accepted; "
            "choose another place"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()
    return target


def import_thread(
    path: str | os.PathLike[str], folder: str | os.PathLike[str], *, limit_bytes: int = 10 << 30,
    identity: Identity | None = None,
) -> Thread:  # fmt: skip
    """The thread of an exported file, as `Thread`, unpacked into a new folder: whole or not at all.

    Every object is checked against its hash, every row against the manifest's form. A name in the file is never used
    as a path. Raises InputError for whatever is not a whole export, for more than `limit_bytes` unpacked, and if
    something lies at `folder`.
    """
    from recast.retouch.thread.tree import Thread

    label = f"archive={os.fspath(path)!r}"
    try:
        with zipfile.ZipFile(path) as archive:
            members = _checked_members(archive, limit_bytes, label)
            manifest = _read_manifest(archive, members, label)
            with new_store(folder) as writing:
                _unpack(archive, manifest, writing, label)
    except RecastError:
        raise
    except (zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{label}: no zip file, or a broken one ({error}); {_ACCEPTED}") from None
    except (KeyError, TypeError, AttributeError, sqlite3.IntegrityError) as error:
        raise InputError(f"{label}: the manifest does not fit together ({error}); {_ACCEPTED}") from None
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{label}: cannot be read ({reason(error)}); {_ACCEPTED}") from None
    return Thread.open(folder, identity=identity)


_ACCEPTED = "a file written by `recast thread export` accepted; export it again"


def _manifest(db: sqlite3.Connection) -> dict[str, Any]:
    """Every row, as plain data."""
    return {
        "format": FORMAT,
        "schema": schema.VERSION,
        "written_by": f"recast {VERSION}",
        "facts": {row["name"]: row["value"] for row in db.execute("SELECT name, value FROM facts ORDER BY name")},
        "nodes": [
            {name: getattr(node, name) for name in COLUMNS} | {"files": dict(node.files)}
            for node in nodes_in(db).values()
        ],
        "branches": [dict(row) for row in db.execute("SELECT name, head, created FROM branches ORDER BY name")],
        "notes": [dict(row) for row in db.execute("SELECT node, created, text FROM notes ORDER BY number")],
        "objects": [dict(row) for row in db.execute("SELECT sha256, bytes FROM objects ORDER BY sha256")],
    }


def _member(name: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, LONG_AGO)
    info.compress_type, info.external_attr = compression, (stat.S_IFREG | 0o644) << 16
    return info


def _place(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}"


def _checked_members(archive: zipfile.ZipFile, limit_bytes: int, label: str) -> dict[str, zipfile.ZipInfo]:
    """The members by name, once none of them can do harm, by what the file says of itself."""
    infos = archive.infolist()
    if len(infos) > MEMBERS:
        raise InputError(f"{label}: {len(infos)} members; up to {MEMBERS} accepted; this is no thread")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name, mode = info.filename, info.external_attr >> 16
        sha256 = name.rpartition("/")[2]
        if name != MANIFEST and not (NAME.fullmatch(sha256) and name == _place(sha256)):
            raise InputError(f"{label}: member {name!r}: {MANIFEST} and objects/ab/SHA256 accepted; {_ACCEPTED}")
        if name in members:
            raise InputError(f"{label}: member {name!r} comes twice; once accepted; {_ACCEPTED}")
        if (stat.S_IFMT(mode) and not stat.S_ISREG(mode)) or info.flag_bits & 1:
            raise InputError(f"{label}: member {name!r} is a link or locked; plain files accepted; {_ACCEPTED}")
        limit = MANIFEST_BYTES if name == MANIFEST else OBJECT_BYTES
        if info.file_size > min(limit, RATIO * info.compress_size + (64 << 10)):
            raise InputError(
                f"{label}: member {name!r} unpacks from {info.compress_size} to {info.file_size} bytes; at most "
                f"{RATIO} times as many and {limit} accepted; {_ACCEPTED}"
            )
        members[name] = info
    size = sum(info.file_size for info in infos)
    if size > limit_bytes:
        raise InputError(f"{label}: unpacks to {size} bytes; up to {limit_bytes} accepted; raise limit_bytes, or prune")
    return members


def _read_manifest(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], label: str) -> dict[str, Any]:
    if MANIFEST not in members:
        raise InputError(f"{label}: no {MANIFEST} in it; {_ACCEPTED}")
    try:
        manifest = json.loads(archive.read(MANIFEST))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{label}: {MANIFEST} is not JSON ({error}); {_ACCEPTED}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f'{label}: {MANIFEST} is not of "format": "{FORMAT}"; {_ACCEPTED}')
    if manifest["schema"] != schema.VERSION:
        raise InputError(
            f"{label}: schema {manifest['schema']}; {schema.VERSION} accepted; update recast, or export it again"
        )
    listed = {MANIFEST, *(_place(str(entry["sha256"])) for entry in manifest["objects"])}
    strange = sorted(listed ^ set(members))
    if strange:
        raise InputError(f"{label}: {strange[0]!r} is in the file or in its manifest only; both accepted; {_ACCEPTED}")
    return manifest


def _unpack(archive: zipfile.ZipFile, manifest: Mapping[str, Any], writing: Writing, label: str) -> None:
    db = writing.db
    for entry in manifest["objects"]:
        sha256 = entry["sha256"]
        data = archive.read(_place(sha256))
        if hashlib.sha256(data).hexdigest() != sha256 or len(data) != entry["bytes"]:
            raise InputError(f"{label}: object {sha256[:12]} holds other bytes than its name says; {_ACCEPTED}")
        writing.put(data)
    seen: set[str] = set()
    for node in manifest["nodes"]:
        _check_node(node, seen, label)
        seen.add(node["id"])
        insert_node(db, {name: node[name] for name in COLUMNS}, node["files"])
    for branch in manifest["branches"]:
        row = (check_branch_name(branch["name"]), branch["head"], branch["created"])
        db.execute("INSERT INTO branches (name, head, created) VALUES (?, ?, ?)", row)
    for note in manifest["notes"]:
        check_text(note["text"], "note")
        row = (note["node"], note["created"], note["text"])
        db.execute("INSERT INTO notes (node, created, text) VALUES (?, ?, ?)", row)
    for name, value in manifest["facts"].items():
        set_fact(db, name, value)
    heads = {branch["name"]: branch["head"] for branch in manifest["branches"]}
    nodes = nodes_in(db)
    for head in heads.values():
        way(nodes[head], nodes)
    if manifest["facts"]["current"] not in heads or not nodes or next(iter(nodes.values())).kind != "root":
        raise InputError(f"{label}: no root, or no current branch; {_ACCEPTED}")


def _check_node(node: Mapping[str, Any], seen: set[str], label: str) -> None:
    """Raise InputError for a node that this package would not have written."""
    id = node["id"]
    fits = {
        "id": isinstance(id, str) and ID.fullmatch(id) and id not in seen,
        "parent": node["parent"] is None or node["parent"] in seen,  # parents first, so that no way is a circle
        "files": "picture" in node["files"] and all(ROLE.fullmatch(role) for role in node["files"]),
        "options": isinstance(node["options"], dict),
        "regions": isinstance(node["regions"], list),
        "warnings": isinstance(node["warnings"], list),
        "number": isinstance(node["number"], int),
        "width": isinstance(node["width"], int),
        "height": isinstance(node["height"], int),
        **{name: isinstance(node[name], str) for name in ("kind", "created", "pixels_sha256")},
        **{name: isinstance(node[name], str | None) for name in ("instruction", "origin", "file")},
        **{name: isinstance(node[name], dict | None) for name in ("recipe", "certificate", "report", "drift")},
    }
    for name, is_fit in fits.items():
        if not is_fit:
            raise InputError(f"{label}: node {id!r}: {name} is {node[name]!r}, which no thread has; {_ACCEPTED}")
    check_text(node["instruction"], "instruction")
    check_text(node["file"], "file")
