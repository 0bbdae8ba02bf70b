"""How often intervals hold the truth: coverage of those in `recast.quality`, and of simpler ones, by simulation.

    python benchmarks/statistics_coverage.py [--rounds 2000] [--only ratings few]

Nominal is 95 %, and with 2,000 rounds a figure is good to 1 point (two standard errors). Scores are normal (`normal`),
binary with 60 % (`binary`) or 93 % (`rare`) of successes, or skewed in 0..1 (`skewed`), in clusters of 3 to 15 that are
alike (intra-cluster correlation 0.14 to 0.2). The last column is how often a true null was rejected at 5 %.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import record

from recast.quality import preference, statistics

TRUTH = {"normal": 0.0, "binary": 0.6, "rare": 0.93, "skewed": 0.8}
STRENGTHS = np.array([0.6, 0.2, -0.2, -0.6])


def items(kind: str, of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A value for each item, given its cluster."""
    clusters = of.max() + 1
    if kind == "normal":
        return rng.normal(0, 0.5, clusters)[of] + rng.normal(0, 1, len(of))
    alike, mean = {"binary": (4, 0.6), "rare": (6, 0.93), "skewed": (10, 0.8)}[kind]
    chance = rng.beta(mean * alike, (1 - mean) * alike, clusters)[of]
    if kind == "skewed":
        return rng.beta(chance * 6, (1 - chance) * 6)
    return (rng.random(len(of)) < chance).astype(float)


def percentiles(values: np.ndarray, of: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """The plain percentile interval over clusters, to compare with."""
    totals, counts = np.bincount(of, values), np.bincount(of)
    drawn = rng.integers(0, len(totals), (resamples, len(totals)))
    return np.quantile(totals[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])


def bootstrap_rows(rounds: int) -> list[dict[str, Any]]:
    """Cluster bootstrap of one system, and of the difference of two that are as good."""
    rows = []
    for kind, truth in TRUTH.items():
        for clusters in (5, 10, 20, 50, 108):
            hits = np.zeros(4)
            for seed in range(rounds):
                rng = np.random.default_rng([seed, clusters])
                of = np.repeat(np.arange(clusters), rng.integers(3, 16, clusters))
                values, others = items(kind, of, rng), items(kind, of, rng)
                interval = statistics.cluster_bootstrap(values, of, resamples=1000, seed=seed)
                low, high = percentiles(values, of, 1000, rng)
                paired = statistics.paired_difference(values, others, of, resamples=1000, seed=seed)
                hits += [
                    low <= truth <= high,
                    interval.low <= truth <= interval.high,
                    paired.low <= 0 <= paired.high,
                    paired.p <= 0.05,
                ]
            shares = (100 * hits / rounds).round(1).tolist()
            names = ("percentiles %", "cluster_bootstrap %", "paired_difference %", "false alarms %")
            rows.append({"scores": kind, "clusters": clusters, **dict(zip(names, shares, strict=True))})
    return rows


def wilson_rows() -> list[dict[str, Any]]:
    """Wilson's interval, mean and least coverage over shares from 1 to 99 %: exact, by the binomial distribution."""
    from scipy.stats import binom

    rows = []
    for n in (10, 30, 92, 416):
        ends = np.array([statistics.wilson(k, n) for k in range(n + 1)])
        shares = np.linspace(0.01, 0.99, 197)
        covered = [binom.pmf(np.arange(n + 1), n, p) @ ((ends[:, 0] <= p) & (p <= ends[:, 1])) for p in shares]
        rows.append(
            {"n": n, "mean %": round(100 * float(np.mean(covered)), 1), "least %": round(100 * min(covered), 1)}
        )
    return rows


def votes(
    raters: int, images: int, count: int, taste: tuple[float, float], rng: np.random.Generator
) -> list[preference.Vote]:
    """Votes of raters and on images that each have tastes of their own, of these standard deviations."""
    by_rater, by_image = (rng.normal(0, spread, (n, 4)) for spread, n in zip(taste, (raters, images), strict=True))
    out = []
    for rater, image in zip(rng.integers(0, raters, count), rng.integers(0, images, count), strict=True):
        a, b = rng.choice(4, 2, replace=False)
        utility = STRENGTHS + by_rater[rater] + by_image[image]
        won = float(rng.random() < 1 / (1 + np.exp(utility[b] - utility[a])))
        out.append(preference.Vote(str(a), str(b), won, str(rater), str(image)))
    return out


def true_ratings(taste: tuple[float, float]) -> np.ndarray:
    """The ratings that votes of all raters on all images would give."""
    noise = np.random.default_rng(9).normal(0, np.hypot(*taste), (200_000, 4)) + STRENGTHS
    wins = [[(1 / (1 + np.exp(noise[:, j] - noise[:, i]))).mean() * (i != j) for j in range(4)] for i in range(4)]
    return preference.bradley_terry(np.array(wins), pseudo_wins=0)


def rating_rows(rounds: int) -> list[dict[str, Any]]:
    """Bradley-Terry intervals of four models, of their ratings and of all differences."""
    rows = []
    for raters, images, count, taste in (
        (20, 50, 800, (0.4, 0.4)),
        (20, 50, 800, (0.0, 0.0)),
        (10, 30, 300, (0.5, 0.3)),
        (10, 20, 600, (0.6, 0.6)),
        (30, 100, 1500, (0.3, 0.8)),
    ):
        truth, own, apart = true_ratings(taste), [], []
        for seed in range(rounds):
            rng = np.random.default_rng([seed, raters])
            found = preference.bradley_terry_interval(
                votes(raters, images, count, taste, rng), resamples=200, seed=seed
            )
            true = truth[[int(model) for model in found.models]]
            own.append((found.low <= true) & (true <= found.high))
            gap = true[:, None] - true
            apart.append(((found.difference_low <= gap) & (gap <= found.difference_high))[np.triu_indices(4, 1)])
        row = {"raters": raters, "images": images, "votes": count, "taste of raters, images": taste}
        rows.append({**row, "ratings %": 100 * float(np.mean(own)), "differences %": 100 * float(np.mean(apart))})
    return rows


def few_rows(rounds: int) -> list[dict[str, Any]]:
    """Differences of Bradley-Terry ratings by few votes of one rater, each on an image of its own.

    gap: of log strength, from each model to the next. ties: their share among equals.
    """
    rows = []
    for models, a_pair, ties in itertools.product((2, 3, 4), (3, 10, 30), (0.0, 0.6)):
        covered = []
        for gap, seed in itertools.product((0, 1, 2), range(rounds)):
            rng = np.random.default_rng([seed, models, a_pair])
            strengths = -gap * np.arange(float(models))
            out = []
            for i, j in itertools.combinations(range(models), 2):
                chance = 1 / (1 + np.exp(strengths[j] - strengths[i]))
                even = ties * min(chance, 1 - chance)  # so the mean score stays the chance
                scores = rng.choice([1.0, 0.0, 0.5], a_pair, p=[chance - even, 1 - chance - even, 2 * even])
                out += [preference.Vote(f"{i}", f"{j}", s, "one", f"{i} {j} {k}") for k, s in enumerate(scores)]
            rated = preference.bradley_terry_interval(out, resamples=100, seed=seed)
            true = preference.SCALE * (strengths[:, None] - strengths)
            is_in = ((rated.difference_low <= true) & (true <= rated.difference_high))[np.triu_indices(models, 1)]
            covered.append(is_in.mean())
        row = {"models": models, "votes a pair": a_pair, "ties": ties}
        by_gap = np.mean(np.reshape(covered, (3, rounds)), 1)
        shares = {f"gap {gap} %": round(100 * float(share), 1) for gap, share in enumerate(by_gap)}
        rows.append({**row, **shares})
    return rows


def main() -> None:
    """Simulate, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000, help="of the bootstraps; a tenth of it for ratings")
    simulations: dict[str, Callable[[int], list[dict[str, Any]]]] = {
        "wilson": lambda _: wilson_rows(),
        "bootstrap": bootstrap_rows,
        "ratings": lambda rounds: rating_rows(max(1, rounds // 10)),
        "few": lambda rounds: few_rows(max(1, rounds // 10)),
    }
    parser.add_argument("--only", nargs="+", choices=simulations, default=list(simulations), help="these alone")
    args = parser.parse_args()
    parts = {name: simulations[name](args.rounds) for name in args.only}
    for rows in parts.values():
        print(record.table(rows), end="\n\n")
    record.append("statistics_coverage", {"rounds": args.rounds, **parts})


if __name__ == "__main__":
    main()
