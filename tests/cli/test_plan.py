"""`--plan`, `--vram` and `--approximate`: said before loading, in the recipe, and taken again by a replay."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recast.cli import work
from recast.cli.main import Exit
from recast.pixels import image
from tests.cli.conftest import Recast, runs_out
from tests.cli.test_making import RAW, recipe_of

SMALL = ("--steps", "2", "--seed", "7", *RAW)


def test_auto_says_what_it_takes_and_the_picture_is_the_reference_s(
    recast: Recast, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("edit", photo, "make it red", *SMALL, "--out", "plain.png") == 0
    assert capsys.readouterr().err == ""
    assert recast("edit", photo, "make it red", *SMALL, "--plan", "auto", "--out", "fast.png") == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "recast: plan lossless: the engine in float32; all else needs CUDA"
    assert any(line.startswith("recast:   - kernels: ") for line in said)
    plain, fast = (image.read(name).rgb.astype(int) for name in ("plain.png", "fast.png"))
    assert np.abs(plain - fast).max() <= 1
    assert (recipe_of("plain.png").plan, recipe_of("fast.png").plan) == ("reference", "lossless")
    assert recast("edit", photo, "make it red", *SMALL, "--plan", "auto", "-q", "--out", "quiet.png") == 0
    assert capsys.readouterr().err == ""


def test_a_replay_takes_the_plan_of_the_recipe(
    recast: Recast, photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--plan", "exact", "--approximate", "context-reuse:first=1,last=0"]
    assert recast("edit", photo, "make it red", *SMALL, *flags, "--out", "made.png") == 0
    assert recipe_of("made.png").plan == "exact + context-reuse:first=1,last=0"
    assert recast("edit", "--recipe", "made.png", "--exact", "--out", "again.png") == 0
    assert Path("again.png").read_bytes() == Path("made.png").read_bytes()
    monkeypatch.setenv("RECAST_PLAN", "fp8")  # settings of this machine change no replay
    monkeypatch.setenv("RECAST_VRAM", "8mb")
    assert recast("edit", photo, "make it red", *SMALL, "--plan", "reference", "--out", "plain.png") == Exit.USAGE
    monkeypatch.delenv("RECAST_VRAM")
    assert recast("edit", photo, "make it red", *SMALL, "--plan", "reference", "--out", "plain.png") == 0
    monkeypatch.setenv("RECAST_VRAM", "8mb")
    assert recast("edit", "--recipe", "plain.png", "--exact", "--out", "same.png") == 0
    assert recast("edit", "--recipe", "plain.png", "--vram", "8mb", "--out", "third.png") == Exit.USAGE
    capsys.readouterr()
    assert recast("edit", "--recipe", "made.png", "--plan", "exact", "--out", "third.png") == Exit.USAGE
    assert "--plan: the recipe says" in capsys.readouterr().err


def test_under_a_cap_the_picture_is_the_same(recast: Recast, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("edit", photo, "make it red", *SMALL, "--plan", "exact", "--out", "plain.png") == 0
    assert recast("edit", photo, "make it red", *SMALL, "--plan", "exact", "--vram", "8mb", "--out", "low.png") == 0
    said = capsys.readouterr().err
    assert "of 5 blocks stay on the device" in said
    assert "not enforced, since cpu has no limit" in said
    plain, low = (image.read(name).rgb.astype(int) for name in ("plain.png", "low.png"))
    assert np.abs(plain - low).max() <= 1


def test_another_plan_is_another_picture_to_a_batch(recast: Recast, photo: Path) -> None:
    Path("in").mkdir()
    Path("out").mkdir()
    photo.rename("in/photo.png")
    flags = ["--batch", "in", "make it red", *SMALL, "--out", "out/{name}.png"]
    assert recast("edit", *flags) == 0
    first = recipe_of("out/photo.png")
    assert recast("edit", *flags, "--plan", "exact") == 0
    assert (first.plan, recipe_of("out/photo.png").plan) == ("reference", "exact")


def test_what_would_be_done_is_printed(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--plan", "auto", "--approximate", "extrapolate:every=3"]
    assert recast("generate", "x", *flags, "--seed", "1", "--dry-run") == 0
    assert json.loads(capsys.readouterr().out)["plan"] == "lossless + extrapolate:every=3"


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--plan", "fastest"], Exit.USAGE, "plan='fastest': auto, reference, exact"),
        (["--plan", "exact", "--vram", "8"], Exit.USAGE, "vram='8': a number above 0 and a unit"),
        (["--plan", "exact", "--vram", "1mb"], Exit.MEMORY, "needs "),
        (["--plan", "reference", "--approximate", "region"], Exit.USAGE, "need the engine"),
        (["--plan", "exact", "--approximate", "sleep"], Exit.USAGE, "context-reuse, first-block"),
        (["--plan", "exact", "--approximate", "region"], Exit.USAGE, "mask"),
        (["--plan", "reference", "--vram", "8gb"], Exit.USAGE, "a cap on memory needs the engine"),
        (["--approximate", "extrapolate", "--sampler", "heun"], Exit.USAGE, "sampler=heun came"),
        (["--approximate", ""], Exit.USAGE, "context-reuse, first-block"),
        (["--plan", "auto", "--vram", "1mb"], Exit.MEMORY, "needs "),
    ],
)
def test_what_cannot_be_is_refused_with_a_word_before_weights_are_read(
    recast: Recast,
    photo: Path,
    flags: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recast.loading.load", lambda *_, **__: pytest.fail("weights were read"))
    for dry in ([], ["--dry-run"]):
        assert recast("edit", photo, "make it red", *SMALL, *flags, *dry, "--out", "no.png") == code
        assert said in capsys.readouterr().err
    assert not Path("no.png").exists()


def test_a_thread_takes_a_plan(recast: Recast, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("thread", "new", "trip", photo) == 0
    assert recast("thread", "edit", "trip", "make it red", *SMALL, "--plan", "exact", "--out", "out.png") == 0
    assert recipe_of("out.png").plan == "exact"
    assert recast("thread", "edit", "trip", "make it red", *SMALL, "--plan", "fastest") == Exit.USAGE
    assert "plan='fastest': auto" in capsys.readouterr().err


def test_a_thread_whose_memory_runs_out_under_a_cap_is_tried_once_more(
    recast: Recast, photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    under = ("--plan", "exact", "--vram", "9mb")
    assert recast("thread", "new", "trip", photo) == 0
    runs_out(monkeypatch, 1)
    capsys.readouterr()
    assert recast("thread", "edit", "trip", "make it red", *SMALL, *under, "--out", "low.png") == 0
    (warned,) = (line for line in capsys.readouterr().err.splitlines() if "warning" in line)
    assert warned.startswith("recast: warning: memory: ran out (")
    assert "tried again with resident_blocks=" in warned
    assert recast("thread", "edit", "trip", "make it red", *SMALL, "--at", "root", "--out", "plain.png") == 0
    plain, low = (image.read(name).rgb.astype(int) for name in ("plain.png", "low.png"))
    assert np.abs(plain - low).max() <= 1


def test_where_the_host_s_memory_runs_out_an_edit_is_not_tried_with_less(
    recast: Recast, photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a merge, say, which no lower recipe of the device helps."""
    made = []

    def merging(*_: Any, **__: Any) -> Any:
        made.append(None)
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(work, "make", merging)
    under = ("--plan", "exact", "--vram", "9mb")
    assert recast("edit", photo, "make it red", *SMALL, *under, "--out", "no.png") == Exit.MEMORY
    assert len(made) == 1
    assert "tried again" not in capsys.readouterr().err
