"""`--recipe`: the same file again, or a clear word on why not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from recast.pixels import image
from tests.cli.conftest import Recast, picture
from tests.cli.test_making import SMALL, recipe_of
from tests.tiny import tiny_flow


@pytest.fixture
def edited(recast: Recast, photo: Path) -> Path:
    """An edit with a named and an unnamed reference."""
    logo, back = picture(Path("logo.png"), 1, width=32), picture(Path("back.png"), 2)
    flags = ["--ref", f"logo={logo}", "--image", back, "--size", "64x32", "--guidance", "4"]
    flags += ["--sampler", "heun", "--times", "1,0.6,0", "--seed", "7"]
    assert recast("edit", photo, "@logo on image 3", *flags, "--out", "edited.png") == 0
    return Path("edited.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_generated_picture_is_made_again_byte_for_byte(suffix: str, recast: Recast) -> None:
    flags = ["--negative-prompt", "été", "--true-guidance", "2", "--size", "64x32", "-n", "2"]
    assert recast("generate", "a ☆", *flags, *SMALL, "--out", f"{{seed}}.{suffix}") == 0
    assert recast("generate", "--recipe", f"8.{suffix}", "--exact", "--out", f"again.{suffix}") == 0
    assert Path(f"again.{suffix}").read_bytes() == Path(f"8.{suffix}").read_bytes()


def test_an_edit_with_references_is_made_again_byte_for_byte(recast: Recast, edited: Path) -> None:
    assert recast("edit", "--recipe", edited, "--exact", "--out", "again.png") == 0
    assert Path("again.png").read_bytes() == edited.read_bytes()


def test_a_recipe_file_does_as_well_as_the_picture(recast: Recast, edited: Path) -> None:
    indented = json.dumps(json.loads(image.read_recipe(edited) or ""), indent=2)
    Path("recipe.json").write_text(indented)
    assert recast("edit", "--recipe", "recipe.json", "--exact", "--out", "again.png") == 0
    assert Path("again.png").read_bytes() == edited.read_bytes()


def test_pictures_are_found_beside_the_recipe(
    recast: Recast, edited: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert recast("edit", "--recipe", here / edited, "--exact", "--out", "again.png") == 0


def test_pictures_may_lie_anywhere_if_the_command_line_says_where(recast: Recast, edited: Path) -> None:
    for name in ("photo", "logo", "back"):
        Path(f"{name}.png").rename(f"{name}-moved.png")
    flags = ["--image", "back-moved.png", "--ref", "logo=logo-moved.png"]  # in another order
    assert recast("edit", "photo-moved.png", "--recipe", edited, *flags, "--exact", "--out", "again.png") == 0
    assert Path("again.png").read_bytes() == edited.read_bytes()


@pytest.mark.parametrize("file", ["photo.png", "logo.png", "back.png"])
def test_another_picture_is_refused_by_name(
    file: str, recast: Recast, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(Path(file), 99)
    assert recast("edit", "--recipe", edited, "--out", "again.png") == 1
    assert f"{file}': differs from the picture that went into the recipe" in capsys.readouterr().err
    assert not Path("again.png").exists()


def test_a_missing_picture_is_named(recast: Recast, edited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("logo.png").unlink()
    assert recast("edit", "--recipe", edited, "--out", "again.png") == 1
    assert "--ref logo: logo.png went into the recipe and is neither" in capsys.readouterr().err


def test_a_picture_the_recipe_does_not_know_is_refused(
    recast: Recast, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("edit", "--recipe", edited, "--ref", "host=logo.png", "--out", "again.png") == 2
    assert "--ref host='logo.png': no such picture went into the recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [["--seed", "1"], ["--seed", "0"], ["--steps", "2"], ["--guidance", "1"], ["--size", "32x32"], ["--dtype", "bf16"],
     ["-n", "2"], ["--batch-size", "1"], ["--batch"], ["--sampler", "euler"], ["--times", "1,0"],
     ["--negative-prompt", ""], ["--preserve", "off"], ["--box", "0,0,9,9"], ["--context", "whole"]],
    ids=lambda flags: flags[0],
)  # fmt: skip
def test_what_the_recipe_decides_cannot_be_given_beside_it(
    flags: list[str], recast: Recast, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("edit", "--recipe", edited, *flags, "--out", "again.png") == 2
    assert "the recipe says" in capsys.readouterr().err


def test_an_instruction_beside_a_recipe_is_refused(
    recast: Recast, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("edit", "photo.png", "make it day", "--recipe", edited, "--out", "again.png") == 2
    assert "PROMPT: the recipe says" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["generate", "--recipe", "edited.png"], 2, "is of `recast edit`"),
        (["edit", "--recipe", "photo.png"], 1, "a picture without a recipe"),
        (["edit", "--recipe", "minimal.png"], 1, "holds no words"),
        (["edit", "--recipe", "gone.json"], 1, "gone.json"),
        (["edit", "--recipe", "odd.json"], 1, "recast-recipe-1"),
        (["edit", "--recipe", "edited.png", "--model", "nano"], 2, "was made with tiny"),
        (["edit", "--recipe", "edited.png", "--lora", "photo.png"], 2, "did not go into the recipe"),
    ],
)
def test_a_recipe_that_cannot_be_replayed_says_why(
    argv: list[str], code: int, said: str, recast: Recast, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("edit", "photo.png", "x", *SMALL, "--metadata", "minimal", "--out", "minimal.png") == 0
    Path("odd.json").write_text("{}")
    assert recast(*argv, "--out", "again.png") == code
    assert said in capsys.readouterr().err
    assert not Path("again.png").exists()


def test_a_plan_without_a_name_is_not_replayed_by_another(
    recast: Recast, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own.json").write_text(replace(recipe_of(edited), plan="exact (custom: joined=False)").to_json())
    assert recast("edit", "--recipe", "own.json", "--exact", "--out", "again.png") == 2
    assert "plan='exact (custom: joined=False)' came; one of the named plans" in capsys.readouterr().err
    assert not Path("again.png").exists()


def test_a_recipe_of_an_unknown_place_asks_for_the_weights(
    recast: Recast, edited: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RECAST_MODEL")
    assert recast("edit", "--recipe", edited, "--out", "again.png") == 6
    assert "made with tiny; say where its weights are" in capsys.readouterr().err


def test_the_recipe_itself_is_not_written_over(recast: Recast, edited: Path) -> None:
    before = edited.read_bytes()
    assert recast("edit", "--recipe", edited, "--out", edited) == 1
    assert edited.read_bytes() == before


@pytest.mark.parametrize(("flags", "code"), [([], 0), (["--exact"], 5)])
def test_a_picture_that_differs_is_a_warning_and_with_exact_a_failure(
    flags: list[str], code: int, recast: Recast, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true = recipe_of(edited)
    versions = {**true.versions, "torch": "0.1"}
    claimed = replace(true, output_sha256="0" * 64, versions=versions, batch_size=4)
    Path("claimed.json").write_text(claimed.to_json())
    capsys.readouterr()
    Path("photo.png").rename("moved.png")
    assert recast("edit", "moved.png", "--recipe", "claimed.json", *flags, "--out", "again.png") == code
    out, err = capsys.readouterr()
    assert out == "again.png\n"
    assert "the picture differs from the recipe's" in err
    assert "'torch': '0.1'" in err
    assert "made 4 at a time" in err
    assert "images:" not in err  # they are the same, whatever their names
    again = recipe_of("again.png")  # that of what was made now
    assert (again.output_sha256, again.versions) == (true.output_sha256, true.versions)


def test_a_replay_computes_with_the_threads_of_the_recipe(
    recast: Recast, edited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, asked = torch.get_num_threads(), list[int]()
    recipe = replace(recipe_of(edited), threads=usual + 1)
    Path("recipe.json").write_text(recipe.to_json())
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    assert recast("edit", "--recipe", "recipe.json", "--out", "again.png") == 0
    assert asked == [usual + 1, usual]


@pytest.fixture
def adapter(here: Path) -> Path:
    """A LoRA of rank 2 on one layer of `tiny`."""
    flow = tiny_flow()
    generator = torch.Generator().manual_seed(0)
    rows, columns = flow.single_blocks[0].linear2.weight.shape
    name = "transformer.single_transformer_blocks.0.proj_out"
    tensors = {
        f"{name}.lora_A.weight": torch.randn(2, columns, generator=generator),
        f"{name}.lora_B.weight": torch.randn(rows, 2, generator=generator),
    }
    save_file(tensors, here / "style.safetensors")
    return here / "style.safetensors"


def test_an_adapter_is_folded_in_and_found_again(recast: Recast, adapter: Path) -> None:
    assert recast("generate", "x", *SMALL, "--out", "plain.png") == 0
    assert recast("generate", "x", *SMALL, "--lora", f"{adapter.name}:0.5", "--out", "styled.png") == 0
    assert recipe_of("styled.png").adapters[0].strength == 0.5
    assert image.read("styled.png").sha256() != image.read("plain.png").sha256()
    assert recast("generate", "--recipe", "styled.png", "--exact", "--out", "again.png") == 0
    assert Path("again.png").read_bytes() == Path("styled.png").read_bytes()
    adapter.rename("moved.safetensors")
    assert recast("generate", "--recipe", "styled.png", "--lora", "moved.safetensors", "--exact", "--out", "a.png") == 0


def test_another_adapter_is_refused(recast: Recast, adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("generate", "x", *SMALL, "--lora", adapter, "--out", "styled.png") == 0
    assert recast("generate", "--recipe", "styled.png", "--lora", f"{adapter}:0.5", "--out", "again.png") == 2
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"?")
    assert recast("generate", "--recipe", "styled.png", "--out", "again.png") == 6
    assert "style.safetensors (sha256" in capsys.readouterr().err
