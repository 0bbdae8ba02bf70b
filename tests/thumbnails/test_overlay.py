"""What was found is drawn where it was found, in the colour of its verdict, over the zones of the profile."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ImageColor

from recast.errors import ConfigError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.findings import Finding
from recast.thumbnails.overlay import COLOURS, overlay, write
from recast.thumbnails.profiles import PROFILES

SQUARE = PROFILES["square"]
GREY = Picture(np.full((1280, 1280, 3), 128, np.uint8))
BOX = Box(0.3, 0.4, 0.6, 0.7)


def found(verdict: str, *boxes: Box, check: str = "T3") -> Finding:
    return Finding(check=check, verdict=verdict, says=f"{check} says so", boxes=boxes)


def is_colour(drawn: Picture, verdict: str) -> np.ndarray:
    return (drawn.rgb == ImageColor.getrgb(COLOURS[verdict])).all(-1)


@pytest.mark.parametrize("verdict", ["fail", "warn"])
def test_a_box_is_drawn_on_its_sides_in_the_colour_of_its_verdict(verdict):
    marked = is_colour(overlay(GREY, [found(verdict, BOX)], profile=SQUARE), verdict)
    left, top, right, bottom = BOX.pixels(width=1280, height=1280)
    assert marked[bottom - 1, left:right].all()
    assert marked[top:bottom, left].all()
    assert marked[top:bottom, right - 1].all()
    assert not marked[top + 20 : bottom - 20, left + 20 : right - 20].any()
    assert not marked[bottom:].any()


def test_what_passes_or_was_not_looked_at_is_not_drawn():
    nothing = overlay(GREY, [], profile=SQUARE).rgb
    quiet = overlay(GREY, [found("pass", BOX), found("absent", BOX)], profile=SQUARE).rgb
    assert np.array_equal(quiet, nothing)


def test_what_fails_lies_over_what_warns():
    drawn = overlay(GREY, [found("fail", BOX), found("warn", BOX, check="C1")], profile=SQUARE)
    left, _, right, bottom = BOX.pixels(width=1280, height=1280)
    assert is_colour(drawn, "fail")[bottom - 1, left:right].all()
    assert is_colour(drawn, "warn").any()  # its label stays


def test_badge_and_bar_are_drawn_where_the_profile_has_them():
    wide = Picture(np.full((720, 1280, 3), 128, np.uint8))
    with_badge, without = (overlay(wide, [], profile=PROFILES[name]).rgb for name in ("youtube-portable", "x"))
    changed = (with_badge != without).any(-1)
    assert changed[692:, :1270].all()
    assert changed[600:680, 1010:1200].mean() > 0.95  # all but the dots of the margin
    assert not changed[:588].any()
    assert not changed[:690, :990].any()
    assert with_badge[705, 100, 0] > 180 > 90 > with_badge[705, 100, 1]  # watched: red


def test_what_has_no_place_is_said_below(tmp_path: Path):
    findings = [found("warn", check="C3"), found("fail", check="G1"), found("fail", BOX)]
    path = write(tmp_path / "seen.png", GREY, findings, profile=SQUARE)
    drawn = image.read(path)
    assert (drawn.width, drawn.height) == (1280, 1280 + 2 * 32 + 12)
    rows = [np.flatnonzero(is_colour(drawn, verdict)[1280:].any(1)).mean() for verdict in ("fail", "warn")]
    assert rows[0] < rows[1]


def test_a_small_picture_is_enlarged_and_transparency_is_grey():
    small = Picture(np.zeros((90, 160, 3), np.uint8), np.zeros((90, 160), np.uint8))
    drawn = overlay(small, [], profile=PROFILES["x"])
    assert (drawn.width, drawn.height) == (1280, 720)
    assert (drawn.rgb[360, 640] == 128).all()


def test_labels_at_the_border_stay_inside():
    boxes = [Box(-0.1, -0.1, 0.02, 0.02), Box(0.97, 0.97, 1.2, 1.2), Box(0.97, 0.98, 1.2, 1.3)]
    drawn = overlay(GREY, [found("fail", each) for each in boxes], profile=SQUARE)
    assert is_colour(drawn, "fail")[-40:, -60:].sum() > 100
    assert is_colour(drawn, "fail")[:40, :60].sum() > 100


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"\.png, \.jpg or \.webp"):
        write(tmp_path / "seen.gif", GREY, [])
