"""The engine gives the velocities of the core's network, whatever part of it is changed for speed."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from recast.errors import ConfigError
from recast.speed import attention
from recast.speed.blocks import blocks_of
from recast.speed.engine import Engine, Part, Resident
from tests.flow.test_transformer import GRID, inputs
from tests.tiny import tiny_flow

WAYS = {
    "plain": {},
    "attention written out": {"attend": attention.written},
    "by length": {"attend": attention.by_length},
    "MLP in runs": {"mlp_rows": 5},
}


@pytest.mark.parametrize("way", [*WAYS, "joined"])
@pytest.mark.parametrize("mode", ["full", "cached"])
@pytest.mark.parametrize(("batch", "contexts"), [(1, ((2, 5), (4, 2))), (2, ((2, 5),)), (2, ())])
def test_velocities_are_the_core_s(way: str, mode: str, batch: int, contexts: tuple[tuple[int, int], ...]):
    flow = tiny_flow(context_attention=mode)
    changes = {"blocks": Resident(blocks_of(flow, joined=True))} if way == "joined" else WAYS[way]
    engine = Engine(flow, **changes)
    x, _, given = inputs(batch=batch, contexts=contexts)
    wanted = flow.along(flow.condition(**given), [1.0, 0.6])(x, 0.6)
    velocity = engine.along(engine.condition(**given), [1.0, 0.6])(x, 0.6)
    torch.testing.assert_close(velocity, wanted, rtol=0, atol=2e-5)


def test_in_bf16_the_joined_engine_is_no_farther_from_fp32_than_the_core():
    x, _, given = inputs()
    exact = tiny_flow().along(tiny_flow().condition(**given), [0.6])(x, 0.6)
    flow = tiny_flow().bfloat16()
    half = {name: value.bfloat16() if "positions" not in name else value for name, value in given.items()}
    engine = Engine(flow, blocks=Resident(blocks_of(flow, joined=True)))
    errors = [
        (network.along(network.condition(**half), [0.6])(x, 0.6) - exact).norm().item() for network in (flow, engine)
    ]
    assert 0 < errors[1] < 1.2 * errors[0]


def test_the_weights_are_the_network_s_own():
    """What is folded into the network is what the engine multiplies with."""
    flow = tiny_flow()
    engine = Engine(flow)
    x, _, given = inputs()
    before = engine.along(engine.condition(**given), [0.6])(x, 0.6)
    with torch.no_grad():
        for block in (*flow.double_blocks, *flow.single_blocks):
            for name, parameter in block.named_parameters():
                if "qkv" in name or "linear" in name:
                    parameter.mul_(1.5)
    after = engine.along(engine.condition(**given), [0.6])(x, 0.6)
    assert (after - before).abs().max() > 0.01
    torch.testing.assert_close(after, flow.along(flow.condition(**given), [0.6])(x, 0.6), rtol=0, atol=2e-5)


def test_tokens_left_out_take_part_by_what_was_kept_of_them():
    """Context rows and every other target token from an evaluation at the same time: nothing changes."""
    flow = tiny_flow()
    engine = Engine(flow)
    x, _, given = inputs(batch=2)
    condition = engine.condition(**given)
    at = engine.modulations(condition, [0.6])[0.6]
    n, r = x.shape[1], given["context"].shape[1]
    active, passive = torch.arange(0, n, 2), torch.arange(1, n, 2)
    with torch.inference_mode():
        whole, kept = engine.evaluate(x, at, condition, Part(keep=torch.cat([passive, n + torch.arange(r)])))
        part, none = engine.evaluate(x, at, condition, Part(target=active, context=False, others=kept))
    assert part.shape == (2, len(active), 64)
    assert none == []
    torch.testing.assert_close(part, whole[:, active], rtol=0, atol=2e-5)
    with torch.inference_mode():  # and they do take part
        alone, _ = engine.evaluate(x, at, condition, Part(target=active, context=False))
    assert (alone - part).abs().max() > 1e-3


def test_a_time_that_was_not_announced_is_refused():
    engine = Engine(tiny_flow())
    x, _, given = inputs()
    velocity = engine.along(engine.condition(**given), [1.0, 0.5])
    with pytest.raises(ConfigError, match=r"t=0.3: this walk was prepared for the times \[0.5, 1.0\]"):
        velocity(x, 0.3)


def test_another_prompt_shares_the_context():
    flow = tiny_flow(context_attention="cached")
    engine = Engine(flow)
    x, _, given = inputs()
    condition = engine.condition(**given)
    other = engine.with_text(condition, given["text"] + 1, given["pooled"])
    assert other.context is condition.context
    wanted = flow.along(flow.condition(**{**given, "text": given["text"] + 1}), [0.6])(x, 0.6)
    torch.testing.assert_close(engine.along(other, [0.6])(x, 0.6), wanted, rtol=0, atol=2e-5)


def test_extra_channels_reach_the_network():
    flow = tiny_flow(in_channels=72)
    engine = Engine(flow)
    x, _, given = inputs(contexts=())
    extra = torch.randn(1, GRID[0] * GRID[1], 8)
    made = [network.along(network.condition(**given, extra=extra), [0.6])(x, 0.6) for network in (flow, engine)]
    torch.testing.assert_close(made[1], made[0], rtol=0, atol=2e-5)
    moved = replace(engine.condition(**given, extra=extra), extra=extra + 1)
    assert (engine.along(moved, [0.6])(x, 0.6) - made[1]).abs().max() > 1e-3


def test_the_text_s_work_is_begun_aside_and_joined_before_its_result_is_read():
    """Twice a double block: before attention reads q, k, v of both, and before what was read may be freed."""
    told = []

    class Aside:
        @contextmanager
        def begin(self):
            told.append("begin")
            yield
            told.append("end")

        def join(self) -> None:
            told.append("join")

    def attend(q, k, v):
        told.append("attend")
        return attention.plain(q, k, v)

    flow = tiny_flow()
    x, _, given = inputs()
    engine = Engine(flow, aside=Aside(), attend=attend)
    velocity = engine.along(engine.condition(**given), [0.6])(x, 0.6)
    wanted = flow.along(flow.condition(**given), [0.6])(x, 0.6)
    torch.testing.assert_close(velocity, wanted, rtol=0, atol=2e-5)
    block = ["begin", "end", "join", "attend", "begin", "end", "join"]
    assert told == block * flow.config.depth + ["attend"] * flow.config.depth_single_blocks
