"""Samplers against what mathematics says."""

import math

import pytest
import torch

from recast.flow.guidance import guided
from recast.flow.sampler import adams_bashforth_2, dpm_solver_2m, euler, held, heun, renoise
from recast.flow.schedule import times

MULTISTEP = [adams_bashforth_2, dpm_solver_2m]
ALONG_THE_FIELD = [euler, heun, *MULTISTEP]


def grid(steps: int) -> list[float]:
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64).tolist()


@pytest.mark.parametrize("steps", [1, 3, 8])
@pytest.mark.parametrize("walk", [*ALONG_THE_FIELD, renoise(lambda: torch.zeros(2, 5, 3, dtype=torch.float64))])
def test_a_sampler_lands_on_the_only_picture_there_is(walk, steps: int):
    """If `clean` is the only picture, velocity = (x - clean) / t, so any number of steps of any sampler lands on it."""
    clean, noise = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    *_, last = walk(lambda x, t: (x - clean) / t, noise, grid(steps))
    torch.testing.assert_close(last.x, clean)
    assert last.t == 0


def _error(walk, steps: int) -> float:
    """Distance from the exact solution of dx/dt = a x, walked from t = 1 to t = 0."""
    start = torch.ones(1, 1, 1, dtype=torch.float64)
    *_, last = walk(lambda x, t: 1.3 * x, start, grid(steps))
    return abs(last.x.item() - math.exp(-1.3))


def test_euler_is_of_first_and_heun_of_second_order():
    """Twice the steps: half Euler's error, a quarter of Heun's, but for Heun's last step, which is Euler's."""
    assert _error(euler, 64) / _error(euler, 128) == pytest.approx(2, rel=0.05)
    assert _error(heun, 64) / _error(heun, 128) == pytest.approx(4, rel=0.15)
    assert _error(heun, 32) < _error(euler, 64) / 5  # at equal evaluations


def _error_on(walk, ts: list[float]) -> float:
    """Distance at the last time from the solution of dx/dt = 3 cos(3 t) x, which is e^sin(3 t) but for a factor."""
    start = torch.ones(1, 1, 1, dtype=torch.float64)
    *_, last = walk(lambda x, t: 3 * math.cos(3 * t) * x, start, ts)
    return abs(last.x.item() - math.exp(math.sin(3 * ts[-1]) - math.sin(3 * ts[0])))


def uneven(steps: int, first: float, last: float) -> list[float]:
    """Times from first to last whose steps become twice, or half, as long on the way, and long and short in turn."""
    even = [k / steps for k in range(steps + 1)]
    turned = [u + 0.15 * math.sin(math.pi * u) + (k % 2) * 0.25 / steps for k, u in enumerate(even)]
    turned[0], turned[-1] = 0.0, 1.0
    return [first + (last - first) * u for u in turned]


@pytest.mark.parametrize(
    ("walk", "ends", "ratio"),
    [
        (adams_bashforth_2, (1.0, 0.0), 4),
        (adams_bashforth_2, (0.95, 0.05), 4),
        (dpm_solver_2m, (0.95, 0.05), 4),
        (dpm_solver_2m, (1.0, 0.0), 4 * math.log(512) / math.log(1024)),  # lambda is infinite at both ends
    ],
)
def test_multistep_samplers_are_of_second_order_on_uneven_times(walk, ends, ratio):
    """Twice the steps: a quarter of the error, where Euler has half."""
    errors = [_error_on(walk, uneven(steps, *ends)) for steps in (512, 1024)]
    assert errors[0] / errors[1] == pytest.approx(ratio, rel=0.1)
    assert errors[0] < _error_on(euler, uneven(512, *ends)) / 10


@pytest.mark.parametrize("walk", MULTISTEP)
def test_multistep_samplers_cost_one_evaluation_a_step(walk):
    calls = []
    list(walk(lambda x, t: calls.append(t) or x, torch.ones(1, 1, 1), grid(4)))
    assert calls == grid(4)[:-1]


@pytest.mark.parametrize("walk", MULTISTEP)
def test_on_a_straight_path_multistep_samplers_walk_as_euler_does(walk):
    noise, v = torch.randn(2, 1, 4, 2, dtype=torch.float64)
    ts = uneven(7, 1.0, 0.0)
    for mine, plain in zip(walk(lambda x, t: v, noise, ts), euler(lambda x, t: v, noise, ts), strict=True):
        torch.testing.assert_close(mine, plain)


def test_heun_costs_two_evaluations_a_step_but_one_at_the_end():
    calls = []
    list(heun(lambda x, t: calls.append(t) or x, torch.ones(1, 1, 1), grid(4)))
    assert len(calls) == 7
    assert 0 not in calls


def test_a_state_carries_the_predicted_clean_picture_and_its_time():
    clean, noise = torch.randn(2, 1, 4, 2, dtype=torch.float64)
    states = list(euler(lambda x, t: noise - clean, noise, grid(4)))
    assert [state.t for state in states] == pytest.approx([0.75, 0.5, 0.25, 0])
    for state in states:
        torch.testing.assert_close(state.clean, clean)


def test_stopping_the_iterator_stops_the_work():
    calls = []
    steps = euler(lambda x, t: calls.append(t) or x, torch.ones(1, 1, 1), grid(8))
    next(steps), next(steps)
    steps.close()
    assert len(calls) == 2


def test_renoising_goes_back_up_with_fresh_noise_each_time():
    drawn = iter(torch.randn(3, 1, 4, 2))
    kept: list[torch.Tensor] = []

    def fresh() -> torch.Tensor:
        kept.append(next(drawn))
        return kept[-1]

    states = list(renoise(fresh)(lambda x, t: x / t, torch.randn(1, 4, 2), [1.0, 0.6, 0.2, 0.0]))
    # x / t points at a clean picture of zeros, so each state is its own fresh noise, scaled by t
    torch.testing.assert_close(states[0].x, 0.6 * kept[0])
    torch.testing.assert_close(states[1].x, 0.2 * kept[1])
    assert len(kept) == 2  # none for the last jump, to t = 0
    assert states[2].x.abs().max() < 1e-6


def test_guidance_moves_away_from_the_unwanted_velocity():
    wanted, unwanted = torch.tensor([1.0]), torch.tensor([0.25])
    x = torch.zeros(1)
    assert guided(lambda x, t: wanted, lambda x, t: unwanted, 3.0)(x, 0.5).item() == pytest.approx(2.5)
    assert guided(lambda x, t: wanted, lambda x, t: unwanted, 0.0)(x, 0.5).item() == pytest.approx(0.25)


def test_guidance_of_one_costs_one_evaluation():
    def never(x, t):
        raise AssertionError("the unwanted velocity was evaluated")

    def wanted(x, t):
        return x

    assert guided(wanted, never, 1.0)(torch.ones(1), 0.5).item() == 1


def test_euler_walks_the_published_grid():
    *_, last = euler(lambda x, t: torch.ones_like(x), torch.zeros(1, 1, 1, dtype=torch.float64), times(4, mu=1.15))
    assert last.x.item() == pytest.approx(-1)


@pytest.mark.parametrize("walk", [*ALONG_THE_FIELD, renoise(lambda: torch.randn(2, 5, 3, dtype=torch.float64))])
def test_held_tokens_walk_the_straight_path_of_their_own_clean_end(walk):
    """To (1 - t) clean + t noise at each time, with the noise of the start, and to clean itself, bit for bit."""
    clean, noise, other = torch.randn(3, 2, 5, 3, dtype=torch.float64)
    mask = torch.tensor([[True, False, True, False, False], [True, True, True, True, False]])
    states = list(held(walk, clean, lambda: mask)(lambda x, t: (x - other) / t, noise, grid(4)))
    for state in states:
        torch.testing.assert_close(state.x[~mask], ((1 - state.t) * clean + state.t * noise)[~mask])
        assert torch.equal(state.clean[~mask], clean[~mask])
    assert torch.equal(states[-1].x[~mask], clean[~mask])
    torch.testing.assert_close(states[-1].x[mask], other[mask])


@pytest.mark.parametrize("walk", ALONG_THE_FIELD)
def test_holding_nothing_changes_nothing(walk):
    noise = torch.randn(1, 5, 3, dtype=torch.float64)
    free = list(walk(lambda x, t: torch.sin(x) * t, noise, grid(5)))
    bound = list(held(walk, noise * 0, lambda: None)(lambda x, t: torch.sin(x) * t, noise, grid(5)))
    assert all(torch.equal(a.x, b.x) and torch.equal(a.clean, b.clean) for a, b in zip(free, bound, strict=True))


def test_a_mask_may_be_narrowed_on_the_way():
    clean, noise, other = torch.randn(3, 1, 4, 2, dtype=torch.float64)
    now = [torch.tensor([[True, True, True, False]])]
    states = held(euler, clean, lambda: now[0])(lambda x, t: (x - other) / t, noise, grid(4))
    next(states)
    now[0] = torch.tensor([[True, False, False, False]])
    *_, last = states
    assert torch.equal(last.x[0, 1:], clean[0, 1:])
    torch.testing.assert_close(last.x[0, 0], other[0, 0])


@pytest.mark.parametrize("walk", ALONG_THE_FIELD)
def test_free_tokens_walk_as_if_none_were_held(walk):
    """With a velocity that looks at each token alone: so a sampler's memory of earlier steps survives the holding."""
    noise, clean = torch.randn(2, 1, 5, 3, dtype=torch.float64)
    mask = torch.tensor([[True, False, True, False, False]])
    free = list(walk(lambda x, t: torch.sin(3 * x) * t, noise, grid(5)))
    bound = list(held(walk, clean, lambda: mask)(lambda x, t: torch.sin(3 * x) * t, noise, grid(5)))
    for a, b in zip(free, bound, strict=True):
        assert torch.equal(a.x[mask], b.x[mask])
        assert torch.equal(a.clean[mask], b.clean[mask])


@pytest.mark.parametrize("walk", ALONG_THE_FIELD)
def test_the_velocity_of_held_tokens_is_not_used(walk):
    noise, clean = torch.randn(2, 1, 5, 3, dtype=torch.float64)
    mask = torch.tensor([[True, False, True, False, False]])

    def mixing(x, t):  # every token sees all others
        return torch.sin(x + x.mean(dim=1, keepdim=True))

    def careless(x, t):
        return torch.where(mask[..., None], mixing(x, t), 1e6)

    walks = [list(held(walk, clean, lambda: mask)(velocity, noise, grid(5))) for velocity in (mixing, careless)]
    for a, b in zip(*walks, strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.clean, b.clean)
