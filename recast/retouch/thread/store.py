"""One folder, safe against a kill at any moment: rows in SQLite, and what they point to in content-addressed files.

    thread.db      what there is, in SQLite with a write-ahead log
    thread.lock    locked while the database is open
    objects/       pictures and the like, `ab/<sha256>`
    encoded/       tokens that can be made again (`encoded`), no part of the thread

An object lies on the disk before the transaction that points to it commits, so a row never points to a missing one;
what a kill leaves behind is a file that no row knows, and `Store.sweep` removes it. No path is kept inside.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from recast.errors import InputError, RecastError
from recast.retouch.thread import schema
from recast.retouch.thread.objects import Objects, fsync_folder

DATABASE, LOCK, OBJECTS, ENCODED = "thread.db", "thread.lock", "objects", "encoded"
BUSY_S = 60.0
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Store:
    """The folder of a thread. Each use opens the database and closes it again; nothing is held in between.

    Only one process has the database open at a time, kept apart by a lock that a kill releases. SQLite's own locks
    would do but for one fault: in versions 3.7.0 to 3.51.2 a checkpoint that meets a commit in another connection can
    lose pages (sqlite.org/wal.html, "The WAL-Reset Bug"), and Python brings such versions.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.objects = Objects(self.folder / OBJECTS)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The database for a look. Raises InputError if it cannot be read."""
        with self._told("read"), self._alone(), closing(self._connect()) as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """One transaction: all of the block is kept, or nothing. Raises InputError if the disk refuses."""
        with self._told("written"), self._alone(), closing(self._connect()) as db, _transaction(db):
            writing = Writing(db, self.objects)
            try:
                yield writing
            except BaseException:
                writing.undo()
                raise

    def sweep(self) -> tuple[int, int]:
        """Remove every file that no row points to, those in `encoded/` too; how many there were, and their bytes."""
        with self.writing() as writing:  # nobody else adds an object meanwhile
            unused = "SELECT sha256 FROM objects WHERE sha256 NOT IN (SELECT sha256 FROM files)"
            assert writing.db.execute(unused).fetchone() is None, "rows of objects go with the last file"
            kept = {row["sha256"] for row in writing.db.execute("SELECT sha256 FROM objects")}
            places = [*self.objects.unkept(kept), *(self.folder / ENCODED).glob("*")]
            size = 0
            for place in places:
                with suppress(FileNotFoundError):  # an edit under way removes some of `encoded/`, too
                    size += place.stat().st_size
                    place.unlink()
        return len(places), size

    def check(self) -> list[str]:
        """What is wrong with the folder, a phrase each: nothing, if all is well."""
        with self.reading() as db:
            wrong = [f"database: {row[0]}" for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
            wrong += [f"database: {row[0]} points to nothing" for row in db.execute("PRAGMA foreign_key_check")]
            rows = db.execute("SELECT sha256, bytes FROM objects").fetchall()
        for row in rows:
            try:
                data = self.objects.read(row["sha256"])
            except InputError as error:
                wrong.append(str(error))
                continue
            if len(data) != row["bytes"]:
                wrong.append(f"object {row['sha256'][:12]}: {len(data)} bytes, {row['bytes']} in the database")
        return wrong

    @contextmanager
    def _alone(self) -> Iterator[None]:
        handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            until = time.monotonic() + BUSY_S
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise InputError(
                            f"thread={str(self.folder)!r}: another process has held it for {BUSY_S:.0f} s; one at a "
                            "time accepted; wait for it, or end it"
                        ) from None
                    time.sleep(0.002)
            yield
        finally:
            os.close(handle)

    def _connect(self, *, is_new: bool = False) -> sqlite3.Connection:
        place = (self.folder / DATABASE).absolute().as_uri()
        mode = "rwc" if is_new else "rw"
        db = sqlite3.connect(f"{place}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_S)
        try:
            db.row_factory = sqlite3.Row
            if not is_new:
                self._check_schema(db)
            db.execute("PRAGMA trusted_schema = OFF")  # a thread may come from a stranger
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = FULL")
            if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise InputError(f"thread={str(self.folder)!r}: no write-ahead log on this disk; use another one")
        except BaseException:
            db.close()
            raise
        return db

    def _check_schema(self, db: sqlite3.Connection) -> None:
        label = f"thread={str(self.folder)!r}"
        if db.execute("PRAGMA application_id").fetchone()[0] != schema.APPLICATION_ID:
            raise InputError(f"{label}: {DATABASE} is not a thread's; a folder made by `recast thread new` accepted")
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found > schema.VERSION:
            raise InputError(
                f"{label}: schema {found}, written by a newer recast; up to {schema.VERSION} accepted; update recast"
            )
        if found < schema.VERSION:
            schema.migrate(db, found)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Whatever the disk or the database refuses, as one InputError."""
        label = f"thread={str(self.folder)!r}"
        if not (self.folder / DATABASE).is_file():
            raise InputError(f"{label}: no thread there; a folder made by `recast thread new` accepted; check the path")
        try:
            yield
        except RecastError:
            raise
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{label}: cannot be {what} ({reason(error)}); {_cure(error)}") from error


class Writing:
    """A transaction under way: rows through `db`, files through `put`."""

    def __init__(self, db: sqlite3.Connection, objects: Objects) -> None:
        self.db = db
        self._objects = objects
        self._added: list[str] = []

    def put(self, data: bytes) -> str:
        """The hash of the data, which lies on the disk and has its row. Raises OSError."""
        sha256, is_new = self._objects.put(data)
        if is_new:
            self._added.append(sha256)
        self.db.execute("INSERT OR IGNORE INTO objects (sha256, bytes) VALUES (?, ?)", (sha256, len(data)))
        return sha256

    def undo(self) -> None:
        """Remove the files this transaction brought. Only before it commits: after that a row may point to them."""
        for sha256 in self._added:
            with suppress(OSError):
                self._objects.remove(sha256)


@contextmanager
def new_store(folder: str | os.PathLike[str]) -> Iterator[Writing]:
    """A store that is filled in the block, and is at `folder` after it, whole; or nothing is.

    Raises InputError if something is there, or if it cannot be written.
    """
    target = Path(folder)
    label = f"thread={str(folder)!r}"
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{label}: something is there; a new or empty folder accepted; name another")
    above = target.absolute().parent
    if not above.is_dir():
        raise InputError(f"{label}: no folder {str(above)!r}; an existing one accepted; mkdir -p {above}")
    part = target.absolute().with_name(f".{target.name}-{secrets.token_hex(8)}.part")
    try:
        part.mkdir()
        (part / OBJECTS).mkdir()
        store = Store(part)
        with store._alone(), closing(store._connect(is_new=True)) as db, _transaction(db):
            schema.create(db)
            yield Writing(db, store.objects)
        fsync_folder(part)
        os.rename(part, target)
        fsync_folder(above)
    except (RecastError, sqlite3.IntegrityError):  # the latter is for the caller, who brought the rows
        raise
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"{label}: cannot be written ({reason(error)}); {_cure(error)}") from error
    finally:
        if part.exists():
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def reason(error: Exception) -> str:
    """Why the disk or the database refused."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _cure(error: Exception) -> str:
    is_full = isinstance(error, OSError) and error.errno in FULL
    if is_full or "full" in str(error) or "disk I/O" in str(error):
        return "the thread is as it was; free some space, and do it again"
    if isinstance(error, sqlite3.DatabaseError) and ("malformed" in str(error) or "not a database" in str(error)):
        return "a folder as recast wrote it accepted; bring it back from a copy or an export"
    return "a folder that may be read and written accepted; check its permissions, and do it again"
