"""Hashes remembered from process to process: taken while nothing of a file has changed, and put right by its bytes."""

import hashlib
import json
import logging
import os
import time
from pathlib import Path

import pytest

from recast.weights import checksum, files, hashes, recalled, remember


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small file that is old enough, and an empty table."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "LEAST_BYTES", 4)
    monkeypatch.setattr(files, "SETTLED_NS", -1_000_000_000)
    file = tmp_path / "flow.safetensors"
    file.write_bytes(b"weights")
    return file


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def table() -> dict:
    place = hashes.place()
    return json.loads(place.read_text()) if place.exists() else {}


def falsify(file: Path, value: str) -> None:
    """Another hash in the table, by which is told whether it was asked."""
    held = table()
    held[str(file)][1] = value
    hashes.place().write_text(json.dumps(held))


def test_what_is_remembered_is_not_read_again(file, tmp_path):
    assert recalled(file) == checksum(file) == sha256(b"weights")
    falsify(file, "seen")
    assert recalled(file) == "seen"
    link = tmp_path / "link.safetensors"
    link.symlink_to(file)
    assert recalled(link) == "seen"
    assert list(hashes.place().parent.iterdir()) == [hashes.place()]


def rewrite(file: Path) -> None:
    """Other bytes of the same length, and the time of change set back, as a careless tool may do."""
    before = file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(0, file.stat().st_mtime_ns))
    os.replace(other, file)


@pytest.mark.parametrize("change", [rewrite, replace])
def test_a_file_that_changed_under_the_same_size_and_time_is_read(file, change):
    recalled(file)
    falsify(file, "seen")
    change(file)
    assert recalled(file) == sha256(b"WEIGHTS")
    assert table()[str(file)][1] == sha256(b"WEIGHTS")


def test_the_bytes_put_the_table_right_and_it_is_said(file, caplog):
    remember(file)
    falsify(file, "seen")
    with caplog.at_level(logging.WARNING):
        assert remember(file) == sha256(b"weights")
    assert "other bytes under the same times" in caplog.text
    assert recalled(file) == sha256(b"weights")


@pytest.mark.parametrize(("home", "name", "value"), [(hashes, "LEAST_BYTES", 8), (files, "SETTLED_NS", 3_000_000_000)])
def test_what_is_small_or_may_still_change_within_a_tick_is_not_remembered(file, monkeypatch, home, name, value):
    monkeypatch.setattr(home, name, value)
    assert recalled(file) == sha256(b"weights")
    assert table() == {}


def test_a_file_written_twice_within_a_tick_is_remembered_by_its_last_bytes(file, monkeypatch):
    """Its stamp says nothing of the second time; what this process had by the first is not to reach the table."""
    monkeypatch.setattr(files, "SETTLED_NS", 3_000_000_000)
    tick, stat = time.time_ns(), Path.stat

    def coarse(path: Path, **more):
        return os.stat_result(stat(path, **more), {"st_mtime_ns": tick, "st_ctime_ns": tick})

    monkeypatch.setattr(Path, "stat", coarse)
    assert checksum(file) == sha256(b"weights")
    file.write_bytes(b"WEIGHTS")
    monkeypatch.setattr(time, "time_ns", lambda: tick + 4_000_000_000)
    assert remember(file) == sha256(b"WEIGHTS")
    assert table()[str(file)][1] == sha256(b"WEIGHTS")


@pytest.mark.parametrize("data", [b"", b"[1]", b'{"a": 1}', b'{"a": [["x"], "y"]}', b"\xff"])
def test_a_spoilt_table_is_an_empty_one(file, data):
    hashes.place().parent.mkdir(parents=True)
    hashes.place().write_bytes(data)
    assert recalled(file) == sha256(b"weights")
    assert list(table()) == [str(file)]


def test_without_a_place_for_the_table_files_are_read(file, monkeypatch):
    for place in (file / "below", Path("/proc/none")):
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        assert recalled(file) == sha256(b"weights")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert recalled(file) == sha256(b"weights")


def test_what_was_remembered_longest_ago_goes_first(file, monkeypatch):
    monkeypatch.setattr(hashes, "MOST_FILES", 2)
    three = [file.with_name(name) for name in "abc"]
    for each in three:
        each.write_bytes(b"weights")
        remember(each)
    assert list(table()) == [str(three[1]), str(three[2])]
