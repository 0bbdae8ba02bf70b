"""The one convention: which way time runs."""

import pytest
import torch

from recast.errors import ShapeError
from recast.flow.path import clean_at, interpolate, noise_at, velocity_to


def test_time_one_is_noise_and_time_zero_is_clean():
    clean, noise = torch.randn(2, 2, 5, 3)
    at_noise, _ = interpolate(clean, noise, torch.ones(2))
    at_clean, _ = interpolate(clean, noise, torch.zeros(2))
    torch.testing.assert_close(at_noise, noise)
    torch.testing.assert_close(at_clean, clean)


def test_velocity_is_the_derivative_of_the_point_in_time():
    clean, noise = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    t, dt = torch.tensor([0.3, 0.8], dtype=torch.float64), 1e-6
    before, velocity = interpolate(clean, noise, t)
    after, _ = interpolate(clean, noise, t + dt)
    torch.testing.assert_close((after - before) / dt, velocity, rtol=1e-6, atol=1e-6)


def test_point_and_velocity_give_both_ends_back():
    clean, noise = torch.randn(2, 3, 5, 3, dtype=torch.float64)
    x_t, velocity = interpolate(clean, noise, torch.full((3,), 0.3, dtype=torch.float64))
    torch.testing.assert_close(clean_at(x_t, velocity, 0.3), clean)
    torch.testing.assert_close(noise_at(x_t, velocity, 0.3), noise)
    torch.testing.assert_close(velocity_to(x_t, clean, 0.3), velocity)


def test_a_time_that_would_broadcast_is_refused():
    clean, noise = torch.randn(2, 2, 5, 3)
    with pytest.raises(ShapeError, match=r"t: one time per sample needed, shape \(2,\); got \(2, 1\)"):
        interpolate(clean, noise, torch.ones(2, 1))
