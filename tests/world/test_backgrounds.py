"""Every drawn background fills the picture, and its place, time and variant can be told from its pixels."""

import itertools

import cv2
import numpy as np
import pytest

from recast.errors import InputError
from recast.world.draw import backgrounds, photo, styles
from recast.world.draw.canvas import Canvas
from recast.world.scene import BACKGROUNDS, TIMELESS, TIMES, VARIANTS, Scene

SIGMA_31_DB = 255 * 10 ** (-31 / 20)
SCENES = [
    Scene(background=place, time=time, variant=variant)
    for place in BACKGROUNDS
    for time in (("day",) if place in TIMELESS else TIMES)
    for variant in range(VARIANTS)
]


def drawn(scene: Scene, width: int = 128, height: int = 72) -> np.ndarray:
    canvas = Canvas(width, height)
    backgrounds.draw(canvas, scene)
    return canvas.finished()


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """All of SCENES, (n, 72, 128, 3) uint8."""
    return np.stack([drawn(scene) for scene in SCENES])


def seen(pictures: np.ndarray) -> np.ndarray:
    """What a person in the middle leaves to be seen at both sides, (n, pixels) float32."""
    sides = np.concatenate((pictures[:, :, :38], pictures[:, :, -38:]), 2)
    return sides.reshape(len(pictures), -1).astype(np.float32)


@pytest.mark.parametrize(("width", "height"), [(64, 192), (96, 96), (160, 90), (192, 64)])
def test_no_pixel_is_left_unpainted(width: int, height: int) -> None:
    for scene in SCENES[::3]:
        first = Canvas(width, height, (255, 0, 255))
        second = Canvas(width, height, (0, 255, 0))
        for canvas in (first, second):
            backgrounds.draw(canvas, scene)
        assert np.array_equal(first.pixels, second.pixels), scene


@pytest.mark.parametrize("through", ["clean", "blurred", "pixel", "pencil", "watercolor", "poster"])
def test_place_time_and_variant_are_told_at_31_db_beside_a_person(pictures: np.ndarray, through: str) -> None:
    if through != "clean":  # half of them, for time
        pictures = pictures[[i for i, scene in enumerate(SCENES) if scene.time in ("day", "winter")]]
    if through == "blurred":
        pictures = np.stack([photo.blur(each) for each in pictures])
    elif through != "clean":
        pictures = np.stack([styles.style(each, through) for each in pictures])
    known = seen(pictures)
    noise = np.random.default_rng(3).normal(0, SIGMA_31_DB, pictures.shape)
    noisy = seen((pictures + noise).round().clip(0, 255))
    squares = (known**2).sum(1)[None] - 2 * noisy @ known.T
    assert np.array_equal(squares.argmin(1), np.arange(len(known)))


def test_variants_differ_in_large_shapes_and_not_in_fine_detail(pictures: np.ndarray) -> None:
    """At 12 rows all detail is gone; the nearest two variants still differ by over 6 levels root mean square."""
    small = np.stack([cv2.resize(each, (22, 12), interpolation=cv2.INTER_AREA) for each in pictures]).astype(float)
    sides = np.concatenate((small[:, :, :7], small[:, :, -7:]), 2)
    for start in range(0, len(SCENES), VARIANTS):
        for a, b in itertools.combinations(range(start, start + VARIANTS), 2):
            assert np.sqrt(((sides[a] - sides[b]) ** 2).mean()) > 6, (SCENES[a], SCENES[b])


def test_times_differ_unmistakably(pictures: np.ndarray) -> None:
    by_scene = dict(zip(((s.background, s.variant, s.time) for s in SCENES), pictures.astype(float), strict=True))
    for place in set(BACKGROUNDS) - set(TIMELESS):
        for variant in range(VARIANTS):
            at = {time: by_scene[place, variant, time] for time in TIMES}
            for one, other in itertools.combinations(TIMES, 2):
                assert np.abs(at[one] - at[other]).mean() > 20, (place, variant, one, other)


def test_night_is_dark_and_legible_sunset_warm_and_winter_pale(pictures: np.ndarray) -> None:
    lightness = pictures.mean((1, 2, 3))
    warmth = pictures[..., 0].mean((1, 2)) - pictures[..., 2].mean((1, 2))
    saturation = (pictures.max(3).astype(int) - pictures.min(3)).mean((1, 2))
    number = {(s.background, s.variant, s.time): i for i, s in enumerate(SCENES)}
    for place in set(BACKGROUNDS) - set(TIMELESS):
        for variant in range(VARIANTS):
            day, night, sunset, winter = (number[place, variant, time] for time in TIMES)
            assert lightness[night] < 0.62 * lightness[day], (place, variant)
            assert pictures[night].std() > 15, (place, variant)
            assert warmth[sunset] > warmth[day] + 30, (place, variant)
            assert saturation[winter] < 0.75 * saturation[day], (place, variant)
            assert lightness[winter] > 0.9 * lightness[day], (place, variant)


def test_a_large_drawing_shows_the_same_place_as_a_small_one() -> None:
    for scene in SCENES[::23]:
        large = cv2.resize(drawn(scene, 512, 288), (256, 144), interpolation=cv2.INTER_AREA).astype(float)
        assert np.sqrt(((large - drawn(scene, 256, 144)) ** 2).mean()) < 9, scene


@pytest.mark.parametrize(
    ("scene", "word"),
    [(Scene(background="leaves"), "background='leaves'"), (Scene(variant=VARIANTS), f"variant={VARIANTS}")],
)
def test_what_is_not_drawn_is_an_error_that_names_it(scene: Scene, word: str) -> None:
    with pytest.raises(InputError, match=word):
        drawn(scene)
