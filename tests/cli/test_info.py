"""`recast info` and `recast convert`."""

import json
from pathlib import Path
from typing import Any

import pytest

from recast import loading, weights
from recast.pixels import image
from tests.cli.conftest import Recast
from tests.cli.test_making import SMALL, recipe_of


def info(recast: Recast, capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    capsys.readouterr()
    assert recast("info", *argv, "--json") == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def test_a_picture_tells_its_recipe(recast: Recast, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("edit", photo, "make it night", *SMALL, "--out", "out.webp") == 0
    data = info(recast, capsys, "out.webp")
    assert (data["kind"], data["format"], data["width"], data["height"]) == ("picture", "WEBP", 48, 32)
    assert data["recipe"] == json.loads(recipe_of("out.webp").to_json())
    assert recast("info", "out.webp") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  prompt             make it night" in lines
    assert "  images             image photo.png 48x32" in lines


def test_a_recipe_file_is_read_as_one(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("generate", "x", *SMALL, "--out", "x.png", "--recipe-out", "x.json") == 0
    assert info(recast, capsys, "x.json")["recipe"] == info(recast, capsys, "x.png")["recipe"]


def test_a_picture_of_others_has_none(recast: Recast, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert info(recast, capsys, photo)["recipe"] is None
    assert recast("info", photo) == 0
    assert "recipe     none" in capsys.readouterr().out


def test_a_checkpoint_tells_its_parts(recast: Recast, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = info(recast, capsys, model, "--sha256")
    assert (data["kind"], data["layout"], data["model"], data["licence"]) == (
        "checkpoint", "recast", "tiny", "Apache-2.0",
    )  # fmt: skip
    assert data["sha256"] == weights.checksum(model)
    pipeline = loading.load(model)
    assert data["parts"]["flow"]["parameters"] == sum(p.numel() for p in pipeline.flow.parameters())
    assert set(data["parts"]) == {"flow", "autoencoder", "text_encoder"}
    assert info(recast, capsys, model)["sha256"] is None


def test_presets_are_known_by_name(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert info(recast, capsys, "nano")["kind"] == "checkpoint"
    assert info(recast, capsys, "kontext_dev")["licence"] == "FLUX.1 [dev] Non-Commercial License"


@pytest.mark.parametrize(
    ("path", "code"), [("gone.png", 1), ("gone.safetensors", 6), ("gone", 6), ("odd.json", 1), ("odd.ckpt", 1)]
)
def test_what_is_nothing_is_an_error(path: str, code: int, recast: Recast) -> None:
    Path("odd.json").write_text("[]")
    Path("odd.ckpt").write_bytes(b"\x80\x04")
    assert recast("info", path) == code


def test_a_converted_model_makes_the_same_picture(
    recast: Recast, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("convert", model, "copy", "--layout", "recast") == 0
    written = capsys.readouterr().out.split()
    assert written == sorted(str(path) for path in Path("copy").rglob("*") if path.is_file())
    for place, out in ((model, "a.png"), ("copy", "b.png")):
        assert recast("generate", "x", *SMALL, "--model", place, "--out", out) == 0
    assert image.read("a.png").sha256() == image.read("b.png").sha256()


def test_convert_writes_the_part_and_dtype_asked_for(
    recast: Recast, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["convert", model, "ae.safetensors", "--layout", "bfl", "--part", "autoencoder", "--dtype", "bf16", "--json"]
    assert recast(*argv) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["files"] == [{"path": "ae.safetensors", "bytes": Path("ae.safetensors").stat().st_size}]
    parts = weights.summary("ae.safetensors").parts
    assert list(parts) == ["autoencoder"]
    assert list(parts["autoencoder"].dtypes) == ["BF16"]


def test_convert_replaces_nothing(recast: Recast, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("copy").mkdir()
    Path("copy/mine.txt").write_text("mine")
    assert recast("convert", model, "copy", "--layout", "recast") == 1
    assert "exists and is not empty" in capsys.readouterr().err
    assert [path.name for path in Path("copy").iterdir()] == ["mine.txt"]
