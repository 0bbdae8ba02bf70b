"""`recast edit` of several pictures, some of which a strict merge refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data

from recast.errors import GateFailed
from recast.pixels import image
from recast.retouch import editor
from tests.cli.conftest import Recast
from tests.cli.test_making import SMALL


@pytest.fixture(autouse=True)
def one_of_three_fails(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """photo.png, and a merge that refuses the second picture it is given."""
    image.write(skimage.data.astronaut()[:96, :128].copy(), here / "photo.png")
    merge, calls = editor.merge, []

    def refusing(source: Any, edited: Any, **how: Any) -> Any:
        calls.append(edited)
        if len(calls) == 2:
            raise GateFailed("reframed")
        return merge(source, edited, **how)

    monkeypatch.setattr(editor, "merge", refusing)


def test_the_pictures_that_can_be_kept_are_written_and_the_other_is_named(
    recast: Recast, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--box", "20,20,60,60", "--preserve", "strict", "-n", 3, "--recipe-out", "r.json")
    assert recast("edit", "photo.png", "x", *SMALL, *flags, "--out", "out.png") == 5
    said = capsys.readouterr()
    assert said.out.split() == ["out-7.png", "out-9.png"]
    assert "not delivered: seed 8: reframed" in said.err
    assert sorted(path.name for path in Path().iterdir()) == [
        "out-7.parts", "out-7.png", "out-9.parts", "out-9.png", "photo.png", "r-7.json", "r-9.json"
    ]  # fmt: skip


def test_in_a_batch_too(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    Path("photo.png").rename("in/photo.png")
    Path("out").mkdir()
    flags = ("--batch", "--box", "20,20,60,60", "--preserve", "strict", "-n", 2)
    assert recast("edit", "in", "x", *SMALL, *flags, "--out", "out") == 1
    assert "1 done, 0 skipped as finished before, 1 failed" in capsys.readouterr().err
    assert [path.name for path in sorted(Path("out").glob("*.png"))] == ["photo-7.png"]
    assert np.array_equal(image.read("out/photo-7.png").rgb[70:], image.read("in/photo.png").rgb[70:])
