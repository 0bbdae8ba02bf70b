"""A velocity function and times to an iterator of states. The bar, the preview and the stop button are the caller's.

Every sampler walks x (b, n, d) from times[0] (1 = noise) to times[-1] (0 = clean) and yields after each step.
It holds x in fp32; a velocity function casts to what its network wants. What a sampler remembers of earlier steps
is its iterator's own, token by token, and ends with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from recast.flow.guidance import MayChange, Velocity
from recast.flow.path import clean_at


class State(NamedTuple):
    """Where a sampler stands after a step."""

    t: float
    x: Tensor  # (b, n, d) at time t
    clean: Tensor  # (b, n, d): the clean end as the step saw it, for previews; equals x at t = 0


Sampler = Callable[[Velocity, Tensor, Sequence[float]], Iterator[State]]


def euler(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Iterator[State]:
    """One evaluation a step, along the velocity at its start."""
    for t, t_next in pairwise(times):
        v = velocity(x, t)
        clean = clean_at(x, v, t)
        x = x + (t_next - t) * v
        yield State(t_next, x, clean)


def heun(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Iterator[State]:
    """Second order: the mean of the velocities at both ends of a step; the last step, to 0, is Euler's.

    2 steps - 1 evaluations. Source: Karras et al. 2022 (arXiv 2206.00364), algorithm 1, on the straight path.
    """
    for t, t_next in pairwise(times):
        v = velocity(x, t)
        if t_next > 0:
            v = (v + velocity(x + (t_next - t) * v, t_next)) / 2
        clean = clean_at(x, v, t)
        x = x + (t_next - t) * v
        yield State(t_next, x, clean)


def adams_bashforth_2(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Iterator[State]:
    """Second order at one evaluation a step: the velocity's line through this step's start and the last one's.

    With h = t_next - t and h' = t - t_before, the integral over the step of the line through (t_before, v') and (t, v):

        x_next = x + h (v + h / (2 h') (v - v'))

    which is 3/2 v - 1/2 v' for even steps. The first step, which has nothing before it, is Euler's.
    Source: Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I, section III.1, equation 1.5; and
    section III.5 for uneven steps.
    """
    before: tuple[float, Tensor] | None = None
    for t, t_next in pairwise(times):
        v = ahead = velocity(x, t)
        if before is not None:
            t_before, v_before = before
            ahead = v + (t_next - t) / (2 * (t - t_before)) * (v - v_before)
        before = t, v
        clean = clean_at(x, ahead, t)
        x = x + (t_next - t) * ahead
        yield State(t_next, x, clean)


def dpm_solver_2m(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Iterator[State]:
    """Second order at one evaluation a step, in the predicted clean end: DPM-Solver++(2M) on the straight path.

    There alpha = 1 - t and sigma = t, so lambda = log(alpha / sigma) = log((1 - t) / t), and the network's velocity
    predicts the clean end c = x - t v. The exact solution from t to s (proposition 4.1),

        x_s = sigma_s / sigma_t x_t + sigma_s (integral of e^lambda c d lambda from lambda_t to lambda_s),

    with a constant c is x_s = s / t x_t + (1 - s / t) c, since alpha_s (1 - e^(lambda_t - lambda_s)) = 1 - s / t:
    Euler's step. 2M puts c + h / (2 h') (c - c') there, c' the clean end of the step before, h = lambda_s - lambda_t
    this step and h' the one before. A step from t = 1, where lambda is minus infinity, therefore adds nothing to the
    next (h / h' = 0); the step to t = 0, where h is infinite, keeps c itself. Between the ends the error is of order
    h^2 in the steps h of t, over the whole walk h^2 log(1 / h).
    Source: Lu et al. 2022 (DPM-Solver++, arXiv 2211.01095), proposition 4.1 and algorithm 2.
    """
    before: tuple[float, Tensor] | None = None
    for t, t_next in pairwise(times):
        clean = ahead = clean_at(x, velocity(x, t), t)
        if before is not None and t_next > 0:
            t_before, clean_before = before
            ratio = (_log_snr(t_next) - _log_snr(t)) / (_log_snr(t) - _log_snr(t_before))
            ahead = clean + ratio / 2 * (clean - clean_before)
        before = t, clean
        x = t_next / t * x + (1 - t_next / t) * ahead
        yield State(t_next, x, ahead)


def renoise(noise: Callable[[], Tensor]) -> Sampler:
    """A sampler of few jumps for distilled weights: to the predicted clean end, then back up with fresh noise.

    noise: returns fresh noise (b, n, d) at each call, so that the caller's generators decide it.
    Source: Sauer et al. 2024 (arXiv 2403.12015), section 3; Song et al. 2023 (arXiv 2303.01469), algorithm 1.
    """

    def sampler(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Iterator[State]:
        for t, t_next in pairwise(times):
            clean = clean_at(x, velocity(x, t), t)
            x = (1 - t_next) * clean + t_next * noise() if t_next > 0 else clean
            yield State(t_next, x, clean)

    return sampler


def held(walk: Sampler, clean: Tensor, may_change: MayChange) -> Sampler:
    """A sampler that keeps part of a picture: what may not change is put back where it belongs.

    clean: (1, n, d) or (b, n, d), the picture to keep. may_change: asked before each evaluation and after each step
    for a mask (b, n) or (1, n) bool of the tokens that may change, so that it may be narrowed on the way; None keeps
    nothing. The network and the caller see the others at (1 - t) clean + t noise, with the noise the walk began with:
    at t = 0 they are those of `clean`, to the bit. What the velocity is there is not used.
    walk: any sampler; its first time is 1. It runs once, over all times, so one that remembers earlier steps does:
    samplers work token by token, so what it holds for a kept token reaches no other.
    Source: Lugmayr et al. 2022 (RePaint, arXiv 2201.09865), equation 8, and Avrahami et al. 2022 (blended latent
    diffusion, arXiv 2206.02779), section 3.1, on the straight path.
    """

    def sampler(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Iterator[State]:
        noise = x

        def keep(x: Tensor, t: float, mask: Tensor | None) -> Tensor:
            if mask is None:
                return x
            there = (1 - t) * clean + t * noise if t > 0 else clean
            return torch.where(mask[..., None], x, there.to(x.dtype))

        for state in walk(lambda x, t: velocity(keep(x, t, may_change()), t), noise, times):
            mask = may_change()
            yield State(state.t, keep(state.x, state.t, mask), keep(state.clean, 0.0, mask))

    return sampler


def _log_snr(t: float) -> float:
    """Lambda, log(alpha / sigma), of the straight path; minus infinity at t = 1."""
    return math.log((1 - t) / t) if t < 1 else -math.inf
