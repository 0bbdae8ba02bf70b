"""`recast generate` and `recast edit`: what is checked before the weights are read, and what is written after."""

import hashlib
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recast.cli import work
from recast.cli.generate import near_ratio
from recast.cli.job import Job
from recast.cli.main import Exit
from recast.cli.options import path_and_strength
from recast.errors import OutOfMemory
from recast.pixels import image
from recast.recipe import Recipe
from tests.cli.conftest import Recast, picture
from tests.tiny import tiny_pipeline

SMALL = ("--steps", "1", "--seed", "7")
RAW = ("--preserve", "off")  # what the model makes, and not what a merge makes of it


def recipe_of(path: Path | str) -> Recipe:
    return Recipe.from_json(image.read_recipe(path) or "")


def test_generate_writes_what_python_makes(recast: Recast, capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert recast("generate", "a star", "--out", "star.png", "--steps", "2", "--seed", "3", "--size", "32x48") == 0
    assert capsys.readouterr().out == "star.png\n"
    expected = tiny_pipeline().generate("a star", steps=2, seed=3, width=32, height=48)
    assert image.read("star.png").sha256() == expected.pictures[0].sha256()


def test_edit_writes_what_python_makes(recast: Recast, photo: Path) -> None:
    logo, back = picture(Path("logo.png"), 1, width=32), picture(Path("back.png"), 2)
    flags = ["--ref", f"logo={logo}", "--image", back, "--size", "64x32", "--guidance-scale", "4", *RAW]
    assert recast("edit", photo, "@logo on image 3", *flags, *SMALL, "-o", "out.png") == 0
    expected = tiny_pipeline().edit(
        photo, "@logo on image 3", references=[("logo", logo), (None, back)], size=(64, 32), guidance=4, steps=1, seed=7
    )
    assert image.read("out.png").sha256() == expected.pictures[0].sha256()
    assert [one.name for one in recipe_of("out.png").images] == [None, "logo", None]


def test_every_sampling_flag_reaches_the_recipe(recast: Recast) -> None:
    flags = ["--negative-prompt", "blur", "--true-cfg-scale", "2", "--guidance", "3", "--sampler", "heun"]
    assert recast("generate", "x", *flags, "--times", "1,0.5,0", "--seed", "5", "--out", "x.png") == 0
    recipe = recipe_of("x.png")
    assert (recipe.negative_prompt, recipe.true_guidance, recipe.guidance) == ("blur", 2.0, 3.0)
    assert (recipe.sampler, recipe.times, recipe.seed) == ("heun", (1.0, 0.5, 0.0), 5)


def test_the_instruction_may_stand_after_the_flags(recast: Recast, photo: Path) -> None:
    assert recast("edit", "--out", "out.png", photo, *SMALL, "make it night") == 0
    assert recipe_of("out.png").prompt == "make it night"


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["generate", "x", "--out", "nowhere/x.png"], 1, "mkdir -p nowhere"),
        (["generate", "x", "--out", "x.tga"], 2, "png, jpg, jpeg, webp accepted"),
        (["generate", "x", "--out", "x"], 2, "no suffix"),
        (["generate", "x", "--out", "."], 2, "no suffix"),
        (["generate", "x", "--out", "x.png", "--quality", "80"], 2, "for JPEG and WebP"),
        (["generate", "x", "--out", "x.png", "--format", "webp"], 2, "leave one of the two out"),
        (["generate", "x", "--out", "x{sed}.png"], 2, "{seed}, {index}, {name} accepted"),
        (["generate", "x", "--out", "-", "-n", "2"], 2, "one picture accepted on stdout"),
        (["generate", "x", "--out", "-", "--json"], 2, "both want stdout"),
        (["generate", "x", "--out", "x.png", "--recipe-out", "nowhere/x.json"], 1, "mkdir -p nowhere"),
        (["generate", "x", "--out", "x.png", "--width", "100"], 2, "try 96 or 112"),
        (["generate", "x", "--out", "x.png", "--width", "0"], 2, "width=0"),
        (["generate", "x", "--out", "x.png", "--steps", "0"], 2, "steps=0"),
        (["generate", "x", "--out", "x.png", "--negative-prompt", "y"], 2, "set it above 1"),
        (["generate", "x", "--out", "x.png", "--dtype", "int3"], 2, "bf16 or fp32"),
        (["generate", "x", "--out", "x.png", "--device", "toaster"], 2, "toaster"),
        (
            ["generate", "x", "--out", "x.png", "--lora", "gone.safetensors:0.5"],
            6,
            "--lora='gone.safetensors': no such",
        ),
        (["generate", "x", "--out", "x.png", "--lora", "x.safetensors:abc"], 2, "strength 'abc' came; a finite number"),
        (["generate", "x", "--out", "x.png", "--lora", "x.safetensors:nan"], 2, "as x.safetensors:0.8"),
        (["generate", "x", "--out", "x.png", "--lora", "photo.png:1e-1:"], 2, "--lora: 'photo.png:1e-1:': strength ''"),
        (["generate", "x", "--out", "x.png", "--lora", "D:/gone.safetensors"], 6, "--lora='D:/gone.safetensors': no"),
        (["generate", "x", "--out", "x.png", "--model", "gone"], 6, "gone"),
        (["edit", "gone.png", "x", "--out", "x.png"], 1, "gone.png"),
        (["edit", ".", "x", "--out", "x.png"], 1, "--batch edits every picture in a folder"),
        (["edit", "photo.png", "x", "--out", "photo.png"], 1, "would be lost"),
        (["edit", "photo.png", "x", "--out", "link.png"], 1, "would be lost"),
        (["edit", "photo.png", "x", "--ref", "logo=gone.png", "--out", "x.png"], 1, "--ref logo='gone.png'"),
        (["edit", "photo.png", "x", "--size", "trained", "--out", "x.png"], 2, "lists no trained sizes"),
        (["edit", "clear.png", "x", "--out", "x.jpg"], 1, "transparency"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_work_is_said_before_the_weights_are_read(
    argv: list[str],
    code: int,
    said: str,
    recast: Recast,
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("recast.loading.load", lambda *_, **__: pytest.fail("the weights were read"))
    Path("link.png").symlink_to("photo.png")
    image.write(np.zeros((8, 8, 4), np.uint8), "clear.png")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert recast(*argv) == code
    out, err = capsys.readouterr()
    assert not out
    assert said in err
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_colon_in_the_name_of_an_adapter_that_is_there_is_its_own(here: Path) -> None:
    Path("style:v2").touch()
    assert path_and_strength("style:v2") == ("style:v2", None)
    assert path_and_strength("style:v2:-0.5") == ("style:v2", -0.5)
    assert path_and_strength("C:\\styles\\a.safetensors") == ("C:\\styles\\a.safetensors", None)


def test_a_model_without_its_autoencoder_is_missing_weights(
    recast: Recast, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recast.loading.load", lambda *_, **__: pytest.fail("the weights were read"))
    shutil.copytree(model, "half", ignore=shutil.ignore_patterns("ae.safetensors"))
    assert recast("generate", "x", "--model", "half", "--out", "x.png") == Exit.WEIGHTS
    assert "its autoencoder is not there" in capsys.readouterr().err


def test_a_picture_comes_in_by_stdin_and_goes_out_by_stdout(
    recast: Recast, photo: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    assert recast("edit", "-", "x", *SMALL, *RAW, "--out", "-") == 0
    out, err = capsysbinary.readouterr()
    assert not err
    assert recast("edit", photo, "x", *SMALL, *RAW, "--out", "file.png") == 0
    assert out.startswith(b"\x89PNG")
    assert image.read(out).sha256() == image.read("file.png").sha256()


def test_stdout_takes_the_format_asked_for(recast: Recast, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert recast("generate", "x", *SMALL, "--out", "-", "--format", "jpeg", "--quality", "50") == 0
    assert capsysbinary.readouterr().out.startswith(b"\xff\xd8")


def test_a_terminal_is_no_place_for_a_picture(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert recast("generate", "x", "--out", "-") == 2
    assert "is a terminal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("x.png", ["x-7.png", "x-8.png"]),
        ("{seed}.webp", ["7.webp", "8.webp"]),
        ("{name}-{index}.png", ["photo-1.png", "photo-2.png"]),
        ("{name}.jpg", ["photo-7.jpg", "photo-8.jpg"]),
    ],
)
def test_several_pictures_get_a_path_each(
    out: str, expected: list[str], recast: Recast, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("edit", photo, "x", *SMALL, "-n", "2", "--out", out) == 0
    assert capsys.readouterr().out.split() == expected
    assert [recipe_of(path).seed for path in expected] == [7, 8]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_several_pictures_from_words_are_those_of_one_request(
    batch_size: int, recast: Recast, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("-n", "3", "--batch-size", batch_size, "--size", "32x48", "--recipe-out", "{index}.json")
    assert recast("generate", "a star", *SMALL, *flags, "--out", "{index}.png") == 0
    assert capsys.readouterr().out.split() == ["1.png", "2.png", "3.png"]
    options = {"steps": 1, "seed": 7, "width": 32, "height": 48, "num_images": 3, "batch_size": batch_size}
    expected = tiny_pipeline().generate("a star", **options)
    for index, (one, recipe) in enumerate(zip(expected.pictures, expected.recipes, strict=True), start=1):
        assert image.read(f"{index}.png").sha256() == one.sha256()
        made = recipe_of(f"{index}.png")
        assert made == recipe_of_json(f"{index}.json")
        assert (made.seed, made.batch_size, made.output_sha256) == (recipe.seed, recipe.batch_size, one.sha256())


@pytest.mark.parametrize(("error", "code"), [(OutOfMemory("memory: ran out"), Exit.MEMORY), (KeyboardInterrupt(), 130)])
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=" ".join)
def test_pictures_that_are_made_are_written_and_named_whatever_becomes_of_the_next(
    error: BaseException, code: int, as_json: tuple[str, ...], recast: Recast, here: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    make, made = work.make, list[Job]()

    def make_two(job: Job, *given: Any, **more: Any) -> Any:
        made.append(job)
        if len(made) == 3:
            raise error
        return make(job, *given, **more)

    monkeypatch.setattr(work, "make", make_two)
    assert recast("generate", "x", *SMALL, "-n", "4", "--size", "32x48", *as_json, "--out", "x.png") == code
    said = capsys.readouterr().out
    named = [one["path"] for one in json.loads(said)["pictures"]] if as_json else said.split()
    assert named == ["x-7.png", "x-8.png"]
    assert sorted(path.name for path in here.iterdir()) == ["x-7.png", "x-8.png"]
    assert [recipe_of(path).seed for path in ("x-7.png", "x-8.png")] == [7, 8]


def test_braces_in_a_file_name_are_no_template(recast: Recast, here: Path) -> None:
    source = picture(here / "{seed}{index}.png")
    assert recast("edit", source, "x", *SMALL, "--out", "new-{name}.png") == 0
    assert (here / "new-{seed}{index}.png").exists()


def test_without_a_seed_each_run_draws_one(recast: Recast) -> None:
    for path in ("a.png", "b.png"):
        assert recast("generate", "x", "--steps", "1", "--out", path) == 0
    assert recipe_of("a.png").seed != recipe_of("b.png").seed


def test_json_is_one_object_with_all_that_was_made(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 100  # the tiny encoder reads 31 bytes
    assert recast("generate", long, *SMALL, "-n", "2", "--size", "64x32", "--json", "--out", "x.png") == 0
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert list(data) == ["pictures", "warnings", "timings_s"]
    assert list(data["timings_s"]) == ["load", "make", "total"]
    (warning,) = data["warnings"]  # told once, and not with each picture
    assert "left out" in warning
    assert err.startswith("recast: warning: ")
    for entry, seed in zip(data["pictures"], (7, 8), strict=True):
        assert list(entry) == ["path", "seed", "width", "height", "sha256", "recipe"]
        assert (entry["path"], entry["seed"], entry["width"], entry["height"]) == (f"x-{seed}.png", seed, 64, 32)
        assert entry["sha256"] == hashlib.sha256(Path(entry["path"]).read_bytes()).hexdigest()
        assert Recipe.from_json(json.dumps(entry["recipe"])) == recipe_of(entry["path"])


def test_metadata_says_how_much_a_picture_tells(recast: Recast, photo: Path) -> None:
    for how in ("full", "minimal", "none"):
        flags = ["--metadata", how, "--recipe-out", f"{how}.json", "--out", f"{how}.png"]
        assert recast("edit", photo, "a secret", *SMALL, *flags) == 0
        assert recipe_of_json(f"{how}.json").prompt == "a secret"
    assert recipe_of("full.png") == recipe_of_json("full.json")
    assert recipe_of("minimal.png") == recipe_of_json("minimal.json").without_prompts()
    assert image.read_recipe("none.png") is None
    for how in ("minimal", "none"):
        content = Path(f"{how}.png").read_bytes()
        assert b"secret" not in content
        assert b"photo" not in content


def recipe_of_json(path: str) -> Recipe:
    return Recipe.from_json(Path(path).read_text())


def test_dry_run_resolves_and_writes_nothing(
    recast: Recast, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recast.loading.load", lambda *_, **__: pytest.fail("the weights were read"))
    assert recast("edit", photo, "x", "--steps", "3", "--seed", "7", "-n", "2", "--dry-run", "--out", "x.png") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["model"] == "tiny"
    assert data["steps"] == 3 == len(data["times"]) - 1
    assert data["seeds"] == [7, 8]
    assert data["grid"] == [2, 3]
    assert (data["model_width"], data["model_height"]) == (48, 32)
    assert data["guidance"] == 2.5
    assert data["images"][0]["file"] == "photo.png"
    assert data["images"][0]["fit"]["scale_x"] == 1
    assert data["out"] == ["x-7.png", "x-8.png"]
    assert list(Path().iterdir()) == [Path("photo.png")]


def test_a_dry_run_needs_no_place_to_write(recast: Recast) -> None:
    assert recast("generate", "x", "--dry-run") == 0


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_stderr_is_empty_where_it_is_no_terminal(
    quiet: list[str], recast: Recast, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("generate", "x", *SMALL, "--out", "x.png", *quiet) == 0
    assert not capsys.readouterr().err


def test_a_result_that_was_there_is_replaced(recast: Recast, here: Path) -> None:
    for prompt in ("x", "y"):
        assert recast("generate", prompt, *SMALL, "--out", "x.png") == 0
    assert recipe_of("x.png").prompt == "y"


def test_cancelling_leaves_what_was_there(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("generate", "x", *SMALL, "--out", "x.png") == 0
    before = Path("x.png").read_bytes()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stop)  # as late as can be: the new picture is written, and not yet in place
    capsys.readouterr()
    assert recast("generate", "y", *SMALL, "--out", "x.png") == Exit.CANCELLED
    assert capsys.readouterr().err == "recast: cancelled\n"
    assert Path("x.png").read_bytes() == before
    assert list(Path().iterdir()) == [Path("x.png")]


@pytest.mark.parametrize(
    ("ratio", "expected"), [(1, (1024, 1024)), (16 / 9, (1360, 768)), (9 / 16, (768, 1360)), (16, (4096, 256))]
)
def test_an_aspect_ratio_keeps_the_number_of_pixels(ratio: float, expected: tuple[int, int]) -> None:
    assert near_ratio(ratio, 1024 * 1024, 16) == expected
