"""Random tensors for kernels, where they run, and what may differ in the last bit."""

from __future__ import annotations

import os

import torch
from torch import Tensor

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
HALVES = [torch.bfloat16, torch.float16]
EVERY = [torch.float32, *HALVES]
STEP = {torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}  # from one number to the next, at most, relative


def draw(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Normal numbers of that shape, the same on every device."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator).to(DEVICE, dtype)


def modulations(b: int, d: int, count: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """`count` modulations (b, 1, d), cut out of one tensor as the engine's are."""
    return draw(b, 1, count * d, dtype=dtype, seed=9).chunk(count, dim=-1)


def assert_rounded_once(made: Tensor, wanted: Tensor) -> None:
    """made is `wanted`, an fp32 tensor, rounded to its dtype; one in a hundred may be the number beside it."""
    if made.dtype == torch.float32:
        torch.testing.assert_close(made, wanted, rtol=1e-5, atol=3e-6)
        return
    rounded = wanted.to(made.dtype)
    torch.testing.assert_close(made, rounded, rtol=STEP[made.dtype], atol=1e-6)
    assert (made != rounded).float().mean() <= 0.01


def assert_same(made: Tensor, wanted: Tensor, *, ties: float = 0.0) -> None:
    """Bit for bit, but for a share of `ties`: numbers between two, which sums in another order turn to the other.

    On a GPU the library's own sums run in another order too: there one in a thousand may always be such a one.
    """
    assert made.dtype == wanted.dtype
    torch.testing.assert_close(made.float(), wanted.float(), rtol=STEP.get(made.dtype, 0.125), atol=1e-6)
    assert (made.float() != wanted.float()).float().mean() <= (ties if DEVICE == "cpu" else max(ties, 1e-3))
