"""What tests of a channel say of levels: against the same model done the long way, and on channels that are known."""

import numpy as np
import pytest

from recast.errors import ConfigError
from recast.thumbnails import channel_model as model
from recast.thumbnails.channel_model import Outcome, learn, next_levels

WORTH = {"night": 0.12, "beach": 0.03, "forest": -0.02, "studio": -0.13}


def shown(*levels: str, noise: float = 0.0, impressions: int = 1_000_000, seed: int = 0) -> Outcome:
    """A test of levels that are worth WORTH."""
    worth = np.array([WORTH[level] for level in levels])
    total = np.exp(worth + np.random.default_rng(seed).normal(0, noise, len(levels)))
    return Outcome("background", levels, tuple((total / total.sum()).tolist()), impressions)


MANY = [
    shown(*levels, noise=0.03, seed=seed)
    for seed, levels in enumerate(
        [("night", "beach"), ("beach", "forest", "studio"), ("studio", "night"), ("forest", "night", "beach")] * 5
    )
]


def known(outcomes, level, *levels):
    return next(each for each in learn(outcomes, "background", levels).effects() if each.level == level)


def test_known_effects_are_recovered_from_tests_of_different_levels():
    effects = learn(MANY, "background").effects()
    assert [each.level for each in effects] == ["night", "beach", "forest", "studio"]
    for each in effects:
        assert each.sd < 0.02
        assert abs(each.mean - WORTH[each.level]) < 3 * each.sd  # WORTH sums to nought
        assert each.low < each.mean < each.high
    assert effects[0].best > 0.99
    assert effects[0].loss < 0.001 < 0.05 < effects[1].loss


def test_the_closed_form_is_the_regression_with_a_mean_for_each_test(monkeypatch):
    """With one tau and one s the posterior is that of a linear model whose means mu have a variance without end."""
    monkeypatch.setattr(model, "TAUS", np.array([0.07]))
    monkeypatch.setattr(model, "NOISES", np.array([1.3]))
    outcomes = [shown("night", "beach", impressions=9_000), shown("forest", "beach", "studio", impressions=70_000)]
    levels = sorted(WORTH)
    rows, logs, noise = [], [], []
    for i, each in enumerate(outcomes):
        for level, share in zip(each.levels, each.shares, strict=True):
            rows.append([float(level == other) for other in levels] + [float(i == j) for j in range(2)])
            logs.append(np.log(share))
            noise.append(1.3**2 * model.noise_variance(each.impressions, len(each.levels)))
    design, weight = np.array(rows), np.diag(1 / np.array(noise))
    prior = np.diag([1 / 0.07**2] * 4 + [1e-9] * 2)
    covariance = np.linalg.inv(design.T @ weight @ design + prior)
    mean = covariance @ design.T @ weight @ np.array(logs)
    center = np.eye(4) - 1 / 4
    found = learn(outcomes, "background")
    assert found.levels == tuple(levels)
    np.testing.assert_allclose(found.mean, center @ mean[:4], atol=1e-6)
    np.testing.assert_allclose(found.covariance, center @ covariance[:4, :4] @ center, atol=1e-6)


def test_the_weights_of_the_grid_are_the_likelihood_of_the_contrasts(monkeypatch):
    """Against the density of a multivariate normal, in an orthonormal basis of the contrasts."""
    kept, mixture = [], model._mixture
    monkeypatch.setattr(model, "_mixture", lambda *data: kept.append(mixture(*data)) or kept[-1])
    monkeypatch.setattr(model, "TAUS", np.array([0.05, 0.2]))
    monkeypatch.setattr(model, "NOISES", np.array([0.8, 1.5]))
    outcome = shown("night", "forest", "studio", impressions=30_000)
    learn([outcome], "background")
    seen = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]]) @ np.log(outcome.shares)
    densities = []
    for tau in (0.05, 0.2):
        for s in (0.8, 1.5):
            variance = tau**2 + s**2 * model.noise_variance(30_000, 3)
            prior = tau / (1 + (tau / model.WEAK) ** 2) * np.exp(-0.5 * (np.log(s) / model.LOG_NOISE) ** 2)
            densities.append(prior * np.exp(-0.5 * seen @ seen / variance) / variance)
    np.testing.assert_allclose(kept[0].weights, np.array(densities) / sum(densities), rtol=1e-9)


def test_draws_are_of_the_posterior_that_is_told():
    found = learn(MANY[:2], "background", ["mountains"])
    sd = np.sqrt(np.diag(found.covariance))
    np.testing.assert_allclose(found.draws.mean(0), found.mean, atol=0.03 * sd.max())
    np.testing.assert_allclose(np.cov(found.draws.T), found.covariance, atol=0.05 * sd.max() ** 2)


def test_weak_data_stay_uncertain_and_more_impressions_make_them_less_so():
    few, many = (known([shown("night", "beach", "studio", impressions=n)], "night") for n in (500, 300_000))
    assert few.best < 0.6
    assert few.low < 0 < few.high
    assert many.best > 0.85
    assert many.sd < few.sd


def test_no_number_of_impressions_makes_one_test_certain():
    """One video is one video: what it says of the next is limited by the floor."""
    assert known([shown("night", "beach", impressions=10**9)], "night").best < 0.97


def test_tests_that_disagree_are_believed_less_than_tests_that_agree():
    agree = [shown("night", "studio")] * 4
    differ = [shown("night", "studio", noise=0.15, seed=seed) for seed in range(4)]
    assert known(differ, "night").sd > 1.3 * known(agree, "night").sd


def test_the_order_of_entry_does_not_matter():
    first, again = learn(MANY, "background"), learn(MANY[::-1], "background")
    assert first.levels == again.levels
    np.testing.assert_array_equal(first.draws, again.draws)


def test_only_ratios_of_shares_count():
    outcome = shown("night", "beach", "forest")
    rounded = Outcome("background", outcome.levels, tuple(0.995 * share for share in outcome.shares), 1_000_000)
    np.testing.assert_allclose(learn([outcome], "background").mean, learn([rounded], "background").mean, atol=1e-12)


def test_levels_compare_through_one_that_both_met():
    def gap(*pairs):
        found = learn([shown(*pair) for pair in pairs] * 4, "background")
        night, studio = found.levels.index("night"), found.levels.index("studio")
        return found.draws[:, night] - found.draws[:, studio]

    met, apart = gap(("night", "beach"), ("beach", "studio")), gap(("night", "beach"), ("forest", "studio"))
    assert met.mean() == pytest.approx(0.25, abs=0.03)
    assert apart.std() > 2 * met.std()


def test_a_level_in_capitals_is_the_same_level():
    found = learn([shown("night", "beach"), Outcome("background", ("Night", "BEACH"), (0.5, 0.5))], "background")
    assert found.levels == ("BEACH", "Night")
    assert found.tests == (2, 2)


def test_other_factors_have_no_say():
    other = Outcome("text", ("night", "beach"), (0.1, 0.9))
    assert known([shown("night", "beach"), other], "night") == known([shown("night", "beach")], "night")


def test_an_untested_level_is_wide_and_has_no_claim():
    effect = known(MANY, "mountains", "mountains")
    assert (effect.tests, effect.best, effect.loss) == (0, None, None)
    assert effect.sd > 3 * known(MANY, "night").sd


def test_the_next_test_is_of_levels_that_may_be_the_best():
    found = learn(MANY, "background", ["mountains"])
    chosen = [found.next_levels(list(WORTH), count=2, seed=seed) for seed in range(50)]
    assert all("night" in each for each in chosen)
    assert sum("studio" in each for each in chosen) <= 1
    assert sum("mountains" in found.next_levels(found.levels, seed=seed) for seed in range(50)) > 10


def test_the_next_levels_are_distinct_and_the_same_for_a_seed():
    first = next_levels([], "background", ["a", "b", "c", "d"], seed=5)
    assert first == next_levels([], "background", ["d", "c", "b", "a"], seed=5)
    assert len(set(first)) == 3
    nothing = learn([], "background", ["a", "b", "c", "d"])
    assert len({nothing.next_levels(nothing.levels, seed=seed) for seed in range(20)}) > 10
    assert sorted(next_levels([], "background", ["a", "b"])) == ["a", "b"]


def test_there_is_little_to_gain_where_the_best_is_known():
    assert learn(MANY, "background").still_to_gain() < 0.002
    assert learn(MANY[:1], "background", ["mountains"]).still_to_gain() > 0.02


def test_the_impressions_needed_find_a_difference_as_often_as_they_say():
    impressions = model.impressions_needed(0.04, 3, power=0.8)
    shares = np.array([1 / 3 + 0.02, 1 / 3 - 0.02])
    sd = np.sqrt(3 * model.PER_IMPRESSION / impressions)
    drawn = np.log(shares) + np.random.default_rng(0).normal(0, sd, (20_000, 2))
    z = (drawn[:, 0] - drawn[:, 1]) / (np.sqrt(2) * sd)
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.01)


def test_smaller_differences_cost_more_and_videos_have_a_floor():
    assert model.impressions_needed(0.02) > 3.5 * model.impressions_needed(0.04)
    assert model.videos_needed(0.02, 10_000) > model.videos_needed(0.02, 1_000_000) > 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Outcome("f", ("a", "b"), (0.5,)), "2 or more"),
        (lambda: Outcome("f", ("a",), (1.0,)), "2 or more"),
        (lambda: Outcome("f", ("a", "b"), (0.0, 1.0)), "above 0"),
        (lambda: Outcome("f", ("a", "b"), (0.5, 0.5), 0), "impressions: 0"),
        (lambda: learn([], "f"), "no test and no level"),
        (lambda: next_levels([], "f", ["a", "A"]), "1 levels"),
        (lambda: next_levels([], "f", ["a", "b"], count=1), "count=1"),
        (lambda: learn([], "f", ["a", "b"]).next_levels(["a", "c"]), "a, b accepted"),
        (lambda: model.impressions_needed(0.7), "under 0.67"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(ConfigError, match=words):
        call()
