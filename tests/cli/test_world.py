"""`recast world` and `recast evaluate` from outside: what they write, print, refuse and leave alone."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recast.cli.main import main
from recast.errors import InputError
from recast.quality import build
from recast.world import shards
from recast.world.draw import draw
from recast.world.edits import edit
from recast.world.scene import from_json
from recast.world.suite import SEEDS
from tests.quality.small import small_suite


def test_show_draws_a_sheet_of_scenes_and_of_edits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet, pairs = tmp_path / "sheet.png", tmp_path / "pairs.png"
    assert main(["world", "show", "--seed", "3", "--count", "4", "--size", "96x96", "--out", str(sheet)]) == 0
    assert main(["world", "show", "--pairs", "--count", "2", "--size", "96x96", "--out", str(pairs), "--json"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(sheet)
    for path in (sheet, pairs):
        with Image.open(path) as picture:
            assert len(set(picture.convert("RGB").resize((32, 32)).getdata())) > 50
    again = tmp_path / "again.png"
    main(["world", "show", "--seed", "3", "--count", "4", "--size", "96x96", "--out", str(again)])
    assert again.read_bytes() == sheet.read_bytes()


def test_pairs_are_shards_of_the_documented_members(tmp_path: Path) -> None:
    argv = ["world", "pairs", "--count", "5", "--size", "64x64", "--quiet", "--out"]
    assert main([*argv, str(tmp_path / "a")]) == 0
    assert main([*argv, str(tmp_path / "b")]) == 0
    (shard,) = (tmp_path / "a").glob("*.tar")
    assert shard.read_bytes() == (tmp_path / "b" / shard.name).read_bytes()
    with tarfile.open(shard) as tar:
        members = {name.partition(".")[0]: set() for name in tar.getnames()}
        for name in tar.getnames():
            members[name.partition(".")[0]].add(name.partition(".")[2])
        truth = json.load(tar.extractfile("00000000.json"))
    assert len(members) == 5
    assert all({"source.png", "target.png", "mask.png", "json"} <= each for each in members.values())
    assert len(truth["captions"]) == len(truth["scenes"]) >= 2
    assert truth["instruction"]


def test_a_finished_shard_is_not_written_again_and_an_unfinished_one_is(tmp_path: Path) -> None:
    argv = ["world", "pairs", "--count", "3", "--size", "64x64", "--quiet", "--out", str(tmp_path)]
    main(argv)
    (shard,) = tmp_path.glob("*.tar")
    whole, when = shard.read_bytes(), shard.stat().st_mtime_ns
    main(argv)
    assert shard.stat().st_mtime_ns == when
    shard.write_bytes(whole[: len(whole) // 2])
    main(argv)
    assert shard.read_bytes() == whole


def records(path: Path) -> list[dict[str, bytes]]:
    """The members of every record of a shard, by name."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, name = member.name.partition(".")
            found.setdefault(key, {})[name] = tar.extractfile(member).read()
    return list(found.values())


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("base", [0, 1])
def test_the_mask_is_of_the_picture_that_is_kept(base: int) -> None:
    kind = "person into place"
    seed = next(seed for seed in range(100) if edit(seed, kind=kind).base == base)
    members = shards.record(seed, width=64, height=64, split="train", kind=kind)
    truth = json.loads(members["json"])
    assert truth["base"] == base
    kept, target = (from_json(truth["scenes"][n]) for n in (truth["base"], -1))
    expected = (draw(kept, 64, 64) != draw(target, 64, 64)).any(2)
    mask = pixels(members["mask.png"])
    np.testing.assert_array_equal(mask, np.where(expected, 255, 0)[..., None].repeat(3, axis=2))
    people, contexts = truth["scenes"][-1]["characters"], truth["scenes"][:-1]
    assert truth["identity"]
    for i, j, k in truth["identity"]:
        assert people[i].get("face") == contexts[j]["characters"][k].get("face")


def test_pairs_of_one_kind_are_written(tmp_path: Path) -> None:
    argv = ["world", "pairs", "--count", "4", "--size", "64x64", "--quiet", "--kind", "add title"]
    assert main([*argv, "--out", str(tmp_path)]) == 0
    kinds = [json.loads(each["json"])["kind"] for each in records(tmp_path / "pairs-000000.tar")]
    assert kinds == ["add title"] * 4


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (["--seed", "1"], "seed 0 there and 1 asked for"),
        (["--size", "96x64"], "width 64 there and 96 asked for"),
        (["--split", "any"], "split 'train' there and 'any' asked for"),
        (["--kind", "add title"], "kind None there and 'add title' asked for"),
        (["--count", "2"], "count 3 there and 2 asked for"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_folder_of_other_pairs_is_refused_and_left_alone(
    other: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["world", "pairs", "--count", "3", "--size", "64x64", "--quiet", "--out", str(tmp_path)]
    main(argv)
    before = contents(tmp_path)
    assert main([*argv, *other]) == 1
    assert said in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_pairs_of_another_version_are_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(shards.write_pairs(tmp_path, 1, width=64, height=64))
    monkeypatch.setattr(shards, "VERSION", "0.0.0")
    with pytest.raises(InputError, match=r"version .* there and '0\.0\.0' asked for"):
        list(shards.write_pairs(tmp_path, 1, width=64, height=64))


def test_shards_that_nothing_vouches_for_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pairs-000000.tar").write_bytes(b"another's")
    with pytest.raises(InputError, match=r"shards without a pairs\.json"):
        list(shards.write_pairs(tmp_path, 1, width=64, height=64))
    assert contents(tmp_path) == {"pairs-000000.tar": b"another's"}


def test_more_pairs_are_what_they_would_have_been_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shards, "PER_SHARD", 2)
    argv = ["world", "pairs", "--size", "64x64", "--quiet", "--json"]
    main([*argv, "--count", "3", "--out", str(tmp_path / "a")])
    main([*argv, "--count", "5", "--out", str(tmp_path / "a")])
    capsys.readouterr()
    main([*argv, "--count", "5", "--out", str(tmp_path / "b")])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    listed = json.loads(capsys.readouterr().out)["shards"]
    assert listed == [str(tmp_path / "b" / f"pairs-00000{n}.tar") for n in range(3)]


def test_a_run_that_stops_leaves_no_shard_and_no_part_of_one(tmp_path: Path) -> None:
    writing = shards.write_pairs(tmp_path, 3, width=64, height=64)
    next(writing)
    (part,) = tmp_path.glob(".*.part")
    second = shards.write_pairs(tmp_path, 3, width=64, height=64)
    next(second)
    assert len(list(tmp_path.glob(".*.part"))) == 2
    writing.close()
    assert not part.exists()
    assert list(second)[-1] == (3, 3)
    assert len(records(tmp_path / "pairs-000000.tar")) == 3
    assert sorted(contents(tmp_path)) == ["pairs-000000.tar", "pairs.json"]


def test_the_benchmarks_seeds_are_not_for_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="benchmarks'"):
        next(shards.write_pairs(tmp_path / "new", 2, seed=SEEDS - 1, width=64, height=64))
    assert not (tmp_path / "new").exists()
    assert list(shards.write_pairs(tmp_path / "new", 1, seed=SEEDS - 1, width=64, height=64)) == [(1, 1)]


@pytest.mark.parametrize("out", ["file", "file/below"])
@pytest.mark.parametrize("what", [["pairs", "--count", "1"], ["suite"]], ids=lambda value: value[0])
def test_a_file_in_the_place_of_a_folder_is_left_alone(
    what: list[str], out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["world", *what, "--quiet", "--out", str(tmp_path / out)]) == 1
    assert "file is a file; a folder" in capsys.readouterr().err
    assert contents(tmp_path) == {"file": b"mine"}


def test_a_suite_that_came_out_otherwise_is_said_to_be_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(name: str, out: Path) -> Iterator[int]:
        small_suite(out)
        yield 1

    monkeypatch.setattr(build, "write", write)
    monkeypatch.setattr(build, "HASHES", {"worldbench-1": "abc"})
    argv = ["world", "suite", "--json", "--quiet", "--out"]
    assert main([*argv, str(tmp_path / "a")]) == 5
    out, err = capsys.readouterr()
    assert "sha256 abc expected" in err
    came: dict[str, Any] = json.loads(out)
    monkeypatch.setattr(build, "HASHES", {"worldbench-1": came["sha256"]})
    assert main([*argv, str(tmp_path / "b")]) == 0
    assert capsys.readouterr().err == ""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["world", "sho", "--out", "x.png"], "show, pairs, suite, held-out accepted"),
        (["world", "show"], "--out: missing"),
        (["world", "show", "--out", "x.png", "--count", "0"], "at least 1"),
        (["world", "show", "--out", "x.png", "--split", "test"], "train, held out, any accepted"),
        (["world", "show", "--pairs", "--kind", "nose", "--out", "x.png"], "no such edit"),
        (["world", "pairs", "--out", "shards"], "--count: missing"),
        (["world", "pairs", "--out", "shards", "--count", "1", "--kind", "nose"], "no such edit"),
        (["world", "pairs", "--out", "shards", "--count", "1", "--size", "32x32"], "width=32"),
        (["world", "pairs", "--out", "shards", "--count", "1", "--name", "x"], "--name: means nothing"),
        (["world", "pairs", "--out", "shards", "--count", "1", "--pairs"], "--pairs: means nothing"),
        (["world", "held-out", "--out", "x.json"], "--out: means nothing"),
        (["world", "show", "--out", "x.png", "--name", "x"], "--name: means nothing"),
        (["world", "suite", "--out", "suite", "--seed", "0"], "--seed: means nothing"),
        (["world", "suite", "--out", "suite", "--count", "3"], "--count: means nothing"),
        (["world", "suite", "--out", "suite", "--size", "64x64"], "--size: means nothing"),
        (["world", "suite", "--out", "suite", "--split", "any"], "--split: means nothing"),
        (["world", "suite", "--out", "suite", "--kind", "photo"], "--kind: means nothing"),
        (["evaluate", "worldbench-9", "--model", "nano", "--out", "run"], "worldbench-1"),
        (["evaluate", "worldbench-9"], "--out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_says_what_is_accepted(
    argv: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) in (1, 2)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert not any(tmp_path.iterdir())


def test_a_paid_model_is_not_asked_without_a_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_suite(tmp_path / "suite")
    monkeypatch.setenv("BFL_API_KEY", "a-secret-key")
    argv = ["evaluate", str(tmp_path / "suite"), "--model", "bfl:flux-kontext-pro", "--out", str(tmp_path / "run")]
    assert main([*argv, "--dry-run"]) == 0
    assert "7 pictures from" in capsys.readouterr().out
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert "0.28 USD" in err
    assert "--yes" in err
    assert not (tmp_path / "run").exists()
    assert "a-secret-key" not in err
