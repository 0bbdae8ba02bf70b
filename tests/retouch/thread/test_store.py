"""One folder: what disks, versions and other processes can do to it."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sqlite3
from pathlib import Path

import pytest

from recast.errors import InputError
from recast.retouch.thread import Thread, objects, schema, store
from tests.retouch.thread.fake import Painter, noise


@pytest.fixture
def thread(tmp_path: Path) -> Thread:
    thread = Thread.create(tmp_path / "thread", noise())
    thread.edit(Painter(), "one")
    return thread


def state(thread: Thread) -> tuple[list[dict], dict, set[Path]]:
    """All that a failed command must leave as it was."""
    return (
        [node.to_dict() for node in thread.nodes().values()],
        thread.branches(),
        {place for place in thread.folder.rglob("*") if place.is_file()},
    )


def test_a_thread_opens_elsewhere(thread: Thread, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere" / "copy"
    shutil.copytree(thread.folder, place)
    nodes = {id: node.to_dict() for id, node in thread.nodes().items()}
    shutil.rmtree(thread.folder)
    copy = Thread.open(place)
    assert {id: node.to_dict() for id, node in copy.nodes().items()} == nodes
    copy.edit(Painter(), "two")
    assert copy.check() == []


def test_at_rest_the_database_is_one_file(thread: Thread) -> None:
    assert sorted(place.name for place in thread.folder.iterdir()) == ["objects", "thread.db", "thread.lock"]
    with thread.store.reading() as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_what_is_no_thread_is_refused(thread: Thread, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no thread there"):
        Thread.open(tmp_path)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["thread"], "looking makes no files"
    other = tmp_path / "other"
    other.mkdir()
    sqlite3.connect(other / "thread.db").executescript("CREATE TABLE t (x)").connection.close()
    with pytest.raises(InputError, match="not a thread's"):
        Thread.open(other)
    (thread.folder / "thread.db").write_bytes(b"garbage " * 1000)
    with pytest.raises(InputError, match=r"cannot be read.*bring it back"):
        Thread.open(thread.folder)


def set_version(thread: Thread, version: int) -> None:
    db = sqlite3.connect(thread.folder / "thread.db")
    db.execute(f"PRAGMA user_version = {version}")
    db.close()


def test_a_newer_thread_is_refused(thread: Thread) -> None:
    set_version(thread, schema.VERSION + 1)
    with pytest.raises(InputError, match="newer recast"):
        Thread.open(thread.folder)


def test_an_older_thread_is_brought_up_all_the_way_or_not_at_all(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE nodes ADD COLUMN mood TEXT")

    def fail(db: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("no")

    old = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", old + 2)
    monkeypatch.setattr(schema, "MIGRATIONS", {old: add, old + 1: fail})
    with pytest.raises(InputError, match="cannot be read"):
        Thread.open(thread.folder)
    monkeypatch.setattr(schema, "MIGRATIONS", {old: add, old + 1: lambda db: None})
    assert len(Thread.open(thread.folder).nodes()) == 2, "the failed one left no column behind"
    with thread.store.reading() as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == old + 2
        assert "mood" in [row["name"] for row in db.execute("PRAGMA table_info (nodes)")]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_thread_as_it_was(thread: Thread, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """At the first, second ... call of the system that says so, until the edit comes through."""
    enough = {"fsync": 4, "replace": 2}[call]
    for allowed in range(enough + 1):
        before, left = state(thread), allowed
        real = getattr(os, call)

        def full(*args: object, real: object = real) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args)  # type: ignore[operator]

        with monkeypatch.context() as patch:
            patch.setattr(objects.os, call, full)
            if allowed == enough:
                thread.edit(Painter(), "two", references=[noise(6)])
                assert thread.check() == []
                return
            with pytest.raises(InputError, match=r"No space left on device.*the thread is as it was"):
                thread.edit(Painter(), "two", references=[noise(6)])
        assert state(thread) == before


def test_a_limit_of_the_file_size_leaves_the_thread_as_it_was(thread: Thread) -> None:
    """The real thing: the system refuses to write past a size, first the objects, then the database."""
    before = state(thread)
    for limit in (500, 5_000, 20_000):
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                thread.edit(Painter(), "two", note="x" * 30_000)
            except InputError as error:
                os._exit(0 if "the thread is as it was; free some space" in str(error) else 2)
            except BaseException:
                os._exit(3)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert thread.check() == []
        assert state(thread)[:2] == before[:2]
    thread.prune()
    assert state(thread) == before
    thread.edit(Painter(), "two")
    assert thread.check() == []


def test_a_spoilt_object_is_found_and_never_handed_out(thread: Thread) -> None:
    node = thread.node()
    place = thread.store.objects.path(node.files["picture"])
    whole = place.read_bytes()
    place.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="other bytes than its name says"):
        thread.read(node.id)
    assert len(thread.check()) == 1
    thread.branch("again", at="root")
    assert thread.edit(Painter(), "one").files == node.files
    assert thread.check() == [], "written again it is whole again"
    place.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        thread.read(node.id)


def test_two_writers_lose_nothing(thread: Thread) -> None:
    children = []
    for writer in "ab":
        child = os.fork()
        if child == 0:
            try:
                for turn in range(12):
                    Thread.open(thread.folder).edit(Painter(), f"{writer}{turn}", at="main")
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    said = [node.instruction for node in thread.nodes().values() if node.instruction != "one"]
    assert sorted(filter(None, said)) == sorted(f"{writer}{turn}" for writer in "ab" for turn in range(12))
    heads = {branch.head for branch in thread.branches().values()}
    leaves = set(thread.nodes()) - {node.parent for node in thread.nodes().values()}
    assert leaves <= heads, "every node is on the way to some branch's end"
    assert thread.check() == []


def test_whoever_waits_too_long_is_told(thread: Thread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BUSY_S", 0.05)
    with thread.store.writing(), pytest.raises(InputError, match="another process has held it"):
        thread.nodes()
