"""The shell scripts of recipes/, with a stand-in for Python: what they stop at, and in which order they ask."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
PYTHON = """#!/bin/sh
echo "$*" >> "$0.log"
case "$*" in
  *"distill guidance --preset kontext_dev"*--dry-run*) exit 2 ;;
  *--delta*"ladd --base"*) exit 6 ;;
  *"distill export --run"*) while [ "$1" != --out ]; do shift; done; mkdir -p "$2"; echo whole > "$2/flow" ;;
esac
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Notes what it is asked beside itself, in .log; cannot plan guidance of kontext_dev, nor write ladd as a delta."""
    path = tmp_path / "python"
    path.write_text(PYTHON)
    path.chmod(0o755)
    return path


def asked(python: Path) -> list[str]:
    return Path(f"{python}.log").read_text().splitlines()


def carry_out(recipe: str, python: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [RECIPES / recipe, "--minutes", "1", "--out", python.parent / "out", *options]
    return subprocess.run(
        [str(word) for word in argv], env={**os.environ, "PYTHON": str(python)}, capture_output=True, text=True
    )


@pytest.mark.parametrize(("recipe", "stage"), [("nano.sh", "flow"), ("nano-turbo.sh", "ladd")])
def test_what_cannot_be_packed_ends_the_recipe_and_leaves_earlier_pieces(recipe: str, stage: str, python: Path):
    pieces, weights = python.parent / "pieces", python.parent / "out" / stage / "weights"
    assert carry_out(recipe, python, "--stage", stage, "--pieces", pieces).returncode != 0  # there are no weights
    weights.mkdir(parents=True)
    (weights / "flow").write_bytes(bytes(17 << 20))
    assert carry_out(recipe, python, "--stage", stage, "--pieces", pieces).returncode == 0
    assert sorted(each.name for each in pieces.iterdir()) == [f"{stage}.tar.aa", f"{stage}.tar.ab"]
    (weights / "flow").unlink()
    weights.rmdir()
    assert carry_out(recipe, python, "--stage", stage, "--pieces", pieces).returncode != 0
    assert {each.name for each in pieces.iterdir()} >= {f"{stage}.tar.aa", f"{stage}.tar.ab"}


def test_settings_that_no_stage_could_work_with_are_refused_before_the_first(python: Path):
    done = carry_out("nano-turbo.sh", python, "--preset", "kontext_dev", "--model", "kontext")
    assert done.returncode == 2
    assert all("--dry-run" in line for line in asked(python))
    assert "distill guidance" in asked(python)[-1]


def test_a_student_that_no_delta_holds_is_still_a_model(python: Path):
    done = carry_out("nano-turbo.sh", python, "--stage", "model", "--rank", "8", "--pieces", python.parent / "pieces")
    assert done.returncode == 0
    assert "turbo.safetensors, for the reason above" in done.stderr
    assert (python.parent / "out" / "model" / "flow").read_text() == "whole\n"
    assert "--delta --rank 8" in asked(python)[-1]
    assert [each.name for each in (python.parent / "pieces").iterdir()] == ["model.tar.aa"]
