"""Our times against diffusers' FlowMatchEulerDiscreteScheduler, as its Flux pipelines drive it."""

import numpy as np
import pytest
from diffusers import FlowMatchEulerDiscreteScheduler

from recast.flow.schedule import resolution_shift, times
from tests.parity.peer import shifted_scheduler


@pytest.mark.parametrize("steps", [1, 4, 8, 28, 50])
@pytest.mark.parametrize("tokens", [256, 1024, 3600, 4096, 4150])
def test_shifted_times_agree(steps: int, tokens: int):
    scheduler = shifted_scheduler()
    mu = resolution_shift(tokens)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    assert np.abs(scheduler.sigmas.numpy() - np.array(times(steps, mu=mu))).max() <= 2e-7


def test_unshifted_times_agree():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / 4, 4))
    assert np.abs(scheduler.sigmas.numpy() - np.array(times(4))).max() <= 2e-7
