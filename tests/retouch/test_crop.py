"""Where a crop is cut, and that it comes back where it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recast.errors import ConfigError
from recast.pixels.geometry import fit
from recast.retouch.crop import choose, cut, paste
from recast.retouch.original import Original

MOST = 4150


def chosen(framing, box, width=4000, height=3000, side=1024):
    whole = fit(width, height, min_tokens=2304, max_tokens=MOST)
    where = None
    if box is not None:
        where = np.zeros((height, width), bool)
        where[box[1] : box[3], box[0] : box[2]] = True
    return choose(framing, where, whole, side_px=side, max_tokens=MOST)


def test_a_small_region_of_a_large_picture_is_cut_out_with_its_surroundings():
    (left, top, right, bottom), why = chosen("auto", (2000, 1000, 2100, 1080))
    assert (right - left, bottom - top) == (1024, 1024)
    assert left < 2000 - 64
    assert right > 2100 + 64
    assert "0.1% of the frame" in why


@pytest.mark.parametrize(
    ("box", "size", "why"),
    [
        ((0, 0, 3000, 2000), (4000, 3000), "50% of the frame"),
        ((0, 0, 10, 10), (1000, 800), "fits the model at 100%"),
        (None, (4000, 3000), "no region"),
    ],
)
def test_the_whole_is_edited_where_a_crop_gains_nothing(box, size, why):
    found, said = chosen("auto", box, *size)
    assert found is None
    assert why in said


def test_the_scale_that_decides_is_the_threshold_s():
    """1300 x 1300 is taken at 79 %, 1600 x 1600 at 64 %: the border lies at 70 %."""
    assert chosen("auto", (0, 0, 9, 9), 1300, 1300)[0] is None
    assert chosen("auto", (0, 0, 9, 9), 1600, 1600)[0] is not None


def test_a_crop_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="no region came"):
        chosen("crop", None)
    with pytest.raises(ConfigError, match="are the whole"):
        chosen("crop", (0, 0, 500, 500), 512, 512)


@given(st.data())
def test_a_crop_holds_its_region_lies_in_the_picture_and_is_whole_tokens(data):
    width, height = data.draw(st.integers(1, 900)), data.draw(st.integers(1, 900))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    whole = fit(width, height, min_tokens=4, max_tokens=64)
    where = np.zeros((height, width), bool)
    where[top:bottom, left:right] = True
    box, _ = choose("auto", where, whole, side_px=64, max_tokens=64)
    if box is None:
        return
    assert 0 <= box[0] <= left < right <= box[2] <= width
    assert 0 <= box[1] <= top < bottom <= box[3] <= height
    for side, limit in ((box[2] - box[0], width), (box[3] - box[1], height)):
        assert side % 16 == 0 or side == limit


def test_what_is_cut_and_pasted_is_the_picture_again():
    samples = np.random.default_rng(0).integers(0, 65536, (30, 40, 3), dtype=np.uint16)
    whole = Original(samples, samples[..., 0])
    part = cut(whole, (5, 3, 25, 20))
    assert (part.width, part.height, part.depth) == (20, 17, 16)
    assert np.array_equal(part.alpha, part.samples[..., 0])
    changed = paste(whole, (5, 3, 25, 20), part.with_samples(part.samples // 2))
    assert np.array_equal(changed.samples[3:20, 5:25], samples[3:20, 5:25] // 2)
    assert np.array_equal(paste(changed, (5, 3, 25, 20), part).samples, samples)
