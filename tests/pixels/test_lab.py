"""Claims of recast.pixels.lab."""

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from recast.pixels.lab import STRIP_PIXELS, ciede2000, lab

# Sharma, Wu, Dalal 2005, table 1: L1 a1 b1 L2 a2 b2 and the distance.
PUBLISHED = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000
50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000
50 2.5 0 50 1.8634 0.5757 1.0000
50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


def test_published_pairs_come_out_to_four_decimals():
    table = np.array([line.split() for line in PUBLISHED.split("\n") if line], dtype=np.float32)
    assert table.shape == (34, 7)
    found = ciede2000(table[None, :, :3], table[None, :, 3:6])[0]
    np.testing.assert_allclose(found, table[:, 6], atol=1e-4)


def test_distance_is_the_reference_for_any_two_colours():
    """Far apart, near, and equal; colours of one hue and of the opposite one."""
    dice = np.random.default_rng(0)
    first = np.stack([dice.uniform(0, 100, (80, 90)), *dice.uniform(-90, 90, (2, 80, 90))], -1).astype(np.float32)
    step = dice.choice([0, 0.1, 3, 60], (80, 90, 1))
    second = (first + step * dice.standard_normal((80, 90, 3))).astype(np.float32)
    second[:10] = first[:10] * (1, -1, -1) + (0, 0.5, 0)
    expected = deltaE_ciede2000(first.astype(np.float64), second.astype(np.float64))
    np.testing.assert_allclose(ciede2000(first, second), expected, atol=2e-3, rtol=1e-4)


def test_lab_is_the_reference_for_bytes_and_floats():
    levels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    levels[:16] //= 20  # the linear foot of both curves
    expected = rgb2lab(levels)
    np.testing.assert_allclose(lab(levels), expected, atol=1e-3)
    np.testing.assert_allclose(lab(levels.astype(np.float32)), expected, atol=1e-3)


def test_levels_out_of_range_are_black_and_white():
    outside = np.array([[[-30, -1, -5], [256, 300, 999]]], dtype=np.float32)
    np.testing.assert_array_equal(lab(outside), lab(np.clip(outside, 0, 255)))


@pytest.mark.parametrize("shape", [(1, 1), (3, STRIP_PIXELS + 5), (STRIP_PIXELS // 64 + 3, 70)])
def test_strips_cover_every_pixel(shape: tuple[int, int]):
    first = np.zeros((*shape, 3), dtype=np.float32)
    second = first + np.float32([10, 0, 0])
    found = ciede2000(first, second)
    assert found.shape == shape
    assert np.ptp(found) == 0
    assert found.min() > 5
