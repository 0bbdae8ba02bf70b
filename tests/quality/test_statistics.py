"""Intervals hold the truth as often as they say, tests reject as seldom, and clusters are never taken for items."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from recast.errors import InputError
from recast.quality.statistics import (
    cluster_bootstrap,
    cohen_kappa,
    design_effect,
    holm,
    intra_cluster_correlation,
    macro_mean,
    paired_difference,
    wilson,
)

ROUNDS = 300
ERROR = 3 * math.sqrt(0.95 * 0.05 / ROUNDS)  # three standard errors of a coverage of 95 %, 0.038


def clustered(rng: np.random.Generator, clusters: int, spread: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Normal values of mean 0 in clusters of 3 to 15 that are alike, and the cluster of each."""
    of = np.repeat(np.arange(clusters), rng.integers(3, 16, clusters))
    return rng.normal(0, spread, clusters)[of] + rng.normal(0, 1, len(of)), of


# Wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        *((513, 1026, 46.9, 53.1), (208, 416, 45.2, 54.8), (130, 262, 43.6, 55.6), (46, 92, 40.0, 60.0)),
        *((60, 63, 86.9, 98.4), (0, 63, 0, 5.7)),
    ],
)
def test_wilson_of_known_counts(successes, n, low, high):
    assert [100 * end for end in wilson(successes, n)] == pytest.approx([low, high], abs=0.051)


@pytest.mark.parametrize("n", [10, 30, 92, 416])
def test_wilson_covers_95_percent_on_average_over_all_shares(n):
    ends = np.array([wilson(k, n) for k in range(n + 1)])
    shares = np.linspace(0.01, 0.99, 99)
    covered = [binom.pmf(np.arange(n + 1), n, p) @ ((ends[:, 0] <= p) & (p <= ends[:, 1])) for p in shares]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.006)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (5, 4), (-1, 4)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(InputError, match="successes"):
        wilson(successes, n)


# Cluster bootstrap


def test_the_macro_mean_gives_each_category_one_voice():
    assert macro_mean([1, 1, 1, 0], ["a", "a", "a", "b"]) == 0.5
    assert macro_mean([1, 1, 1, 0]) == 0.75


@pytest.mark.parametrize("clusters", [10, 20, 50])
def test_the_cluster_bootstrap_covers_at_its_nominal_rate(clusters):
    hits = 0
    for seed in range(ROUNDS):
        values, of = clustered(np.random.default_rng([seed, clusters]), clusters)
        _, low, high = cluster_bootstrap(values, of, resamples=400, seed=seed)
        hits += low <= 0 <= high
    assert hits / ROUNDS == pytest.approx(0.95, abs=ERROR)


def test_items_taken_for_clusters_would_cover_far_too_little():
    hits = 0
    for seed in range(100):
        values, of = clustered(np.random.default_rng([seed, 30]), 30, spread=1)
        _, low, high = cluster_bootstrap(values, np.arange(len(of)), resamples=200, seed=seed)
        hits += low <= 0 <= high
    assert hits / 100 < 0.75


def test_pictures_that_share_categories_are_drawn_together():
    """Each cluster has one item in either category, and they are equal: the second category adds no knowledge."""
    rng = np.random.default_rng(0)
    values, of = rng.normal(size=40), np.arange(40)
    once = cluster_bootstrap(values, of, seed=1)
    both = cluster_bootstrap(np.tile(values, 2), np.tile(of, 2), np.repeat(["a", "b"], 40), seed=1)
    apart = cluster_bootstrap(np.tile(values, 2), np.arange(80), np.repeat(["a", "b"], 40), seed=1)
    assert both == pytest.approx(once)
    assert apart.high - apart.low == pytest.approx((once.high - once.low) / math.sqrt(2), rel=0.05)


def test_clusters_of_one_category_are_not_drawn_for_another():
    """Drawn from all forty, the two clusters of the first category would be missing from every eighth resample."""
    values = np.repeat([0.0, 100.0], [2, 38]) + np.random.default_rng(0).uniform(0, 1, 40)
    _, low, high = cluster_bootstrap(values, np.arange(40), np.repeat(["a", "b"], [2, 38]))
    assert 50 < low < high < 51


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(-5, 5), st.floats(0.1, 5))
def test_the_interval_moves_and_stretches_with_the_scores(seed, offset, factor):
    values, of = clustered(np.random.default_rng(seed), 12)
    plain = np.array(cluster_bootstrap(values, of, resamples=200))
    moved = np.array(cluster_bootstrap(offset + factor * values, of, resamples=200))
    np.testing.assert_allclose(moved, offset + factor * plain, atol=1e-6)
    assert plain[1] <= plain[0] <= plain[2]


def test_scores_of_one_seed_are_one_interval_and_labels_are_only_names():
    values, of = clustered(np.random.default_rng(0), 12)
    first = cluster_bootstrap(values, of, seed=3)
    assert first == cluster_bootstrap(values, [f"picture {i}" for i in of], seed=3)
    assert first != cluster_bootstrap(values, of, seed=4)


def test_an_interval_of_scores_in_0_to_1_stays_there():
    values = np.array([1.0] * 19 + [0.2])
    _, low, high = cluster_bootstrap(values, np.arange(20))
    assert 0.2 <= low < high <= 1


def test_one_cluster_has_no_interval_and_equal_scores_one_without_width():
    assert cluster_bootstrap([0.2, 0.4], ["a", "a"]) == (pytest.approx(0.3), None, None)
    assert cluster_bootstrap([0.1] * 9, range(9)) == pytest.approx((0.1, 0.1, 0.1))


def test_scores_that_are_missing_are_refused():
    with pytest.raises(InputError, match="values"):
        cluster_bootstrap([0.1, float("nan")], [0, 1])
    with pytest.raises(InputError, match="clusters: 1 came; 2 accepted"):
        cluster_bootstrap([0.1, 0.2], [0])


# Two systems


def test_paired_intervals_cover_and_sign_flips_reject_at_their_nominal_rates():
    hits, alarms = 0, 0
    for seed in range(ROUNDS):
        rng = np.random.default_rng([seed, 2])
        hard, of = clustered(rng, 16, spread=2)
        sizes = np.bincount(of)
        a, b = (hard + np.repeat(rng.normal(0, 0.3, 16), sizes) + rng.normal(0, 0.3, len(of)) for _ in range(2))
        found = paired_difference(a, b, of, resamples=400, seed=seed)
        hits += found.low <= 0 <= found.high
        alarms += found.p <= 0.05
    assert hits / ROUNDS == pytest.approx(0.95, abs=ERROR)
    assert alarms / ROUNDS == pytest.approx(0.05, abs=ERROR)


def test_pairing_finds_what_unpaired_intervals_hide():
    rng = np.random.default_rng(0)
    hard, of = clustered(rng, 20, spread=3)
    better = hard + 0.2 + rng.normal(0, 0.1, len(of))
    assert cluster_bootstrap(hard, of).high > cluster_bootstrap(better, of).low
    found = paired_difference(better, hard, of)
    assert found.low > 0.1
    assert found.p < 0.001


def test_few_clusters_try_every_flip():
    """Of all 32 sign patterns of five positive differences, two are as extreme."""
    found = paired_difference([0.5, 0.2, 0.3, 0.4, 0.1], [0] * 5, range(5))
    assert found.p == 2 / 32


def test_a_cluster_flips_as_one():
    assert paired_difference([1.0] * 50, [0.0] * 50, np.arange(50) // 25).p == 0.5


def test_drawn_flips_agree_with_all_of_them():
    rng = np.random.default_rng(5)
    apart = rng.normal(0.3, 1, 14)
    signs = np.array(list(itertools.product((1, -1), repeat=14)))
    exact = (abs(signs @ apart) >= abs(apart.sum()) - 1e-12).mean()
    assert paired_difference(apart, np.zeros(14), range(14)).p == pytest.approx(exact, abs=0.015)


def test_two_systems_are_compared_on_the_same_items():
    with pytest.raises(InputError, match="a and b: 2 and 1 items"):
        paired_difference([1, 2], [1], [0, 1])


def test_holm_of_a_known_case_keeps_the_order_given():
    np.testing.assert_allclose(holm([0.04, 0.01, 0.5, 0.03]), [0.09, 0.04, 0.5, 0.09])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_p_value_and_bonferroni(p):
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


# Clusters and judges


@pytest.mark.parametrize(
    ("correlation", "effect", "effective", "half"),
    [(0, 1, 1026, 3.1), (0.05, 1.43, 720, 3.7), (0.1, 1.85, 555, 4.2), (0.3, 3.55, 289, 5.8)],
)
def test_design_effects_of_nine_and_a_half_items_a_picture(correlation, effect, effective, half):
    found = design_effect(9.5, correlation)
    assert found == pytest.approx(effect, abs=0.0051)
    assert 1026 / found == pytest.approx(effective, abs=0.6)
    assert 196 * math.sqrt(0.25 * found / 1026) == pytest.approx(half, abs=0.06)


@pytest.mark.parametrize("spread", [0, 0.5, 2])
def test_the_correlation_within_clusters_is_recovered(spread):
    values, of = clustered(np.random.default_rng(0), 600, spread)
    assert intra_cluster_correlation(values, of) == pytest.approx(spread**2 / (1 + spread**2), abs=0.03)


def test_the_correlation_of_single_items_is_not_defined():
    with pytest.raises(InputError, match="clusters: 3 of 3 items"):
        intra_cluster_correlation([1, 2, 3], [0, 1, 2])


def test_kappa_of_known_tables():
    first, second = ["yes"] * 25 + ["no"] * 25, ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)  # agreed 0.7, by chance 0.5
    assert cohen_kappa(first, first) == 1
    assert cohen_kappa(["yes"] * 9, ["yes"] * 9) is None
    assert cohen_kappa(["yes"] * 9, ["no"] * 9) == 0
