"""`recast thumbnails results` and `learned`."""

import json

import pytest

from recast.cli.main import main
from tests.thumbnails.test_experiment import finished


def told(capsys, *words) -> dict:
    assert main(["thumbnails", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_results_are_entered_and_learned_from(tmp_path, capsys):
    made = finished(tmp_path / "set")
    shares = ("night=38.2", "beach=33.1", "forest=28.7")
    entered = told(capsys, "results", made, *shares, "--impressions", 400_000)
    assert entered["files"] == [str(made / "results.json"), str(tmp_path / "channel.json")]
    assert entered["notes"] == []
    known = told(capsys, "learned", tmp_path)
    (factor,) = known["factors"]
    assert factor == entered["learned"]
    assert [each["level"] for each in factor["levels"]] == ["night", "beach", "forest", "space"]
    assert [each["tests"] for each in factor["levels"]] == [1, 1, 1, 0]
    assert factor["levels"][0]["best"] > 0.8
    assert factor["levels"][3]["best"] is None
    assert len(factor["next"]) == 3
    assert {each["impressions_a_video"] for each in known["to_tell"]} == {400_000}

    assert main(["thumbnails", "learned", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Robot Bench: 1 test"
    assert next(line for line in lines if "space" in line).split()[-2:] == ["–", "–"]
    assert f"next, background: {', '.join(factor['next'])}" in "\n".join(lines)
    assert "3 points of share: 226,440 impressions" in "\n".join(lines)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("night=38.2", "beach=33.1"), 2, "sum of 71.3"),
        (("night=50", "bech=50"), 2, "did you mean beach"),
        (("night",), 2, "VARIANT=SHARE"),
    ],
)
def test_a_wrong_result_is_one_line(tmp_path, capsys, words, status, said):
    assert main(["thumbnails", "results", str(finished(tmp_path / "set")), *words]) == status
    assert said in capsys.readouterr().err
    assert not (tmp_path / "channel.json").exists()


def test_a_channel_without_tests_is_one_line(tmp_path, capsys):
    assert main(["thumbnails", "learned", str(tmp_path)]) == 1
    assert "enter the result of a test" in capsys.readouterr().err
