"""The table of ablations: runs compared edit by edit, and what the rule of the default makes of it."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recast.errors import TrainingError
from recast.quality.statistics import Difference

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


def test_runs_are_compared_over_the_same_edits(ablations: ModuleType):
    """Nine edits of ten go alike in both, as they do not between two runs on different edits."""
    full = ablations.Judged({"steps": 5}, {f"edit {n}": float(n % 2) for n in range(100)})
    worse = ablations.Judged({"steps": 4}, {**full.right, **{f"edit {n}": 0.0 for n in range(10)}})
    first, second = ablations.compared({"as it is": full, "cached context": worse})
    assert (first["edits as asked %"], second["edits as asked %"]) == ("50.0", "45.0")
    assert first["minus as it is"] == ""
    middle, low, high = (float(part.strip("[],")) for part in second["minus as it is"].split())
    assert low < middle == -5.0 < high
    assert high - low < 11  # of independent samples it would be 28
    assert (first["steps"], second["steps"], second["edits"]) == (5, 4, 100)
    other = ablations.Judged({}, {"another": 1.0})
    with pytest.raises(TrainingError, match="held-out edits: 101 were judged in one run alone"):
        ablations.apart(other, full)


def test_every_variant_is_trained_judged_and_recorded(
    ablations: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    trained: list[str] = []

    def judged(made: Any, args: Any, place: Path) -> Any:
        assert args.count >= 1000
        share = 0.8 if made.model.flow.context_attention == "cached" else 0.9
        right = {f"edit {n}": float(n < 50 * share) for n in range(50)}
        newest = place / "checkpoints" / "step-000007"
        newest.mkdir(parents=True)
        (newest / "run.json").write_text(json.dumps({"progress": {"step": 7, "samples": 70}}))
        monkeypatch.setattr(ablations.state, "latest", lambda place: newest)
        return ablations.Judged(ablations._seen(place), right)

    monkeypatch.setattr(ablations, "_train", lambda args, place, settings: trained.append(place.name))
    monkeypatch.setattr(ablations, "judged", judged)
    monkeypatch.setattr(ablations.record, "RESULTS", tmp_path)
    ablations.main(["--minutes", "1", "--ae", "ae", "--out", str(tmp_path / "runs")])
    assert trained == [name.replace(" ", "-") for name in ablations.VARIANTS]
    assert "context_attention: full. Cached less full: -10.0 [" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "ablations.jsonl").read_text().splitlines()]
    assert [row["variant"] for row in rows] == list(ablations.VARIANTS)
    assert all((row["steps"], row["samples"]) == (7, 70) for row in rows)
    assert ["verdict" in row for row in rows] == [row["variant"] == "cached context" for row in rows]
