"""The fast ways over bytes against the plain ones: every value of them, not a sample."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from recast.world.draw import exact
from recast.world.draw.canvas import Canvas

LEVELS = np.arange(256, dtype=np.uint8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("level", [*range(0, 256, 15), 1, 127, 128, 129, 254])
def test_a_blend_is_the_first_picture_and_the_rounded_part_of_the_way_to_the_second(level: int) -> None:
    a, b = (np.repeat(plane[..., None], 3, 2) for plane in np.meshgrid(LEVELS, LEVELS))
    way = b.astype(np.float64) - a
    weight = level + (level >> 7)
    expected = a + np.rint(way * weight / 256)  # np.rint: halves to even, as in OpenCV
    assert np.array_equal(exact.blend(a, b, np.full((256, 256), level, np.uint8)), expected)


def test_a_blend_follows_its_mask_pixel_by_pixel() -> None:
    a, b = noise(256, 256, 3), noise(256, 256, 3)[::-1].copy()
    mask = np.repeat(LEVELS[None], 256, 0)
    columns = [exact.blend(a, b, np.full((256, 256), level, np.uint8))[:, level] for level in range(256)]
    assert np.array_equal(exact.blend(a, b, mask), np.stack(columns, 1))


def test_toned_and_coloured_are_look_ups() -> None:
    pixels, tables = noise(33, 47, 3), noise(256, 1, 3)
    assert np.array_equal(exact.toned(pixels, tables), cv2.LUT(pixels, tables))
    assert np.array_equal(exact.coloured(pixels[..., 0], tables), tables[:, 0][pixels[..., 0]])


def test_split_gives_the_planes_of_any_part_of_a_picture() -> None:
    pixels = noise(40, 60, 3)
    for part in (pixels, pixels[3:21, 5:50], pixels[:, ::-1]):
        assert np.array_equal(np.stack(exact.split(part), -1), part)


def test_words_are_those_drawn_one_by_one() -> None:
    one, many = exact.Draws(3, 5), exact.Draws(3, 5)
    expected = [one.word() for _ in range(420)]
    drawn = [many.word() for _ in range(7)]
    for count in (1, 100, 64, 0, 200):
        drawn += many.words(count).tolist()
    drawn += [many.word() for _ in range(420 - len(drawn))]
    assert drawn == expected


def test_a_place_drawn_before_gives_the_window_drawn_at_once() -> None:
    tile = exact.tile(2, 160)
    now, before = exact.Draws(9), exact.Draws(9)
    place = exact.place(before)
    assert np.array_equal(exact.window(tile, now, 0.3, 90, 70), exact.window(tile, place, 0.3, 90, 70))
    assert now.word() == before.word()


@pytest.mark.parametrize("points", [[(0, 3), (128, 250), (255, 9)], [(40, 300), (90, -20)], [(7, 5), (255, 0)]])
def test_a_curve_goes_through_its_points(points: list[tuple[int, int]]) -> None:
    xs, ys = zip(*points, strict=True)
    expected = []
    for level in range(256):
        value = ys[0] if level < xs[0] else ys[-1]
        for (x0, y0), (x1, y1) in pairwise(points):
            if x0 <= level <= x1:
                value = (y0 * (x1 - level) + y1 * (level - x0)) // max(x1 - x0, 1)
        expected.append(min(max(value, 0), 255))
    table = exact.curve(points)
    assert table.dtype == np.uint8
    assert table.tolist() == expected
    with pytest.raises(ValueError, match="read-only"):  # it is kept for the next who asks
        table[0] = 1


def test_a_canvas_begins_as_its_base_with_four_points_for_each_pixel() -> None:
    base = noise(70, 90, 3)
    assert np.array_equal(Canvas(90, 70, base).pixels, base.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(Canvas(90, 70, base).finished(), base)
