"""What differs between two pictures, where, and by how much."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from recast.errors import InputError
from recast.pixels.image import Picture
from recast.retouch.thread.comparison import compare
from tests.retouch.thread.fake import noise


def test_the_same_picture_differs_nowhere() -> None:
    found = compare(Picture(noise()), Picture(noise()))
    assert (found.changed, found.share, found.box, found.delta_e_max) == (0, 0.0, None, 0.0)
    assert found.picture().max() == 0


def test_changed_pixels_are_counted_boxed_and_measured() -> None:
    a, b = noise(), noise()
    b[3:5, 7:10] = 255 - b[3:5, 7:10]
    found = compare(Picture(a), Picture(b))
    expected = deltaE_ciede2000(rgb2lab(a), rgb2lab(b))
    assert (found.changed, found.box) == (6, (7, 3, 10, 5))
    assert found.share == pytest.approx(6 / 384, abs=1e-6)
    assert found.delta_e_mean == pytest.approx(expected[3:5, 7:10].mean(), abs=0.02)
    assert np.abs(found.map - expected).max() < 0.05
    drawn = found.picture()
    assert drawn.shape == a.shape
    assert (drawn.any(-1) == (expected > 0.1)).all()
    assert found.to_dict()["box"] == (7, 3, 10, 5)


def test_alpha_counts_as_a_change_without_colour() -> None:
    alpha = np.full((16, 24), 255, np.uint8)
    assert compare(Picture(noise()), Picture(noise(), alpha)).changed == 0
    alpha[2, 3] = 0
    found = compare(Picture(noise()), Picture(noise(), alpha))
    assert (found.changed, found.alpha_changed, found.box, found.delta_e_mean) == (1, 1, (3, 2, 4, 3), 0.0)


def test_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="24x16 against 8x8"):
        compare(Picture(noise()), Picture(noise(width=8, height=8)))
