"""Number of steps and of target tokens to times from 1 to 0, shifted by resolution.

A larger picture needs more noise to hide the same structure, so its times are pushed towards 1.
"""

from __future__ import annotations

import math

import torch

from recast.errors import ConfigError

TOKENS_LOW, MU_LOW = 256, 0.5  # a 256 x 256 picture
TOKENS_HIGH, MU_HIGH = 4096, 1.15  # a 1024 x 1024 picture


def resolution_shift(tokens: int) -> float:
    """Mu, the log of the shift factor, for a target of `tokens` tokens: a line, not clamped at its ends.

    Context tokens are never counted. Source: FLUX.1; Esser et al. 2024 (arXiv 2403.03206), section 5.3.2.
    """
    slope = (MU_HIGH - MU_LOW) / (TOKENS_HIGH - TOKENS_LOW)
    return slope * tokens + MU_LOW - slope * TOKENS_LOW


def times(steps: int, *, mu: float = 0.0) -> list[float]:
    """`steps` + 1 times from 1 (noise) to 0 (clean): evenly spaced, then shifted by mu (0 shifts nothing).

    t becomes e^mu / (e^mu + 1/t - 1), in fp32 as the published schedules are; the ends are 1 and 0 exactly.
    Raises ConfigError for fewer than one step.
    """
    if steps < 1:
        raise ConfigError(f"steps={steps}: at least 1 needed; 4 for distilled weights, 28 is usual otherwise")
    even = torch.linspace(1, 0, steps + 1)
    shifted = math.exp(mu) / (math.exp(mu) + (1 / even - 1))  # 1/0 is inf, so 0 stays 0
    return [1.0, *shifted[1:].tolist()]  # the formula rounds its first, 1, to a little below it at some mu
