"""Pictures made like photographs have their statistics, and what is done to photographs does what it says."""

import itertools
from functools import cache

import cv2
import numpy as np
import pytest
from skimage import data

from recast.errors import InputError
from recast.world.draw import photo
from recast.world.scene import PHOTOGRAPHS, TIMES

SEEDS = range(16)


@cache
def real() -> tuple[np.ndarray, ...]:
    """Photographs that scikit-image ships, their middle square at 256x256."""
    found = []
    for picture in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket()):
        height, width = picture.shape[:2]
        side = min(height, width)
        y, x = (height - side) // 2, (width - side) // 2
        square = np.ascontiguousarray(picture[y : y + side, x : x + side, :3])
        found.append(cv2.resize(square, (256, 256), interpolation=cv2.INTER_AREA))
    return tuple(found)


@cache
def made(kind: str) -> tuple[np.ndarray, ...]:
    return tuple(photo.base(kind, seed, "day", 256, 256) for seed in SEEDS)


def lightness(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(float)


def spectral_slope(pixels: np.ndarray) -> float:
    """a of the amplitude spectrum f^a of the lightness, from 4 to 90 cycles per picture (Field 1987)."""
    gray = lightness(pixels)
    side = len(gray)
    taper = np.hanning(side)
    amplitude = np.abs(np.fft.fft2((gray - gray.mean()) * taper[:, None] * taper))
    each = np.fft.fftfreq(side) * side
    frequency = np.hypot(each[:, None], each)
    edges = np.geomspace(4, 90, 9)
    means = [amplitude[(frequency >= a) & (frequency < b)].mean() for a, b in itertools.pairwise(edges)]
    return float(np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(means), 1)[0])


def contrast_kurtosis(pixels: np.ndarray) -> float:
    """Of differences of log lightness between neighbours: 3 for noise, far more for photographs (Ruderman 1994)."""
    steps = np.diff(np.log(lightness(pixels) + 8), axis=1).ravel()
    steps -= steps.mean()
    return float((steps**4).mean() / (steps**2).mean() ** 2)


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a.astype(float) - b) ** 2).mean()))


def test_the_slope_of_white_noise_is_zero_and_of_its_sum_minus_one() -> None:
    """The measure itself: a random walk along both axes falls about as 1 / f."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (256, 256), dtype=np.uint8)
    assert abs(spectral_slope(np.stack([noise] * 3, 2))) < 0.1
    field = np.fft.ifft2(
        np.fft.fft2(rng.normal(size=(256, 256)))
        / np.maximum(np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256))), 1 / 256)
    ).real
    bytes_ = (128 + 35 * field / field.std()).clip(0, 255).astype(np.uint8)
    assert abs(spectral_slope(np.stack([bytes_] * 3, 2)) + 1) < 0.12


@pytest.mark.parametrize("kind", PHOTOGRAPHS)
def test_spectra_fall_as_those_of_photographs(kind: str) -> None:
    """Photographs: -1.5 to -1.3 here, -1.5 to -0.7 in the literature (Tolhurst, Tadmor & Chao 1992).

    Still life, smooth solids and a shallow focus, is steeper, as close-ups are.
    """
    slopes = [spectral_slope(each) for each in made(kind)]
    assert (-2 if kind == "still life" else -1.5) < np.mean(slopes) < -0.7


def test_spectra_over_all_kinds_are_near_those_of_photographs() -> None:
    theirs = np.mean([spectral_slope(each) for each in real()])
    ours = np.mean([spectral_slope(each) for kind in PHOTOGRAPHS for each in made(kind)])
    assert -1.5 < ours < -0.7
    assert abs(ours - theirs) < 0.3


def test_contrasts_are_heavy_tailed_as_those_of_photographs() -> None:
    theirs = [contrast_kurtosis(each) for each in real()]
    ours = {kind: np.mean([contrast_kurtosis(each) for each in made(kind)]) for kind in PHOTOGRAPHS}
    assert min(theirs) > 5
    assert min(ours.values()) > 5, ours


def test_leaves_keep_heavy_tails_at_a_quarter_of_their_size() -> None:
    """Sizes follow a power law, so contrasts look alike at every scale (Ruderman 1994); with one size they fade."""
    small = [cv2.resize(each, (64, 64), interpolation=cv2.INTER_AREA) for each in made("leaves")]
    assert np.mean([contrast_kurtosis(each) for each in small]) > 6.5


def test_colours_are_as_muted_as_those_of_photographs() -> None:
    def chroma(pixels: np.ndarray) -> float:
        return float((pixels.max(2).astype(int) - pixels.min(2)).mean())

    ours = np.mean([chroma(each) for kind in PHOTOGRAPHS for each in made(kind)])
    assert 0.5 < ours / np.mean([chroma(each) for each in real()]) < 1.5


@pytest.mark.parametrize("kind", PHOTOGRAPHS)
def test_seeds_give_different_pictures_and_one_seed_the_same(kind: str) -> None:
    first, second = made(kind)[:2]
    assert rms(first, second) > 20
    assert np.array_equal(photo.base(kind, SEEDS[0], "day", 256, 256), first)
    assert photo.base(kind, 2**31, "day", 96, 64).shape == (64, 96, 3)


@pytest.mark.parametrize("kind", PHOTOGRAPHS)
def test_a_large_picture_shows_the_same_place_as_a_small_one(kind: str) -> None:
    """Compared at 32x32, where grain and the finest texture, which differ with the size, are gone."""

    def coarse(side: int, seed: int) -> np.ndarray:
        return cv2.resize(photo.base(kind, seed, "day", side, side), (32, 32), interpolation=cv2.INTER_AREA)

    for seed in SEEDS[:4]:
        same = rms(coarse(256, seed), coarse(512, seed))
        assert same < 0.45 * rms(coarse(256, seed), coarse(512, seed + 1)), seed


@pytest.mark.parametrize(("width", "height"), [(64, 64), (65, 193), (300, 100), (1280, 720)])
def test_every_kind_has_the_size_asked_for(width: int, height: int) -> None:
    for kind in PHOTOGRAPHS:
        picture = photo.base(kind, 5, "winter", width, height)
        assert (picture.shape, picture.dtype) == ((height, width, 3), np.uint8)


def test_times_of_a_made_picture_are_what_is_done_to_its_day() -> None:
    for kind in PHOTOGRAPHS:
        for time in TIMES:
            expected = photo.time_of_day(photo.base(kind, 9, "day", 96, 64), time)
            assert np.array_equal(photo.base(kind, 9, time, 96, 64), expected)


def photographs() -> tuple[np.ndarray, ...]:
    return (*real(), *(made(kind)[0] for kind in PHOTOGRAPHS))


def test_night_is_dark_and_blue_and_keeps_what_is_seen() -> None:
    for day in photographs():
        night = photo.time_of_day(day, "night")
        assert night.mean() < 0.65 * day.mean()
        assert night[..., 2].mean() > night[..., 0].mean() + 15
        assert np.corrcoef(lightness(day).ravel(), lightness(night).ravel())[0, 1] > 0.85


def test_sunset_is_warm_and_warmest_at_the_top() -> None:
    def warmth(pixels: np.ndarray) -> float:
        return float(pixels[..., 0].mean() - pixels[..., 2].mean())

    for day in photographs():
        assert warmth(photo.time_of_day(day, "sunset")) > warmth(day) + 18
    gray = np.full((90, 160, 3), 128, np.uint8)
    reddened = photo.time_of_day(gray, "sunset")
    assert warmth(reddened[:20]) > warmth(reddened[-20:]) + 20


def test_winter_is_bright_and_pale_with_snow_on_what_faces_up() -> None:
    for day in photographs():
        winter = photo.time_of_day(day, "winter")
        assert winter.mean() > day.mean() + 12
        assert (winter.max(2) - winter.min(2)).mean() < 0.75 * (day.max(2).astype(int) - day.min(2)).mean()
    step = np.full((256, 256, 3), 60, np.uint8)
    step[100:110] = 190  # a ledge lit from above
    snowed = lightness(photo.time_of_day(step, "winter"))
    assert np.median(snowed[100:112], 1).max() > 215
    assert np.median(snowed[60:90]) < 140


def test_times_of_a_photograph_differ_from_one_another() -> None:
    for day in photographs():
        at = [photo.time_of_day(day, time) for time in TIMES]
        assert np.array_equal(at[0], day)
        assert min(rms(at[i], at[j]) for i in range(4) for j in range(i)) > 25


def test_a_blurred_background_leaves_the_middle_exactly_and_takes_detail_from_the_rim() -> None:
    for pixels in real():
        blurred = photo.blur_background(pixels)
        assert np.array_equal(blurred[88:168, 88:168], pixels[88:168, 88:168])

        def detail(picture: np.ndarray) -> float:
            return float(np.abs(np.diff(lightness(picture)[:30], axis=1)).mean())

        assert detail(blurred) < 0.5 * detail(pixels)


def test_a_camera_leaves_everything_in_its_place() -> None:
    """Seen through it, a picture stays the one it is among others, whatever the seed."""
    for seed in SEEDS:
        for pixels in real():
            taken = photo.camera(pixels, seed)
            assert np.corrcoef(lightness(pixels).ravel(), lightness(taken).ravel())[0, 1] > 0.9
    flat = np.full((256, 256, 3), 128, np.uint8)
    assert 0.5 < np.mean([photo.camera(flat, seed)[96:160, 96:160].std(axis=(0, 1)).mean() for seed in SEEDS]) < 8


def test_unknown_words_are_errors_that_name_them() -> None:
    with pytest.raises(InputError, match="kind='beach'"):
        photo.base("beach", 0, "day", 64, 64)
    with pytest.raises(InputError, match="time='noon'"):
        photo.time_of_day(real()[0], "noon")
