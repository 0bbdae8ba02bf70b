"""Optimisers from named parameters, the course of their rate, and the norm of gradients that may be sharded."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from recast.errors import ConfigError, TrainingError
from recast.train.muon import Muon, Parts
from recast.train.settings import Optimiser
from recast.train.sharded import local

BLOCKS = frozenset({"double_blocks", "single_blocks", "block"})
"""Lists of a transformer's blocks, in the flow and in T5: their matrices are hidden ones."""
NOT_HIDDEN = frozenset({"img_mod", "txt_mod", "modulation", "relative_attention_bias"})
"""Of them, those that read one vector a sample, or are read like a table."""
TABLES = frozenset({"shared", "relative_attention_bias", "embedding", "codebook"})
"""Tables of vectors: a row is a bias of its own, so none decays."""


def build(named: Iterable[tuple[str, nn.Parameter]], settings: Optimiser) -> list[torch.optim.Optimizer]:
    """The optimisers of these parameters: AdamW, or Muon for the hidden matrices of blocks and AdamW for the rest.

    Only matrices (and kernels of convolutions) decay, tables do not. Parameters of one mesh share a group, since
    an operation on many tensors cannot mix meshes. Every group keeps its full rate as "initial_lr".
    Raises ConfigError where there is nothing to train, and for Muon with matrices that tensor parallel has cut.
    """
    parameters = list(named)
    if not parameters:
        raise ConfigError(
            "named: no parameters to train came; mark some as requiring a gradient, or leave the phase out"
        )
    found: list[torch.optim.Optimizer] = []
    if settings.kind == "muon":
        hidden = [(name, parameter) for name, parameter in parameters if _is_hidden(name, parameter)]
        parameters = [(name, parameter) for name, parameter in parameters if not _is_hidden(name, parameter)]
        if hidden:
            _refuse_tensor_parallel(hidden)
            matrices = [(matrix, split_plan(name, matrix)) for name, matrix in hidden]
            found.append(Muon(matrices, settings.matrix_lr, weight_decay=settings.weight_decay))
    if parameters:
        groups: dict[tuple[bool, object], list[nn.Parameter]] = {}
        for name, parameter in parameters:
            groups.setdefault((_decays(name, parameter), _mesh(parameter)), []).append(parameter)
        found.append(
            torch.optim.AdamW(
                [
                    {"params": members, "weight_decay": settings.weight_decay if decays else 0.0}
                    for (decays, _), members in groups.items()
                ],
                lr=settings.lr,
                betas=settings.betas,
                eps=settings.eps,
                fused=all(parameter.is_cuda for _, parameter in parameters),
            )
        )
    for optimiser in found:
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
    return found


def rate(settings: Optimiser, step: int, share: float) -> float:
    """The part of the full rate, in [0, 1], at step `step` (from 0), with `share` of the run done.

    A linear warm-up times the course: constant; cosine down to the floor; or wsd, full until `decay_from` and then
    linear to the floor (Hu et al. 2024, arXiv 2404.06395, section 4). The floor is reached at share 1.
    """
    warm = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    done = min(max(share, 0.0), 1.0)
    if settings.schedule == "constant":
        return warm
    if settings.schedule == "cosine":
        left = (1 + math.cos(math.pi * done)) / 2
    elif done <= settings.decay_from:
        left = 1.0
    else:
        left = (1 - done) / (1 - settings.decay_from)
    return warm * (settings.floor + (1 - settings.floor) * left)


def set_rate(optimisers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Give every group this part of its full rate."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * rate


@torch.no_grad()
def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The 2-norm of all gradients together: a 0-dim fp32 tensor, the same in every process.

    Sharded gradients, of one mesh or of several, count whole: what each process holds is squared, and summed over
    the dimensions of the mesh that it is sharded on.
    """
    shares: dict[tuple[object, tuple[object, ...]], list[Tensor]] = {}
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if isinstance(gradient, DTensor):
            if any(placement.is_partial() for placement in gradient.placements):
                gradient = gradient.redistribute(
                    placements=[Replicate() if p.is_partial() else p for p in gradient.placements]
                )
            shares.setdefault((gradient.device_mesh, tuple(gradient.placements)), []).append(gradient.to_local())
        else:
            shares.setdefault((None, ()), []).append(gradient)
    if not shares:
        raise TrainingError("parameters: none has a gradient; call backward first, or leave the step out")
    squares = []
    for (mesh, placements), gradients in shares.items():
        norms = torch.stack([norm.float() for norm in torch._foreach_norm(gradients, 2)])
        square = norms.square().sum()
        for dim, placement in enumerate(placements):
            if not isinstance(placement, Replicate):
                dist.all_reduce(square, group=mesh.get_group(dim))  # type: ignore[attr-defined]
        squares.append(square)
    return torch.stack(squares).sum().sqrt()


@torch.no_grad()
def clip(parameters: Iterable[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Scale all gradients in place so that their norm, which is `norm`, is at most `limit`; inf leaves them."""
    if math.isinf(limit):
        return
    gradients = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
    torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1.0))


def split_plan(name: str, matrix: Tensor) -> Parts | None:
    """The parts of a hidden matrix of the flow that are matrices of their own; None for one that is whole.

    q, k and v; in a single block's linear1 the MLP's rows after them; in linear2 attention's and MLP's columns.
    """
    rows, columns = matrix.shape
    if name.endswith("attn.qkv.weight"):
        return Parts(0, (rows // 3,) * 3)
    if name.endswith(".linear1.weight"):
        return Parts(0, (columns, columns, columns, rows - 3 * columns))
    if name.endswith(".linear2.weight"):
        return Parts(1, (rows, columns - rows))
    return None


def _is_hidden(name: str, parameter: Tensor) -> bool:
    words = _words(name)
    return parameter.ndim == 2 and bool(words & BLOCKS) and not words & NOT_HIDDEN


def _decays(name: str, parameter: Tensor) -> bool:
    return parameter.ndim >= 2 and not _words(name) & TABLES


def _refuse_tensor_parallel(hidden: Iterable[tuple[str, Tensor]]) -> None:
    """Its matrices are kept in another order of rows or columns, in which their parts are mixed."""
    for name, matrix in hidden:
        if isinstance(matrix, DTensor) and "tensor" in (matrix.device_mesh.mesh_dim_names or ()):
            raise ConfigError(
                f"kind='muon': {name} is cut by tensor parallel, which mixes the parts that Muon keeps apart; "
                "adamw accepted with it; set kind=adamw, or tensor=1 and shard more"
            )


def _words(name: str) -> frozenset[str]:
    return frozenset(name.split("."))


def _mesh(parameter: Tensor) -> object:
    return parameter.device_mesh if isinstance(parameter, DTensor) else None
