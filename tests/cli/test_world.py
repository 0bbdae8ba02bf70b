"""`recast world` and `recast evaluate` from outside: what they write, print, refuse and leave alone."""

import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from recast.cli.main import main
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


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["world", "sho", "--out", "x.png"], "show, pairs, suite, held-out accepted"),
        (["world", "show"], "--out: missing"),
        (["world", "show", "--out", "x.png", "--count", "0"], "at least 1"),
        (["world", "show", "--out", "x.png", "--split", "test"], "train, held out, any accepted"),
        (["world", "show", "--pairs", "--kind", "nose", "--out", "x.png"], "no such edit"),
        (["world", "pairs", "--out", "shards"], "--count: missing"),
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
