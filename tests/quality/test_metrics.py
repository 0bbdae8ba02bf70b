"""Each measure gives its published values, ranks known editors as it must, and takes nothing on trust."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import structural_similarity

from recast.errors import InputError
from recast.quality import metrics
from tests.quality import four_shapes
from tests.quality.four_shapes import SIGMA, draw, edit, jpeg, noisy, scene, tinted

PICTURES = arrays(np.uint8, (24, 40, 3))
TABLE_ITEMS = 80


def colour(*rgb: int) -> np.ndarray:
    return np.full((1, 1, 3), rgb, np.uint8)


def textured(seed: int = 0, height: int = 96, width: int = 128) -> np.ndarray:
    """Smooth blotches of all sizes down to a few pixels, as a photograph has them."""
    rng = np.random.default_rng(seed)
    picture = sum(
        np.asarray(four_shapes.cv2.resize(rng.normal(0, s, (height // s + 1, width // s + 1, 3)), (width, height)))
        for s in (2, 4, 8, 16)
    )
    return np.clip(128 + 4 * picture, 0, 255).astype(np.uint8)


# Colour


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((255, 0, 0), (53.241, 80.092, 67.203)),
        ((0, 255, 0), (87.735, -86.183, 83.179)),
        ((0, 0, 255), (32.297, 79.188, -107.860)),
        ((128, 128, 128), (53.585, 0, 0)),
        ((255, 255, 255), (100, 0, 0)),
        ((3, 3, 3), (0.8225, 0, 0)),  # on the straight toe: 903.3 * 3 / 255 / 12.92
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_lab_of_known_colours(rgb, expected):
    np.testing.assert_allclose(metrics.lab(colour(*rgb))[0, 0], expected, atol=6e-4)


def test_lab_of_linear_light_is_lab_of_its_picture():
    picture = textured()
    np.testing.assert_array_equal(metrics.lab(metrics.linear(picture)), metrics.lab(picture))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [((255, 0, 0), (250, 5, 5), 2.842), ((128,) * 3, (130,) * 3, 0.783), ((128,) * 3, (136,) * 3, 3.118)],
)
def test_delta_e_of_known_pairs(a, b, expected):
    assert metrics.delta_e(colour(*a), colour(*b)).item() == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(
    ("db", "mean", "within_5", "within_10"),
    [
        *((25, 11.6, 0.13, 0.48), (28, 8.2, 0.27, 0.71), (31.1, 5.8, 0.48, 0.89)),
        *((35, 3.7, 0.77, 0.99), (40, 2.1, 0.98, 1.0)),
    ],
)
def test_noise_of_a_known_psnr_has_the_known_delta_e(db, mean, within_5, within_10):
    rng = np.random.default_rng(0)
    clean = rng.integers(30, 226, (200, 200, 3))
    seen = np.rint(clean + rng.normal(0, 255 * 10 ** (-db / 20), clean.shape)).clip(0, 255).astype(np.uint8)
    apart = metrics.delta_e(clean.astype(np.uint8), seen)
    assert apart.mean() == pytest.approx(mean, rel=0.03)
    assert (apart <= 5).mean() == pytest.approx(within_5, abs=0.015)
    assert (apart <= 10).mean() == pytest.approx(within_10, abs=0.015)


@settings(max_examples=25, deadline=None)
@given(PICTURES, PICTURES)
def test_delta_e_is_symmetric_and_zero_only_where_equal(a, b):
    apart = metrics.delta_e(a, b)
    np.testing.assert_array_equal(apart, metrics.delta_e(b, a))
    np.testing.assert_array_equal(apart == 0, (a == b).all(-1))


def test_the_box_filter_averages_light_and_not_levels():
    board = np.zeros((9, 9, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    assert metrics.box_linear(board, 3)[4, 4] == pytest.approx([5 / 9] * 3, abs=1e-6)


@pytest.mark.parametrize(("side", "k"), [(32, 3), (64, 3), (96, 5), (256, 13), (1024, 51)])
def test_the_box_grows_with_the_shorter_side(side, k):
    assert metrics.box_size(side, 2 * side) == metrics.box_size(2 * side, side) == k


# Registration


@settings(max_examples=25, deadline=None)
@given(PICTURES)
def test_register_leaves_a_picture_of_the_right_size_alone(picture):
    pixels, flags = metrics.register(picture, 40, 24)
    assert flags == ()
    np.testing.assert_array_equal(pixels, picture)


@settings(max_examples=40, deadline=None)
@given(*[st.integers(4, 90)] * 4)
def test_register_returns_the_size_asked_for_and_says_what_it_did(columns, rows, width, height):
    pixels, flags = metrics.register(np.zeros((rows, columns, 3), np.uint8), width, height)
    ratio = columns * height / (rows * width)
    same = max(ratio, 1 / ratio) <= 1.02
    assert pixels.shape == (height, width, 3)
    assert flags == (() if (columns, rows) == (width, height) else ("resized",) if same else ("reframed",))


@pytest.mark.parametrize(("columns", "flag"), [(102, "resized"), (98, "reframed"), (103, "reframed"), (99, "resized")])
def test_register_calls_an_aspect_the_same_within_2_percent(columns, flag):
    assert metrics.register(np.zeros((100, columns, 3), np.uint8), 200, 200)[1] == (flag,)


def test_register_shrinks_by_area():
    picture = textured()
    quarters = picture.reshape(48, 2, 64, 2, 3).mean((1, 3))
    assert abs(metrics.register(picture, 64, 48)[0] - quarters).max() <= 1  # rounded once along each side


def test_register_grows_by_lanczos():
    picture = textured()
    from PIL import Image

    grown = np.asarray(Image.fromarray(picture).resize((256, 192), Image.Resampling.LANCZOS))
    assert abs(metrics.register(picture, 256, 192)[0].astype(int) - grown).max() <= 1


def test_register_crops_another_shape_around_its_centre():
    picture = np.zeros((40, 100, 3), np.uint8)
    picture[:, 30:70] = 200
    pixels, flags = metrics.register(picture, 40, 40)
    assert flags == ("reframed",)
    assert (pixels == 200).all()


def test_register_puts_white_behind_what_is_transparent():
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[:4, :, 3] = 255
    picture[4, :, 3] = 51
    pixels, flags = metrics.register(picture, 8, 8)
    assert flags == ("flattened",)
    assert [pixels[row, 0, 0] for row in (0, 4, 7)] == [0, 204, 255]


def test_register_has_nothing_to_flatten_in_an_opaque_picture():
    assert metrics.register(np.full((8, 8, 4), 255, np.uint8), 8, 8)[1] == ()


@pytest.mark.parametrize("right", [-4, 0, 3])
@pytest.mark.parametrize("down", [-2, 0, 4])
def test_shift_finds_a_displacement_beside_an_edit_and_noise(right, down):
    source, kept = textured(), np.ones((96, 128), bool)
    kept[20:60, 30:80] = False
    output = np.roll(source, (down, right), (0, 1))
    output[20:60, 30:80] = 200
    assert metrics.shift(source, noisy(output, np.random.default_rng(0)), kept) == (right, down)


def test_shift_finds_a_displacement_of_flat_shapes_under_noise():
    rng = np.random.default_rng(3)
    for right, down in ((1, 0), (-3, 2), (0, 0)):
        source = draw(scene(rng))
        output = noisy(np.roll(source, (down, right), (0, 1)), rng)
        assert metrics.shift(source, output, np.ones((96, 96), bool)) == (right, down)


def test_shift_says_nothing_of_a_flat_or_empty_part():
    flat = np.full((32, 32, 3), 90, np.uint8)
    assert metrics.shift(flat, flat, np.ones((32, 32), bool)) is None
    assert metrics.shift(textured()[:32, :32], textured()[:32, :32], np.zeros((32, 32), bool)) is None


def test_putting_back_undoes_a_displacement():
    source = textured()
    moved = np.roll(source, (2, -3), (0, 1))
    np.testing.assert_array_equal(metrics.put_back(moved, (-3, 2))[4:-4, 4:-4], source[4:-4, 4:-4])


# Local edit precision


@settings(max_examples=25, deadline=None)
@given(PICTURES, PICTURES)
def test_the_answer_has_a_precision_of_one(source, answer):
    assert metrics.local_edit_precision(source, answer, answer)["precision"] == 1
    assert metrics.strict_iou(source, answer, answer) == 1


@pytest.fixture(scope="module")
def editors() -> dict[str, np.ndarray]:
    """Per editor the means of (strict root, strict IoU, filtered precision, trimmed distance) over random edits."""
    rng = np.random.default_rng(0)
    scores: dict[str, list[tuple[float, ...]]] = {}
    warm = np.array([1, 0.5, -0.5]) * SIGMA * 2**0.5  # 31 dB: a mean square of SIGMA ** 2
    for _ in range(TABLE_ITEMS):
        before = scene(rng)
        slot, operation, by = (int(rng.integers(*ends)) for ends in ((0, 4), (0, 4), (1, 10)))
        after = edit(before, slot, operation, by)
        recoloured = after.shapes[slot] or before.shapes[slot]
        stray = after.with_shape(slot, four_shapes.replace(recoloured, colour=int(rng.integers(10))))
        x, answer = draw(before), draw(after)
        outputs = {
            "oracle": answer,
            "no-op": x,
            "noise": noisy(answer, rng),
            "jpeg": jpeg(answer, 75),
            "shift": np.roll(answer, 1, 1),
            "tint": tinted(answer, tuple(warm)),
            "wrong object": draw(edit(before, (slot + 1) % 4, operation, by)),
            "random colour": draw(stray),
            "unrelated": draw(scene(rng)),
        }
        for name, output in outputs.items():
            exact = metrics.local_edit_precision(x, output, answer, k=1, band=0, thresholds=np.arange(0.5, 11))
            row = (
                exact["precision"],
                metrics.strict_iou(x, output, answer),
                metrics.local_edit_precision(x, output, answer)["precision"],
                metrics.trimmed_distance(x, output, 0.4),
            )
            scores.setdefault(name, []).append(row)
    return {name: np.mean(rows, 0) for name, rows in scores.items()}


@pytest.mark.parametrize(
    ("editor", "strict", "iou", "filtered"),
    [
        ("oracle", 1, 1, 1),
        ("no-op", 0, 0, 0.04),
        ("noise", 0.49, 0.06, 1),
        ("jpeg", None, None, 0.87),  # smoothed edges here, hard ones there: unfiltered they differ
        ("shift", 0.94, 0.54, 0.83),
        ("tint", 0.47, 0.42, 0.61),
        ("wrong object", 0.06, 0.02, 0.08),
        ("unrelated", 0.08, 0.01, 0.05),
    ],
)
def test_each_editor_scores_as_in_another_toy_world(editors, editor, strict, iou, filtered):
    """Within 0.15 unfiltered and 0.1 filtered: the shapes, colours and edits of the two worlds are not the same."""
    seen = editors[editor]
    assert seen[2] == pytest.approx(filtered, abs=0.1)
    if strict is not None:
        assert seen[0] == pytest.approx(strict, abs=0.15)
        assert seen[1] == pytest.approx(iou, abs=0.15)


def test_the_filter_puts_editors_in_the_order_a_viewer_would(editors):
    filtered = {name: seen[2] for name, seen in editors.items()}
    harmless = [filtered[name] for name in ("noise", "jpeg", "shift")]
    useless = [filtered[name] for name in ("no-op", "wrong object", "unrelated")]
    assert filtered["oracle"] == 1
    assert harmless[0] > 0.98
    assert min(harmless) > filtered["tint"] + 0.1 > filtered["random colour"] + 0.2 > max(useless) + 0.2


def test_unfiltered_noise_would_rank_below_a_colour_at_random(editors):
    assert editors["noise"][1] < editors["random colour"][1]


def test_trimmed_distance_measures_preservation_alone(editors):
    trimmed = {name: seen[3] for name, seen in editors.items()}
    assert max(trimmed[name] for name in ("oracle", "no-op", "wrong object")) < 0.05
    assert trimmed["noise"] == pytest.approx(5.8, abs=0.3)
    assert trimmed["tint"] == pytest.approx(6.2, abs=0.6)
    assert trimmed["unrelated"] == pytest.approx(31.6, abs=8)


def halves() -> tuple[np.ndarray, np.ndarray]:
    """A grey picture of 96 x 96, and one whose right half is red."""
    source = np.full((96, 96, 3), 128, np.uint8)
    answer = source.copy()
    answer[:, 48:] = (200, 30, 30)
    return source, answer


def test_edited_and_kept_see_their_own_side_alone():
    source, answer = halves()
    spoiled = answer.copy()
    spoiled[:, :24] = 0
    scores = metrics.local_edit_precision(source, spoiled, answer, k=1, band=2)
    assert scores["edited"] == 1
    assert scores["kept"] == pytest.approx((48 - 2 - 24) / (48 - 2))
    assert scores["precision"] == pytest.approx(scores["kept"] ** 0.5)
    assert scores["changed_share"] == 0.5


def test_no_kept_pixel_sees_a_changed_one():
    source, answer = halves()
    other = answer.copy()
    other[:, 48:] = (0, 0, 255)
    assert metrics.local_edit_precision(source, other, answer)["kept"] == 1


def test_an_edit_that_must_change_nothing_is_its_kept_share():
    source, _ = halves()
    output = source.copy()
    output[:48] = 0
    scores = metrics.local_edit_precision(source, output, source, k=1)
    assert scores["edited"] is None
    assert scores["precision"] == scores["kept"] == 0.5


def test_an_edit_that_must_change_all_is_its_edited_share():
    source, _ = halves()
    answer = np.full_like(source, 30)
    output = answer.copy()
    output[:24] = 200
    scores = metrics.local_edit_precision(source, output, answer, k=1)
    assert scores["kept"] is None
    assert scores["precision"] == scores["edited"] == 0.75


def test_a_change_thinner_than_the_band_still_counts():
    source, _ = halves()
    answer = source.copy()
    answer[40] = 255
    assert metrics.local_edit_precision(source, source, answer, k=1, band=2)["edited"] == 0


def test_a_floor_excuses_what_the_autoencoder_does():
    source, answer = halves()
    floor = tinted(answer, (14, 14, -14))
    plain = metrics.local_edit_precision(source, floor, answer)
    excused = metrics.local_edit_precision(source, floor, answer, floor=floor)
    assert plain["edited"] < 0.5
    assert excused["edited"] == 1
    assert excused["thresholds"][0] > plain["thresholds"][0] == 3
    assert metrics.local_edit_precision(source, answer, answer, floor=answer)["thresholds"] == plain["thresholds"]


def test_the_floor_is_its_95th_percentile():
    """A tenth of the floor is off by far more than the rest; a twentieth would not count."""
    source, answer = halves()
    for rows, is_raised in ((10, True), (4, False)):
        floor = answer.copy()
        floor[:rows] = tinted(answer, (60, 60, -60))[:rows]
        thresholds = metrics.local_edit_precision(source, answer, answer, k=1, floor=floor)["thresholds"]
        assert (thresholds[0] > 3) == is_raised


def test_kept_forgives_the_border_of_an_edit_and_no_more():
    first, _ = halves()
    untouched = np.ones((96, 96), bool)
    untouched[:, 48:] = False
    output = first.copy()
    output[:, 47:] = 0
    assert metrics.kept(first, output, untouched) == 1
    output[:, :10] = 0
    assert metrics.kept(first, output, untouched) < 0.8
    assert metrics.kept(first, output, np.zeros((96, 96), bool)) is None


def test_a_masked_distance_sees_only_whole_blocks_of_the_mask():
    source, answer = halves()
    left = np.zeros((96, 96), bool)
    left[:, :52] = True
    assert metrics.trimmed_distance(source, answer, 0, where=left) == 0
    assert metrics.trimmed_distance(source, answer, 0) > 10
    assert metrics.trimmed_distance(source, answer, 0, where=np.zeros((96, 96), bool)) is None


def test_the_last_blocks_count_though_they_are_small():
    source = np.zeros((12, 8, 3), np.uint8)
    output = source.copy()
    output[8:] = 255
    assert metrics.trimmed_distance(source, output, 0) == pytest.approx(50, abs=1e-3)


def test_pictures_of_two_sizes_are_refused():
    with pytest.raises(InputError, match=r"output: uint8 \(8, 9, 3\) came; uint8 \(8, 8, 3\), as source, accepted"):
        metrics.local_edit_precision(*(np.zeros(shape, np.uint8) for shape in ((8, 8, 3), (8, 9, 3), (8, 8, 3))))


# Plain distances


def test_psnr_is_that_of_the_noise_and_capped_for_equal_pictures():
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert metrics.psnr(grey, noisy(grey, np.random.default_rng(0))) == pytest.approx(31, abs=0.1)
    assert metrics.psnr(grey, grey) == 60


def test_l1_and_l2_of_a_known_difference():
    a, b = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    b[:2] = 255
    b[2:] = 51
    assert metrics.l1(a, b) == pytest.approx(0.6)
    assert metrics.l2(a, b) == pytest.approx((1 + 0.04) / 2)


def test_ssim_agrees_with_another_implementation():
    a = textured()
    b = noisy(a, np.random.default_rng(1))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    assert metrics.ssim(a, b) == pytest.approx(structural_similarity(a, b, channel_axis=2, **options), abs=1e-6)


def test_masked_ssim_sees_nothing_outside_its_mask():
    a = textured()
    b = a.copy()
    b[:, 64:] = 0
    left = np.zeros(a.shape[:2], bool)
    left[:, :64] = True
    assert metrics.ssim(a, b, left) == pytest.approx(1, abs=1e-9)
    assert metrics.ssim(a, b, np.ones_like(left)) < 0.9
    assert metrics.ssim(a, b, left & ~left) is None


# Identity, and scores that controls calibrate


@pytest.mark.parametrize(("similarity", "expected"), [(None, 0), (0.1, 0), (-0.5, 0), (0.5, 0.5), (0.9, 1), (1, 1)])
def test_consistency_runs_from_strangers_to_itself(similarity, expected):
    assert metrics.consistency(similarity, impostor=0.1, itself=0.9) == pytest.approx(expected)


@pytest.mark.parametrize(("distance", "expected"), [(0, 1), (2, 1), (11, 0.5), (20, 0), (40, 0)])
def test_kept_score_runs_from_the_floor_to_unrelated_pictures(distance, expected):
    assert metrics.kept_score(distance, floor=2, reference=20) == expected


def test_controls_that_coincide_calibrate_nothing():
    with pytest.raises(InputError, match="floor and reference: both 3"):
        metrics.kept_score(1, 3, 3)


def test_a_threshold_lets_pass_the_share_it_is_for():
    cosines = np.random.default_rng(0).normal(0.1, 0.1, 780)
    threshold = metrics.threshold_at(cosines, 0.01)
    assert (cosines >= threshold).sum() == 7
    assert (np.full(400, 0.2) >= metrics.threshold_at(np.full(400, 0.2), 0.01)).sum() == 0


def test_780_pairs_do_not_tell_a_rate_of_one_in_a_thousand():
    with pytest.raises(InputError, match="780 pairs came; at least 3000 accepted"):
        metrics.threshold_at(np.zeros(780), 0.001)


def test_faces_are_assigned_together_before_the_worst_counts():
    assert metrics.worst_match(np.array([[0.9, 0.8], [0.85, 0.1]])) == 0.8
    assert metrics.worst_match(np.array([[0.9], [0.8]])) is None


# Speed


def test_quantiles_need_enough_times_to_have_them():
    assert metrics.latency([3.0, 1.0, 2.0]) == {"n": 3, "p50": 2, "p90": None, "p95": None, "max": 3}
    assert metrics.latency(np.arange(31.0))["p90"] == 27
    assert metrics.latency(np.arange(99.0))["p95"] is None
    assert metrics.latency(np.arange(101.0))["p95"] == 95


def test_a_failed_request_has_no_time():
    with pytest.raises(InputError, match="seconds"):
        metrics.latency([1.0, float("nan")])
