"""The border of a change: cheapest, closed, outside the core."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from recast.retouch.seam import cheapest, route
from recast.retouch.thresholds import THRESHOLDS

REACH = THRESHOLDS.composing.reach_px


def best_of_all(cost: np.ndarray) -> float:
    """The cost of the cheapest closed path, by trying every one."""
    n, states = cost.shape
    paths = itertools.product(range(states), repeat=n)
    legal = (p for p in paths if all(abs(p[i] - p[i - 1]) <= 1 for i in range(n)))
    return min(sum(cost[i, s] for i, s in enumerate(p)) for p in legal)


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_the_path_is_the_cheapest_of_all_closed_ones(n):
    rng = np.random.default_rng(n)
    cost = rng.uniform(0, 9, (5, n, 4)).astype(np.float32)
    path = cheapest(cost) - 1
    assert (abs(path - np.roll(path, 1, 1)) <= 1).all()
    for row, each in zip(cost, path, strict=True):
        assert row[np.arange(n), each].sum() == pytest.approx(best_of_all(row), abs=n * 2e-3)


def test_padding_changes_no_path():
    """Five nodes and three of padding: still the cheapest closed path of five, without a jump from last to first."""
    cost = np.random.default_rng(0).uniform(0, 9, (40, 5, 4)).astype(np.float32)
    padded = np.full((40, 8, 4), np.nan, np.float32)
    padded[:, :5] = cost
    path = cheapest(padded)[:, :5] - 1
    assert (abs(path - np.roll(path, 1, 1)) <= 1).all()
    for row, each in zip(cost, path, strict=True):
        assert row[np.arange(5), each].sum() == pytest.approx(best_of_all(row), abs=0.02)


def disc(size: int = 120, radius: int = 30) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    return x * x + y * y <= radius * radius


def test_the_seam_runs_where_the_pictures_agree():
    """A valley of agreement lies three pixels from a disc's rim in one half of the ring, seven in the other."""
    core = disc()
    away = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
    right = np.arange(120)[None] > 60
    delta = np.minimum(abs(away - np.where(right, 3, 7)), 4).astype(np.float32)
    grey = np.tile(np.float32([100, 160]), (120, 60))  # steep everywhere, so that the border is narrow
    grey = np.repeat(np.repeat(grey[:, ::2], 1, 0), 2, 1)[:, :120] + 40 * (np.arange(120) % 4 > 1).astype(np.float32)
    seam = route(core, grey, delta)
    ring = (seam.radius > 0) & (abs(np.arange(120) - 60) > 10)[None]
    assert np.median(seam.radius[ring & right]) == pytest.approx(3, abs=0.6)
    assert np.median(seam.radius[ring & ~right]) == pytest.approx(7, abs=0.6)


def test_the_gradient_of_the_source_counts_as_a_cost():
    """The pictures agree best three pixels out, where an edge of the source runs: the seam keeps away from it."""
    core = disc()
    away = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
    delta = np.where(abs(away - 3) < 0.8, 0, 0.5).astype(np.float32)
    ramp = np.arange(120, dtype=np.float32) * np.ones((120, 1), np.float32)
    narrow = replace(THRESHOLDS.composing, steep=1e-6)
    for grey, share in ((ramp, 0), (ramp + np.where(away < 3.2, 0, 100).astype(np.float32), 1)):
        seam = route(core, grey, delta, thresholds=narrow)
        ring = seam.radius > 0
        assert (abs(seam.radius[ring] - 3) > 0.6).mean() == pytest.approx(share, abs=0.2)


def test_the_border_is_narrow_across_strong_edges_and_wide_in_flat_areas():
    core = disc()
    stripes = np.where(np.arange(120) % 6 < 3, 30, 220).astype(np.float32)
    grey = np.where(np.arange(120)[None] > 60, stripes, 128).repeat(1, 0) * np.ones((120, 1), np.float32)
    seam = route(core, grey.astype(np.float32), np.zeros((120, 120), np.float32))
    ring = (seam.radius > 0) & (abs(np.arange(120) - 60) > 15)[None]
    right = np.arange(120)[None] > 60
    assert np.median(seam.width[ring & right]) < 3.5
    assert np.median(seam.width[ring & ~right]) == pytest.approx(REACH, abs=0.1)


def test_half_of_the_width_fits_on_either_side_of_the_seam():
    rng = np.random.default_rng(3)
    core = cv2.GaussianBlur(rng.normal(size=(150, 150)), (0, 0), 6) > 0.05
    grey = cv2.GaussianBlur(rng.uniform(0, 255, (150, 150)), (0, 0), 2).astype(np.float32)
    delta = rng.uniform(0, 3, (150, 150)).astype(np.float32)
    for scale in (1, 2.8):
        seam = route(core, grey, delta, scale=scale)
        ring = seam.radius > 0
        assert ring.sum() == ((seam.outside > 0) & (seam.outside < REACH * scale)).sum()
        slack = 0.06 * scale  # widths are interpolated between nodes
        assert (seam.radius - seam.width / 2)[ring].min() >= -slack - 0.5 * scale
        assert (seam.radius + seam.width / 2)[ring].max() <= REACH * scale + slack + 0.5 * scale


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 2)])
@pytest.mark.parametrize("fill", ["empty", "full", "corner"])
def test_any_size_and_core_has_a_seam(shape, fill):
    core = np.full(shape, fill == "full")
    core[0, 0] = fill != "empty"
    seam = route(core, np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    assert ((seam.outside == 0) == core).all()
    assert np.isfinite(seam.radius).all()
