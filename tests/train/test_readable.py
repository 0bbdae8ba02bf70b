"""Titles read back: right in the picture itself, wrong where a letter is another or all are a blur."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from recast.train.held_out import Measure
from recast.train.readable import lettering
from recast.world.draw import draw
from recast.world.scene import Scene, Title, to_json

SCENE = Scene(background="studio", title=Title(text="FREIBERG", font="anton", colour="white", size="large"))


def drawn(scene: Scene) -> np.ndarray:
    return draw(scene, 256, 144)


@pytest.fixture(scope="module")
def measure() -> Measure:
    scenes = [SCENE, replace(SCENE, title=None)]
    return lettering([*map(drawn, scenes), drawn(SCENE)], [*({"scenes": [to_json(each)]} for each in scenes), None])


def test_a_title_reads_right_where_it_is_as_drawn(measure: Measure):
    assert measure(0, drawn(SCENE)) == 1


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda scene: drawn(replace(scene, title=replace(scene.title, text="FREIBURG"))),
        lambda scene: cv2.GaussianBlur(drawn(scene), (0, 0), 4),
        lambda scene: drawn(replace(scene, title=None)),
    ],
    ids=["another letter", "a blur", "nothing"],
)
def test_a_title_that_is_not_there_does_not(measure: Measure, spoilt):
    assert measure(0, spoilt(SCENE)) == 0


def test_where_no_picture_has_a_title_that_is_said(caplog: pytest.LogCaptureFixture):
    lettering([drawn(SCENE)], [None])
    assert "none of 1 held-out pictures has a title" in caplog.text


@pytest.mark.parametrize("number", [1, 2])
def test_where_no_title_is_known_there_is_nothing_to_say(measure: Measure, number: int):
    assert measure(number, drawn(SCENE)) is None
