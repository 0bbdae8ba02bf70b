"""`recast models`, and what `recast info` says of a delta."""

import json
from pathlib import Path

import pytest

from recast import models, weights
from recast.train import export
from tests.cli.conftest import Recast
from tests.students import trained, turbo_config, write_base


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for `recast/nano`: a base with a few-step student over it."""
    folder = write_base(tmp_path / "nano")
    weights.save(tmp_path / "whole", {"flow": trained()}, turbo_config())
    monkeypatch.setattr(models, "NANO", folder)
    asked = {"flow": tmp_path / "whole", "base": folder, "config": turbo_config()}
    export.delta(folder / "turbo.safetensors", rank=48, **asked)
    return folder


def test_the_table_has_a_line_for_every_model(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("models") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "model",
        "parameters",
        "of",
        "flow",
        "steps",
        "sampler",
        "guidance",
        "takes",
        "licence",
        "weights",
    ]
    cells = {line.split("  ")[0]: [cell.strip() for cell in line.split("  ") if cell] for line in lines if line}
    assert cells["nano"] == [
        "nano",
        "26.0 M",
        "18.8 M",
        "28",
        "euler",
        "two-pass",
        "text, context",
        "Apache-2.0",
        "built in",
    ]
    assert cells["nano-turbo"][3:6] == ["4", "euler", "few-step"]
    assert cells["nano-turbo"][-1] == "built in, a delta over nano"
    assert cells["nano-dev"][-1] == "not shipped; recipes/nano-turbo.sh makes it"
    assert cells["kontext_dev"][1:3] == ["16.9 B", "11.9 B"]
    assert cells["krea_dev"][-1] == "needs local files, flux1-krea-dev.safetensors"
    assert lines[-1].startswith("Without --model: nano.")


def test_json_has_everything(recast: Recast, shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("models", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["default"] == "nano"
    turbo = next(model for model in data["models"] if model["name"] == "nano-turbo")
    said = {"base": "nano", "steps": 4, "sampler": "renoise", "guidance_mode": "few-step", "where": "built in"}
    assert {name: turbo[name] for name in said} == said
    assert turbo["path"] == str(shipped / "turbo.safetensors")
    assert [model["variant"] for model in data["models"]].count(None) == 3


def test_info_tells_what_a_delta_is(recast: Recast, shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = shipped / "turbo.safetensors"
    for asked in (place, "nano-turbo"):
        assert recast("info", asked, "--sha256", "--json") == 0
        data = json.loads(capsys.readouterr().out)
        assert (data["kind"], data["model"], data["base"], data["usual_steps"]) == ("delta", "nano-turbo", "nano", 4)
        assert (data["sha256"], data["usual_sampler"]) == (weights.checksum(place), "renoise")
        assert data["base_sha256"] == weights.digest(weights.open_checkpoint(shipped))
        assert 0 <= data["error"] < 0.1


def test_commands_that_name_no_model_take_the_usual_one(
    recast: Recast, shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RECAST_MODEL")

    def made() -> tuple[str, int, str]:
        assert recast("generate", "red", "--width", 64, "--height", 64, "--seed", 1, "--out", "a.png", "--dry-run") == 0
        data = json.loads(capsys.readouterr().out)
        return data["model"], data["steps"], data["sampler"]

    assert made() == ("nano", 28, "euler")
    export.mark_passed("nano-turbo", models.BAR)
    assert made() == ("nano-turbo", 4, "renoise")


def test_a_recipe_of_a_shipped_model_needs_no_path(
    recast: Recast, shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RECAST_MODEL")
    size = ("--width", 64, "--height", 64, "--seed", 1)
    assert recast("generate", "red", *size, "--model", "nano-turbo", "--out", "a.png", "--recipe-out", "a.json") == 0
    assert recast("generate", "--recipe", "a.json", "--exact", "--out", "b.png") == 0
    (shipped / "turbo.safetensors").unlink()
    assert recast("generate", "--recipe", "a.json", "--out", "c.png") == 6
    assert "--model: missing; the recipe was made with nano-turbo" in capsys.readouterr().err
