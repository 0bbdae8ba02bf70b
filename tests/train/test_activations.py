"""Activation checkpointing: the same numbers, computed again."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from recast.errors import ConfigError
from recast.flow.transformer import FlowTransformer
from recast.train.activations import blocks, checkpoint_blocks
from recast.train.settings import Checkpointing
from tests.train.processes import small_flow


def loss_of(network: FlowTransformer) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x, text, context = (torch.randn(2, n, c, generator=generator) for n, c in ((12, 64), (5, 24), (8, 64)))
    places = torch.stack([torch.zeros(12), torch.arange(12) // 4, torch.arange(12) % 4], -1)[None]
    condition = network.condition(
        positions=places, text=text, pooled=text.mean(1), context=context, context_positions=places[:, :8] + 1
    )
    return (network(x, torch.tensor([0.3, 0.8]), condition) - x.flip(0)).square().mean()


class Counting(TorchDispatchMode):
    """Counts the operations that run, by name; those whose outputs were kept do not run again."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen[operation.__name__.split(".")[0]] += 1
        return operation(*args, **(kwargs or {}))


def measured(kind: Checkpointing, attention: str) -> tuple[float, list[Tensor], int, int]:
    """Loss, gradients, and how many matrix products and attentions both passes took."""
    network = small_flow(context_attention=attention)
    names = list(network.state_dict())
    checkpoint_blocks(network, kind)
    assert list(network.state_dict()) == names
    with Counting() as counting:
        loss = loss_of(network)
        loss.backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None for gradient in gradients)
    seen = counting.seen
    attended = sum(n for name, n in seen.items() if "scaled_dot" in name and "backward" not in name)
    return loss.item(), gradients, seen["mm"] + seen["addmm"], attended


@pytest.mark.parametrize("attention", ["full", "cached"])
def test_numbers_stay_to_the_bit_and_selective_computes_less_again_than_full(attention: str):
    loss, gradients, products, attended = measured("none", attention)
    found = {kind: measured(kind, attention) for kind in ("full", "selective")}
    for other_loss, others, _, _ in found.values():
        assert other_loss == loss
        assert all(torch.equal(one, other) for one, other in zip(gradients, others, strict=True))
    again = {kind: each[2] - products for kind, each in found.items()}
    assert 0.3 * again["full"] < again["selective"] < 0.6 * again["full"]  # every second one
    assert found["full"][3] == 2 * attended > 0  # all of it again
    assert found["selective"][3] == attended


def test_blocks_are_in_the_order_of_the_sequence():
    network = small_flow()
    assert blocks(network) == [*network.double_blocks, *network.single_blocks]


def test_a_network_without_blocks_is_refused():
    checkpoint_blocks(nn.Linear(2, 2), "none")
    with pytest.raises(ConfigError, match=r"checkpointing='full'.*Linear"):
        checkpoint_blocks(nn.Linear(2, 2), "full")
