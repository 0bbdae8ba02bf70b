"""Muon: momentum whose matrices are made orthogonal before they are followed.

An update of a hidden matrix tends to be of low rank; with all its singular values at one, every direction is learned
at the same pace. A matrix that holds several side by side (q, k and v, or a single block's attention and MLP) is made
orthogonal part by part: as a whole, one part's direction would be traded for another's.
Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the scale of the update,
Liu et al. 2025 (arXiv 2502.16982), section 2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from recast.errors import ConfigError
from recast.train.sharded import local

COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the quintic a x + b x^3 + c x^5 that drives singular values towards one, steepest at zero."""
ITERATIONS = 5
NUMBERS_AT_ONCE = 1 << 27
"""Parts of one shape are stacked, up to so many numbers: few large products instead of many small ones."""


class Parts(NamedTuple):
    """How a matrix is cut before it is made orthogonal: along `dim`, into pieces of these sizes."""

    dim: int
    sizes: tuple[int, ...]

    def of(self, matrix: Tensor) -> Sequence[Tensor]:
        return matrix.split(self.sizes, dim=self.dim)


class Muon(torch.optim.Optimizer):
    """Hidden matrices (a, b), each with the parts it is made of.

    The update of a part (a', b') has a root mean square of 0.2 lr, that of AdamW's, whatever its shape. lr: of every
    group; weight_decay: decoupled, lr weight_decay of a matrix a step. Sharded matrices (DTensor) keep sharded
    momentum; a step gathers each of them whole and every process makes it orthogonal for itself.
    Raises ConfigError for a parameter that is no matrix, or parts that do not add up to it.
    """

    def __init__(
        self,
        matrices: Iterable[tuple[nn.Parameter, Parts | None]],
        lr: float,
        *,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        pairs = list(matrices)
        for matrix, parts in pairs:
            if matrix.ndim != 2 or (parts is not None and sum(parts.sizes) != matrix.shape[parts.dim]):
                raise ConfigError(
                    f"matrices: {tuple(matrix.shape)} with {parts} came; two dimensions accepted, and parts that add up"
                )
        self._parts = {matrix: parts for matrix, parts in pairs if parts is not None}
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__([matrix for matrix, _ in pairs], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step along the gradients that are there."""
        if closure is not None:
            raise ConfigError("closure: Muon calls none; leave it out")
        for group in self.param_groups:
            moved = [matrix for matrix in group["params"] if matrix.grad is not None]
            if moved:
                self._move(moved, group["lr"], group["weight_decay"], group["momentum"])

    def _move(self, matrices: list[nn.Parameter], lr: float, weight_decay: float, momentum: float) -> None:
        for matrix in matrices:
            if "momentum_buffer" not in self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        gradients = [local(matrix.grad) for matrix in matrices]
        buffers = [local(self.state[matrix]["momentum_buffer"]) for matrix in matrices]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, buffers, momentum)  # Nesterov's
        directions = [_whole(update, matrix) for update, matrix in zip(ahead, matrices, strict=True)]

        parts: list[Tensor] = []
        for matrix, direction in zip(matrices, directions, strict=True):
            cut = self._parts.get(matrix)
            parts += [direction] if cut is None else cut.of(direction)
        for part, new in zip(parts, orthogonal(parts), strict=True):
            part.copy_(new * (0.2 * max(part.shape) ** 0.5))

        torch._foreach_mul_([local(matrix) for matrix in matrices], 1 - lr * weight_decay)
        updates = [_share(direction, matrix) for direction, matrix in zip(directions, matrices, strict=True)]
        torch._foreach_add_([local(matrix) for matrix in matrices], updates, alpha=-lr)


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Each matrix (a, b) with its singular values brought near one (0.7 to 1.2), its singular vectors kept.

    Five rounds of Newton and Schulz, in bf16 on a GPU, those of one shape together. A matrix of zeros stays zero.
    """
    wide = [matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix for matrix in matrices]
    found: list[Tensor] = list(wide)
    for shape in dict.fromkeys(tuple(matrix.shape) for matrix in wide):
        same = [index for index, matrix in enumerate(wide) if tuple(matrix.shape) == shape]
        at_once = max(1, NUMBERS_AT_ONCE // (shape[0] * shape[1]))
        for first in range(0, len(same), at_once):
            chosen = same[first : first + at_once]
            for index, new in zip(chosen, _newton_schulz(torch.stack([wide[i] for i in chosen])), strict=True):
                found[index] = new
    return [new.mT if matrix.shape[0] > matrix.shape[1] else new for matrix, new in zip(matrices, found, strict=True)]


def _newton_schulz(x: Tensor) -> Tensor:
    """x (k, a, b) with a <= b, each made orthogonal; in the dtype it came in."""
    a, b, c = COEFFICIENTS
    dtype = x.dtype
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    x = x.bfloat16() if x.is_cuda else x.float()
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(dtype)


def _whole(update: Tensor, like: Tensor) -> Tensor:
    """The whole of an update whose own part this is, gathered where `like` is sharded."""
    if not isinstance(like, DTensor):
        return update
    spread = DTensor.from_local(
        update, like.device_mesh, like.placements, shape=like.shape, stride=like.stride(), run_check=False
    )
    return spread.full_tensor()


def _share(update: Tensor, like: Tensor) -> Tensor:
    """A process's own part of a whole update that all of them hold; nothing is sent."""
    if not isinstance(like, DTensor):
        return update
    mesh = like.device_mesh
    whole = DTensor.from_local(update, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return whole.redistribute(mesh, like.placements).to_local()
