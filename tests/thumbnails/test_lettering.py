"""Lettering: logo, room, title and colours together, by a kit."""

from pathlib import Path

import numpy as np
import pytest

from recast.errors import ConfigError
from recast.pixels.image import Picture
from recast.thumbnails.boxes import BADGE, HARD, SOFT, Box
from recast.thumbnails.kit import Colour, Kit, Layout, LogoStyle, Rules, StrokeStyle, TextStyle
from recast.thumbnails.lettering import headline, lettered, resolved
from tests.thumbnails.faces import ANTON, GEOLOGICA, font

BASE = Picture(np.full((90, 160, 3), (20, 30, 80), np.uint8))
FACE = Box(0.55, 0.1, 0.95, 0.9)


def kit(folder: Path, **options) -> Kit:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><path fill="#FFFFFF" d="M0 0H20V10H0Z"/></svg>'
    (folder / "logo.svg").write_text(svg)
    usual = {
        "palette": (Colour(role="accent", hex="#FFD21F"), Colour(role="ink", hex="#0B0B0F")),
        "fonts": (font(ANTON, case="upper"),),
        "text_style": TextStyle(fill="accent", stroke=StrokeStyle(color="ink", px=8)),
        "logo": LogoStyle(file=folder / "logo.svg"),
        "layouts": (
            Layout(id="right", text=Box(0.05, 0.1, 0.5, 0.6), face=FACE),
            Layout(id="left", text=Box(0.5, 0.1, 0.95, 0.6), logo="top-right"),
        ),
    }
    return Kit(name="tests", folder=folder, **(usual | options))


def ink(design):
    boxes = [line.box for line in design.lettering.lines]
    return Box(min(b.left for b in boxes), boxes[0].top, max(b.right for b in boxes), boxes[-1].bottom)


def test_title_and_logo_keep_clear_of_faces_badge_and_one_another(tmp_path):
    face = Box(0.35, 0.1, 0.7, 0.9)
    design = lettered(BASE, "I built it", kit(tmp_path), faces=[face])
    assert design.layout == "right"
    assert design.notes == ()
    title, clear = ink(design), 0.02
    assert not title.meets(face)
    assert not title.meets(design.logo.box.grown(clear, clear * 16 / 9))
    assert not design.logo.box.meets(face)
    assert title.is_within(HARD)


def test_without_faces_the_layouts_own_is_kept_free(tmp_path):
    layouts = (Layout(id="over", text=Box(0.05, 0.1, 0.95, 0.9), face=Box(0.4, 0.0, 1.0, 1.0)),)
    assert not ink(lettered(BASE, "Oh no", kit(tmp_path, layouts=layouts))).meets(layouts[0].face)
    assert ink(lettered(BASE, "Oh no", kit(tmp_path, layouts=layouts), faces=[])).meets(layouts[0].face)


def test_a_layout_is_chosen_by_name(tmp_path):
    design = lettered(BASE, "Oh no", kit(tmp_path), layout="left")
    assert ink(design).left >= 0.5
    assert design.logo.box.right == pytest.approx(SOFT.right)
    with pytest.raises(ConfigError, match=r"layout='middle'.*right, left"):
        lettered(BASE, "Oh no", kit(tmp_path), layout="middle")


def test_roles_become_colours(tmp_path):
    style = resolved(kit(tmp_path))
    assert (style.fill, style.stroke.color) == ("#FFD21F", "#0B0B0F")
    assert resolved(kit(tmp_path), fill="ink").fill == "#0B0B0F"
    assert lettered(BASE, "Oh no", kit(tmp_path), fill="#FFFFFF").lettering.fill == "#FFFFFF"


def test_the_kits_contrast_and_the_pictures_decide(tmp_path):
    bare = kit(tmp_path, text_style=TextStyle(fill="ink"), logo=None)
    design = lettered(BASE, "Oh no", bare)
    assert design.lettering.fill == "#FFD21F"
    assert "in another colour" in design.notes[0]
    lax = kit(tmp_path, text_style=TextStyle(fill="ink"), logo=None, rules=Rules(min_contrast=1.0))
    assert lettered(BASE, "Oh no", lax).lettering.fill == "#0B0B0F"


def test_the_badge_is_free_unless_the_rules_or_the_frame_have_none(tmp_path):
    layouts = (Layout(id="low", text=Box(0.75, 0.75, 1, 1)),)
    with pytest.raises(ConfigError):
        lettered(BASE, "Oh no", kit(tmp_path, layouts=layouts))
    for design in (
        lettered(BASE, "Oh no", kit(tmp_path, layouts=layouts, rules=Rules(forbid_badge_zone=False))),
        lettered(BASE, "Oh no", kit(tmp_path, layouts=layouts), badge=False),
    ):
        assert ink(design).meets(BADGE)


def test_a_kit_of_nothing_but_a_name_still_letters(tmp_path):
    design = lettered(BASE, "Oh no", Kit(name="bare", folder=tmp_path))
    assert design.lettering.font == "anton.ttf"
    assert "the kit names none; anton.ttf is set" in design.notes[-1]
    assert ink(design).is_within(SOFT)
    assert design.logo is None


def test_the_headline_font_is_the_one_of_that_role(tmp_path):
    other = font(GEOLOGICA)
    fonts = (font(ANTON), other)
    assert headline(kit(tmp_path, fonts=fonts)).file == ANTON
    named = (type(other)(role="body", file=GEOLOGICA, license="OFL-1.1"), font(ANTON))
    assert headline(kit(tmp_path, fonts=named)).file == ANTON


def test_no_title_leaves_the_logo(tmp_path):
    design = lettered(BASE, None, kit(tmp_path))
    assert design.lettering is None
    assert design.logo is not None
