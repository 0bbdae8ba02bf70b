"""The table of ablations: runs compared edit by edit or seed by seed, and what the rule of the default makes of it."""

import argparse
import importlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recast.errors import TrainingError
from recast.quality.statistics import Interval
from recast.train.data.example import Batch
from recast.train.data.sheets import SheetSource, in_colours
from recast.train.data.world import WorldSource
from recast.train.examples import Examples
from recast.train.flow_stage import FlowStage, picture_of
from recast.train.overrides import override
from recast.train.presets import Preset, tiny_edit
from recast.train.uses import TARGET, Use, fixed
from recast.world.scene import from_json

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def ablations(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, its neighbours found as when it is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("ablations")


@pytest.mark.parametrize(
    ("difference", "name", "is_sure"),
    [
        ((-0.01, -0.019, 0.0), "cached", True),
        ((-0.02, -0.02, -0.02), "cached", True),  # two points are allowed
        ((-0.01, -0.03, 0.01), "cached", False),
        ((-0.03, -0.05, -0.01), "full", False),
        ((-0.05, -0.07, -0.03), "full", True),
    ],
)
def test_cached_is_chosen_where_it_costs_two_points_at_most(
    ablations: ModuleType, difference: tuple[Any, ...], name: str, is_sure: bool
):
    said = ablations.chosen(Interval(*difference), seeds=1, edits=1000)
    assert said.startswith(f"context_attention: {name}. ")
    assert ("the interval says so too" in said) == is_sure
    assert ("the interval holds the other answer too: judge more edits" in said) != is_sure
    assert " over 1000 edits, -2 allowed" in said


def test_of_several_seeds_more_seeds_would_decide(ablations: ModuleType):
    """More edits of the same runs would not."""
    said = ablations.chosen(Interval(-0.01, -0.03, 0.01), seeds=6, edits=1100)
    assert " -1.0 [-3.0, +1.0] over 6 seeds of 1100 edits, " in said
    assert said.endswith("the interval holds the other answer too: train more seeds")


def test_fewer_than_five_seeds_decide_nothing(ablations: ModuleType):
    """However alike they are: of two or three, every second to fourth interval misses the truth."""
    for count in (4, 5):
        runs = {
            name: [
                ablations.Judged(
                    {"edit loss": loss + seed / 1000},
                    {f"edit {n}": float(n < 90 - seed - 10 * loss) for n in range(100)},
                )
                for seed in range(count)
            ]
            for name, loss in (("as it is", 1.0), ("cached context", 2.0))
        }
        difference = ablations.apart(runs["cached context"], runs["as it is"])
        said = ablations.chosen(difference, seeds=count, edits=100)
        assert said.startswith("context_attention: full. ")
        row = ablations.shown(ablations.compared(runs)[1])
        assert (
            ("[" in row["edits as asked %, minus as it is"]) == ("[" in row["edit loss, minus as it is"]) == (count > 4)
        )
        assert said.endswith("says so too" if count > 4 else "; no interval of so few: train more seeds, 5 at least")


def test_runs_of_one_seed_are_compared_over_the_same_edits(ablations: ModuleType):
    """Nine edits of ten go alike in both, as they do not between two runs on different edits."""
    figures = {"steps": 5, "edit loss": 0.5, "kept, dB": 20.0}
    full = ablations.Judged(figures, {f"edit {n}": float(n % 2) for n in range(100)})
    worse = ablations.Judged({**figures, "steps": 4}, {**full.right, **{f"edit {n}": 0.0 for n in range(10)}})
    first, second = ablations.compared({"as it is": [full], "cached context": [worse]})
    assert (first["edits as asked %"], second["edits as asked %"]) == (50, 45)
    assert first["edits as asked %, minus as it is"] is None
    middle, low, high = second["edits as asked %, minus as it is"]
    assert low < middle == -5.0 < high
    assert high - low < 11  # of independent samples it would be 28
    assert (first["steps"], second["steps"], second["edits"]) == (5, 4, 100)
    assert second["edit loss, minus as it is"] == (0, None, None)  # of one run nobody knows how far another would be
    other = ablations.Judged({}, {"another": 1.0})
    with pytest.raises(TrainingError, match="held-out edits: 101 were judged in one run alone"):
        ablations.apart([other], [full])


def test_runs_of_several_seeds_are_compared_seed_by_seed(ablations: ModuleType):
    """Seeds differ by far more than variants do; a hundred edits of one run are not a hundred runs."""

    def runs(gains: list[float]) -> list[Any]:
        starts = (0.2, 0.4, 0.5, 0.6, 0.8)
        return [
            ablations.Judged(
                {"edit loss": start - gain, "kept, dB": 20 + 10 * start},
                {f"{start} {n}": float(n < round(100 * (start + gain))) for n in range(100)},
            )
            for start, gain in zip(starts, gains, strict=True)
        ]

    found = {"as it is": runs([0.0] * 5), "cached context": runs([0.08, 0.1, 0.12, 0.06, 0.14])}
    first, second = ablations.compared(found)
    assert (first["edits as asked %"], second["edits as asked %"]) == (50, 60)
    assert (first["edit loss"], second["edit loss"], second["kept, dB"]) == (0.5, 0.4, 25.0)
    middle, low, high = second["edits as asked %, minus as it is"]
    assert (middle, low < 7, high > 13) == (10, True, True)  # of 500 edits, whatever their run, it would be 7.4 to 12.6
    assert high - low < 15  # of runs that are not of the same seed it would be more than 50
    middle, low, high = second["edit loss, minus as it is"]
    assert -0.18 < low < middle == -0.1 < high < -0.06
    assert second["kept, dB, minus as it is"] == (0, 0, 0)
    assert ablations.shown(first)["edit loss, minus as it is"] == ""
    said = ablations.shown(second | {"edit loss, minus as it is": Interval(-0.1, -0.12, 0.0125)})
    assert said["edit loss, minus as it is"] == "-0.100 [-0.120, +0.013]"
    assert said["edits as asked %, minus as it is"].startswith("+10.0 [+")


@pytest.mark.parametrize("seeds", ["1,1", "1,01", "1,\u0661", "a", "-1", "0,"])
def test_seeds_are_numbers_each_once(ablations: ModuleType, seeds: str, capsys: pytest.CaptureFixture[str]):
    """A run counted twice would look like two that agree."""
    with pytest.raises(SystemExit):
        ablations.main(["--minutes", "1", "--ae", "ae", f"--seeds={seeds}"])
    assert f"--seeds: {seeds!r}: whole numbers from 0 accepted, each once" in capsys.readouterr().err


def test_no_edits_are_not_as_many_as_usual(ablations: ModuleType, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        ablations.main(["--minutes", "1", "--ae", "ae", "--count", "0"])
    assert "--count: 0 came; 1 or more held-out edits accepted" in capsys.readouterr().err


@pytest.mark.parametrize("budget", [[], ["--minutes", "1", "--steps", "2"]])
def test_a_run_has_one_budget(ablations: ModuleType, budget: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        ablations.main([*budget, "--ae", "ae"])
    assert "--minutes, --steps: one of them accepted" in capsys.readouterr().err


def test_a_sheet_is_as_asked_if_it_shows_the_colour_that_was_asked_for(ablations: ModuleType):
    colours = ("red", "green", "blue")
    for pair in map(SheetSource(things=("cup",), colours=colours, size=(64, 64)).example, range(3)):
        words, right = {"base": pair.base, "colours": colours}, []
        for picture in in_colours(from_json(pair.truth["scenes"][0]), colours, (64, 64)).values():
            right.append(ablations._is_as_asked(picture, pair.truth, **words))
            assert right[-1] == np.array_equal(picture, pair.target)
        assert sorted(right) == [False, False, True]


def test_an_edit_of_the_world_is_read_against_the_picture_that_it_changes(ablations: ModuleType):
    pair = WorldSource(sizes=((256, 256),), categories={"local": 1}, kinds={"thing colour": 1}).example(0)
    assert ablations._is_as_asked(pair.target, pair.truth, pair.base, ())
    assert not ablations._is_as_asked(pair.contexts[0], pair.truth, pair.base, ())


class Answering(FlowStage):
    """Answers with the picture of a slot. Its sheets have two contexts each; the second is changed."""

    def __init__(self, made: Preset, slot: int):
        (batch,) = (examples := Examples(made.data, made.model)).batches(examples.held_out())
        other = torch.zeros_like(batch.target)
        truths = [truth | {"scenes": [truth["scenes"][1], *truth["scenes"]]} for truth in batch.truths]
        batch = replace(batch, contexts=(other, *batch.contexts), bases=(1,) * len(batch.ids), truths=truths)
        captions = tuple((None, *captions) for captions in batch.captions)
        self.held_out = [replace(batch, captions=captions)]
        self.flow, self.training, self.slot = torch.nn.Identity(), made.training, slot  # type: ignore[assignment]
        self.asked: list[int] = []

    def validate(self) -> dict[str, float]:
        kinds = {use.kind for batch in self.held_out for use in fixed(batch, self.training)}
        return {"inside": 0.3, "outside": 0.2} | {f"{kind}/loss": 0.1 * len(kind) for kind in kinds}

    def answers(self, batch: Batch, uses: Sequence[Use]) -> list[tuple[Use, np.ndarray]]:
        self.asked.append(len(uses))
        return [(use, picture_of(batch, self.slot, use.example)) for use in uses if use.kind == "edit"]


@pytest.mark.parametrize(
    ("slot", "share", "kept"),
    [
        (TARGET, 1.0, 60.0),  # the true picture: all that is not to change is the source's, to the pixel
        (1, 0.0, 60.0),  # the source
        (0, None, None),  # another picture: black
    ],
)
def test_a_run_is_judged_by_its_pictures_of_held_out_edits(
    ablations: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slot: int,
    share: float | None,
    kept: float | None,
):
    """Of the source that is changed, where nothing is to; as text to image too, though it trained on edits alone."""
    found: list[Answering] = []

    def ready(made: Preset, starts: Any, *, ranks: Any) -> Any:
        found.append(Answering(made, slot))
        return SimpleNamespace(stage=found[0])

    monkeypatch.setattr(ablations.runs, "ready", ready)
    monkeypatch.setattr(ablations, "read_part", lambda place, part: {})
    monkeypatch.setattr(ablations, "_seen", lambda place: {"steps": 7})
    monkeypatch.setattr(ablations, "AT_ONCE", 4)
    made = override(tiny_edit(), ["training.keep=0.25"])
    judged = ablations.judged(made, argparse.Namespace(ae=str(tmp_path), text=str(tmp_path), count=6), tmp_path)
    assert found[0].asked == [4, 2]
    assert found[0].sampling.steps == 28
    assert len(judged.right) == 6
    assert share is None or set(judged.right.values()) == {share}
    figures = dict(judged.figures)
    found_kept = figures.pop("kept, dB")
    assert found_kept < 15 if kept is None else found_kept == kept
    assert figures == {
        "steps": 7, "edits %": 80, "edit loss": 0.4, "inside": 0.3, "outside": 0.2, "text to image loss": 1.3
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "seeds", "count", "decides"),
    [
        (["--minutes", "1"], [0], 1100, True),
        (["--preset", "tiny-edit", "--steps", "8", "--seeds", "3,5"], [3, 5], 128, False),
    ],
)
def test_every_variant_is_trained_judged_and_recorded(
    ablations: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], seeds: list[int], count: int, decides: bool,
):  # fmt: skip
    variants = ablations.BASES["nano-flow" if decides else "tiny-edit"].variants
    trained: list[str] = []

    def judged(made: Any, args: Any, place: Path) -> Any:
        assert args.count == count
        assert f"seed-{made.run.seed}" == f"seed-{made.data.seed}" == place.name
        share = 0.8 if made.model.flow.context_attention == "cached" else 0.9
        right = {f"edit {n}": float(n < 50 * share) for n in range(50)}
        newest = place / "checkpoints" / "step-000007"
        newest.mkdir(parents=True)
        (newest / "run.json").write_text(json.dumps({"progress": {"step": 7, "samples": 70}}))
        monkeypatch.setattr(ablations.state, "latest", lambda place: newest)
        return ablations.Judged(ablations._seen(place), right)

    monkeypatch.setattr(ablations, "_train", lambda args, place, settings: trained.append(place.parent.name))
    monkeypatch.setattr(ablations, "judged", judged)
    monkeypatch.setattr(ablations.record, "RESULTS", tmp_path)
    ablations.main([*words, "--ae", "ae", "--out", str(tmp_path / "runs"), "--set", "run.save_every_steps=5"])
    assert trained == [name.replace(",", "").replace(" ", "-") for name in variants] * len(seeds)
    assert ("context_attention: full. Cached less full: -10.0 [" in capsys.readouterr().out) == decides
    rows = [json.loads(line) for line in (tmp_path / "ablations.jsonl").read_text().splitlines()]
    assert [row["variant"] for row in rows] == list(variants)
    assert all(
        (row["steps"], row["samples"], row["seeds"], len(row["runs"])) == (7, 70, seeds, len(seeds)) for row in rows
    )
    assert all(row["set"] == ["run.save_every_steps=5"] for row in rows)
    assert {row["steps asked"] for row in rows} == {None if decides else 8}
    assert [row["edits as asked %"] for row in rows] == [80 if "cached" in name else 90 for name in variants]
    assert [row["runs"][0]["edits as asked %"] for row in rows] == [row["edits as asked %"] for row in rows]
    differences = [row["edits as asked %, minus as it is"] for row in rows]
    assert differences[0] is None
    assert all(len(each) == 3 for each in differences[1:])
    assert ["verdict" in row for row in rows] == [decides and row["variant"] == "cached context" for row in rows]


def test_rows_of_one_run_are_of_one_commit(
    ablations: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    """What the first of them adds to the tree is no change of the code."""
    record = ablations.record
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.jsonl").touch()
    for words in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm one"):
        subprocess.run(["git", "-C", str(tmp_path), *words.split()], check=True)
    monkeypatch.setattr(record, "RESULTS", results)
    record._commit.cache_clear()
    request.addfinalizer(record._commit.cache_clear)
    for number in range(2):
        record.append("a", {"number": number})
    first, second = (json.loads(line)["commit"] for line in (results / "a.jsonl").read_text().splitlines())
    assert first == second
    assert "dirty" not in first


def test_the_toy_trains_on_captions_unless_it_is_to_edit_alone(ablations: ModuleType):
    """And once in batches that hold as many edits as those of the others."""
    made = {
        name: override(tiny_edit(), [*ablations.BASES["tiny-edit"].settings, *words])
        for name, words in ablations.BASES["tiny-edit"].variants.items()
    }
    asked = {
        name: (each.training.edit, each.training.text_to_image, each.data.batch_size) for name, each in made.items()
    }
    assert asked.pop("editing alone") == (1, 0, 32)
    assert asked.pop("editing alone, as many edits") == (1, 0, round(32 / 1.3))
    assert set(asked.values()) == {(1, 0.3, 32)}
