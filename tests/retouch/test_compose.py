"""Layers and what is made of them: outside the support every sample is the source's, in the core the edit's."""

import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab

from recast.errors import ShapeError
from recast.retouch.compose import Layer, composite, guided, layer, margin, support
from recast.retouch.thresholds import THRESHOLDS

T = THRESHOLDS.composing
BENT = replace(T, seam_delta=-1)  # a membrane however well the border fits


def photograph(width: int = 512, height: int = 512) -> np.ndarray:
    return cv2.resize(data.astronaut(), (width, height), interpolation=cv2.INTER_CUBIC)


def distance(source: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """A plain stand-in for the difference map: CIEDE2000 of slightly blurred pictures."""
    a, b = (cv2.GaussianBlur(each.astype(np.float32), (0, 0), 1) / 255 for each in (source, edited))
    return deltaE_ciede2000(rgb2lab(a), rgb2lab(b)).astype(np.float32)


def whole(source: np.ndarray, edited: np.ndarray, core: np.ndarray, delta=None, **options) -> Layer:
    """The layer of a core, its crop the whole frame."""
    delta = distance(source, edited) if delta is None else delta
    box = (0, 0, core.shape[1], core.shape[0])
    levels = np.iinfo(source.dtype).max
    return layer(source.astype(np.float32), edited.astype(np.float32), core, delta, box=box, levels=levels, **options)


def blobs(rng: np.random.Generator, shape=(48, 64)) -> np.ndarray:
    """A random mask: specks, rings and continents, some at the frame's border."""
    field = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), rng.uniform(1, 12))
    return field > np.quantile(field, rng.uniform(0.3, 0.98))


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_outside_the_support_every_sample_is_the_sources(seed, data):
    """Any mask, any size from 1x1, any two pictures, both depths, any scale."""
    height, width = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
    is_limited = data.draw(st.booleans())
    scale = data.draw(st.sampled_from([0.5, 1.0, 2.8]))
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    source, edited = rng.integers(0, top, (2, height, width, 3), dtype=dtype, endpoint=True)
    core = rng.uniform(size=(height, width)) < data.draw(st.sampled_from([0, 0.02, 0.5, 1]))
    within = rng.uniform(size=(height, width)) < 0.7 if is_limited else None
    delta = rng.uniform(0, 5, (height, width)).astype(np.float32)
    made = whole(source, edited, core, delta, scale=scale, within=within)
    result = composite(source, [made])
    seen = support([made], source.shape[:2])
    assert (result[~seen] == source[~seen]).all()
    assert result.dtype == dtype
    far = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5) >= T.reach_px * scale
    if core.any() and not core.all():
        assert not seen[far].any()
    if is_limited:
        assert not seen[~within].any()
    else:
        assert (made.alpha[core] == 1).all()
        if made.seam_kind == "alpha":
            assert (result[core] == edited[core]).all()


def test_laying_a_picture_on_itself_changes_nothing():
    """200 random masks, with a membrane: at most one level inside, none outside."""
    source = photograph(64, 48)
    for seed in range(200):
        core = blobs(np.random.default_rng(seed))
        made = whole(source, source, core, np.zeros(core.shape, np.float32), thresholds=BENT)
        assert made.seam_kind == "membrane"
        apart = cv2.absdiff(composite(source, [made]), source)
        assert apart.max() <= 1
        assert not apart[made.alpha == 0].any()


def test_a_drifted_copy_comes_back_at_the_border():
    """An edit that is only six levels off: the membrane takes it back where it would show, and nothing else moves."""
    source = photograph()
    edited = np.clip(source.astype(int) - 6, 0, 255).astype(np.uint8)
    core = np.zeros((512, 512), bool)
    core[200:330, 150:300] = True
    made = whole(source, edited, core, thresholds=BENT)
    ring = (made.alpha > 0) & ~core & (source.min(2) > 6)
    apart = abs(composite(source, [made]).astype(int) - source)
    assert apart[ring].mean() < 1
    hard = whole(source, edited, core, thresholds=replace(T, seam_delta=99))
    assert abs(composite(source, [hard]).astype(int) - source)[ring].mean() > 2


@pytest.mark.parametrize("brand", [(224, 36, 43), (0, 82, 204), (128, 128, 128)])
def test_a_brand_colour_inside_a_merged_object_holds(brand):
    """The edit drifts by up to six levels; the object's colour moves by a CIEDE2000 of one at most."""
    source = photograph()
    edited = np.clip(source + np.array([5, -3, 6]), 0, 255).astype(np.uint8)
    drawn = np.zeros((512, 512), np.uint8)
    cv2.circle(drawn, (150, 165), 45, 1, -1)
    edited[drawn > 0] = brand
    core = cv2.dilate(drawn, np.ones((7, 7), np.uint8)) > 0
    made = whole(source, edited, core)
    assert made.seam_kind == "membrane"
    apart = deltaE_ciede2000(rgb2lab(composite(source, [made])), rgb2lab(edited))[drawn > 0]
    assert np.percentile(apart, 95) <= 1.0


@pytest.mark.parametrize("centre", [(640, 160), (1000, 500)])
def test_no_step_shows_at_the_border(centre):
    """Three levels of drift in an evening sky: the gradient at the border is that of a line twenty pixels away.

    The photograph's own difference between the two lines is taken out.
    """
    source = cv2.resize(data.rocket(), (1280, 854), interpolation=cv2.INTER_CUBIC)
    edited = np.clip(source.astype(int) + 3, 0, 255).astype(np.uint8)
    drawn = np.zeros((854, 1280), np.uint8)
    cv2.circle(drawn, centre, 80, 1, -1)
    core = drawn > 0

    def ratio(result: np.ndarray, inside: np.ndarray) -> float:
        grey = result.astype(np.float32).mean(2)
        steep = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
        away = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
        return steep[(away > 0) & (away < 2)].mean() / steep[(away > 19) & (away < 21)].mean()

    made = whole(source, edited, core)
    inside = made.alpha >= 0.5
    assert ratio(composite(source, [made]), inside) / ratio(source, inside) <= 1.1
    hard = np.where(core[..., None], edited, source)
    assert ratio(hard, core) / ratio(source, core) > 1.3


def test_thin_text_shows_fully():
    source = photograph()
    edited = source.copy()
    cv2.putText(edited, "NEW SHOP", (90, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 1, cv2.LINE_AA)
    core = (edited != source).any(2)
    made = whole(source, edited, core)
    assert (made.alpha[core] == 1).all()
    assert abs(composite(source, [made])[core].astype(int) - edited[core]).max() <= 1


def test_two_regions_with_overlapping_borders():
    """Both cores show their edit whole, and rejecting one gives the bytes of the other alone."""
    source = photograph()
    edited = source.copy()
    edited[100:200, 100:200], edited[100:200, 214:300] = (20, 160, 90), (230, 200, 10)
    left, right = np.zeros((2, 512, 512), bool)
    left[100:200, 100:200], right[100:200, 214:300] = True, True
    layers = [whole(source, edited, core) for core in (left, right)]
    assert ((layers[0].alpha > 0) & (layers[1].alpha > 0)).any()
    result = composite(source, layers)
    both = support(layers, source.shape[:2])
    assert (result[left | right] == edited[left | right]).all()
    assert (result[~both] == source[~both]).all()
    alone = composite(source, layers[:1])
    assert (alone[layers[0].alpha == 0] == source[layers[0].alpha == 0]).all()
    assert (alone[right] == source[right]).mean() > 0.9


def test_a_limit_is_kept_and_the_edit_is_whole_inside_it():
    source = photograph()
    edited = np.full_like(source, 90)
    core = np.ones((512, 512), bool)
    within = np.zeros_like(core)
    within[150:250, 0:300] = True
    made = whole(source, edited, core, within=within)
    assert not made.alpha[~within].any()
    assert (made.alpha[154:246, 0:296] == 1).all()  # up to the frame's border, which is no limit
    assert made.alpha[150:154, 100].tolist() == sorted(made.alpha[150:154, 100])
    assert made.alpha[150, 100] < 0.5


def test_the_border_steps_smoothly():
    """On a flat picture alpha takes ten pixels to fall; in a gap, where two seams meet, it has no step either."""
    source = np.full((200, 200, 3), 128, np.uint8)
    core = np.zeros((200, 200), bool)
    core[30:170, 30:90] = True
    delta = np.zeros((200, 200), np.float32)
    alpha = whole(source, source, core, delta).alpha
    assert abs(np.diff(alpha, axis=1)).max() < 0.25
    assert alpha[100, 90] > 0.9  # it begins at the core
    core[60:140, 101:150] = True
    delta[:, 90:95] = 9  # the seam of the left core goes far out, that of the right one need not
    source += (np.arange(200, dtype=np.uint8) // 2)[None, :, None]
    narrow = replace(T, steep=1e-6)
    steps = abs(np.diff(whole(source, source, core, delta, thresholds=narrow).alpha, axis=1))
    assert steps.max() < 0.6


def test_alpha_follows_an_edge_of_the_guide():
    """A ramp of alpha over a step of the guide becomes steeper at the step; over a flat guide it stays."""
    alpha = np.tile(np.linspace(1, 0, 41, dtype=np.float32), (41, 1))
    step = np.tile(np.where(np.arange(41) < 20, 0.8, 0.2).astype(np.float32), (41, 1))
    drawn = guided(step, alpha, 8, 1e-4)
    assert drawn[20, 19] - drawn[20, 20] > 5 * (alpha[20, 19] - alpha[20, 20])
    assert guided(np.full_like(step, 0.5), alpha, 8, 1e-4) == pytest.approx(alpha, abs=1e-4)


def test_blends_are_rounded_half_to_even():
    source = np.array([[[0, 1, 2], [10, 11, 250]]], np.uint8)
    half = Layer((0, 0, 2, 1), np.full((1, 2), 0.5, np.float32), np.zeros((1, 2, 3), np.float32) + source + 1, 0, "")
    assert composite(source, [half]).tolist() == [[[0, 2, 2], [10, 12, 250]]]
    over = Layer((0, 0, 2, 1), np.ones((1, 2), np.float32), np.full((1, 2, 3), 400, np.float32), 0, "")
    assert (composite(source, [over]) == 255).all()


def test_what_lies_outside_the_support_is_never_computed_with():
    source = np.full((4, 4, 3), 7, np.uint8)
    pixels, alpha = np.full((4, 4, 3), np.inf, np.float32), np.zeros((4, 4), np.float32)
    pixels[1, 1], alpha[1, 1] = 9, 1
    with np.errstate(invalid="ignore"):
        result = composite(source, [Layer((0, 0, 4, 4), alpha, pixels, 0, "alpha")])
    assert result[1, 1].tolist() == [9, 9, 9]
    assert (result == 7).sum() == 45
    assert (source == 7).all()


def test_sixteen_bits_are_merged_like_eight():
    source = photograph()
    edited = np.clip(source.astype(int) + 3, 0, 255).astype(np.uint8)
    edited[200:300, 200:300] = (20, 160, 90)
    core = np.zeros((512, 512), bool)
    core[196:304, 196:304] = True
    delta = distance(source, edited)
    eight = composite(source, [whole(source, edited, core, delta, thresholds=BENT)])
    wide = [each.astype(np.uint16) * 257 for each in (source, edited)]
    sixteen = composite(wide[0], [whole(*wide, core, delta, thresholds=BENT)])
    assert sixteen.dtype == np.uint16
    assert abs(sixteen / 257 - eight).max() <= 0.6


def test_a_crop_gives_the_layer_of_the_whole_frame():
    """What lies farther from the core than the margin decides nothing but the last digit of the border."""
    source = photograph()
    edited = np.clip(source.astype(int) + 4, 0, 255).astype(np.uint8)
    edited[200:300, 200:300] = (20, 160, 90)
    core = np.zeros((512, 512), bool)
    core[196:304, 196:304] = True
    delta = distance(source, edited)
    full = composite(source, [whole(source, edited, core, delta)])
    k = margin(1)
    box = (196 - k, 196 - k, 304 + k, 304 + k)
    cut = np.s_[box[1] : box[3], box[0] : box[2]]
    made = layer(
        source[cut].astype(np.float32), edited[cut].astype(np.float32), core[cut], delta[cut], box=box, levels=255
    )
    apart = abs(composite(source, [made]).astype(int) - full)
    assert apart.max() <= 2
    assert not made.alpha[[0, -1]].any()
    assert not made.alpha[:, [0, -1]].any()


def test_the_same_bytes_with_any_number_of_threads():
    source = photograph()
    edited = np.clip(source.astype(int) + 4, 0, 255).astype(np.uint8)
    core = blobs(np.random.default_rng(5), (512, 512))
    delta = distance(source, edited)
    before, made = cv2.getNumThreads(), []
    try:
        for threads in (1, 2, 4, 4):
            cv2.setNumThreads(threads)
            made.append(whole(source, edited, core, delta, thresholds=BENT))
    finally:
        cv2.setNumThreads(before)
    assert len({each.alpha.tobytes() + each.pixels.tobytes() for each in made}) == 1


def test_thirty_regions_are_laid_in_a_fifth_of_a_second():
    """At one megapixel, about half of it covered; the processor's time, so that other work does not count."""
    source = photograph(1024, 1024)
    rng, layers = np.random.default_rng(0), []
    for _ in range(30):
        x, y = rng.integers(0, 1024 - 200, 2)
        alpha = np.zeros((200, 200), np.float32)
        cv2.circle(alpha, (100, 100), 90, 1, -1)
        alpha = cv2.blur(alpha, (9, 9))
        pixels = rng.uniform(0, 255, (200, 200, 3)).astype(np.float32)
        layers.append(Layer((int(x), int(y), int(x) + 200, int(y) + 200), alpha, pixels, 0, "alpha"))
    spent = []
    for _ in range(3):
        started = time.process_time()
        composite(source, layers)
        spent.append(time.process_time() - started)
    assert min(spent) < 0.2


def test_arrays_that_do_not_fit_are_refused():
    source = photograph(16, 16).astype(np.float32)
    core, delta = np.ones((16, 16), bool), np.zeros((16, 16), np.float32)
    with pytest.raises(ShapeError, match=r"\(16, 16\) accepted"):
        layer(source, source, core[:8], delta, box=(0, 0, 16, 16), levels=255)
    outside = Layer((8, 0, 24, 16), delta, source, 0, "alpha")
    with pytest.raises(ShapeError, match="frame of 16x16"):
        composite(source.astype(np.uint8), [outside])
    with pytest.raises(ShapeError, match="frame of 16x16"):
        support([outside], (16, 16))
    with pytest.raises(ShapeError, match="uint8 or uint16"):
        composite(source, [])
