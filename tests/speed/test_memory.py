"""Peaks by formula are those of the tensors alive in the engine, and recipes fit the caps they are made for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recast import cost
from recast.config import FlowConfig, ModelConfig, kontext_dev, nano, preset
from recast.cost import Request, estimate
from recast.errors import ConfigError, OutOfMemory
from recast.flow.transformer import Condition, FlowTransformer
from recast.speed import attention, memory
from recast.speed.blocks import blocks_of, modulators_of
from recast.speed.engine import Engine, Resident
from recast.speed.linear import Plain, Rows, tensors
from recast.speed.memory import (
    Memory,
    Numbers,
    block_bytes,
    fit,
    kept_on_host,
    modulator_bytes,
    peak_bytes,
    smallest_bytes,
)
from recast.speed.ops import Plain as PlainOps
from recast.speed.packing import layout_of
from tests.test_cost import Alive

EDIT = Request(width=1024, height=1024, contexts=((1024, 1024),), evaluations=28)
GB = 1e9
ALL = Memory(resident_blocks=57)
DTYPES = {4: torch.float32, 2: torch.bfloat16}


# Peaks.


class Thrifty(PlainOps):
    """Element-wise work as kernels do it: nothing is made but what is handed back. For shapes alone."""

    def enter(self, x: Tensor, shift: Tensor, scale: Tensor, *, rows: bool = False) -> Tensor | Rows:
        return self.to_rows(x) if rows else torch.empty_like(x)

    def leave_enter(self, x: Tensor, *others: Tensor, rows: bool = False) -> tuple[Tensor, Tensor | Rows]:
        return torch.empty_like(x), self.enter(x, x, x, rows=rows)

    def norm_rotate(self, *_: Tensor) -> None:
        return None

    def gelu(self, x: Tensor, *, rows: bool = False) -> Tensor | Rows:
        return self.to_rows(x) if rows else torch.empty_like(x)

    def to_rows(self, x: Tensor) -> Rows:
        return Rows(torch.empty_like(x, dtype=torch.float8_e4m3fn), x.new_empty(*x.shape[:-1], 1, dtype=torch.float32))


class Eight(Plain):
    """A product of eight-bit rows, as far as shapes tell."""

    eats_rows = True

    def __call__(self, x: Tensor | Rows, out: Tensor | None = None) -> Tensor:
        assert isinstance(x, Rows)
        shape = (*x.values.shape[:-1], self.weight.shape[0])
        return self.weight.new_empty(shape) if out is None else out

    def add_to(self, total: Tensor, x: Tensor | Rows) -> Tensor:
        return total


def eight(block: Any) -> Any:
    """The block with every product in eight bits."""
    if isinstance(block, Plain):
        return Eight(block.weight, block.bias)
    changed = {name: eight(value) for name, value in vars(block).items() if not isinstance(value, Tensor | None)}
    return replace(block, **changed)


def condition(engine: Engine, request: Request, model: ModelConfig) -> Condition:
    dtype, config = engine.dtype, engine.config
    target, context = memory._tokens(request, model.pixels_per_token)
    given = {}
    if context:
        given = {"context": torch.zeros(1, context, 64, dtype=dtype), "context_positions": torch.zeros(1, context, 3)}
    if config.guidance_embed:
        given["guidance"] = torch.ones(1)
    text = torch.zeros(1, model.text.max_length, config.context_in_dim, dtype=dtype)
    pooled = torch.zeros(1, config.vec_in_dim or 0, dtype=dtype)
    return engine.condition(positions=torch.zeros(1, target, 3), text=text, pooled=pooled, **given)


def alive(model: ModelConfig, request: Request, numbers: Numbers, device: str = "meta", **choices: Any) -> int:
    """The most bytes of tensors at once in one evaluation of the engine."""
    with torch.device(device):
        flow = FlowTransformer(model.flow).eval().to(DTYPES[numbers.item])
        target, _ = memory._tokens(request, model.pixels_per_token)
        blocks = blocks_of(flow, joined=numbers.joined)
        if numbers.in_rows:
            blocks = [eight(block) for block in blocks]
        choices["ops"] = Thrifty() if numbers.fused else PlainOps()
        engine = Engine(flow, blocks=Resident(blocks), **choices)
        with torch.inference_mode(), Alive(flow) as counted:
            velocity = engine.along(condition(engine, request, model), [1.0] * request.evaluations)
            counted.peak = counted.now
            velocity(torch.zeros(request.batch_size, target, 64), 1.0)
    return counted.peak


def without_scores(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return q.new_empty(q.shape[0], q.shape[1], q.shape[2] * q.shape[3])


def shallow(name: str, **changes: Any) -> ModelConfig:
    model = preset(name)
    return replace(model, flow=replace(model.flow, depth=2, depth_single_blocks=3, **changes))  # more change nothing


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "fp32": ({"item": 4, "fused": False}, {}, {}),
    "bf16": ({"fused": False}, {}, {}),
    "kernels": ({}, {}, {}),
    "eight bits": ({"blocks": 1.0}, {}, {}),
    "as published": ({"fused": False, "joined": True}, {}, {}),
    "text alone": ({}, {"contexts": ()}, {}),
    "batch": ({}, {"batch_size": 3, "num_images": 3}, {}),
    "runs": ({}, {}, {"mlp_rows": 256}),
    "runs, fp32": ({"item": 4, "fused": False}, {}, {"mlp_rows": 96}),
    "runs, bf16": ({"fused": False}, {}, {"mlp_rows": 96}),
    "cached": ({}, {}, {"context_attention": "cached"}),
}


@pytest.mark.parametrize("case", CASES)
def test_an_evaluation_needs_what_the_formula_says(case: str) -> None:
    name = "nano" if "bf16" in case or case == "batch" else "kontext_dev"
    given, asked, chosen = CASES[case]
    choices = dict(chosen)
    model = shallow(name, **{key: choices.pop(key) for key in list(choices) if key == "context_attention"})
    numbers = Numbers(**given)
    side = 512 if name == "nano" else 384
    request = replace(Request(width=side, height=side, contexts=((side, side),), evaluations=4), **asked)
    measured = alive(model, request, numbers, attend=without_scores, **choices)
    predicted = sum(memory.engine_step_bytes(model, request, numbers, replace(ALL, mlp_rows=choices.get("mlp_rows"))))
    assert predicted == pytest.approx(measured, rel=0.1)


def test_on_a_cpu_few_tokens_have_their_scores_alive() -> None:
    request = Request(width=256, height=256, contexts=((256, 256),), evaluations=2)
    numbers = Numbers(item=4, fused=False, scores=True)
    measured = alive(nano(), request, numbers, "cpu", attend=attention.written)
    predicted = sum(memory.engine_step_bytes(nano(), request, numbers, ALL))
    assert predicted == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("name", ["tiny", "nano", "kontext_dev"])
def test_blocks_and_modulations_fill_what_is_packed(name: str) -> None:
    """But for the bytes between tensors, of which each begins aligned."""
    config: FlowConfig = preset(name).flow
    with torch.device("meta"):
        flow = FlowTransformer(replace(config, depth=1, depth_single_blocks=1)).bfloat16()
    (double, single), modulators = block_bytes(flow.config, Numbers()), modulator_bytes(flow.config, Numbers())
    packed = [layout_of(list(tensors(part))) for part in (*blocks_of(flow), *modulators_of(flow))]
    for predicted, layout in zip([double, single, *modulators], packed, strict=True):
        assert 0 <= layout.size - predicted <= 256 * len(layout.pieces)
    whole = sum(block_bytes(config, Numbers())) + sum(modulator_bytes(config, Numbers()))
    stem = memory._stem_bytes(config, Numbers())
    request = Request(width=64, height=64, dtype="bf16")
    assert whole + stem == estimate(preset(name), request).weights_bytes["flow"]


def test_published_weights_fill_the_published_bytes() -> None:
    flow = kontext_dev().flow
    assert sum(block_bytes(flow, Numbers())) / GB == pytest.approx(17.31, rel=0.01)
    assert sum(modulator_bytes(flow, Numbers())) / GB == pytest.approx(6.49, rel=0.01)
    assert sum(block_bytes(flow, Numbers(blocks=1.0))) / GB == pytest.approx(8.66, rel=0.01)


# Recipes.


@pytest.mark.parametrize(
    ("numbers", "request_"),
    [
        (Numbers(), EDIT),
        (Numbers(autoencoder=2), replace(EDIT, contexts=())),
        (Numbers(blocks=1.0, context_kv_bytes=2870 << 20), replace(EDIT, true_guidance=3.0)),
    ],
)
def test_a_smaller_cap_never_gives_more_memory_and_every_recipe_keeps_to_its_cap(
    numbers: Numbers, request_: Request
) -> None:
    model, last = kontext_dev(), float("inf")
    least = smallest_bytes(model, request_, numbers)
    for cap in (141 * GB, 32 * GB, 24 * GB, 16 * GB, 12 * GB, 8 * GB, float(least)):
        peak = peak_bytes(model, request_, numbers, fit(model, request_, numbers, cap)).total
        assert peak <= cap
        assert peak <= last
        last = peak
    with pytest.raises(OutOfMemory):
        fit(model, request_, numbers, 0.999 * least)


@pytest.mark.parametrize(
    ("cap", "numbers", "resident", "text", "modulators", "peak"),
    [
        (141, Numbers(), 57, "resident", "resident", None),
        (48, Numbers(), 57, "resident", "resident", 37),  # bf16 and T5 on the device
        (24, Numbers(), 57, "streamed", "host", 20.5),  # nothing of a step passes
        (16, Numbers(blocks=1.0), 57, "streamed", "host", 12),
        (12, Numbers(blocks=1.0, autoencoder=2), 57, "streamed", "host", 10.5),
    ],
)
def test_the_published_model_lies_where_the_tables_expect_it(
    cap: int, numbers: Numbers, resident: int, text: str, modulators: str, peak: float | None
) -> None:
    found = fit(kontext_dev(), EDIT, numbers, cap * GB)
    assert (found.resident_blocks, found.text, found.modulators) == (resident, text, modulators)
    if peak is not None:
        assert peak_bytes(kontext_dev(), EDIT, numbers, found).total / GB == pytest.approx(peak, rel=0.1)


def test_in_bf16_small_caps_stream_and_the_smallest_is_about_three_gigabytes() -> None:
    model, numbers = kontext_dev(), Numbers(autoencoder=2)
    weights = block_bytes(model.flow, numbers)
    at_12, at_8 = (fit(model, EDIT, numbers, cap * GB) for cap in (12, 8))
    assert 0.35 < sum(weights[at_12.resident_blocks :]) / sum(weights) < 0.6  # of the weights
    assert 0 < at_8.resident_blocks < at_12.resident_blocks
    streamed = peak_bytes(model, EDIT, numbers, Memory(resident_blocks=0, text="streamed", modulators="host"))
    assert streamed.denoise / GB == pytest.approx(3, rel=0.1)
    assert streamed.total < 4 * GB


def test_an_impossible_cap_says_the_smallest_possible_and_that_one_works() -> None:
    with pytest.raises(OutOfMemory, match=r"cap of 0\.50 GB: 1024x1024 .* needs (\d\.\d\d) GB at the least") as error:
        fit(kontext_dev(), EDIT, Numbers(), 0.5 * GB)
    said = float(str(error.value).split("needs ")[1].split(" GB")[0])
    assert fit(kontext_dev(), EDIT, Numbers(), said * GB).resident_blocks == 0


def test_kept_keys_and_values_are_counted_and_a_graph_keeps_its_own() -> None:
    model, kept = kontext_dev(), 2_870_000_000
    without, beside = (peak_bytes(model, EDIT, Numbers(context_kv_bytes=size), ALL) for size in (0, kept))
    assert beside.denoise - without.denoise == kept
    assert beside.text == without.text
    plain, graph = (peak_bytes(model, EDIT, Numbers(graph=graph), ALL) for graph in (False, True))
    working, _ = memory.engine_step_bytes(model, EDIT, Numbers(), ALL)
    assert graph.decode - plain.decode == working
    assert graph.denoise == plain.denoise


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resident_blocks": -1}, "resident_blocks=-1"),
        ({"slots": 1}, "slots=1"),
        ({"mlp_rows": 0}, "mlp_rows=0"),
        ({"text": "gone"}, "text='gone'"),
        ({"modulators": "gone"}, "modulators='gone'"),
    ],
)
def test_a_recipe_that_cannot_work_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(ALL, **change)


def test_more_resident_blocks_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigError, match="resident_blocks=57: 9 at most"):
        peak_bytes(nano(), Request(width=256, height=256), Numbers(), ALL)


def test_recipes_need_no_torch() -> None:
    code = "import recast.speed.memory, recast.speed.cap, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_cpu_keeps_a_place_after_encoding_half_without_and_more_in_bf16() -> None:
    """Of the largest block below 32 MiB: at 512 x 256 in fp32 that is one of 32 channels, 16 MiB."""

    def kept(item: int, *contexts: tuple[int, int]) -> int:
        asked = Request(width=512, height=256, contexts=contexts)
        return kept_on_host(preset("nano"), asked, Numbers(item=item, autoencoder=item, on_cuda=False)) >> 20

    assert (kept(4), kept(4, (512, 256)), kept(2), kept(2, (512, 256))) == (37 + 8, 37 + 16, 57 + 4, 57 + 8)
    small = Request(width=256, height=256)
    numbers = Numbers(item=2, autoencoder=2, on_cuda=False)
    assert kept_on_host(preset("nano"), small, numbers) == cost.kept_bytes(preset("nano"), small)
