"""Scenes as data: what the world accepts, what it refuses by name, and JSON that comes back as the same scene."""

import json
import time
from typing import Any

import pytest

from recast.errors import InputError
from recast.world.sample import scene as random_scene
from recast.world.scene import STEP, Character, Face, Mark, Scene, Thing, Title, check, from_json, get, put, to_json
from recast.world.suite import SUITES, frozen

FULL = Scene(
    characters=(Character(face=Face(nose=1 + STEP), dx=2 * STEP, scale=1 - STEP),),
    things=(Thing(dx=-STEP),),
    marks=(Mark(kind="sticker", place="top left"),),
    title=Title(text="WOW"),
)

REFUSED: list[tuple[str, Any]] = [
    ("variant", "3"),
    ("variant", 3.0),
    ("variant", True),
    ("variant", -1),
    ("variant", 16),
    ("blur", 1),
    ("background", "moon"),
    ("background", ["beach"]),
    ("time", None),
    ("characters", [Character()]),
    ("things", (Character(),)),
    ("title", {"text": "WOW"}),
    ("characters.0.beard", 1),
    ("characters.0.shirt", 3),
    ("characters.0.face", {}),
    ("characters.0.face.nose", 0.734375),
    ("characters.0.face.nose", 1.265625),
    ("characters.0.face.nose", 1),
    ("characters.0.face.mouth", 1.01),
    ("characters.0.face.mouth", "1.0"),
    ("characters.0.dx", float("nan")),
    ("characters.0.dx", 0.265625),
    ("characters.0.dy", -0.265625),
    ("characters.0.scale", float("inf")),
    ("characters.0.scale", 0.484375),
    ("characters.0.scale", 1.515625),
    ("things.0.dx", 0.001),
    ("things.0.dx", None),
    ("marks.0.place", "center"),
    ("marks.0.place", "all"),
    ("title.text", ""),
    ("title.text", 7),
    ("title.font", "arial"),
    ("title.font", ["anton"]),
    ("title.tilt", 6.0),
    ("title.tilt", False),
]


@pytest.mark.parametrize(("path", "value"), REFUSED, ids=lambda each: repr(each))
def test_what_the_world_does_not_know_is_refused_by_name(path: str, value: Any) -> None:
    check(FULL)
    with pytest.raises(InputError, match=f"^{path}"):
        check(put(FULL, path, value))


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        ("arrow", {"left", "center", "right"}),
        ("circle", {"left", "center", "right"}),
        ("border", {"all"}),
        ("sticker", {"top left", "top right", "bottom left", "bottom right"}),
        ("logo", {"top left", "top right", "bottom left", "bottom right", "center"}),
    ],
)
def test_each_kind_of_mark_has_places_of_its_own(kind: str, places: set[str]) -> None:
    everywhere = {"left", "center", "right", "top left", "top right", "bottom left", "bottom right", "all"}
    for place in everywhere:
        scene = Scene(marks=(Mark(kind=kind, place=place),))
        if place in places:
            check(scene)
        else:
            with pytest.raises(InputError, match=r"marks\.0\.place"):
                check(scene)


def test_every_edge_of_a_range_is_accepted() -> None:
    for path, values in (
        ("characters.0.face.nose", (48 * STEP, 80 * STEP)),
        ("characters.0.dx", (-0.25, 0.25)),
        ("characters.0.scale", (0.5, 1.5)),
        ("variant", (0, 15)),
    ):
        for value in values:
            check(put(FULL, path, value))
    check(Scene(background="leaves", variant=1 << 40))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "scene: list came"),
        (None, "scene: NoneType came"),
        ("scene", "scene: str came"),
        ({"weather": "rain"}, "weather"),
        ({"characters": {}}, "characters: dict came"),
        ({"characters": None}, "characters: NoneType came"),
        ({"characters": "ab"}, "characters: str came"),
        ({"characters": [None]}, "characters.0: NoneType came"),
        ({"characters": [{"face": []}]}, "characters.0.face: list came"),
        ({"characters": [{"face": {"chin": 1.0}}]}, "characters.0.face: .*chin"),
        ({"things": [{"dx": "0"}]}, "things.0.dx='0'"),
        ({"marks": [{}]}, "marks.0: .*kind"),
        ({"title": {}}, "title: .*text"),
        ({"title": ""}, "title: str came"),
        ({"title": False}, "title: bool came"),
        ({1: "beach"}, "scene: "),
    ],
    ids=repr,
)
def test_json_that_is_no_scene_is_refused_by_name(data: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}|^scene: .*{said}"):
        from_json(data)


def test_scenes_come_back_from_json() -> None:
    for scene in (FULL, Scene(), *(random_scene(seed, split="any") for seed in range(60))):
        assert from_json(json.loads(json.dumps(to_json(scene)))) == scene


def test_the_frozen_benchmarks_are_scenes_of_the_world() -> None:
    for name in SUITES:
        for row in frozen(name):
            for data in (*row["truth"]["contexts"], *(turn["truth"]["scene"] for turn in row["turns"])):
                assert to_json(from_json(data)) == data


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("things.x", "'x' came; a number from 0"),
        ("things.-1", "'-1' came; a number from 0"),
        ("time.foo", "attribute 'foo'"),
        ("title.text.0", "attribute '0'"),
        ("foo", "no attribute 'foo'"),
        ("characters.0.foo", "no attribute 'foo'"),
        ("", "no attribute ''"),
    ],
)
def test_a_path_that_names_nothing_is_refused(path: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        get(FULL, path)


def test_a_path_to_a_part_that_is_not_there_is_none() -> None:
    assert [get(Scene(), path) for path in ("title", "title.text", "things.0", "characters.1.shirt")] == [None] * 4
    assert get(FULL, "characters.0.face.nose") == 1 + STEP


def test_checking_costs_little_beside_drawing() -> None:
    """About 10 microseconds on one core; the bound leaves room for a busy machine."""
    best = min(_seconds(200) for _ in range(5))
    assert best / 200 < 100e-6


def _seconds(times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        check(FULL)
    return time.perf_counter() - start
