"""Graphs: what is recorded once and played for other inputs gives what a call would have given."""

import pytest
import torch

from recast.errors import ConfigError
from recast.speed.engine import Engine
from recast.speed.graphs import Graphs
from tests.flow.test_transformer import inputs
from tests.tiny import tiny_flow


class Eager:
    """Stands in for a device that records: plays by calling again, into the tensor that was handed out."""

    def __init__(self) -> None:
        self.recorded = self.played = 0

    def __call__(self, run):
        self.recorded += 1
        result = run().clone()

        def replay() -> None:
            self.played += 1
            result.copy_(run())

        return replay, result


@pytest.fixture
def recorder() -> Eager:
    return Eager()


@pytest.mark.parametrize("mode", ["full", "cached"])
def test_two_walks_take_turns_with_one_graph(recorder: Eager, mode: str):
    """As guidance does: each finds its own condition, times and state there."""
    flow = tiny_flow(context_attention=mode)
    engine = Engine(flow)
    times = [1.0, 0.6, 0.2]
    x, _, given = inputs()
    conditions = [engine.condition(**{**given, "text": given["text"] + shift}) for shift in (0, 1)]
    plain = [engine.along(condition, times) for condition in conditions]
    engine.walk = Graphs(recorder)
    graphed = [engine.along(condition, times) for condition in conditions]
    results = []
    for t in (1.0, 0.6, 0.2):
        for wanted, played in zip(plain, graphed, strict=True):
            results.append((played(x * t, t), wanted(x * t, t)))
    for played, wanted in results:  # compared at the end: no result is written over by a later replay
        torch.testing.assert_close(played, wanted, rtol=0, atol=0)
    assert (recorder.recorded, recorder.played) == (1, 6)


def test_another_shape_is_another_graph_and_the_oldest_goes(recorder: Eager):
    engine = Engine(tiny_flow())
    engine.walk = graphs = Graphs(recorder, most=2)
    for contexts in (((2, 5),), ((4, 2),), ((2, 5),), (), ((4, 2),)):
        x, _, given = inputs(contexts=contexts)
        engine.along(engine.condition(**given), [0.6])(x, 0.6)
    assert recorder.recorded == 4  # the last was forgotten when the third shape came
    assert len(graphs.recent) == 2


def test_engines_that_share_a_walk_have_graphs_of_their_own(recorder: Eager):
    """As the ends of a walk and its middle do, whose attention differs."""
    exact, other = Engine(tiny_flow()), Engine(tiny_flow())
    other.attend = lambda q, k, v: 2 * exact.attend(q, k, v)
    x, _, given = inputs()
    condition = exact.condition(**given)
    wanted = [engine.along(condition, [0.6])(x, 0.6) for engine in (exact, other)]
    exact.walk = other.walk = Graphs(recorder)
    found = [engine.along(condition, [0.6])(x, 0.6) for engine in (exact, other)]
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert not torch.equal(*found)


def test_weights_that_come_and_go_cannot_be_recorded(recorder: Eager):
    engine = Engine(tiny_flow())
    engine.blocks, engine.walk = object(), Graphs(recorder)
    _, _, given = inputs()
    with pytest.raises(ConfigError, match="graph: the weights must stay on the device"):
        engine.along(engine.condition(**given), [0.6])
