"""Laws of times against their distribution functions."""

import math

import pytest
import torch

from recast.errors import ConfigError
from recast.flow import schedule
from recast.train.times import TimeLaw

LAWS = {
    "logit_normal": TimeLaw(mu=0.0, uniform_share=0.0),
    "shifted": TimeLaw(mu=math.log(3.0), uniform_share=0.0),
    "narrow": TimeLaw(mu=0.4, sigma=0.5, uniform_share=0.1),
    "by resolution": TimeLaw(),
    "uniform": TimeLaw(kind="uniform", mu=0.0),
    "shifted uniform": TimeLaw(kind="uniform", mu=1.0),
    "mode": TimeLaw(kind="mode", mu=0.0),
    "shifted mode": TimeLaw(kind="mode", mu=0.7, scale=-0.5),
}


def draw(law: TimeLaw, count: int, tokens: int = 1024) -> torch.Tensor:
    choice, quantile = torch.rand(2, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return law.times(choice, quantile, tokens)


@pytest.mark.parametrize("name", LAWS)
def test_the_histogram_of_draws_is_the_distribution_function(name: str):
    """Kolmogorov and Smirnov's distance below 0.01 at 1e5 draws."""
    drawn = draw(LAWS[name], 100_000).double().sort().values
    ranks = torch.arange(1, len(drawn) + 1, dtype=torch.float64) / len(drawn)
    assert float((LAWS[name].cdf(drawn, 1024) - ranks).abs().max()) < 0.01
    edges = LAWS[name].cdf(torch.tensor([0.0, 1.0]), 1024)
    torch.testing.assert_close(edges, torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_the_laws_differ_from_each_other():
    """So that the test above cannot pass by a function that ignores the law."""
    middle = {name: round(float(law.cdf(torch.tensor([0.3]), 1024)), 3) for name, law in LAWS.items()}
    assert len(set(middle.values())) == len(LAWS)


def test_the_mean_of_the_logit_is_mu():
    law = TimeLaw(mu=1.0986, uniform_share=0.0)
    logits = torch.logit(draw(law, 100_000).double())
    assert float(logits.mean()) == pytest.approx(1.0986, abs=0.01)
    assert float(logits.std()) == pytest.approx(1.0, abs=0.01)


def test_the_shift_is_the_schedules():
    """Even times, shifted by resolution, are the times that a sampler walks."""
    law = TimeLaw(kind="uniform", uniform_share=0.0)
    even = torch.linspace(1, 0, 9)
    walked = schedule.times(8, mu=schedule.resolution_shift(4096))
    torch.testing.assert_close(law.times(torch.ones(9), even, 4096), torch.tensor(walked))


def test_mode_is_even_without_its_scale_and_crowds_the_middle_with_it():
    even, mode = TimeLaw(kind="mode", mu=0.0, scale=0.0), TimeLaw(kind="mode", mu=0.0)
    t = torch.linspace(0, 1, 11)
    torch.testing.assert_close(even.cdf(t, 1), TimeLaw(kind="uniform", mu=0.0).cdf(t, 1))
    inside = mode.cdf(torch.tensor([0.25, 0.75]), 1)
    assert float(inside[1] - inside[0]) > 0.6


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"kind": "normal"}, "kind"),
        ({"sigma": 0.0}, "sigma"),
        ({"scale": 2.0}, "scale"),
        ({"uniform_share": 2.0}, "un"),
    ],
)
def test_what_cannot_be_a_law_is_refused(change: dict[str, object], name: str):
    with pytest.raises(ConfigError, match=f"^{name}.*accepted"):
        TimeLaw(**change)  # type: ignore[arg-type]
