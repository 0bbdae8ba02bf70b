"""Optimisers, norms and averages of parameters that two processes share: as of whole ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from recast.errors import ConfigError
from recast.train import optim, parallel
from recast.train.ema import Average
from recast.train.muon import Muon
from recast.train.objective import generator
from recast.train.settings import Optimiser, Parallel, Run
from tests.train.processes import Meeting, small_flow, together, values

SETTINGS = Optimiser(kind="muon", lr=1e-2, matrix_lr=1e-2, weight_decay=0.1)


def give_gradients(network: nn.Module, seed: int) -> None:
    """Gradients by name, the same in any number of processes."""
    for name, parameter in network.named_parameters():
        whole = torch.randn(parameter.shape, generator=generator(seed, 0, name))
        if isinstance(parameter, DTensor):
            parameter.grad = distribute_tensor(whole, parameter.device_mesh, parameter.placements)
        else:
            parameter.grad = whole


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def two_steps(network: nn.Module) -> dict[str, torch.Tensor]:
    """Norms before and after clipping, then parameters and averages, all whole."""
    optimisers = optim.build(network.named_parameters(), SETTINGS)
    average = Average(network)
    found = {}
    for seed in (1, 2):
        give_gradients(network, seed)
        parameters = list(network.parameters())
        found[f"norm {seed}"] = optim.gradient_norm(parameters)
        optim.clip(parameters, found[f"norm {seed}"], 0.5)
        found[f"clipped {seed}"] = optim.gradient_norm(parameters)
        for optimiser in optimisers:
            optimiser.step()
        average.update(0.9)
    with Average.all_in([average]):
        found |= {f"averaged {name}": whole(p.detach()).clone() for name, p in network.named_parameters()}
    return found | {name: whole(p.detach()).clone() for name, p in network.named_parameters()}


def sharded(meeting: Meeting) -> tuple[dict[str, torch.Tensor], int]:
    layout = Parallel(shard=2)
    network = parallel.wrap(small_flow(), Run(steps=1), layout, meeting.start(layout))
    found = two_steps(network)
    held = sum(p.to_local().numel() for p in network.parameters() if isinstance(p, DTensor))
    return found, held


def test_two_processes_step_as_one(tmp_path: Path):
    alone = small_flow()
    expected = two_steps(alone)
    assert float(expected["clipped 1"]) == pytest.approx(0.5, rel=1e-4)
    total = sum(p.numel() for p in alone.parameters())
    for found, held in values(together(2, tmp_path, sharded)):
        assert held < 0.6 * total  # it was cut
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(
                found[name], value, atol=1e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
            )


def cut_by_tensor(meeting: Meeting) -> str:
    layout = Parallel(tensor=2)
    network = parallel.wrap(small_flow(), Run(steps=1), layout, meeting.start(layout))
    adam = optim.build(network.named_parameters(), Optimiser())
    assert not any(isinstance(each, Muon) for each in adam)
    try:
        optim.build(network.named_parameters(), SETTINGS)
    except ConfigError as error:
        return str(error)
    return ""


def test_muon_refuses_matrices_whose_parts_are_mixed(tmp_path: Path):
    for said in values(together(2, tmp_path, cut_by_tensor)):
        assert "cut by tensor parallel" in said
