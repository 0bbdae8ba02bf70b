"""One file there and back; and what a stranger's file cannot do."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recast.errors import InputError
from recast.retouch.thread import Thread, archive, import_thread
from tests.retouch.thread.fake import Painter, noise

Members = dict[str, bytes]


@pytest.fixture
def thread(tmp_path: Path) -> Thread:
    thread = Thread.create(tmp_path / "thread", noise())
    painter = Painter()
    thread.edit(painter, "one", references=[noise(5)])
    thread.edit(painter, "two", at="root", branch="red")
    thread.note("main", "dear")
    thread.replay(painter, "main", noise(2, width=9, height=8))
    return thread


def everything(thread: Thread) -> tuple[Any, ...]:
    nodes = [node.to_dict() for node in thread.nodes().values()]
    return nodes, thread.branches(), [thread.read(node["id"], role) for node in nodes for role in node["files"]]


def test_there_and_back_is_the_same_thread(thread: Thread, tmp_path: Path) -> None:
    before = everything(thread)
    path = thread.export(tmp_path / "one.zip")
    copy = import_thread(path, tmp_path / "copy")
    assert everything(copy) == before
    assert copy.check() == []
    assert copy.export(tmp_path / "two.zip").read_bytes() == path.read_bytes(), "the same thread gives the same bytes"
    assert copy.edit(Painter(), "on").parent == thread.node().id
    with pytest.raises(InputError, match="is there already"):
        thread.export(path)
    with pytest.raises(InputError, match="something is there"):
        import_thread(path, tmp_path / "copy")


def test_an_export_that_fails_leaves_nothing(thread: Thread, tmp_path: Path) -> None:
    thread.store.objects.path(thread.node().files["picture"]).unlink()
    with pytest.raises(InputError, match="cannot be read"):
        thread.export(tmp_path / "one.zip")
    with pytest.raises(InputError, match="cannot be written"):
        thread.export(tmp_path / "no" / "one.zip")
    assert [place.name for place in tmp_path.iterdir()] == ["thread"]


def test_one_flipped_bit_anywhere_is_found(thread: Thread, tmp_path: Path) -> None:
    data = thread.export(tmp_path / "one.zip").read_bytes()
    refused = 0
    for place in range(0, len(data), max(1, len(data) // 60)):
        (tmp_path / "bad.zip").write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            copy = import_thread(tmp_path / "bad.zip", tmp_path / f"copy-{place}")
        except InputError:
            refused += 1
            assert not (tmp_path / f"copy-{place}").exists()
        else:  # a date, or another field that says nothing of what is inside
            assert everything(copy) == everything(thread)
    assert refused > 40
    assert not list(tmp_path.glob(".*")), "nothing half made is left"


def remade(path: Path, change: Callable[[Members, dict[str, Any]], None], out: Path) -> Path:
    """The archive with its members and manifest changed."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    manifest = json.loads(members["manifest.json"])
    change(members, manifest)
    if "manifest.json" in members:
        members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(out, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)
    return out


def other_bytes(members: Members, manifest: dict[str, Any]) -> None:
    name = next(name for name in members if name.startswith("objects/"))
    members[name] = b"x" * len(members[name])


def circle(members: Members, manifest: dict[str, Any]) -> None:
    manifest["nodes"][1]["parent"] = manifest["nodes"][2]["id"]


def set_node(name: str, value: object) -> Callable[[Members, dict[str, Any]], None]:
    return lambda members, manifest: manifest["nodes"][1].__setitem__(name, value)


def set_top(name: str, value: object) -> Callable[[Members, dict[str, Any]], None]:
    return lambda members, manifest: manifest.__setitem__(name, value)


def climb(members: Members, manifest: dict[str, Any]) -> None:
    members["../evil"] = b"x"


def climb_by_role(members: Members, manifest: dict[str, Any]) -> None:
    manifest["nodes"][1]["files"]["parts/../../evil"] = manifest["nodes"][1]["files"]["picture"]


STRANGE: dict[str, tuple[Callable[[Members, dict[str, Any]], None], str]] = {
    "climbs out": (climb, "objects/ab/SHA256 accepted"),
    "absolute": (lambda m, _: m.update({"/tmp/evil": b"x"}), "objects/ab/SHA256 accepted"),
    "wrong folder": (lambda m, _: m.update({f"objects/zz/{'0' * 64}": b"x"}), "objects/ab/SHA256 accepted"),
    "extra": (lambda m, _: m.update({f"objects/00/{'0' * 64}": b"x"}), "only"),
    "missing": (lambda m, _: m.pop(next(n for n in m if n.startswith("objects/"))), "only"),
    "no manifest": (lambda m, _: m.pop("manifest.json"), "no manifest.json"),
    "other bytes": (other_bytes, "other bytes"),
    "circle": (circle, "parent"),
    "climbs by role": (climb_by_role, "files"),
    "id": (set_node("id", "../../up"), "id"),
    "kind": (set_node("kind", "king"), "does not fit together"),
    "recipe": (set_node("recipe", "text"), "recipe"),
    "instruction": (set_node("instruction", "a\0b"), "instruction"),
    "instruction kind": (set_node("instruction", ["a"]), "instruction"),
    "width": (set_node("width", -1), "does not fit together"),
    "no picture": (set_node("files", {}), "files"),
    "file elsewhere": (set_node("files", {"picture": "0" * 64}), "does not fit together"),
    "format": (set_top("format", "other-1"), "not of"),
    "schema": (set_top("schema", 99), "schema 99"),
    "no nodes": (set_top("nodes", []), "does not fit together"),
    "branch": (set_top("branches", [{"name": "../x", "head": "0" * 8, "created": ""}]), "no name"),
    "head": (set_top("branches", [{"name": "main", "head": "00000000", "created": ""}]), "does not fit together"),
    "facts": (set_top("facts", {}), "does not fit together"),
    "objects": (set_top("objects", 3), "does not fit together"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_what_no_thread_has_is_refused(thread: Thread, tmp_path: Path, case: str) -> None:
    change, words = STRANGE[case]
    path = remade(thread.export(tmp_path / "one.zip"), change, tmp_path / "bad.zip")
    with pytest.raises(InputError, match=words):
        import_thread(path, tmp_path / "copy")
    assert sorted(place.name for place in tmp_path.iterdir()) == ["bad.zip", "one.zip", "thread"]


def test_a_remade_archive_is_whole_if_nothing_is_changed(thread: Thread, tmp_path: Path) -> None:
    """Guards the test above: it refuses what was changed, not how it was packed."""
    path = remade(thread.export(tmp_path / "one.zip"), lambda members, manifest: None, tmp_path / "same.zip")
    assert everything(import_thread(path, tmp_path / "copy")) == everything(thread)


def test_bombs_links_and_doubles_are_refused_before_they_are_unpacked(thread: Thread, tmp_path: Path) -> None:
    path = thread.export(tmp_path / "one.zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr(f"objects/00/{'0' * 64}", bytes(100 << 20))
    link = zipfile.ZipInfo(f"objects/00/{'0' * 64}")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as file:
        file.writestr("manifest.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("manifest.json", "{}")
    (tmp_path / "text.zip").write_text("not a zip")
    (tmp_path / "half.zip").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cases = {"bomb": "unpacks from", "link": "is a link", "twice": "comes twice", "text": "no zip", "half": "no zip"}
    for name, words in (cases | {"nowhere": "cannot be read"}).items():
        with pytest.raises(InputError, match=words):
            import_thread(tmp_path / f"{name}.zip", tmp_path / "copy")
    with pytest.raises(InputError, match="unpacks to"):
        import_thread(path, tmp_path / "copy", limit_bytes=1000)
    assert not (tmp_path / "copy").exists()


def test_too_many_members_are_refused_both_ways(
    thread: Thread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = thread.export(tmp_path / "one.zip")
    monkeypatch.setattr(archive, "MEMBERS", 3)
    with pytest.raises(InputError, match="members"):
        import_thread(path, tmp_path / "copy")
    with pytest.raises(InputError, match="prune branches"):
        thread.export(tmp_path / "two.zip")
