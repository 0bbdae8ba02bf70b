"""The shell scripts of recipes/, with a stand-in for Python: what they stop at, and in which order they ask."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file

from recast.cli.main import parser_of
from recast.cli.train import resolved
from recast.train.course import Place, of_preset, report
from recast.train.export import t5_config
from recast.train.hardware import device
from recast.train.presets import next_nano
from recast.train.text_stage import nano_encoder

RECIPES = Path(__file__).parents[2] / "recipes"
PYTHON = """#!/bin/sh
echo "$*" >> "$0.log"
for word; do
  case $flag in
    --out) out=$word ;; --init) init=$word ;; --ae) ae=$word ;; --text) text=$(echo "$word"/text_encoder/model*) ;;
  esac
  flag=$word
done
case "$*" in
  *"train export"*) mkdir -p "$out"; cp "$ae" "$out/ae.safetensors"; touch "$out/config.json" ;;
  *"recast train"*)
    [ ! -d "$init" ] || init=$init/$4.safetensors
    [ ! -d "$ae" ] || ae=$ae/ae.safetensors
    for file in $init $ae $text; do [ -f "$file" ] || exit 1; done
    mkdir -p "$out/weights/text_encoder"
    for made in ae.safetensors flow.safetensors text_encoder/model; do
      echo "${init:+$(cat "$init") }${out#"${0%/*}"/}" > "$out/weights/$made"
    done ;;
  *"distill guidance --preset kontext_dev"*--dry-run*) exit 2 ;;
  *--delta*"ladd --base"*) exit 6 ;;
  *"distill export --run"*) while [ "$1" != --out ]; do shift; done; mkdir -p "$2"; echo whole > "$2/flow" ;;
esac
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Notes what it is asked beside itself, in .log; cannot plan guidance of kontext_dev, nor write ladd as a delta.

    What it trains says which runs it came from, by way of --init; it fails where what it starts from is not there.
    """
    path = tmp_path / "python"
    path.write_text(PYTHON)
    path.chmod(0o755)
    return path


def asked(python: Path) -> list[str]:
    return Path(f"{python}.log").read_text().splitlines()


def carry_out(recipe: str, python: Path, *options: str | Path, reads: bool = False) -> subprocess.CompletedProcess[str]:
    """The recipe by this Python. reads: the text encoder comes with the recipe; else it is trained."""
    out = () if "--out" in options else ("--out", python.parent / "out")
    text = ("--text-minutes", "1") if recipe == "nano.sh" and not reads else ()
    argv = [RECIPES / recipe, "--minutes", "1", *text, *out, *options]
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


def test_a_run_that_began_from_another_can_be_begun_from(python: Path):
    """Three in a row: autoencoder, finish, flow and text encoder, each with all that the one before has learned."""
    place = python.parent
    for name, start in (("r1", ()), ("r2", ("--init", place / "r1")), ("r3", ("--init", place / "r2"))):
        done = carry_out("nano.sh", python, "--out", place / name, *start)
        assert done.returncode == 0, done.stderr
    assert (place / "r3/flow/weights/flow.safetensors").read_text() == "r1/flow r2/flow r3/flow\n"
    assert (place / "r3/finish/weights/ae.safetensors").read_text() == "r1/ae r1/finish r2/finish r3/finish\n"
    assert (place / "r3/text/weights/text_encoder/model").read_text() == "r1/flow r2/flow\n"
    assert [line.split()[3] for line in asked(python)[5:]] == ["flow", "ae", "export"] * 2
    assert all(("run.flat_over=" in line) == (" train flow " in line) for line in asked(python))
    before = len(asked(python))
    for lost in ("r1", "r2", "r3/finish"):
        (place / lost).rename(place / f"{lost}.lost")
    assert carry_out("nano.sh", python, "--out", place / "r3", "--stage", "finish").returncode == 0
    assert len(asked(python)) == before + 1


def test_a_flow_of_the_usual_length_can_be_flat_before_its_rates_decay(python: Path):
    carry_out("nano.sh", python, "--minutes", "22")
    (line,) = (line for line in asked(python) if " train flow " in line)
    preset = resolved(parser_of("train").parse_args(line.split()[3:]))
    (plan,) = json.loads(report(of_preset(preset), [Place(device("H200"))], is_json=True))
    needed = (preset.run.flat_over + 1) * preset.run.validate_every_steps * plan["chosen"]["seconds"]
    full = 60 * preset.run.minutes * preset.optimiser.full_until
    assert 0.9 * full < needed < full  # docs/train.md tells this length


def test_a_run_can_be_begun_from_the_pieces_of_another(python: Path):
    place = python.parent
    assert carry_out("nano.sh", python, "--out", place / "r1", "--pieces", place / "pieces").returncode == 0
    (place / "there").mkdir()
    for each in ("flow", "model"):
        parts = b"".join(part.read_bytes() for part in sorted((place / "pieces").glob(f"{each}.tar.*")))
        subprocess.run(["tar", "x", "-C", place / "there"], input=parts, check=True)
    done = carry_out("nano.sh", python, "--out", place / "r2", "--init", place / "there")
    assert done.returncode == 0, done.stderr
    assert (place / "r2/finish/weights/ae.safetensors").read_text() == "r1/ae r1/finish r2/finish\n"
    assert sorted(each.name for each in (place / "r2/ae/weights").iterdir()) == ["ae.safetensors", "config.json"]


def test_a_run_is_begun_from_one_whose_flow_is_over(python: Path):
    place = python.parent
    for stage in ("text", "ae"):
        assert carry_out("nano.sh", python, "--out", place / "r1", "--stage", stage).returncode == 0
    before = asked(python)
    done = carry_out("nano.sh", python, "--out", place / "r2", "--init", place / "r1")
    assert done.returncode == 2
    assert done.stderr.endswith(
        "no flow/weights/text_encoder in it; a run whose ae and flow are over accepted; end them first\n"
    )
    assert len(done.stderr.splitlines()) == 1
    assert asked(python) == before
    assert not (place / "r2").exists()
    assert carry_out("nano.sh", python, "--out", place / "r1", "--init", place / "r1").returncode == 2


def test_a_text_encoder_trained_elsewhere_takes_the_place_of_its_stage(python: Path):
    place = python.parent
    assert carry_out("nano.sh", python, "--out", place / "elsewhere", "--stage", "text").returncode == 0
    assert (
        carry_out("nano.sh", python, "--text-from", place / "elsewhere/text").returncode == 2
    )  # the run, not its weights
    assert carry_out("nano.sh", python, "--text-from", place / "elsewhere/text/weights").returncode == 0
    assert [line.split()[3] for line in asked(python)[1:]] == ["ae", "flow", "ae", "export"]
    assert (place / "out/text/weights/text_encoder/model").read_text() == "elsewhere/text\n"
    assert f"--text {place}/out/text/weights" in asked(python)[2]


def test_the_text_encoder_that_comes_with_the_recipe_is_taken_where_none_is_asked_for(python: Path):
    done = carry_out("nano.sh", python, reads=True)
    assert done.returncode == 0, done.stderr
    assert [line.split()[3] for line in asked(python)] == ["ae", "flow", "ae", "export"]
    copy = python.parent / "out/text/weights/text_encoder/model.safetensors"
    assert copy.read_bytes() == (RECIPES / "nano-text/text_encoder/model.safetensors").read_bytes()
    assert t5_config(load_file(copy)) == nano_encoder()
    assert nano_encoder().d_model == next_nano().flow.context_in_dim


def test_the_text_encoder_that_comes_with_the_recipe_takes_no_place_that_is_taken(python: Path):
    place = python.parent / "out"
    assert carry_out("nano.sh", python, "--stage", "ae", reads=True).returncode == 0
    assert not (place / "text").exists()
    (place / "text/checkpoints").mkdir(parents=True)  # one that was stopped
    assert carry_out("nano.sh", python, reads=True).returncode == 0
    assert "train text" in asked(python)[1]
    (place / "text/checkpoints").rmdir()
    done = carry_out("nano.sh", python, "--stage", "text", "--text-minutes", "60", reads=True)
    assert done.returncode == 2
    assert "text/weights came from elsewhere" in done.stderr


def test_a_model_is_scored_where_it_is_asked_for(python: Path):
    assert carry_out("nano.sh", python, "--out", python.parent / "r1").returncode == 0
    assert not any("evaluate" in line for line in asked(python))
    before = len(asked(python))
    assert carry_out("nano.sh", python, "--out", python.parent / "r1", "--stage", "score").returncode == 0
    assert [line.split()[2:4] for line in asked(python)[before:]] == [
        ["evaluate", "worldbench-1"], ["report", f"{python.parent}/r1/score/worldbench-1"],
        ["evaluate", "photo-edits-1"], ["report", f"{python.parent}/r1/score/photo-edits-1"],
    ]  # fmt: skip
    for line in asked(python):
        _, _, verb, *options = line.split()
        parser_of(verb).parse_args(options)  # refuses what the verb does not know


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_an_option_is_no_folder_for_the_smallest_recipe(python: Path, words: list[str]):
    env = {**os.environ, "PYTHON": str(python)}
    done = subprocess.run([str(RECIPES / "tiny.sh"), *words], env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "a folder accepted first, such as runs/tiny" in done.stderr
    assert not Path(f"{python}.log").exists()


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        ("--seeds 1 --toy --steps 3", "--ae nano --text nano --out runs/toy-ablations --seeds 1 --steps 3"),
        ("--steps 5 --base r --count 2", "--ae r/ae/weights --text r/text/weights --steps 5 --count 2"),
        ("--minutes 5", "--ae runs/nano/ae/weights --text runs/nano/text/weights --minutes 5"),
    ],
)
def test_ablations_take_their_own_words_wherever_they_stand(python: Path, words: str, passed: str):
    env = {**os.environ, "PYTHON": str(python)}
    subprocess.run([str(RECIPES / "ablations.sh"), *words.split()], env=env, check=True)
    (line,) = asked(python)
    assert line.startswith("benchmarks/ablations.py ")
    assert line.endswith(passed)
    assert ("--preset tiny-edit" in line) == ("--toy" in words)


def test_a_base_of_ablations_needs_its_folder(python: Path):
    done = carry_out("ablations.sh", python, "--minutes", "5", "--base", reads=True)
    assert done.returncode == 2
    assert "--base: a folder must follow" in done.stderr
