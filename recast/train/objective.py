"""The flow-matching loss, its noise, its weights, and the target that keeps a guidance-distilled base guided."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from recast.errors import ShapeError
from recast.flow.path import interpolate

Velocities = Callable[[Tensor, Tensor], Tensor]
"""x_t (b, n, d) and t (b,) to velocities (b, n, d)."""

TWO_64 = 1 << 64


def generator(seed: int, number: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that knows nothing but the run's seed, an example's number in the stream and what it is for.

    The same at any number of processes, in any batch and after a restart.
    """
    state = seed % TWO_64
    digest = hashlib.blake2b(purpose.encode(), digest_size=8).digest()
    for word in (number, int.from_bytes(digest, "little")):
        state = _mix((state + 0x9E3779B97F4A7C15 + _mix(word % TWO_64)) % TWO_64)
    return torch.Generator(device).manual_seed(state)


def draw(numbers: Sequence[int], seed: int, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Normal noise (b, *shape), fp32, drawn on `device` for each example by its number alone."""
    rows = [
        torch.randn(tuple(shape), generator=generator(seed, number, "noise", device), device=device)
        for number in numbers
    ]
    return torch.stack(rows)


def even(numbers: Sequence[int], seed: int, count: int) -> Tensor:
    """Numbers (b, count) in [0, 1), fp64, on the CPU, drawn for each example by its number alone."""
    rows = [torch.rand(count, generator=generator(seed, number, "choices"), dtype=torch.float64) for number in numbers]
    return torch.stack(rows)


def flow_matching_errors(
    velocity: Velocities,
    clean: Tensor,
    noise: Tensor,
    t: Tensor,
    *,
    aim: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """The squared error of each token (b, n), the mean over its channels, in fp32.

    velocity: sees x_t (b, n, d) and t (b,), and no other token is judged: context goes in through it, and stays out
    of the loss. clean, noise: (b, n, d). aim: the target from x_t, t and noise - clean; None for noise - clean itself.
    Source: Esser et al. 2024 (arXiv 2403.03206), equation 13; arXiv 2506.15742, section 3.
    """
    x_t, target = interpolate(clean.float(), noise.float(), t)
    if aim is not None:
        target = aim(x_t, t, target)
    predicted = velocity(x_t, t)
    if predicted.shape != target.shape:
        raise ShapeError(f"velocity: {tuple(target.shape)} needed, one for each target token; {tuple(predicted.shape)}")
    return (predicted.float() - target).square().mean(dim=-1)


def weighted(errors: Tensor, weight: Tensor | None) -> Tensor:
    """The mean (b,) of errors (b, n) over tokens; with weight (b, n) the weighted mean, so that the scale stays."""
    if weight is None:
        return errors.mean(dim=1)
    if weight.shape != errors.shape:
        raise ShapeError(f"weight: one for each target token needed, {tuple(errors.shape)}; got {tuple(weight.shape)}")
    return (errors * weight).sum(dim=1) / weight.sum(dim=1)


def flow_matching_loss(
    velocity: Velocities, clean: Tensor, noise: Tensor, t: Tensor, weight: Tensor | None = None
) -> Tensor:
    """The loss of each sample (b,): `flow_matching_errors`, `weighted` over its target tokens."""
    return weighted(flow_matching_errors(velocity, clean, noise, t), weight)


def token_mask(masks: Tensor, side_px: int) -> Tensor:
    """Which tokens (b, n) contain a pixel of masks (b, 1, H, W) bool; a token is side_px x side_px pixels."""
    if any(size % side_px for size in masks.shape[-2:]):
        raise ShapeError(f"masks: multiples of {side_px} needed; got {tuple(masks.shape)}; cut pictures to tokens")
    return rearrange(F.max_pool2d(masks.float(), side_px), "b 1 h w -> b (h w)") > 0


def guided_target(null: Tensor, data: Tensor, scale: float, t: Tensor | None = None) -> Tensor:
    """null + s (data - null), each (b, n, d): what a guided model should say where data says `data`.

    null: the model's own prediction for the empty prompt, without a gradient. s is `scale`, or, where t (b,) is
    given, 1 + (scale - 1) t: full guidance at the noise, none at the picture. A plain target would wear off the
    guidance that a distilled base has learned.
    """
    s = data.new_tensor(scale) if t is None else (1 + (scale - 1) * t)[:, None, None].to(data.dtype)
    return null + s * (data - null)


def _mix(x: int) -> int:
    """A number below 2^64 with every bit of x in each of its own. Source: Steele et al. 2014, SplitMix64."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % TWO_64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % TWO_64
    return x ^ (x >> 31)
