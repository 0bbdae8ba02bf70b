"""Vector: a design as SVG, drawn by resvg as it is meant."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from recast.errors import ConfigError
from recast.pixels.image import Picture
from recast.thumbnails.boxes import FRAME, Box
from recast.thumbnails.design import Design, Logo
from recast.thumbnails.fitting import fit
from recast.thumbnails.kit import ShadowStyle, StrokeStyle, TextStyle
from recast.thumbnails.render import coverage, rasterize
from recast.thumbnails.vector import to_svg
from tests.thumbnails.faces import ANTON, GEOLOGICA, font, squares

SIZE = {"width": 320, "height": 180}
BASE = Picture(np.full((180, 320, 3), 200, np.uint8))
STYLE = TextStyle(fill="#FFD21F", stroke=StrokeStyle(color="#0B0B0F", px=24))


def drawn(design, **size):
    size = size or SIZE
    return rasterize(to_svg(design, **size), **size)


def lettering(text="Oh no", style=STYLE, **options):
    return fit(text, font(GEOLOGICA), style, area=FRAME, **options)


def test_the_document_has_shapes_alone_and_the_size_asked_for():
    root = ElementTree.fromstring(to_svg(Design(base=BASE, lettering=lettering()), **SIZE))
    assert (root.get("width"), root.get("height")) == ("320", "180")
    assert {each.tag.rpartition("}")[2] for each in root.iter()} <= {"svg", "defs", "path", "g", "use"}


def test_strokes_lie_under_all_fills():
    """A thick stroke eats nothing: every pixel that a glyph covers whole has the fill's colour."""
    made = lettering("joy\nÅBB")
    picture = drawn(Design(base=BASE, lettering=made))
    whole = coverage(made, **SIZE) == 1
    assert whole.sum() > 1000
    assert (picture.rgb[whole] == (0xFF, 0xD2, 0x1F)).all()
    bare = drawn(Design(base=BASE, lettering=replace(made, stroke=None)))
    assert (picture.alpha > 0).sum() > 1.2 * (bare.alpha > 0).sum()


def test_strokes_reach_half_their_width_beyond_the_ink():
    made = lettering("HILT")
    picture = drawn(Design(base=BASE, lettering=made))
    columns = np.flatnonzero((picture.alpha > 128).any(0))
    reach = made.stroke.width / 2 * 180
    left, right = made.lines[0].box.left * 320 - reach, made.lines[0].box.right * 320 + reach
    assert (columns[0], columns[-1] + 1) == pytest.approx((left, right), abs=1)


def test_overlapping_contours_are_filled(tmp_path):
    made = fit("H", font(squares(tmp_path / "squares.ttf")), TextStyle(), area=FRAME)
    box = made.lines[0].box
    middle = coverage(made, **SIZE)[
        int((box.top + box.bottom) / 2 * 180), int(box.left * 320) + 1 : int(box.right * 320) - 1
    ]
    assert (middle == 1).all()


def test_shadows_fall_where_they_are_sent_as_dark_as_they_are_asked_for():
    """Under letters that are moved away by their own height and more, the shadow alone is left."""
    style = TextStyle(fill="#FFFFFF", shadow=ShadowStyle(dx=0, dy=200, blur=0, opacity=0.5))
    made = fit("III", font(ANTON), style, area=Box(0.2, 0.1, 0.8, 0.4))
    box = made.lines[0].box
    picture = drawn(Design(base=BASE, lettering=made))
    letters = coverage(made, **SIZE)
    moved = np.zeros_like(letters)
    moved[50:] = letters[:-50]  # 200 of 720 is 50 of 180
    only_shadow = (moved == 1) & (letters == 0)
    assert only_shadow.sum() > 100
    assert picture.alpha[only_shadow] == pytest.approx(127.5, abs=1)
    assert (picture.rgb[only_shadow] == 0).all()
    assert box.height > 0.15


def test_a_blurred_shadow_spreads_evenly_and_is_not_cut_off():
    """The sum of alpha is that of the sharp shadow: the filter's box holds all of it."""
    sums = []
    for blur in (0, 24):
        style = TextStyle(fill="#FFFFFF", shadow=ShadowStyle(dx=0, dy=0, blur=blur, opacity=1))
        made = fit("OH", font(ANTON), style, area=Box(0.3, 0.3, 0.7, 0.7))
        design = Design(base=BASE, lettering=made)
        alpha = rasterize(to_svg(design, **SIZE, parts=("shadow",)), **SIZE).alpha.astype(float)
        sums.append(alpha.sum())
    assert sums[1] == pytest.approx(sums[0], rel=0.02)
    assert alpha.max() < 255


def test_a_plate_is_a_box_of_its_colour():
    made = lettering("HI", style=TextStyle(fill="#FFFFFF"), plate="#E0242B")
    picture = drawn(Design(base=BASE, lettering=made))
    left, top, right, bottom = made.plate.box.pixels(**SIZE)
    inside = picture.rgb[top + 4 : bottom - 4, left + 1 : right - 1][
        coverage(made, **SIZE)[top + 4 : bottom - 4, left + 1 : right - 1] == 0
    ]
    assert (inside == (0xE0, 0x24, 0x2B)).all()
    assert picture.alpha[:, : left - 1].max() == 0


def test_a_logos_styles_and_names_reach_nothing_else():
    logo = Logo(
        file="logo.svg",
        box=Box(0.8, 0.7, 0.9, 0.9),
        svg='<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><style>path{fill:#00FF00}</style>'
        '<path id="line0" d="M0 0H10V10H0Z"/></svg>',
    )
    made = fit("Oh no", font(GEOLOGICA), TextStyle(fill="#FFFFFF"), area=Box(0, 0, 0.7, 0.6))
    picture = drawn(Design(base=BASE, lettering=made, logo=logo))
    assert (picture.rgb[coverage(made, **SIZE) == 1] == 255).all()
    assert tuple(picture.rgb[int(0.8 * 180), int(0.85 * 320)]) == (0, 255, 0)


def test_fine_lines_of_a_large_logo_are_averaged():
    """A checkerboard of single pixels, shown at a tenth of its size, is grey; sampled at points it would flicker."""
    board = np.indices((400, 400)).sum(0) % 2 * 255
    logo = Logo(
        file="logo.png", box=Box(0.5, 0.5, 0.625, 0.722), raster=Picture(np.dstack([board] * 3).astype(np.uint8))
    )
    picture = drawn(Design(base=BASE, logo=logo))
    inner = picture.rgb[95:125, 165:195]
    assert inner.min() > 110
    assert inner.max() < 145


def test_a_logo_of_pixels_keeps_its_alpha():
    raster = Picture(np.full((8, 8, 3), (255, 0, 0), np.uint8), np.full((8, 8), 128, np.uint8))
    picture = drawn(Design(base=BASE, logo=Logo(file="logo.png", box=Box(0.5, 0.5, 0.625, 0.722), raster=raster)))
    assert picture.alpha[105, 180] == pytest.approx(128, abs=1)
    assert picture.alpha[20, 20] == 0


def test_the_same_design_is_the_same_document():
    first, second = (to_svg(Design(base=BASE, lettering=lettering()), **SIZE) for _ in range(2))
    assert first == second
    assert not re.search(r"-0[ \"]|\de-|nan|inf", first)


def test_another_shape_than_the_frames_is_refused():
    design = Design(base=BASE, lettering=lettering())
    to_svg(design, width=168, height=94)
    with pytest.raises(ConfigError, match=r"1080x1080 came.*take 1920x1080"):
        to_svg(design, width=1080, height=1080)
