"""The ways in which the library computes one matrix product; which is the fastest depends on the device and the shape.

Each gives y = x W^T + b, or adds x W^T to what is there, from the same numbers: products accumulate in fp32 and are
rounded once, so that they differ by the order of sums alone. Lossless, not exact.

What is not among them, and why. Nothing that keeps a weight in another form, transposed or packed: that is a second
copy of it. Queries, keys and values in one product with the MLP's first half would leave rows that do not lie one
after another, which `recast.speed.kernels` needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 128  # a multiple of the rows that the tiles of any tensor-core kernel have


@dataclass(frozen=True)
class Arm:
    """One way. product: of x (m, d), a weight (o, d), and a bias (o,) or None, (m, o). write: the same to a place
    (m, o), rows one after another; add: on top of what is there, without bias. adds_apart: whether `add` rounds the
    product before it adds; such a way is not chosen where a product is added.
    """

    name: str
    product: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    write: Callable[[Tensor, Tensor, Tensor | None, Tensor], object]
    add: Callable[[Tensor, Tensor, Tensor], object]
    adds_apart: bool = False


def _write(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> object:
    if bias is None:
        return torch.mm(x, weight.t(), out=out)
    return torch.addmm(bias, x, weight.t(), out=out)


def _add(x: Tensor, weight: Tensor, total: Tensor) -> object:
    return torch.addmm(total, x, weight.t(), out=total)


USUAL = Arm("as it lies", F.linear, _write, _add)


def _by(library: str) -> Arm:
    """By one of CUDA's two libraries for products; which the usual way takes is PyTorch's choice."""

    def asked(call: Callable[..., object]) -> Callable[..., object]:
        def inside(*given: object) -> object:
            before = torch.backends.cuda.preferred_blas_library()  # with a name it gives what is from now on
            torch.backends.cuda.preferred_blas_library(library)
            try:
                return call(*given)
            finally:
                torch.backends.cuda.preferred_blas_library(before)

        return inside

    product: Callable[..., Tensor] = asked(F.linear)  # type: ignore[assignment]
    return Arm(library, product, asked(_write), asked(_add))


def _padded() -> Arm:
    """Rows of zeros up to a multiple of `ROWS`: kernels without a test at the edge, for one copy of x more."""

    def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = x.shape[0]
        return F.linear(F.pad(x, (0, 0, 0, -rows % ROWS)), weight, bias)[:rows]

    return Arm(
        f"rows padded to {ROWS}",
        product,
        lambda x, weight, bias, out: out.copy_(product(x, weight, bias)),
        lambda x, weight, total: total.add_(product(x, weight, None)),
        adds_apart=True,
    )


def _halves() -> Arm:
    """Two products of half the outputs each, written side by side."""

    def write(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> object:
        half = weight.shape[0] // 2
        for part in (slice(0, half), slice(half, None)):
            _write(x, weight[part], None if bias is None else bias[part], out[:, part])
        return out

    def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        out = x.new_empty(x.shape[0], weight.shape[0])
        write(x, weight, bias, out)
        return out

    def add(x: Tensor, weight: Tensor, total: Tensor) -> object:
        half = weight.shape[0] // 2
        for part in (slice(0, half), slice(half, None)):
            _add(x, weight[part], total[:, part])
        return total

    return Arm("in two halves", product, write, add)


def arms_on(device: torch.device) -> Sequence[Arm]:
    """The ways there are on a device, the usual one first."""
    if device.type == "cuda":
        return (USUAL, _by("cublas"), _by("cublaslt"), _padded(), _halves())
    if device.type == "cpu":
        return (USUAL, _padded(), _halves())
    return (USUAL,)
