"""`recast merge`: what cannot work is said before anything is written."""

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
