"""Claims of recast.retouch.colour."""

import json
from dataclasses import replace

import numpy as np
import pytest
from skimage import data

from recast.errors import ShapeError
from recast.pixels.lab import ciede2000, lab
from recast.retouch.colour import TERMS, ColourFit, fit, unclipped
from recast.retouch.thresholds import THRESHOLDS

PHOTO = data.coffee()
HEIGHT, WIDTH = PHOTO.shape[:2]
EVERYWHERE = np.ones((HEIGHT, WIDTH), dtype=bool)


def drifted(picture: np.ndarray, levels: float) -> np.ndarray:
    """The picture with a smooth field of up to so many levels added, another one in each channel."""
    y, x = (g[..., None] for g in np.meshgrid(*(np.linspace(-1, 1, n) for n in picture.shape[:2]), indexing="ij"))
    field = np.concatenate([x, (x * y + y) / 2, 1 - 2 * y * y], axis=2)
    return np.clip(np.rint(picture + levels * field), 0, 255).astype(np.uint8)


def errors(source: np.ndarray, corrected: np.ndarray) -> tuple[float, float]:
    found = ciede2000(lab(source), lab(corrected))
    return float(found.mean()), float(np.percentile(found, 95))


def test_field_of_six_levels_is_undone():
    edited = drifted(PHOTO, 6)
    assert errors(PHOTO, edited)[0] > 1.2
    found = fit(PHOTO, edited, EVERYWHERE)
    mean, high = errors(PHOTO, found.apply(edited, width=WIDTH, height=HEIGHT))
    assert mean <= 0.6
    assert high <= 1.5
    assert 5 < found.largest < 8


def test_contrast_is_undone():
    """The terms in v: a gain round mid-grey."""
    edited = np.rint(127.5 + (PHOTO - 127.5) * 0.95).astype(np.uint8)
    found = fit(PHOTO, edited, EVERYWHERE)
    assert errors(PHOTO, found.apply(edited, width=WIDTH, height=HEIGHT))[0] < 0.3 * errors(PHOTO, edited)[0]


def test_noise_does_not_take_contrast_away():
    """Noise in the edit's own values would bend the slope over v; means over cells hold it still."""
    noisy = PHOTO + np.random.default_rng(0).normal(0, 25, PHOTO.shape)
    found = fit(PHOTO, noisy.astype(np.float32), EVERYWHERE)
    assert found.coefficients is None or abs(found.coefficients[:, 6]).max() < 2.5


def test_few_cells_that_changed_do_not_pull():
    edited = drifted(PHOTO, 6)
    edited[100:180, 100:250] = (250, 20, 250)
    found = fit(PHOTO, edited, EVERYWHERE).apply(edited, width=WIDTH, height=HEIGHT)
    found[100:180, 100:250] = PHOTO[100:180, 100:250]
    assert errors(PHOTO, found)[0] <= 0.5


def test_only_unchanged_pixels_count():
    edited = drifted(PHOTO, 6)
    edited[:, : WIDTH // 2] = 255 - edited[:, : WIDTH // 2]
    unchanged = EVERYWHERE.copy()
    unchanged[:, : WIDTH // 2] = False
    found = fit(PHOTO, edited, unchanged).apply(edited, width=WIDTH, height=HEIGHT)
    right = np.s_[:, WIDTH // 2 :]
    assert errors(PHOTO[right], found[right])[0] <= 0.6


def test_cells_that_are_partly_unchanged_count_by_their_unchanged_pixels():
    edited = drifted(PHOTO, 6)
    unchanged = np.random.default_rng(0).random(EVERYWHERE.shape) < 0.7
    edited[~unchanged] = (255, 0, 255)
    found = fit(PHOTO, edited, unchanged).apply(edited, width=WIDTH, height=HEIGHT)
    found[~unchanged] = PHOTO[~unchanged]
    assert errors(PHOTO, found)[0] <= 0.3


def test_correction_stops_at_the_cap():
    edited = np.clip(PHOTO.astype(int) - 30, 0, 255).astype(np.uint8)
    found = fit(PHOTO, edited, EVERYWHERE)
    corrected = found.apply(edited, width=WIDTH, height=HEIGHT)
    assert abs(corrected - edited).max() <= THRESHOLDS.colouring.cap + 1e-3
    assert "cap" in found.reason


def test_levels_never_seen_are_corrected_like_the_nearest_seen():
    """A new object far brighter than anything kept must not be extrapolated to."""
    source = np.random.default_rng(0).integers(90, 120, (256, 256, 3)).astype(np.float32)
    source += np.linspace(-20, 20, 256)[None, :, None]
    found = fit(source, (source - 105) * 0.9 + 105, np.ones((256, 256), dtype=bool))
    assert found.coefficients is not None
    dark, bright = (np.full((256, 256, 3), level, dtype=np.uint8) for level in (140, 250))
    moved = [found.apply(v, width=256, height=256) - v for v in (dark, bright)]
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-3)


def test_too_little_unchanged_gives_no_fit():
    unchanged = np.zeros_like(EVERYWHERE)
    unchanged[: HEIGHT // 8] = True
    found = fit(PHOTO, drifted(PHOTO, 6), unchanged)
    assert found.coefficients is None
    assert "unchanged" in found.reason
    np.testing.assert_array_equal(found.apply(PHOTO, width=WIDTH, height=HEIGHT), PHOTO)


def test_no_drift_is_left_alone():
    found = fit(PHOTO, PHOTO, EVERYWHERE)
    assert found.coefficients is None
    assert "stays below" in found.reason
    assert found.apply(PHOTO, width=WIDTH, height=HEIGHT).dtype == np.float32


def test_a_crop_is_corrected_like_the_whole():
    edited = drifted(PHOTO, 6)
    found = fit(PHOTO, edited, EVERYWHERE)
    box = (33, 21, 333, 121)
    whole = found.apply(edited, width=WIDTH, height=HEIGHT)[21:121, 33:333]
    np.testing.assert_allclose(
        found.apply(edited[21:121, 33:333], width=WIDTH, height=HEIGHT, box=box), whole, atol=1e-4
    )


def test_a_fit_holds_at_another_size():
    """x and y are positions in the frame: fitted on the grid, applied at four times its pixels."""
    edited = drifted(PHOTO, 6)
    found = fit(PHOTO, edited, EVERYWHERE)
    small, large = (
        found.apply(p, width=p.shape[1], height=p.shape[0]) for p in (edited, edited.repeat(2, 0).repeat(2, 1))
    )
    assert abs(large[::2, ::2] - small).max() < 0.2


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (96, 96)])
def test_one_flat_colour_gives_finite_numbers(value: int, shape: tuple[int, int]):
    flat = np.full((*shape, 3), value, dtype=np.uint8)
    edited = np.full((*shape, 3), 60, dtype=np.uint8)
    found = fit(flat, edited, np.ones(shape, dtype=bool))
    assert np.isfinite(found.apply(edited, width=shape[1], height=shape[0])).all()


@pytest.mark.parametrize("shape", [(1, 40_000), (40_000, 1), (3, 90_000), (1, 1)])
def test_a_strip_narrower_than_a_cell_is_fitted(shape: tuple[int, int]):
    source = np.linspace(40, 200, shape[0] * shape[1], dtype=np.float32).reshape(*shape, 1).repeat(3, 2)
    made = fit(source, source + 5, np.ones(shape, dtype=bool))
    corrected = made.apply(source + 5, width=shape[1], height=shape[0])
    assert np.isfinite(corrected).all()
    assert abs(corrected - source).mean() < (0.5 if max(shape) > 1 else 6)


def test_report_is_plain_data():
    told = fit(PHOTO, drifted(PHOTO, 6), EVERYWHERE).to_dict()
    assert json.loads(json.dumps(told))["is_corrected"] is True


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match="one size"):
        fit(PHOTO, PHOTO[:-1], EVERYWHERE)
    with pytest.raises(ShapeError, match="box"):
        ColourFit(None).apply(PHOTO, width=WIDTH - 1, height=HEIGHT)


def test_reweighting_is_what_resists_change():
    """The same fit without reweighting is pulled: the test above can fail."""
    edited = drifted(PHOTO, 6)
    edited[100:180, 100:250] = (250, 20, 250)
    plain = fit(PHOTO, edited, EVERYWHERE, replace(THRESHOLDS.colouring, reweightings=0))
    robust = fit(PHOTO, edited, EVERYWHERE)
    keep = EVERYWHERE.copy()
    keep[100:180, 100:250] = False
    distances = [
        ciede2000(lab(PHOTO), lab(f.apply(edited, width=WIDTH, height=HEIGHT)))[keep].mean() for f in (plain, robust)
    ]
    assert distances[1] < 0.5 * distances[0]
    assert len(TERMS) == 9


def test_a_level_that_was_clipped_is_not_held_against_the_edit():
    source = np.array([[[250, 5, 120]]], np.uint8)
    edited = np.array([[[255, 0, 120]]], np.uint8)
    lower = unclipped(np.array([[[246.0, 6, 118]]], np.float32), edited, source)
    assert np.array_equal(lower, [[[250, 5, 118]]])  # what is not at an end stays as it was corrected
    far = unclipped(np.array([[[200.0, 30, 118]]], np.float32), edited, source)
    assert np.array_equal(far, [[[200, 30, 118]]])  # no drift goes so far
    other = unclipped(np.array([[[254.0, 1, 118]]], np.float32), edited, source)
    assert np.array_equal(other, [[[254, 1, 118]]])  # the source lies on the near side
