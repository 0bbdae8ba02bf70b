"""Branches go with what only they lead to; nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from recast.errors import InputError
from recast.retouch.thread import Thread
from tests.retouch.thread.fake import Painter, noise


@pytest.fixture
def thread(tmp_path: Path) -> Thread:
    """root - one - two (main); one - red - redder (red); two (same) also a branch of its own."""
    thread, painter = Thread.create(tmp_path / "thread", noise()), Painter()
    one = thread.edit(painter, "one")
    thread.edit(painter, "two")
    thread.edit(painter, "red", at=one.id, branch="red")
    thread.edit(painter, "redder")
    thread.branch("same", at="main")
    return thread


def words(thread: Thread) -> list[str | None]:
    return [node.instruction for node in thread.nodes().values()]


def files(thread: Thread) -> set[str]:
    return {place.name for place in (thread.folder / "objects").rglob("*") if place.is_file()}


def test_only_what_no_other_branch_needs_goes(thread: Thread) -> None:
    red = thread.path("red")[-2:]
    thread.note("red", "a note goes with its node")
    planned = thread.prune("red", is_dry=True)
    assert (planned.nodes, planned.files) == (tuple(node.id for node in red), None)
    assert len(words(thread)) == 5, "a dry run removes nothing"
    pruned = thread.prune("red")
    assert (pruned.branches, pruned.nodes, pruned.files) == (("red",), planned.nodes, 2)
    assert words(thread) == [None, "one", "two"]
    assert files(thread) == {sha256 for node in thread.nodes().values() for sha256 in node.files.values()}
    assert thread.check() == []
    assert thread.prune("main").nodes == (), "another branch ends there too"
    assert words(thread) == [None, "one", "two"]


def test_the_root_and_one_branch_stay(thread: Thread) -> None:
    assert len(thread.prune("red", "main").nodes) == 2
    with pytest.raises(InputError, match="no branch would be left"):
        thread.prune("same")
    with pytest.raises(InputError, match="no such branch"):
        thread.prune("same", "nosuch")
    thread.replay(Painter(), "same", noise(3))
    thread.prune("same")
    assert thread.root.kind == "root", "even where all that is left began elsewhere"
    assert next(one.name for one in thread.branches().values() if one.is_current) == "replay"


def test_a_file_that_two_nodes_share_stays_with_the_other(thread: Thread) -> None:
    twin = thread.edit(Painter(), "one", at="root", branch="twin")
    assert twin.files == thread.path("main")[1].files
    assert thread.prune("twin").files == 0
    assert thread.check() == []


def test_what_a_kill_left_behind_goes(thread: Thread) -> None:
    place = thread.folder / "objects"
    (place / "ab").mkdir(exist_ok=True)
    (place / "ab" / f"ab{'0' * 62}").write_bytes(b"no row knows me")
    (place / "ab" / ".0123.part").write_bytes(b"half")
    kept = thread.nodes()
    pruned = thread.prune()
    assert (pruned.branches, pruned.nodes, pruned.files, pruned.bytes) == ((), (), 2, 19)
    assert thread.nodes() == kept
    assert thread.check() == []
