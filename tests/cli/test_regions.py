"""`recast regions`: changes taken back and in again, and no other picture lost over it."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from recast.pixels import image
from recast.retouch.certificate import read_certificate, verify
from recast.retouch.original import read_original
from tests.cli.conftest import Recast


@pytest.fixture(autouse=True)
def merged(here: Path, recast: Recast) -> None:
    """before.png, after.png with two discs in it, and their merge merged.png with its parts."""
    source = np.ascontiguousarray(skimage.data.coffee()[:160, :240])
    edited = source.copy()
    cv2.circle(edited, (60, 60), 20, (250, 20, 20), -1)
    cv2.circle(edited, (180, 110), 20, (20, 250, 250), -1)
    image.write(source, here / "before.png")
    image.write(edited, here / "after.png")
    assert recast("merge", "before.png", "after.png", "--out", "merged.png", "-q") == 0


def pixels(path: str) -> np.ndarray:
    return image.read(path).rgb


def test_a_region_taken_back_is_the_source_again_and_comes_back_as_it_was(recast: Recast) -> None:
    whole = Path("merged.png").read_bytes()
    assert recast("regions", "merged.png", "--reject", "2") == 0
    assert np.array_equal(pixels("merged.png")[:, 130:], pixels("before.png")[:, 130:])
    assert not np.array_equal(pixels("merged.png")[:, :130], pixels("before.png")[:, :130])
    proof = read_certificate("merged.png")
    assert verify(read_original("before.png"), read_original("merged.png"), proof).is_kept
    assert recast("regions", "merged.png", "--reject", "all") == 0
    assert np.array_equal(pixels("merged.png"), pixels("before.png"))
    assert recast("regions", "merged.png", "--accept", "all") == 0
    assert Path("merged.png").read_bytes() == whole


def test_another_file_leaves_the_merge_and_its_parts_alone(recast: Recast) -> None:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert recast("regions", "merged.png", "--only", "1", "--out", "one.png") == 0
    assert {path: path.read_bytes() for path in before} == before
    assert np.array_equal(pixels("one.png")[:, 130:], pixels("before.png")[:, 130:])


def test_the_merge_named_once_more_with_out_is_remembered(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("regions", "merged.png", "--reject", "1", "--out", "./merged.png") == 0
    capsys.readouterr()
    assert recast("regions", "merged.png", "--json") == 0
    assert [region["is_accepted"] for region in json.loads(capsys.readouterr().out)["regions"]] == [False, True]
    assert recast("regions", "merged.png", "--accept", "1") == 0


def refused(recast: Recast, capsys: pytest.CaptureFixture[str], *argv: object, code: int = 1) -> str:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    capsys.readouterr()
    assert recast("regions", *argv) == code
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    return capsys.readouterr().err


def test_a_source_beside_the_parts_is_not_written_over(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    """before.jpg and its merge before.png have one name for their parts."""
    assert cv2.imwrite("photo.jpg", pixels("before.png")[..., ::-1])
    assert recast("merge", "photo.jpg", "after.png", "--out", "photo.png", "-q") == 0
    assert "is the source of this merge" in refused(recast, capsys, "photo.jpg", "--reject", "1")
    assert "is the source" in refused(recast, capsys, "photo.png", "--reject", "1", "--out", "photo.jpg")
    assert "is the edit" in refused(recast, capsys, "merged.png", "--reject", "1", "--out", "after.png")


def test_a_picture_that_is_another_merge_is_not_written_over(
    recast: Recast, capsys: pytest.CaptureFixture[str]
) -> None:
    """merged.jpg and merged.webp share the folder of parts with merged.png, which was made last."""
    for suffix in ("jpg", "webp", "png"):
        edited = pixels("before.png").copy()
        cv2.circle(edited, (120, 40), 15, {"jpg": (255, 0, 0), "webp": (0, 255, 0), "png": (0, 0, 255)}[suffix], -1)
        image.write(edited, "after.png")
        assert recast("merge", "before.png", "after.png", "--out", f"merged.{suffix}", "-q") == 0
    for suffix in ("jpg", "webp"):
        assert "is not the merge" in refused(recast, capsys, f"merged.{suffix}", "--reject", "1")
    assert recast("regions", "merged.png", "--reject", "1") == 0


def test_a_merge_that_was_painted_on_since_is_not_written_over(
    recast: Recast, capsys: pytest.CaptureFixture[str]
) -> None:
    painted = pixels("merged.png").copy()
    painted[5, 5] ^= 1
    image.write(painted, "merged.png")
    assert "is not the merge" in refused(recast, capsys, "merged.png", "--reject", "1")
    assert recast("regions", "merged.png", "--reject", "1", "--out", "merged.png") == 0  # asked for by name


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_merge_saved_in_another_format_can_be_mended_in_its_place(recast: Recast, suffix: str) -> None:
    shutil.rmtree("merged.parts")
    assert recast("merge", "before.png", "after.png", "--out", f"merged.{suffix}", "-q") == 0
    assert recast("regions", f"merged.{suffix}", "--reject", "2") == 0
    apart = np.abs(pixels(f"merged.{suffix}").astype(int) - pixels("before.png"))
    assert apart[:, 130:].mean() < 4
    assert apart[40:80, 40:80].mean() > 40
    assert recast("regions", f"merged.{suffix}", "--accept", "2") == 0


def test_the_parts_themselves_are_not_written_over(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("aligned.png", "new.png", "../merged.parts/source.png"):
        assert "lies in the folder of parts" in refused(recast, capsys, "merged.png", "--out", f"merged.parts/{name}")


def test_wrong_ids_are_named(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no region 7" in refused(recast, capsys, "merged.png", "--reject", "7")
    assert "region 2 in both" in refused(recast, capsys, "merged.png", "--accept", "1,2", "--reject", "2", code=2)
    assert "--only" in refused(recast, capsys, "merged.png", "--only", "1", "--reject", "2", code=2)
    assert "--out: missing" in refused(recast, capsys, "merged.parts", "--reject", "2", code=2)
    assert "no regions are kept" in refused(recast, capsys, "before.png", "--reject", "2")
