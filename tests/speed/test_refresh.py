"""Which steps of a walk are whole."""

import pytest

from recast.errors import ConfigError
from recast.speed.refresh import Refresh


def whole(refresh: Refresh, steps: int) -> list[int]:
    return [step for step in range(steps) if refresh.at(step, steps)]


def test_the_first_every_so_many_th_and_the_last_are_whole():
    assert whole(Refresh(first=2, every=6, last=True), 28) == [0, 1, 7, 13, 19, 25, 27]
    assert whole(Refresh(first=4, every=None, last=False), 28) == [0, 1, 2, 3]
    assert whole(Refresh(first=1, every=3, last=False), 8) == [0, 3, 6]
    assert whole(Refresh(first=1, every=1), 5) == [0, 1, 2, 3, 4]
    assert whole(Refresh(first=9, every=4), 3) == [0, 1, 2]


def test_the_count_is_that_of_the_steps():
    assert Refresh(first=2, every=6, last=True).count(28) == 7
    assert Refresh(first=1, every=None, last=True).count(28) == 2


@pytest.mark.parametrize("changes", [{"first": 0}, {"first": 1.5}, {"first": True}, {"every": 0}, {"every": "2"}])
def test_what_cannot_be_counted_by_is_refused(changes):
    ((name, _),) = changes.items()
    with pytest.raises(ConfigError, match=f"{name}=.*whole number of steps from 1"):
        Refresh(**changes)
