"""Does the model of a channel find the best level of a factor with fewer tests than choosing at random?

    python benchmarks/simulated_channel.py [--channels 200] [--most 30] [--workers 1]

Each simulated channel has a click rate of 2 to 10 %, watch times per click whose spread is 0.7 to 1.4 of their mean,
and levels worth more or less by a spread of 5 to 15 %. A test shows three of them to even parts of some 60,000
impressions (a factor of two either way): clicks are binomial, watch times gamma, and what a level is worth differs from
video to video (Student's t of 4 degrees, standard deviation 3 %). Shares are rounded to 0.1 %, as they are shown. None
of this is the model's own likelihood. `alike` are channels whose levels are all worth the same: nothing is to be found.

Compared: the model's choice (`next_levels`), three at random, the three least tested, and the habit of keeping the last
winner against two at random. All are judged by the same posterior: tests until it gives the truly best level at least
0.9; `most` where it has not by then. `right` is how often the first level that reached 0.9 was the best one, `lost`
what watch time a test costs against showing the best alone, `covered` how often 90 % intervals held the truth after
three tests. Intervals are 95 %, over channels; the channels are the same for all.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import record

from recast.quality import statistics
from recast.thumbnails.channel_model import Outcome, Posterior, learn

SURE = 0.9
DRAWS = 1000
COVERED_AFTER = 3
ALIKE_TESTS = 10
LEVELS = (4, 6, 10)
FACTOR = "background"
Choice = Callable[[Posterior, "list[Outcome]", np.random.Generator], Sequence[str]]


@dataclass(frozen=True)
class Truth:
    """A channel: what each level is worth (log watch time), its click rate, and the shape of its watch times."""

    levels: tuple[str, ...]
    worth: np.ndarray
    clicks: float
    shape: float

    @property
    def best(self) -> int:
        return int(self.worth.argmax())


@dataclass(frozen=True)
class Course:
    """How one channel went under one choice. tests: until found, or all. is_right: whether what first reached SURE was
    the best; None where nothing did. lost: a test. covered: share of intervals that held, after COVERED_AFTER.
    """

    tests: int
    is_found: bool
    is_right: bool | None
    lost: float
    covered: float


def main() -> None:
    """Simulate, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=200, help="of each kind")
    parser.add_argument("--most", type=int, default=30, help="tests of a channel")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    args = parser.parse_args()
    shown = look_alikes(2000)
    print(f"three look-alikes, mean of 2,000 tests, in order: {' / '.join(f'{each:.1f}' for each in shown)} %\n")
    parts: dict[str, Any] = {"look_alikes": shown}
    with ProcessPoolExecutor(args.workers) as pool:
        work = {
            (count, choice): pool.submit(run, choice, count, args.channels, args.most)
            for count in LEVELS
            for choice in CHOICES
        }
        alike = pool.submit(run, "model", LEVELS[0], args.channels, ALIKE_TESTS, is_alike=True)
        for count in LEVELS:
            courses = {choice: work[count, choice].result() for choice in CHOICES}
            parts[f"{count} levels"] = rows = [row(choice, courses, args.most) for choice in CHOICES]
            print(f"{count} levels, {args.channels} channels\n{record.table(rows)}\n", flush=True)
        alarms = [each.is_right is not None for each in alike.result()]
    parts["alike"] = {"tests": ALIKE_TESTS, "sure of a level %": percent(alarms)}
    print(f"alike, {LEVELS[0]} levels: sure of one at some time in {ALIKE_TESTS} tests: {percent(alarms)} %")
    record.append("simulated_channel", {"channels": args.channels, "most": args.most, "sure": SURE, **parts})


def run(choice: str, count: int, channels: int, most: int, *, is_alike: bool = False) -> list[Course]:
    """The same channels for every choice; chance of its own for each."""
    found = []
    for index in range(channels):
        truth = channel(count, np.random.default_rng([index, count]), is_alike=is_alike)
        rng = np.random.default_rng([index, count, zlib.crc32(choice.encode())])
        found.append(course(truth, CHOICES[choice], most, rng))
    return found


def channel(count: int, rng: np.random.Generator, *, is_alike: bool = False) -> Truth:
    """A channel at random."""
    spread = 0.0 if is_alike else rng.uniform(0.05, 0.15)
    levels = tuple(f"level {i}" for i in range(count))
    return Truth(
        levels, rng.normal(0, spread, count), float(np.exp(rng.uniform(*np.log((0.02, 0.1))))), rng.uniform(0.5, 2)
    )


def course(truth: Truth, choose: Choice, most: int, rng: np.random.Generator) -> Course:
    """Test until the posterior is sure of the truly best level, at most so often."""
    outcomes: list[Outcome] = []
    known = learn(outcomes, FACTOR, truth.levels, draws=DRAWS)
    is_right, found, lost, held = None, None, 0.0, 0.0
    while True:
        levels = choose(known, outcomes, rng)
        outcomes.append(tested(truth, levels, rng))
        lost += truth.worth.max() - np.mean([truth.worth[truth.levels.index(level)] for level in levels])
        known = learn(outcomes, FACTOR, truth.levels, draws=DRAWS)
        chance = np.bincount(known.draws.argmax(1), minlength=len(truth.levels)) / DRAWS
        if is_right is None and chance.max() >= SURE:
            is_right = int(chance.argmax()) == truth.best
        if len(outcomes) == COVERED_AFTER:
            held = covered(known, truth)
        if found is None and chance[truth.best] >= SURE:
            found = len(outcomes)
        if (found is not None and len(outcomes) >= COVERED_AFTER) or len(outcomes) == most:
            return Course(found or most, found is not None, is_right, lost / len(outcomes), held)


def tested(truth: Truth, levels: Sequence[str], rng: np.random.Generator) -> Outcome:
    """One test of one video, as the platform reports it."""
    impressions = int(60_000 * np.exp(rng.uniform(-1, 1) * np.log(2)))
    here = 0.03 * rng.standard_t(4, len(levels)) / np.sqrt(2)  # of variance 4 / (4 - 2)
    worth = truth.worth[[truth.levels.index(level) for level in levels]] + here
    clicks = rng.binomial(impressions // len(levels), np.clip(truth.clicks * np.exp(worth), 0, 1))
    times = rng.gamma(np.maximum(clicks, 1) * truth.shape)
    shares = np.maximum(np.round(times / times.sum(), 3), 0.001)
    return Outcome(FACTOR, tuple(levels), tuple(shares.tolist()), impressions)


def look_alikes(tests: int) -> list[float]:
    """The largest, middle and least share, in percent, of three variants that are worth the same."""
    rng = np.random.default_rng(0)
    shares = [sorted(tested(channel(3, rng, is_alike=True), ("level 0", "level 1", "level 2"), rng).shares)[::-1]
              for _ in range(tests)]  # fmt: skip
    return [round(100 * float(each), 1) for each in np.mean(shares, 0)]


def covered(known: Posterior, truth: Truth) -> float:
    """The share of levels tested whose interval holds what they are worth against the mean of those tested."""
    effects = [each for each in known.effects() if each.tests]
    worth = np.array([truth.worth[truth.levels.index(each.level)] for each in effects])
    worth -= worth.mean()
    return float(np.mean([each.low <= value <= each.high for each, value in zip(effects, worth, strict=True)]))


def row(choice: str, courses: dict[str, list[Course]], most: int) -> dict[str, Any]:
    """One line of the table."""
    mine, chance = courses[choice], courses["random"]
    tests, others = (np.array([each.tests for each in some]) for some in (mine, chance))
    index = np.arange(len(mine))
    mean = statistics.cluster_bootstrap(tests, index, resamples=2000)
    fewer = statistics.paired_difference(tests, others, index, resamples=2000)
    right = [each.is_right for each in mine if each.is_right is not None]
    return {
        "choice": choice,
        "tests, median": float(np.median(tests)),
        "mean": f"{mean.value:.1f} [{mean.low:.1f}, {mean.high:.1f}]",
        "against random": "–" if choice == "random" else f"{fewer.value:+.1f} [{fewer.low:+.1f}, {fewer.high:+.1f}]",
        f"found in {most} %": round(100 * float(np.mean([each.is_found for each in mine])), 1),
        "right %": percent(right),
        "lost % a test": round(100 * float(np.mean([each.lost for each in mine])), 1),
        "covered %": round(100 * float(np.mean([each.covered for each in mine])), 1),
    }


def percent(truths: Sequence[bool]) -> str:
    """The share of what is true, with its interval."""
    low, high = statistics.wilson(sum(truths), len(truths))
    return f"{100 * sum(truths) / len(truths):.0f} [{100 * low:.0f}, {100 * high:.0f}]"


def by_model(known: Posterior, outcomes: list[Outcome], rng: np.random.Generator) -> Sequence[str]:
    return known.next_levels(known.levels, seed=int(rng.integers(2**31)))


def at_random(known: Posterior, outcomes: list[Outcome], rng: np.random.Generator) -> Sequence[str]:
    return rng.choice(known.levels, 3, replace=False).tolist()


def least_tested(known: Posterior, outcomes: list[Outcome], rng: np.random.Generator) -> Sequence[str]:
    order = np.lexsort((rng.random(len(known.levels)), known.tests))
    return [known.levels[i] for i in order[:3]]


def winner_stays(known: Posterior, outcomes: list[Outcome], rng: np.random.Generator) -> Sequence[str]:
    if not outcomes:
        return at_random(known, outcomes, rng)
    last = outcomes[-1]
    winner = last.levels[int(np.argmax(last.shares))]
    return [winner, *rng.choice([each for each in known.levels if each != winner], 2, replace=False).tolist()]


CHOICES: dict[str, Choice] = {
    "random": at_random,
    "least tested": least_tested,
    "winner stays": winner_stays,
    "model": by_model,
}


if __name__ == "__main__":
    main()
