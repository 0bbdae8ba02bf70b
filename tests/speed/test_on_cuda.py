"""What only a GPU does, against what is known to be right: streams, graphs, page-locked copies, libraries, formats.

    python -m pytest -q tests/speed/test_on_cuda.py

Skipped without CUDA, but for what a stand-in can act on a CPU: then the tests themselves are known to run. Streams that
do not wait for each other may be right many times, so everything is played repeatedly, and on CUDA with enough work in
each launch that a race is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from recast import cost
from recast.config import tiny
from recast.flow.transformer import Condition, FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.latents.tokens import positions
from recast.pipeline import Pipeline
from recast.speed import accelerate, attention, attention8, fused
from recast.speed.arms import Arm, arms_on
from recast.speed.autoencoder import FastAutoencoder, by_kernel, by_library, in_runs
from recast.speed.blocks import blocks_of, modulators_of
from recast.speed.engine import Engine
from recast.speed.graphs import Graphs, OnCuda, Record
from recast.speed.lanes import lane_of
from recast.speed.ops import Plain
from recast.speed.plan import PLANS
from recast.speed.selftest import FLOW
from recast.speed.side_stream import SideStream
from recast.speed.streaming import Streamed
from tests.speed.test_graphs import Eager
from tests.tiny import randomise, tiny_pipeline

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
REPEATS = {"cpu": 1, "cuda": 8}
TIMES = [1.0, 0.6, 0.2]
SIDE = {"cpu": 4, "cuda": 48}  # tokens along one side
DTYPE = {"cpu": torch.float32, "cuda": torch.bfloat16}
NEAR = {"cpu": 1e-5, "cuda": 0.02}  # relative: another kernel for the same sums; a race is far beyond


@pytest.fixture(params=[CPU, pytest.param(CUDA, marks=on_cuda)], ids=["cpu", "cuda"])
def place(request: pytest.FixtureRequest) -> torch.device:
    return request.param


@pytest.fixture(autouse=True)
def own_table(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test times products into the user's table."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def recorder(place: torch.device) -> Record:
    return OnCuda() if place.type == "cuda" else Eager()


def far(made: Tensor, true: Tensor) -> float:
    return float((made.double() - true.double()).norm() / true.double().norm())


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def flow_on(place: torch.device) -> FlowTransformer:
    """Random weights on the host, heads as wide as published ones, in the format that the device is used with."""
    flow = randomise(FlowTransformer(FLOW), 0).eval().requires_grad_(False)
    assert isinstance(flow, FlowTransformer)
    return flow.to(DTYPE[place.type])


def asked(place: torch.device, seed: int = 0, side: int | None = None) -> dict[str, Tensor]:
    """The inputs of a condition: an edit of side x side tokens with one context as large."""
    side, dtype = side or SIDE[place.type], DTYPE[place.type]
    text, pooled = drawn(1, 24, FLOW.context_in_dim, seed=seed), drawn(1, FLOW.vec_in_dim, seed=seed)
    context = drawn(1, side * side, FLOW.out_channels, seed=seed)
    given = {name: one.to(place, dtype) for name, one in (("text", text), ("pooled", pooled), ("context", context))}
    where = {"positions": positions((side, side)), "context_positions": positions((side, side), index=1)}
    return given | {name: one.to(place) for name, one in where.items()} | {"guidance": torch.full((1,), 2.5).to(place)}


def walked(engine: Engine, conditions: list[Condition], place: torch.device) -> list[Tensor]:
    """Velocities of walks that take turns, as those of guidance do; each on the host."""
    velocities = [engine.along(condition, TIMES) for condition in conditions]
    n = SIDE[place.type] ** 2
    x = drawn(1, n, FLOW.out_channels, seed=7).to(place)
    found = [velocity(x * t, t) for t in TIMES for velocity in velocities]
    return [one.cpu() for one in found]


class Told:
    """Stands in for a second stream on a CPU."""

    def __init__(self) -> None:
        self.begun = self.joined = 0

    def begin(self) -> AbstractContextManager[object]:
        self.begun += 1
        return nullcontext()

    def join(self) -> None:
        self.joined += 1


def assert_walks(engine: Engine, conditions: list[Condition], wanted: list[Tensor], place: torch.device) -> None:
    """Near what is wanted, and the same bits every time."""
    first = walked(engine, conditions, place)
    for made, true in zip(first, wanted, strict=True):
        assert far(made, true) < NEAR[place.type]
    for _ in range(REPEATS[place.type]):
        again = walked(engine, conditions, place)
        assert all(torch.equal(one, other) for one, other in zip(again, first, strict=True))


@pytest.mark.parametrize("ops", ["plain", "kernels"])
@pytest.mark.parametrize("graphed", [False, True], ids=["launched", "graphed"])
def test_a_graph_with_the_text_on_a_stream_of_its_own_is_eager(place: torch.device, graphed: bool, ops: str) -> None:
    if ops == "kernels" and fused.missing(place) is not None:
        pytest.skip(str(fused.missing(place)))
    flow = flow_on(place).to(place)
    engine = Engine(flow)
    conditions = [engine.condition(**asked(place, seed)) for seed in (0, 1)]
    wanted = walked(engine, conditions, place)
    engine.ops = fused.Fused() if ops == "kernels" else Plain()
    engine.aside = SideStream(place) if place.type == "cuda" else Told()
    if graphed:
        engine.walk = Graphs(recorder(place))
    assert_walks(engine, conditions, wanted, place)
    if isinstance(engine.aside, Told):
        assert engine.aside.joined == engine.aside.begun > 0


def test_shapes_that_take_turns_share_a_pool_of_memory_and_keep_their_numbers(place: torch.device) -> None:
    """More of them than recordings: each is recorded anew in what the others left."""
    flow = flow_on(place).to(place)
    engine = Engine(flow)
    graphed = Engine(flow)
    graphed.walk = Graphs(recorder(place), most=2)
    sides = [SIDE[place.type] - less for less in (0, 1, 2)]
    for side in sides * 2:
        condition = engine.condition(**asked(place, side, side=side))
        x = drawn(1, side * side, FLOW.out_channels).to(place)
        wanted = engine.along(condition, TIMES)(x, 0.6).cpu()
        assert far(graphed.along(condition, TIMES)(x, 0.6).cpu(), wanted) < NEAR[place.type]


@pytest.mark.parametrize("host", ["held", "mapped"])
@pytest.mark.parametrize("resident", [0, 1])
def test_streamed_weights_give_what_resident_ones_give(place: torch.device, host: str, resident: int) -> None:
    home, here = flow_on(place), flow_on(place).to(place)
    engine = Engine(here)
    conditions = [engine.condition(**asked(place))]
    wanted = walked(engine, conditions, place)
    engine.blocks = Streamed(blocks_of(home), place, resident=resident, slots=2, host=host)
    engine.modulators = Streamed(modulators_of(home), place, slots=2, lasting=False)
    assert_walks(engine, conditions, wanted, place)


def test_a_page_locked_copy_arrives_before_it_is_read_and_after_the_last_was(place: torch.device) -> None:
    """Into one slot over and over, read by a computation that takes longer than the copy."""
    lane, size = lane_of(place), (1 << 12) + 5 if place.type == "cpu" else (1 << 24) + 5
    runs, slot = [lane.hold(size) for _ in range(2)], lane.empty(size)
    assert all(run.shape == (size,) for run in runs)
    assert all(run.is_pinned() for run in runs) == (place.type == "cuda")
    sums, sent = [], [None, None]
    busy = torch.ones(64 if place.type == "cpu" else 2048, dtype=torch.float32, device=place).diag()
    for number in range(8):
        run = runs[number % 2]
        if sent[number % 2] is not None:
            lane.finish(sent[number % 2])
        run.fill_(number)
        free = lane.mark()
        sent[number % 2] = lane.copy(slot, run, free)
        lane.wait(sent[number % 2])
        busy = busy @ busy  # still at it when the next copy is issued
        sums.append((slot.long().sum() * busy[0, 0]).long())
    assert [int(one) for one in sums] == [number * size for number in range(8)]


@pytest.mark.parametrize("arm", arms_on(CUDA), ids=lambda arm: arm.name)
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("how", ["at once", "recorded"])
def test_every_way_of_a_product_gives_the_same(place: torch.device, arm: Arm, has_bias: bool, how: str) -> None:
    if arm.name not in [one.name for one in arms_on(place)]:
        pytest.skip(f"{place.type} has no such library")
    dtype, rows = DTYPE[place.type], 130
    x, weight, out = (drawn(*shape).to(place, dtype) for shape in ((rows, 64), (96, 64), (rows, 96)))
    bias = drawn(96).to(place, dtype) if has_bias else None

    def both() -> Tensor:
        written, added = torch.empty_like(out), out.clone()
        arm.write(x, weight, bias, written)
        arm.add(x, weight, added)
        return torch.stack([arm.product(x, weight, bias), written, added])

    def made() -> Tensor:
        if how == "at once":
            return both()
        with torch.inference_mode():
            replay, result = recorder(place)(both)
            x.mul_(2)  # what is played reads the numbers that are there then
            replay()
        return result

    found = made().double().cpu()
    exact = x.double().cpu() @ weight.double().cpu().T
    whole = exact if bias is None else exact + bias.double().cpu()
    for one, true in zip(found, (whole, whole, out.double().cpu() + exact), strict=True):
        assert far(one, true) < NEAR[place.type], arm.name


@pytest.fixture
def library(place: torch.device, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    """Which library products go by. On a CPU the choice is acted: it may be one that this PyTorch was built without."""
    if place.type == "cpu":
        now = [torch.backends.cuda.preferred_blas_library()]
        monkeypatch.setattr(torch._C, "_set_blas_preferred_backend", lambda backend: now.__setitem__(0, backend))
        monkeypatch.setattr(torch._C, "_get_blas_preferred_backend", lambda: now[0])
    return torch.backends.cuda.preferred_blas_library


def test_a_way_through_another_library_leaves_the_choice_as_it_was(
    place: torch.device, library: Callable[[], object]
) -> None:
    x, weight = drawn(4, 8).to(place), drawn(8, 8).to(place)
    for before in ("cublas", "cublaslt"):
        kept = torch.backends.cuda.preferred_blas_library(before)
        for arm in arms_on(CUDA):
            arm.product(x, weight, None)
            assert library() == kept, arm.name
    torch.backends.cuda.preferred_blas_library("default")


@pytest.mark.parametrize("recorded", [False, True], ids=["at once", "recorded"])
@pytest.mark.parametrize("queries", [1500, 700], ids=["all", "target alone"])
def test_attention_in_eight_bits_is_the_one_written_out(place: torch.device, queries: int, recorded: bool) -> None:
    why = attention8.missing(place, head_dim=128)
    if why is not None:
        pytest.skip(why)
    k, v = (drawn(1, 1500, 4, 128, seed=seed).to(place, torch.bfloat16) for seed in (1, 2))
    q, k = drawn(1, queries, 4, 128).to(place, torch.bfloat16), k + 3
    attend = attention8.Cudnn(place)
    written, true = attention8.Written(narrow=attend.narrow)(q, k, v), attention.plain(q, k, v)
    with torch.inference_mode():
        replay, made = recorder(place)(lambda: attend(q, k, v)) if recorded else (lambda: None, attend(q, k, v))
        held = attend.held()
        for s in range(1, attention8.MOST_SHAPES + 2) if recorded else ():  # the attention forgets the shape
            attend(q[:, : 16 * s], k, v)
        replay()
    assert held
    assert far(made, written) < 0.02
    assert far(made, true) < 0.1


@pytest.mark.parametrize("band", [None, 16])
def test_the_fast_autoencoder_in_bf16_is_the_core_s(place: torch.device, band: int | None) -> None:
    model = randomise(Autoencoder(replace(tiny().autoencoder, num_res_blocks=2)), 3, std=0.08)
    assert isinstance(model, Autoencoder)
    model = model.eval().requires_grad_(False).to(place)
    norm = by_kernel if fused.missing(place) is None else by_library
    fast = FastAutoencoder(model, dtype=torch.bfloat16, norm_silu=norm, attend=in_runs)
    pixels = drawn(1, 3, 64, 48).clamp(-1, 1).to(place)
    with torch.inference_mode():
        latents = model.encode(pixels)
        pairs = [(fast.encode(pixels, band=band), latents), (fast.decode(latents, band=band), model.decode(latents))]
    for made, true in pairs:
        assert far(made, true) < 0.03


# Whole edits.

SOURCE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
LEVELS = {"reference": 0.0, "exact": 1.5, "lossless": 1.5, "fp8": 4.0, "fp8-attention": 4.0}  # mean, of 255


def pipeline_on(place: torch.device, home: torch.device) -> Pipeline:
    made = tiny_pipeline()
    for part in (made.flow, made.text):
        part.to(home, DTYPE[place.type]) if part is made.flow else part.to(home)
    made.autoencoder.to(home)
    return made


def edited(pipeline: Pipeline) -> np.ndarray:
    return pipeline.edit(SOURCE, "make it red", seed=3, steps=3).pictures[0].rgb.astype(int)


@pytest.fixture
def wanted(place: torch.device) -> np.ndarray:
    return edited(pipeline_on(place, place))


@pytest.mark.parametrize("name", LEVELS)
def test_every_plan_makes_the_picture_of_the_reference(place: torch.device, wanted: np.ndarray, name: str) -> None:
    fast = accelerate(pipeline_on(place, place), name)
    for _ in range(2):  # the second finds its graph, its products and its pictures
        assert np.abs(edited(fast.pipeline) - wanted).mean() <= LEVELS[name]


@pytest.fixture
def cap_lifted(place: torch.device) -> Iterator[None]:
    yield
    if place.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(1.0, place)


@pytest.mark.usefixtures("cap_lifted")
@pytest.mark.parametrize("name", ["lossless", "fp8"])
def test_under_a_cap_every_recipe_makes_the_same_picture(place: torch.device, wanted: np.ndarray, name: str) -> None:
    """From all weights on the device, and a graph, down to none."""
    request = cost.Request(width=64, height=48, contexts=((64, 48),), evaluations=3)
    fast = accelerate(pipeline_on(place, CPU), name, device=place, vram="8gb", request=request)
    lower: Callable[[], object] = fast.lower
    while True:
        assert np.abs(edited(fast.pipeline) - wanted).mean() <= LEVELS[name], str(fast.memory)
        if lower() is None:
            break
    assert fast.memory is not None
    assert fast.memory.resident_blocks == 0


def test_plans_are_all_of_those_that_need_no_compiler() -> None:
    assert {*LEVELS} == {*PLANS} - {"compile"}
