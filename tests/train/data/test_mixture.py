from collections import Counter

import pytest

from recast.errors import ConfigError
from recast.train.data.mixture import ROUND, Mixture
from tests.train.data.sets import memory


def test_sources_have_their_shares_and_no_example_is_seen_twice_before_all_are():
    mixture = Mixture([(memory(50, name="a"), 3), (memory(40, name="b"), 1)], seed=2)
    places = [mixture.place(n) for n in range(2 * ROUND)]
    assert Counter(source for source, _ in places[:ROUND]) == {0: 3 * ROUND // 4, 1: ROUND // 4}
    for source in (0, 1):  # each source is walked through without a gap, over the end of a round
        assert [number for k, number in places if k == source] == list(range(2 * mixture.shares[source]))
    seen = [mixture.example(n).id for n in range(200)]
    first = [each for each in seen if each.startswith("b")][:40]
    assert len(set(first)) == 40


def test_the_order_is_by_the_seed_alone():
    def ids(seed):
        mixture = Mixture([(memory(9, name="a"), 1), (memory(9, name="b"), 1)], seed=seed)
        return [mixture.example(n).id for n in range(40)]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)


def test_a_weight_that_would_never_be_seen_is_refused():
    with pytest.raises(ConfigError, match="under 1 in"):
        Mixture([(memory(3), 1), (memory(3), 1e-6)])
    with pytest.raises(ConfigError, match="above 0"):
        Mixture([(memory(3), 0)])
