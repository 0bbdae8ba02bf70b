"""Tone: a few numbers of pictures whose numbers are known."""

import numpy as np
import pytest

from recast.thumbnails.tone import Tone, tone


def test_a_chessboard_of_black_and_white_is_clipped_at_both_ends():
    board = np.kron([[0, 255] * 16, [255, 0] * 16] * 9, np.ones((10, 10)))[..., None].repeat(3, 2).astype(np.uint8)
    assert tone(board) == Tone(saturation=0, light=0.5, spread=pytest.approx(127.5), black=0.5, white=0.5)


def test_a_pure_colour_is_saturated_and_flat():
    red = np.full((180, 320, 3), (255, 0, 0), np.uint8)
    assert tone(red) == Tone(saturation=1, light=pytest.approx(76 / 255), spread=0, black=0, white=0)


@pytest.mark.parametrize(("level", "key"), [(60, "low"), (128, "mid"), (200, "high")])
def test_the_key_is_how_light_a_picture_is(level, key):
    assert tone(np.full((90, 160, 3), level, np.uint8)).key == key
