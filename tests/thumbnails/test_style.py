"""The hand-made embedding: near for one look, far for another, steady under what does not matter."""

import cv2
import numpy as np
import pytest

from recast.pixels import image
from recast.thumbnails.style import Style, features
from recast.thumbnails.style_constants import MEANS, SPREADS
from recast.world import sample
from recast.world.draw import draw
from tests.thumbnails.channel import picture


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(Style().embed(first) @ Style().embed(second))


def test_an_embedding_is_a_unit_vector_and_always_the_same():
    made = Style().embed(picture(1))
    assert made.shape == MEANS.shape == SPREADS.shape
    assert float(np.linalg.norm(made)) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(made, Style().embed(picture(1)))


def test_pictures_of_one_channel_are_nearer_than_those_of_another():
    own = min(cosine(picture(1), picture(seed)) for seed in (2, 3, 4))
    other = max(cosine(picture(1), picture(seed, ground=(230, 120, 40))) for seed in (2, 3, 4))
    assert own > 0.8 > other + 0.1


def test_where_things_stand_does_not_matter():
    assert cosine(picture(1), picture(1)[:, ::-1]) > 0.98


@pytest.mark.parametrize("seed", [5])
def test_compression_and_size_do_not_matter(seed):
    made = draw(sample.scene(seed), 640, 360)
    packed = image.read(image.encode(made, "jpg", quality=90)).rgb
    smaller = cv2.resize(made, (608, 342), interpolation=cv2.INTER_AREA)
    assert cosine(made, packed) > 0.98
    assert cosine(made, smaller) > 0.98


def test_the_constants_are_those_of_the_world():
    """A sample of the 600 pictures that they were measured on; its mean strays by a few tenths of a spread."""
    found = np.stack([features(draw(sample.scene(seed), 320, 180)) for seed in range(0, 600, 40)])
    assert np.abs((found.mean(0) - MEANS) / SPREADS).max() < 0.9
    assert 0.5 < np.median(found.std(0) / SPREADS) < 1.5


def test_a_picture_of_one_colour_has_an_embedding():
    assert np.isfinite(Style().embed(np.full((64, 64, 3), 128, np.uint8))).all()
