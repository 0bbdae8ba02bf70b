"""Claims of recast.thumbnails.saliency."""

import cv2
import numpy as np

from recast.thumbnails.saliency import spectral_residual, spots


def dots(*centres: tuple[int, int]) -> np.ndarray:
    """Red dots on calm ground."""
    rgb = np.full((180, 320, 3), 90, np.uint8)
    rgb += np.random.default_rng(0).integers(0, 6, rgb.shape, dtype=np.uint8)
    for centre in centres:
        cv2.circle(rgb, centre, 22, (240, 40, 40), -1)
    return rgb


def test_one_dot_is_one_spot_where_it_is():
    first, *others = spots(spectral_residual(dots((80, 60))))
    rows, columns = np.nonzero(first.mask)
    assert first.share > 3 * max((each.share for each in others), default=0)
    assert abs(columns.mean() * 5 - 80) < 12
    assert abs(rows.mean() * 5 - 60) < 12


def test_two_dots_share_the_eye():
    found = spots(spectral_residual(dots((60, 60), (260, 120))))
    assert found[1].share > 0.6 * found[0].share


def test_what_is_ignored_is_not_salient_and_moves_nothing():
    ignore = np.zeros((180, 320), bool)
    ignore[90:150, 220:300] = True
    found = spectral_residual(dots((60, 60), (260, 120)), ignore)
    assert found[20:29, 45:59].max() == 0
    first, *others = spots(found)
    assert first.mask[12, 12]
    assert first.share > 3 * max((each.share for each in others), default=0)


def test_one_colour_has_no_spots():
    assert spots(np.zeros((4, 4), np.float32)) == []
