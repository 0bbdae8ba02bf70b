"""Which way time runs: the straight path between a clean picture and noise. Stated here and nowhere else.

    x_t = (1 - t) clean + t noise        t = 1 is noise, t = 0 is clean
    velocity = d x_t / dt = noise - clean

A sampler walks from t = 1 down to t = 0, so its steps dt are negative. On this path sigma equals t.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recast.errors import ShapeError


def interpolate(clean: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The point at time t on the straight path, and the velocity there.

    clean, noise: tokens (b, n, d). t: (b,) in [0, 1]; 0 is clean, 1 is noise.
    Returns x_t (b, n, d) and velocity = noise - clean (b, n, d).
    Raises ShapeError unless t has one time per sample: (b, 1) would broadcast silently.
    Source: Esser et al. 2024 (arXiv 2403.03206), section 3.
    """
    if t.shape != clean.shape[:1]:
        raise ShapeError(f"t: one time per sample needed, shape {tuple(clean.shape[:1])}; got {tuple(t.shape)}")
    return torch.lerp(clean, noise, t[:, None, None].to(clean.dtype)), noise - clean


def clean_at(x_t: Tensor, velocity: Tensor, t: float) -> Tensor:
    """The clean end of the straight line through x_t with this velocity: x_t - t velocity (b, n, d)."""
    return x_t - t * velocity


def noise_at(x_t: Tensor, velocity: Tensor, t: float) -> Tensor:
    """The noise end of that line: x_t + (1 - t) velocity (b, n, d)."""
    return x_t + (1 - t) * velocity


def velocity_to(x_t: Tensor, clean: Tensor, t: float) -> Tensor:
    """The velocity at x_t if the path ends at `clean`: (x_t - clean) / t (b, n, d); t must be above 0."""
    return (x_t - clean) / t
