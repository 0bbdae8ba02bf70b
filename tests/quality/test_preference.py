"""Votes become the ratings they imply, with intervals that hold for other raters and other pictures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.errors import InputError
from recast.quality.preference import SCALE, Vote, bradley_terry, bradley_terry_interval, online_elo

WINS = np.array([[0, 70, 80], [30, 0, 60], [20, 40, 0]])


def voted(
    seed: int, raters: int = 12, images: int = 20, count: int = 300, spread: float = 0.6, gap: float = 0.4
) -> list[Vote]:
    """Votes for "a", "b", "c", each `gap` of log strength below the last, by raters and on images with own tastes."""
    rng = np.random.default_rng(seed)
    by_rater, by_image = rng.normal(0, spread, (raters, 3)), rng.normal(0, spread, (images, 3))
    votes = []
    for rater, image in zip(rng.integers(0, raters, count), rng.integers(0, images, count), strict=True):
        i, j = rng.choice(3, 2, replace=False)
        utility = -gap * np.arange(3) + by_rater[rater] + by_image[image]
        won = float(rng.random() < 1 / (1 + math.exp(utility[j] - utility[i])))
        votes.append(Vote("abc"[i], "abc"[j], won, f"rater {rater}", f"image {image}"))
    return votes


def test_bradley_terry_of_a_known_table():
    ratings = bradley_terry(WINS, pseudo_wins=0)
    np.testing.assert_allclose(10 ** ((ratings - 1000) / 400), [2.0971, 0.8615, 0.5535], atol=6e-5)
    np.testing.assert_allclose(ratings, [1128.7, 974.1, 897.3], atol=0.06)


def test_a_parametric_bootstrap_of_the_known_table_has_the_known_spread():
    rng, games = np.random.default_rng(0), WINS + WINS.T
    strengths = 10 ** (bradley_terry(WINS, 0) / 400)
    chance = strengths[:, None] / (strengths[:, None] + strengths)
    drawn = []
    for _ in range(1000):
        won = np.triu(rng.binomial(games, chance), 1)
        drawn.append(bradley_terry(won + np.tril(games - won.T, -1), 0))
    np.testing.assert_allclose(
        np.quantile(drawn, [0.025, 0.975], axis=0).T, [[1093, 1169], [939, 1010], [859, 932]], atol=5
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=6, max_size=6))
def test_ratings_meet_their_equations(counts):
    """At the maximum each model's wins are those its strength predicts, and the geometric mean is 1."""
    wins = np.zeros((3, 3))
    wins[~np.eye(3, dtype=bool)] = np.array(counts) + 0.5
    strengths = 10 ** ((bradley_terry(wins, 0) - 1000) / 400)
    chance = strengths[:, None] / (strengths[:, None] + strengths)
    np.testing.assert_allclose(wins.sum(1), ((wins + wins.T) * chance).sum(1), rtol=1e-6)
    assert np.prod(strengths) == pytest.approx(1)


def test_who_never_lost_is_finite_and_first():
    ratings = bradley_terry(np.array([[0, 500, 500], [0, 0, 3], [0, 7, 0]]))
    assert np.isfinite(ratings).all()
    assert ratings.argsort().tolist() == [1, 2, 0]


def test_models_that_never_met_have_no_common_scale():
    wins = np.zeros((4, 4))
    wins[0, 1] = wins[2, 3] = 5
    with pytest.raises(InputError, match=r"models \[2, 3\] never met"):
        bradley_terry(wins)


def test_a_tie_is_half_a_win_each_way():
    ties = [Vote("a", "b", 0.5, "r", f"{i}") for i in range(10)]
    found = bradley_terry_interval(ties, resamples=50)
    np.testing.assert_allclose(found.values, 1000)
    assert found.tied("a", "b")


def test_intervals_cover_at_their_nominal_rate_over_raters_and_images():
    """A reduced simulation: 80 rounds of three differences, that hang together, so 3 standard errors are 0.073."""
    noise = np.random.default_rng(9).normal(0, 0.6 * math.sqrt(2), (200_000, 3)) - 0.4 * np.arange(3)
    mean = [[(1 / (1 + np.exp(noise[:, j] - noise[:, i]))).mean() * (i != j) for j in range(3)] for i in range(3)]
    truth = bradley_terry(np.array(mean), 0)
    own, apart = [], []
    for seed in range(80):
        found = bradley_terry_interval(voted(seed), resamples=150, seed=seed)
        true = truth[["abc".index(model) for model in found.models]]
        own += [(found.low <= true) & (true <= found.high)]
        gap = true[:, None] - true
        apart += [((found.difference_low <= gap) & (gap <= found.difference_high))[np.triu_indices(3, 1)]]
    assert np.mean(own) == pytest.approx(0.95, abs=0.05)
    assert np.mean(apart) == pytest.approx(0.95, abs=0.05)


def of_one_rater(scores: list[float], pair: str = "ab") -> list[Vote]:
    """A vote for each score, each on an image of its own."""
    return [Vote(*pair, score, "me", f"{pair} {i}") for i, score in enumerate(scores)]


@pytest.mark.parametrize(("votes", "are_told_apart"), [(3, False), (5, False), (30, True)])
def test_votes_that_all_agree_leave_open_what_so_few_can(votes, are_told_apart):
    """By chance 3 of 3 agree in 1 of 4 cases; the width is that of Gart and Zweifel, for no draw differs."""
    found = bradley_terry_interval(of_one_rater([1] * votes), resamples=50)
    assert found.tied("a", "b") != are_told_apart
    half = 1.959964 * SCALE * math.sqrt(1 / (votes + 0.5) + 1 / 0.5)
    assert found.difference_high[0, 1] - (found.values[0] - found.values[1]) == pytest.approx(half)
    assert found.high[0] - found.values[0] == pytest.approx(half / 2)


@pytest.mark.parametrize("count", [3, 10])
def test_intervals_of_few_votes_cover(count):
    """Over all the outcomes that `count` votes can have, by their chances, up to 88 wins of 100."""
    outcomes = [[1.0] * k + [0.0] * (count - k) for k in range(count + 1)]
    found = [bradley_terry_interval(of_one_rater(scores), resamples=50) for scores in outcomes]
    for gap in (0, 1, 2):
        chance = 1 / (1 + math.exp(-gap))
        covered = sum(
            math.comb(count, k) * chance**k * (1 - chance) ** (count - k)
            for k, each in enumerate(found)
            if each.difference_low[0, 1] <= SCALE * gap <= each.difference_high[0, 1]
        )
        assert covered > 0.94


def test_intervals_of_few_votes_on_four_models_cover():
    """The strongest beats the weakest 998 times of 1,000: a larger prior would draw the two together."""
    true, hits = -2 * np.arange(4.0), []
    for seed in range(100):
        rng, votes = np.random.default_rng(seed), []
        for pair in ("ab", "ac", "ad", "bc", "bd", "cd"):
            i, j = ("abcd".index(name) for name in pair)
            votes += of_one_rater((rng.random(7) < 1 / (1 + math.exp(true[j] - true[i]))).astype(float).tolist(), pair)
        found = bradley_terry_interval(votes, resamples=50, seed=seed)
        gap = SCALE * (true[:, None] - true)
        hits.append(((found.difference_low <= gap) & (gap <= found.difference_high))[np.triu_indices(4, 1)])
    assert np.mean(hits) > 0.88


def test_ties_say_more_of_a_small_gap_than_wins_each_way():
    ties, wins = (bradley_terry_interval(of_one_rater(s), resamples=50) for s in ([0.5] * 10, [0.0, 1.0] * 5))
    assert 0 < ties.high[0] - 1000 < 0.5 * (wins.high[0] - 1000)


def test_raters_of_one_mind_count_as_one():
    """The same votes, by 40 raters or by 4 who always vote alike: the second are a tenth of the evidence."""
    rng = np.random.default_rng(0)
    wins = (rng.random((40, 5)) < 0.6).astype(float)
    many = [Vote("a", "b", won, f"{r}", f"{i}") for r, row in enumerate(wins) for i, won in enumerate(row)]
    few = [
        vote._replace(score=wins[int(vote.rater) // 10, int(vote.image)], rater=f"{int(vote.rater) // 10}")
        for vote in many
    ]
    widths = [(f := bradley_terry_interval(votes, resamples=300)).high[0] - f.low[0] for votes in (many, few)]
    assert widths[1] > 1.5 * widths[0]


def test_one_rater_is_not_resampled_and_one_vote_leaves_no_interval():
    alone = [vote._replace(rater="me") for vote in voted(0)]
    assert (bradley_terry_interval(alone, resamples=50).high > 1000).any()
    single = bradley_terry_interval([Vote("a", "b", 1, "me", "one")] * 9)
    assert single.low is None
    assert single.tied("a", "b")


def test_a_clear_winner_is_not_tied():
    found = bradley_terry_interval(voted(0, spread=0.1, gap=1.5), resamples=200)
    assert not found.tied("a", "c")
    assert bradley_terry_interval(voted(0, gap=0), resamples=200).tied("a", "b")


def test_elo_moves_by_k_times_the_surprise_and_keeps_the_sum():
    vote = Vote("a", "b", 1, "r", "i")
    first = online_elo([vote])
    assert first == {"a": 1002, "b": 998}
    second = online_elo([vote, vote])
    assert second["a"] == pytest.approx(1002 + 4 * (1 - 1 / (1 + 10 ** (-4 / 400))))
    assert sum(online_elo(voted(0)).values()) == pytest.approx(3000)


@pytest.mark.parametrize("vote", [Vote("a", "a", 1, "r", "i"), Vote("a", "b", 2, "r", "i")])
def test_a_vote_between_two_models_is_needed(vote):
    with pytest.raises(InputError, match="votes"):
        bradley_terry_interval([vote])
