"""Groups, rates and norms of the optimisers, and what Muon does to a matrix."""

import math

import pytest
import torch
from torch import nn

from recast.errors import ConfigError, TrainingError
from recast.train import optim
from recast.train.muon import Muon, Parts, orthogonal
from recast.train.settings import Optimiser
from tests.tiny import tiny_flow, tiny_text


def trained(network: nn.Module, prefix: str = "flow") -> list[tuple[str, nn.Parameter]]:
    network.requires_grad_(True)
    return [(f"{prefix}.{name}", parameter) for name, parameter in network.named_parameters()]


def random_matrices(*shapes: tuple[int, int], seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_every_parameter_is_in_one_group_and_only_matrices_decay():
    named = trained(tiny_flow()) + trained(tiny_text().network, "text")
    (adam,) = optim.build(named, Optimiser(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in adam.param_groups for p in group["params"]}
    assert len(decay) == len(named) == sum(len(group["params"]) for group in adam.param_groups)
    tables = {"text.shared.weight"} | {name for name, _ in named if "relative_attention_bias" in name}
    assert len(tables) == 2
    for name, parameter in named:
        assert decay[id(parameter)] == (0.1 if parameter.ndim >= 2 and name not in tables else 0.0), name


def test_muon_takes_the_hidden_matrices_and_adamw_the_rest():
    named = trained(tiny_flow()) + trained(tiny_text().network, "text")
    muon, adam = optim.build(named, Optimiser(kind="muon", lr=1e-3, matrix_lr=2e-3))
    assert isinstance(muon, Muon)
    names = {id(parameter): name for name, parameter in named}
    hidden = sorted(names[id(p)] for group in muon.param_groups for p in group["params"])
    rest = sorted(names[id(p)] for group in adam.param_groups for p in group["params"])
    assert sorted(hidden + rest) == sorted(names.values())
    kinds = {".".join(name.split(".")[-3:]) for name in hidden}
    double = {f"{s}_attn.{m}.weight" for s in ("img", "txt") for m in ("qkv", "proj")}
    double |= {f"{s}_mlp.{m}.weight" for s in ("img", "txt") for m in (0, 2)}
    single = {f"{i}.linear{m}.weight" for i in range(3) for m in (1, 2)}
    t5 = {f"SelfAttention.{m}.weight" for m in "qkvo"} | {f"DenseReluDense.{m}.weight" for m in ("wi_0", "wi_1", "wo")}
    assert kinds == double | single | t5
    assert [g["initial_lr"] for g in muon.param_groups] == [2e-3]
    assert {g["initial_lr"] for g in adam.param_groups} == {1e-3}


def test_nothing_to_train_is_refused():
    with pytest.raises(ConfigError, match="no parameters to train"):
        optim.build([], Optimiser())


def test_orthogonal_brings_singular_values_near_one_and_keeps_the_directions():
    matrices = random_matrices((12, 20), (20, 12), (12, 20), (7, 7), seed=1)
    for before, after in zip(matrices, orthogonal(matrices), strict=True):
        values = torch.linalg.svdvals(after)
        assert 0.5 < values.min() <= values.max() < 1.3
        u, _, v = torch.linalg.svd(before, full_matrices=False)
        inner = u.mT @ after @ v.mT  # diagonal where the singular vectors are the same
        torch.testing.assert_close(inner, torch.diag(inner.diagonal()), atol=1e-4, rtol=0)
    assert orthogonal([torch.zeros(3, 4)])[0].abs().max() == 0


def test_stacks_of_few_parts_give_what_large_ones_give(monkeypatch: pytest.MonkeyPatch):
    matrices = random_matrices((6, 9), (9, 6), (6, 9), (4, 4))
    whole = orthogonal(matrices)
    monkeypatch.setattr("recast.train.muon.NUMBERS_AT_ONCE", 60)
    for one, other in zip(whole, orthogonal(matrices), strict=True):
        torch.testing.assert_close(one, other)


def test_muon_is_a_nesterov_step_of_fixed_size_part_by_part():
    """Written out for two steps of a matrix of two parts, one of them far larger than the other."""
    start, first, second = random_matrices((8, 5), (8, 5), (8, 5))
    first[3:] *= 1000
    matrix = nn.Parameter(start.clone())
    muon = Muon([(matrix, Parts(0, (3, 5)))], lr=0.1, weight_decay=0.5, momentum=0.9)
    expected, buffer = start, torch.zeros(8, 5)
    for gradient in (first, second):
        matrix.grad = gradient.clone()
        muon.step()
        buffer = 0.9 * buffer + 0.1 * gradient
        ahead = 0.1 * gradient + 0.9 * buffer
        top, bottom = orthogonal([ahead[:3]])[0], orthogonal([ahead[3:]])[0]
        update = 0.2 * math.sqrt(5) * torch.cat([top, bottom])
        expected = (1 - 0.1 * 0.5) * expected - 0.1 * update
        torch.testing.assert_close(matrix.detach(), expected)


def test_the_parts_of_the_flow_are_its_own_widths():
    flow = tiny_flow()
    d, h = flow.config.hidden_size, flow.config.mlp_hidden
    plans = {name: optim.split_plan(name, p) for name, p in flow.named_parameters() if p.ndim == 2}
    assert plans["double_blocks.0.txt_attn.qkv.weight"] == Parts(0, (d, d, d))
    assert plans["single_blocks.1.linear1.weight"] == Parts(0, (d, d, d, h))
    assert plans["single_blocks.1.linear2.weight"] == Parts(1, (d, h))
    assert plans["double_blocks.0.img_mlp.0.weight"] is None


def test_muon_refuses_what_is_no_matrix():
    with pytest.raises(ConfigError, match="two dimensions"):
        Muon([(nn.Parameter(torch.zeros(3)), None)], lr=0.1)
    with pytest.raises(ConfigError, match="add up"):
        Muon([(nn.Parameter(torch.zeros(3, 3)), Parts(1, (1, 1)))], lr=0.1)


def test_rates_warm_up_stay_and_fall_to_the_floor():
    wsd = Optimiser(schedule="wsd", warmup_steps=4, decay_from=0.5, floor=0.1)
    assert [optim.rate(wsd, step, 0.0) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert optim.rate(wsd, 99, 0.5) == 1.0
    assert optim.rate(wsd, 99, 0.75) == pytest.approx(0.55)
    assert optim.rate(wsd, 99, 1.0) == pytest.approx(0.1)
    cosine = Optimiser(schedule="cosine", warmup_steps=0, floor=0.2)
    assert [optim.rate(cosine, 0, share) for share in (0, 0.5, 1, 3)] == pytest.approx([1, 0.6, 0.2, 0.2])
    assert optim.rate(Optimiser(schedule="constant", warmup_steps=2), 5, 1.0) == 1.0
    assert optim.rate(Optimiser(schedule="wsd", warmup_steps=0, decay_from=1.0), 0, 1.0) == 1.0


def test_the_rate_scales_every_group():
    optimisers = optim.build(trained(tiny_flow()), Optimiser(kind="muon", lr=1e-3, matrix_lr=4e-3))
    optim.set_rate(optimisers, 0.5)
    optim.set_rate(optimisers, 0.25)  # of the full rate, not of the last
    assert {group["lr"] for optimiser in optimisers for group in optimiser.param_groups} == {2.5e-4, 1e-3}


def test_the_norm_is_of_all_gradients_together_and_clipping_brings_it_to_the_limit():
    parameters = [nn.Parameter(matrix) for matrix in random_matrices((3, 4), (5, 2), (2, 2))]
    for parameter in parameters[:2]:
        parameter.grad = 3 * parameter.detach()
    flat = torch.cat([p.grad.flatten() for p in parameters[:2]])
    norm = optim.gradient_norm(parameters)
    torch.testing.assert_close(norm, flat.norm())
    optim.clip(parameters, norm, 2 * float(norm))
    torch.testing.assert_close(optim.gradient_norm(parameters), norm)
    optim.clip(parameters, norm, math.inf)
    torch.testing.assert_close(optim.gradient_norm(parameters), norm)
    optim.clip(parameters, norm, 0.5)
    torch.testing.assert_close(optim.gradient_norm(parameters), torch.tensor(0.5))


def test_the_norm_of_no_gradients_is_refused():
    with pytest.raises(TrainingError, match="backward"):
        optim.gradient_norm([nn.Parameter(torch.zeros(2))])
