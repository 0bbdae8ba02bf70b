"""The example channel, as `make demo` makes it: one base, five variants, the same face, letters that can be read."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recast.cli import main
from recast.pixels import image
from recast.recipe import Recipe

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "channel"
LEAST_LIKENESS, MEAN_LIKENESS = 0.87, 0.95


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channel")
    subprocess.run([sys.executable, str(EXAMPLE / "draw.py"), str(folder)], check=True)
    for name in ("brief.yaml", "brand.yaml"):
        shutil.copy(EXAMPLE / name, folder)
    assert main(["thumbnails", "make", str(folder / "brief.yaml"), "-q"]) == 0
    return folder


@pytest.fixture(scope="module")
def manifest(channel: Path) -> dict[str, Any]:
    return dict(json.loads((channel / "set" / "manifest.json").read_text()))


def test_the_same_face_is_on_all(manifest: dict[str, Any]):
    alike = [each["similarity"]["host"] for each in manifest["variants"] if each["is_kept"]]
    assert len(alike) >= 4
    assert np.mean(alike) >= MEAN_LIKENESS
    assert min(alike) >= LEAST_LIKENESS


def test_the_person_is_the_frames_to_the_byte(channel: Path):
    frame = image.read(channel / "frame.png").rgb
    kept = image.read(channel / "host_cutout.png").rgb[..., 0] > 127
    for path in sorted((channel / "set" / "variants").glob("*.png")):
        variant = image.read(path).rgb
        assert np.array_equal(variant[kept], frame[kept])
        assert np.abs(variant[~kept].astype(int) - frame[~kept]).mean() > 10


def test_every_title_is_read_at_the_size_of_a_list(manifest: dict[str, Any]):
    read = [each for row in manifest["variants"] for each in row["findings"] if each["check"] == "T4"]
    assert len(read) >= 4
    assert {each["verdict"] for each in read} == {"pass"}


def test_what_is_shipped_fails_nothing(channel: Path, manifest: dict[str, Any]):
    shipped = [each for each in manifest["variants"] if each["is_shipped"]]
    assert len(shipped) == 3
    assert len({each["level"] for each in shipped}) == 3
    for each in shipped:
        assert [row["says"] for row in each["findings"] if row["verdict"] == "fail"] == []
        for file in each["files"]:
            path = channel / "set" / "export" / file["file"]
            assert path.stat().st_size <= file["limit_bytes"]
            with Image.open(path) as picture:
                assert picture.size == (file["width"], file["height"])
    assert [each["verdict"] for each in manifest["set"]] == ["pass", "pass"]


def test_the_exported_pictures_pass_on_their_own(channel: Path, capsys: pytest.CaptureFixture[str]):
    files = sorted((channel / "set" / "export").glob("*.youtube-portable.jpg"))[:1]
    code = main(["thumbnails", "check", *map(str, files), "--kit", str(channel / "brand.yaml"), "--json"])
    findings = json.loads(capsys.readouterr().out)["pictures"][0]["findings"]
    assert code == 0, [each for each in findings if each["verdict"] == "fail"]
    assert {each["check"]: each["verdict"] for each in findings}["G1"] == "pass"


def test_again_makes_nothing_again(channel: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["thumbnails", "make", str(channel / "brief.yaml"), "-q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == []


def test_a_set_is_made_by_the_plan_that_is_fastest_here_and_says_so(channel: Path):
    for path in sorted((channel / "set" / "variants").glob("*.png")):
        recipe = Recipe.from_json(image.read_recipe(path))
        assert (recipe.plan, recipe.context_attention) == ("lossless", "cached")
