"""Checks: the right answer is right, the picture given is not, and neither is one that is a little wrong."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from recast.world import checks, lettered, measure, search
from recast.world.draw import draw
from recast.world.edits import edit
from recast.world.eye import Eye
from recast.world.scene import STEP, Character, Face, Mark, Scene, Thing, Title, get, put
from tests.world.pictures import noisy

PERSON = Scene(background="beach", characters=(Character(place="center", shirt="blue"),))
TITLED = replace(PERSON, title=Title(text="FREIBURG", size="medium"))
KINDS = (
    "shirt colour", "add hat", "remove glasses", "add person", "remove person", "add thing", "remove thing",
    "replace thing", "move thing", "add sticker", "remove mark", "background", "time", "style", "look", "add title",
    "one letter", "remove title", "title place", "logo onto shirt", "thing into picture", "two changes",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_to_an_edit_is_right_and_what_was_given_is_not(kind):
    made = edit(7, kind=kind)
    answer, given = noisy(draw(made.target)), noisy(draw(made.source))
    right = checks.read(answer, made.target, made.source, made.asked, made.free)
    assert [path for path in made.asked if not right.holds(path)] == []
    wrong = checks.read(given, made.target, made.source, made.asked, made.free)
    assert not all(wrong.holds(path) for path in made.asked)


def test_a_title_with_one_wrong_letter_is_not_the_title():
    wrong = noisy(draw(put(TITLED, "title.text", "FREIBERG")))
    assert not checks.read(wrong, TITLED, PERSON, ["title.text"]).holds("title.text")
    assert checks.read(noisy(draw(TITLED)), TITLED, PERSON, ["title.text"]).holds("title.text")


def test_a_title_that_is_still_there_or_another_one_is_not_gone():
    for title in (TITLED.title, Title(text="OTHER", place="bottom", size="medium")):
        assert not checks.read(noisy(draw(replace(PERSON, title=title))), PERSON, TITLED, ["title"]).holds("title")
    assert checks.read(noisy(draw(PERSON)), PERSON, TITLED, ["title"]).holds("title")


def test_sizes_of_a_title_that_draw_one_picture_are_one():
    huge = replace(PERSON, characters=(), title=Title(text="EXTRAORDINARILY", font="archivo", size="huge"))
    large = put(huge, "title.size", "large")
    assert np.array_equal(draw(huge), draw(large))
    assert checks.read(noisy(draw(large)), huge, None, ["title.size"]).holds("title.size")


def test_what_is_free_may_be_any():
    target = put(put(PERSON, "characters.0.hat", "cap"), "characters.0.hat_colour", "red")
    green = noisy(draw(put(target, "characters.0.hat_colour", "green")))
    found = checks.read(green, target, PERSON, ["characters.0.hat"], ["characters.0.hat_colour"])
    assert found.holds("characters.0.hat")
    assert found.value("characters.0.hat_colour") == "green"


def test_a_free_size_does_not_make_a_thing_wrong():
    target = replace(PERSON, things=(Thing(kind="car", place="left", size="small"),))
    big = noisy(draw(put(target, "things.0.size", "big")))
    assert checks.read(big, target, PERSON, ["things.0"], ["things.0.size"]).holds("things.0")
    assert not checks.read(big, target, PERSON, ["things.0"]).holds("things.0")


def test_unknown_is_not_right():
    target = put(PERSON, "characters.0.shirt", "red")
    half = ((draw(target).astype(int) + draw(put(PERSON, "characters.0.shirt", "orange"))) // 2).astype(np.uint8)
    found = checks.read(half, target, PERSON, ["characters.0.shirt"])
    assert found.value("characters.0.shirt") == measure.UNKNOWN
    assert not found.holds("characters.0.shirt")


NOT_ASKED = {
    "a face": [(f"face.{each.name}", (1 - 2 * (n % 2)) * 9 * STEP) for n, each in enumerate(fields(Face))],
    "a shirt": [("shirt", "orange")],
    "a hat": [("hat", "beanie"), ("hat_colour", "green")],
}


def besides(scene: Scene, name: str) -> Scene:
    """The scene with something changed that nobody asks for."""
    if name == "a border":
        return replace(scene, marks=(Mark(kind="border", colour="purple", place="all"),))
    for path, value in NOT_ASKED[name]:
        here = f"characters.0.{path}"
        scene = put(scene, here, get(scene, here) + value if isinstance(value, float) else value)
    return scene


@pytest.mark.parametrize("change", [*NOT_ASKED, "a border"])
@pytest.mark.parametrize(("path", "value"), [
    ("style", "pencil"), ("characters.0.glasses", "sunglasses"), ("characters.0.beard", True),
])  # fmt: skip
def test_what_was_asked_is_read_past_what_was_not(change, path, value):
    target = put(PERSON, path, value)
    done, undone = noisy(draw(besides(target, change))), noisy(draw(besides(PERSON, change)))
    assert checks.read(done, target, PERSON, [path]).holds(path)
    assert not checks.read(undone, target, PERSON, [path]).holds(path)


def test_a_title_is_read_past_a_shirt_that_nobody_asked_for():
    done = draw(besides(TITLED, "a shirt"))
    assert checks.read(done, TITLED, PERSON, ["title"]).holds("title")


def test_what_is_read_past_leaves_every_other_value_wrong():
    target = put(PERSON, "characters.0.expression", "sad")
    for value in ("surprised", "angry"):
        other = besides(put(PERSON, "characters.0.expression", value), "a face")
        found = checks.read(draw(other), target, PERSON, ["characters.0.expression"])
        assert not found.holds("characters.0.expression")


def test_what_is_unknown_stays_so_in_a_picture_that_nothing_explains():
    flat = Face(width=1.1875, height=0.8125, eye_size=1.1875, eye_gap=0.8125, nose=1.1875, mouth=0.8125)
    shown = put(put(PERSON, "characters.0.face", flat), "characters.0.beard", True)  # lower than any face that is tried
    target = put(PERSON, "characters.0.beard", True)
    found = checks.read(draw(shown), target, PERSON, ["characters.0.beard"])
    assert found.value("characters.0.beard") == "unknown"


def test_what_something_else_has_hidden_is_unknown():
    hatted = put(put(PERSON, "characters.0.hat", "crown"), "characters.0.hat_colour", "red")
    target = put(hatted, "characters.0.hat_colour", "blue")
    bare = noisy(draw(put(target, "characters.0.hat", "none")))
    assert checks.read(bare, target, hatted, ["characters.0.hat_colour"]).value("characters.0.hat_colour") == "unknown"


def test_the_scene_found_is_the_picture_where_more_was_changed_than_asked():
    target = put(PERSON, "style", "pencil")
    shown = besides(besides(target, "a shirt"), "a border")
    assert checks.read(draw(shown), target, PERSON, ["style"]).scene == shown


def test_only_a_picture_that_is_as_drawn_over_most_of_it_is_searched_anew():
    eyes = {name: measure.Eye(noisy(draw(besides(PERSON, name)))) for name in (*NOT_ASKED, "a border")}
    assert all(search.is_partly(eye, PERSON) for eye in eyes.values())
    assert not search.is_partly(measure.Eye(noisy(draw(PERSON))), PERSON)  # as drawn everywhere
    soft = cv2.GaussianBlur(draw(replace(PERSON, background="forest")), (0, 0), 6)
    assert not search.is_partly(measure.Eye(soft), replace(PERSON, background="forest"))  # nowhere


def test_a_thing_is_never_taken_for_another_when_one_before_it_is_gone():
    things = (Thing(kind="car", place="left", colour="red"), Thing(kind="cake", place="right", colour="blue"))
    scene = replace(PERSON, things=things)
    target = put(scene, "things.1.colour", "green")
    for colour, is_right in (("green", True), ("blue", False)):
        left = replace(PERSON, things=(replace(things[1], colour=colour),))
        found = checks.read(noisy(draw(left)), target, scene, ["things.1.colour"])
        assert found.holds("things.1.colour") == is_right


@pytest.mark.parametrize(("name", "value"), [("colour", "yellow"), ("outline", "blue"), ("plate", "blue")])
def test_a_title_in_another_colour_is_not_the_title(name, value):
    path = f"title.{name}"
    scene = put(TITLED, "title.plate", "none" if name == "outline" else "pink")
    target = put(scene, path, value)
    assert not checks.read(noisy(draw(scene)), target, scene, [path]).holds(path)
    assert checks.read(noisy(draw(target)), target, scene, [path]).holds(path)


def test_parts_are_equal_by_what_names_them():
    assert checks.equal("things.0", Thing(dx=STEP), Thing(dx=0.0))
    assert not checks.equal("things.0", Thing(colour="red"), Thing(colour="blue"))
    assert not checks.equal("marks.0", Mark(kind="arrow"), None)
    assert not checks.equal("characters.0.beard", True, 1)


def test_who_someone_is_holds_in_other_clothes_and_another_place():
    person = Character(hair="long", skin="tan", freckles=True, face=Face(nose=1.125), place="center")
    moved = replace(person, place="left", shirt="red", pose="waving")
    scene = replace(PERSON, background="city", characters=(moved,))
    same = checks.identity(noisy(draw(scene)), scene, replace(PERSON, characters=(person,)), 0)
    assert set(same.values()) == {1.0}
    assert {"skin", "hair", "freckles", "face.nose"} <= set(same)


def test_someone_else_is_not_the_same():
    other = replace(PERSON.characters[0], hair="curly", hair_colour="red", skin="dark")
    scene = replace(PERSON, characters=(other,))
    same = checks.identity(draw(scene), scene, PERSON, 0)
    assert [name for name, value in same.items() if value == 0] == ["skin", "hair", "hair_colour"]


def test_a_face_that_drifts_in_small_steps_loses_without_ever_gaining():
    scores = []
    for steps in range(0, 16, 3):
        size = 1 - (steps - 4) * STEP
        scene = put(PERSON, "characters.0.face.width", size)
        target = put(PERSON, "characters.0.face.width", 1 + 4 * STEP)
        scores.append(checks.identity(draw(scene), scene, target, 0)["face.width"])
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1
    assert 0 <= scores[-1] < 0.2


def test_similarity_is_one_within_the_tolerance_and_falls_to_nothing_at_three():
    sizes = [checks.similarity(1.0, 1.0 + share * checks.FACE_TOLERANCE) for share in (0, 1, 2, 3, 4)]
    assert sizes == [1.0, 1.0, 0.5, 0.0, 0.0]


def test_a_title_in_a_colour_that_the_world_never_gives_is_read_and_its_colour_unknown():
    """A picture is no scene: what is found there may have an outline that no scene has."""
    strange = lettered.FoundTitle(replace(TITLED.title, outline="brown"), TITLED.title, 256, 256)
    scene, found, unsure = checks._in_its_colours(Eye(draw(TITLED)), TITLED, strange)
    assert (scene, found) == (TITLED, strange)
    assert unsure == {"title.outline"}
