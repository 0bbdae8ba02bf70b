"""The table: means by category with intervals over bases, failures as zeros, and nothing that was not asked."""

import numpy as np
import pytest

from recast.errors import InputError
from recast.quality import run as running
from recast.quality import table
from recast.quality.store import Score, Store
from recast.quality.systems.contract import Failed
from recast.quality.systems.controls import controls
from tests.quality.small import Answers, small_suite

FAST = 200


@pytest.fixture
def suite(tmp_path):
    return small_suite(tmp_path / "suite", items=8)


def run_of(suite, folder, systems, score):
    """A run whose scores `score(name, result)` gives as {metric: value}."""
    store = Store(folder)
    store.begin(running.about(suite, "recast evaluate"))
    for system in systems:
        name = running.slug(system.name)
        for step in running.make(suite, system, store):
            result = step.result
            for metric, value in score(system.name, result).items():
                store.add(
                    name,
                    Score(
                        item=result.item,
                        turn=result.turn,
                        metric=metric,
                        value=value,
                        check="test",
                        sha256=result.sha256,
                    ),
                )
    return store


def half_right(name, result):
    if result.item == "chain-0":
        return {"quality": 1 - result.turn / 2, "instructed": 1.0, "held": 1.0, "kept": 1 - result.turn / 2}
    number = int(result.item[-1])
    return {"instruction": float(result.status == "ok" and number < 4), **({"precision": 0.5} if number == 0 else {})}


def cell(found, system, column, category="all"):
    chosen = [c for c in found["cells"] if (c["system"], c["column"], c["category"]) == (system, column, category)]
    assert len(chosen) == 1
    return chosen[0]


def test_means_are_over_categories_and_intervals_hold_them(suite, tmp_path):
    run_of(suite, tmp_path / "run", [Answers(suite)], half_right)
    found, _ = table.results([tmp_path / "run"], resamples=FAST)
    whole = cell(found, "answers", "instruction")
    assert whole["value"] == 0.5
    assert whole["low"] < 0.5 < whole["high"]
    assert (whole["n"], whole["clusters"], whole["failures"], whole["coverage"]) == (8, 4, 0, 1.0)
    assert cell(found, "answers", "instruction", "local")["n"] == 4
    assert cell(found, "answers", "precision")["n"] == 1


def test_a_chain_counts_in_its_own_column_and_nowhere_else(suite, tmp_path):
    run_of(suite, tmp_path / "run", [Answers(suite)], half_right)
    found, _ = table.results([tmp_path / "run"], resamples=FAST)
    assert cell(found, "answers", "stability")["value"] == pytest.approx(0.5)
    (chain,) = found["chains"]
    assert (chain["length"], chain["curves"]["quality"], chain["half_life"]) == (3, [1.0, 0.5, 0.0], 2)
    assert len(chain["example"]["pictures"]) == 3
    assert not [c for c in found["cells"] if c["column"] == "instruction" and c["category"] == "chain"]


def test_a_failure_counts_zero_and_is_listed_with_its_reason(suite, tmp_path):
    system = Answers(suite, {("edit-0", 0): Failed("blocked", "a policy")})
    run_of(suite, tmp_path / "run", [system], half_right)
    found, _ = table.results([tmp_path / "run"], resamples=FAST)
    whole = cell(found, "answers", "instruction")
    assert (whole["value"], whole["failures"], whole["n"]) == (3 / 8, 1, 8)
    item = next(item for item in found["items"] if item["key"] == "edit-0")
    assert item["systems"]["answers"]["status"] == "blocked"
    assert item["systems"]["answers"]["reason"] == "a policy"


def test_a_check_that_could_not_be_made_lowers_the_coverage_and_no_mean(suite, tmp_path):
    def some_unknown(name, result):
        return {"instruction": None if result.item in ("edit-0", "edit-1") else 1.0}

    run_of(suite, tmp_path / "run", [Answers(suite)], some_unknown)
    found, _ = table.results([tmp_path / "run"], resamples=FAST)
    whole = cell(found, "answers", "instruction")
    assert (whole["value"], whole["n"], whole["coverage"]) == (1.0, 6, 0.75)
    assert any("75%" in warning for warning in found["warnings"])


def test_two_systems_are_compared_on_the_same_items(suite, tmp_path):
    def better(name, result):
        return {"instruction": 1.0 if name == "good" or result.item < "edit-3" else 0.0}

    run_of(suite, tmp_path / "a", [Answers(suite, name="good")], better)
    run_of(suite, tmp_path / "b", [Answers(suite, name="poor")], better)
    found, _ = table.results([tmp_path / "a", tmp_path / "b"], resamples=FAST)
    (row,) = (row for row in found["differences"] if row["column"] == "instruction")
    assert (row["a"], row["b"], row["difference"]) == ("good", "poor", 0.625)
    assert row["low"] <= 0.625 <= row["high"]
    assert row["p"] <= row["p_holm"]


def test_runs_of_different_suites_and_names_given_twice_are_refused(suite, tmp_path):
    other = small_suite(tmp_path / "suite-2", items=2)
    run_of(suite, tmp_path / "a", [Answers(suite)], half_right)
    run_of(other, tmp_path / "b", [Answers(other, name="x")], half_right)
    with pytest.raises(InputError, match="runs of one suite"):
        table.results([tmp_path / "a", tmp_path / "b"], resamples=FAST)
    run_of(suite, tmp_path / "c", [Answers(suite)], half_right)
    with pytest.raises(InputError, match="another --name"):
        table.results([tmp_path / "a", tmp_path / "c"], resamples=FAST)


def test_controls_answer_as_their_name_says(suite):
    store = {control.name: control for control in controls(suite, lambda picture: picture // 2, "halving")}
    assert list(store) == ["no-op", "oracle", "floor of halving", "stranger"]
    item = suite.items[0]
    answer = Answers(suite)
    system = Answers(suite)
    list(running.make(suite.only(limit=1), system, _Nowhere()))
    request = system.asked[0]
    assert np.array_equal(store["no-op"].make(request).pixels, item.sources()[0])
    assert np.array_equal(store["oracle"].make(request).pixels, answer.make(request).pixels)
    assert np.array_equal(store["floor of halving"].make(request).pixels, answer.make(request).pixels // 2)
    stranger = store["stranger"].make(request).pixels
    bases = {other.base for other in suite.items for path in other.contexts if np.array_equal(_read(path), stranger)}
    bases |= {other.base for other in suite.items if np.array_equal(_read(other.turns[0].answer), stranger)}
    assert bases
    assert item.base not in bases


def test_a_suite_without_answers_has_no_oracle(suite):
    from dataclasses import replace

    open_ended = replace(
        suite, items=tuple(replace(item, turns=(replace(item.turns[0], answer=None),)) for item in suite.items)
    )
    assert [control.name for control in controls(open_ended)] == ["no-op", "stranger"]


def test_unequal_intervals_of_a_median_are_ranks_of_the_times():
    assert table._median_interval([1.0] * 5) == (None, None)
    low, high = table._median_interval(sorted(range(100)))
    assert 38 <= low <= 41
    assert 58 <= high <= 61


def _read(path):
    from recast.quality.suites import pixels

    return pixels(path)


class _Nowhere:
    """A store that keeps nothing."""

    def enter(self, name, about): ...

    def repair(self, name): ...

    def results(self, name):
        return {}

    def picture(self, result):
        return None

    def add(self, name, line): ...

    def keep(self, pixels):
        return "pictures/x.png", "x"
