"""The eye: its shortcuts give what plain drawing and comparing give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recast.world import sample
from recast.world.attributes import candidates
from recast.world.draw import draw
from recast.world.eye import Eye
from recast.world.scene import Character, Mark, Scene, Thing, Title
from tests.world.pictures import noisy

PERSON = Scene(
    background="beach",
    characters=(Character(place="center", shirt="blue"),),
    things=(Thing(kind="car", place="left"),),
)
TITLED = replace(PERSON, title=Title(text="GO", plate="red"))
SCENES = {
    "title": TITLED,
    "look": replace(TITLED, look="warm"),
    "style": replace(TITLED, style="watercolor"),
    "mark": replace(TITLED, look="contrast", marks=(Mark(kind="arrow", place="center"),)),
    "plain": Scene(background="plain", things=(Thing(kind="car", size="big", place="center"),), style="poster"),
}


def eye() -> Eye:
    return Eye(np.zeros((96, 128, 3), np.uint8))


@pytest.mark.parametrize("name", SCENES)
def test_a_drawing_made_in_stages_has_the_bytes_of_one_made_at_once(name: str) -> None:
    looking = eye()
    for scene in (SCENES[name], replace(SCENES[name], title=Title(text="NO")), SCENES[name]):
        assert np.array_equal(looking.drawn(scene), draw(scene, 128, 96))


def test_a_drawing_on_another_ground_is_within_two_levels_of_the_exact_one() -> None:
    on_ground = eye().on_grounds(TITLED)
    for background, time, variant in (("beach", "night", 3), ("city", "winter", 1), ("rays", "day", 7)):
        scene = replace(TITLED, background=background, time=time, variant=variant)
        off = np.abs(on_ground(scene).astype(int) - draw(scene, 128, 96))
        assert off.max() <= 2


@pytest.mark.parametrize("path", ["characters.0.shirt", "things.0.kind", "style", "look"])
def test_the_nearest_scene_is_the_best_of_a_comparison(path: str) -> None:
    scene = sample.scene(3) if path in ("style", "look") else PERSON
    options = candidates(scene, path)
    looking = Eye(noisy(draw(options[-1], 128, 96)))
    assert looking.nearest(options) == options[looking.compare(options).best] == options[-1]
