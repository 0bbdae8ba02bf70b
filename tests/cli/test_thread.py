"""`recast thread`: every command, what it prints, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from recast.cli import planned, thread_work
from recast.cli.main import VERBS, Exit
from recast.errors import OutOfMemory
from recast.pixels import image
from recast.retouch.thread import Thread
from recast.speed.cap import retrying_steps
from tests.cli.conftest import Recast, picture
from tests.retouch.thread.fake import Painter

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def verb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast(dict[str, str], VERBS), "thread", "keep a tree of edits")


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    """An editor that answers at once, in place of the model."""
    painter = Painter()
    monkeypatch.setattr(thread_work, "load_editor", lambda *_: painter)
    return painter


@pytest.fixture
def thread(photo: Path, painter: Painter) -> Thread:
    return Thread.create("trip", photo)


def test_a_thread_from_its_beginning_to_its_end(recast: Recast, photo: Path, painter: Painter, capsys: Capture) -> None:
    """The whole story, word by word as in the help."""

    def said(*words: object) -> list[str]:
        assert recast("thread", *words) == 0, capsys.readouterr().err
        return capsys.readouterr().out.splitlines()

    (root,) = said("new", "trip", photo)
    (night,) = said("edit", "trip", "make it night", "--seed", 3, "--out", "night.png")
    assert image.read("night.png").sha256() == Thread.open("trip").node(night).pixels_sha256
    assert painter.asked[-1][0] == "make it night"
    assert painter.asked[-1][1]["seed"] == 3
    (snow,) = said("edit", "trip", "make it snow", "--at", "root", "--branch", "snow")
    assert said("branch", "trip", "calm", "--at", night[:4]) == [night]
    assert said("list", "trip") == [
        f"{root}  root  photo.png",
        f"  {night}  edit  make it night  [calm*, main]  {measured(night)}",
        f"{snow}  edit  make it snow  [snow]  {measured(snow)}",
    ]
    assert said("note", "trip", night, "this one") == [night]
    shown = said("show", "trip", night, "--out", "again.webp")
    assert f"id           {night}" in shown
    assert "instruction  make it night" in shown
    assert "note         this one" in shown
    assert image.read("again.webp").sha256() == image.read("night.png").sha256()
    (line,) = said("diff", "trip", "root", night, "--out", "map.png")
    assert line.startswith("16 of 1536 pixels differ (1.04%), in ")
    assert (image.read("map.png").rgb.any(-1).sum()) <= 16
    made = said("replay", "trip", "main", "--on", picture(Path("other.png"), 9), "--out", "replayed.png")
    assert len(made) == 2
    assert image.read("replayed.png").sha256() == Thread.open("trip").node("replay").pixels_sha256
    assert len(said("rebake", "trip", "snow", "--passes", 1, "--branch", "baked")) == 1
    assert said("rename", "trip", "snow", "winter") == [snow]
    assert said("prune", "trip", "winter", "--dry-run") == ["branch winter would go", f"node {snow} would go"]
    assert said("prune", "trip", "winter", "--yes")[:2] == ["branch winter gone", f"node {snow} gone"]
    assert said("prune", "trip") == ["0 files gone, 0 bytes"]
    assert said("export", "trip", "--out", "trip.zip") == ["trip.zip"]
    (head,) = said("import", "trip.zip", "copy")
    assert head == Thread.open("trip").node().id
    assert said("list", "copy") == said("list", "trip")
    assert said("check", "copy") == ["all well"]


def measured(id: str) -> str:
    drift = Thread.open("trip").node(id).drift
    assert drift is not None
    return f"dE00 {drift['delta_e_mean']:.2f}, sharpness {drift['sharpness']:.3f}, whole frame"


def test_json_says_everything(recast: Recast, thread: Thread, capsys: Capture) -> None:
    def said(*words: object) -> Any:
        assert recast("thread", *words, "--json") == 0
        return json.loads(capsys.readouterr().out)

    node = said("edit", "trip", "one", "--out", "one.png")
    assert node["id"] == thread.node().id
    assert (node["out"], node["instruction"], node["branches"]) == ("one.png", "one", ["main"])
    assert said("show", "trip")["files"] == node["files"]
    listed = said("list", "trip")
    assert [each["id"] for each in listed["nodes"]] == list(thread.nodes())
    assert listed["branches"] == [{"name": "main", "head": node["id"], "is_current": True}]
    assert said("diff", "trip", "root", "main")["changed"] == 16
    assert [each["kind"] for each in said("rebake", "trip", "main", "--passes", 1)["nodes"]] == ["rebake"]
    assert said("prune", "trip", "rebake", "--yes")["branches"] == ["rebake"]
    assert said("check", "trip") == {"wrong": []}
    assert said("export", "trip", "--out", "trip.zip")["path"] == "trip.zip"


def test_flags_reach_the_editor_and_are_kept(recast: Recast, thread: Thread, painter: Painter) -> None:
    image.write(np.full((32, 48, 3), 255, np.uint8), "mask.png")
    flags = ["--ref", f"logo={picture(Path('logo.png'), 2)}", "--image", "photo.png", "--preserve", "strict"]
    flags += ["--mask", "mask.png", "--mask-mode", "white", "--box", "1,2,3,4", "--context", "whole", "--steps", "2"]
    assert recast("thread", "edit", "trip", "hang @logo", *flags) == 0
    options = painter.asked[0][1]
    assert options["references"] == [("logo", Path("logo.png").read_bytes()), (None, Path("photo.png").read_bytes())]
    assert options["mask"] == Path("mask.png").read_bytes()
    assert options["boxes"] == [[1, 2, 3, 4]]
    assert (options["preserve"], options["mask_mode"], options["context"]) == ("strict", "white", "whole")
    assert thread.node().options["steps"] == 2
    assert recast("thread", "replay", "trip", "main", "--on", "photo.png", "--drop-places", "--steps", 5) == 0
    again = painter.asked[1][1]
    assert again["steps"] == 5
    assert again["references"] == options["references"]
    assert not {"mask", "boxes", "mask_mode"} & set(again)


def test_anchors_are_switched_by_flags_and_kept_for_a_replay(recast: Recast, thread: Thread, painter: Painter) -> None:
    for flags, kept in (
        ((), (True, False)),
        (("--carry", "off"), (False, False)),
        (("--root", "on"), (True, True)),
    ):
        assert recast("thread", "edit", "trip", "words", *flags) == 0
        assert thread.node().options["anchors"] == {"carries": kept[0], "rides": kept[1]}
        assert ("references" in painter.asked[-1][1]) == kept[1]
    assert recast("thread", "replay", "trip", "main", "--on", "photo.png", "--carry", "on") == 0
    made = [node.options["anchors"] for node in thread.path("replay")[1:]]
    assert made == [{"carries": True, "rides": rides} for rides in (False, False, True)]


def test_the_size_and_what_is_given_back_can_be_chosen_and_seen(recast: Recast, photo: Path, capsys: Capture) -> None:
    assert recast("thread", "new", "trip", photo) == 0
    few = ("--steps", 1, "--seed", 1)
    assert recast("thread", "edit", "trip", "words", *few, "--size", "32x32", "--give-back", "off") == 0
    node = Thread.open("trip").node()
    assert node.recipe is not None
    assert (node.recipe["size"], node.recipe["preserving"]["gives_back"]) == ("32x32", False)
    assert (node.width, node.height) == (48, 32)
    capsys.readouterr()
    assert recast("thread", "show", "trip") == 0
    shown = capsys.readouterr().out.splitlines()
    assert {"edited at    32x32", "gives back   no"} <= set(shown)
    assert recast("thread", "replay", "trip", "main", "--on", photo) == 0
    again = Thread.open("trip").node("replay")
    assert again.recipe is not None
    assert again.recipe["preserving"]["gives_back"] is False, "kept for a replay"
    assert again.pixels_sha256 == node.pixels_sha256
    assert recast("thread", "edit", "trip", "words", "--at", "root", *few) == 0
    usual = Thread.open("trip").node().recipe
    assert usual is not None
    assert (usual["size"], usual["preserving"]["gives_back"]) == ("auto", True)


def test_warnings_go_to_stderr_unless_quiet(recast: Recast, thread: Thread, capsys: Capture) -> None:
    assert recast("thread", "edit", "trip", "one") == 0
    assert capsys.readouterr().err == "recast: warning: painted\n"
    assert recast("thread", "edit", "trip", "two", "-q") == 0
    assert capsys.readouterr().err == ""


class Short:
    """A painter under a cap whose first edit runs out of memory."""

    def __init__(self, error: Exception) -> None:
        self.pipeline, self.errors, self.runs = Painter(), [error], 0

    def steps(self, ask: Any) -> Any:
        return retrying_steps(lambda: ask(self._used()), lambda: "less")

    def _used(self) -> Painter:
        self.runs += 1
        if self.errors:
            self.pipeline.edit = self._fail  # type: ignore[method-assign]
        else:
            del self.pipeline.edit
        return self.pipeline

    def _fail(self, *_: Any, **__: Any) -> Any:
        raise self.errors.pop()


def test_a_second_try_is_said_even_if_quiet(
    recast: Recast, photo: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recast("thread", "new", "trip", photo) == 0
    capsys.readouterr()
    short = Short(OutOfMemory("memory: ran out at a grid"))
    monkeypatch.setattr(planned, "load", lambda *_, **__: short)
    assert recast("thread", "edit", "trip", "words", "-q") == 0
    said = capsys.readouterr().err
    assert said == "recast: warning: memory: ran out (memory: ran out at a grid); tried again with less\n"
    short = Short(MemoryError("Unable to allocate"))
    assert recast("thread", "edit", "trip", "words") == Exit.MEMORY
    assert short.runs == 1, "the host's own: a lower recipe does not help"
    assert "tried again" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("paint trip", 2, "'paint': new, edit"),
        ("edit trip", 2, "FOLDER INSTRUCTION accepted"),
        ("list trip main", 2, "FOLDER accepted"),
        ("list trip --passes 2", 2, "--passes: means nothing to `recast thread list`"),
        ("list trip --seed 0", 2, "--seed: means nothing"),
        ("edit trip words --raw", 2, "--raw: means nothing"),
        ("edit trip words --mask-mode white", 2, "--mask is missing"),
        ("edit trip words -n 2", 2, "one a node"),
        ("edit trip words --box 1,2", 2, "left,top,right,bottom"),
        ("edit trip words --size big", 2, "auto, source, trained or WxH accepted"),
        ("list trip --give-back on", 2, "--give-back: means nothing"),
        ("edit trip words --at nosuch", 1, "no node and no branch"),
        ("edit trip words --out no/where.png", 1, "no folder"),
        ("edit trip words --out where.xyz", 1, "no format"),
        ("edit nosuch words", 1, "no thread there"),
        ("new trip photo.png", 1, "something is there"),
        ("new other nosuch.png", 1, "cannot be read"),
        ("show trip --raw", 2, "--out is missing"),
        ("show trip --raw --out a.png", 1, "not kept by node"),
        ("regions trip main", 2, "--accept, --reject: missing"),
        ("regions trip main --reject one", 2, "numbers separated by commas"),
        ("regions trip main --reject 1", 1, "keeps no regions"),
        ("replay trip main", 2, "--on: missing"),
        ("rebake trip main", 2, "--passes: missing"),
        ("rebake trip main --passes 1", 1, "no instruction"),
        ("prune trip main --yes", 1, "no branch would be left"),
        ("export trip", 2, "--out: missing"),
        ("import nosuch.zip copy", 1, "cannot be read"),
    ],
)
def test_wrong_use_is_one_clear_line_and_changes_nothing(
    recast: Recast, thread: Thread, painter: Painter, capsys: Capture, words: str, code: int, text: str
) -> None:
    before = thread.nodes(), thread.branches()
    assert recast("thread", *words.split()) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert text in said.err
    assert len(said.err.splitlines()) == 1
    assert (thread.nodes(), thread.branches()) == before
    assert painter.asked == []


def test_pruning_asks_first(recast: Recast, thread: Thread, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    thread.edit(Painter(), "one", at="root", branch="red")
    assert recast("thread", "prune", "trip", "red") == 2
    assert "--yes: missing" in capsys.readouterr().err
    for answer, is_gone in (("n", False), ("", False), ("y", True)):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert (recast("thread", "prune", "trip", "red") == 0) == is_gone
        assert ("red" not in thread.branches()) == is_gone


class Terminal:
    def __init__(self, answer: str) -> None:
        self.answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self.answer + "\n"


def test_a_spoilt_thread_is_told_by_its_exit_code(recast: Recast, thread: Thread, capsys: Capture) -> None:
    thread.store.objects.path(thread.root.files["picture"]).write_bytes(b"x")
    assert recast("thread", "check", "trip") == 5
    assert "other bytes" in capsys.readouterr().out


def test_a_real_model_edits_and_keeps_the_rest(recast: Recast, photo: Path, capsys: Capture) -> None:
    """The tiny model, through the editor that merges: all but the paint is the command's own."""
    assert recast("thread", "new", "trip", photo) == 0
    assert recast("thread", "edit", "trip", "make it night", "--steps", 1, "--seed", 1) == 0
    node = Thread.open("trip").node()
    assert node.report is not None
    assert node.report["format"] == "recast-merge-1"
    assert node.recipe is not None
    assert node.recipe["preserving"]["mode"] == "auto"
    assert recast("thread", "edit", "trip", "more", "--steps", 1, "--preserve", "off") == 0
    assert Thread.open("trip").node().report is None
    assert capsys.readouterr().out.splitlines()[1] == node.id


@pytest.mark.slow
def test_nano_edits_twice_and_replays(here: Path, recast: Recast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECAST_MODEL")
    image.write(image.read(Path(__file__).parents[2] / "examples" / "cat.png").rgb[40:168, 60:188], "cat.png")
    assert recast("thread", "new", "trip", "cat.png") == 0
    for words in ("make the background blue", "add a red hat"):
        assert recast("thread", "edit", "trip", words, "--steps", 2, "--seed", 1) == 0
    assert recast("thread", "replay", "trip", "main", "--on", "cat.png") == 0
    thread = Thread.open("trip")
    assert thread.node("replay").pixels_sha256 == thread.node("main").pixels_sha256, "the same words and seeds"
    assert [node.recipe["model"] for node in thread.path("main")[1:] if node.recipe] == ["nano", "nano"]
    assert thread.check() == []


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from recast.cli.main import parser_of; parser_of('thread').format_help(); "
        "print([name for name in ('torch', 'numpy', 'cv2', 'PIL') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
