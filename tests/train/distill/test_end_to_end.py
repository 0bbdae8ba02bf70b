"""From a teacher that has learned its data to students of four steps: all stages by the loop, judged by the truth.

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
CONSISTENT = 0.85
"""What ENDPOINT is for a student by consistency, which knows nothing of which noise belongs to which picture."""
JUDGED = range(toy.HELD_OUT, toy.HELD_OUT + 512)


class Course(NamedTuple):
    """What came of a teacher in each way: `toy.figures` of its walk, and `endpoint`, how far its pictures are from the
    teacher's 25 steps from the same noise.
    """

    many: dict[str, float]  # the teacher in 25 steps
    few: dict[str, float]  # in four
    direct: dict[str, float]
    ladd: dict[str, float]
    consistency: dict[str, float]
    accuracy: float  # of the discriminator before the student followed it
    moved: bool  # whether the student did, in every parameter


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A minute of one core that has nothing else to do."""
    place: Path = tmp_path_factory.mktemp("course")
    torch.set_num_threads(1)
    teacher = toy.taught(place / "teacher", steps=toy.TEACHER_UPDATES)
    pairs = toy.pairs_of(teacher, range(toy.PAIRS))
    direct = toy.regressed(teacher, pairs, place / "direct", steps=toy.DIRECT_UPDATES)
    ladd, stage = toy.adversarial(teacher, direct, pairs, place / "ladd", steps=100)
    consistency = toy.consistent(teacher, pairs, place / "consistency", steps=toy.DIRECT_UPDATES)
    ends = toy.walked(teacher, JUDGED, toy.TEACHER_STEPS)

    def judged(network: FlowTransformer, steps: int) -> dict[str, float]:
        made = toy.walked(network, JUDGED, steps)
        return {**toy.figures(made, JUDGED), "endpoint": float((made - ends).square().mean())}

    return Course(
        many=judged(teacher, toy.TEACHER_STEPS),
        few=judged(teacher, 4),
        direct=judged(direct, 4),
        ladd=judged(ladd, 4),
        consistency=judged(consistency, 4),
        accuracy=float(stage.gate.accuracy),
        moved=all(not torch.equal(a, b) for a, b in zip(ladd.parameters(), direct.parameters(), strict=True)),
    )


def missed(course: Course, own: dict[str, float]) -> list[str]:
    """What a student in four steps does not do better than its teacher in four, by the margins."""
    done = {
        "error": own["error"] < ERROR * course.few["error"],
        "endpoint": own["endpoint"] < ENDPOINT * course.few["endpoint"],
        "right": own["right"] >= course.few["right"] - 1,
        "styles": own["styles"] > STYLES * course.many["styles"],
    }
    return [f"{name}: {own[name]}, the teacher {course.few[name]}" for name, is_done in done.items() if not is_done]


@pytest.mark.slow
def test_four_steps_of_a_student_beat_four_of_its_teacher_and_keep_its_diversity(course: Course):
    assert missed(course, course.direct) == []
    assert missed(course, course.ladd) == []


@pytest.mark.slow
def test_a_copy_of_the_teacher_misses_the_bar(course: Course):
    assert [each.partition(":")[0] for each in missed(course, course.few)] == ["error", "endpoint"]


@pytest.mark.slow
def test_the_teacher_knows_what_it_teaches_and_loses_some_of_it_in_four_steps(course: Course):
    assert course.many["right"] > 99
    assert course.many["styles"] > 0.9 * toy.STYLES
    assert course.few["error"] > 1.15 * course.many["error"]


@pytest.mark.slow
def test_heads_see_something_and_what_they_teach_is_nearer_to_the_truth_than_regression(course: Course):
    assert course.accuracy >= toy.LADD["accuracy_needed"]
    assert course.moved
    assert course.ladd["error"] < course.direct["error"]


@pytest.mark.slow
def test_consistency_is_a_baseline_that_comes_nearer_to_the_teacher_too(course: Course):
    assert course.consistency["endpoint"] < CONSISTENT * course.few["endpoint"]
