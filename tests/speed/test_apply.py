"""The door: every plan makes the picture of the reference, as near as it promises, and says what it did."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recast import cost
from recast.cli import planned
from recast.config import kontext_dev
from recast.errors import ConfigError, OutOfMemory
from recast.retouch.editor import Editor
from recast.speed import accelerate
from recast.speed.apply import numbered
from recast.speed.approximate import Approximate
from recast.speed.autoencoder import FastAutoencoder
from recast.speed.computed_in import numbers_by, recipe_under
from recast.speed.engine import Engine
from recast.speed.graphs import Graphs
from recast.speed.memory import fit
from recast.speed.plan import PLANS, Plan
from recast.speed.processes import Process
from recast.speed.quantize import EightBit
from recast.speed.request_cache import EncodesOnce
from recast.speed.several import Several
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
    assert isinstance(fast.pipeline.network, Engine) == PLANS[name].engine  # or a plan that does nothing would pass
    kept = fast.pipeline.autoencoder
    inner = kept._autoencoder if isinstance(kept, EncodesOnce) else kept
    assert isinstance(inner, FastAutoencoder) == (PLANS[name].autoencoder == "fast")
    result = fast.pipeline.edit(SOURCE, "make it red", **OPTIONS)
    difference = np.abs(result.pictures[0].rgb - wanted)
    assert difference.max() <= LEVELS[name]
    if "fp8" in name:
        assert difference.max() > 0  # it was rounded
    assert result.recipe.plan == name
    again = pipeline.edit(SOURCE, "make it red", **OPTIONS)  # the one that came in is as it was
    assert np.array_equal(again.pictures[0].rgb, wanted)
    assert again.recipe.plan == "reference"


@pytest.mark.parametrize(
    ("plan", "keep", "said"),
    [
        (replace(PLANS["exact"], joined=False), (), "exact (custom: joined=False)"),
        (replace(PLANS["lossless"], tuned=False), (), "lossless (custom: tuned=False)"),
        (replace(PLANS["exact"], graph=True, vram_bytes=10**10), (), "exact"),  # which change no sum
        (Plan(name="mine", exactness="lossless", kernels=True), (), "mine (custom: kernels=True)"),
        (Plan(name="mine", exactness="lossless"), (), "mine (custom: as Plan() is)"),
        (PLANS["fp8"], ("single.0.proj", "single.1.proj"), "fp8 (custom: keep=single.0.proj/single.1.proj)"),
    ],
)
def test_a_plan_of_one_s_own_is_told_from_the_named_one(plan: Plan, keep: tuple[str, ...], said: str):
    """A replay by the plan of that name would make another picture."""
    pipeline = accelerate(tiny_pipeline(), plan, keep=keep).pipeline
    assert pipeline.plan == said
    if "custom" in said:
        with pytest.raises(ConfigError, match="no flag says another"):
            planned.split(pipeline.plan)
    else:
        assert planned.split(pipeline.plan) == (said, None)


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
    from recast.speed.computed_in import numbers_of
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
    with pytest.raises(OutOfMemory, match=r"needs .* at the least"):
        accelerate(tiny_pipeline(), "exact", vram=least // 2, request=REQUEST)


def test_a_device_without_a_number_is_that_of_the_weights():
    """Tensors made on "cuda" say "cuda:0", and these two are not equal."""
    cuda, second = torch.device("cuda"), torch.device("cuda", 1)
    assert numbered(cuda, second) == second
    assert numbered(torch.device("cuda", 0), second) == torch.device("cuda", 0)
    assert numbered(torch.device("cpu"), second) == torch.device("cpu")


def test_a_lower_recipe_leaves_no_recording_and_no_second_holder_of_the_weights():
    fast = accelerate(tiny_pipeline(), "fp8-attention", vram="8gb", request=REQUEST)
    engine = fast.pipeline.network
    graphs = Graphs(lambda run: pytest.fail("recorded weights that pass through"))
    engine.walk = replace(engine.walk, inside=graphs)
    engine.walk.exact.walk = graphs
    while not isinstance(engine.blocks, Streamed):
        assert fast.lower() is not None
    assert engine.walk.exact.blocks is engine.blocks
    assert engine.walk.exact.modulators is engine.modulators
    assert fast.pipeline.edit(SOURCE, "make it red", **OPTIONS).pictures


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
        ({"plan": "exact", "device": "gpu"}, "device='gpu': cpu, cuda"),
        ({"plan": "exact", "vram": 0}, "vram=0: bytes above 0"),
        ({"plan": "exact", "vram": True}, "vram=True: bytes above 0"),
        ({"plan": ["exact"]}, "auto, reference, exact"),
        ({"plan": "exact", "approximate": 3}, "approximate=3: a text such as"),
        ({"plan": "exact", "approximate": "extrapolate:every=2,every=3"}, "every came twice"),
        ({"plan": "exact", "keep": ["double.0.text.qkv"]}, "that a plan of eight bits leaves as they are"),
        ({"plan": "fp8", "keep": "double.0.text.qkv"}, "put names in a list"),
        ({"plan": "exact", "vram": "8gb", "request": 3}, "request=3: a recast.cost.Request accepted"),
        ({"plan": "exact", "several": 2}, "several=2: a recast.speed.several.Several accepted"),
        ({"plan": "exact", "here": 0}, "here=0: a recast.speed.processes.Process accepted"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict, message: str):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        accelerate(tiny_pipeline(), **changes)


def test_a_pipeline_is_accelerated_once_and_as_it_is():
    """Twice, its recipe would say a plan that is not the one it was made by."""
    fast = accelerate(tiny_pipeline(), "fp8").pipeline
    for plan in ("reference", "lossless"):
        with pytest.raises(ConfigError, match="it goes by plan fp8 already"):
            accelerate(fast, plan)
    with pytest.raises(ConfigError, match="Editor came"):
        accelerate(Editor(tiny_pipeline()), "exact")


def test_a_pipeline_whose_weights_moved_says_so():
    pipeline = tiny_pipeline()
    fast = accelerate(pipeline, "exact", vram="8gb", request=REQUEST)
    with pytest.raises(ConfigError, match="its weights moved to the accelerated one"):
        pipeline.edit(SOURCE, "make it red", **OPTIONS)
    with pytest.raises(ConfigError, match="gave them away"):
        accelerate(pipeline, "exact")
    assert fast.pipeline.edit(SOURCE, "make it red", **OPTIONS).pictures


def test_eight_bit_attention_goes_with_an_option_that_skips_work():
    fast = accelerate(tiny_pipeline(), "fp8-attention", approximate="extrapolate:first=1,order=0,last=0")
    result = fast.pipeline.edit(SOURCE, "make it red", seed=3, steps=5)
    assert result.recipe.plan == "fp8-attention + extrapolate:first=1,order=0,last=0"


def test_a_graph_is_left_out_where_it_does_not_fit_beside_the_weights():
    model, plan = kontext_dev(), PLANS["lossless"]
    numbers = numbers_by(plan, torch.bfloat16, "cuda", fused=True)
    large = cost.Request(width=1024, height=1024, contexts=((1024, 1024),))
    found = {gb: recipe_under(gb * 1e9, model, large, plan, numbers) for gb in (80, 8)}
    assert (found[80][0].graph, found[80][1].resident_blocks) == (True, 57)
    assert not found[8][0].graph
    assert found[8][1].resident_blocks > fit(model, large, numbers, 8e9).resident_blocks
    skipping = replace(plan, approximate=Approximate.read("first-block"))
    assert not numbers_by(skipping, torch.bfloat16, "cuda", fused=True).graph


def test_under_a_cap_no_context_is_kept_for_later():
    pipeline = tiny_pipeline(flow=replace(tiny_pipeline().config.flow, context_attention="cached"))
    assert "- shared contexts: a cap has room" in str(accelerate(pipeline, "exact", vram="8gb", request=REQUEST))


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


FOUR_HEADS = {"hidden_size": 64, "num_heads": 4}


def shared_out(plan: str = "fp8", *, device: str | None = None, heads: dict = FOUR_HEADS, **several: int):
    """A plan for one process of two that never met: what each takes of the weights needs no word of the other."""
    pipeline = tiny_pipeline(flow=replace(tiny_pipeline().config.flow, **heads))
    here = Process(rank=1, size=2) if several else None
    return accelerate(pipeline, plan, device=device, several=Several(**several or {"tensor": 2}), here=here)


def test_in_tensor_parallel_each_process_holds_its_share_alone():
    fast = shared_out("fp8", tensor=2)
    stream = fast.pipeline.network.blocks.blocks[0].image
    assert isinstance(stream.qkv, EightBit)
    assert (stream.qkv.weight.shape, stream.mlp_out.part.weight.shape) == ((96, 64), (64, 128))
    assert all(weight.is_meta for weight in fast.pipeline.flow.double_blocks.parameters())
    assert [str(line)[:40] for line in fast.report if line.technique in ("tensor", "graph", "side stream")] == [
        "+ tensor: process 1 of 2: its own heads ",
        "- side stream: the text's sums over the ",
        "- graph: processes wait for each other i",
    ]


def test_in_sequence_parallel_the_pipeline_that_came_in_stays():
    fast = shared_out("lossless", sequence=2)
    assert "+ sequence: process 1 of 2" in str(fast)
    assert not any(weight.is_meta for weight in fast.pipeline.flow.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plan": "reference", "sequence": 2}, "plan=reference: is without the engine"),
        ({"plan": "fp8-attention", "sequence": 2}, "plan=fp8-attention: has an engine beside the shared one"),
        ({"plan": "exact"}, "here: missing beside Several"),
        ({"sequence": 2, "device": "meta"}, "device='meta': the weights are on cpu"),
        ({"sequence": 3}, "sequence=3: must divide num_heads=4"),
        ({"sequence": 4}, "4 processes needed, and 2 met"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(changes: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        shared_out(**changes)
