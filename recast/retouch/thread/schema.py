"""The tables of a thread, and the way from an older schema to this one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

APPLICATION_ID = 0x52544852  # what `file` sees in the header of the database
VERSION = 1

MIGRATIONS: Mapping[int, Callable[[sqlite3.Connection], None]] = {}
"""From a schema version to the next: each entry changes the tables, inside a transaction that is not its own."""

TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE objects (
    sha256 TEXT PRIMARY KEY CHECK (length(sha256) = 64),
    bytes INTEGER NOT NULL CHECK (bytes >= 0)
) WITHOUT ROWID;
CREATE TABLE nodes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    parent TEXT REFERENCES nodes (id) DEFERRABLE INITIALLY DEFERRED,
    kind TEXT NOT NULL CHECK (kind IN ('root', 'edit', 'variant', 'rebake', 'replay', 'import')),
    created TEXT NOT NULL,
    instruction TEXT,
    origin TEXT,
    file TEXT,
    width INTEGER NOT NULL CHECK (width > 0),
    height INTEGER NOT NULL CHECK (height > 0),
    pixels_sha256 TEXT NOT NULL,
    options TEXT NOT NULL,
    recipe TEXT,
    regions TEXT NOT NULL,
    certificate TEXT,
    report TEXT,
    drift TEXT,
    warnings TEXT NOT NULL,
    CHECK ((parent IS NULL) = (kind IN ('root', 'import')))
);
CREATE INDEX children ON nodes (parent);
CREATE TABLE files (
    node TEXT NOT NULL REFERENCES nodes (id) DEFERRABLE INITIALLY DEFERRED,
    role TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES objects (sha256) DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (node, role)
) WITHOUT ROWID;
CREATE INDEX uses ON files (sha256);
CREATE TABLE branches (
    name TEXT PRIMARY KEY,
    head TEXT NOT NULL REFERENCES nodes (id) DEFERRABLE INITIALLY DEFERRED,
    created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE notes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    node TEXT NOT NULL REFERENCES nodes (id) DEFERRABLE INITIALLY DEFERRED,
    created TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE TRIGGER nodes_stay BEFORE UPDATE ON nodes BEGIN SELECT RAISE(ABORT, 'a node is never changed'); END;
CREATE TRIGGER files_stay BEFORE UPDATE ON files BEGIN SELECT RAISE(ABORT, 'a node is never changed'); END;
CREATE TRIGGER objects_stay BEFORE UPDATE ON objects BEGIN SELECT RAISE(ABORT, 'an object is never changed'); END;
"""
"""`files` says which object plays which role for a node: picture, raw, support, option/0, parts/NAME."""


def create(db: sqlite3.Connection) -> None:
    """Make the tables in an empty database, inside the transaction that is under way."""
    for statement in _statements(TABLES):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def migrate(db: sqlite3.Connection, found: int) -> None:
    """Bring the tables from the version found to this one, in one transaction: all the way or not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for version in range(found, VERSION):
            MIGRATIONS[version](db)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """The statements of a script; `executescript` would commit the transaction under way."""
    statements, text = [], ""
    for line in script.splitlines():
        text += line + "\n"
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements
