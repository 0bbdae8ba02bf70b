"""A node of a thread: one picture, what made it, and how far it is from where the thread began."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from recast.errors import InputError
from recast.retouch.thread.store import Writing

Kind = Literal["root", "edit", "variant", "rebake", "replay", "import"]
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: none is taken for another
ID_LENGTH = 8
BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a node will hold, before it has an id. blobs: its files, by role; "picture" is always there."""

    kind: Kind
    blobs: Mapping[str, bytes] = field(repr=False)
    width: int
    height: int
    pixels_sha256: str
    instruction: str | None = None
    origin: str | None = None
    file: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
    regions: Sequence[Mapping[str, Any]] = ()
    certificate: Mapping[str, Any] | None = None
    report: Mapping[str, Any] | None = None
    drift: Mapping[str, Any] | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node as it is kept; it never changes, but for notes and for which branches end here.

    kind: "root", where the thread began; "import", another picture that was brought in; "edit"; "variant", an edit
    with some of its regions left out; "replay" and "rebake", edits made again elsewhere or in fewer passes. origin: the
    node that a variant, replay or rebake was made from, which may be pruned since. pixels_sha256: as
    `recast.pixels.image.Picture.sha256`. files: role to sha256 of the object. drift: against the first node above.
    """

    number: int  # in the order in which they were added
    id: str
    parent: str | None
    kind: Kind
    created: str  # UTC, ISO 8601
    instruction: str | None
    origin: str | None
    file: str | None  # of a root or import: the name it came under, without its folder
    width: int
    height: int
    pixels_sha256: str
    options: Mapping[str, Any]
    recipe: Mapping[str, Any] | None
    regions: tuple[Mapping[str, Any], ...]
    certificate: Mapping[str, Any] | None
    report: Mapping[str, Any] | None
    drift: Mapping[str, Any] | None
    warnings: tuple[str, ...]
    files: Mapping[str, str]
    note: str | None = None
    branches: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The node as plain data."""
        data = {name: getattr(self, name) for name in COLUMNS}
        return data | {"files": dict(self.files), "note": self.note, "branches": list(self.branches)}


@dataclass(frozen=True)
class Branch:
    """A name for a line of edits: it moves on with each one. head: its last node."""

    name: str
    head: str
    created: str
    is_current: bool


COLUMNS = (
    "number", "id", "parent", "kind", "created", "instruction", "origin", "file", "width", "height", "pixels_sha256",
    "options", "recipe", "regions", "certificate", "report", "drift", "warnings",
)  # fmt: skip
JSON = ("options", "recipe", "regions", "certificate", "report", "drift", "warnings")
LISTS = ("regions", "warnings")


def node_in(db: sqlite3.Connection, id: str) -> Node:
    """The node of an id that is there."""
    return nodes_in(db, id)[id]


def nodes_in(db: sqlite3.Connection, id: str | None = None) -> dict[str, Node]:
    """Every node by its id, parents before children; or the one of this id."""
    files: dict[str, dict[str, str]] = {}
    query = "SELECT node, role, sha256 FROM files WHERE ?1 IS NULL OR node = ?1 ORDER BY node, role"
    for row in db.execute(query, (id,)):
        files.setdefault(row["node"], {})[row["role"]] = row["sha256"]
    notes = {row["node"]: row["text"] for row in db.execute("SELECT node, text FROM notes ORDER BY number")}
    heads: dict[str, list[str]] = {}
    for row in db.execute("SELECT name, head FROM branches ORDER BY name"):
        heads.setdefault(row["head"], []).append(row["name"])
    nodes = {}
    query = f"SELECT {', '.join(COLUMNS)} FROM nodes WHERE ?1 IS NULL OR id = ?1 ORDER BY number"
    for row in db.execute(query, (id,)):
        values = dict(row)
        for name in JSON:
            values[name] = None if values[name] is None else json.loads(values[name])
        for name in LISTS:
            values[name] = tuple(values[name])
        own = values["id"]
        values |= {"files": files.get(own, {}), "note": notes.get(own), "branches": tuple(heads.get(own, ()))}
        nodes[own] = Node(**values)
    return nodes


def branches_in(db: sqlite3.Connection) -> dict[str, Branch]:
    """Every branch by its name, in the order in which they were made."""
    current = fact(db, "current")
    rows = db.execute("SELECT name, head, created FROM branches ORDER BY created, name")
    return {row["name"]: Branch(row["name"], row["head"], row["created"], row["name"] == current) for row in rows}


def fact(db: sqlite3.Connection, name: str) -> str:
    """A fact about the thread: "current", the branch that edits go to; "id"; "created"; "version"."""
    value: str = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0]
    return value


def set_fact(db: sqlite3.Connection, name: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))


def add_node(writing: Writing, draft: Draft, parent: str | None) -> str:
    """The id of a new node made of the draft, with its files."""
    check_text(draft.instruction, "instruction")
    files = {role: writing.put(data) for role, data in draft.blobs.items()}
    values = {name: getattr(draft, name) for name in COLUMNS if name not in ("number", "id", "parent", "created")}
    id = new_id(writing.db)
    insert_node(writing.db, {**values, "id": id, "parent": parent, "created": now()}, files)
    return id


def insert_node(db: sqlite3.Connection, values: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Add the row of a node, and the rows that say which objects are its files; those of the objects are there."""
    values = {name: dump(value) if name in JSON and value is not None else value for name, value in values.items()}
    names = ", ".join(name for name in COLUMNS if name in values)
    marks = ", ".join(f":{name}" for name in COLUMNS if name in values)
    db.execute(f"INSERT INTO nodes ({names}) VALUES ({marks})", values)
    rows = [(values["id"], role, sha256) for role, sha256 in files.items()]
    db.executemany("INSERT INTO files (node, role, sha256) VALUES (?, ?, ?)", rows)


def new_id(db: sqlite3.Connection) -> str:
    """An id that no node, no note of a pruned one and no branch has."""
    while True:
        id = "".join(secrets.choice(DIGITS) for _ in range(ID_LENGTH))
        taken = "SELECT 1 FROM nodes WHERE id = :id OR origin = :id UNION SELECT 1 FROM branches WHERE name = :id"
        if db.execute(taken, {"id": id}).fetchone() is None:
            return id


def check_branch_name(name: Any) -> str:
    """The name. Raises InputError for one that could be taken for a path, an option or the root."""
    if not isinstance(name, str) or not BRANCH.fullmatch(name) or name == "root":
        raise InputError(
            f"branch={name!r}: no name; up to 64 letters, digits, _ . - accepted, the first a letter or digit, and not "
            "'root'; choose another"
        )
    return name


def check_text(text: Any, name: str) -> None:
    """Raise InputError for a text that a database cannot give back as it came."""
    if text is None:
        return
    if not isinstance(text, str) or "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(f"{name}={text!r}: text without NUL and lone surrogates accepted; mend it")


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def now() -> str:
    """The time in UTC, to the microsecond, so that it sorts."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
