"""Claims of recast.thumbnails.colour_blind."""

import numpy as np
import pytest

from recast.errors import ConfigError
from recast.thumbnails.colour_blind import KINDS, simulate

COLOURS = np.array([[[255, 0, 0], [0, 160, 0], [0, 0, 255], [255, 255, 0]]], np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_greys_stay_grey(kind):
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, -1)
    assert abs(simulate(greys, kind).astype(int) - greys).max() <= 1


def test_red_goes_dark_without_long_cones_alone():
    """A known sign: pure red loses half its light for protan eyes, and none for deutan ones."""
    assert simulate(COLOURS, "protan")[0, 0].tolist() == [109, 95, 0]
    assert simulate(COLOURS, "deutan")[0, 0].tolist() == [163, 144, 0]


def test_blue_and_green_meet_without_short_cones():
    blue, green = (simulate(COLOURS, "tritan")[0, at].astype(int) for at in (2, 1))
    assert abs(blue - green).max() < abs(COLOURS[0, 2].astype(int) - COLOURS[0, 1]).max() / 1.5


def test_other_kinds_are_refused():
    with pytest.raises(ConfigError, match="protan, deutan, tritan"):
        simulate(COLOURS, "mono")
