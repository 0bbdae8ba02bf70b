"""What a plan's options skip and keep, by formula, is what its engine skips and keeps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recast import cost
from recast.config import kontext_dev, tiny
from recast.errors import ConfigError, OutOfMemory
from recast.speed import accelerate, forecast
from recast.speed.approximate import Approximate
from recast.speed.engine import Engine
from recast.speed.memory import Memory, Numbers, block_bytes, fit
from recast.speed.plan import PLANS
from tests.tiny import tiny_pipeline

EDIT = cost.Request(width=64, height=48, contexts=((64, 48),), evaluations=8)
LARGE = cost.Request(width=1024, height=1024, contexts=((1024, 1024),))
STEPS = 8


def by(option: str | None, **changes: Any) -> Any:
    return replace(PLANS["exact"], approximate=None if option is None else Approximate.read(option), **changes)


@pytest.mark.parametrize(
    ("option", "sampler"),
    [
        ("context-reuse", "euler"),
        ("context-reuse:first=1,every=3,last=0,extrapolates=0", "heun"),
        ("context-reuse:extrapolates=1", "ab2"),
        ("extrapolate:every=3", "euler"),
    ],
)
def test_evaluations_and_what_they_keep_are_counted_as_the_engine_makes_them(
    option: str, sampler: str, monkeypatch: pytest.MonkeyPatch
):
    seen, sizes = [], []
    evaluate = Engine.evaluate

    def watched(self: Engine, x: Any, at: Any, condition: Any, *part: Any) -> Any:
        velocity, kept = evaluate(self, x, at, condition, *part)
        seen.append(part[0].context if part else True)
        sizes.append(sum(tensor.nbytes for block in kept for tensor in block))
        return velocity, kept

    monkeypatch.setattr(Engine, "evaluate", watched)
    fast = accelerate(tiny_pipeline(), by(option)).pipeline
    source = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    fast.edit(source, "make it red", steps=STEPS, seed=0, sampler=sampler, size="source", true_guidance=1.0)
    asked = forecast.asked_at(sampler, STEPS)
    walk = forecast.walked(tiny(), EDIT, by(option), steps=asked)
    assert (walk.whole, walk.smaller) == (sum(seen), len(seen) - sum(seen))
    assert walk.whole + walk.smaller + walk.skipped == len(asked)
    if option.startswith("context-reuse"):
        alive = 3 if "extrapolates=1" in option else 2  # those kept, and those a refresh makes
        assert forecast.kept_bytes(tiny(), EDIT, Approximate.read(option), item=4) == alive * max(sizes)


def test_heun_asks_twice_at_all_steps_but_the_first():
    assert forecast.asked_at("heun", 3) == [0, 1, 1, 2, 2]
    assert forecast.asked_at("euler", 3) == [0, 1, 2]


def test_work_falls_with_the_region_and_without_one_is_that_of_every_evaluation():
    config = kontext_dev()
    whole = forecast.walked(config, LARGE, by(None), steps=range(28))
    assert whole.work == cost.estimate(config, LARGE).sampling
    totals = [
        forecast.walked(config, LARGE, by("region"), steps=range(28), changed=share).work.total
        for share in (0.05, 0.3, 0.9, 1.0)
    ]
    assert totals == sorted(totals)
    assert totals[-1] == whole.work.total
    all_but_context = forecast.walked(config, LARGE, by("context-reuse"), steps=range(28))
    assert totals[2] < all_but_context.smaller_step.total * 28 + 7 * all_but_context.step.total
    cached = replace(config.flow, context_attention="cached")
    assert all_but_context.smaller_step == cost.step_work(cached, target=4096, text=512, context=4096)


def test_a_step_takes_as_long_as_its_weights_take_to_pass_where_that_is_longer():
    config, numbers = kontext_dev(), Numbers()
    estimated = cost.estimate(config, LARGE)
    walk = forecast.walked(config, LARGE, by(None), steps=range(28))
    memory = Memory(resident_blocks=10, text="streamed", modulators="host")
    passing = sum(block_bytes(config.flow, numbers)[10:])

    def sample(flops: float, **changes: Any) -> float:
        rates = forecast.Rates(text=flops, linear=flops, attention=flops, autoencoder=flops, bus=25e9)
        return forecast.seconds(config, LARGE, estimated, walk, replace(numbers, **changes), memory, rates)["sample"]

    assert sample(1e18) == pytest.approx(28 * passing / 25e9, rel=0.05)
    assert sample(1e12) == pytest.approx(estimated.sampling.total / 1e12, rel=0.01)
    assert sample(1e18, on_cuda=False) < 0.1  # nothing passes a bus


def test_what_an_option_keeps_is_put_aside_under_a_cap():
    config, numbers, option = kontext_dev(), Numbers(), Approximate.read("context-reuse")
    kept = forecast.kept_bytes(config, LARGE, option, item=2)
    assert forecast.fit_beside(config, LARGE, numbers, 24e9, option) == fit(config, LARGE, numbers, 24e9 - kept)
    assert forecast.fit_beside(config, LARGE, numbers, 24e9, None) == fit(config, LARGE, numbers, 24e9)
    with pytest.raises(OutOfMemory, match=r"5\.74 GB of 6\.00 go to what context-reuse keeps"):
        forecast.fit_beside(config, LARGE, numbers, 6e9, option)


@pytest.mark.parametrize(
    ("option", "changed", "request_", "message"),
    [
        ("context-reuse", None, replace(EDIT, contexts=()), "a request without context pictures came"),
        ("region", None, EDIT, "region needs it"),
        ("extrapolate", 0.5, EDIT, "belongs to region"),
        ("region", 1.5, EDIT, "above 0, up to 1"),
    ],
)
def test_an_option_that_does_not_suit_is_refused(option: str, changed: float | None, request_: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        forecast.walked(tiny(), request_, by(option), steps=range(4), changed=changed)


def test_extrapolation_refuses_a_sampler_that_asks_twice():
    with pytest.raises(ConfigError, match="two evaluations a step"):
        forecast.walked(tiny(), EDIT, by("extrapolate"), steps=forecast.asked_at("heun", 4))
