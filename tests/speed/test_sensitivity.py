"""Walks as they were taken, and the error that each layer makes alone."""

import math

import pytest
import torch

from recast.errors import ConfigError, InputError
from recast.flow.transformer import FlowTransformer
from recast.speed.blocks import blocks_of
from recast.speed.engine import Engine, Resident
from recast.speed.quantize import layer_names, quantised
from recast.speed.sensitivity import Probe, Sensitivity, Walked, distance, measure, recorded, velocities, worst
from tests.flow.test_transformer import inputs
from tests.tiny import tiny_flow, tiny_pipeline


def walks(flow: FlowTransformer, count: int = 2) -> list[Walked]:
    """Walks of one evaluation from t = 0.8."""
    made = []
    for seed in range(count):
        x, _, given = inputs(seed, contexts=((2, 5),))
        condition = flow.condition(**given)
        made.append(Walked(condition, [x], [0.8], [flow.along(condition, [0.8])(x, 0.8)]))
    return made


def test_a_recorded_walk_is_the_one_that_was_taken():
    pipeline = tiny_pipeline()
    usual, steps = pipeline.network, []
    with recorded(pipeline) as taken:
        pipeline.generate("a cat", seed=1, steps=3, on_step=steps.append)
    assert pipeline.network is usual
    (walk,) = taken
    assert walk.times[0] == 1.0
    assert len(walk.times) == len(walk.states) == len(walk.velocities) == 3
    again = velocities(usual, walk.steps())
    assert all(torch.equal(one, kept) for one, kept in zip(again, walk.velocities, strict=True))
    for before, after in ((0, 1), (1, 2)):  # Euler
        t, x = walk.times[after], walk.states[after]
        torch.testing.assert_close(walk.at(t).x, x, rtol=0, atol=0)
        midway = (walk.times[before] + t) / 2
        torch.testing.assert_close(walk.at(midway).x, (walk.states[before] + x) / 2, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match=r"t=1.5: this walk began at 1.0"):
        walk.at(1.5)


def test_the_network_comes_back_after_an_error():
    pipeline = tiny_pipeline()
    usual = pipeline.network
    with pytest.raises(ZeroDivisionError), recorded(pipeline):
        _ = 1 / 0
    assert pipeline.network is usual


def test_the_table_is_the_error_of_each_layer_alone():
    flow = tiny_flow()
    taken, names = walks(flow), layer_names(blocks_of(flow))
    chosen = ("double.1.image.proj", "single.2.qkv")
    table = measure(Engine(flow), taken, times=(0.8, 0.3), names=chosen)
    assert table.error.keys() == set(chosen)
    assert (table.times, table.requests) == ((0.8, 0.3), 2)
    for name in chosen:
        alone = quantised(blocks_of(flow), keep=[other for other in names if other != name])
        engine = Engine(flow, blocks=Resident(alone))
        for time, error in zip(table.times, table.error[name], strict=True):
            probes = [walk.at(time) for walk in taken]
            pairs = zip(velocities(engine, probes), velocities(Engine(flow), probes), strict=True)
            wanted = math.sqrt(sum(distance(*pair) ** 2 for pair in pairs) / 2)
            assert error == pytest.approx(wanted, rel=1e-6)
            assert error > 1e-4


def test_the_worst_are_those_with_the_largest_error():
    error = {"a": (0.1, 0.1), "b": (0.3, 0.0), "c": (0.2, 0.2), "d": (0.0, 0.0)}
    table = Sensitivity(times=(1.0, 0.5), requests=1, error=error)
    assert table.overall("b") == pytest.approx(0.3 / math.sqrt(2))
    assert worst(table, 0.5) == ("b", "c")
    assert worst(table, 0.26) == ("b", "c")
    assert worst(table) == ("b",)
    assert worst(table, 0) == ()
    with pytest.raises(ConfigError, match="share=2: a part"):
        worst(table, 2)


def test_a_table_comes_back_from_its_file(tmp_path):
    table = Sensitivity(times=(1.0, 0.05), requests=3, error={"single.0.qkv": (0.01, 0.02)})
    table.save(tmp_path / "table.json")
    assert Sensitivity.load(tmp_path / "table.json") == table
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]
    for broken in ("{", "[]", '{"times": [1], "requests": 1, "error": {"a": 3}}', '{"times": [1], "error": {}}'):
        (tmp_path / "broken.json").write_text(broken)
        with pytest.raises(InputError, match=r"broken.json': not a table of layers"):
            Sensitivity.load(tmp_path / "broken.json")
    (tmp_path / "broken.json").write_text('{"times": [1], "requests": 1, "error": {"a": [1, 2]}}')
    with pytest.raises(InputError, match="1 numbers needed for every layer"):
        Sensitivity.load(tmp_path / "broken.json")


def test_streamed_weights_cannot_be_measured():
    class Streamed:
        def __len__(self):
            return 0

    with pytest.raises(ConfigError, match="must stay on the device"):
        measure(Engine(tiny_flow(), blocks=Streamed()), [])


def test_a_probe_is_asked_again_as_it_was():
    flow = tiny_flow()
    (walk,) = walks(flow, 1)
    (probe,) = walk.steps()
    assert isinstance(probe, Probe)
    assert torch.equal(velocities(flow, [probe])[0], walk.velocities[0])
