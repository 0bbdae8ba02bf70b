"""The door: every plan makes the picture of the reference, as near as it promises, and says what it did."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recast import cost
from recast.errors import ConfigError, OutOfMemory
from recast.speed import accelerate
from recast.speed.plan import PLANS
from recast.speed.streaming import Streamed
from recast.speed.text_eviction import Evicted
from tests.tiny import tiny_pipeline

SOURCE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
OPTIONS = {"seed": 3, "steps": 3}
REQUEST = cost.Request(width=64, height=48, contexts=((64, 48),), evaluations=3)
LEVELS = {"reference": 0, "exact": 1, "lossless": 1, "fp8": 60, "fp8-attention": 60}  # largest difference, of 255


@pytest.fixture(scope="module")
def wanted() -> np.ndarray:
    return tiny_pipeline().edit(SOURCE, "make it red", **OPTIONS).pictures[0].rgb.astype(int)


@pytest.mark.parametrize("name", LEVELS)
def test_the_picture_is_the_reference_s(name: str, wanted: np.ndarray):
    pipeline = tiny_pipeline()
    fast = accelerate(pipeline, name)
    result = fast.pipeline.edit(SOURCE, "make it red", **OPTIONS)
    difference = np.abs(result.pictures[0].rgb - wanted)
    assert difference.max() <= LEVELS[name]
    if "fp8" in name:
        assert difference.max() > 0  # it was rounded
    assert result.recipe.plan == name
    again = pipeline.edit(SOURCE, "make it red", **OPTIONS)  # the one that came in is as it was
    assert np.array_equal(again.pictures[0].rgb, wanted)
    assert again.recipe.plan == "reference"


def test_every_plan_is_tried_above():
    assert {*PLANS} - {"compile"} == {*LEVELS}


def test_the_report_says_what_this_device_cannot():
    fast = accelerate(tiny_pipeline(), "fp8")
    said = {line.technique: line for line in fast.report if not line.is_applied}
    assert {"kernels", "graph", "side stream"} <= {*said}
    assert "CUDA" in said["kernels"].why
    assert str(fast).startswith("plan fp8 (near-lossless)\n+ autoencoder: ")
    assert any("written out" in line.why for line in fast.report if line.technique == "eight-bit products")


def test_an_option_that_skips_work_is_in_the_recipe_and_makes_the_plan_approximate(wanted: np.ndarray):
    fast = accelerate(tiny_pipeline(), "exact", approximate="context-reuse:first=1,every=2,last=0")
    result = fast.pipeline.edit(SOURCE, "make it red", **OPTIONS)
    assert fast.plan.class_ == "approximate"
    assert result.recipe.plan == "exact + context-reuse:first=1,every=2,last=0"
    difference = np.abs(result.pictures[0].rgb - wanted)
    assert difference.max() > 0


def test_a_picture_seen_before_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch):
    fast = accelerate(tiny_pipeline(), "exact").pipeline
    first = fast.edit(SOURCE, "make it red", **OPTIONS)
    monkeypatch.setattr(type(fast.autoencoder._autoencoder), "encode", lambda *_, **__: pytest.fail("encoded"))
    assert fast.edit(SOURCE, "make it red", **OPTIONS).recipe.output_sha256 == first.recipe.output_sha256


def test_under_a_cap_weights_pass_through_and_the_picture_is_the_same(wanted: np.ndarray):
    from recast.speed.apply import numbers_of
    from recast.speed.engine import Engine
    from recast.speed.memory import smallest_bytes

    pipeline = tiny_pipeline()
    numbers = numbers_of(PLANS["exact"], Engine(pipeline.flow), torch.device("cpu"))
    least = smallest_bytes(pipeline.config, REQUEST, numbers)
    fast = accelerate(pipeline, "exact", vram=least, request=REQUEST)
    assert isinstance(fast.pipeline.network.blocks, Streamed)
    assert fast.memory.resident_blocks == 0
    result = fast.pipeline.edit(SOURCE, "make it red", **OPTIONS)
    assert np.abs(result.pictures[0].rgb - wanted).max() <= 1
    with pytest.raises(OutOfMemory, match=r"needs .* GB at the least"):
        accelerate(tiny_pipeline(), "exact", vram=least // 2, request=REQUEST)


def test_an_error_of_memory_is_met_once_by_a_lower_recipe(wanted: np.ndarray):
    fast = accelerate(tiny_pipeline(), "exact", vram="8gb", request=REQUEST)
    before = fast.memory
    calls = []

    def ask(pipeline):
        calls.append(len(pipeline.network.blocks))
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return pipeline.edit(SOURCE, "make it red", **OPTIONS)

    result, note = fast.run(ask)
    assert np.abs(result.pictures[0].rgb - wanted).max() <= 1
    assert note.startswith("memory: ran out (CUDA out of memory")
    assert (before.text, fast.memory.text) == ("resident", "streamed")
    assert isinstance(fast.pipeline.text, Evicted)
    while fast.lower() is not None:  # down to the last
        again = fast.pipeline.edit(SOURCE, "make it red", **OPTIONS)
        assert np.abs(again.pictures[0].rgb - wanted).max() <= 1
    assert fast.memory.resident_blocks == 0
    assert isinstance(fast.pipeline.network.blocks, Streamed)
    assert isinstance(fast.pipeline.network.modulators, Streamed)
    with pytest.raises(torch.OutOfMemoryError):
        fast.run(lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plan": "fastest"}, "plan='fastest': auto, reference, exact"),
        ({"plan": "exact", "approximate": "skip"}, "approximate='skip': context-reuse, first-block"),
        ({"plan": "exact", "approximate": "context-reuse:often=2"}, "often came; first, every, last, extrapolates"),
        ({"plan": "exact", "approximate": "context-reuse:every"}, "'every' came; name=number accepted"),
        ({"plan": "reference", "approximate": "context-reuse"}, "plan=reference: approximate options need the engine"),
        ({"plan": "reference", "vram": "8gb"}, "plan=reference: a cap on memory needs the engine"),
        ({"plan": "exact", "vram": "8 apples"}, "vram='8 apples': a number above 0 and a unit"),
        ({"plan": "exact", "device": "meta"}, "device='meta': the weights are on cpu"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict, message: str):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        accelerate(tiny_pipeline(), **changes)


def test_cached_contexts_are_shared_by_variants(monkeypatch: pytest.MonkeyPatch):
    pipeline = tiny_pipeline()
    flow = replace(pipeline.config.flow, context_attention="cached")
    pipeline = tiny_pipeline(flow=flow)
    plain = pipeline.edit(SOURCE, ["make it red", "make it blue"], **OPTIONS)
    fast = accelerate(pipeline, "exact")
    made = fast.pipeline.edit(SOURCE, ["make it red", "make it blue"], **OPTIONS)
    for one, other in zip(made.pictures, plain.pictures, strict=True):
        assert np.abs(one.rgb.astype(int) - other.rgb).max() <= 1
    monkeypatch.setattr(type(fast.pipeline.network), "run", lambda *_: pytest.fail("computed"))
    request = fast.pipeline.start_edit(SOURCE, "make it green", **OPTIONS).request
    fast.pipeline._encode(request)  # finds the context where it is
