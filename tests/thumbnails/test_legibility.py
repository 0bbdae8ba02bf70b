"""Legibility: the first of the kit's ways that can be read on the picture, and nothing that the kit has not."""

import numpy as np
import pytest

from recast.errors import ConfigError
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.fitting import fit
from recast.thumbnails.kit import StrokeStyle, TextStyle
from recast.thumbnails.legibility import LEAST, NEUTRAL, legible, measured
from recast.thumbnails.render import coverage, resized
from tests.thumbnails.faces import ANTON, font

WHITE, BLACK, RED, YELLOW = "#FFFFFF", "#000000", "#E0242B", "#FFD21F"


def setting(style, plate):
    return fit("Oh no", font(ANTON), style, area=Box(0.2, 0.3, 0.8, 0.7), plate=plate)


def plain(*colour):
    return Picture(np.full((90, 160, 3), colour, np.uint8))


def stripes():
    """Black and white in turn, in bands as high as a tenth of the frame: no one fill can be read on both."""
    rows = np.arange(90) // 9 % 2 * 255
    return Picture(np.broadcast_to(rows[:, None, None], (90, 160, 3)).astype(np.uint8))


def test_what_can_be_read_stays_as_it_is():
    found = legible(setting, TextStyle(fill=WHITE), plain(10, 10, 60), palette=[RED, YELLOW])
    assert found.style == TextStyle(fill=WHITE)
    assert found.note == ""
    assert found.contrast >= LEAST


def test_another_colour_of_the_palette_comes_first():
    found = legible(setting, TextStyle(fill=WHITE), plain(255, 250, 240), palette=[YELLOW, RED, BLACK])
    assert found.style == TextStyle(fill=BLACK)
    assert found.lettering.fill == BLACK
    assert "in another colour: fill #000000; contrast" in found.note


def test_a_stroke_comes_where_no_fill_alone_can_be_read():
    found = legible(setting, TextStyle(fill=WHITE), stripes(), palette=[RED, BLACK])
    assert found.style.fill == WHITE
    assert found.style.stroke.color == BLACK
    assert found.contrast >= LEAST
    assert found.lettering.plate is None


def test_of_two_strokes_the_fill_that_is_read_better_without_one_wins():
    """Most of the base is dark, with a light band: light letters with a dark stroke, not the other way round."""
    rows = np.where(np.arange(90) // 3 % 4 == 0, 255, 0)
    base = Picture(np.broadcast_to(rows[:, None, None], (90, 160, 3)).astype(np.uint8))
    mid = "#777777"
    found = legible(setting, TextStyle(fill=mid), base, palette=[BLACK, WHITE])
    other = legible(setting, TextStyle(fill=mid), Picture(255 - base.rgb), palette=[BLACK, WHITE])
    assert (found.style.fill, other.style.fill) == (WHITE, BLACK)


def test_a_plate_comes_where_the_kits_stroke_is_too_thin():
    style = TextStyle(fill=WHITE, stroke=StrokeStyle(color=BLACK, px=0.5))
    found = legible(setting, style, stripes(), palette=[RED])
    assert found.lettering.plate is not None
    assert found.lettering.stroke is None
    assert found.contrast >= LEAST
    assert "on a plate" in found.note


def test_no_colour_but_the_kits_is_ever_used():
    allowed = {YELLOW, RED, "#123456"}
    for base in (plain(128, 128, 128), plain(255, 255, 255), plain(0, 0, 0), stripes()):
        style = TextStyle(fill=YELLOW, stroke=StrokeStyle(color="#123456", px=2))
        found = legible(setting, style, base, palette=[RED])
        used = {found.lettering.fill}
        used |= {found.lettering.stroke.colour} if found.lettering.stroke else set()
        used |= {found.lettering.plate.colour} if found.lettering.plate else set()
        assert used <= allowed


def test_a_palette_that_cannot_be_read_is_said():
    found = legible(setting, TextStyle(fill=WHITE), plain(255, 255, 255), palette=["#FEFEFE"])
    assert found.contrast < LEAST
    assert "below 4.5" in found.note
    assert "the palette does no better" in found.note


def test_a_kit_without_a_palette_has_black_and_white():
    found = legible(setting, TextStyle(fill="#808080"), plain(130, 130, 130), palette=[])
    assert found.style.fill in NEUTRAL
    assert found.contrast >= LEAST


def test_a_plate_without_room_is_passed_over_and_no_room_at_all_is_an_error():
    def tight(style, plate):
        if plate or style.stroke:
            raise ConfigError("no room")
        return setting(style, plate)

    found = legible(tight, TextStyle(fill=WHITE), stripes(), palette=[BLACK])
    assert found.lettering.plate is None
    assert "below 4.5" in found.note

    def never(style, plate):
        raise ConfigError("no room")

    with pytest.raises(ConfigError, match="no room"):
        legible(never, TextStyle(fill=WHITE), stripes(), palette=[BLACK])


def test_contrast_is_that_of_the_letters_to_what_is_around_them():
    base = resized(plain(0, 0, 0), width=640, height=360)
    cover = coverage(setting(TextStyle(), None), width=640, height=360)
    assert measured(setting(TextStyle(fill=WHITE), None), base, cover) == pytest.approx(21, abs=0.5)
    assert measured(setting(TextStyle(fill=BLACK), None), base, cover) == pytest.approx(1, abs=0.01)
