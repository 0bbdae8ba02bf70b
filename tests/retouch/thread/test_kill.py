"""A kill at any moment of any command loses no node that was reported, and breaks nothing."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recast.errors import InputError
from recast.retouch.thread import Thread, import_thread
from recast.retouch.thread import tree as trees
from tests.retouch.thread.fake import Painter, noise

KILLS = 200


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a kill leaves the same behind there, and flushing takes no time."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        yield Path(place)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_kill_loses_an_accepted_node(memory: Path) -> None:
    """Workers do random commands and say what came of each; each is killed at a random moment, often inside one."""
    folder, dice = memory / "thread", random.Random(5)
    accepted = {Thread.create(folder, noise()).root.id}
    announced: set[str] = set()  # by a prune that may or may not have come to its end
    made: set[Path] = set()
    inside = total = 0
    usual_s = time_of_one(memory)
    for kill in range(KILLS):
        wait_s = dice.uniform(0, 2 * usual_s)
        lines = killed(lambda say, kill=kill: work(folder, kill, say), dice.randint(1, 2), wait_s)
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "+":
                accepted.add(rest)
                total += 1
            elif word == "-":
                announced.update(rest.split())
            elif word in ("zip", "copy"):
                made.add(Path(rest))
            assert word != "!", line
        inside += bool(lines) and lines[-1] == "begin"
        thread = Thread.open(folder)
        there = set(thread.nodes())
        lost = accepted - there
        assert lost <= announced, f"kill {kill}: lost {sorted(lost - announced)}"
        accepted -= lost
        announced &= there
        if kill % 20 == 19:
            assert thread.check() == []
    assert inside > KILLS / 4, "kills have to fall inside commands to prove anything"
    assert total > 80
    print(f"{KILLS} kills, {inside} inside a command, {total} nodes accepted, {len(accepted)} left after prunes")
    assert thread.check() == []
    for id in accepted:
        thread.picture(id)
    thread.prune()
    files = {file.name for file in (folder / "objects").rglob("*") if file.is_file()}
    assert files == {sha256 for node in thread.nodes().values() for sha256 in node.files.values()}
    for place in made:  # what was reported is whole; what was not is not there under its name
        assert place.exists()
    for place in memory.glob("zip-*"):
        assert import_thread(place, memory / f"{place.name}.out").check() == []
    for place in memory.glob("copy-*"):
        assert Thread.open(place).check() == []
    (ok,) = sqlite3.connect(folder / "thread.db").execute("PRAGMA integrity_check").fetchone()
    assert ok == "ok"


def test_a_row_is_never_there_before_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between each two system calls that matter: after every one, the thread opens and is whole."""
    folder = tmp_path / "thread"
    Thread.create(folder, noise())
    for step in range(60):
        lines = killed(lambda say, step=step: one_edit(folder, step, say), None)
        assert Thread.open(folder).check() == [], f"after step {step}"
        if lines[-1].startswith("+"):
            assert lines[-1][2:] in Thread.open(folder).nodes()
            assert step > 6, "the edit has more steps than that"
            return
    pytest.fail("the edit never came to its end")


def time_of_one(memory: Path) -> float:
    """Seconds that an edit takes on this machine, as busy as it is."""
    thread, started = Thread.create(memory / "clock", noise()), time.monotonic()
    for turn in range(10):
        thread.edit(Painter(), f"turn {turn}")
    return (time.monotonic() - started) / 10


def one_edit(folder: Path, step: int, say: Callable[[str], None]) -> None:
    """An edit that kills itself at the step-th flush, rename or commit."""
    say("begin")
    left = step

    def counted(function: Callable) -> Callable:
        def call(*args: object, **options: object) -> object:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return function(*args, **options)

        return call

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    add = trees.add_node
    trees.add_node = counted(lambda *args: counted(lambda id: id)(add(*args)))
    trees.follow = counted(trees.follow)
    say(f"+ {Thread.open(folder).edit(Painter(), f'step {step}').id}")


def work(folder: Path, seed: int, say: Callable[[str], None]) -> None:
    """Random commands without end."""
    dice, painter = random.Random(seed), Painter()
    while True:
        thread = Thread.open(folder)
        say("begin")
        try:
            command(thread, dice, painter, say)
        except InputError as error:
            if "pruned while" not in str(error):
                raise
        say("end")


def command(thread: Thread, dice: random.Random, painter: Painter, say: Callable[[str], None]) -> None:
    what = dice.choices(
        ["edit", "off", "branch", "note", "rename", "replay", "rebake", "prune", "export", "import", "new"],
        [20, 4, 2, 2, 2, 2, 2, 2, 1, 1, 1],
    )[0]
    branches, nodes = list(thread.branches()), list(thread.nodes())
    tag = f"{os.getpid()}-{time.monotonic_ns()}"
    if what == "edit":
        say(f"+ {thread.edit(painter, tag, at=dice.choice(branches)).id}")
    elif what == "off":
        say(f"+ {thread.edit(painter, tag, at=dice.choice(nodes), branch=f'b-{tag}').id}")
    elif what == "branch":
        thread.branch(f"b-{tag}", at=dice.choice(nodes))
    elif what == "note":
        thread.note(dice.choice(nodes), tag)
    elif what == "rename":
        thread.rename(dice.choice(branches), f"r-{tag}")
    elif what in ("replay", "rebake"):
        ref = dice.choice(branches)
        if any(node.instruction for node in thread.path(ref)):
            tell = lambda node: say(f"+ {node.id}")  # noqa: E731
            if what == "replay":
                thread.replay(painter, ref, noise(dice.randrange(99)), on_node=tell)
            else:
                thread.rebake(painter, ref, 1, on_node=tell)
    elif what == "prune" and len(branches) > 6:
        gone = dice.sample(branches, 2)
        say(f"- {' '.join(thread.prune(*gone, is_dry=True).nodes)}")
        thread.prune(*gone)
    elif what == "export":
        say(f"zip {thread.export(thread.folder.with_name(f'zip-{tag}.zip'))}")
    elif what == "import":
        archive = thread.export(thread.folder.with_name(f"zip-{tag}.zip"))
        say(f"copy {import_thread(archive, thread.folder.with_name(f'copy-{tag}')).folder}")
    elif what == "new":
        say(f"copy {Thread.create(thread.folder.with_name(f'copy-{tag}'), noise()).folder}")


def killed(do: Callable[[Callable[[str], None]], None], begins: int | None, wait_s: float = 0.0) -> list[str]:
    """The lines that a forked worker said; an error of its own begins with "!".

    It is killed `wait_s` after it began its `begins`-th command, or left to end if that is None.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)

        def say(line: str) -> None:
            os.write(writer, f"{line}\n".encode())

        try:
            do(say)
        except BaseException as error:
            say(f"! {type(error).__name__}: {' '.join(str(error).split())}")
        finally:
            os._exit(0)
    os.close(writer)
    said = b""
    while chunk := os.read(reader, 1 << 16):
        said += chunk
        if begins is not None and said.count(b"begin\n") >= begins:
            time.sleep(wait_s)
            os.kill(child, signal.SIGKILL)
            begins = None
    os.close(reader)
    os.waitpid(child, 0)
    return said.decode().splitlines()
