"""Drawing: bytes that never vary, smooth edges, every attribute seen, and masks that say where each one is.

    RECAST_GOLDEN=write python -m pytest tests/world/test_draw.py -k golden

writes the hashes anew after a change that is meant to move pixels.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from recast.errors import InputError
from recast.world.draw import changed, draw, draw_parts
from recast.world.draw.people import AFFECTED
from recast.world.scene import (
    CHOICES,
    HELD,
    LOGOS,
    POSES,
    THINGS,
    Character,
    Face,
    Mark,
    Scene,
    Thing,
    Title,
    from_json,
    put,
    to_json,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "world.json"
COMMAND = "RECAST_GOLDEN=write python -m pytest tests/world/test_draw.py -k golden"
SIGMA = 255 / 10 ** (31 / 20)
"""The standard deviation of white noise at a PSNR of 31 dB."""

DRESSED = Character(hat="crown", logo="star", holding="gift", glasses="round glasses")
"""Someone on whom every colour is seen."""


def scenes() -> Iterator[tuple[str, Scene, tuple[int, int]]]:
    """Twelve pictures that between them use every file of the drawing code."""
    face = Face(width=1.125, height=0.90625, eye_size=1.15625, eye_gap=1.0625, nose=0.875, mouth=1.125)
    star = Character(hair="curly", hat="cap", logo="star", pose="waving", holding="balloon", face=face)
    pair = (
        Character(place="left", beard=True, hair="bald", glasses="sunglasses", outfit="jacket", scale=0.9375),
        Character(
            place="right", hair="ponytail", freckles=True, outfit="striped t-shirt", pose="cheering", scale=0.9375
        ),
    )
    yield "beach", Scene(characters=(star,), things=(Thing(kind="boat", size="big", place="left"),)), (256, 256)
    yield "pair", Scene(background="city", time="night", characters=pair), (336, 192)
    yield "hoodie", Scene(background="room", characters=(replace(star, outfit="hoodie", hat="beanie"),)), (192, 256)
    yield (
        "things",
        Scene(things=(Thing(kind="cat"), Thing(kind="cake", place="left"), Thing(kind="car", place="center"))),
        (256, 256),
    )
    yield "rays", Scene(background="rays", characters=(star,), title=Title(text="WOW!", font="anton")), (640, 360)
    yield "marks", Scene(characters=(star,), marks=(Mark(kind="arrow"), Mark(kind="border", place="all"))), (256, 256)
    yield "leaves", Scene(background="leaves", variant=7, characters=(star,)), (256, 256)
    yield (
        "clouds",
        Scene(background="clouds", time="sunset", blur=True, things=(Thing(kind="rocket", size="big"),)),
        (256, 256),
    )
    yield "watercolor", Scene(background="forest", style="watercolor", characters=pair), (256, 256)
    yield "poster", Scene(background="desert", style="poster", look="warm", characters=(star,)), (336, 192)
    yield "pixel", Scene(background="mountains", time="winter", style="pixel", characters=(star,)), (256, 256)
    yield "logo", Scene(background="plain", marks=(Mark(kind="logo", shape="moon", colour="yellow"),)), (128, 128)


def hashes() -> dict[str, str]:
    """The pictures' hashes by name."""
    return {name: hashlib.sha256(draw(scene, *size).tobytes()).hexdigest() for name, scene, size in scenes()}


def test_golden_pictures_have_not_moved() -> None:
    if os.environ.get("RECAST_GOLDEN") == "write":
        data = [
            {"name": name, "size": list(size), "scene": to_json(scene), "sha256": hashes()[name]}
            for name, scene, size in scenes()
        ]
        GOLDEN.write_text(json.dumps({"command": COMMAND, "pictures": data}, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())["pictures"]
    moved = [
        each["name"]
        for each in golden
        if hashlib.sha256(draw(from_json(each["scene"]), *each["size"]).tobytes()).hexdigest() != each["sha256"]
    ]
    assert len(golden) == 12
    assert moved == [], f"if that was meant: {COMMAND}"


def test_bytes_are_the_same_in_processes_with_other_threads_and_hash_seeds() -> None:
    program = (
        "import sys, json, cv2; cv2.setNumThreads(int(sys.argv[1])); from tests.world.test_draw import hashes; "
        "print(json.dumps(hashes()))"
    )
    root, answers = Path(__file__).parents[2], [hashes()]
    for threads, seed in ((1, 1), (4, 2)):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONHASHSEED": str(seed)}
        run = [sys.executable, "-c", program, str(threads)]
        answers.append(
            json.loads(subprocess.run(run, env=environment, cwd=root, check=True, capture_output=True).stdout)
        )
    assert answers[0] == answers[1] == answers[2]


def test_what_was_drawn_before_leaves_no_trace() -> None:
    pictures = {name: draw(scene, *size).tobytes() for name, scene, size in scenes()}
    for name, scene, size in reversed(list(scenes())):
        assert draw(scene, *size).tobytes() == pictures[name]


def test_labels_do_not_change_the_picture() -> None:
    for _, scene, size in scenes():
        np.testing.assert_array_equal(draw_parts(scene, *size).pixels, draw(scene, *size))


def test_a_picture_twice_as_large_and_averaged_is_the_picture() -> None:
    scene = Scene(background="plain", characters=(DRESSED,), things=(Thing(kind="cat"),))
    small, large = draw(scene, 256, 256), cv2.resize(draw(scene, 512, 512), (256, 256), interpolation=cv2.INTER_AREA)
    error = np.mean((small.astype(float) - large) ** 2)
    assert 10 * np.log10(255**2 / error) > 31


ATTRIBUTES = [(kind, name) for kind in (Character, Thing) for name in CHOICES[kind]]


def shown(kind: type, name: str, value: Any) -> np.ndarray:
    """A picture of someone or something with an attribute, on a plain ground."""
    if kind is Thing:
        return draw(Scene(background="plain", things=(replace(Thing(), **{name: value}),)))
    usual = Character() if name in ("hair", "expression", "glasses", "hat", "holding", "logo") else DRESSED
    if name in ("hair_colour", "skin", "freckles"):
        usual = replace(usual, glasses="none")
    return draw(Scene(background="plain", characters=(replace(usual, **{name: value}),)))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """How far noise at 31 dB must go, in standard deviations, to take one picture for the other."""
    return float(np.sqrt(((a.astype(float) - b) ** 2).sum()) / (2 * SIGMA))


@pytest.mark.parametrize(("kind", "name"), ATTRIBUTES, ids=lambda value: getattr(value, "__name__", value))
def test_every_two_values_are_told_apart_in_noise(kind: type, name: str) -> None:
    pictures = {value: shown(kind, name, value) for value in CHOICES[kind][name]}
    near = min((distance(pictures[a], pictures[b]), a, b) for a, b in combinations(pictures, 2))
    assert near[0] > 20, f"{near[1]} and {near[2]}"


@pytest.mark.parametrize("name", ["width", "height", "eye_size", "eye_gap", "nose", "mouth"])
def test_a_face_is_told_from_one_an_eighth_larger(name: str) -> None:
    plain = Character()
    faces = [replace(plain, face=replace(Face(), **{name: size})) for size in (0.9375, 1.0625)]
    first, second = (draw(Scene(background="plain", characters=(face,))) for face in faces)
    assert distance(first, second) > 20


@pytest.mark.parametrize("skin", CHOICES[Character]["skin"])
def test_freckles_and_moods_are_seen_on_every_skin_and_in_a_black_beard(skin: str) -> None:
    usual = Character(skin=skin, hair_colour="black")
    freckled = replace(usual, freckles=True)
    moods = [
        replace(usual, expression=mood, beard=True, glasses="sunglasses") for mood in CHOICES[Character]["expression"]
    ]
    for a, b in [(usual, freckled), *combinations(moods, 2)]:
        first, second = (draw(Scene(background="plain", characters=(each,))) for each in (a, b))
        assert distance(first, second) > 20


@pytest.mark.parametrize("shirt", CHOICES[Character]["logo_colour"])
def test_a_logo_of_the_shirts_colour_is_seen(shirt: str) -> None:
    plain = Character(shirt=shirt, logo_colour=shirt)
    pictures = [draw(Scene(background="plain", characters=(replace(plain, logo=logo),))) for logo in ("none", *LOGOS)]
    assert min(distance(a, b) for a, b in combinations(pictures, 2)) > 10


def assert_kept(before: np.ndarray, after: np.ndarray, where: np.ndarray, words: str) -> None:
    """Equal, but for the trace that `Drawn.mask` admits: under 8 levels in at most 2 pixels."""
    trace = np.abs(before.astype(int) - after).max(-1) * where
    assert trace.max() < 8, words
    assert (trace > 0).sum() <= 2, words


@pytest.mark.parametrize("name", list(CHOICES[Character]))
def test_nothing_changes_outside_the_masks_of_what_changed(name: str) -> None:
    """Both masks: where the part was, and where it is now."""
    for number, (_, scene, _) in enumerate(list(scenes())[:5]):
        if not scene.characters:
            continue
        scene = replace(scene, style="flat", title=None)
        for value in CHOICES[Character][name][number % 2 :: 2]:
            other = put(scene, f"characters.0.{name}", value)
            before, after = draw_parts(scene, 192, 128), draw_parts(other, 192, 128)
            paths = [f"characters.0.{part}" for part in AFFECTED.get(name, ())] or ["characters.0"]
            may = np.any([each.mask(path) for each in (before, after) for path in paths], axis=0)
            assert_kept(before.pixels, after.pixels, ~may, f"{name} {value}")


@pytest.mark.parametrize("kind", THINGS)
def test_nothing_changes_outside_the_masks_of_a_thing(kind: str) -> None:
    for size in ("small", "big"):
        scene = Scene(characters=(DRESSED,), things=(Thing(kind=kind, size=size), Thing(kind="ball", place="left")))
        before, after = draw_parts(scene), draw_parts(replace(scene, things=scene.things[1:]))
        moved = draw_parts(put(scene, "things.0.colour", "green"))
        assert_kept(before.pixels, after.pixels, ~before.mask("things.0"), size)
        assert_kept(before.pixels, moved.pixels, ~before.mask("things.0"), size)
        assert changed(before.pixels, moved.pixels).any()


def test_masks_of_graphics_are_the_pixels_they_changed() -> None:
    scene = Scene(
        characters=(DRESSED,), title=Title(text="WOW", font="anton"), marks=(Mark(kind="sticker", place="top left"),)
    )
    drawn, bare = draw_parts(scene), draw(replace(scene, title=None, marks=()))
    assert not (changed(drawn.pixels, bare) & ~(drawn.mask("title") | drawn.mask("marks.0"))).any()
    assert drawn.mask("title").any()
    assert drawn.mask("marks.0").any()


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("holding", HELD)
def test_arms_and_held_things_leave_face_and_logo_free(pose: str, holding: str) -> None:
    for logo in ("circle", "cross"):
        usual = Character(logo=logo, hair="bald")
        free, busy = (
            draw_parts(Scene(background="plain", characters=(each,)))
            for each in (usual, replace(usual, pose=pose, holding=holding))
        )
        for part in ("logo", "eyes", "brows", "nose", "mouth"):
            name = f"characters.0.{part}"
            areas = [int((each.labels == each.names.index(name)).sum()) for each in (free, busy)]
            assert areas[0] == areas[1] > 50, part


@pytest.mark.parametrize("size", [(256, 256), (336, 192)])
@pytest.mark.parametrize("pose", POSES)
def test_two_people_show_both_their_faces(pose: str, size: tuple[int, int]) -> None:
    left = Character(place="left", scale=0.9375, pose=pose, holding="gift")
    for hair in CHOICES[Character]["hair"]:
        right = replace(left, place="right", hair=hair, hat="top hat")
        alone = draw_parts(Scene(characters=(left,)), *size)
        both = draw_parts(Scene(characters=(left, right)), *size)
        for part in ("eyes", "brows", "nose", "mouth"):
            areas = [int((each.labels == each.names.index(f"characters.0.{part}")).sum()) for each in (alone, both)]
            assert areas[0] == areas[1], (hair, part)


@pytest.mark.parametrize("size", [(64, 64), (64, 192), (192, 64), (65, 101), (1280, 720)])
def test_any_size_and_shape_is_drawn(size: tuple[int, int]) -> None:
    pixels = draw(Scene(characters=(DRESSED,), things=(Thing(),)), *size)
    assert pixels.shape == (size[1], size[0], 3)
    assert pixels.dtype == np.uint8
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize(
    ("size", "names"),
    [((63, 64), "width=63"), ((64, 63), "height=63"), ((300, 99), "width=300"), ((99, 300), "height=300")],
)
def test_a_size_that_cannot_be_drawn_is_refused(size: tuple[int, int], names: str) -> None:
    with pytest.raises(InputError, match=names):
        draw(Scene(), *size)


def test_a_photograph_is_the_ground_pixel_by_pixel() -> None:
    photograph = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
    np.testing.assert_array_equal(draw(Scene(background="photograph"), 128, 96, photograph=photograph), photograph)
    drawn = draw_parts(Scene(background="photograph", characters=(DRESSED,)), 128, 96, photograph=photograph)
    assert not (changed(drawn.pixels, photograph) & ~drawn.mask("characters.0")).any()


def test_a_photograph_that_does_not_fit_is_refused() -> None:
    photograph = np.zeros((96, 128, 3), np.uint8)
    for scene, pixels, words in (
        (Scene(background="photograph"), photograph[:95], r"uint8 \(95, 128, 3\) came"),
        (Scene(background="photograph"), photograph.astype(np.float32), "float32"),
        (Scene(background="photograph"), None, "none came"),
        (Scene(), photograph, "one came with background='beach'"),
    ):
        with pytest.raises(InputError, match=words):
            draw(scene, 128, 96, photograph=pixels)


def test_pictures_of_two_sizes_are_not_compared() -> None:
    with pytest.raises(InputError, match="two uint8 pictures"):
        changed(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8))
