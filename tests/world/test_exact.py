"""The arithmetic on bytes does what it says, and gives the same bytes with and without vector instructions."""

import os
import subprocess
import sys

import numpy as np

from recast.world.draw import exact

RNG = np.random.default_rng(5)
PICTURE = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
OTHER = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)

HASH_OF_EVERYTHING = """
import hashlib, cv2
from recast.world.draw import backgrounds, marks, photo, styles
from recast.world.draw.canvas import Canvas
from recast.world.scene import BACKGROUNDS, LOOKS, MARKS, PHOTOGRAPHS, STYLES, TIMELESS, TIMES, Mark, Scene
digest = hashlib.sha256()
def put(name, pixels):
    print(name, hashlib.sha256(pixels.tobytes()).hexdigest())
for i, place in enumerate(BACKGROUNDS):
    canvas = Canvas(160, 90)
    time = "day" if place in TIMELESS else TIMES[i % 4]
    backgrounds.draw(canvas, Scene(background=place, time=time, variant=i))
    put(place, canvas.finished())
for kind in PHOTOGRAPHS:
    for seed, time in enumerate(TIMES):
        pixels = photo.base(kind, seed, time, 167, 121)
        put((kind, time), pixels)
    for look in LOOKS:
        put(look, styles.look(pixels, look))
    for style in STYLES:
        put(style, styles.style(pixels, style))
    put("blur", photo.blur_background(pixels))
    for mark in MARKS:
        canvas = Canvas(167, 121, pixels)
        marks.draw(canvas, Mark(kind=mark, place="left" if mark in ("arrow", "circle") else "top left"), Scene())
        put(mark, canvas.finished())
"""


def hashes(**environment: str) -> list[str]:
    """What a fresh process prints for each picture."""
    done = subprocess.run(
        [sys.executable, "-c", HASH_OF_EVERYTHING],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_bytes_are_the_same_without_vector_instructions_and_with_other_threads() -> None:
    plain = {
        "OPENCV_CPU_DISABLE": "SSE4.1,SSE4.2,AVX,FP16,FMA3,AVX2,AVX512-SKX",
        "OPENCV_IPP": "disabled",
        "OPENCV_LOG_LEVEL": "OFF",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
        "OMP_NUM_THREADS": "2",
        "PYTHONHASHSEED": "7",
    }
    usual = hashes(OMP_NUM_THREADS="1", PYTHONHASHSEED="0")
    assert len(usual) > 80
    assert hashes(**plain) == usual


def test_a_blend_is_exact_at_both_ends_and_between_within_one_level() -> None:
    ends = np.where(np.arange(60) % 2, 255, 0).astype(np.uint8)[None].repeat(40, 0)
    assert np.array_equal(exact.blend(PICTURE, OTHER, ends), np.where(ends[..., None] == 255, OTHER, PICTURE))
    mask = RNG.integers(0, 256, (40, 60), dtype=np.uint8)
    share = mask[..., None] / 255
    wanted = PICTURE * (1 - share) + OTHER * share
    assert np.abs(exact.blend(PICTURE, OTHER, mask) - wanted).max() <= 1.5


def test_a_weighted_sum_and_a_scaling_are_those_of_whole_numbers() -> None:
    summed = (PICTURE.astype(int) * 77 + OTHER.astype(int) * 179) / 256 - 20
    assert np.array_equal(exact.weighted(PICTURE, OTHER, 77, 179, -20), np.rint(summed).clip(0, 255))
    by = OTHER[..., 0]
    assert np.array_equal(exact.scaled(PICTURE, by), np.rint(PICTURE * (by[..., None] / 128)).clip(0, 255))


def test_a_curve_passes_through_its_points_and_is_level_beyond() -> None:
    table = exact.curve([(10, 200), (20, 100), (250, 40)])
    assert [table[i] for i in (0, 10, 15, 20, 250, 255)] == [200, 200, 150, 100, 40, 40]


def test_tiles_repeat_and_keep_the_amplitude_asked_for() -> None:
    for keep, slope in ((0, 0.0), (128, -2.0), (256, -1.0)):
        tile = exact.tile(3, keep)
        assert np.array_equal(tile[: exact.REACH], tile[exact.TILE :])
        assert np.array_equal(tile[:, : exact.TILE], tile[:, exact.TILE : 2 * exact.TILE])
        amplitude = np.abs(np.fft.fft2(tile[: exact.TILE, : exact.TILE].astype(float)))
        each = np.fft.fftfreq(exact.TILE) * exact.TILE
        frequency = np.hypot(each[:, None], each)
        low, high = (amplitude[(frequency > f) & (frequency < 2 * f)].mean() for f in (8, 64))
        assert abs(np.log2(high / low) / 3 - slope) < 0.15


def test_draws_of_other_seeds_differ_and_stay_in_their_range() -> None:
    one, same, other = exact.Draws(1, 2), exact.Draws(1, 2), exact.Draws(2, 1)
    numbers = [one.below(6) for _ in range(600)]
    assert numbers == [same.below(6) for _ in range(600)]
    assert numbers != [other.below(6) for _ in range(600)]
    assert set(numbers) == set(range(6))
    assert all(-1 <= one.between(-1, 2) <= 2 for _ in range(100))
