"""Measuring: what was drawn is read back, from near and far, through noise and JPEG; and nothing is guessed."""

import random
from dataclasses import replace

import numpy as np
import pytest

from recast.errors import InputError, RecastError
from recast.world import measure, sample
from recast.world.attributes import values, with_value
from recast.world.draw import draw
from recast.world.eye import hill
from recast.world.scene import STEP, TIMELESS, Character, Scene, Thing, get, put
from tests.world.pictures import jpeg, noisy

PERSON = Scene(background="beach", characters=(Character(place="center", shirt="blue"),))


def near(scene: Scene, seed: int) -> Scene:
    """The scene with one attribute drawn anew."""
    dice = random.Random(seed)
    path = dice.choice([path for path in measure.readable(scene) if path != "background"])
    return with_value(scene, path, dice.choice(list(values(scene, path))))


def far(scene: Scene, seed: int) -> Scene:
    """The scene with every attribute drawn anew; how many people and things there are, and their faces, stay."""
    dice = random.Random(seed)
    for path in measure.readable(scene):
        scene = with_value(scene, path, dice.choice(list(values(scene, path))))
        scene = replace(scene, time="day") if scene.background in TIMELESS else scene
    return scene


def mistaken(scene: Scene, pixels: np.ndarray, start: Scene) -> list[measure.Finding | str]:
    found = measure.read(pixels, start).found
    return [found.get(p, p) for p in measure.readable(scene) if p not in found or not found[p].may_be(get(scene, p))]


@pytest.mark.parametrize("seed", range(1100, 1106))
def test_a_clean_picture_is_read_exactly_from_one_attribute_away(seed):
    scene = sample.scene(seed)
    assert mistaken(scene, draw(scene), near(scene, seed)) == []


@pytest.mark.parametrize("seed", [1107, 1108])
def test_noise_at_31_db_changes_no_attribute(seed):
    scene = sample.scene(seed)
    assert mistaken(scene, noisy(draw(scene), seed), near(scene, seed)) == []


@pytest.mark.parametrize("subsampling", [0, 2], ids=["4:4:4", "4:2:0"])
def test_jpeg_changes_no_attribute(subsampling):
    scene = sample.scene(1015)
    assert mistaken(scene, jpeg(draw(scene), subsampling), near(scene, 1)) == []


@pytest.mark.parametrize("seed", [1004, 1012])
def test_a_picture_is_read_from_a_start_that_shares_nothing_but_who_is_there(seed):
    scene = sample.scene(seed)
    assert mistaken(scene, draw(scene), far(scene, seed)) == []


def test_a_person_is_found_who_stands_elsewhere_at_another_size():
    person = replace(PERSON.characters[0], place="left", dx=2 * STEP, dy=-STEP, scale=57 * STEP)
    scene = replace(PERSON, characters=(person,))
    paths = [f"characters.0.{name}" for name in ("place", "dx", "dy", "scale", "shirt")]
    assert measure.read(draw(scene), PERSON, paths).scene == scene


def test_a_colour_halfway_between_two_is_unknown():
    pictures = [draw(put(PERSON, "characters.0.shirt", colour)).astype(int) for colour in ("red", "orange")]
    between = ((pictures[0] + pictures[1]) // 2).astype(np.uint8)
    finding = measure.read(between, PERSON, ["characters.0.shirt"]).found["characters.0.shirt"]
    assert finding.value == measure.UNKNOWN
    assert finding.reason.startswith("between")


def test_what_looks_like_none_of_the_values_is_unknown():
    pixels = draw(PERSON).copy()
    pixels[140:] = (0, 255, 0)  # where the shirt is
    found = measure.read(pixels, PERSON, ["characters.0.outfit", "characters.0.shirt"])
    assert found.value("characters.0.shirt") == measure.UNKNOWN
    assert found.value("characters.0.outfit") == measure.UNKNOWN


def test_what_no_value_would_change_does_not_show():
    scene = put(PERSON, "look", "black and white")
    finding = measure.read(draw(scene), scene, ["characters.0.hat_colour"]).found["characters.0.hat_colour"]
    assert finding.value == measure.UNKNOWN
    assert finding.is_hidden
    assert finding.may_be("green")


def test_scenes_are_the_same_if_their_pictures_are():
    things = (Thing(kind="car", place="left"), Thing(kind="cup", place="right"))
    scene = replace(PERSON, things=things)
    assert measure.looks_same(scene, replace(scene, things=things[::-1]))
    assert measure.looks_same(PERSON, put(PERSON, "characters.0.hat_colour", "green"))
    assert not measure.looks_same(PERSON, put(PERSON, "characters.0.glasses", "round glasses"))


@pytest.mark.parametrize("seed", range(1200, 1206))
def test_a_drawing_over_a_kept_background_is_the_drawing(seed):
    scene = replace(sample.scene(seed), background="city", variant=3, time="night")
    assert np.array_equal(measure.Eye(draw(PERSON)).drawn(scene), draw(scene))


@pytest.mark.parametrize(("width", "height"), [(256, 256), (336, 192), (1024, 512)])
def test_a_part_is_compared_as_in_the_whole_picture(width, height):
    eye = measure.Eye(noisy(draw(PERSON, width, height)))
    shrink = max(1, round(height / 256))
    left, top, right, bottom = box = (48, 0, 192, 128)
    part = eye.residual(put(PERSON, "characters.0.shirt", "red"), box)
    whole = eye.residual(put(PERSON, "characters.0.shirt", "red"))
    np.testing.assert_allclose(
        part, whole[top // shrink : bottom // shrink, left // shrink : right // shrink], atol=1e-3
    )


def test_the_foot_of_a_hill_is_found_in_few_steps():
    asked = []

    def score(place: int) -> float:
        asked.append(place)
        return abs(place - 17)

    assert hill(score, 3, 24, (4, 2, 1)) == 17
    assert len(asked) == len(set(asked)) < 16


def test_only_what_is_asked_is_changed():
    picture = draw(put(put(PERSON, "characters.0.shirt", "red"), "characters.0.hat", "cap"))
    assert measure.read(picture, PERSON, ["characters.0.shirt"]).scene == put(PERSON, "characters.0.shirt", "red")


def test_bad_input_is_named():
    with pytest.raises(InputError, match="like"):
        measure.read(draw(PERSON), [])
    with pytest.raises(InputError, match=r"things\.0\.kind"):
        measure.candidates(PERSON, "things.0.kind")
    with pytest.raises(RecastError, match="uint8"):
        measure.read(draw(PERSON).astype(float), PERSON)


def test_one_wrong_step_is_found_where_others_would_lead_away():
    """A big thing of the wrong kind: other colours and sizes of that kind come nearer, and then no kind is right."""
    right = sample.scene(50144)
    assert right.things[0].kind == "umbrella"
    wrong = with_value(right, "things.0.kind", "cake")
    found = measure.read(draw(right), wrong)
    assert found.scene == right
    assert found.value("things.0.kind") == "umbrella"
    assert found.value("style") == "flat"


def test_a_picture_of_something_else_is_read_without_a_step_that_cannot_be_drawn():
    """Rays have no night: a search that is lost tries only what its start shows."""
    start = Scene(background="rays", characters=(Character(place="center"),))
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    found = measure.read(pixels, start, ("time", "background", "characters.0.shirt"))
    assert found.value("characters.0.shirt") == measure.UNKNOWN
