"""Calibration: raw distances become scores by what the controls reach, or stay unknown."""

import pytest

from recast.quality import calibration
from recast.quality.store import Score


def raw(metric, value, reason=None):
    return Score(item="i", turn=0, metric=metric, value=value, check="test", reason=reason)


def controls(stranger=0.1, floor=0.9):
    return {
        "stranger": {
            ("i", 0): {"face_cosine": raw("face_cosine", stranger), "block_distance": raw("block_distance", 30.0)}
        },
        "floor": {("i", 0): {"face_cosine": raw("face_cosine", floor), "block_distance": raw("block_distance", 5.0)}},
    }


def test_a_cosine_is_placed_between_strangers_and_the_floor():
    scale = calibration.of(**controls())
    assert scale.apply({"face_cosine": raw("face_cosine", 0.5)})["consistency"].value == pytest.approx(0.5)
    assert scale.apply({"face_cosine": raw("face_cosine", 0.95)})["consistency"].value == 1
    assert scale.apply({"face_cosine": raw("face_cosine", -0.5)})["consistency"].value == 0


def test_a_face_that_is_gone_scores_zero_and_one_that_cannot_be_looked_for_nothing():
    scale = calibration.of(**controls())
    gone = scale.apply({"face_cosine": raw("face_cosine", None, "no_face")})["consistency"]
    assert gone.value == 0
    absent = scale.apply({"face_cosine": raw("face_cosine", None, "no model file")})["consistency"]
    assert absent.value is None


def test_kept_and_precision_come_from_the_block_distance_and_the_success():
    scale = calibration.of(**controls())
    scores = scale.apply({"block_distance": raw("block_distance", 17.5), "instruction": raw("instruction", 1.0)})
    assert scores["kept"].value == pytest.approx(0.5)
    assert scores["precision"].value == pytest.approx(0.5**0.5)
    nothing_done = scale.apply({"block_distance": raw("block_distance", 0.0), "instruction": raw("instruction", 0.0)})
    assert nothing_done["precision"].value == 0


def test_without_a_stranger_there_is_no_scale_and_it_is_said():
    scale = calibration.of(None, None)
    made = scale.apply({"face_cosine": raw("face_cosine", 0.5), "block_distance": raw("block_distance", 5.0)})
    assert made["consistency"].value is None
    assert "stranger" in made["consistency"].reason
    assert made["kept"].value is None


def test_scores_that_need_no_scale_stay_as_they_are():
    exact = {"consistency": raw("consistency", 0.3), "precision": raw("precision", 0.2)}
    assert dict(calibration.of(**controls()).apply(exact)) == exact
