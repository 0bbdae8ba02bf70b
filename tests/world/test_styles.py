"""Looks and styles change a picture unmistakably, at every size, and leave its colours to be told."""

import itertools

import cv2
import numpy as np
import pytest
from skimage import data

from recast.errors import InputError
from recast.world.draw import styles
from recast.world.scene import COLOURS, LOOKS, SHIRTS, STYLES

REDRAWN = [style for style in STYLES if style != "flat"]


def photographs() -> list[np.ndarray]:
    found = (data.astronaut(), data.coffee(), data.chelsea())
    return [cv2.resize(each, (256, 192), interpolation=cv2.INTER_AREA) for each in found]


def patches() -> np.ndarray:
    """A square of each colour of a shirt on gray, 64x64 in a row of 80x80, (80, 800, 3)."""
    sheet = np.full((256, 800, 3), 150, np.uint8)
    for i, name in enumerate(SHIRTS):
        sheet[60:196, i * 80 + 8 : i * 80 + 72] = COLOURS[name]
    return sheet


def chroma(pixels: np.ndarray) -> float:
    return float((pixels.max(2).astype(int) - pixels.min(2)).mean())


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("look", ["none", "warm", "cool", "contrast"])
def test_red_and_orange_and_every_other_shirt_stay_apart(style: str, look: str) -> None:
    """Means over a patch, so that 31 dB of noise moves them by a tenth of a level; 14 levels lie between any two."""
    sheet = styles.style(styles.look(patches(), look), style).astype(float)
    means = [sheet[80:176, i * 80 + 16 : i * 80 + 64].mean((0, 1)) for i in range(len(SHIRTS))]
    for (i, a), (j, b) in itertools.combinations(enumerate(means), 2):
        assert np.abs(a - b).max() > 14, (SHIRTS[i], SHIRTS[j], a, b)


@pytest.mark.parametrize("style", REDRAWN)
def test_hues_survive_a_style(style: str) -> None:
    for name in ("red", "orange", "yellow", "green", "blue", "purple", "pink"):
        flat = np.full((128, 128, 3), COLOURS[name], np.uint8)
        mean = styles.style(flat, style)[32:96, 32:96].mean((0, 1))
        assert np.argsort(mean)[-1] == np.argsort(COLOURS[name])[-1], (name, mean)
        assert mean.max() - mean.min() > 0.4 * (max(COLOURS[name]) - min(COLOURS[name])), (name, mean)


def test_styles_and_looks_differ_from_one_another() -> None:
    for pixels in photographs():
        for each, names in ((styles.style, STYLES), (styles.look, LOOKS)):
            made = [each(pixels, name).astype(float) for name in names]
            assert np.array_equal(made[0], pixels)
            for a, b in itertools.combinations(range(len(names)), 2):
                assert np.abs(made[a] - made[b]).mean() > 6, (names[a], names[b])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("width", "height"), [(64, 64), (67, 201), (300, 101), (1280, 720)])
def test_a_style_keeps_the_size_and_leaves_its_input_alone(style: str, width: int, height: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = pixels.copy()
    assert styles.style(pixels, style).shape == pixels.shape
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_grows_with_the_picture(style: str) -> None:
    """Twice the size looks alike once halved: within the difference that halving a redrawn edge makes."""
    small = photographs()[0]
    large = cv2.resize(data.astronaut(), (512, 384), interpolation=cv2.INTER_AREA)
    halved = cv2.resize(styles.style(large, style), (256, 192), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(halved - styles.style(small, style)).mean() < 14


@pytest.mark.parametrize(("width", "height"), [(256, 256), (336, 192), (250, 100)])
def test_a_pixel_drawing_is_made_of_whole_blocks(width: int, height: int) -> None:
    photograph = cv2.resize(data.coffee(), (width, height), interpolation=cv2.INTER_AREA)
    made = styles.pixel(photograph)
    changes = np.any(made[1:] != made[:-1], axis=(1, 2))
    assert changes.sum() <= 63
    assert set(np.flatnonzero(changes) + 1) <= {i * height // 64 for i in range(65)}
    assert len(np.unique(made.reshape(-1, 3), axis=0)) < 400


def test_a_poster_has_few_tones() -> None:
    for pixels in photographs():
        made = styles.poster(pixels)
        largest = np.sort(np.unique(made.reshape(-1, 3), axis=0, return_counts=True)[1])[::-1]
        assert largest[:60].sum() > 0.5 * made[..., 0].size


def test_a_pencil_drawing_shows_the_paper() -> None:
    for pixels in photographs():
        assert styles.pencil(pixels).mean() > pixels.mean() + 15


def test_black_and_white_has_no_colour_and_keeps_the_lightness() -> None:
    for pixels in photographs():
        gray = styles.look(pixels, "black and white")
        assert chroma(gray) == 0
        assert np.array_equal(gray[..., 0], cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def test_warm_reddens_cool_blues_and_contrast_spreads() -> None:
    for pixels in photographs():
        warmth = {look: float(np.mean(made[..., 0] - made[..., 2].astype(float)))
                  for look in LOOKS for made in [styles.look(pixels, look)]}  # fmt: skip
        assert warmth["warm"] > warmth["none"] + 25
        assert warmth["cool"] < warmth["none"] - 25
        assert styles.look(pixels, "contrast").std() > 1.1 * pixels.std()


def test_unknown_words_are_errors_that_name_them() -> None:
    with pytest.raises(InputError, match="style='oil'"):
        styles.style(photographs()[0], "oil")
    with pytest.raises(InputError, match="look='sepia'"):
        styles.look(photographs()[0], "sepia")
