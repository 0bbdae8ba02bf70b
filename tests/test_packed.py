"""Weights kept small come back to the bit, once, wherever the package lies."""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from recast.errors import WeightsError
from recast.nano import NANO
from recast.nano.packed import pack, unpack, unpacked
from recast.user_cache import user_cache

AT_IMPORT = user_cache()  # where `recast.nano`, just imported, would have unpacked a package it cannot write to


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package folder with a packed file of odd length, and one that is not packed."""
    made = tmp_path / "nano"
    (made / "deep").mkdir(parents=True)
    (made / "deep" / "a.safetensors").write_bytes(bytes(range(251)) * 3)
    (made / "deep" / "a.safetensors.zip").write_bytes(pack(made / "deep" / "a.safetensors"))
    (made / "deep" / "a.safetensors").unlink()
    (made / "config.json").write_text("{}")
    return made


def test_a_file_comes_back_to_the_bit(folder: Path):
    assert unpacked(folder) == folder
    assert (folder / "deep" / "a.safetensors").read_bytes() == bytes(range(251)) * 3


def test_what_is_there_is_left_alone_until_its_pack_is_newer(folder: Path):
    unpacked(folder)
    file = folder / "deep" / "a.safetensors"
    before = file.stat().st_mtime_ns
    unpacked(folder)
    assert file.stat().st_mtime_ns == before
    file.write_bytes(b"old")
    os.utime(file, ns=(0, 0))
    unpacked(folder)
    assert len(file.read_bytes()) == 753


def test_a_damaged_pack_is_an_error_and_leaves_nothing(folder: Path):
    path = folder / "deep" / "a.safetensors.zip"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, bytes([data[0] ^ 1]) + data[1:] if name == "odd" else data)
    with pytest.raises(WeightsError, match="another hash; fetch it again"):
        unpacked(folder)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match="cannot be unpacked"):
        unpacked(folder)
    assert [each.name for each in (folder / "deep").iterdir()] == [path.name]


def test_a_folder_that_cannot_be_written_is_unpacked_in_a_cache(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    cache = unpacked(folder)
    assert cache.is_relative_to(folder.parent / "cache")
    assert (cache / "deep" / "a.safetensors").read_bytes() == bytes(range(251)) * 3
    assert (cache / "config.json").read_text() == "{}"
    assert not (folder / "deep" / "a.safetensors").exists()
    assert unpacked(folder) == cache


def test_no_import_by_the_tests_reaches_the_cache_of_whoever_runs_them():
    assert user_cache() == AT_IMPORT
    assert AT_IMPORT.is_relative_to(tempfile.gettempdir())


def test_the_packs_of_nano_are_its_files():
    packs = sorted(NANO.rglob("*.safetensors.zip"))
    assert {each.name for each in packs} >= {"flow.safetensors.zip", "ae.safetensors.zip", "model.safetensors.zip"}
    for path in packs:
        assert unpack(path) == path.with_suffix("").read_bytes()
    header = (NANO / "flow.safetensors").read_bytes()[8:4000]
    assert json.loads(header[: header.index(b"}") + 1] + b"}")


def test_importing_the_package_unpacks_nothing():
    program = "import recast, sys; print('recast.nano' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
