"""A title in the shape of each profile: the frame cut around the faces, nothing cut in silence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recast.errors import ConfigError
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.brief import Base, Brief, Level, Variants
from recast.thumbnails.kit import Kit, Layout
from recast.thumbnails.profiles import PROFILES
from recast.thumbnails.setting import design, reframed, text_of

FACE = Box(0.7, 0.1, 0.9, 0.6)
LEVEL = Level(name="a")
KIT = Kit(name="k", folder=Path(), layouts=(Layout(id="left", text=Box(0.05, 0.1, 0.6, 0.8)),))
BRIEF = Brief(
    title="t", text="HELLO", kit=Path(), folder=Path(), base=Base(prompt="x"),
    variants=Variants(factor="text", levels=(LEVEL,)),
)  # fmt: skip


@pytest.fixture(scope="module")
def wide():
    columns = np.linspace(0, 255, 320).astype(np.uint8)
    picture = Picture(np.repeat(np.tile(columns, (180, 1))[..., None], 3, 2))
    return design(picture, BRIEF, KIT, LEVEL, [FACE], profile=PROFILES["youtube-portable"])


def test_the_level_or_the_brief_names_the_title():
    assert text_of(BRIEF, LEVEL) == "HELLO"
    assert text_of(BRIEF, replace(LEVEL, text="WORLD")) == "WORLD"
    assert text_of(BRIEF, replace(LEVEL, text="")) == ""


def test_its_own_shape_is_left_alone(wide):
    assert reframed(wide, BRIEF, KIT, LEVEL, [FACE], profile=PROFILES["youtube-4k"]) is wide


@pytest.mark.parametrize("name", ["square", "shorts", "feed-4x5"])
def test_other_shapes_keep_the_face_and_say_what_was_cut(wide, name: str):
    profile = PROFILES[name]
    made = reframed(wide, BRIEF, KIT, LEVEL, [FACE], profile=profile)
    height, width = made.base.rgb.shape[:2]
    assert width / height == pytest.approx(profile.width / profile.height, rel=0.01)
    assert made.base.rgb.mean() > wide.base.rgb.mean()  # cut on the left, away from the face
    assert made.notes[-1].startswith(f"{name}: cut to columns ")
    assert made.lettering is not None
    assert made.lettering.text == "HELLO"


def test_a_wider_shape_loses_rows_away_from_the_face(wide):
    made = reframed(wide, BRIEF, KIT, LEVEL, [FACE], profile=PROFILES["og"])
    assert made.notes[-1] == "og: cut to columns 0 to 320 and rows 0 to 168 of the base"


def test_letters_of_another_shape_stay_off_the_face(wide):
    made = reframed(wide, BRIEF, KIT, LEVEL, [Box(0.75, 0.2, 0.85, 0.5)], profile=PROFILES["square"])
    start = int(made.notes[-1].split("columns ")[1].split(" ")[0])
    face = Box((0.75 * 320 - start) / 180, 0.2, (0.85 * 320 - start) / 180, 0.5)
    assert made.lettering is not None
    assert not any(line.box.meets(face) for line in made.lettering.lines)


def test_a_picture_without_letters_gets_none(wide):
    made = reframed(replace(wide, lettering=None), BRIEF, KIT, LEVEL, [FACE], profile=PROFILES["square"])
    assert made.lettering is None


def test_an_error_names_level_and_profile():
    picture = Picture(np.zeros((180, 320, 3), np.uint8))
    long = replace(BRIEF, text="A TITLE THAT IS MUCH TOO LONG TO BE READ BY ANYBODY AT ANY SIZE AT ALL")
    with pytest.raises(ConfigError, match=r"^a, youtube-portable: "):
        design(picture, long, KIT, LEVEL, [FACE], profile=PROFILES["youtube-portable"])
