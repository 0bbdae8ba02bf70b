"""From a teacher that has learned its data to students of four steps: every stage through the loop, judged by the truth.

The data are the toy's (`benchmarks/toy_edits.py`): edits whose right answers are known. The same functions make the
table of docs/distill.md, over several seeds; the margins here lie well inside what was seen there.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from benchmarks import toy_edits as toy
from recast.flow.transformer import FlowTransformer

ERROR, ENDPOINT = 0.9, 0.6
"""Of its teacher's four steps, what a student has at most: distance to the nearest right answer, and to the teacher's
25 steps from the same noise (squared)."""
STYLES = 0.95
"""Of the teacher's diversity in 25 steps, what a student keeps at least."""
JUDGED = range(toy.HELD_OUT, toy.HELD_OUT + 512)


class Course(NamedTuple):
    """A teacher, and what became of it in each way."""

    teacher: FlowTransformer
    direct: FlowTransformer
    ladd: FlowTransformer
    consistency: FlowTransformer
    accuracy: float  # of the discriminator before the student followed it


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A minute of one core."""
    place: Path = tmp_path_factory.mktemp("course")
    torch.set_num_threads(1)
    teacher = toy.taught(place / "teacher", steps=toy.TEACHER_UPDATES)
    pairs = toy.pairs_of(teacher, range(toy.PAIRS))
    direct = toy.regressed(teacher, pairs, place / "direct", steps=100)
    told = {"on_policy": 1.0, "regression": 0.1, "r1": 1e-5}
    ladd, stage = toy.adversarial(teacher, direct, pairs, place / "ladd", steps=100, **told)
    consistency = toy.consistent(teacher, pairs, place / "consistency", steps=100)
    return Course(teacher, direct, ladd, consistency, float(stage.gate.accuracy))


def judged(course: Course, network: FlowTransformer, steps: int) -> dict[str, float]:
    """`toy.figures`, and how far its pictures are from the teacher's 25 steps."""
    made, ends = (toy.walked(n, JUDGED, s) for n, s in ((network, steps), (course.teacher, toy.TEACHER_STEPS)))
    return {**toy.figures(made, JUDGED), "endpoint": float((made - ends).square().mean())}


def beats(course: Course, student: FlowTransformer) -> dict[str, bool]:
    """What a student in four steps does better than its teacher in four, by the margins."""
    few, own, many = judged(course, course.teacher, 4), judged(course, student, 4), judged(course, course.teacher, 25)
    return {
        "error": own["error"] < ERROR * few["error"],
        "endpoint": own["endpoint"] < ENDPOINT * few["endpoint"],
        "right": own["right"] >= few["right"] - 1,
        "styles": own["styles"] > STYLES * many["styles"],
    }


@pytest.mark.slow
def test_four_steps_of_a_student_beat_four_of_its_teacher_and_keep_its_diversity(course: Course):
    assert beats(course, course.direct) == dict.fromkeys(("error", "endpoint", "right", "styles"), True)
    assert beats(course, course.ladd) == dict.fromkeys(("error", "endpoint", "right", "styles"), True)


@pytest.mark.slow
def test_the_bar_is_not_met_by_a_teacher_that_was_only_copied(course: Course):
    found = beats(course, course.teacher)
    assert not found["error"]
    assert not found["endpoint"]


@pytest.mark.slow
def test_the_teacher_knows_what_it_teaches_and_loses_some_of_it_in_four_steps(course: Course):
    many, few = judged(course, course.teacher, toy.TEACHER_STEPS), judged(course, course.teacher, 4)
    assert many["right"] > 99
    assert many["styles"] > 0.9 * toy.STYLES
    assert few["error"] > 1.15 * many["error"]


@pytest.mark.slow
def test_the_discriminator_saw_something_and_moved_the_student(course: Course):
    assert course.accuracy >= 0.55
    moved = [not torch.equal(a, b) for a, b in zip(course.ladd.parameters(), course.direct.parameters(), strict=True)]
    assert all(moved)


@pytest.mark.slow
def test_consistency_is_a_baseline_that_comes_nearer_too(course: Course):
    few, own = judged(course, course.teacher, 4), judged(course, course.consistency, 4)
    assert own["endpoint"] < 0.9 * few["endpoint"]
