"""What of a flow stays in fp32 under autocast: the vector that times make, and all that is made of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recast.flow.layers import Embedder, Modulate
from recast.latents.tokens import positions
from tests.tiny import tiny_flow


def evaluated(flow: Any, *, autocast: bool, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, dict[str, Any]]:
    """A velocity, and what each embedder, each modulation and the last layer put out."""
    seen: dict[str, Any] = {}
    kept = [
        module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out))
        for name, module in flow.named_modules()
        if isinstance(module, Embedder | Modulate) or name == "final_layer"
    ]
    drawn = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=drawn).to(dtype)

    config = flow.config
    text, pooled, x = (
        normal(2, 5, config.context_in_dim),
        normal(2, config.vec_in_dim),
        normal(2, 4, config.out_channels),
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        condition = flow.condition(
            positions=positions((2, 2)), text=text, pooled=pooled, guidance=torch.ones(2, dtype=dtype)
        )
        velocity = flow(x, torch.tensor([0.301, 0.302], dtype=dtype), condition)
    for each in kept:
        each.remove()
    return velocity, seen


def test_modulations_under_autocast_are_those_without_it_to_the_bit():
    flow = tiny_flow()
    exact, wanted = evaluated(flow, autocast=False)
    half, found = evaluated(flow, autocast=True)
    assert len(found) == 2 * 2 + 3 + 3 + 1  # of two double and three single blocks, three embedders, the last layer
    last, _ = found.pop("final_layer"), wanted.pop("final_layer")
    for name, made in found.items():
        torch.testing.assert_close(made, wanted[name], rtol=0, atol=0, msg=name)
    assert last.dtype == torch.float32
    assert not torch.equal(half, exact)  # the blocks themselves do run in bf16
    torch.testing.assert_close(half, exact, rtol=0.05, atol=0.05)


def test_a_base_kept_in_bf16_runs_under_autocast_and_without():
    flow = tiny_flow()
    flow.bfloat16()
    half, found = evaluated(flow, autocast=True, dtype=torch.bfloat16)
    plain, _ = evaluated(flow, autocast=False, dtype=torch.bfloat16)
    assert found["time_in"].dtype == torch.bfloat16  # as its weights have learned it
    torch.testing.assert_close(half.float(), plain.float(), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_come_through(precision: torch.dtype):
    flow = tiny_flow()
    flow.to(precision).requires_grad_(True)
    evaluated(flow, autocast=True, dtype=precision)[0].float().square().mean().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in flow.parameters())


def test_a_modulation_is_compiled_whole():
    made = Modulate(8, 1)
    vector = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    compiled = torch.compile(made, backend="eager", fullgraph=True)
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            assert all(torch.equal(*pair) for pair in zip(compiled(vector)[0], made(vector)[0], strict=True))
