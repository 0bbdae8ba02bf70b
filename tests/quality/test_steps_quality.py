"""What the benchmark of few-step models counts and asks, on the smallest model."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from recast.quality import run, suites
from recast.quality.store import Score, Store
from recast.quality.suites import Item, Suite, Turn
from recast.quality.systems.contract import Made, Request
from recast.world.folder import Writer
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


# What differs between seeds, and where.

SIDE = 64
WITHIN = slice(16, 40)


def grey(outside: int, inside: int) -> np.ndarray:
    picture = np.full((SIDE, SIDE, 3), outside, np.uint8)
    picture[WITHIN, WITHIN] = inside
    return picture


def edits_of_a_square(folder: Path, answers: Sequence[np.ndarray]) -> Suite:
    """Edits of grey pictures, each a shade lighter than the one before, to these answers."""
    writer = Writer(folder)
    rows = [
        {
            "key": f"edit-{number}",
            "category": "local",
            "kind": "grey",
            "base": f"base-{number}",
            "width": SIDE,
            "height": SIDE,
            "seed": number,
            "contexts": [writer.picture(grey(100 + 10 * number, 100 + 10 * number))],
            "turns": [{"instruction": f"lighter {number}", "answer": writer.picture(answer)}],
        }
        for number, answer in enumerate(answers)
    ]
    writer.finish(rows, name="squares", version="1", licence="CC0")
    return suites.load(folder)


@dataclass(eq=False)
class Varying:
    """Right answers, from seed to seed lighter by so much inside of what was to change, and by so much outside."""

    name: str
    suite: Suite
    inside: int
    outside: int
    concurrency = 1

    def describe(self) -> dict[str, object]:
        return {"name": self.name}

    def make(self, request: Request) -> Made:
        key, _, draw = request.item.partition("+")
        more = grey(self.outside, self.inside) * np.uint8(draw or 0)
        return Made(pixels=suites.pixels(self.suite.by_key[key].turns[0].answer) + more, seconds=0.5)


class Corners:
    """A pixel inside the square and one outside: two features. Counts the pictures that it saw."""

    about, seen = "two pixels", 0

    def features(self, picture: np.ndarray) -> np.ndarray:
        self.seen += 1
        return np.array([picture[20, 20, 0], picture[0, 0, 0]], float)


def test_what_differs_outside_what_was_to_change_is_no_diversity_inside(steps_quality: ModuleType, tmp_path: Path):
    suite = edits_of_a_square(tmp_path / "suite", [grey(100 + 10 * n, 150 + 10 * n) for n in range(4)])
    asked, store = steps_quality.drawn(suite, None, 2), Store(tmp_path)
    extractor = Corners()
    kept = steps_quality.fixed_features.Kept(extractor, tmp_path / "features.npz")
    made = {"teacher": (3, 4), "outside": (0, 5), "inside": (3, 0)}
    systems = [Varying(f"{name} 4", suite, *steps) for name, steps in made.items()]
    arms = [steps_quality.Arm(name, 4, system) for name, system in zip(made, systems, strict=True)]
    steps_quality.make(asked, arms, store)
    found = {arm: steps_quality.samples(asked, arm, store, kept) for arm in arms}
    answers = steps_quality.answers_of(asked, kept)
    shares = {
        student: [bar.found.value for bar in bars if bar.name.startswith("diversity")]
        for student, bars in steps_quality.verdicts(arms, found, answers, 4).items()
    }
    assert shares == {"outside-4": pytest.approx([1, 0]), "inside-4": pytest.approx([0.6, 1])}

    row = steps_quality.figures(arms[1], found[arms[1]], answers)
    assert row["by_category"]["diversity_inside"]["local"].value == row["diversity_inside"].value == 0
    assert steps_quality.shown(row)["inside"].startswith("0.000")
    assert row["diversity"].value > 0
    assert "diversity inside" in steps_quality.drawing([row])

    before, extractor.seen = extractor.seen, 0
    again = steps_quality.fixed_features.Kept(extractor, tmp_path / "features.npz")
    repeated = steps_quality.samples(asked, arms[1], store, again)
    assert [list(s.inside) for s in repeated] == [list(s.inside) for s in found[arms[1]]]
    assert before > 0
    assert extractor.seen == 0


def test_only_local_edits_with_something_to_change_have_an_inside(steps_quality: ModuleType, tmp_path: Path):
    answers = [grey(100, 150), grey(50, 60), grey(120, 120)]
    local, everywhere, nothing = edits_of_a_square(tmp_path, answers).items
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    composed = steps_quality.inside(local, picture)
    assert (composed[WITHIN, WITHIN] == picture[WITHIN, WITHIN]).all()
    composed[WITHIN, WITHIN] = 100
    assert (composed == 100).all()  # the source
    assert steps_quality.inside(everywhere, picture) is picture
    assert steps_quality.inside(replace(local, contexts=()), picture) is picture  # from words
    assert steps_quality.inside(nothing, picture) is None
    assert steps_quality.inside(local, None) is None
    large = np.full((2 * SIDE, 2 * SIDE, 3), 7, np.uint8)
    assert (steps_quality.inside(local, large) == grey(100, 7)).all()


def test_the_inside_is_where_the_answer_differs_from_the_picture_that_is_changed(
    steps_quality: ModuleType, tmp_path: Path
):
    other, one = edits_of_a_square(tmp_path, [grey(100, 150), grey(110, 150)]).items
    (turn,) = one.turns
    picture = np.full((SIDE, SIDE, 3), 7, np.uint8)
    both = replace(one, contexts=(*other.contexts, *one.contexts), turns=(replace(turn, truth={"base": 1}),))
    assert (steps_quality.inside(both, picture) == grey(110, 7)).all()


def test_an_edit_of_more_than_half_of_a_picture_is_not_local(steps_quality: ModuleType, tmp_path: Path):
    answers = [grey(100, 100) for _ in range(2)]
    for answer, rows in zip(answers, (32, 38), strict=True):  # 50 and 59 %
        answer[:rows] = 200
    half, more = edits_of_a_square(tmp_path, [answers[0], answers[1] + np.uint8(10)]).items
    picture = np.full((SIDE, SIDE, 3), 7, np.uint8)
    assert (steps_quality.inside(half, picture)[32:] == 100).all()
    assert steps_quality.inside(more, picture) is picture


def test_a_picture_that_is_gone_does_not_count_and_one_that_failed_kept_nothing(
    steps_quality: ModuleType, tmp_path: Path
):
    suite = edits_of_a_square(tmp_path / "suite", [grey(100, 150), grey(110, 160)])
    asked, store, system = steps_quality.drawn(suite, None, 1), Store(tmp_path), Varying("a 4", suite, 0, 0)
    arm = steps_quality.Arm("a", 4, system)
    for progress in run.make(asked, system, store):
        value = None if progress.result.item == "edit-0" else 0.0
        store.add(arm.name, Score(item=progress.result.item, turn=0, metric="precision", value=value, check="none"))
    kept = steps_quality.fixed_features.Kept(Corners(), tmp_path / "features.npz")
    gone, failed = steps_quality.samples(asked, arm, store, kept)
    assert gone.value("kept") is None
    assert failed.value("kept") == 0
