"""Times from 1 to 0, shifted by resolution: published golden values."""

from itertools import pairwise

import pytest

from recast.errors import ConfigError
from recast.flow.schedule import resolution_shift, times

GOLDEN = {
    (4, 4096): [1, 0.9045308, 0.7595109, 0.5128441, 0],
    (8, 4096): [1, 0.9567237, 0.9045308, 0.8403488, 0.7595109, 0.6545668, 0.5128441, 0.3109011, 0],
}


@pytest.mark.parametrize(("steps", "tokens"), GOLDEN)
def test_published_times(steps: int, tokens: int):
    assert times(steps, mu=resolution_shift(tokens)) == pytest.approx(GOLDEN[steps, tokens], abs=1e-7)


def test_thirty_steps_of_a_wide_picture():
    grid = times(30, mu=resolution_shift(4089))
    assert resolution_shift(4089) == pytest.approx(1.1488151, abs=1e-7)
    assert grid[:5] == pytest.approx([1, 0.9891868, 0.9778577, 0.9659749, 0.953497], abs=1e-6)
    assert grid[-4:] == pytest.approx([0.2595307, 0.1838854, 0.0981032, 0], abs=1e-6)


def test_the_shift_is_a_line_through_its_two_anchors_and_is_not_clamped():
    assert resolution_shift(256) == pytest.approx(0.5, abs=1e-12)
    assert resolution_shift(4096) == pytest.approx(1.15, abs=1e-12)
    assert resolution_shift(4150) == pytest.approx(1.1591, abs=1e-4)
    assert resolution_shift(64) < 0.5


def test_without_a_shift_times_are_even():
    assert times(4) == pytest.approx([1, 0.75, 0.5, 0.25, 0], abs=1e-7)


def test_every_schedule_runs_from_exactly_1_to_exactly_0():
    for tokens in range(4, 5001):
        grid = times(1 + tokens % 8, mu=resolution_shift(tokens))
        assert (grid[0], grid[-1]) == (1, 0), tokens
        assert all(now > then for now, then in pairwise(grid)), tokens


def test_no_steps_is_refused():
    with pytest.raises(ConfigError, match="steps=0: at least 1"):
        times(0)
