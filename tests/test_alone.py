"""Two processes never work in one folder; what a killed one leaves is in nobody's way."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from recast import alone as module
from recast.alone import alone, rewriting
from recast.errors import InputError

HOLDS = """
import sys
from pathlib import Path
from recast.alone import alone
with alone(Path(sys.argv[1]), "set"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that works on the set until it is told to end."""
    words = [sys.executable, "-c", HOLDS, str(tmp_path / "set")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_told_who_works_on_the_set_and_a_killed_one_lets_go(other, tmp_path: Path):
    said = (
        rf"set: process {other.pid} on .*, since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\+00:00, works on this set; one at a "
    )
    said += "time accepted; wait for it, or end it and run this again"
    with pytest.raises(InputError, match=said), alone(tmp_path / "set", "set"):
        pass
    other.send_signal(signal.SIGKILL)
    other.wait()
    with alone(tmp_path / "set", "set"):
        assert json.loads((tmp_path / "set" / ".running.lock").read_text())["pid"] == os.getpid()


def test_the_lock_goes_with_its_block_however_it_ends(tmp_path: Path):
    with pytest.raises(KeyError), alone(tmp_path, "set"):
        raise KeyError
    with alone(tmp_path, "set"), pytest.raises(InputError, match=rf"process {os.getpid()} on"), alone(tmp_path, "set"):
        pass
    with alone(tmp_path, "set"):
        (tmp_path / ".running.lock").write_text("{")  # as it is between two writes
        with pytest.raises(InputError, match="another process works on this set"), alone(tmp_path, "set"):
            pass


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "a").write_text("a file")
    with (
        pytest.raises(InputError, match=r"a/\.running\.lock: cannot be written or locked"),
        alone(tmp_path / "a", "set"),
    ):
        pass


@pytest.mark.parametrize("call", ["fcntl.flock", "os.pwrite"])
def test_a_folder_without_locks_or_room_is_said(tmp_path: Path, monkeypatch, call):
    def fails(*_: object) -> None:
        raise OSError(errno.ENOLCK if call == "fcntl.flock" else errno.ENOSPC, "no more")

    monkeypatch.setattr(f"recast.alone.{call}", fails)
    with pytest.raises(InputError, match=r"cannot be written or locked \(no more\); a folder"), alone(tmp_path, "set"):
        pass


def test_a_folder_without_locks_is_warned_of_where_none_are_needed(tmp_path: Path, monkeypatch, caplog):
    def fails(*_: object) -> None:
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr("recast.alone.fcntl.flock", fails)
    with alone(tmp_path, "run", needs_locks=False):
        assert "no locks on this file system; see that one process alone works on this run" in caplog.text
    with rewriting(tmp_path / "a.json"):
        assert "see that one process alone works on this a.json" in caplog.text


def test_a_child_that_was_forked_does_not_hold_the_lock(tmp_path: Path, monkeypatch):
    """It shares the open file; here a copy of its handle stands for it."""
    copies: list[int] = []
    real = os.ftruncate
    monkeypatch.setattr(os, "ftruncate", lambda handle, n: (copies.append(os.dup(handle)), real(handle, n)))
    with alone(tmp_path, "set"):
        pass
    with alone(tmp_path, "set"):
        pass
    for each in copies:
        os.close(each)


def test_who_rewrites_a_file_of_records_waits_for_the_others(tmp_path: Path):
    (tmp_path / "records").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "records")

    def add(name: str) -> None:
        with rewriting(tmp_path / name):
            before = (tmp_path / name).read_text()
            time.sleep(0.02)
            (tmp_path / name).write_text(before + "one more ")

    threads = [threading.Thread(target=add, args=(name,)) for name in ("records", "link") * 3]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (tmp_path / "records").read_text() == "one more " * 6


def test_a_file_of_records_that_is_not_let_go_is_said_and_makes_no_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 0.02)
    records = tmp_path / "a.json"
    with rewriting(records), pytest.raises(InputError, match=r"works on this a\.json"), rewriting(records):
        pass
    with pytest.raises(InputError, match="its folder is not there"), rewriting(tmp_path / "none" / "a.json"):
        pass
    assert not (tmp_path / "none").exists()
