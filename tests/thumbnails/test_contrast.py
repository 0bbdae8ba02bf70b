"""Claims of recast.thumbnails.contrast."""

import numpy as np
import pytest

from recast.errors import InputError, ShapeError
from recast.thumbnails import contrast


def bar(ink: int, ground: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey bar on grey ground, and its coverage."""
    letters = np.zeros((40, 60), np.float32)
    letters[10:30, 20:40] = 1
    return np.where(letters[..., None] > 0, ink, ground).repeat(3, -1).astype(np.uint8), letters


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("#FFFFFF", "#000000", 21.0), ("#777777", "#FFFFFF", 4.48), ("#E00000", "#000000", 4.15)],
)
def test_ratios_are_those_of_wcag(first, second, expected):
    assert contrast.of_colours(first, second) == pytest.approx(expected, abs=0.03)
    assert contrast.of_colours(second, first) == contrast.of_colours(first, second)


def test_a_flat_bar_has_the_ratio_of_its_two_colours():
    expected = contrast.of_colours("#FFFFFF", "#777777")
    assert contrast.along_outline(*bar(255, 119), 3) == pytest.approx(expected, rel=1e-4)


def test_the_worse_part_of_an_outline_decides():
    rgb, letters = bar(255, 0)
    rgb[:, 36:][letters[:, 36:] == 0] = 250  # a light patch behind one side
    assert contrast.along_outline(rgb, letters, 3) < 2
    rgb[letters == 0] = 0
    assert contrast.along_outline(rgb, letters, 3) > 20


def test_what_lies_farther_than_the_ring_does_not_count():
    rgb, letters = bar(255, 255)
    rgb[6:34, 16:44][letters[6:34, 16:44] == 0] = 0
    assert contrast.along_outline(rgb, letters, 2) > 20


def test_letters_without_an_outline_are_refused():
    rgb, letters = bar(255, 0)
    with pytest.raises(InputError, match="no outline was found"):
        contrast.along_outline(rgb, letters * 0, 3)
    with pytest.raises(ShapeError, match="the size of the letters"):
        contrast.along_outline(rgb[:20], letters, 3)
    with pytest.raises(InputError, match="#RRGGBB"):
        contrast.of_colours("red", "#000000")
