"""`recast merge`: what cannot work is said before anything is written."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from recast.pixels import image
from tests.cli.conftest import Recast


@pytest.fixture(autouse=True)
def pictures(here: Path) -> None:
    """before.png, and after.png with a disc in it."""
    source = np.ascontiguousarray(skimage.data.coffee()[:120, :160])
    edited = source.copy()
    cv2.circle(edited, (60, 60), 20, (250, 20, 20), -1)
    image.write(source, here / "before.png")
    image.write(edited, here / "after.png")


def test_a_merge_and_its_certificate_and_its_parts(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("merge", "before.png", "after.png", "--out", "merged.png", "--report", "report.json") == 0
    assert capsys.readouterr().out == "merged.png\n"
    assert recast("verify", "before.png", "merged.png") == 0
    assert sorted(path.name for path in Path().iterdir()) == [
        "after.png", "before.png", "merged.parts", "merged.png", "report.json"
    ]  # fmt: skip


@pytest.mark.parametrize("words", [("-", "after.png"), ("before.png", "-")])
def test_one_of_the_two_comes_by_stdin(recast: Recast, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str]) -> None:
    assert recast("merge", "before.png", "after.png", "--out", "merged.png", "-q") == 0
    piped = Path("before.png" if words[0] == "-" else "after.png").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped)))
    assert recast("merge", *words, "--out", "piped.png", "-q") == 0
    assert Path("piped.png").read_bytes() == Path("merged.png").read_bytes()
    assert {path.name for path in Path("piped.parts").iterdir()} == {
        path.name for path in Path("merged.parts").iterdir()
    }


def test_both_by_stdin_and_a_terminal_are_refused(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("merge", "-", "-", "--out", "merged.png") == 2
    assert "BEFORE, AFTER: both -" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert recast("merge", "before.png", "-", "--out", "merged.png") == 1
    assert "AFTER='-': stdin is a terminal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--out", "-"), "--out=-"),
        (("--out", "merged.png", "--mask-mode", "alpha"), "--mask-mode=alpha"),
        (("--out", "merged.png", "--parts", "merged.png"), "--parts='merged.png'"),
        (("--out", "merged.png", "--report", "merged.parts"), "--parts='merged.parts'"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(
    recast: Recast, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], named: str
) -> None:
    before = sorted(Path().rglob("*"))
    assert recast("merge", "before.png", "after.png", *flags) == 2
    assert named in capsys.readouterr().err
    assert sorted(Path().rglob("*")) == before
