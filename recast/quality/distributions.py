"""How far two sets of pictures are apart, and how much less one varies than another: numbers that are no item's.

Pictures come as features (n, d) of a fixed network, of about unit mean square a channel (`scaled`), and in clusters:
all pictures of one base are drawn together, as in `statistics`. Pure functions; every one that draws takes a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recast.errors import InputError
from recast.quality.statistics import Interval, numbered, student_quantile

Statistic = Callable[[np.ndarray], np.ndarray]
"""From how often each cluster was drawn, (resamples, clusters), to the number of each resample."""


def scaled(features: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Features (n, d) with the channels' means and deviations of `like` (m, d) taken out; a constant channel is 0.

    One scale for all sets that are compared: the channels of a network differ by orders of magnitude.
    """
    deviation = like.std(0)
    return np.where(deviation > 1e-9, (features - like.mean(0)) / np.maximum(deviation, 1e-9), 0.0)


def kernel_distance(
    made: np.ndarray,
    right: np.ndarray,
    made_clusters: Sequence[object],
    right_clusters: Sequence[object],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """KID of features (n, d) and (m, d): the unbiased squared maximum mean discrepancy by the kernel (x.y / d + 1)^3.

    About 0 where both are of one distribution, and then below it as often as above. Two pictures of one cluster are
    never compared: an answer and what was made for its item are not independent, nor are two seeds of an item.
    Raises InputError where the sets have no three clusters in common.
    Source: Binkowski et al. 2018 (arXiv 1801.01401), section 4; Gretton et al. 2012 (JMLR 13), equation 3.
    """
    labels = [*made_clusters, *right_clusters]
    if len(labels) != len(made) + len(right) or made.shape[1:] != right.shape[1:]:
        raise InputError(
            f"made {made.shape}, right {right.shape}: features of one width, and a cluster for each of the "
            f"{len(made) + len(right)}, needed; {len(labels)} came"
        )
    codes = numbered(labels)
    count = int(codes.max()) + 1
    groups = [np.zeros((count, len(part))) for part in (made, right)]
    groups[0][codes[: len(made)], np.arange(len(made))] = 1
    groups[1][codes[len(made) :], np.arange(len(right))] = 1
    if ((groups[0].sum(1) > 0) & (groups[1].sum(1) > 0)).sum() < 3:
        raise InputError(f"clusters: {count} came; at least three that are in both sets needed; add items")
    terms = []
    for sign, (a, x), (b, y) in (
        (1.0, (groups[0], made), (groups[0], made)),
        (1.0, (groups[1], right), (groups[1], right)),
        (-2.0, (groups[0], made), (groups[1], right)),
    ):
        sums = a @ (x @ y.T / x.shape[1] + 1) ** 3 @ b.T
        pairs = np.outer(a.sum(1), b.sum(1))
        np.fill_diagonal(sums, 0)
        np.fill_diagonal(pairs, 0)
        terms.append((sign, sums, pairs))

    def statistic(weights: np.ndarray) -> np.ndarray:
        total = np.zeros(len(weights))
        for sign, sums, pairs in terms:
            count = _between(weights, pairs)
            total += sign * _between(weights, sums) / np.where(count > 0, count, np.nan)  # a resample without a pair
        return total

    return interval_of(statistic, count, confidence=confidence, resamples=resamples, seed=seed)


def spread(features: np.ndarray) -> float:
    """How much the pictures of one request differ: the mean distance of any two of their features (k, d), a channel."""
    if len(features) < 2:
        raise InputError(f"features: {len(features)} came; those of two pictures or more needed; ask with more seeds")
    apart = features[:, None] - features[None]
    distances = np.sqrt(np.square(apart).mean(-1))
    return float(distances[np.triu_indices(len(features), 1)].mean())


def ratio(
    a: Sequence[float],
    b: Sequence[float],
    clusters: Sequence[object],
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The mean of a over the mean of b, of the same items, with its interval. b is nowhere negative, nor all 0."""
    numbers = np.array([a, b], float)
    if numbers.shape[1] != len(clusters) or not np.isfinite(numbers).all() or not numbers[1].sum() > 0:
        raise InputError(f"a, b: {numbers.shape} came; finite numbers for {len(clusters)} items, b above 0, needed")
    codes = numbered(clusters)
    totals = np.stack([np.bincount(codes, row) for row in numbers])

    def statistic(weights: np.ndarray) -> np.ndarray:
        above, below = weights @ totals[0], weights @ totals[1]
        return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)

    return interval_of(statistic, totals.shape[1], confidence=confidence, resamples=resamples, seed=seed)


def interval_of(
    statistic: Statistic, clusters: int, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The statistic of all clusters, each once, and its bias-corrected and accelerated interval (Efron 1987).

    The acceleration is the jackknife's; the quantiles are Student's for the number of clusters, and widened by
    sqrt(n / (n - 1)), as in `statistics.cluster_bootstrap`. With fewer than three clusters there is no interval.
    """
    from scipy.special import ndtr, ndtri

    value = float(statistic(np.ones((1, clusters)))[0])
    if clusters < 3:
        return Interval(value, None, None)
    rng = np.random.default_rng(seed)
    draws = statistic(rng.multinomial(clusters, np.full(clusters, 1 / clusters), resamples).astype(float))
    draws = draws[np.isfinite(draws)]
    left_out = statistic(1 - np.eye(clusters))
    pulls = left_out.mean() - left_out
    power = float((pulls**2).sum()) ** 1.5
    if power < 1e-30 or not len(draws):
        return Interval(value, value, value)
    skew = float((pulls**3).sum()) / (6 * power)
    below = float((draws < value).mean() + (draws <= value).mean()) / 2
    shift = float(ndtri(min(max(below, 1e-3), 1 - 1e-3)))
    wide = student_quantile((1 + confidence) / 2, clusters - 1) * (clusters / (clusters - 1)) ** 0.5
    levels = [float(ndtr(shift + (shift + z) / max(1 - skew * (shift + z), 1e-3))) for z in (-wide, wide)]
    low, high = np.quantile(draws, levels)
    return Interval(value, float(low), float(high))


def _between(weights: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The sum of a table (clusters, clusters) over all pairs drawn, (resamples,)."""
    return ((weights @ table) * weights).sum(1)
