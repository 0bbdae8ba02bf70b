"""Numbers over sets of pictures: unbiased, of independent pictures alone, with intervals that hold the truth."""

from itertools import product

import numpy as np
import pytest

from recast.errors import InputError
from recast.quality.distributions import interval_of, kernel_distance, ratio, scaled, spread


def by_hand(made, right, made_clusters, right_clusters):
    """Pair by pair, as the definition says."""

    def mean(x, y, a, b):
        pairs = [(i, j) for i, j in product(range(len(x)), range(len(y))) if a[i] != b[j]]
        return np.mean([(x[i] @ y[j] / len(x[i]) + 1) ** 3 for i, j in pairs])

    within = mean(made, made, made_clusters, made_clusters) + mean(right, right, right_clusters, right_clusters)
    return within - 2 * mean(made, right, made_clusters, right_clusters)


def test_the_kernel_distance_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    made, right = rng.normal(size=(10, 4)), rng.normal(size=(5, 4)) + 0.5
    clusters = [i // 2 for i in range(10)], list(range(5))
    found = kernel_distance(made, right, *clusters)
    assert found.value == pytest.approx(by_hand(made, right, *clusters), rel=1e-9)
    assert found.low < found.value < found.high


def test_it_is_0_on_average_for_one_distribution_also_where_a_made_picture_is_its_answers_twin():
    rng, found = np.random.default_rng(1), []
    for _ in range(300):
        right = rng.normal(size=(20, 6))
        made = 0.8 * right + 0.6 * rng.normal(size=(20, 6))  # unit variance again
        found.append(kernel_distance(made, right, range(20), range(20), resamples=2).value)
    assert abs(np.mean(found)) < 3 * np.std(found) / 300**0.5
    apart = kernel_distance(made + 1, right, range(20), range(20))
    assert apart.low > 0.5


def test_its_interval_holds_the_truth():
    """Two normal distributions a shift apart; the truth is that of very large sets."""
    rng = np.random.default_rng(2)
    large = [rng.normal(size=(3000, 3)) + shift for shift in (0.0, 0.6)]
    truth = kernel_distance(*large, *[list(np.arange(3000) // 5)] * 2, resamples=2).value
    held = 0
    for trial in range(120):
        sets = [rng.normal(size=(40, 3)) + shift for shift in (0.0, 0.6)]
        found = kernel_distance(*sets, range(40), range(40), resamples=300, seed=trial)
        held += found.low <= truth <= found.high
    assert 0.88 <= held / 120 <= 1


def test_a_ratio_is_of_means_and_its_interval_holds_the_truth():
    rng, held = np.random.default_rng(3), 0
    for trial in range(150):
        base = rng.gamma(4, size=30)
        a, b = 1.2 * base * rng.uniform(0.8, 1.2, 30), base * rng.uniform(0.8, 1.2, 30)
        found = ratio(a, b, range(30), resamples=300, seed=trial)
        held += found.low <= 1.2 <= found.high
    assert found.value == pytest.approx(a.mean() / b.mean())
    assert 0.88 <= held / 150 <= 1
    together = ratio(a, b, np.arange(30) // 10)
    assert together.value == pytest.approx(found.value)
    assert together.high - together.low > found.high - found.low  # three clusters say less than thirty


def test_spread_is_the_mean_distance_and_scaled_takes_the_reference_for_its_scale():
    three = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert spread(three) == pytest.approx(2 / 3 * 5 / 2**0.5)
    like = np.array([[1.0, 5.0, 0.0], [3.0, 5.0, 8.0]])
    assert np.array_equal(scaled(np.array([[5.0, 9.0, 4.0]]), like), [[3.0, 0.0, 0.0]])


def test_what_cannot_be_said_is_not_said():
    with pytest.raises(InputError, match="ask with more seeds"):
        spread(np.ones((1, 3)))
    with pytest.raises(InputError, match="three"):
        kernel_distance(np.ones((4, 2)), np.ones((4, 2)), [0, 0, 1, 1], [0, 0, 1, 1])
    with pytest.raises(InputError, match="one width"):
        kernel_distance(np.ones((4, 2)), np.ones((4, 3)), range(4), range(4))
    with pytest.raises(InputError, match="b above 0"):
        ratio([1.0], [0.0], [0])
    assert interval_of(lambda w: w.sum(1), 2).low is None
