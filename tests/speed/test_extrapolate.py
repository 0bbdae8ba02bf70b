"""Velocities between evaluations, from those before."""

from functools import partial
from itertools import pairwise

import pytest
import torch

from recast.errors import ConfigError
from recast.flow.sampler import adams_bashforth_2, dpm_solver_2m, euler, held, heun, renoise
from recast.speed.extrapolate import extrapolate
from recast.speed.refresh import Refresh
from tests.speed.walks import TIMES, engine, final, request


def test_the_network_is_evaluated_at_the_steps_of_the_schedule_alone():
    refresh = Refresh(first=3, every=2, last=True)
    skipping = engine(extrapolate(refresh, order=1))
    x, condition = request(skipping)
    velocity, ran = skipping.along(condition, TIMES), []
    for step, t in enumerate(TIMES[:-1]):
        before = skipping.blocks.handed
        velocity(x * t, t)
        if skipping.blocks.handed > before:
            ran.append(step)
    assert ran == [0, 1, 2, 4, 6]
    assert len(ran) == refresh.count(len(TIMES) - 1)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_velocity_that_is_a_polynomial_in_time_is_met(order: int):
    """Of the order asked for, on uneven times; the next order is not."""
    for degree in (order, order + 1):
        skipping = engine(extrapolate(Refresh(first=3, every=None, last=False), order=order))
        x, condition = request(skipping)
        coefficients = torch.randn(degree + 1, *x.shape, generator=torch.Generator().manual_seed(3))
        curve = partial(_polynomial, coefficients)
        now = [0.0]
        skipping.evaluate = lambda *_, now=now, curve=curve: (curve(now[0]), [])
        velocity = skipping.along(condition, TIMES)
        state = x
        for t, t_next in pairwise(TIMES[:6]):
            now[0] = t
            v = velocity(state, t)
            state = state + (t_next - t) * v
        error = (v - curve(TIMES[4])).abs().max()
        assert (error < 1e-4) == (degree == order)


def _polynomial(coefficients: torch.Tensor, t: float) -> torch.Tensor:
    return sum(c * t**power for power, c in enumerate(coefficients))


@pytest.mark.parametrize("sampler", [euler, adams_bashforth_2, dpm_solver_2m])
def test_samplers_of_one_evaluation_a_step_are_served(sampler):
    x, condition = request(engine())
    assert final(engine(extrapolate()), x, condition, sampler=sampler).isfinite().all()
    mask = torch.arange(12)[None] < 4
    holding = held(sampler, x * 0.2, lambda: mask)
    assert final(engine(extrapolate()), x, condition, sampler=holding, may_change=lambda: mask).isfinite().all()


def test_samplers_whose_velocities_lie_on_no_curve_are_refused():
    x, condition = request(engine())
    with pytest.raises(ConfigError, match=r"asked at t=0.9 after t=0.9.*use euler, ab2 or dpmpp_2m"):
        final(engine(extrapolate()), x, condition, sampler=heun)
    fresh = renoise(lambda: torch.randn(x.shape, generator=torch.Generator().manual_seed(9)))
    with pytest.raises(ConfigError, match="draws fresh noise on the way"):
        final(engine(extrapolate()), x, condition, sampler=fresh)


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigError, match="order=3: 0, 1 or 2"):
        extrapolate(order=3)
    with pytest.raises(ConfigError, match="first=2: order 2 needs 3 evaluations first"):
        extrapolate(Refresh(first=2), order=2)
