"""`recast regions`: changes taken back and in again, and no other picture lost over it."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from recast.pixels import image
from recast.recipe import Preserving, Recipe
from recast.retouch.certificate import read_certificate, verify
from recast.retouch.original import read_original, write_original
from recast.retouch.written import quality_of
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


def recipe(**given: object) -> Recipe:
    made = {"task": "edit", "prompt": "x", "seed": 3, "times": (1, 0), "sampler": "euler", "guidance": None,
            "true_guidance": 1.0, "width": 240, "height": 160, "model": "nano", "weights": {}, "device": "cpu",
            "dtype": "float32", "threads": 1, "output_sha256": "", "warnings": ("as it was",),
            "preserving": Preserving(mode="auto")}  # fmt: skip
    return Recipe(**{**made, **given})  # type: ignore[arg-type]


def with_recipe(path: str, quality: int | None = None) -> None:
    """The merge written to a path as `recast edit` writes it."""
    text = recipe(output_sha256=image.read("merged.png").sha256()).to_json()
    certificate = None if quality else read_certificate("merged.png").to_json()  # type: ignore[union-attr]
    write_original(read_original("merged.png"), path, recipe=text, quality=quality, certificate=certificate)


@pytest.mark.parametrize(("path", "quality"), [("merged.png", None), ("merged.jpg", 71), ("merged.webp", None)])
def test_a_picture_mended_keeps_its_recipe_and_its_quality(recast: Recast, path: str, quality: int | None) -> None:
    with_recipe(path, quality)
    assert recast("regions", path, "--reject", "2") == 0
    found = Recipe.from_json(image.read_recipe(path) or "")
    assert found.preserving.rejected == (2,)
    assert found.warnings == ("as it was", "regions: 2 of 2 left out by choice")
    if quality is None:
        assert found.output_sha256 == image.read(path).sha256()
    else:
        assert quality_of(path) == quality
    assert recast("regions", path, "--reject", "1") == 0
    assert Recipe.from_json(image.read_recipe(path) or "").warnings[1:] == ("regions: 1, 2 of 2 left out by choice",)
    assert recast("regions", path, "--accept", "all") == 0
    assert Recipe.from_json(image.read_recipe(path) or "") == recipe(
        output_sha256=found_sha(path), preserving=Preserving(mode="auto", rejected=())
    )


def found_sha(path: str) -> str:
    return Recipe.from_json(image.read_recipe(path) or "").output_sha256


def test_another_file_gets_the_recipe_too_and_from_the_folder_alone_none(
    recast: Recast, capsys: pytest.CaptureFixture[str]
) -> None:
    with_recipe("merged.png")
    assert recast("regions", "merged.png", "--only", "1", "--out", "one.jpg") == 0
    assert Recipe.from_json(image.read_recipe("one.jpg") or "").warnings[-1] == "regions: 2 of 2 left out by choice"
    assert "recipe" not in capsys.readouterr().err
    assert recast("regions", "merged.parts", "--only", "1", "--out", "two.png") == 0
    assert "no recipe" in capsys.readouterr().err
    assert image.read_recipe("two.png") is None


def test_a_copy_with_nothing_chosen_keeps_the_recipe_as_it_is(recast: Recast) -> None:
    assert recast("merge", "before.png", "after.png", "--box", "30,20,90,80", "--out", "merged.png", "-q") == 0
    with_recipe("merged.png")
    text = image.read_recipe("merged.png")
    assert recast("regions", "merged.png", "--out", "copy.png") == 0
    assert image.read_recipe("copy.png") == text, "region 2 was left out by the merge"
    assert recast("regions", "merged.png", "--accept", "2", "--out", "both.png") == 0
    assert Recipe.from_json(image.read_recipe("both.png") or "").preserving.rejected == ()


def test_the_recipe_of_another_picture_is_left_out(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    other = recipe(prompt="another").to_json()
    image.write(image.read("after.png"), "merged.png", recipe=other)  # over the merge, whose parts still lie beside it
    assert recast("regions", "merged.png", "--only", "1", "--out", "one.png") == 0
    assert "carries the recipe of another picture" in capsys.readouterr().err
    assert image.read_recipe("one.png") is None


def test_a_lossy_webp_is_asked_for_its_quality(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    with_recipe("merged.webp", 60)
    before = Path("merged.webp").read_bytes()
    assert "does not say its quality" in refused(recast, capsys, "merged.webp", "--reject", "2")
    assert Path("merged.webp").read_bytes() == before
    assert recast("regions", "merged.webp", "--reject", "2", "--quality", "60") == 0
    assert b"VP8L" not in Path("merged.webp").read_bytes()
    assert "--quality" in refused(recast, capsys, "merged.webp", "--quality", "60", code=2)
