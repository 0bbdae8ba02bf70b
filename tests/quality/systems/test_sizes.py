"""The nearest size is near, and on offer."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recast.quality.systems.sizes import free_ratio, nearest_ratio, nearest_size, snapped

sides = st.integers(64, 4000)
LOW, HIGH = Fraction(9, 21), Fraction(21, 9)


def test_the_nearest_ratio_is_measured_by_its_logarithm():
    offered = ("1:2", "1:1", "2:1")
    assert nearest_ratio(1410, 1000, offered) == "1:1"
    assert nearest_ratio(1420, 1000, offered) == "2:1"  # the middle is at the square root of two
    assert nearest_ratio(1000, 1420, offered) == "1:2"


@pytest.mark.parametrize(
    ("size", "ratio"),
    [((1024, 1024), "1:1"), ((1280, 720), "16:9"), ((720, 1280), "9:16"), ((1248, 832), "3:2"), ((5000, 10), "7:3")],
)
def test_usual_shapes_are_written_as_people_write_them(size, ratio):
    assert free_ratio(*size, LOW, HIGH) == ratio


@given(sides, sides)
def test_a_free_ratio_is_within_its_bounds_and_near(width, height):
    w, h = map(int, free_ratio(width, height, LOW, HIGH).split(":"))
    assert max(w, h) <= 75
    assert LOW <= Fraction(w, h) <= HIGH
    wanted = min(max(width / height, float(LOW)), float(HIGH))
    assert abs(math.log(w / h / wanted)) < 0.016


@given(sides, sides)
def test_turning_the_picture_turns_the_ratio(width, height):
    w, h = free_ratio(width, height, LOW, HIGH).split(":")
    assert free_ratio(height, width, LOW, HIGH) == f"{h}:{w}"


def test_among_equal_shapes_the_nearest_area_is_chosen():
    offered = ((256, 256), (512, 512), (1024, 1024))
    assert nearest_size(600, 600, offered) == (512, 512)
    assert nearest_size(2000, 2000, offered) == (1024, 1024)


def test_a_size_that_is_allowed_is_kept():
    assert snapped(1280, 720, multiple=16, low=64, high=4096, limit_pixels=4_000_000) == (1280, 720)


@given(sides, sides)
def test_a_snapped_size_is_allowed(width, height):
    w, h = snapped(width, height, multiple=32, low=256, high=1440, limit_pixels=1_000_000)
    assert w % 32 == h % 32 == 0
    assert min(w, h) >= 256
    assert max(w, h) <= 1440
    assert w * h <= 1_000_000
