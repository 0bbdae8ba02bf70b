"""Many processes do what one does: losses, gradients and weights of every layout against a single process."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recast.errors import ConfigError
from recast.train import optim, parallel, tensor_parallel
from recast.train.adapters import LoRA, attach
from recast.train.parallel import ALONE, Ranks
from recast.train.settings import Parallel, Run
from tests.train.processes import Meeting, small_flow, together, values

TWO = [
    ("full", Parallel(shard=2), "none"),
    ("cached", Parallel(shard=2), "selective"),
    ("full", Parallel(replicate=2), "none"),
    ("full", Parallel(tensor=2), "none"),
    ("cached", Parallel(tensor=2), "full"),
    ("full", Parallel(context=2), "full"),
    ("cached", Parallel(context=2), "none"),
]
FOUR = [
    ("full", Parallel(replicate=2, shard=2), "full"),
    ("cached", Parallel(shard=2, tensor=2), "none"),
    ("full", Parallel(tensor=2, context=2), "selective"),
]
SAMPLES = 4


def whole(tensor: Any) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def measured(ranks: Ranks, attention: str, layout: Parallel, checkpointing: Any) -> dict[str, Any]:
    """Loss, gradients, gradient norm and weights of one pass with a context and one without; odd token counts."""
    network = small_flow(context_attention=attention)
    reader = nn.Linear(6, 24, dtype=torch.float32)
    nn.init.constant_(reader.weight, 0.1 * (1 + ranks.rank))  # the first process's is what counts
    nn.init.zeros_(reader.bias)
    run = Run(steps=1, checkpointing=checkpointing)
    parallel.wrap(network, run, layout, ranks)
    parallel.wrap(reader, Run(steps=1), layout, ranks)
    generator = torch.Generator().manual_seed(1)
    own = slice(*(SAMPLES * (ranks.data_rank + i) // ranks.data_size for i in (0, 1)))

    def numbers(*shape: int) -> Tensor:
        return torch.randn(SAMPLES, *shape, generator=generator)[own]

    def places(count: int, index: int) -> Tensor:
        each = torch.arange(count)
        return torch.stack([torch.full((count,), index), each // 4, each % 4], -1)[None]

    x, aim, context, text = numbers(15, 64), numbers(15, 64), numbers(5, 64), reader(numbers(7, 6))
    t = torch.rand(SAMPLES, generator=generator)[own]
    of_context = {"context": context, "context_positions": places(5, 1)}
    loss = torch.zeros(())
    for inputs in (of_context, {}):
        condition = network.condition(positions=places(15, 0), text=text, pooled=text.mean(1), **inputs)
        loss = loss + (network(x, t, condition) - aim).square().mean()
    loss.backward()

    norm = float(optim.gradient_norm([*network.parameters(), *reader.parameters()]))
    kept = tensor_parallel.orders(network)
    gradients = {}
    for name, parameter in [*network.named_parameters(), *reader.named_parameters(prefix="reader")]:
        assert parameter.grad is not None
        gradient = parameter.grad
        if name in kept:
            gradient = tensor_parallel.reordered(gradient, kept[name], publish=True)
        gradients[name] = whole(gradient).clone()
    return {
        "loss": ranks.mean({"loss": loss})["loss"],
        "norm": norm,
        "gradients": gradients,
        "weights": {name: whole(tensor).clone() for name, tensor in network.state_dict().items()},
    }


def all_layouts(meeting: Meeting, cases: list[Any]) -> list[dict[str, Any]]:
    found = []
    for attention, layout, checkpointing in cases:
        ranks = meeting.start(layout)
        found.append(measured(ranks, attention, layout, checkpointing))
        ranks.barrier()
        parallel.stop(ranks)
    return found


def compare(cases: list[Any], outcomes: list[list[dict[str, Any]]]) -> None:
    for i, (attention, layout, _) in enumerate(cases):
        alone = measured(ALONE, attention, Parallel(), "none")
        for found in (each[i] for each in outcomes):
            assert found["loss"] == pytest.approx(alone["loss"], rel=1e-5), layout
            assert found["norm"] == pytest.approx(alone["norm"], rel=1e-5), layout
            assert found["weights"].keys() == alone["weights"].keys()
            for name, weight in alone["weights"].items():
                assert torch.equal(found["weights"][name], weight), (layout, name)
            assert found["gradients"].keys() == alone["gradients"].keys()
            for name, gradient in alone["gradients"].items():
                torch.testing.assert_close(
                    found["gradients"][name], gradient, rtol=1e-5, atol=1e-5 * float(gradient.abs().max()), msg=name
                )


def both(meeting: Meeting) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return all_layouts(meeting, TWO), in_two(meeting)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What each of two processes found."""
    return values(together(2, tmp_path_factory.mktemp("two"), both))


@pytest.mark.slow
def test_two_processes_in_every_layout_are_one(two: list[Any]):
    compare(TWO, [layouts for layouts, _ in two])


@pytest.mark.slow
def test_four_processes_in_two_dimensions_are_one(tmp_path: Path):
    compare(FOUR, values(together(4, tmp_path, all_layouts, FOUR)))


def in_two(meeting: Meeting) -> dict[str, Any]:
    layout = Parallel(shard=2)
    ranks = meeting.start(layout)
    nan, rank = math.nan, ranks.rank
    numbers = {"b": [1.0, nan][rank], "a": 2.0 + rank, "c": nan}
    found: dict[str, Any] = {
        "agree": ranks.agree(0.1 + rank),
        "any": (ranks.any(rank == 1), ranks.any(False)),
        "mean": ranks.mean({name: torch.tensor(number) for name, number in numbers.items()}),
        "gather": ranks.gather(rank),
        "peak": ranks.measure_peak(),
        "data": (ranks.data_rank, ranks.data_size),
    }
    averaged = Twice()
    parallel.wrap(averaged, Run(steps=1), layout, ranks)
    for i in (1.0, 2.0):  # gradients add up over backward passes
        averaged.elsewhere(torch.tensor(i * (1 + 2 * rank))).backward()
    found["gradient"] = float(averaged.a.grad)  # type: ignore[arg-type]
    found["unused"] = float(averaged.b.grad)  # type: ignore[arg-type]

    flow = small_flow()
    adapters = attach(flow, LoRA(rank=2))
    parallel.wrap(flow, Run(steps=1), layout, ranks)
    x = torch.ones(1, 4, 64) * (1 + rank)
    places, text = torch.zeros(1, 4, 3), torch.ones(1, 2, 24)
    condition = flow.condition(positions=places, text=text, pooled=text[:, 0])
    flow(x, torch.tensor([0.5]), condition).square().mean().backward()
    found["adapters"] = float(optim.gradient_norm(list(adapters.parameters())))
    try:
        parallel.wrap(attached(), Run(steps=1), Parallel(tensor=2), tensor_only(ranks))
    except ConfigError as problem:
        found["refused"] = str(problem)
    return found


def attached() -> nn.Module:
    flow = small_flow()
    attach(flow, LoRA(rank=2))
    return flow


def tensor_only(ranks: Ranks) -> Ranks:
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cpu", (1, 1, 2), mesh_dim_names=("replicate", "shard", "tensor"))
    return Ranks(rank=ranks.rank, size=2, mesh=mesh)


class Twice(nn.Module):
    """A network that is not called by `forward`, one of whose parameters the second process does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(5.0))

    def elsewhere(self, x: Tensor) -> Tensor:
        return self.a * x + (self.b * x if x in (1.0, 2.0) else 0.0)


@pytest.mark.slow
def test_what_processes_agree_on(two: list[Any]):
    first, second = (agreed for _, agreed in two)
    for found in (first, second):
        assert found["agree"] == 0.1
        assert found["any"] == (True, False)
        assert found["mean"]["a"] == 2.5
        assert found["mean"]["b"] == 1.0  # of the process that has a number
        assert math.isnan(found["mean"]["c"])
        assert found["gather"] == [0, 1]
        assert found["gradient"] == (1 + 2 + 3 + 6) / 2
        assert found["unused"] == (1 + 2) / 2
        assert "plain linear layers" in found["refused"]
        assert found["adapters"] == first["adapters"] > 0
    assert first["peak"] == second["peak"] > 0
    assert (first["data"], second["data"]) == ((0, 2), (1, 2))


def test_alone_nothing_is_exchanged():
    assert ALONE.agree(0.3) == 0.3
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert ALONE.gather("x") == ["x"]
    found = ALONE.mean({"a": torch.tensor(2.0), "b": torch.tensor(math.nan)})
    assert found["a"] == 2.0
    assert math.isnan(found["b"])
    assert ALONE.mean({}) == {}
    assert 0.01 < ALONE.peak_gib() < 1000
    assert not ALONE.has_lost(RuntimeError("Connection closed by peer"))
    assert Ranks(size=2).has_lost(RuntimeError("[gloo] Connection closed by peer"))
    assert not Ranks(size=2).has_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_layout_needs_its_processes():
    with pytest.raises(ConfigError, match=r"shard 2 .* tensor 2 = 4 processes, and 3 came"):
        parallel.start(Parallel(shard=2, tensor=2), rank=0, size=3)
    assert parallel.start(Parallel()).size == 1


def test_alone_a_network_is_wrapped_in_nothing():
    network = small_flow()
    before = dict(network.named_modules())
    assert parallel.wrap(network, Run(steps=1), Parallel(), ALONE) is network
    assert dict(network.named_modules()) == before


def test_heads_must_divide():
    class Three:
        def size(self) -> int:
            return 3

    with pytest.raises(ConfigError, match="tensor=3: must divide num_heads=4"):
        tensor_parallel.parallelise(small_flow(), Three())  # type: ignore[arg-type]
