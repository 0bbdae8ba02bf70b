"""Compiled blocks: few graphs for the shapes of a recipe, the numbers of plain ones, no silent way back."""

from inspect import signature
from typing import Any

import pytest
import torch
from torch import Tensor

from recast.errors import TrainingError
from recast.latents.tokens import positions
from recast.train import compiling, parallel
from recast.train.activations import blocks, checkpoint_blocks
from recast.train.compiling import compile_blocks, uncompiled
from recast.train.settings import Parallel, Run
from tests.train.pairs import pairs
from tests.train.pairs import stage as made_stage
from tests.train.processes import small_flow

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own

SHAPES = [((4, 4), 1, 5), ((5, 3), 0, 2), ((5, 3), 2, 3), ((4, 4), 0, 7), ((4, 4), 2, 4)]
"""Of the recipe's passes: grid of the target, pictures of context, examples."""
GRAPHS = {"full": 3, "cached": 7}
"""A double block's; a single block's for all rows and for those that are read; of a cache, those too, and its own."""


class Counted:
    """A backend that runs a graph as it is, and counts graphs."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.graphs += 1
        return graph.forward


def measured(network: Any, shape: Any) -> list[Tensor]:
    """The velocity of one pass, and all gradients of its square."""
    (grid, contexts, count), generator = shape, torch.Generator().manual_seed(1)
    n = grid[0] * grid[1]
    x, text, shown = (torch.randn(count, m, c, generator=generator) for m, c in ((n, 64), (7, 24), (contexts * n, 64)))
    places = [positions(grid, index=index + 1) for index in range(contexts)]
    of_context = {"context": shown, "context_positions": torch.cat(places, 1)} if contexts else {}
    condition = network.condition(positions=positions(grid), text=text, pooled=text.mean(1), **of_context)
    velocity = network(x, torch.rand(count, generator=generator), condition)
    if not torch.is_grad_enabled():
        return [velocity]
    parameters = [p for p in network.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(velocity.square().mean(), parameters, allow_unused=True)
    return [velocity, *(g for g in gradients if g is not None)]


def kind(x: Any) -> Any:
    """What of an input a graph is for: its type, and of a tensor all but the sizes that are not 1."""
    if isinstance(x, Tensor):
        return x.dtype, x.requires_grad, x.is_contiguous(), tuple(size == 1 for size in x.shape)
    if isinstance(x, slice):
        return kind(x.start), kind(x.stop)
    return tuple(map(kind, x)) if isinstance(x, tuple) else type(x)


@pytest.mark.parametrize("attention", ["full", "cached"])
def test_the_shapes_of_a_recipe_are_few_to_a_compiler(attention: str, monkeypatch: pytest.MonkeyPatch):
    """Graphs are dear to trace, so here inputs are told apart as dynamo tells them; two of full attention are traced
    in the next test.
    """
    network, seen = small_flow(context_attention=attention, depth=2, depth_single_blocks=3), set()

    def spied(method: Any, **_: Any) -> Any:
        def call(*inputs: Any) -> Any:
            bound = signature(method).bind(*inputs)
            bound.apply_defaults()
            seen.add((method.__func__, *map(kind, bound.args)))
            return method(*inputs)

        return call

    monkeypatch.setattr(compiling, "_compiled", spied)
    compile_blocks(network)
    for shape in SHAPES:
        measured(network, shape)
    assert len(seen) == GRAPHS[attention]


def test_a_graph_serves_all_shapes_and_gives_the_numbers_of_plain_blocks():
    """With selective checkpointing inside, which a graph must keep."""
    plain, network, counted = small_flow(), small_flow(), Counted()
    names = list(network.state_dict())
    checkpoint_blocks(network, "selective")
    compile_blocks(network, backend=counted)
    assert list(network.state_dict()) == names
    for shape in SHAPES:
        torch.testing.assert_close(measured(network, shape), measured(plain, shape))
    assert counted.graphs == 2 * GRAPHS["full"]  # as it came first, and for all others
    with torch.no_grad(), uncompiled():
        torch.testing.assert_close(measured(network, SHAPES[0]), measured(plain, SHAPES[0]))
    assert counted.graphs == 2 * GRAPHS["full"]  # as it came first, and for all others


def test_inputs_that_are_never_alike_are_an_error_and_not_a_silent_way_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiling, "GRAPHS", 1)
    network = small_flow(depth_single_blocks=1)
    compile_blocks(network, backend=Counted())
    single = network.single_blocks[0]
    x, vector, rotary = torch.ones(2, 3, 64), torch.ones(2, 64), torch.ones(1, 1, 3, 8, dtype=torch.complex64)
    single(x, vector, rotary)
    with pytest.raises(TrainingError, match=r"SingleStreamBlock.forward was compiled 1 times.*run.compile=false"):
        single(x, vector, rotary, None, slice(1, 3))
    other = small_flow(depth_single_blocks=1).to(torch.bfloat16)  # a teacher beside it, whose graphs count too
    compile_blocks(other, backend=Counted())
    with pytest.raises(TrainingError, match=r"SingleStreamBlock.forward was compiled 1 times"):
        other.single_blocks[0](x.bfloat16(), vector.bfloat16(), rotary)


def test_a_run_compiles_its_blocks_where_asked(monkeypatch: pytest.MonkeyPatch):
    compiled: list[Any] = []
    monkeypatch.setattr(parallel, "compile_blocks", lambda network, **said: compiled.append((network, said)))
    network = small_flow()
    parallel.wrap(network, Run(steps=1), Parallel(), parallel.ALONE)
    assert not compiled
    parallel.wrap(network, Run(steps=1, compile=True), Parallel(), parallel.ALONE)
    assert compiled == [(network, {"is_whole": True})]


def test_judging_runs_blocks_as_they_are_written():
    made, counted = made_stage(run={"compile": True}, held_out=[pairs(2)]), Counted()
    plain = made.validate()
    compile_blocks(made.flow, backend=counted)
    assert made.validate() == plain
    assert counted.graphs == 0
    assert len(blocks(made.flow)) > 0
