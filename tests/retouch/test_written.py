"""What a picture carries beside its pixels, found again."""

import io

import numpy as np
import pytest
from PIL import Image

from recast.errors import InputError
from recast.pixels import image
from recast.retouch.written import quality_of, recipe_of

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def file(kind: str, **options: object) -> bytes:
    made = io.BytesIO()
    Image.fromarray(PIXELS).save(made, kind, **options)
    return made.getvalue()


@pytest.mark.parametrize("quality", [1, 37, 75, 95, 100])
def test_a_jpeg_says_its_quality(quality: int) -> None:
    assert quality_of(image.encode(image.Picture(PIXELS), "jpg", quality=quality)) == quality
    assert quality_of(file("JPEG", quality=quality, subsampling=2)) == quality


def test_what_has_no_loss_has_no_quality() -> None:
    assert quality_of(file("PNG")) is None
    assert quality_of(file("WEBP", lossless=True, quality=30)) is None
    assert quality_of(file("WEBP", lossless=True, icc_profile=b"VP8 " * 9)) is None


def test_what_was_lossy_and_does_not_say_is_refused() -> None:
    odd = [7] * 63 + [90]
    profile = b"odd"  # of an odd length: the chunk after it is padded
    for lossy in (
        file("WEBP", quality=80), file("WEBP", quality=80, icc_profile=profile), file("JPEG", qtables=[odd, odd])
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"RESULT: a lossy .* does not say its quality"):
            quality_of(lossy, name="RESULT")


def test_a_picture_without_a_recipe_gets_none() -> None:
    assert recipe_of(file("PNG")) is None
    with pytest.raises(InputError, match="recipe"):
        recipe_of(image.encode(image.Picture(PIXELS), "png", recipe="{}"))
