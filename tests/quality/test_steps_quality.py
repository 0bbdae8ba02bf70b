"""What the benchmark of few-step models counts and asks, on the smallest model."""

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from recast.quality.suites import Item, Suite, Turn
from recast.quality.systems.contract import Request
from tests.tiny import tiny_pipeline

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def steps_quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, its neighbours found as when it is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("steps_quality")


def test_evaluations_are_counted_at_the_network_both_passes_of_guidance(steps_quality: ModuleType):
    model = steps_quality.counting(tiny_pipeline())
    picture = np.zeros((64, 64, 3), np.uint8)
    for guidance, expected in ((1.0, 3), (2.0, 6)):
        system = steps_quality.Counted(name="t", model=model, steps=3, true_guidance=guidance)
        asked = Request(item="a", instruction="red", contexts=(picture,), width=64, height=64, seed=1)
        made = [system.make(asked) for _ in range(2)]
        assert [each.detail["evaluations"] for each in made] == [expected] * 2
        assert made[0].detail["timings_s"]["sample"] <= made[0].seconds


def test_every_item_is_asked_once_for_each_seed_and_chains_are_left_out(steps_quality: ModuleType):
    turn = Turn(instruction="red")
    one = Item(key="a", category="local", kind="k", base="b", width=64, height=64, seed=7, contexts=(), turns=(turn,))
    items = (one, replace(one, key="b", seed=8), replace(one, key="chain", turns=(turn, turn)))
    suite = Suite(name="s", version="1", title="s", sha256="0", licence="x", items=items, root=Path())
    asked = steps_quality.drawn(suite, None, 3).items
    assert [item.key for item in asked] == ["a", "a+1", "a+2", "b", "b+1", "b+2"]
    assert len({item.seed for item in asked}) == 6
    assert len(steps_quality.drawn(suite, 1, 2).items) == 2


def test_students_are_held_to_the_teachers_most_steps_at_their_own_four(steps_quality: ModuleType):
    @dataclass(frozen=True)
    class Named:
        name: str

    def arm(model: str, steps: int) -> object:
        return steps_quality.Arm(model, steps, Named(f"{model} {steps}"))

    arms = [arm("nano", 50), arm("nano", 8), arm("turbo", 4), arm("turbo", 2)]

    def sample(number: int, evaluations: int) -> object:
        return steps_quality.Sample(
            item=str(number), base=str(number), category="local", draw=0, scores={}, evaluations=evaluations
        )

    found = {each: [sample(n, each.steps) for n in range(5)] for each in arms}
    answers = [replace(sample(n, 0), features=np.ones(2)) for n in range(5)]
    bars = steps_quality.verdicts(arms, found, answers, 4)
    assert list(bars) == ["turbo-4"]
    (fewer,) = [bar for bar in bars["turbo-4"] if bar.name.startswith("evaluations")]
    assert fewer.found.value == pytest.approx(12.5)
    assert fewer.verdict == "met"
