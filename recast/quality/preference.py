"""Votes between two pictures to ratings: Bradley-Terry with intervals for a report, Elo for a live page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recast.errors import InputError
from recast.quality.statistics import numbered, student_quantile

MEAN_RATING = 1000.0
SCALE = 400 / math.log(10)  # rating points per unit of log strength: ten times as strong is 400 points
PSEUDO_WINS = 0.5
"""Each way, for each strength that is free: what Jeffreys' prior adds, for two models exactly, for more in total (Firth
1993, Biometrika 80 (1)). At 0.5 each way for each pair that met, ratings of four models were drawn together too far."""


class Vote(NamedTuple):
    """One comparison. score: 1 if `first` won, 0 if `second` did, 0.5 for a tie."""

    first: str
    second: str
    score: float
    rater: str
    image: str


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """Ratings of `models`, with the ends of their intervals and of those of every difference [i][j] = i - j.

    The ends are None where one rater on one image leaves nothing to resample.
    """

    models: tuple[str, ...]
    values: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    difference_low: np.ndarray | None
    difference_high: np.ndarray | None

    def tied(self, a: str, b: str) -> bool:
        """Whether the interval of the difference of two models holds 0, or is not known."""
        i, j = self.models.index(a), self.models.index(b)
        if self.difference_low is None or self.difference_high is None:
            return True
        return bool(self.difference_low[i, j] <= 0 <= self.difference_high[i, j])


def bradley_terry(wins: np.ndarray, pseudo_wins: float = PSEUDO_WINS) -> np.ndarray:
    """The ratings (n,) under which wins (n, n), of row over column, are most likely: 1000 + 400 log10 strength.

    A tie is half a win each way. The geometric mean of the strengths is 1. pseudo_wins are added in both directions for
    each model but one, spread evenly over the pairs that met, so that one that never lost is not infinite.
    Raises InputError if not all models are connected.
    Source: Bradley and Terry 1952, Biometrika 39; solved by Newton's method on the log strengths.
    """
    wins = np.asarray(wins, float)
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or not (np.isfinite(wins).all() and (wins >= 0).all()):
        raise InputError(f"wins: {wins.shape} came; finite (n, n) of at least 0 accepted; count row over column")
    met = _met(wins)
    reached = np.linalg.matrix_power(met + np.eye(len(met)), len(met)) > 0
    if not reached[0].all():
        apart = np.flatnonzero(~reached[0]).tolist()
        raise InputError(
            f"wins: models {apart} never met those of model 0; one connected graph accepted; rate them apart"
        )
    return _fit(wins[None] + pseudo_wins * _prior(met))[0]


def bradley_terry_interval(
    votes: Sequence[Vote], *, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Ratings:
    """Ratings, as `bradley_terry`, with intervals over other raters and other base images.

    Raters are drawn with replacement with all their votes, then images, then cells of both, and the ratings refitted
    each time; the covariances are added as for two-way clusters, raters + images - cells (Cameron, Gelbach and Miller
    2011, Journal of Business and Economic Statistics 29 (2)), no variance below that of either alone. The interval is
    Student's, with one degree of freedom less than the fewer of raters and images. Drawing both at once (the pigeonhole
    bootstrap) counts the chance of the single vote three times, and covered up to 99.8 % in simulation; drawing single
    votes covered 67 to 94 %, this 94 to 98 %, at a nominal 95 %. Of raters or images, a single one is not drawn.

    Few votes, or votes that all agree, hardly differ between draws, so no interval is narrower than what the single
    votes leave open: the normal one of the robust variance of the penalised likelihood, as in `_by_votes`. That holds
    0 for 3 wins of 3, whose chance between equals is 1 in 4, and not for 30 of 30. By 3 to 30 votes a pair of 2 to 4
    models it covers 94 to 100 % of gaps of up to 1 in log strength from each model to the next, and 87 to 100 % at 2,
    where the first beats the fourth 998 times of 1,000 (`benchmarks/statistics_coverage.py`).
    """
    if not votes:
        raise InputError("votes: none came; at least one accepted; collect votes first")
    models = tuple(dict.fromkeys(model for vote in votes for model in (vote.first, vote.second)))
    place = {model: i for i, model in enumerate(models)}
    n = len(models)
    table = np.zeros((len(votes), n, n))
    for row, vote in zip(table, votes, strict=True):
        if vote.first == vote.second or not 0 <= vote.score <= 1:
            raise InputError(f"votes: {vote} came; two models and a score of 0, 0.5 or 1 accepted; leave it out")
        i, j = place[vote.first], place[vote.second]
        row[i, j], row[j, i] = vote.score, 1 - vote.score
    values = bradley_terry(table.sum(0))
    groups = [numbered([vote.rater for vote in votes]), numbered([vote.image for vote in votes])]
    groups = [group for group in groups if group.max() > 0]
    if not groups:
        return Ratings(models=models, values=values, low=None, high=None, difference_low=None, difference_high=None)
    cells = [numbered(list(zip(*(group.tolist() for group in groups), strict=True)))] if len(groups) == 2 else []
    rng = np.random.default_rng(seed)
    covariances = [_covariance(table, group, resamples, rng) for group in [*groups, *cells]]
    freedom = min(int(group.max()) for group in groups)
    wide = student_quantile((1 + confidence) / 2, freedom)
    least, by_votes = student_quantile((1 + confidence) / 2, math.inf), _by_votes(table, values)

    def half(variance: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Half the width of intervals of what has this variance, given a covariance of the ratings."""
        over_draws = wide * _deviation([variance(c) for c in covariances])
        return np.maximum(over_draws, least * np.sqrt(variance(by_votes)))

    own, apart, gap = half(np.diagonal), half(_of_differences), values[:, None] - values
    return Ratings(
        models=models,
        values=values,
        low=values - own,
        high=values + own,
        difference_low=gap - apart,
        difference_high=gap + apart,
    )


def online_elo(votes: Iterable[Vote], k: float = 4, start: float = MEAN_RATING, scale: float = 400) -> dict[str, float]:
    """The ratings after all votes, each moved by up to k at its votes. Their order matters: for a live page only."""
    ratings: dict[str, float] = {}
    for vote in votes:
        a, b = (ratings.setdefault(model, start) for model in (vote.first, vote.second))
        step = k * (vote.score - 1 / (1 + 10 ** ((b - a) / scale)))
        ratings[vote.first], ratings[vote.second] = a + step, b - step
    return ratings


def _met(wins: np.ndarray) -> np.ndarray:
    """Which models (n, n) were compared: 1 or 0."""
    met = (wins + wins.T > 0).astype(float)
    np.fill_diagonal(met, 0)
    return met


def _prior(met: np.ndarray) -> np.ndarray:
    """One win each way for each model but one, spread evenly over the pairs that met (n, n)."""
    return met * (len(met) - 1) / max(met.sum() / 2, 1)


def _fit(wins: np.ndarray) -> np.ndarray:
    """The ratings (b, n) of several tables of wins (b, n, n), each connected, no win being certain."""
    games, won = wins + wins.swapaxes(1, 2), wins.sum(2)
    theta = np.zeros(won.shape)
    for _ in range(100):
        chance = 1 / (1 + np.exp(theta[:, None, :] - theta[:, :, None]))
        slope = won - (games * chance).sum(2)
        weight = games * chance * (1 - chance)
        # The ones fix what games leave open, the sum of the log strengths, at 0.
        curve = weight.sum(2)[:, :, None] * np.eye(won.shape[1]) - weight + weight.mean((1, 2), keepdims=True)
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        step *= np.minimum(1, 1 / np.maximum(abs(step).max(1, keepdims=True), 1e-12))
        theta = theta + step
        if abs(step).max() < 1e-9:
            break
    return MEAN_RATING + SCALE * (theta - theta.mean(1, keepdims=True))


def _covariance(table: np.ndarray, group: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """The covariance (n, n) of the ratings when the groups of votes (v, n, n) are drawn again."""
    size, n = int(group.max()) + 1, table.shape[1]
    sums = np.zeros((size, n * n))
    np.add.at(sums, group, table.reshape(len(table), -1))
    pseudo = PSEUDO_WINS * _prior(_met(table.sum(0)))
    draws = rng.multinomial(size, np.full(size, 1 / size), resamples).astype(float)
    ratings = _fit((draws @ sums).reshape(resamples, n, n) + pseudo)
    return np.cov(ratings.T).reshape(n, n) * size / (size - 1)


def _by_votes(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The covariance (n, n) of ratings (n,) if each vote (v, n, n) were drawn by itself, and the pseudo wins with them.

    It is the sandwich H^-1 M H^-1, with H the Fisher information and M the squares of what each vote is off its chance
    (White 1982, Econometrica 50 (1)). For two models without ties M is H, and the variance of their difference is
    1 / (wins + 0.5) + 1 / (losses + 0.5) (Gart and Zweifel 1967, Biometrika 54), whose intervals cover enough in small
    samples (Agresti 1999, Biometrics 55 (2)) unless the gap is extreme. Ties, closer to their chance, narrow it.
    """
    won, squares = table.sum(0), (table**2).sum(0)
    prior = PSEUDO_WINS * _prior(_met(won))
    games = won + won.T
    chance = 1 / (1 + np.exp((values - values[:, None]) / SCALE))  # of row over column
    weight = (games + 2 * prior) * chance * (1 - chance)
    off = squares - 2 * chance * won + games * chance**2 + prior * (chance**2 + (1 - chance) ** 2)
    np.fill_diagonal(off, 0)
    inverse = np.linalg.inv(np.diag(weight.sum(1)) - weight + weight.mean())  # the mean: as in `_fit`
    return SCALE**2 * inverse @ (np.diag(off.sum(1)) - off) @ inverse


def _of_differences(covariance: np.ndarray) -> np.ndarray:
    """The variances (n, n) of all differences, given the covariance (n, n)."""
    variance = covariance.diagonal()
    return np.maximum(variance[:, None] + variance - 2 * covariance, 0)


def _deviation(variances: list[np.ndarray]) -> np.ndarray:
    """The root of raters' + images' - cells' variance, no less than either; of the one, if there is one."""
    if len(variances) == 1:
        return np.sqrt(variances[0])
    raters, images, cells = variances
    return np.sqrt(np.maximum(raters + images - cells, np.maximum(raters, images)))
