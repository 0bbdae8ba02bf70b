"""A velocity function and times to an iterator of states. The bar, the preview and the stop button are the caller's.

Every sampler walks x (b, n, d) from times[0] (1 = noise) to times[-1] (0 = clean) and yields after each step.
It holds x in fp32; a velocity function casts to what its network wants.
"""

from __future__ import annotations

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
    """A sampler that keeps part of a picture: after each step, what may not change is put back where it belongs.

    clean: (1, n, d) or (b, n, d), the picture to keep. may_change: asked after each step for a mask (b, n) or (1, n)
    bool of the tokens that may change, so that it may be narrowed on the way; None keeps nothing. The others are set
    to (1 - t) clean + t noise, with the noise the walk began with: at t = 0 they are those of `clean`, to the bit.
    walk: a sampler that remembers nothing from step to step, for it is started anew at each; its first time is 1.
    Source: Lugmayr et al. 2022 (RePaint, arXiv 2201.09865), equation 8, and Avrahami et al. 2022 (blended latent
    diffusion, arXiv 2206.02779), section 3.1, on the straight path.
    """

    def sampler(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Iterator[State]:
        noise = x
        for t, t_next in pairwise(times):
            (state,) = walk(velocity, x, (t, t_next))
            mask = may_change()
            x, predicted = state.x, state.clean
            if mask is not None:
                there = (1 - t_next) * clean + t_next * noise if t_next > 0 else clean
                x = torch.where(mask[..., None], x, there.to(x.dtype))
                predicted = torch.where(mask[..., None], predicted, clean.to(x.dtype))
            yield State(t_next, x, predicted)

    return sampler
