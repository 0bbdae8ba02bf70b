"""What the autoencoder loses, given back."""

import numpy as np

from recast.retouch.roundtrip import BAND_ROWS, give_back
from recast.retouch.thresholds import Editing


def pictures(height: int = 40, width: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """A source of noise and what a decoder gives back of it: its mean."""
    source = np.random.default_rng(0).integers(60, 200, (height, width, 3), dtype=np.uint8)
    return source, np.full_like(source, 130)


def test_an_edit_that_is_the_decoded_source_becomes_the_source():
    for height in (40, BAND_ROWS + 3):
        source, decoded = pictures(height)
        assert np.array_equal(give_back(decoded, source, decoded), source)


def test_a_plain_change_stays_as_it_is_and_the_rest_becomes_the_source():
    source, decoded = pictures()
    edited = decoded.copy()
    edited[10:30, 10:30] = (250, 20, 20)
    result = give_back(edited, source, decoded)
    reach = Editing().agree_radius_px
    assert (result[10 + reach : 30 - reach, 10 + reach : 30 - reach] == (250, 20, 20)).all()
    far = np.ones((40, 50), bool)
    far[10 - reach : 30 + reach, 10 - reach : 30 + reach] = False
    assert np.array_equal(result[far], source[far])


def test_a_faint_change_is_not_hidden():
    """What is given back is the same for edit and source, so the difference between them is what it was."""
    source, decoded = pictures()
    edited = decoded + np.uint8(Editing().agree_levels)
    result = give_back(edited, source, decoded)
    assert np.array_equal(result.astype(int) - source, edited.astype(int) - decoded)
