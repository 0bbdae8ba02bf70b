"""What a set is made with: the records tell one model from another by its files."""

import os
import shutil
from dataclasses import replace

import pytest

from recast.cli import thumbnails_tools
from recast.cli.job import Model
from recast.cli.thumbnails_tools import made_by


@pytest.fixture
def mine(model, here):
    """A copy of the tiny model, to change."""
    return shutil.copytree(model, here / "mine")


def changed(one: dict, other: dict) -> set[str]:
    return {name for name in one if one[name] != other[name]}


def test_other_weights_of_the_same_name_are_another_model(mine):
    asked = Model(str(mine), dtype="fp32")
    before = made_by(asked)
    assert made_by(asked) == before
    path = next(mine.rglob("flow*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert changed(before, made_by(asked)) == {"weights"}


def test_large_files_are_told_by_size_and_time(mine, monkeypatch):
    monkeypatch.setattr(thumbnails_tools, "LARGE_BYTES", 0)
    monkeypatch.setattr("recast.weights.checksum", lambda path: pytest.fail(f"{path} was hashed"))
    asked = Model(str(mine), dtype="fp32")
    before = made_by(asked)
    assert all(" bytes of " in told for told in before["weights"].values())
    os.utime(next(mine.rglob("flow*.safetensors")), ns=(1, 1))
    assert changed(before, made_by(asked)) == {"weights"}


def test_another_adapter_of_the_same_file_name_is_another_model(model, here):
    path = here / "host.safetensors"
    path.write_bytes(b"one")
    asked = Model(str(model), dtype="fp32", adapters=[(str(path), 0.5)])
    before = made_by(asked)
    path.write_bytes(b"two")
    assert changed(before, made_by(asked)) == {"adapters"}
    assert changed(made_by(asked), made_by(replace(asked, adapters=[(str(path), 0.6)]))) == {"adapters"}


@pytest.mark.parametrize(
    ("given", "differs"),
    [
        ({"approximate": "region"}, {"approximate", "plan"}),
        ({"plan": "lossless"}, {"plan"}),
        ({"plan": "reference"}, set()),
        ({"context_attention": "cached"}, {"context_attention"}),
        ({"vram": "2gb"}, {"plan"}),
        ({"vram": "2gb", "plan": "reference"}, set()),
    ],
)
def test_what_decides_the_pictures_is_recorded_and_the_memory_is_not(model, given, differs):
    asked = Model(str(model), dtype="fp32")
    assert changed(made_by(asked), made_by(replace(asked, **given))) == differs
    assert made_by(asked)["variant"] is None
