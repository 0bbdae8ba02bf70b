"""The drift of colour round a region, continued into it: harmonic, bounded, fading."""

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from recast.retouch.membrane import harmonic, membrane
from recast.retouch.thresholds import THRESHOLDS

T = THRESHOLDS.composing


def test_between_known_values_lies_the_solution_of_laplaces_equation():
    """x y and x^2 - y^2 are harmonic: from the rim of a hole alone they come back inside."""
    y, x = np.mgrid[-1:1:96j, -1:1:96j].astype(np.float32)
    truth = np.dstack([x * y, x * x - y * y, 0.3 * x - 0.7 * y])
    known = (abs(x) > 0.7) | (abs(y) > 0.7)
    field = harmonic(np.where(known[..., None], truth, 99).astype(np.float32), known)
    assert (field[known] == truth[known]).all()
    assert abs(field - truth).max() < 0.01 * np.ptp(truth)


def test_nothing_flows_over_the_frames_border():
    values, known = np.zeros((60, 50, 1), np.float32), np.zeros((60, 50), bool)
    values[30, 25], known[30, 25] = 5, True
    assert harmonic(values, known) == pytest.approx(5, abs=1e-3)


def scene(drift, side=160, half=40):
    """A grey source, an edit that drifted, and a square whose inside is the edit's own colour."""
    source = np.full((side, side, 3), 120, np.float32)
    edited = source - np.float32(drift)
    inside = np.zeros((side, side), bool)
    inside[side // 2 - half : side // 2 + half, side // 2 - half : side // 2 + half] = True
    edited[inside] = (200, 40, 60)
    return source, edited, inside


def test_round_the_region_the_edit_meets_the_source():
    source, edited, inside = scene((3, 2, -1))
    moved = edited + membrane(source, edited, inside, ~inside, levels=255)
    ring = np.zeros_like(inside)
    ring[30:130, 30:130] = True
    assert abs(moved - source)[ring & ~inside].max() < 0.35


def test_the_correction_fades_and_is_capped():
    for drift, most in (((4, 4, 4), 4), ((9, 9, 9), T.membrane_cap)):
        source, edited, inside = scene(drift)
        field = membrane(source, edited, inside, ~inside, levels=255)
        assert abs(field).max() <= most + 0.01
        assert field[80, 41].mean() > 0.6 * most  # at the rim
        assert field[80, 80].mean() < 0.35 * most  # 40 pixels deep: exp(-40/24) = 0.19


def test_a_difference_that_is_no_drift_is_not_continued():
    source, edited, inside = scene((0, 0, 0))
    around = ~inside
    edited[60:100, 20:40] = (250, 250, 0)  # another change beside the region
    assert abs(membrane(source, edited, inside, around, levels=255)).max() < 0.01


@pytest.mark.parametrize("drift", [(6, 6, 6), (4, -3, 2), (-5, 5, -5), (0, 6, -6)])
@pytest.mark.parametrize("brand", [(224, 36, 43), (0, 82, 204), (20, 20, 24), (128, 128, 128), (255, 210, 0)])
def test_a_brand_colour_deeper_than_the_border_moves_by_no_more_than_one(brand, drift):
    source, edited, inside = scene(drift)
    edited[inside] = brand
    moved = np.rint(np.clip(edited + membrane(source, edited, inside, ~inside, levels=255), 0, 255))
    apart = deltaE_ciede2000(rgb2lab(moved / 255), rgb2lab(edited / 255))
    deep = np.zeros_like(inside)
    deep[50:110, 50:110] = True  # ten pixels inside the square
    assert apart[deep].max() <= 1.0
    assert apart[inside & ~deep].max() > 0.2  # and at the rim there is a correction at all


def test_sixteen_bits_are_corrected_like_eight():
    source, edited, inside = scene((3, -2, 4))
    one = membrane(source, edited, inside, ~inside, levels=255)
    other = membrane(source * 257, edited * 257, inside, ~inside, levels=65535)
    assert other / 257 == pytest.approx(one, abs=2e-3)


def test_without_anything_known_nothing_is_corrected():
    source, edited, inside = scene((5, 5, 5))
    assert not membrane(source, edited, np.ones_like(inside), ~inside, levels=255).any()
    assert not membrane(source[:1, :1], edited[:1, :1], inside[:1, :1], inside[:1, :1], levels=255).any()
