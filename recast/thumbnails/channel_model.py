"""What a channel's tests say: how much each level of a factor is worth, how sure that is, and what to test next.

The model, for each factor by itself. Variant j of test i, of level l, has the share of watch time p_ij, and

    log p_ij = mu_i + beta_l + e_ij      e_ij ~ N(0, s² (FLOOR² + PER_IMPRESSION m_i / n_i))
    beta_l ~ N(0, tau²)                  tau ~ half-Cauchy(WEAK)      log s ~ N(0, LOG_NOISE²)

with m_i variants and n_i impressions in all. mu_i is flat: only the contrasts within a test count, so shares need not
sum to one, and tests of different levels compare through the levels they have in common. Given tau and s, beta is
normal in closed form; both are integrated over a grid. Source: Gelman et al., Bayesian Data Analysis, third edition,
sections 5.4 (normal hierarchy), 5.7 (half-Cauchy) and 14.8 (regression with known prior).

Noise of a share: an impression is watched with the probability c, for a time whose spread is v times its mean; the
total of n of them then varies by ((1 + v²) / c - 1) / n of its square. Half of all channels have c between 2 and 10 %
(YouTube's help); with c = 5 % and v = 1 that is 39, and s covers what a channel differs by. FLOOR is what one level
differs by from video to video: three look-alikes of one test came out at 34.2, 33.9 and 31.9 %, a spread of 0.037 in
all, noise of impressions included.

On simulated channels with noise of another kind (`benchmarks/simulated_channel.py`), intervals of 90 % hold the truth
in 86 to 90 %, and the level that first reaches a probability of 0.9 is the best in 93 to 98 %.

Limits. Levels of the same name are taken for the same thing. Effects of two factors are taken to add up: a set varies
one factor, and what the others were is not in the model. A test of look-alikes says nothing, and cannot tell that it
says nothing. A new look gains by being new, which wears off, and audiences drift; no test here is weighed by its age.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from recast.errors import ConfigError

FLOOR = 0.03
"""Standard deviation of a log share that no number of impressions takes away."""
PER_IMPRESSION = 39.0
"""Variance of the logarithm of a watch time, times its impressions."""
USUAL_IMPRESSIONS = 20_000
"""Of a test that was entered without a number."""
WEAK = 0.1
"""Median of tau: levels that differ by a tenth of their watch time."""
LOG_NOISE = 0.4
TAUS = np.geomspace(0.004, 0.6, 22)
"""At its end, levels of a factor commonly differ by half or double, which no thumbnail does."""
NOISES = np.exp(np.linspace(-1, 1, 9))
DRAWS = 20_000
INTERVAL = 0.9
"""What an interval of an effect holds."""


@dataclass(frozen=True, order=True)
class Outcome:
    """One finished test: the factor, the level and the share (0..1) of each variant, impressions of all together.

    Raises ConfigError unless there are two variants or more, with a share above 0 each.
    """

    factor: str
    levels: tuple[str, ...]
    shares: tuple[float, ...]
    impressions: int = USUAL_IMPRESSIONS

    def __post_init__(self) -> None:
        if len(self.levels) != len(self.shares) or len(self.levels) < 2:
            raise ConfigError(f"shares: {len(self.shares)} of {len(self.levels)} levels came; one each of 2 or more")
        if not all(0 < each <= 1 for each in self.shares):
            raise ConfigError(f"shares: {self.shares} came; above 0 and up to 1 accepted, as shares of the whole")
        if self.impressions < 1:
            raise ConfigError(f"impressions: {self.impressions} came; 1 or more accepted, of all variants together")


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What is known of one level. Numbers are of the log share, relative to the mean of the levels tested: 0.05 is
    five percent more watch time.

    low, high: its interval of INTERVAL. best: the probability that it is the best of those tested; None for one that is
    not. loss: what is lost on average by always taking it, 0 if it is surely the best; None likewise.
    """

    factor: str
    level: str
    tests: int
    mean: float
    sd: float
    low: float
    high: float
    best: float | None
    loss: float | None


@dataclass(frozen=True, eq=False)
class Posterior:
    """The effects of the levels (l,) of a factor: mean (l,), covariance (l, l), and draws (DRAWS, l) of them all.

    tests: how many each level was in. tau: the mean of the spread between levels.
    """

    factor: str
    levels: tuple[str, ...]
    tests: tuple[int, ...]
    mean: np.ndarray
    covariance: np.ndarray
    draws: np.ndarray
    tau: float

    def effects(self) -> tuple[Effect, ...]:
        """Levels that were tested, best mean first; then the others."""
        tested = np.array(self.tests) > 0
        most = self.draws[:, tested].max(1) if tested.any() else None
        ends = np.quantile(self.draws, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2], axis=0)
        found = []
        for i, level in enumerate(self.levels):
            known = most is not None and tested[i]
            found.append(
                Effect(
                    factor=self.factor,
                    level=level,
                    tests=self.tests[i],
                    mean=float(self.mean[i]),
                    sd=math.sqrt(max(0.0, float(self.covariance[i, i]))),
                    low=float(ends[0, i]),
                    high=float(ends[1, i]),
                    best=float((self.draws[:, i] == most).mean()) if known else None,
                    loss=float((most - self.draws[:, i]).mean()) if known and most is not None else None,
                )
            )
        return tuple(sorted(found, key=lambda each: (each.tests == 0, -each.mean, each.level)))

    def next_levels(self, levels: Sequence[str], count: int = 3, seed: int = 0) -> tuple[str, ...]:
        """Which `count` of these levels to test next, or all of them if there are fewer.

        Thompson sampling for each place: a draw from the posterior, and the best in it of the levels not yet chosen. So
        levels that may be the best meet each other, and those that surely are not drop out.
        Source: Russo 2020, Simple Bayesian Algorithms for Best-Arm Identification (arXiv 1602.08448), of two levels.
        Raises ConfigError for a count under 2, fewer than two levels, since a test compares, and unknown levels.
        """
        wanted = _names(levels)
        if count < 2 or len(wanted) < 2:
            raise ConfigError(
                f"count={count}, {len(wanted)} levels: 2 or more of each accepted; a test compares levels"
            )
        left = [i for i, level in enumerate(self.levels) if _key(level) in wanted]
        if len(left) < len(wanted):
            raise ConfigError(f"levels: {', '.join(levels)} came; {', '.join(self.levels)} accepted; `learn` with them")
        rng = np.random.default_rng([seed, sum(self.tests)])
        chosen = []
        for row in self.draws[rng.integers(0, len(self.draws), min(count, len(left)))]:
            best = left.pop(int(np.argmax(row[left])))
            chosen.append(self.levels[best])
        return tuple(chosen)

    def still_to_gain(self) -> float:
        """What knowing the best level, tested or not, would gain on average over the best guess: log share.

        The expected value of perfect information; a factor where it is small needs no further test.
        """
        return float(self.draws.max(1).mean() - self.draws.mean(0).max())


def learn(
    outcomes: Sequence[Outcome], factor: str, levels: Sequence[str] = (), *, draws: int = DRAWS, seed: int = 0
) -> Posterior:
    """What the tests of a factor say of its levels, and of further `levels` that were never tested.

    The order of the tests does not matter, and the same seed gives the same draws. Upper and lower case are one level.
    """
    mine = sorted(each for each in outcomes if each.factor == factor)
    names = _names([*(level for each in mine for level in each.levels), *levels])
    if not names:
        raise ConfigError(f"factor={factor!r}: no test and no level came; one level or more needed; enter a result")
    place = {key: i for i, key in enumerate(names)}
    precision, pull = np.zeros((len(names), len(names))), np.zeros(len(names))
    tests, square, free = np.zeros(len(names), int), 0.0, 0
    for each in mine:
        count = len(each.levels)
        design = np.zeros((count, len(names)))
        design[range(count), [place[_key(level)] for level in each.levels]] = 1
        design -= design.mean(0)  # contrasts within the test: mu is gone
        logs = np.log(each.shares)
        logs -= logs.mean()
        weight = 1 / noise_variance(each.impressions, count)
        precision += weight * design.T @ design
        pull += weight * design.T @ logs
        square += weight * float(logs @ logs)
        free += count - 1
        tests[sorted({place[_key(level)] for level in each.levels})] += 1
    center = np.eye(len(names)) - (tests > 0) / max(1, (tests > 0).sum())  # on the mean of the levels tested
    mixture = _mixture(precision, pull, square, free)
    apart = mixture.means - mixture.weights @ mixture.means
    covariance = np.einsum("k,ki,kj->ij", mixture.weights, apart, apart)
    covariance += np.diag(mixture.weights @ mixture.variances)
    turn = center @ mixture.axes
    return Posterior(
        factor=factor,
        levels=tuple(names.values()),
        tests=tuple(tests.tolist()),
        mean=turn @ (mixture.weights @ mixture.means),
        covariance=turn @ covariance @ turn.T,
        draws=_draw(mixture, draws, seed) @ turn.T,
        tau=float(mixture.weights @ mixture.taus),
    )


def next_levels(
    outcomes: Sequence[Outcome], factor: str, levels: Sequence[str], count: int = 3, seed: int = 0
) -> tuple[str, ...]:
    """Which `count` of these levels to test next, as `Posterior.next_levels` has it; they may be untested."""
    return learn(outcomes, factor, levels, seed=seed).next_levels(levels, count, seed)


def noise_variance(impressions: int, variants: int) -> float:
    """The variance of a log share in a test of so many variants and, in all, impressions."""
    return FLOOR**2 + PER_IMPRESSION * variants / impressions


def impressions_needed(difference: float, variants: int = 3, *, power: float = 0.8, confidence: float = 0.95) -> int:
    """How many impressions, of all variants, tell two shares of one test apart that differ by `difference` (0..1).

    Found with the probability `power` by a two-sided test of `confidence`, around equal shares. It is about these
    pictures on this video; what holds for the next one too is `videos_needed`.
    Raises ConfigError for a difference that two of so many variants cannot have.
    """
    needed = _z(power, confidence) ** 2 * 2 * PER_IMPRESSION * variants / _log_ratio(difference, variants) ** 2
    return math.ceil(needed)


def videos_needed(
    difference: float,
    impressions: int = USUAL_IMPRESSIONS,
    variants: int = 3,
    *,
    power: float = 0.8,
    confidence: float = 0.95,
) -> int:
    """How many videos, each tested with so many impressions and both levels, tell that one is better on the channel.

    As `impressions_needed`, with FLOOR: what a level differs by from video to video.
    """
    noise = 2 * noise_variance(impressions, variants)
    return math.ceil(_z(power, confidence) ** 2 * noise / _log_ratio(difference, variants) ** 2)


@dataclass(frozen=True, eq=False)
class _Mixture:
    """The posterior as a sum of k normals, one for each tau and s of the grid: of beta = axes @ x, where x (l,) has the
    means (k, l) and, as the axes (l, l) are those of the data's precision, the variances (k, l) and no covariance.
    """

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    taus: np.ndarray
    axes: np.ndarray


def _mixture(precision: np.ndarray, pull: np.ndarray, square: float, free: int) -> _Mixture:
    """precision (l, l), pull (l,): of beta by the data at s = 1. square: of the contrasts, weighed; free: how many."""
    taus, noises = (each.ravel() for each in np.meshgrid(TAUS, NOISES, indexing="ij"))
    known, axes = np.linalg.eigh(precision)
    known, pull = np.maximum(known, 0), axes.T @ pull
    noise2, tau2 = noises[:, None] ** 2, taus[:, None] ** 2
    growth = 1 + known * tau2 / noise2
    variances = tau2 / growth
    means = variances * pull / noise2
    fit = (square - means @ pull) / noises**2
    likelihood = -0.5 * (free * np.log(noises**2) + np.log(growth).sum(1) + fit)
    prior = np.log(taus / (1 + (taus / WEAK) ** 2)) - 0.5 * (np.log(noises) / LOG_NOISE) ** 2  # tau: a step of its log
    weights = np.exp(likelihood + prior - (likelihood + prior).max())
    return _Mixture(weights / weights.sum(), means, variances, taus, axes)


def _draw(mixture: _Mixture, count: int, seed: int) -> np.ndarray:
    """Draws (count, l) along the axes, from each of the normals as often as its weight says, in any order."""
    rng = np.random.default_rng(seed)
    part = np.searchsorted(np.cumsum(mixture.weights)[:-1], (rng.permutation(count) + 0.5) / count)
    return mixture.means[part] + np.sqrt(mixture.variances[part]) * rng.standard_normal((count, len(mixture.axes)))


def _key(level: str) -> str:
    return level.strip().casefold()


def _names(levels: Sequence[str]) -> dict[str, str]:
    """Levels by their key, in its order, each in one spelling."""
    found: dict[str, str] = {}
    for level in sorted(levels):
        found.setdefault(_key(level), level.strip())
    return dict(sorted(found.items()))


def _z(power: float, confidence: float) -> float:
    normal = NormalDist()
    return normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(power)


def _log_ratio(difference: float, variants: int) -> float:
    """Of two shares around 1 / variants that differ by so much."""
    equal = 1 / variants
    if not 0 < difference < 2 * equal:
        came = f"difference={difference:g} of {variants} variants"
        raise ConfigError(f"{came}: above 0 and under {2 * equal:.2f} accepted, as a share; 0.03 is three points")
    return math.log((equal + difference / 2) / (equal - difference / 2))
