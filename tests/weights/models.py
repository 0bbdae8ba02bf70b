"""Random weights for small models, whether two models have the same, and what they compute."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from recast.flow.transformer import FlowTransformer


def randomised(module: Any) -> Any:
    """Every parameter random, norms and biases included: equal values would hide a swap."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return module.eval().requires_grad_(False)


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules have the same names and, to the bit, the same values."""
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


@torch.no_grad()
def velocity_of_ours(flow: FlowTransformer) -> Tensor:
    x, text, pooled, t = inputs()
    rows = torch.arange(6)
    positions = torch.stack([torch.zeros(6), rows // 3, rows % 3], dim=-1)[None]
    condition = flow.condition(positions=positions, text=text, pooled=pooled, guidance=torch.tensor([2.5]))
    return flow(x, t, condition)


@torch.no_grad()
def velocity_of_theirs(flow: FluxTransformer2DModel) -> Tensor:
    x, text, pooled, t = inputs()
    rows = torch.arange(6)
    positions = torch.stack([torch.zeros(6), rows // 3, rows % 3], dim=-1)
    return flow(x, text, pooled, t, positions, torch.zeros(5, 3), torch.tensor([2.5]), return_dict=False)[0]


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    draw = torch.randn(1, 6, 64, generator=g), torch.randn(1, 5, 24, generator=g), torch.randn(1, 24, generator=g)
    return *draw, torch.tensor([0.7])
