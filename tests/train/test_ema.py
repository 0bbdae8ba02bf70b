"""The average: how fast it forgets, and that it goes in and comes out again."""

import pytest
import torch
from torch import nn

from recast.train.ema import Average


def network(value: float) -> nn.Linear:
    made = nn.Linear(3, 2)
    with torch.no_grad():
        made.weight.fill_(value)
        made.bias.fill_(-value)
    return made


def test_half_of_the_start_is_left_after_a_half_life():
    made = network(1.0)
    average = Average(made)
    with torch.no_grad():
        made.weight.zero_()
    for _ in range(10):
        average.update(0.5 ** (1 / 10))
    torch.testing.assert_close(average.tensors["weight"], torch.full((2, 3), 0.5))
    torch.testing.assert_close(average.tensors["bias"], torch.full((2,), -1.0))


def test_only_trained_parameters_are_averaged_and_in_fp32():
    made = network(1.0).to(torch.bfloat16)
    made.bias.requires_grad_(False)
    average = Average(made)
    assert list(average.tensors) == ["weight"]
    assert average.tensors["weight"].dtype == torch.float32
    with torch.no_grad():
        made.weight.fill_(2.0)
    average.update(0.999)  # a step that bf16 would round away
    torch.testing.assert_close(average.tensors["weight"], torch.full((2, 3), 1.001))


def test_averages_go_in_and_parameters_come_back_even_after_an_error():
    made, other = network(1.0), network(5.0)
    averages = [Average(made), Average(other)]
    with torch.no_grad():
        made.weight.fill_(2.0)
        other.bias.fill_(7.0)
    before = [parameter.detach().clone() for module in (made, other) for parameter in module.parameters()]

    def inside() -> None:
        with Average.all_in(averages):
            assert float(made.weight.detach()[0, 0]) == 1.0
            assert float(other.bias.detach()[0]) == -5.0
            averages[0].network(torch.ones(1, 3))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        inside()
    after = [parameter.detach() for module in (made, other) for parameter in module.parameters()]
    for one, two in zip(before, after, strict=True):
        assert torch.equal(one, two)
    assert float(averages[0].tensors["weight"][0, 0]) == 1.0
