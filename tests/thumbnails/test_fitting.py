"""Fitting: the largest size there is room for, whole words, nothing covered that must stay free."""

import re
from itertools import pairwise

import numpy as np
import pytest

from recast.errors import ConfigError, InputError
from recast.thumbnails.boxes import BADGE, BAR, FRAME, HARD, SOFT, Box
from recast.thumbnails.fitting import CAP_GOOD, CAP_LEAST, CAP_MOST, GAP, PLATE_PAD, fit, free_area, free_areas
from recast.thumbnails.kit import Rules, ShadowStyle, StrokeStyle, TextStyle
from recast.thumbnails.render import coverage
from tests.thumbnails.faces import ANTON, CJK, GEOLOGICA, HEBREW, font

PLAIN = TextStyle(fill="#FFFFFF")
STROKED = TextStyle(fill="#FFFFFF", stroke=StrokeStyle(color="#000000", px=20))
LEFT_HALF = Box(0.05, 0.1, 0.5, 0.6)


def texts(lettering):
    return [line.text for line in lettering.lines]


def around(lettering, by=0.0):
    """The ink of all lines, grown by a share of the height."""
    boxes = [line.box for line in lettering.lines]
    return Box(min(box.left for box in boxes), boxes[0].top, max(box.right for box in boxes), boxes[-1].bottom).grown(
        by / lettering.aspect, by
    )


@pytest.mark.parametrize("style", [PLAIN, STROKED])
@pytest.mark.parametrize(
    ("area", "avoid"),
    [
        (LEFT_HALF, []),
        (FRAME, [Box(0.3, 0.0, 0.7, 0.7)]),
        (FRAME, [Box(0.55, 0.05, 0.98, 0.95), Box(0.06, 0.06, 0.2, 0.16), BADGE, BAR]),
        (Box(0.4, 0.5, 1.0, 1.0), [BADGE, BAR]),
    ],
)
def test_letters_and_strokes_stay_in_the_area_and_off_what_must_stay_free(style, area, avoid):
    made = fit("I built a house", font(ANTON, case="upper"), style, area=area, avoid=avoid)
    ink = around(made, made.stroke.width / 2 if made.stroke else 0.0)
    assert ink.is_within(area)
    assert ink.is_within(HARD)
    assert not any(ink.meets(box) for box in avoid)
    assert made.lines[0].cap_height >= CAP_LEAST


def test_no_other_break_is_larger():
    words, area = ["what", "happened", "to", "the", "lighthouse"], Box(0.05, 0.1, 0.95, 0.9)
    rules = Rules(max_lines=3)
    made = fit(" ".join(words), font(GEOLOGICA), PLAIN, area=area, rules=rules)
    assert " ".join(texts(made)) == " ".join(words)
    breaks = [
        f"{' '.join(words[:a])}\n{' '.join(words[a:b])}\n{' '.join(words[b:])}"
        for a in range(1, 5)
        for b in range(a + 1, 5)
    ] + [f"{' '.join(words[:a])}\n{' '.join(words[a:])}" for a in range(1, 5)]
    sizes = []
    for each in breaks:
        try:
            sizes.append(fit(each, font(GEOLOGICA), PLAIN, area=area, rules=rules).size)
        except ConfigError:  # below what is read small
            continue
    assert made.size == pytest.approx(max(sizes))
    assert len(sizes) > 3


def test_a_short_word_grows_to_the_largest_cap_height_on_one_line():
    made = fit("WHY", font(ANTON), PLAIN, area=FRAME)
    assert made.lines[0].cap_height == pytest.approx(CAP_MOST)
    assert texts(fit("oh no", font(ANTON), PLAIN, area=FRAME)) == ["oh no"]  # it fits whole: no break


def test_a_title_fills_its_area_where_the_limit_does_not_bind():
    made = fit("HOUSE", font(GEOLOGICA), PLAIN, area=Box(0.1, 0.2, 0.45, 0.8))
    assert around(made).width == pytest.approx(0.35)


def test_a_line_break_in_the_text_is_kept():
    assert texts(fit("oh\nno", font(ANTON), PLAIN, area=FRAME)) == ["oh", "no"]
    with pytest.raises(InputError, match="3 lines came; at most 2"):
        fit("a\nb\nc", font(ANTON), PLAIN, area=FRAME)


def test_a_space_that_does_not_break_does_not():
    made = fit("10\u00a0000 miles", font(GEOLOGICA), PLAIN, area=Box(0.05, 0.1, 0.4, 0.9))
    assert texts(made) == ["10\u00a0000", "miles"]


def test_cjk_breaks_between_characters_and_never_before_closing_signs():
    made = fit("「秘密」世界一、", font(CJK), PLAIN, area=Box(0.1, 0.1, 0.42, 0.9))
    assert len(made.lines) == 2
    for before, after in pairwise(texts(made)):
        assert after[0] not in "」、。!"
        assert before[-1] != "「"


def test_what_is_too_long_says_how_many_characters_fit():
    area = Box(0.1, 0.2, 0.5, 0.8)
    with pytest.raises(ConfigError) as error:
        fit("n" * 60, font(ANTON), PLAIN, area=area, rules=Rules(max_lines=1))
    found = re.search(r"about (\d+) characters a line fit on 1 lines", str(error.value))
    assert found, error.value
    count = int(found[1])
    assert fit("n" * (count - 1), font(ANTON), PLAIN, area=area).lines[0].cap_height >= CAP_LEAST
    with pytest.raises(ConfigError):
        fit("n" * (count + 2), font(ANTON), PLAIN, area=area)


def test_an_area_without_room_is_an_error_that_says_so():
    with pytest.raises(ConfigError, match="nothing of the area is free"):
        fit("WHY", font(ANTON), PLAIN, area=LEFT_HALF, avoid=[FRAME])
    with pytest.raises(ConfigError, match="on 0 lines"):
        fit("WHY", font(ANTON), PLAIN, area=Box(0.1, 0.4, 0.9, 0.46))
    with pytest.raises(InputError, match="80 words came"):
        fit("a " * 80, font(ANTON), PLAIN, area=FRAME)


@pytest.mark.parametrize(("align", "side"), [("left", "left"), ("right", "right"), ("center", "center")])
def test_lines_stand_at_the_side_that_is_asked_for(align, side):
    made = fit("A\nhouse", font(GEOLOGICA), PLAIN, area=LEFT_HALF, align=align)
    first, second = (line.box for line in made.lines)
    edges = {"left": lambda box: box.left, "right": lambda box: box.right, "center": lambda box: box.center[0]}
    assert edges[side](first) == pytest.approx(edges[side](second))
    others = [edges[name](first) != pytest.approx(edges[name](second)) for name in edges if name != side]
    assert all(others)


def test_text_from_the_right_stands_at_the_right():
    made = fit("של שלום", font(HEBREW), PLAIN, area=LEFT_HALF, rules=Rules(max_lines=2))
    assert texts(made) == ["של", "שלום"]
    assert made.lines[0].box.right == pytest.approx(made.lines[1].box.right)
    assert made.lines[0].box.left > made.lines[1].box.left


def test_two_lines_come_no_nearer_than_the_gap():
    for text in ("joy\nÅFFIX", "ÄÖÜ\nABC", "ace\nace"):
        upper, lower = fit(text, font(GEOLOGICA), PLAIN, area=Box(0.1, 0.1, 0.9, 0.9)).lines
        assert lower.box.top - upper.box.bottom >= GAP * upper.cap_height - 1e-9


def test_boxes_and_cap_heights_are_those_of_the_pixels():
    made = fit("HILT", font(GEOLOGICA), PLAIN, area=LEFT_HALF)
    height, width = 900, 1600
    inked = coverage(made, width=width, height=height) > 0.5
    rows, columns = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
    box = made.lines[0].box
    edges = [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]
    assert edges == pytest.approx([box.left, box.top, box.right, box.bottom], abs=1.5 / height)
    assert (rows[-1] + 1 - rows[0]) / height == pytest.approx(made.lines[0].cap_height, abs=1.5 / height)


def test_the_recommended_margin_is_kept_where_headlines_fit_there():
    roomy = fit("WHY", font(ANTON), PLAIN, area=FRAME, align="left")
    assert around(roomy).left == pytest.approx(SOFT.left)
    tight = fit("HOUSES", font(GEOLOGICA), PLAIN, area=Box(0.0, 0.1, 0.42, 0.9), align="left")
    assert around(tight).left == pytest.approx(HARD.left)
    assert tight.lines[0].cap_height < CAP_GOOD


def test_a_plate_lies_inside_the_area_with_room_around_the_letters():
    made = fit("HOUSE", font(GEOLOGICA), PLAIN, area=Box(0.1, 0.2, 0.5, 0.8), plate="#E0242B")
    assert made.plate is not None
    assert made.plate.box.is_within(Box(0.1, 0.2, 0.5, 0.8))
    assert around(made).top - made.plate.box.top == pytest.approx(PLATE_PAD)


def test_case_tracking_and_styles_come_from_the_kit():
    style = TextStyle(
        fill="#FFFFFF",
        stroke=StrokeStyle(color="#000000", px=9),
        shadow=ShadowStyle(dx=18, dy=36, blur=72, opacity=0.5),
    )
    made = fit("Straße", font(GEOLOGICA, case="upper", tracking=-20), style, area=FRAME)
    assert made.text == "STRASSE"
    assert made.stroke.width == pytest.approx(9 / 720)
    assert (made.shadow.dx, made.shadow.dy, made.shadow.blur) == pytest.approx((0.025, 0.05, 0.1))
    plain = fit("Straße", font(GEOLOGICA, case="upper"), style, area=FRAME)
    assert around(made).width / made.size < around(plain).width / plain.size


def test_the_shape_of_the_frame_counts():
    tall = fit("I built a house", font(ANTON), PLAIN, area=FRAME, aspect=9 / 16)
    assert around(tall).is_within(HARD)
    assert tall.aspect == 9 / 16
    assert tall.size < fit("I built a house", font(ANTON), PLAIN, area=FRAME).size


def test_the_free_area_is_the_largest_rectangle_that_is_left():
    area = Box(0, 0, 1, 1)
    assert free_area([], area) == area
    assert free_area([Box(0.6, 0, 1, 1)], area) == Box(0, 0, 0.6, 1)
    assert free_area([Box(0.1, 0.1, 0.3, 0.2)], area) == Box(0, 0.2, 1, 1)
    assert free_area([area], area) is None


def test_free_areas_touch_but_never_meet_and_cannot_grow():
    area, avoid = Box(0.05, 0.05, 0.95, 0.95), [Box(0.2, 0.1, 0.4, 0.5), Box(0.6, 0.4, 1.2, 0.7)]
    found = free_areas(avoid, area)
    assert len(found) >= 4
    for box in found:
        assert box.is_within(area)
        assert not any(box.meets(each) for each in avoid)
        for grown in (
            Box(box.left - 0.02, box.top, box.right, box.bottom),
            Box(box.left, box.top - 0.02, box.right, box.bottom),
            Box(box.left, box.top, box.right + 0.02, box.bottom),
            Box(box.left, box.top, box.right, box.bottom + 0.02),
        ):
            assert not grown.is_within(area) or any(grown.meets(each) for each in avoid)
