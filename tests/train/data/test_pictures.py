import numpy as np
import pytest
from PIL import Image

from recast.errors import InputError
from recast.train.data import pictures
from recast.train.data.example import Example, Shape
from tests.pixels.test_image import P3, matrix_profile
from tests.train.data.sets import picture, png


def test_a_turned_picture_is_read_upright_and_its_size_is_told_from_the_header():
    pixels = picture(1, 48, 32)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    data = png(pixels, "PNG", exif=exif)
    assert pictures.size(data, "x") == (32, 48)
    np.testing.assert_array_equal(pictures.read(data, "x"), np.rot90(pixels, -1))


def test_transparency_is_laid_on_white():
    rgba = np.dstack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32), 255, np.uint8)])
    rgba[:16, :, 3] = 0
    read = pictures.read(png(rgba), "x")
    assert (read[:16] == 255).all()
    assert (read[16:] == 0).all()


def test_a_colour_profile_is_converted_to_srgb():
    pixels = np.full((16, 16, 3), (120, 60, 200), np.uint8)
    np.testing.assert_array_equal(pictures.read(png(pixels), "x"), pixels)
    wide = pictures.read(png(pixels, icc_profile=matrix_profile(P3, 2.2)), "x")
    assert wide[0, 0, 0] > 120  # the same numbers, in a wider space, are a stronger red
    assert wide[0, 0, 1] < 60


@pytest.mark.parametrize(("width", "is_fine"), [(320, True), (322, True), (330, False), (400, False)])
def test_a_pair_whose_shapes_differ_by_more_than_one_percent_is_refused(width, is_fine):
    example = Example(
        id="a",
        contexts=(np.zeros((320, 320, 3), np.uint8),),
        target=np.zeros((320, width, 3), np.uint8),
        instruction="x",
    )
    if is_fine:
        assert pictures.check(example) is example
    else:
        with pytest.raises(InputError, match=r"context 1 is 320x320 and the target .*differ by"):
            pictures.check(example)


def test_one_geometry_takes_a_pair_and_its_mask_to_a_bucket():
    """What lies at one place in source, target and mask lies at one place after it."""
    base = np.zeros((64, 96, 3), np.uint8)
    base[16:32, 24:48] = 255
    mask = base[..., 0] > 0
    example = Example(id="a", contexts=(base,), target=base.copy(), mask=mask, instruction="x", captions=(None, None))
    made = pictures.fitted(example, Shape((48, 48), ((48, 48),)))
    np.testing.assert_array_equal(made.contexts[0], made.target)
    assert made.mask is not None
    assert made.mask.shape == (48, 48)
    assert made.mask[made.target[..., 0] > 40].all()
    assert abs(made.mask.mean() - mask.mean()) < 0.03


def test_a_photograph_is_no_mask_and_transparency_is_one():
    with pytest.raises(InputError, match="mask"):
        pictures.mask(png(np.full((16, 16, 3), 128, np.uint8)), 16, 16, "a")
    rgba = np.full((16, 16, 4), 130, np.uint8)
    rgba[..., 3] = 255
    rgba[:4, :, 3] = 0
    assert pictures.mask(png(rgba), 16, 16, "a").sum() == 64
    white = np.zeros((32, 32, 3), np.uint8)
    white[:8] = 255
    assert pictures.mask(png(white), 16, 16, "a")[:4].all()
    with pytest.raises(InputError, match="32x32 came"):
        pictures.mask(png(white), 16, 32, "a")


def test_what_is_no_picture_is_named():
    for ask in (pictures.size, pictures.read):
        with pytest.raises(InputError, match=r"shard\.tar:7\.png"):
            ask(b"not a picture", "shard.tar:7.png")
