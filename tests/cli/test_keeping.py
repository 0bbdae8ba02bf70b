"""`recast edit` as it is usually asked for: the rest of the picture stays, and a certificate says so."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from recast.pixels import image
from recast.recipe import Recipe
from recast.retouch.original import read_original
from tests.cli.conftest import Recast
from tests.cli.test_making import SMALL, recipe_of

BOX = "40,30,60,50"
MASK = ("--mask", "mask.png")


@pytest.fixture(autouse=True)
def source(here: Path) -> np.ndarray:
    """photo.png, and mask.png that is white in a small part of it: an edit by random weights, and yet a local one."""
    rgb = skimage.data.astronaut()[:96, :128].copy()
    image.write(rgb, here / "photo.png")
    mask = np.zeros_like(rgb)
    mask[30:50, 40:60] = 255
    image.write(mask, here / "mask.png")
    return rgb


def edit(recast: Recast, *flags: object, out: str = "out.png") -> int:
    return recast("edit", "photo.png", "x", *SMALL, *flags, "--out", out)


def far() -> np.ndarray:
    """Pixels that no border of the mask reaches."""
    away = np.ones((96, 128), bool)
    away[:80, :96] = False
    return away


def test_what_was_not_asked_for_keeps_its_bytes_with_a_certificate(recast: Recast, source: np.ndarray) -> None:
    assert edit(recast, *MASK, "--preserve", "strict") == 0
    result = image.read("out.png").rgb
    white = image.read("mask.png").rgb[..., 0] > 0
    assert np.array_equal(result[~white], source[~white])
    assert not np.array_equal(result[white], source[white])
    assert b"recast.certificate" in Path("out.png").read_bytes()
    assert recipe_of("out.png").preserving.mode == "strict"


def test_the_unmerged_edit_is_kept_beside_it(recast: Recast, source: np.ndarray) -> None:
    assert edit(recast, *MASK) == 0
    parts = Path("out.parts")
    assert (parts / "parts.json").is_file()
    assert edit(recast, *MASK, "--parts", "none", out="bare.png") == 0
    assert not Path("bare.parts").exists()
    assert image.read("bare.png").sha256() == image.read("out.png").sha256()
    assert edit(recast, *MASK, "-n", "2", "--parts", "kept") == 0
    assert sorted(path.name for path in Path().glob("kept*")) == ["kept-7", "kept-8"]


def test_a_folder_of_something_else_is_not_taken_for_parts(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recast.loading.load", lambda *_, **__: pytest.fail("the weights were read"))
    Path("out.parts").mkdir()
    Path("out.parts/letters.txt").write_text("dear")
    assert edit(recast, *MASK) == 2
    assert "something else is there" in capsys.readouterr().err


def test_off_is_what_the_model_makes(recast: Recast, source: np.ndarray) -> None:
    assert edit(recast, "--preserve", "off") == 0
    assert not np.array_equal(image.read("out.png").rgb[far()], source[far()])
    assert b"recast.certificate" not in Path("out.png").read_bytes()
    assert recipe_of("out.png").preserving.mode == "off"
    assert sorted(path.name for path in Path().iterdir()) == ["mask.png", "out.png", "photo.png"]


def test_a_mask_with_preserve_off_holds_the_sampler_alone(recast: Recast) -> None:
    assert edit(recast, "--preserve", "off") == 0
    assert edit(recast, "--preserve", "off", *MASK, out="held.png") == 0
    recipe = recipe_of("held.png").preserving
    assert (recipe.mode, recipe.mask is None) == ("off", False)
    assert Path("held.png").read_bytes() != Path("out.png").read_bytes()


def test_json_carries_what_the_merge_found(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert edit(recast, *MASK, "--json") == 0
    (entry,) = json.loads(capsys.readouterr().out)["pictures"]
    assert entry["merge"]["verdict"] == "local"
    assert entry["merge"]["preserved"] > 0
    assert entry["recipe"]["preserving"]["mode"] == "auto"


def test_a_picture_that_cannot_be_kept_is_a_warning_and_with_strict_a_failure(
    recast: Recast, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from recast.retouch import editor

    merge = editor.merge
    monkeypatch.setattr(  # a model that paints another picture
        editor, "merge", lambda source, edited, **how: merge(source, 255 - edited[::-1, ::-1], **how, look="global")
    )
    assert edit(recast) == 0
    assert "not merged, so every pixel may differ" in capsys.readouterr().err
    assert b"recast.certificate" not in Path("out.png").read_bytes()
    assert edit(recast, "--preserve", "strict", out="strict.png") == 5
    assert "strict" in capsys.readouterr().err
    assert not Path("strict.png").exists()


@pytest.mark.parametrize("out", ["out.jpg", "out.webp"])
def test_a_lossy_file_is_told_of(out: str, recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    quality = ["--quality", "90"]
    assert edit(recast, *MASK, *quality, out=out) == 0
    assert "the certificate does not hold" in capsys.readouterr().err
    assert edit(recast, *MASK, out="out.webp") == 0
    assert "certificate" not in capsys.readouterr().err
    assert np.array_equal(image.read("out.webp").rgb, merged(recast))


def merged(recast: Recast) -> np.ndarray:
    assert edit(recast, *MASK, out="lossless.png") == 0
    return image.read("lossless.png").rgb


def test_sixteen_bits_come_out_and_a_format_that_cannot_hold_them_is_refused_first(
    recast: Recast, source: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = source.astype(np.uint16) * 257 + 99
    cv2.imwrite("photo.png", deep[..., ::-1])
    assert edit(recast, *MASK) == 0
    result = read_original("out.png")
    assert result.depth == 16
    assert np.array_equal(result.samples[far()], deep[far()])
    monkeypatch.setattr("recast.loading.load", lambda *_, **__: pytest.fail("the weights were read"))
    assert edit(recast, *MASK, out="out.jpg") == 1
    assert "16 bits" in capsys.readouterr().err


def test_a_picture_comes_in_by_stdin_and_goes_out_by_stdout(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path("photo.png").read_bytes())))
    assert recast("edit", "-", "x", *SMALL, *MASK, "--out", "-") == 0
    out = capsysbinary.readouterr().out
    assert np.array_equal(image.read(out).rgb, merged(recast))
    assert b"recast.certificate" in out
    assert not list(Path().glob("*stdin*"))


def test_a_merged_edit_is_made_again_byte_for_byte(recast: Recast) -> None:
    flags = ["--box", BOX, "--box", "0,0,20,20", "--preserve", "strict"]
    assert edit(recast, *MASK, *flags) == 0
    assert recast("edit", "--recipe", "out.png", *MASK, "--exact", "--out", "again.png") == 0
    assert Path("again.png").read_bytes() == Path("out.png").read_bytes()


def two_regions(recast: Recast, monkeypatch: pytest.MonkeyPatch) -> None:
    """out.png, an edit by a model that paints two squares; a box is about the first of them."""
    from recast.retouch import editor

    def painted(source: object, edited: object, **how: object) -> object:
        rgb = image.read("photo.png").rgb.copy()
        rgb[20:40, 10:30], rgb[60:80, 90:110] = (250, 10, 10), (10, 250, 250)
        return merge(source, rgb, **how)  # type: ignore[arg-type]

    merge = editor.merge
    monkeypatch.setattr(editor, "merge", painted)
    assert edit(recast, "--box", "5,15,35,45") == 0


@pytest.mark.parametrize(
    ("choice", "left"), [(("--reject", "1"), (1, 2)), (("--accept", "2"), ()), (("--only", "2"), (1,))]
)
def test_regions_chosen_by_hand_are_chosen_again_in_a_replay(
    choice: tuple[str, str], left: tuple[int, ...], recast: Recast, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_regions(recast, monkeypatch)
    assert recipe_of("out.png").preserving.rejected is None
    assert recast("regions", "out.png", *choice) == 0
    assert recipe_of("out.png").preserving.rejected == left
    assert recast("edit", "--recipe", "out.png", "--exact", "--out", "again.png") == 0
    assert Path("again.png").read_bytes() == Path("out.png").read_bytes()
    assert (
        json.loads(Path("again.parts/parts.json").read_text())["certificate"]
        == json.loads(Path("out.parts/parts.json").read_text())["certificate"]
    )


def test_a_replay_names_the_detectors_and_the_variables_that_differ(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edit(recast, *MASK) == 0
    Path("logos.onnx").write_bytes(b"x")
    monkeypatch.setenv("RECAST_LOGOS", "logos.onnx")
    capsys.readouterr()
    assert recast("edit", "--recipe", "out.png", *MASK, "--out", "again.png") == 1
    said = capsys.readouterr().err
    assert "made with no detector; --logos came" in said
    assert "--logos or RECAST_LOGOS" in said


def test_a_replay_of_what_was_not_merged_takes_no_flags_of_a_merge(
    recast: Recast, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edit(recast, "--preserve", "off") == 0
    capsys.readouterr()
    assert recast("edit", "--recipe", "out.png", "--text", "gone.onnx", "--out", "again.png") == 2
    assert "--text: has no effect with --preserve off" in capsys.readouterr().err


def test_a_forecast_is_written_with_preserve_off_too(recast: Recast) -> None:
    assert edit(recast, "--steps", "3", "--preserve", "off", "--forecast-out", "told.png") == 0
    assert image.read("told.png").rgb.shape == (96, 128, 3)


def test_a_replay_wants_the_very_mask(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert edit(recast, *MASK) == 0
    assert edit(recast, "--box", BOX, out="boxed.png") == 0
    image.write(np.full((96, 128, 3), 255, np.uint8), "other.png")
    for flags, code, said in (
        ([], 1, "--mask: missing; a mask went into the recipe"),
        (["--mask", "other.png"], 1, "differs from the mask that went into the recipe"),
    ):
        capsys.readouterr()
        assert recast("edit", "--recipe", "out.png", *flags, "--out", "again.png") == code
        assert said in capsys.readouterr().err
    assert recast("edit", "--recipe", "boxed.png", *MASK, "--out", "again.png") == 2
    assert "no mask went into the recipe" in capsys.readouterr().err
    assert not Path("again.png").exists()


def test_a_recipe_from_before_merges_is_replayed_without_one(recast: Recast) -> None:
    assert edit(recast, "--preserve", "off") == 0
    old = json.loads(image.read_recipe("out.png") or "")
    del old["preserving"]
    Path("old.json").write_text(json.dumps(old))
    assert Recipe.from_json(Path("old.json").read_text()).preserving.mode == "off"
    assert recast("edit", "--recipe", "old.json", "--exact", "--out", "again.png") == 0
    assert np.array_equal(image.read("again.png").rgb, image.read("out.png").rgb)


def test_a_dry_run_says_what_may_change(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert edit(recast, *MASK, "--box", BOX, "--dry-run") == 0
    said = json.loads(capsys.readouterr().out)["preserving"]
    assert (said["mode"], said["boxes"], said["crop"]) == ("auto", [[40, 30, 60, 50]], None)
    assert len(said["mask"]) == 64
    assert not Path("out.png").exists()


def test_a_crop_of_a_large_picture_is_edited(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    large = skimage.data.astronaut()
    image.write(large, "photo.png")
    assert edit(recast, "--box", "200,200,230,230") == 0
    left, top, right, bottom = recipe_of("out.png").preserving.crop or ()
    assert "was edited at its own size" in capsys.readouterr().err
    outside = np.ones(large.shape[:2], bool)
    outside[top:bottom, left:right] = False
    assert np.array_equal(image.read("out.png").rgb[outside], large[outside])
    assert recast("edit", "--recipe", "out.png", "--exact", "--out", "again.png") == 0
    assert edit(recast, "--box", "200,200,230,230", "--context", "whole", out="whole.png") == 0
    assert recipe_of("whole.png").preserving.crop is None


def test_a_forecast_is_shown_written_and_heeded(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert edit(recast, "--steps", "3", "--forecast", "show", "--forecast-out", "told.png", "--parts", "none") == 0
    assert "forecast of seed 7: " in capsys.readouterr().err
    told = image.read("told.png").rgb
    assert told.shape == (96, 128, 3)
    assert set(np.unique(told)) <= {0, 255}
    assert edit(recast, "--steps", "3", "--forecast", "stop", "--box", "0,0,9,9", out="stopped.png") == 5
    assert "leaves the boxes" in capsys.readouterr().err
    assert not Path("stopped.png").exists()


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--box", "5,5,5,9"], 1, "boxes"),
        (["--box", "1,2,3"], 2, "left,top,right,bottom"),
        (["--box", "0,0,999,9"], 1, "boxes"),
        (["--mask", "gone.png"], 1, "--mask='gone.png'"),
        (["--mask-mode", "white"], 2, "--mask is missing"),
        (["--mask", "mask.png", "--mask-mode", "alpha"], 1, "no transparency in it"),
        (["--preserve", "off", "--context", "crop"], 2, "no effect with --preserve off"),
        (["--preserve", "off", "--parts", "kept"], 2, "no effect with --preserve off"),
        (["--preserve", "off", "--box", BOX, "--parts", "kept"], 2, "no effect with --preserve off"),
        (["--preserve", "off", "--logos", "gone.onnx"], 2, "--logos: has no effect with --preserve off"),
        (["--preserve", "off", "--mask-mode", "white"], 2, "--mask is missing"),
        (["--context", "crop"], 2, "context='crop'"),
        (["--forecast", "stop"], 2, "give --box"),
        (["--forecast-out", "told.jpg"], 2, "ends in .png"),
        (["--forecast-out", "photo.png"], 1, "would be lost"),
        (["--parts", "photo.png"], 1, "would be lost"),
        (["--faces", "gone.onnx"], 6, "gone.onnx"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_kept_is_said_before_the_weights_are_read(
    flags: list[str],
    code: int,
    said: str,
    recast: Recast,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("recast.loading.load", lambda *_, **__: pytest.fail("the weights were read"))
    assert edit(recast, *flags) == code
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["mask.png", "photo.png"]


def test_a_folder_is_edited_with_its_certificates_and_not_twice(
    recast: Recast, source: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("photos", "results"):
        Path(folder).mkdir()
    for name in ("a", "b"):
        image.write(source if name == "a" else source[::-1].copy(), f"photos/{name}.png")
    image.write(source[:50].copy(), "photos/short.png")
    argv = ["edit", "photos", "x", "--batch", "--out", "results", "--steps", "1", *MASK]
    assert recast(*argv) == 1
    out, err = capsys.readouterr()
    assert out.split() == ["results/a.png", "results/b.png"]
    assert "photos/short.png" in err
    assert "2 done, 0 skipped as finished before, 1 failed" in err
    assert b"recast.certificate" in Path("results/b.png").read_bytes()
    assert sorted(path.name for path in Path("results").glob("*.parts")) == ["a.parts", "b.parts"]
    assert recast(*argv) == 1
    assert "0 done, 2 skipped as finished before, 1 failed" in capsys.readouterr().err
    assert recast("regions", "results/a.png", "--reject", "1") == 0
    assert recast(*argv) == 1
    assert "0 done, 2 skipped" in capsys.readouterr().err, "what was left out by hand is not made anew"
    assert recast(*argv, "--preserve", "strict") == 1
    assert "2 done, 0 skipped" in capsys.readouterr().err
