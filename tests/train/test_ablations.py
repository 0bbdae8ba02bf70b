"""The table of ablations: runs compared edit by edit or seed by seed, and what the rule of the default makes of it."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from recast.errors import TrainingError
from recast.quality.statistics import Difference
from recast.train.data.sheets import SheetSource, in_colours
from recast.train.data.world import WorldSource
from recast.train.overrides import override
from recast.train.presets import tiny_edit
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
        ((-0.01, None, None), "cached", False),
    ],
)
def test_cached_is_chosen_where_it_costs_two_points_at_most(
    ablations: ModuleType, difference: tuple[Any, ...], name: str, is_sure: bool
):
    said = ablations.chosen(Difference(*difference, p=0.5), 1000)
    assert said.startswith(f"context_attention: {name}. ")
    assert ("the interval says so too" in said) == is_sure


def test_runs_of_one_seed_are_compared_over_the_same_edits(ablations: ModuleType):
    """Nine edits of ten go alike in both, as they do not between two runs on different edits."""
    figures = {"steps": 5, "edit loss": 0.5, "kept, dB": 20.0}
    full = ablations.Judged(figures, {f"edit {n}": float(n % 2) for n in range(100)})
    worse = ablations.Judged({**figures, "steps": 4}, {**full.right, **{f"edit {n}": 0.0 for n in range(10)}})
    first, second = ablations.compared({"as it is": [full], "cached context": [worse]})
    assert (first["edits as asked %"], second["edits as asked %"]) == ("50.0", "45.0")
    assert first["minus as it is"] == ""
    middle, low, high = (float(part.strip("[],")) for part in second["minus as it is"].split())
    assert low < middle == -5.0 < high
    assert high - low < 11  # of independent samples it would be 28
    assert (first["steps"], second["steps"], second["edits"]) == (5, 4, 100)
    assert second["edit loss, minus as it is"] == "+0.000"  # of one run nobody knows how far another would be
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
    assert (first["edits as asked %"], second["edits as asked %"]) == ("50.0", "60.0")
    assert (first["edit loss"], second["edit loss"], second["kept, dB"]) == (0.5, 0.4, 25.0)
    middle, low, high = (float(part.strip("[],")) for part in second["minus as it is"].split())
    assert (middle, low < 7, high > 13) == (10, True, True)  # of 500 edits, whatever their run, it would be 7.4 to 12.6
    assert high - low < 15  # of runs that are not of the same seed it would be more than 50
    middle, low, high = (float(part.strip("[],")) for part in second["edit loss, minus as it is"].split())
    assert -0.18 < low < middle == -0.1 < high < -0.06
    assert second["kept, dB, minus as it is"] == "+0.000 [+0.000, +0.000]"


@pytest.mark.parametrize("seeds", ["1,1", "a", "-1", "0,"])
def test_seeds_are_numbers_each_once(ablations: ModuleType, seeds: str, capsys: pytest.CaptureFixture[str]):
    """A run counted twice would look like two that agree."""
    with pytest.raises(SystemExit):
        ablations.main(["--minutes", "1", "--ae", "ae", f"--seeds={seeds}"])
    assert f"--seeds: {seeds!r}: whole numbers from 0 accepted, each once" in capsys.readouterr().err


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
    assert trained == [name.replace(" ", "-") for name in ablations.VARIANTS] * len(seeds)
    assert ("context_attention: full. Cached less full: -10.0 [" in capsys.readouterr().out) == decides
    rows = [json.loads(line) for line in (tmp_path / "ablations.jsonl").read_text().splitlines()]
    assert [row["variant"] for row in rows] == list(ablations.VARIANTS)
    assert all(
        (row["steps"], row["samples"], row["seeds"], len(row["runs"])) == (7, 70, seeds, len(seeds)) for row in rows
    )
    assert all(row["set"] == ["run.save_every_steps=5"] for row in rows)
    assert ["verdict" in row for row in rows] == [decides and row["variant"] == "cached context" for row in rows]


def test_the_toy_trains_on_captions_unless_it_is_to_edit_alone(ablations: ModuleType):
    shares = {}
    for name, words in ablations.VARIANTS.items():
        training = override(tiny_edit(), [*ablations.BASES["tiny-edit"].settings, *words]).training
        shares[name] = training.edit, training.text_to_image
    assert shares.pop("editing alone") == (1, 0)
    assert set(shares.values()) == {(1, 0.3)}
