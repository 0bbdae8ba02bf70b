"""The networks that lie in the package, on people and scenes they were never trained on."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recast.errors import ConfigError, InputError, MissingWeights, WeightsError
from recast.weights.files import checksum
from recast.world import sample
from recast.world.dice import Dice
from recast.world.draw import draw
from recast.world.faces import true_faces
from recast.world.recogniser import OWN, SMALLEST_PX, WorldFaces, calibration
from recast.world.scene import IDENTITY, Character, Scene

SEED = sample.FIRST_UNTRAINED + 12_345
SIZE = {"width": 320, "height": 180}
PEOPLE = 20
ACCEPTED = 0.5
"""The least share of pairs of one person that pass; what was measured of 150 people is in recast/nano/identity.json."""


@pytest.fixture(scope="module")
def eye():
    return WorldFaces()


@pytest.fixture(scope="module")
def meetings(eye):
    """Each person in two scenes of their own: the scene, its true face, and the faces found in it."""
    made = []
    for n in range(PEOPLE):
        who = sample.person(Dice(SEED, "who", n), "center")
        made.append([meeting(eye, who, SEED + 1000 * n + 500 * k) for k in range(2)])
    return made


def meeting(eye, who, seed):
    """Somebody put in the place of the only person of a random scene."""
    while True:
        scene = sample.scene(seed, split="any", kind="cartoon")
        if len(scene.characters) == 1:
            break
        seed += 1
    there = replace(scene.characters[0], **{name: getattr(who, name) for name in IDENTITY})
    scene = replace(scene, characters=(there,))
    ((box, _, _),) = true_faces(scene, SIZE["width"] / SIZE["height"])
    return scene, box, eye.faces(draw(scene, **SIZE))


def own(scene, true, faces):
    """The vector of the face that is the scene's own, or None."""
    return next((face.identity for face in faces if face.box.overlap(true) > 0.5), None)


def test_faces_of_fresh_scenes_are_found_and_little_else_is(meetings):
    found = [own(*each) is not None for pair in meetings for each in pair]
    boxes = sum(len(faces) for pair in meetings for _, _, faces in pair)
    assert sum(found) >= 0.95 * len(found)
    assert sum(found) >= 0.93 * boxes


def test_one_person_is_accepted_in_other_clothes_moods_and_light(eye, meetings):
    pairs = [(own(*first), own(*second)) for first, second in meetings]
    accepted = [a is not None and b is not None and a @ b >= eye.limit for a, b in pairs]
    assert sum(accepted) >= ACCEPTED * PEOPLE


def test_different_people_are_rejected(eye, meetings):
    vectors = [own(*first) for first, _ in meetings]
    cosines = [a @ b for i, a in enumerate(vectors) for b in vectors[:i] if a is not None and b is not None]
    assert np.mean(np.array(cosines) >= eye.limit) <= 0.02
    assert len(cosines) > 150


def test_two_pictures_that_differ_in_expression_alone_show_one_person(eye):
    person = Character(skin="tan", hair="curly", hair_colour="red", beard=True)
    vectors = [
        eye.faces(draw(Scene(background="studio", characters=(replace(person, expression=mood),)), **SIZE))[0].identity
        for mood in ("happy", "angry", "calm")
    ]
    other = replace(person, skin="dark", hair="bald", hair_colour="black")
    stranger = eye.faces(draw(Scene(background="studio", characters=(other,)), **SIZE))[0].identity
    assert min(vectors[0] @ vectors[1], vectors[0] @ vectors[2]) >= eye.limit > max(each @ stranger for each in vectors)


def test_a_face_is_the_same_numbers_in_every_call_and_of_length_one(eye, meetings):
    scene, _, faces = meetings[0][0]
    again = eye.faces(draw(scene, **SIZE))
    assert [face.box for face in faces] == [face.box for face in again]
    assert all(np.array_equal(a.identity, b.identity) for a, b in zip(faces, again, strict=True))
    assert all(face.identity.shape == (64,) and abs(np.linalg.norm(face.identity) - 1) < 1e-5 for face in faces)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (256, 256), (168, 94), (180, 320)])
def test_a_face_is_found_where_it_is_at_any_size(eye, width, height):
    scene = Scene(background="forest", characters=(Character(place="left", scale=0.75),))
    ((true, gap, _),) = true_faces(scene, width / height)
    (face,) = eye.faces(draw(scene, width, height))
    assert face.box.overlap(true) > 0.7
    (left, _), (right, _) = face.eyes
    assert abs((right - left) - 2 * gap * true.width) < 0.25 * gap * true.width


def test_a_face_as_small_as_is_judged_is_found(eye):
    scene = Scene(background="room", characters=(Character(hair="long"),))
    ((true, _, _),) = true_faces(scene, 16 / 9)
    height = round((SMALLEST_PX + 2) / true.height)
    picture = cv2.resize(draw(scene, 640, 360), (round(height * 16 / 9), height), interpolation=cv2.INTER_AREA)
    assert eye.faces(picture)[0].box.overlap(true) > 0.5


def test_eyes_behind_sunglasses_are_not_marked(eye):
    scene = Scene(background="beach", characters=(Character(glasses="sunglasses"),))
    (face,) = eye.faces(draw(scene, **SIZE))
    assert face.eyes == ()


def test_faces_come_largest_first(eye):
    two = (Character(place="left", scale=0.6875), Character(place="right", scale=1.0, hair="long"))
    first, second = eye.faces(draw(Scene(background="studio", characters=two), 640, 360))
    assert first.box.left > 0.5 > second.box.right
    assert first.box.height > second.box.height


def test_nobody_is_seen_in_a_picture_of_one_colour_or_of_one_pixel(eye):
    assert eye.faces(np.full((90, 160, 3), 128, np.uint8)) == []
    assert eye.faces(np.zeros((1, 1, 3), np.uint8)) == []


def test_what_is_no_picture_is_refused(eye):
    with pytest.raises(InputError, match=r"rgb: float64 \(8, 8, 3\) came"):
        eye.faces(np.zeros((8, 8, 3)))


def test_the_limit_is_the_one_measured_of_these_networks(eye):
    measured = calibration()
    assert eye.limit == measured["limit"]
    assert measured["network"] == checksum(OWN)
    assert measured["false_accept"] <= measured["asked"] == 0.001
    assert measured["different_pairs"] > 3000
    assert WorldFaces(limit=0.25).limit == 0.25


def test_networks_without_their_calibration_say_so(tmp_path):
    copy = tmp_path / "identity.safetensors"
    copy.write_bytes(OWN.read_bytes())
    other = WorldFaces(copy)
    with pytest.raises(MissingWeights, match=r"identity\.json' is not there"):
        _ = other.limit
    copy.with_suffix(".json").write_text(json.dumps({"network": "0" * 64, "limit": 0.5}))
    with pytest.raises(WeightsError, match="of other networks"):
        _ = other.limit
    copy.with_suffix(".json").write_text("[]")
    with pytest.raises(WeightsError, match="is no calibration"):
        _ = other.limit


def test_files_that_are_absent_or_of_something_else_are_refused(tmp_path):
    with pytest.raises(MissingWeights, match=r"absent\.safetensors'?: no such file"):
        WorldFaces(tmp_path / "absent.safetensors")
    tensors = load_file(OWN)
    name = next(iter(tensors))
    save_file({**tensors, "strange": torch.zeros(1)}, tmp_path / "more.safetensors")
    save_file({key: each for key, each in tensors.items() if key != name}, tmp_path / "less.safetensors")
    save_file({**tensors, name: torch.full_like(tensors[name], torch.nan)}, tmp_path / "nan.safetensors")
    for file, why in (("more", "1 \\(strange\\)"), ("less", f"1 \\({name}\\)"), ("nan", "not finite")):
        with pytest.raises(WeightsError, match=why):
            WorldFaces(tmp_path / f"{file}.safetensors")
    with pytest.raises(ConfigError, match="score=0"):
        WorldFaces(score=0)
