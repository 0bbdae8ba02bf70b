"""Claims of recast.retouch.difference."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from recast.errors import ShapeError
from recast.retouch.difference import Difference, difference, fill_holes, groups, in_order, length_scale, unchanged
from recast.retouch.thresholds import GRID_PIXELS, THRESHOLDS

PHOTO = np.ascontiguousarray(data.coffee()[:384, :512])
LIMITS = THRESHOLDS.differing


def resampled(picture: np.ndarray) -> np.ndarray:
    """The picture shifted by a few pixels and brought back with 0.15 px left over: two cubic resamplings."""
    size = picture.shape[1], picture.shape[0]
    there = np.array([[1.004, 0, 2.3], [0, 1.004, -1.7]])
    moved = cv2.warpAffine(picture, there, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    back = there + np.array([[0, 0, 0.12], [0, 0, 0.09]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(moved, back, size, flags=flags, borderMode=cv2.BORDER_REFLECT)


def compressed(picture: np.ndarray) -> np.ndarray:
    """JPEG at quality 90."""
    return cv2.imdecode(cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1], 1)[..., ::-1]


def found(source: np.ndarray, edited: np.ndarray, limits=LIMITS) -> tuple[Difference, np.ndarray]:
    seen = difference(source, edited, thresholds=limits)
    return seen, fill_holes(groups(seen, limits), seen, limits)


def disc(shape: tuple[int, ...], x: int, y: int, radius: int) -> np.ndarray:
    return cv2.circle(np.zeros(shape[:2], dtype=np.uint8), (x, y), radius, 1, -1) > 0


def lettered(picture: np.ndarray, cap: int = 18, at: tuple[int, int] = (40, 60)) -> tuple[np.ndarray, np.ndarray]:
    """White capitals with strokes of 2 px, and where they are."""
    ink = np.zeros(picture.shape[:2], dtype=np.uint8)
    cv2.putText(ink, "THIN TEXT", at, cv2.FONT_HERSHEY_SIMPLEX, cap / 21, 255, 2, cv2.LINE_AA)
    share = ink[..., None] / 255
    return np.rint(picture * (1 - share) + 255 * share).astype(np.uint8), ink > 127


DISTORTIONS = {"clean": lambda p: p, "resampled": resampled, "compressed": compressed}


@pytest.mark.parametrize("distort", DISTORTIONS.values(), ids=DISTORTIONS)
def test_nothing_is_found_where_only_noise_is(distort):
    _, labels = found(PHOTO, distort(PHOTO))
    assert (labels[4:-4, 4:-4] > 0).mean() <= 0.002  # on the rim something else was mirrored in: it does differ
    assert (labels > 0).mean() <= 0.004


@pytest.mark.parametrize("distort", DISTORTIONS.values(), ids=DISTORTIONS)
def test_an_object_thin_text_and_a_hue_are_found_and_little_else(distort):
    edited, ink = lettered(PHOTO)
    ball = disc(PHOTO.shape, 330, 300, 40)
    edited[ball] = (40, 90, 200)
    hue = disc(PHOTO.shape, 430, 60, 40)
    edited[hue] = np.clip(edited[hue] + np.array([-14, 4, 26]), 0, 255).astype(np.uint8)
    _, labels = found(PHOTO, distort(edited))
    changed = labels > 0
    assert changed[ball].mean() >= 0.98
    assert changed[ink].mean() >= 0.97
    assert changed[hue].mean() >= 0.95
    near = cv2.dilate((ball | ink | hue).astype(np.uint8), np.ones((9, 9))) > 0
    assert (changed & ~near).mean() <= 0.004


def test_equal_pictures_have_no_difference():
    seen, labels = found(PHOTO, PHOTO)
    assert seen.delta.max() == 0
    assert not seen.weak.any()
    assert not labels.any()
    assert unchanged(seen).all()


def test_fragments_near_each_other_are_one_region():
    """Letters of a word: within 0.7 % of the diagonal, 4 px of 640; without the rule each is its own."""
    strong = np.zeros((384, 512), dtype=bool)
    strong[100:120, 100:110] = strong[100:120, 114:124] = strong[100:120, 140:150] = True
    seen, apart = synthetic(strong, strong), replace(LIMITS, closing=1)
    assert groups(seen, apart).max() == 2
    assert groups(seen, replace(apart, near=0.0)).max() == 3
    assert groups(seen, replace(apart, near=0.03)).max() == 1


def test_small_gaps_between_weak_pixels_are_closed():
    strong = np.zeros((384, 512), dtype=bool)
    strong[100:120, 100:110] = strong[100:120, 113:123] = True
    assert groups(synthetic(strong, strong))[105:115, 110:113].all()
    assert not groups(synthetic(strong, strong), replace(LIMITS, closing=1))[105:115, 110:113].any()


@pytest.mark.parametrize("side", [np.s_[:9], np.s_[-9:], np.s_[:, :9], np.s_[:, -9:], np.s_[:1]])
def test_a_change_at_the_edge_of_the_frame_is_found_to_the_last_row(side):
    edited = PHOTO.copy()
    edited[side] = 255, 0, 255
    assert (found(PHOTO, edited)[1][side] > 0).mean() > 0.99


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (2, 200), (4, 90)])
def test_a_change_in_a_narrow_picture_is_found(shape: tuple[int, int]):
    source = np.full((*shape, 3), 90, np.uint8)
    edited = source.copy()
    edited.reshape(-1, 3)[40:80] = 250, 20, 20
    changed = (source != edited).any(-1)
    assert (found(source, edited)[1][changed] > 0).all()


def test_the_mask_of_text_is_little_wider_than_its_strokes():
    edited, ink = lettered(PHOTO)
    seen, labels = found(PHOTO, edited)
    changed = labels > 0
    assert not (seen.strong & ~seen.weak).any()
    assert changed.sum() <= 2.2 * ink.sum()
    assert (found(PHOTO, edited, replace(LIMITS, spill_share=0.0))[1] > 0).sum() > 2.5 * ink.sum()


def test_a_faint_shadow_beside_strong_text_is_kept():
    """Spill is judged by a pixel's own levels too: weaker than its neighbour is not enough."""
    grey = np.full((160, 240, 3), 120, dtype=np.uint8)
    edited, _ = lettered(grey, at=(30, 80))
    shadow, _ = lettered(grey, at=(33, 83))
    dark = (shadow.astype(int).sum(2) > 400) & (edited == grey).all(2)
    edited[dark] -= 14
    assert (found(grey, edited)[1] > 0)[dark].mean() > 0.9
    assert (found(grey, edited, replace(LIMITS, spill_levels=99.0))[1] > 0)[dark].mean() < 0.6


def test_noise_of_texture_is_measured_in_texture():
    """Fine texture, resampled, differs more than flat ground; one bin for all would call it changed."""
    dice = np.random.default_rng(0)
    source = np.full((384, 512, 3), 128, dtype=np.uint8)
    source[:, 256:] = dice.normal(128, 90, (384, 256, 3)).clip(0, 255).astype(np.uint8)
    seen, labels = found(source, resampled(source))
    assert max(seen.weak_at) > 1.4 * seen.weak_at[0]
    assert (labels > 0).mean() < 0.02
    one = replace(LIMITS, bins=(), weak_deviations=0.0, strong_deviations=0.0)
    assert (found(source, resampled(source), one)[1] > 0).mean() > 0.2


def test_a_busy_object_taken_from_a_flat_picture_is_found_whole():
    """It fills its bin of texture alone: its own change is not that bin's noise."""
    source = np.full((384, 512, 3), 170, dtype=np.uint8)
    busy = disc(source.shape, 256, 190, 90)
    source[busy] = np.random.default_rng(0).integers(0, 256, (int(busy.sum()), 3))
    source = cv2.GaussianBlur(source, (0, 0), 1.5)
    edited = np.full_like(source, 170)
    assert (found(source, edited)[1] > 0)[busy].mean() > 0.98
    loose = replace(LIMITS, most_ratio=1e9, mad_of_quarter=1e9, median_of_quarter=1e9, hole=0.0, hole_delta=1e9)
    assert (found(source, edited, loose)[1] > 0)[busy].mean() < 0.9


def test_a_change_of_more_than_half_of_the_frame_is_not_its_own_noise():
    source = cv2.GaussianBlur(PHOTO, (0, 0), 3)
    edited = source.copy()
    edited[:, :320] = cv2.GaussianBlur(np.ascontiguousarray(data.astronaut()[:384, :320]), (0, 0), 3)
    edited = compressed(edited)
    assert (found(source, edited)[1] > 0)[:, :320].mean() > 0.85
    loose = replace(LIMITS, most_ratio=1e9, mad_of_quarter=1e9, median_of_quarter=1e9, hole=0.0, hole_delta=1e9)
    loose = replace(loose, most_weak=1e9, most_strong=1e9)
    assert (found(source, edited, loose)[1] > 0)[:, :320].mean() < 0.7


def test_no_noise_is_so_large_that_a_picture_painted_anew_counts_as_its_source():
    edited = np.rint(PHOTO * np.array([0.3, 0.4, 0.6])).astype(np.uint8)
    assert (found(PHOTO, edited)[1] > 0).mean() > 0.6
    loose = replace(LIMITS, most_weak=1e9, most_strong=1e9)
    assert (found(PHOTO, edited, loose)[1] > 0).mean() < 0.6


def test_a_fragment_without_a_strong_pixel_is_dropped():
    """Hysteresis: a faint spot stays only if something certain is in it."""
    grey = np.full((400, 400, 3), 120, dtype=np.uint8)
    edited = grey.copy()
    edited[100:130, 100:130] += 9  # weak: about dE 3
    seen, labels = found(grey, edited)
    assert seen.weak[110:120, 110:120].all()
    assert not labels.any()
    edited[110:120, 110:120] += 40
    labels = found(grey, edited)[1]
    assert labels[101:129, 101:129].all()


def test_a_fragment_without_a_strong_pixel_is_dropped_beside_a_region_too():
    strong = np.zeros((384, 512), dtype=bool)
    strong[100:120, 100:110] = True
    weak = strong.copy()
    weak[100:120, 113:127] = True
    labels = groups(synthetic(weak, strong), replace(LIMITS, closing=1))
    assert labels[110, 105] == 1
    assert not labels[:, 112:].any()


def test_a_group_needs_enough_strong_pixels():
    side = round(GRID_PIXELS**0.5)
    grey = np.full((side, side, 3), 120, dtype=np.uint8)
    for strokes, is_found in ((4, False), (14, True)):
        edited = grey.copy()
        edited[500 : 500 + strokes, 500 : 500 + strokes // 2] = 255
        labels = found(grey, edited)[1]
        assert (labels.max() > 0) == is_found


def test_small_pictures_need_fewer_strong_pixels():
    """Strong pixels count as a length does: a mark of 5 x 3 px is a change at 256 px and dirt at one megapixel."""
    assert length_scale((1024, 1024)) == 1
    assert length_scale((256, 256)) == 0.25
    for side, is_found in ((256, True), (1024, False)):
        grey = np.full((side, side, 3), 120, dtype=np.uint8)
        edited = grey.copy()
        edited[100:105, 100:103] = 200
        assert (found(grey, edited)[1].max() > 0) == is_found


def test_weak_lines_far_from_strong_pixels_are_cut_and_wide_areas_kept():
    shape = (600, 600)
    strong, weak = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    strong[100:130, 100:130] = True
    weak[100:130, 100:130] = True
    weak[110:113, 130:500] = True  # thin
    weak[130:300, 100:130] = True  # wide
    seen = synthetic(weak, strong)
    labels = groups(seen)
    assert labels[200:290, 105:125].all()
    assert not labels[:, 160:].any()
    assert groups(seen, replace(LIMITS, leash=9.0))[111, 490]


def synthetic(weak: np.ndarray, strong: np.ndarray, delta: np.ndarray | None = None) -> Difference:
    """A difference with given pixels, one bin and the lowest levels."""
    zeros = np.zeros(weak.shape, dtype=np.float32)
    filled = np.where(weak, np.float32(10), np.float32(0)) if delta is None else delta
    bins = np.zeros(weak.shape, dtype=np.uint8)
    levels = (LIMITS.weak,), (LIMITS.strong,)
    return Difference(filled, zeros, weak, strong, np.ones(weak.shape, bool), bins, ((0.0, 0.0),), *levels)


def test_faint_geometry_is_found_by_structure_where_colour_hints_at_it():
    """A pattern below the weak level of colour counts as weak by structure, never as strong."""
    dice = np.random.default_rng(0)
    grey = np.full((200, 200, 3), 128, dtype=np.uint8)
    edited = grey.copy()
    edited[50:150, 50:150] += dice.choice([0, 12], (50, 50, 1)).repeat(2, 0).repeat(2, 1).astype(np.uint8)
    seen = difference(grey, edited)
    by_colour = difference(grey, edited, thresholds=replace(LIMITS, structure=9.0))
    assert seen.weak[50:150, 50:150].mean() > by_colour.weak[50:150, 50:150].mean() + 0.1
    np.testing.assert_array_equal(seen.strong, by_colour.strong)


def test_grain_without_any_colour_difference_is_not_weak_by_structure():
    grey = np.full((200, 200, 3), 128, dtype=np.uint8)
    edited = grey.copy()
    patch = np.s_[70:130, 70:130]
    edited[patch] += np.random.default_rng(0).choice([0, 8], (60, 60, 1)).astype(np.uint8)
    hinted, alone = (
        difference(grey, edited, thresholds=replace(LIMITS, structure=0.15, structure_delta=share)).weak[patch].mean()
        for share in (LIMITS.structure_delta, 0.0)
    )
    assert hinted < alone - 0.15


@pytest.mark.parametrize("ground", [4, 240])
def test_dark_and_blown_changes_are_found_by_structure(ground: int):
    """Letters of 14 levels in near black or near white are below strong in colour; structure makes them certain."""
    source = np.full((256, 256, 3), ground, dtype=np.uint8)
    ink = lettered(np.zeros_like(source), at=(30, 120))[1]
    edited = source.copy()
    edited[ink] += 14
    blind = replace(LIMITS, dull_structure=9.0)
    assert not found(source, edited, blind)[1].any()
    assert (found(source, edited)[1] > 0)[ink].mean() > 0.97


def test_mid_tones_are_never_strong_by_structure():
    source = np.full((256, 256, 3), 128, dtype=np.uint8)
    ink = lettered(np.zeros_like(source), at=(30, 120))[1]
    edited = source.copy()
    edited[ink] += 11
    seen = difference(source, edited)
    assert seen.structure.max() > LIMITS.dull_structure - 0.02
    assert not seen.strong.any()
    assert difference(source, edited, thresholds=replace(LIMITS, dark=101.0, dull_structure=0.3)).strong.any()


def test_holes_small_or_different_are_filled_and_a_ring_keeps_its_inside():
    labels = np.zeros((400, 400), dtype=np.int32)
    for number, left in ((1, 20), (2, 150), (3, 280)):
        labels[100:200, left : left + 100] = number
    labels[140:144, 60:64] = 0  # small
    labels[120:180, 170:230] = 0  # large, and the same
    labels[120:180, 300:360] = 0  # large, and different
    delta = np.zeros(labels.shape, dtype=np.float32)
    delta[120:180, 300:360] = 2
    seen = synthetic(labels > 0, labels > 0, delta)
    filled = fill_holes(labels, seen)
    assert (filled[140:144, 60:64] == 1).all()
    assert not filled[125:175, 175:225].any()
    assert (filled[120:180, 300:360] == 3).all()
    assert (filled[labels > 0] == labels[labels > 0]).all()
    assert not filled[:90].any()


def test_a_gap_between_two_regions_or_at_the_edge_is_no_hole():
    labels = np.zeros((60, 60), dtype=np.int32)
    labels[10:30, 10:30], labels[30:50, 10:30] = 1, 2
    labels[29:31, 18:20] = 0
    labels[0:10, 40:50] = 3
    labels[0, 43:45] = 0
    np.testing.assert_array_equal(fill_holes(labels, synthetic(labels > 0, labels > 0)), labels)


def test_regions_are_numbered_by_their_top_left_corner():
    labels = np.zeros((9, 9), dtype=np.int32)
    labels[5:7, 0:2], labels[0:2, 6:8], labels[0, 0], labels[1, 1] = 3, 9, 7, 7
    expected = np.zeros_like(labels)
    expected[5:7, 0:2], expected[0:2, 6:8], expected[0, 0], expected[1, 1] = 3, 2, 1, 1
    np.testing.assert_array_equal(in_order(labels), expected)


def test_what_the_edit_does_not_show_is_no_change_and_does_not_leak():
    edited = PHOTO.copy()
    edited[:, 400:] = (255, 0, 255)
    valid = np.ones(PHOTO.shape[:2], dtype=bool)
    valid[:, 400:] = False
    seen = difference(PHOTO, edited, valid)
    assert seen.delta.max() == 0
    assert not groups(seen).any()
    assert not unchanged(seen)[:, 400:].any()
    assert unchanged(seen)[:, :400].any()
    edited[100:200, 380:] = (0, 255, 0)
    seen = difference(PHOTO, edited, valid)
    assert seen.strong[100:200, 380:400].mean() > 0.98
    for field in (seen.weak, seen.strong, seen.delta, seen.structure, groups(seen)):
        assert not field[:, 400:].any()


def test_unchanged_keeps_its_distance_from_a_change():
    edited = PHOTO.copy()
    ball = disc(PHOTO.shape, 200, 200, 40)
    edited[ball] = (0, 255, 0)
    same = unchanged(difference(PHOTO, edited))
    reach = round(LIMITS.erosion * length_scale(PHOTO.shape))
    near = cv2.dilate(ball.astype(np.uint8), np.ones((3, 3)), iterations=reach // 2) > 0
    assert not same[near].any()
    assert same.mean() > 0.8


def test_a_strong_speck_too_small_for_a_region_is_not_unchanged():
    strong = np.zeros((384, 512), dtype=bool)
    strong[200:202, 200:202] = True
    seen = synthetic(strong, strong)
    assert not groups(seen).any()
    assert not unchanged(seen)[198:204, 198:204].any()
    assert unchanged(seen)[220, 220]


@pytest.mark.parametrize("distort", [DISTORTIONS["clean"], DISTORTIONS["compressed"]])
def test_regions_move_with_the_pictures(distort):
    """Both pictures moved by (8 k, 8 k) px on a flat ground."""
    ground = np.full((400, 480, 3), 90, dtype=np.uint8)
    ground[100:240, 100:260] = PHOTO[100:240, 100:260]
    edited = lettered(ground, at=(110, 180))[0]
    edited[disc(ground.shape, 230, 130, 18)] = (250, 240, 20)
    step = (24, 32)
    labels = found(ground, distort(edited))[1]
    moved = found(*(np.roll(p, step, axis=(0, 1)) for p in (ground, distort(edited))))[1]
    assert labels.max() >= 2
    np.testing.assert_array_equal(moved, np.roll(labels, step, axis=(0, 1)))


def test_the_number_of_threads_changes_nothing():
    edited = compressed(lettered(PHOTO)[0])
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one, one_labels = found(PHOTO, edited)
        cv2.setNumThreads(4)
        four, four_labels = found(PHOTO, edited)
    finally:
        cv2.setNumThreads(before)
    for name in ("delta", "structure", "weak", "strong"):
        np.testing.assert_array_equal(getattr(one, name), getattr(four, name))
    np.testing.assert_array_equal(one_labels, four_labels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (7, 3), (64, 64)])
@pytest.mark.parametrize("is_valid", [True, False])
def test_small_flat_and_invalid_pictures_are_survived(shape: tuple[int, int], is_valid: bool):
    black, white = (np.full((*shape, 3), v, dtype=np.uint8) for v in (0, 255))
    for source, edited in ((black, black), (black, white), (white, black)):
        seen = difference(source, edited, np.full(shape, is_valid))
        labels = fill_holes(groups(seen), seen)
        assert labels.shape == unchanged(seen).shape == shape
        assert np.isfinite(seen.delta).all()
        assert is_valid or not (labels.any() or seen.weak.any() or unchanged(seen).any())


def test_floats_and_bytes_give_one_answer():
    edited = compressed(lettered(PHOTO)[0])
    np.testing.assert_array_equal(difference(PHOTO, edited).delta, difference(PHOTO, edited.astype(np.float32)).delta)


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match="one size"):
        difference(PHOTO, PHOTO[:-1])
    with pytest.raises(ShapeError, match="valid"):
        difference(PHOTO, PHOTO, np.ones((3, 3), dtype=bool))


def test_a_panorama_asks_no_larger_regions_than_a_square():
    assert length_scale((40, 12_000)) == 1
    assert length_scale((512, 512)) == pytest.approx(0.5)
