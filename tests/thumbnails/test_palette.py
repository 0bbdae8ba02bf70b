"""Colours of pictures: found, measured and compared as they are seen."""

import numpy as np
import pytest

from recast.thumbnails.palette import Colours, colours, covered, distances, earth_mover, moved, palette, to_hex, to_lab


def stripes(*bands: tuple[str, int]) -> np.ndarray:
    """A picture (90, 160, 3) of upright stripes: colour and width in pixels."""
    made = np.zeros((90, 160, 3), np.uint8)
    left = 0
    for hex_colour, width in bands:
        made[:, left : left + width] = [int(hex_colour[i : i + 2], 16) for i in (1, 3, 5)]
        left += width
    return made


FLAG = stripes(("#1E50A0", 80), ("#F0F0F0", 48), ("#D02030", 32))


@pytest.mark.parametrize("hex_colour", ["#000000", "#FFFFFF", "#1E50A0", "#D02030", "#07FE0B"])
def test_a_colour_comes_back_from_lab(hex_colour):
    assert to_hex(to_lab(hex_colour)) == hex_colour


def test_a_palette_is_the_colours_of_a_flag():
    found = palette([colours(FLAG)])
    names = [
        min(("#1E50A0", "#F0F0F0", "#D02030"), key=lambda x: distances(each.lab[None], to_lab(x)[None]))
        for each in found[:3]
    ]
    assert sorted(names) == ["#1E50A0", "#D02030", "#F0F0F0"]
    assert sum(each.share for each in found) == pytest.approx(1)
    assert all(each.share > 0.1 for each in found[:3])


def test_what_stands_out_weighs_more_than_its_area():
    seen = palette([colours(stripes(("#2050A0", 150), ("#FFD020", 10)))])
    yellow = next(each for each in seen if each.lab[2] > 40)
    assert yellow.share > 1.5 * 10 / 160


def test_close_colours_become_one_and_far_ones_stay():
    assert len(palette([colours(stripes(("#2050A0", 80), ("#285CAE", 80)))])) == 1
    assert len(palette([colours(stripes(("#2050A0", 80), ("#3A80D0", 80)))])) == 2


def test_the_same_pictures_give_the_same_palette_in_any_order():
    random = np.random.default_rng(1)
    seen = [colours(random.integers(0, 256, (24, 32, 3), np.uint8)) for _ in range(3)]
    first, second = palette(seen), palette(seen[::-1])
    assert [each.hex for each in first] == [each.hex for each in palette(seen)]
    assert [round(each.share, 3) for each in first] == [round(each.share, 3) for each in second]


def test_every_picture_counts_alike_whatever_its_size():
    small, large = stripes(("#D02030", 160))[::4, ::4], stripes(("#2050A0", 160)).repeat(3, 0).repeat(3, 1)
    assert [each.share for each in palette([colours(small), colours(large)])] == pytest.approx([0.5, 0.5], abs=0.02)


def test_covered_counts_what_lies_within_tolerance():
    seen = Colours(np.stack([to_lab("#D02030"), to_lab("#2050A0")]), np.array([0.3, 0.7]))
    red = to_lab("#D02030")[None]
    assert covered(seen, red, np.array([5.0])) == pytest.approx(0.3)
    assert covered(seen, to_lab("#F0F0F0")[None], np.array([5.0])) == 0
    assert covered(seen, red, np.array([200.0])) == pytest.approx(1)


def test_the_earth_mover_moves_shares_and_not_only_colours():
    blue, white = to_lab("#1E50A0"), to_lab("#F0F0F0")
    swatches = palette([colours(stripes(("#1E50A0", 160)))])
    both = np.stack([blue, white])
    far = float(distances(blue[None], white[None])[0, 0])
    assert earth_mover(swatches, both, None) == pytest.approx(0, abs=0.5)  # each colour to the nearest
    assert earth_mover(swatches, both, np.array([0.75, 0.25])) == pytest.approx(far / 4, rel=0.02)


def test_all_colours_move_as_far_as_the_main_ones_and_further_where_these_hide_some():
    both = np.stack([to_lab("#1E50A0"), to_lab("#F0F0F0")])
    for shares in (None, np.array([0.75, 0.25])):
        main = earth_mover(palette([colours(FLAG)]), both, shares)
        assert moved(colours(FLAG), both, shares) == pytest.approx(main, rel=0.02)
    blurred = np.linspace(40, 200, 160, dtype=np.uint8)[None, :, None].repeat(90, 0).repeat(3, 2)
    values = [moved(colours(np.clip(blurred + step, 0, 255).astype(np.uint8)), both, None) for step in range(6)]
    assert max(abs(np.diff(values))) < 0.5  # a level more moves the distance by about as much, never by a jump


def test_a_picture_of_one_colour_has_a_palette_of_one():
    assert [each.hex for each in palette([colours(stripes(("#D02030", 160)))])] == ["#D02030"]
