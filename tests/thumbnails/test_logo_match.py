"""Logos are found where they are, at their size and stretch, and not where they are not."""

import cv2
import numpy as np
import pytest

from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.logo_match import FOUND, find
from recast.thumbnails.render import over, rasterize
from recast.world import sample
from recast.world.draw import draw

INK = '<circle cx="50" cy="50" r="48" fill="#F4A11D"/><path d="M50 12 80 80 20 80Z" fill="#FFFFFF"/>'


def drawn(width: int, height: int) -> Picture:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" preserveAspectRatio="none">{INK}</svg>'
    return rasterize(svg.replace("<svg ", f'<svg width="{width}" height="{height}" '), width=width, height=height)


LOGO = drawn(128, 128)
SCENE = draw(sample.scene(3, kind="cartoon"), 640, 360)


def placed(logo: Picture, left: int, top: int, opacity: float = 1.0) -> np.ndarray:
    rgb, alpha = np.zeros((360, 640, 3), np.uint8), np.zeros((360, 640), np.uint8)
    rows, columns = slice(top, top + logo.height), slice(left, left + logo.width)
    rgb[rows, columns], alpha[rows, columns] = logo.rgb, np.rint(logo.alpha * opacity)
    return over(Picture(SCENE), Picture(rgb, alpha)).rgb


@pytest.mark.parametrize(("size", "left", "top"), [(64, 40, 30), (52, 520, 250)])
def test_a_logo_is_found_where_it_is(size, left, top):
    found = find(placed(drawn(size, size), left, top), LOGO, widths=(0.08, 0.1))
    assert found.correlation > 0.85
    sides = [640 * found.box.left, 360 * found.box.top, 640 * found.box.right, 360 * found.box.bottom]
    assert sides == pytest.approx([left, top, left + size, top + size], abs=4)
    assert found.stretch == pytest.approx(1, abs=0.03)


def test_a_logo_that_is_not_there_is_not_found():
    assert find(SCENE, LOGO, widths=(0.08, 0.1)).correlation < FOUND


def test_a_stretched_logo_is_told():
    found = find(placed(drawn(78, 62), 40, 30), LOGO, widths=(0.08, 0.12))
    assert found.correlation > FOUND
    assert found.stretch == pytest.approx(78 / 62, abs=0.04)


def test_a_fading_logo_is_less_and_less_alike():
    found = [find(placed(drawn(64, 64), 40, 30, share), LOGO, widths=(0.08, 0.1)).correlation for share in (1, 0.5, 0)]
    assert found[0] > found[1] > found[2]


def test_a_logo_is_measured_the_same_at_another_size_and_compressed():
    whole = placed(drawn(60, 60), 41, 33)
    found = find(whole, LOGO, widths=(0.08, 0.1))
    others = [image.read(image.encode(whole, "jpg", quality=90)).rgb, cv2.resize(whole, (672, 378))]
    for each in others:
        again = find(each, LOGO, widths=(0.08, 0.1))
        assert again.correlation == pytest.approx(found.correlation, abs=0.01)
        assert again.box.width == pytest.approx(found.box.width, abs=0.001)
        assert again.stretch == pytest.approx(found.stretch, abs=0.02)


def test_a_picture_too_small_for_any_logo_has_none():
    assert find(SCENE[:8], LOGO, widths=(0.08, 0.1)) is None
