"""What a few-step model is held to: differences item by item, factors, and verdicts that only whole intervals give."""

import math
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import plots, steps_bars
from benchmarks.steps_bars import Bar, Sample
from recast.quality.statistics import Interval


def made(shares, *, evaluations=4, seconds=0.1, noise=1.0, seed=0, draws=2) -> list[Sample]:
    """Forty items of two categories, of a base each, that succeed with these shares."""
    rng = np.random.default_rng(seed)
    return [
        Sample(
            item=f"{category}-{i}",
            base=f"{category}-{i}",
            category=category,
            draw=draw,
            scores={"instruction": float(rng.random() < share), "kept": 0.5},
            evaluations=evaluations,
            seconds=seconds * rng.uniform(0.9, 1.1),
            features=np.random.default_rng(i).normal(size=3) + noise * rng.normal(size=3),
        )
        for category, share in zip(("local", "text"), shares, strict=True)
        for i in range(20)
        for draw in range(draws)
    ]


ANSWERS = made((1, 1), noise=0.0, draws=1)
DIVERSITY = "diversity: share of the teacher's"


def verdicts(student, teacher, at_8) -> dict[str, str]:
    return {bar.name: bar.verdict for bar in steps_bars.bars(student, teacher, at_8, ANSWERS)}


def test_a_student_as_good_as_its_teacher_and_cheaper_meets_what_it_can():
    teacher, at_8 = made((1, 1), evaluations=50, seconds=2.0, seed=1), made((0.2, 0.2), seed=2)
    found = verdicts(made((1, 0.9), seed=3), teacher, at_8)
    assert found["evaluations: fewer by"] == found["time: less by"] == "met"
    assert found["better: instruction than the teacher at 8"] == found["better: text than the teacher at 8"] == "met"
    assert found["within 3: instruction, local"] == "open"  # all alike is no proof
    assert found["within 3: instruction, text"] == "missed"
    assert found["better: kept than the teacher at 8"] == "open"


def test_what_is_worse_is_missed_and_what_was_not_asked_is_open():
    teacher = made((1, 1), evaluations=40, seconds=0.5, seed=1)
    found = verdicts(made((0.1, 0.1), noise=0.4, seed=3), teacher, None)
    assert found["within 3: instruction, local"] == found["within 3: instruction, text"] == "missed"
    assert found["evaluations: fewer by"] == found["time: less by"] == "missed"  # 10 and 5 times
    assert found[DIVERSITY] == "missed"
    assert found["better: instruction than the teacher at 8"] == "open"


def test_numbers_are_compared_item_by_item():
    teacher, student = made((1, 1), evaluations=50, seconds=2.0, seed=1), made((1, 1), seed=1, noise=0.5)
    bars = {bar.name: bar.found for bar in steps_bars.bars(student, teacher, None, ANSWERS)}
    assert bars["evaluations: fewer by"].value == pytest.approx(12.5)
    assert bars["time: less by"].value == pytest.approx(20)
    assert bars[DIVERSITY].value == pytest.approx(0.5)
    assert steps_bars.difference(student, [s for s in teacher if s.draw == 5], "instruction") is None


def test_a_distance_grows_with_what_is_wrong_and_text_is_of_its_category():
    near, far = (steps_bars.kid(made((1, 1), noise=noise, seed=4), ANSWERS) for noise in (0.0, 3.0))
    assert abs(near.value) < 0.5 < far.low
    assert steps_bars.kid(made((1, 1))[:4], ANSWERS) is None
    assert steps_bars.mean(made((0, 1)), "text").value == 1
    assert steps_bars.mean(made((0, 1)), "instruction").value == 0.5
    assert steps_bars.mean(made((0, 1)), "text").low < 0.95  # twenty of twenty
    assert steps_bars.mean(made((0, 1)), "consistency") is None
    assert steps_bars.diversity(made((1, 1), draws=1), ANSWERS) is None


def test_a_verdict_needs_the_whole_interval():
    cases = {
        (0.95, 0.92, 0.97): "met",
        (0.95, 0.85, 1.0): "open",
        (0.8, 0.7, 0.85): "missed",
        (0.95, None, None): "open",
    }
    for found, verdict in cases.items():
        assert Bar("", Interval(*found), 0.9).verdict == verdict
    assert Bar("", Interval(math.nan, None, None), 0.9).verdict == "open"


def test_no_bar_is_decided_by_fewer_than_five_base_pictures():
    teacher, student = made((1, 1), evaluations=50, seconds=2.0, seed=1), made((0.2, 0.2), noise=0.2, seed=3)
    for bases, items, verdicts in ((4, 4, {"open"}), (4, 5, {"open"}), (5, 5, {"met", "missed"})):
        few = [
            replace(s, base=f"base {min(number, bases - 1)}")  # the last items are of one picture
            for number in range(items)
            for s in student
            if s.item == f"local-{number}"
        ]
        bars = {bar.name: bar.verdict for bar in steps_bars.bars(few, teacher, None, ANSWERS)}
        decided = ("within 3: instruction, local", "evaluations: fewer by", "time: less by", DIVERSITY)
        assert {bars[name] for name in decided} == verdicts


def test_equal_is_not_better():
    cases = {(0.1, 0.0, 0.3): ("met", "open"), (-0.1, -0.3, 0.0): ("open", "missed"), (0.1, 0.01, 0.3): ("met", "met")}
    for found, verdicts in cases.items():
        assert tuple(Bar("", Interval(*found), 0.0, is_strict=strict).verdict for strict in (False, True)) == verdicts
    better = [bar for bar in steps_bars.bars(ANSWERS, ANSWERS, ANSWERS, ANSWERS) if bar.name.startswith("better")]
    assert [bar.is_strict for bar in better] == [True] * 4


def test_without_right_answers_nothing_is_said_of_diversity():
    student = made((1, 1))
    assert steps_bars.diversity(student, []) is None
    found = {bar.name: bar for bar in steps_bars.bars(student, student, None, [])}
    assert math.isnan(found[DIVERSITY].found.value)


def test_a_plot_is_whole_small_and_says_what_was_not_measured():
    line = [plots.Point(54.1667, 80.0, 75.0, 85.0), plots.Point(4, 60.0)]
    drawn = plots.panels([plots.Panel("a < b", {"nano": line}), plots.Panel("KID", {})], x_label="evaluations")
    root = ElementTree.fromstring(drawn)
    texts = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert {"a < b", "not measured", "54.2", "4", "nano"} <= set(texts)
    assert len(drawn) < 4000
    circles = [(float(e.get("cx")), float(e.get("cy"))) for e in root.iter() if e.tag.endswith("circle")]
    (few, many) = sorted(circles)
    assert many[1] < few[1]  # more is higher
