"""Runs: nothing is asked twice, nothing is dropped, and an interruption costs at most what was in flight."""

import json

import numpy as np
import pytest

from recast.errors import InputError
from recast.quality import run as running
from recast.quality.run import make, slug
from recast.quality.store import Store
from recast.quality.systems.contract import Failed, Made
from tests.quality.small import Answers, small_suite


@pytest.fixture
def suite(tmp_path):
    return small_suite(tmp_path / "suite")


@pytest.fixture
def store(suite, tmp_path):
    store = Store(tmp_path / "run")
    store.begin(running.about(suite, "recast evaluate"))
    return store


def finish(suite, system, store, **options):
    return list(make(suite, system, store, **options))


def test_every_unit_is_asked_once_and_kept(suite, store):
    system = Answers(suite)
    steps = finish(suite, system, store)
    assert len(steps) == 7 == len(system.asked)
    assert steps[-1].done == steps[-1].of == 7
    kept = store.results("answers")
    assert all(result.status == "ok" for result in kept.values())
    for result in kept.values():
        answer = suite.by_key[result.item].turns[result.turn].answer
        assert result.picture == str(answer.relative_to(suite.root))  # named by its pixels, so by the same name


def test_a_run_that_goes_on_asks_only_for_what_is_missing(suite, store):
    system = Answers(suite)
    for done, _ in enumerate(make(suite, system, store), 1):
        if done == 3:
            break
    asked = len(system.asked)
    assert 3 <= asked < 7
    again = Answers(suite)
    finish(suite, again, store)
    assert len(again.asked) == 7 - asked
    assert len(store.results("answers")) == 7


def test_a_picture_that_was_lost_or_changed_is_made_anew(suite, store):
    finish(suite, Answers(suite), store)
    lost, changed = (store.results("answers")[f"edit-{n}", 0, "free"] for n in (0, 1))
    (store.folder / lost.picture).unlink()
    (store.folder / changed.picture).write_bytes(
        (store.folder / store.results("answers")["edit-2", 0, "free"].picture).read_bytes()
    )
    again = Answers(suite)
    finish(suite, again, store)
    assert {request.item for request in again.asked} == {"edit-0", "edit-1"}


def test_errors_are_asked_again_and_refusals_are_not(suite, store):
    failing = {
        ("edit-0", 0): Failed("error", "500"),
        ("edit-1", 0): Failed("blocked", "policy"),
        ("edit-2", 0): Failed("timeout", "60 s"),
    }
    finish(suite, Answers(suite, failing), store)
    kept = store.results("answers")
    assert [kept[f"edit-{n}", 0, "free"].status for n in range(4)] == ["error", "blocked", "timeout", "ok"]
    assert kept["edit-1", 0, "free"].reason == "policy"
    again = Answers(suite)
    finish(suite, again, store)
    assert {request.item for request in again.asked} == {"edit-0", "edit-2"}


def test_the_turns_after_a_failure_are_not_asked_and_say_why(suite, store):
    system = Answers(suite, {("chain-0", 1): Failed("error", "broken")})
    finish(suite, system, store)
    chain = [store.results("answers")["chain-0", turn, "free"] for turn in range(3)]
    assert [turn.status for turn in chain] == ["ok", "error", "upstream"]
    assert "turn 1" in chain[2].reason
    again = Answers(suite)
    finish(suite, again, store)
    assert [(request.item, request.turn) for request in again.asked] == [("chain-0", 1), ("chain-0", 2)]


def test_a_chain_receives_its_own_last_picture_and_a_forced_one_the_right_one(suite, store):
    class Shifts(Answers):
        def make(self, request):
            super().make(request)
            return Made(pixels=request.contexts[0] + 1, seconds=0.1)

    system = Shifts(suite)
    finish(suite, system, store, modes=("free", "forced"))
    first = suite.by_key["chain-0"].sources()[0]
    seen = {(r.turn, int((r.contexts[0].astype(int) - first).max())) for r in system.asked if r.item == "chain-0"}
    assert {(0, 0), (1, 1), (2, 2)} <= seen  # free: every turn sees one level more
    forced = [r for r in system.asked if r.item == "chain-0"][-1]
    assert np.array_equal(forced.contexts[0], Answers(suite).make(request_before(forced)).pixels)


def request_before(request):
    from dataclasses import replace

    return replace(request, turn=request.turn - 1)


def test_what_is_no_picture_is_a_failure_with_its_shape(suite, store):
    class Floats(Answers):
        def make(self, request):
            return Made(pixels=np.zeros((8, 8, 3)), seconds=0.1)

    finish(suite, Floats(suite), store)
    result = store.results("answers")["edit-0", 0, "free"]
    assert result.status == "bad_image"
    assert "float64" in result.reason


def test_a_fault_of_an_adapter_stops_the_run_and_keeps_what_was_made(suite, store):
    class Breaks(Answers):
        def make(self, request):
            if len(self.asked) == 2:
                raise ZeroDivisionError
            return super().make(request)

    with pytest.raises(ZeroDivisionError):
        finish(suite, Breaks(suite), store)
    assert len(store.results("answers")) == 2


def test_several_requests_in_flight_give_the_same_store(suite, store, tmp_path):
    one = Answers(suite)
    finish(suite, one, store)
    other = Store(tmp_path / "other")
    other.begin(running.about(suite, "recast evaluate"))
    many = Answers(suite)
    many.concurrency = 4
    finish(suite, many, other)
    pictures = lambda store: {unit: result.sha256 for unit, result in store.results("answers").items()}  # noqa: E731
    assert pictures(store) == pictures(other)


def test_a_torn_last_line_is_dropped_and_its_unit_made_anew(suite, store):
    finish(suite, Answers(suite), store)
    path = store.folder / "systems" / "answers" / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    again = Answers(suite)
    finish(suite, again, store)
    assert len(again.asked) == 1
    assert [json.loads(line) for line in path.read_text().splitlines()]


def test_another_suite_or_other_settings_are_refused(suite, store, tmp_path):
    other = small_suite(tmp_path / "suite-2", items=2)
    with pytest.raises(InputError, match="name another folder"):
        store.begin(running.about(other, "recast evaluate"))
    finish(suite, Answers(suite), store)

    class Other(Answers):
        def describe(self):
            return {**super().describe(), "steps": 3}

    with pytest.raises(InputError, match="steps differ"):
        finish(suite, Other(suite), store)


def test_names_become_folder_names():
    assert slug("fal-ai/FLUX Pro: kontext") == "fal-ai-flux-pro-kontext"
    assert slug("../..") == "system"
