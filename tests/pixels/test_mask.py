"""White means edit; what a mask leaves out keeps its bytes."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recast.errors import InputError, ShapeError
from recast.pixels.mask import composite, digest, feather, grow, read_mask

LEVELS = np.uint8([[0, 51, 255], [255, 102, 0]])
EXPECTED = LEVELS / np.float32(255)


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def with_alpha(alpha: np.ndarray) -> bytes:
    return png(np.dstack([LEVELS, LEVELS, LEVELS, alpha]))


def disc(mask: np.ndarray, radius: float) -> np.ndarray:
    """The plain dilation: the highest value among all pixels not farther than the radius."""
    rows, columns = np.indices(mask.shape)
    grown = np.empty_like(mask)
    for y, x in np.ndindex(mask.shape):
        grown[y, x] = mask[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2].max()
    return grown


def test_white_means_edit():
    for source in (png(LEVELS), png(np.dstack([LEVELS] * 3)), LEVELS, EXPECTED, EXPECTED.astype(float)):
        mask = read_mask(source, width=3, height=2)
        assert mask.dtype == np.float32
        np.testing.assert_allclose(mask, EXPECTED, atol=1e-7)
    np.testing.assert_array_equal(read_mask(LEVELS > 100, width=3, height=2), LEVELS > 100)


def test_transparent_means_edit_where_there_is_transparency():
    alpha = np.uint8([[255, 255, 0], [204, 255, 255]])
    expected = (255 - alpha) / 255
    for mode in ("auto", "alpha"):
        np.testing.assert_allclose(read_mask(with_alpha(alpha), mode=mode, width=3, height=2), expected, atol=1e-7)
    np.testing.assert_allclose(read_mask(with_alpha(alpha), mode="white", width=3, height=2), EXPECTED, atol=1e-7)
    opaque = np.full_like(alpha, 255)
    np.testing.assert_allclose(read_mask(with_alpha(opaque), width=3, height=2), EXPECTED, atol=1e-7)
    assert not read_mask(with_alpha(opaque), mode="alpha", width=3, height=2).any()


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (LEVELS, {"width": 2, "height": 3}, r"mask: 3x2 pixels; 2x3 accepted"),
        (png(LEVELS), {"width": 6, "height": 4}, r"mask: 3x2 pixels; 6x4 accepted"),
        (png(LEVELS), {"mode": "alpha"}, r"mask: no transparency .*accepts.*; try mode 'white'"),
        (LEVELS, {"mode": "black"}, r"mode='black': .*auto, white, alpha accepted"),
        (b"x", {}, r"mask=<bytes of 1 bytes>: .*accepted"),
        (EXPECTED * 2, {}, r"mask: values from 0.0 to 2.0; 0 to 1 accepted"),
        (EXPECTED * np.nan, {}, r"mask: values .*nan"),
    ],
)
def test_what_is_no_mask_for_this_picture_is_refused(source, options, said):
    with pytest.raises(InputError, match=said):
        read_mask(source, **{"width": 3, "height": 2} | options)


@settings(max_examples=60, deadline=None)
@given(radius=st.floats(0, 9), seed=st.integers(0, 99), height=st.integers(1, 17), width=st.integers(1, 17))
def test_growing_is_dilation_with_a_disc_and_shrinking_its_mirror(radius, seed, height, width):
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width), dtype=np.float32) * (rng.random((height, width)) > 0.7)
    before = mask.copy()
    np.testing.assert_array_equal(grow(mask, radius), disc(mask, radius))
    np.testing.assert_array_equal(grow(mask, -radius), -disc(-mask, radius))
    np.testing.assert_array_equal(mask, before)


def test_feathering_is_a_gaussian_of_the_given_width():
    point = np.zeros((61, 71), np.float32)
    point[30, 35] = 1
    soft = feather(point, 4.0)
    y, x = np.indices(point.shape)
    expected = np.exp(-((y - 30) ** 2 + (x - 35) ** 2) / 32) / (32 * np.pi)
    np.testing.assert_allclose(soft, expected, atol=1e-5)
    assert soft.sum() == pytest.approx(1, abs=1e-4)


def test_feathering_stays_in_range_and_leaves_the_far_away_alone():
    mask = np.zeros((80, 90), np.float32)
    mask[:, :40] = 1
    soft = feather(mask, 3)
    assert 0 <= soft.min() <= soft.max() <= 1
    assert not soft[:, 40 + 12 :].any()
    np.testing.assert_allclose(soft[:, :28], 1, atol=1e-6)
    np.testing.assert_array_equal(soft[0], soft[40])  # no fading at the border
    assert soft[0, 39] + soft[0, 40] == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(feather(mask, 0), mask)
    assert max(feather(np.ones((3, 3), np.float32), sigma / 10).max() for sigma in range(3, 120)) == 1


def test_a_composite_keeps_the_bytes_outside_and_takes_those_inside():
    base, over = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
    mask = feather(grow((np.indices((40, 50)).sum(0) % 37 == 0).astype(np.float32), 2), 0.7)
    mask[:10], mask[30:] = 0, 1
    made = composite(base, over, mask)
    np.testing.assert_array_equal(made[mask == 0], base[mask == 0])
    np.testing.assert_array_equal(made[mask == 1], over[mask == 1])
    exact = base + (over.astype(float) - base) * mask[..., None]
    assert abs(made - exact).max() <= 0.5001
    assert ((mask > 0) & (mask < 1)).any()


def test_a_composite_rounds_half_to_even():
    base, over = np.zeros((1, 4, 3), np.uint8), np.uint8([1, 3, 5, 255]).repeat(3).reshape(1, 4, 3)
    assert composite(base, over, np.full((1, 4), 0.5, np.float32))[0, :, 0].tolist() == [0, 2, 2, 128]


def test_what_would_broadcast_or_overflow_is_refused():
    picture, mask = np.zeros((4, 5, 3), np.uint8), np.ones((4, 5), np.float32)
    for base, over, weight in (
        (picture, picture[:1], mask),
        (picture, picture.astype(float), mask),
        (picture, picture, mask.T),
        (picture, picture, mask[..., None]),
    ):
        with pytest.raises(ShapeError, match=r"base, over, mask: .*accepted"):
            composite(base, over, weight)
    with pytest.raises(InputError, match=r"mask: values from 2.0 to 2.0; 0 to 1 accepted"):
        composite(picture, picture, mask * 2)


def test_the_hash_of_a_mask_is_of_its_levels_and_its_shape():
    mask = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    assert digest(mask) == digest(np.rint(mask * 255).astype(np.uint8) / np.float32(255))
    assert digest(mask) != digest(mask.reshape(6, 4))
    assert digest(mask) != digest(mask[::-1])
