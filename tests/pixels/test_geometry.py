"""A picture goes to the model's grid and comes back with its own size, and every detail where it was."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.config import KONTEXT_SIZES
from recast.errors import ConfigError, ShapeError
from recast.pixels.geometry import (
    Fit,
    apply,
    check_size,
    exactly,
    fit,
    nearest_trained,
    own_size,
    pixels_covered,
    tokens_touched,
    undo,
)

KONTEXT = {"min_tokens": 2304, "max_tokens": 4150}
NANO = {"min_tokens": 225, "max_tokens": 256}
# Wavelengths of 40 to 150 pixels, so that neither resampling nor rounding to bytes hides a shift.
WAVES = np.random.default_rng(0).uniform([0.04, 0.04, 0, 0], [0.15, 0.15, 6, 6], (6, 4))


def smooth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth picture (len(y), len(x)) of levels around 128, at any continuous coordinates."""
    a, b, p, q = WAVES.T[:, :, None]
    return 128 + 18 * np.cos(b * y + q).T @ np.cos(a * x + p)


def drawn(width: int, height: int) -> np.ndarray:
    """The smooth picture as a camera has it: pixel i at its centre, i + 1/2."""
    return smooth(np.arange(width) + 0.5, np.arange(height) + 0.5).round().clip(0, 255).astype(np.uint8)


def displacement(seen: np.ndarray, meant: np.ndarray, border: int = 8) -> float:
    """By how many pixels, at worst, the affine motion from one picture to the other moves a corner.

    Least squares on seen - meant = -gradient . (A (x, y) + t), as Lucas and Kanade 1981.
    """
    height, width = meant.shape
    rng = np.random.default_rng(1)
    x, y = rng.integers(border, width - border, 8000), rng.integers(border, height - border, 8000)
    seen, meant = seen.astype(float), meant.astype(float)
    along_x, along_y = (meant[y, x + 1] - meant[y, x - 1]) / 2, (meant[y + 1, x] - meant[y - 1, x]) / 2
    u, v, one = x / width - 0.5, y / height - 0.5, np.ones(len(x))
    terms = np.stack([g * c for g in (along_x, along_y) for c in (u, v, one)], 1)
    motion = np.linalg.lstsq(terms, meant[y, x] - seen[y, x])[0].reshape(2, 3)
    corners = np.array([[i, j, 1] for i in (-0.5, 0.5) for j in (-0.5, 0.5)])
    return float(np.linalg.norm(corners @ motion.T, axis=1).max())


def fits_of(width: int, height: int) -> list[Fit]:
    return [
        fit(width, height, **KONTEXT),
        fit(width, height, **NANO),
        own_size(width, height),
        exactly(width, height, 1024, 1024),
        nearest_trained(width, height, KONTEXT_SIZES),
    ]


def test_displacement_measures_a_known_motion():
    x, y = np.arange(300) + 0.5, np.arange(200) + 0.5
    assert displacement(smooth(x - 0.2, y), smooth(x, y)) == pytest.approx(0.2, abs=0.01)
    assert displacement(smooth(x * 1.001, y * 1.001), smooth(x, y)) == pytest.approx(0.36, abs=0.02)
    assert displacement(smooth(x, y), smooth(x, y)) == 0


STEPS = list(range(256, 2049, 16))
SWEEP = [(STEPS[i * 37 % 113], STEPS[(i * 53 + 20) % 113]) for i in range(113)]  # each once on both axes
ODD = [(257, 263), (1021, 769), (719, 1279), (2039, 307), (331, 1999), (999, 1001), (300, 4801)]


@pytest.mark.parametrize(("width", "height"), SWEEP + ODD)
def test_a_picture_comes_back_registered_to_less_than_a_twentieth_of_a_pixel(width, height):
    """The contract asks for 0.3; a mistake of half a pixel, at the scales in use, would hide below that."""
    source = drawn(width, height)
    chosen = fit(width, height, **KONTEXT)
    back = undo(chosen, apply(chosen, source))
    assert back.shape == source.shape
    assert displacement(back, source) < 0.05


@pytest.mark.parametrize(("width", "height"), [(1920, 1088), (641, 479), (500, 1601), (1024, 1024)])
def test_the_matrix_says_where_each_detail_went(width, height):
    """The picture on the grid is the one drawn anew at the coordinates the matrix gives, and so is the way back."""
    for chosen in [fit(width, height, **KONTEXT), exactly(width, height, 768, 1024), own_size(width, height)]:
        columns, rows = int(chosen.content_width), int(chosen.content_height)
        (sx, _, tx), (_, sy, ty) = chosen.inverse
        meant = smooth((np.arange(columns) + 0.5) * sx + tx, (np.arange(rows) + 0.5) * sy + ty)
        assert displacement(apply(chosen, drawn(width, height))[:rows, :columns], meant) < 0.03 * chosen.scale_x + 0.02
        (sx, _, tx), (_, sy, ty) = chosen.matrix
        meant = smooth((np.arange(width) + 0.5) * sx + tx, (np.arange(height) + 0.5) * sy + ty)
        assert displacement(undo(chosen, drawn(chosen.width, chosen.height)), meant) < 0.05


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1000, 500), (333, 777)])
def test_a_stretched_picture_comes_back_registered(width, height):
    source = drawn(width, height)
    chosen = nearest_trained(width, height, KONTEXT_SIZES)
    assert displacement(undo(chosen, apply(chosen, source)), source) < 0.05


sides = st.one_of(st.integers(1, 40), st.integers(1, 5000))


@settings(max_examples=300, deadline=None)
@given(width=sides, height=sides)
def test_every_size_has_one_answer_within_the_bounds(width, height):
    for bounds in (KONTEXT, NANO):
        chosen = fit(width, height, **bounds)
        assert chosen.tokens <= bounds["max_tokens"]
        assert chosen.scale_x == chosen.scale_y
        assert 0 <= chosen.width - chosen.content_width < 16
        assert 0 <= chosen.height - chosen.content_height < 16
        own = own_size(width, height)
        if bounds["min_tokens"] <= own.tokens <= bounds["max_tokens"]:
            assert chosen == own
        else:  # as close to its own size as the bounds allow: one side is whole, and a nudge the other way fails
            assert min(chosen.width - chosen.content_width, chosen.height - chosen.content_height) < 1e-6
            nudged = [math.ceil(side * chosen.scale_x * (1 + 1e-6) / 16) for side in (width, height)]
            if chosen.tokens < bounds["min_tokens"] or chosen.scale_x < 1:
                assert math.prod(nudged) > bounds["max_tokens"]
            else:
                assert chosen.scale_x > 1


@settings(max_examples=150, deadline=None)
@given(width=sides, height=sides)
def test_matrix_and_inverse_cancel_and_the_source_lies_on_the_grid(width, height):
    for chosen in fits_of(width, height):
        square, inverse = np.eye(3), np.eye(3)
        square[:2], inverse[:2] = chosen.matrix, chosen.inverse
        np.testing.assert_allclose(square @ inverse, np.eye(3), atol=1e-12)
        x, y = chosen.matrix @ (width, height, 1)
        assert 0 < x <= chosen.width + 1e-6
        assert 0 < y <= chosen.height + 1e-6
        assert Fit.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen
        assert chosen.tokens * 256 == chosen.width * chosen.height
        assert chosen.grid == (chosen.height / 16, chosen.width / 16)


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 90), height=st.integers(1, 90), seed=st.integers(0, 9))
def test_any_small_picture_comes_back_with_its_size_and_near_its_colours(width, height, seed):
    source = np.random.default_rng(seed).integers(60, 196, (height, width, 3), dtype=np.uint8)
    for chosen in (fit(width, height, **NANO), own_size(width, height), exactly(width, height, 256, 192)):
        there = apply(chosen, source)
        assert there.shape == (chosen.height, chosen.width, 3)
        back = undo(chosen, there)
        assert back.shape == source.shape
        if chosen.scale_x > 1.5:
            assert abs(back.astype(int) - source).mean() < 20  # of noise; of another picture's, 45
        if chosen.scale_x == 1:
            np.testing.assert_array_equal(back, source)


def test_twins_of_the_model_size_pass_untouched():
    chosen = fit(1280, 720, **KONTEXT)
    assert (chosen.grid, chosen.tokens, chosen.is_identity) == ((45, 80), 3600, True)
    source = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    assert apply(chosen, source) is source
    assert np.shares_memory(undo(chosen, source), source)
    np.testing.assert_array_equal(undo(chosen, source), source)


def test_padding_repeats_the_last_row_and_column():
    source = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    there = apply(own_size(7, 5), source)
    assert there.shape == (16, 16, 3)
    np.testing.assert_array_equal(there[:5, :7], source)
    np.testing.assert_array_equal(there[:5, 7:], source[:, -1:].repeat(9, 1))
    np.testing.assert_array_equal(there[5:], there[4:5].repeat(11, 0))


def test_repeating_after_the_kernel_equals_resampling_everything():
    """The shortcut for wide padding, against Pillow on a source that is padded all the way."""
    from PIL import Image

    for width, height in ((200, 50), (60, 300), (1000, 90)):
        source = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        chosen = exactly(width, height, 320, 320)
        side = math.ceil(320 / chosen.scale_x)
        whole = np.pad(source, ((0, side - height), (0, side - width), (0, 0)), mode="edge")
        box = (0, 0, 320 / chosen.scale_x, 320 / chosen.scale_y)
        expected = Image.fromarray(whole).resize((320, 320), Image.Resampling.LANCZOS, box=box)
        assert abs(apply(chosen, source).astype(int) - np.asarray(expected)).max() <= 1


def test_masks_travel_with_their_picture():
    mask = np.zeros((300, 500), np.float32)
    mask[100:200, 150:350] = 1
    chosen = fit(500, 300, **KONTEXT)
    there = apply(chosen, mask)
    assert there.dtype == np.float32
    assert (there.min(), there.max()) == (0, 1)
    assert there.sum() == pytest.approx(100 * 200 * chosen.scale_x**2, rel=1e-3)
    assert abs(undo(chosen, there) - mask).mean() < 0.01
    bytes_there = apply(chosen, (255 * mask).astype(np.uint8))
    assert abs(bytes_there / 255 - there).mean() < 0.001


@pytest.mark.parametrize(
    ("source", "trained"),
    [
        ((1920, 1080), (1392, 752)),
        ((1080, 1920), (752, 1392)),
        ((1000, 1000), (1024, 1024)),
        ((4000, 3000), (1184, 880)),
        ((1600, 500), (1568, 672)),
        ((768, 1344), (800, 1328)),
        ((799, 1000), (880, 1184)),  # by height / width it would be 944 x 1104
    ],
)
def test_the_trained_size_is_the_published_choice(source, trained):
    chosen = nearest_trained(*source, KONTEXT_SIZES)
    assert (chosen.width, chosen.height) == trained
    assert (chosen.content_width, chosen.content_height) == pytest.approx(trained)


def test_equal_aspect_ratios_give_the_smaller_size():
    assert nearest_trained(10, 10, [(512, 512), (256, 256), (512, 256)]).width == 256


@pytest.mark.parametrize(
    ("source", "bounds", "size"),
    [
        ((1280, 720), KONTEXT, (1280, 720)),  # 80 x 45 tokens: its own size
        ((1000, 1000), KONTEXT, (1008, 1008)),  # 63 x 63: its own size, padded
        ((1920, 1080), KONTEXT, (1376, 768)),  # 86 x 48 = 4128; the next is 87 x 49 = 4263
        ((4000, 3000), KONTEXT, (1184, 896)),  # 74 x 56 = 4144
        ((512, 512), KONTEXT, (768, 768)),  # 48 x 48 = 2304
        ((100, 1600), KONTEXT, (192, 3072)),  # 12 x 192 = 2304
        ((1600, 100), KONTEXT, (3072, 192)),
        ((1, 5000), KONTEXT, (16, 36_864)),
        ((1, 1), KONTEXT, (768, 768)),
        ((256, 256), NANO, (256, 256)),
        ((100, 100), NANO, (240, 240)),  # 15 x 15
        ((200, 100), {"min_tokens": 4, "max_tokens": 7}, (48, 32)),
        ((100, 100), {"min_tokens": 5, "max_tokens": 8}, (32, 32)),  # no square of 5 to 8: the largest below
    ],
)
def test_auto_chooses_these_sizes(source, bounds, size):
    chosen = fit(*source, **bounds)
    assert (chosen.width, chosen.height) == size


def test_an_explicit_size_is_filled_as_far_as_the_shape_allows():
    chosen = exactly(2000, 1000, 1024, 768)
    assert (chosen.width, chosen.height) == (1024, 768)
    assert (chosen.content_width, chosen.content_height) == (1024, 512)


def test_another_multiple_is_honoured():
    assert own_size(33, 33, multiple=32).width == 64
    assert fit(1000, 700, min_tokens=1, max_tokens=100, multiple=32).grid == (8, 12)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: check_size(1000, 512), r"width=1000: .*multiples of 16 accepted; try 992 or 1008"),
        (lambda: check_size(512, 9), r"height=9: .*try 16 or 32"),
        (lambda: check_size(512, 0), r"height=0: .*try 16 or 32"),
        (lambda: check_size(512, -32), r"height=-32: .*try 16 or 32"),
        (lambda: check_size(48, 64, 32), r"width=48: .*32x32.*try 32 or 64"),
        (lambda: exactly(10, 10, 100, 96), r"width=100: .*try 96 or 112"),
        (lambda: fit(10, 10, min_tokens=9, max_tokens=8), r"min_tokens=9, max_tokens=8: .*accepted"),
        (lambda: fit(0, 10, **NANO), r"source: 0x10 .*accepted"),
        (lambda: exactly(0, 10, 64, 64), r"source: 0x10 .*accepted"),
        (lambda: nearest_trained(10, 0, KONTEXT_SIZES), r"source: 10x0 .*accepted"),
        (lambda: nearest_trained(10, 10, ()), r"sizes: none came; .*accepted"),
        (lambda: Fit.from_dict({"width": 16}), r"fit: .*missing.*accepted"),
        (lambda: Fit.from_dict(own_size(9, 9).to_dict() | {"scale": 2}), r"fit: .*'scale'.*accepted"),
        (lambda: Fit.from_dict(own_size(9, 9).to_dict() | {"scale_x": 2.0}), r"scale_x=2.0: .* accepted"),
        (lambda: Fit.from_dict(own_size(9, 9).to_dict() | {"scale_y": math.nan}), r"scale_y=nan: .* accepted"),
    ],
)
def test_what_cannot_work_is_refused_by_name(make, said):
    with pytest.raises(ConfigError, match=said):
        make()


def test_sizes_that_fit_are_let_through():
    check_size(16, 2048)
    check_size(64, 32, 32)


def test_a_picture_of_another_size_is_refused():
    chosen = own_size(20, 10)
    for call, array in (
        (apply, np.zeros((20, 10, 3), np.uint8)),
        (apply, np.zeros((10, 20, 4), np.uint8)),
        (apply, np.zeros((10, 20, 3), np.float32)),
        (undo, np.zeros((10, 20, 3), np.uint8)),
        (undo, np.zeros((16, 32), np.float64)),
    ):
        with pytest.raises(ShapeError, match=r"picture: .*came; .*accepted; "):
            call(chosen, array)


@settings(deadline=None)
@given(st.data())
def test_a_token_is_touched_where_one_of_its_pixels_is(data):
    """At the source's own size against counting; scaled, by one pixel whose place on the grid is known."""
    width, height = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
    mask = np.zeros((height, width), np.float32)
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    mask[row, column] = 0.01
    for how in (own_size(width, height), fit(width, height, min_tokens=30, max_tokens=40)):
        touched = tokens_touched(how, mask)
        assert touched.shape == how.grid
        for axis, (place, scale, side) in enumerate(((row, how.scale_y, height), (column, how.scale_x, width))):
            first, last = place * scale / 16, (place + 1) * scale / 16
            hit = np.flatnonzero(touched.any(1 - axis))
            assert hit[0] == math.floor(first + 1e-6)
            assert hit[-1] == (how.grid[axis] - 1 if place == side - 1 else math.ceil(last - 1e-6) - 1)


def test_pixels_are_covered_where_their_token_is():
    tokens = np.zeros((3, 4), bool)
    tokens[1, 2] = True
    covered = pixels_covered(own_size(60, 40), tokens)
    expected = np.zeros((40, 60), bool)
    expected[16:32, 32:48] = True
    assert np.array_equal(covered, expected)
    half = exactly(120, 80, 64, 48)
    assert pixels_covered(half, tokens)[31:59, 61:89].all()
    assert tokens_touched(half, pixels_covered(half, tokens))[1, 2]


@pytest.mark.parametrize("ask", [tokens_touched, pixels_covered])
def test_a_mask_of_another_size_is_refused(ask):
    with pytest.raises(ShapeError, match="mask"):
        ask(own_size(64, 48), np.zeros((5, 5), bool))
