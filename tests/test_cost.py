"""What a picture costs: the formulas against the modules, PyTorch's own counters, and published numbers."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from recast import cost, pipeline
from recast.config import FlowConfig, ModelConfig, kontext_dev, nano, preset, tiny
from recast.context.t5 import T5Config, T5Encoder
from recast.cost import Request, estimate
from recast.flow.transformer import Condition, FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.loading import load
from recast.nano import NANO


def on_meta(config: ModelConfig) -> tuple[FlowTransformer, Autoencoder]:
    with torch.device("meta"):
        return FlowTransformer(config.flow).eval(), Autoencoder(config.autoencoder).eval()


def condition(flow: FlowTransformer, *, target: int, text: int, context: int) -> Condition:
    config, inputs = flow.config, {}
    if context:
        inputs = {"context": torch.zeros(1, context, config.out_channels)}
        inputs["context_positions"] = torch.zeros(1, context, 3)
    if config.guidance_embed:
        inputs["guidance"] = torch.ones(1)
    tokens = torch.zeros(1, text, config.context_in_dim)
    pooled = None if config.vec_in_dim is None else torch.zeros(1, config.vec_in_dim)
    return flow.condition(positions=torch.zeros(1, target, 3), text=tokens, pooled=pooled, **inputs)


@pytest.mark.parametrize("name", ["tiny", "nano", "kontext_dev", "schnell"])
def test_parameters_are_those_of_the_modules(name: str) -> None:
    config = preset(name)
    flow, autoencoder = on_meta(config)
    assert cost.flow_parameters(config.flow) == sum(p.numel() for p in flow.parameters())
    assert cost.autoencoder_parameters(config.autoencoder) == sum(p.numel() for p in autoencoder.parameters())


def test_parameters_follow_every_choice_of_a_transformer() -> None:
    for changes in ({"qkv_bias": False}, {"vec_in_dim": None}, {"in_channels": 128}, {"mlp_ratio": 3.0}):
        config: FlowConfig = replace(tiny().flow, **changes)
        with torch.device("meta"):
            flow = FlowTransformer(config)
        assert cost.flow_parameters(config) == sum(p.numel() for p in flow.parameters()), changes


def test_parameters_are_the_published_counts() -> None:
    parameters = estimate(kontext_dev(), Request(width=1024, height=1024)).parameters
    assert parameters == {"flow": 11_901_408_320, "autoencoder": 83_819_683, "t5": 4_762_310_656, "clip": 123_060_480}


def test_the_byte_encoder_is_that_in_the_package() -> None:
    written = json.loads((NANO / "text_encoder" / "config.json").read_text())
    sizes = asdict(cost.BYTE_T5)
    assert sizes == {name: written[name] for name in sizes}
    with torch.device("meta"):
        network = T5Encoder(T5Config(**sizes))
    assert cost.BYTE_T5.parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("attention", ["full", "cached"])
@pytest.mark.parametrize("contexts", [0, 1, 2])
@pytest.mark.parametrize("name", ["tiny", "nano"])
def test_flops_of_a_step_are_those_that_torch_counts(name: str, contexts: int, attention: Any) -> None:
    config = replace(preset(name).flow, context_attention=attention)
    with torch.device("meta"):
        flow = FlowTransformer(config).eval()
    counts = {"target": 16, "text": 40, "context": 12 * contexts}
    with torch.inference_mode(), torch.device("meta"):
        with FlopCounterMode(display=False) as once:
            fixed = condition(flow, **counts)
        with FlopCounterMode(display=False) as each:
            flow(torch.zeros(2, 16, 64), torch.zeros(2), fixed)
    assert cost.condition_work(config, text=40, context=12 * contexts).total == once.get_total_flops()
    assert cost.step_work(config, **counts, batch=2).total == each.get_total_flops()


@pytest.mark.parametrize("name", ["tiny", "nano", "kontext_dev"])
def test_flops_of_the_autoencoder_are_those_that_torch_counts(name: str) -> None:
    config = preset(name)
    _, autoencoder = on_meta(config)
    with torch.inference_mode(), torch.device("meta"):
        with FlopCounterMode(display=False) as encoding:
            autoencoder.encode(torch.zeros(1, 3, 64, 96))
        with FlopCounterMode(display=False) as decoding:
            autoencoder.decode(torch.zeros(1, 16, 8, 12))
    assert cost.encode_work(config.autoencoder, width=96, height=64).total == encoding.get_total_flops()
    assert cost.decode_work(config.autoencoder, width=96, height=64).total == decoding.get_total_flops()


def test_flops_of_the_text_encoder_are_those_that_torch_counts() -> None:
    with torch.device("meta"), torch.inference_mode():
        network = T5Encoder(T5Config(**asdict(cost.BYTE_T5)))
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 144, dtype=torch.long))
    assert cost.BYTE_T5.flops(144) == counter.get_total_flops()


def test_flops_of_a_megapixel_are_the_published_ones() -> None:
    """Others count 74.5 TFLOP for a step of text to picture; the rest is by hand (linear plus attention)."""
    made = estimate(kontext_dev(), Request(width=1024, height=1024, contexts=((1024, 1024),)))
    plain = estimate(kontext_dev(), Request(width=1024, height=1024))
    assert plain.step.total / 1e12 == pytest.approx(74.5, rel=0.02)
    assert made.step.total / 1e12 == pytest.approx(165.5, rel=0.02)
    assert made.decode.total / 1e12 == pytest.approx(10.47, rel=0.01)
    assert made.encode.total / 1e12 == pytest.approx(4.88, rel=0.01)


class Alive(TorchDispatchMode):
    """The most bytes of tensors that were alive at once."""

    def __init__(self, *modules: torch.nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen = {p.untyped_storage()._cdata for module in modules for p in module.parameters()}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage._cdata not in self.seen:
                self.seen.add(storage._cdata)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return made

    def _gone(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


@pytest.mark.parametrize("contexts", [0, 1, 2])
@pytest.mark.parametrize("name", ["nano", "kontext_dev"])
def test_bytes_of_a_step_are_those_of_the_tensors_alive(name: str, contexts: int) -> None:
    """If this fails because the transformer got thriftier, SINGLE_ALIVE says what to change."""
    config = preset(name)
    config = replace(config, flow=replace(config.flow, depth=1, depth_single_blocks=3))  # more change nothing
    flow, _ = on_meta(config)
    for block in (*flow.double_blocks, *flow.single_blocks):  # as the fused kernel, which makes no scores
        block.attend = lambda q, k, v: q.new_empty(q.shape[0], q.shape[2], q.shape[1] * q.shape[3])
    counts = {"target": 256, "text": config.text.max_length, "context": 256 * contexts}
    with torch.no_grad(), torch.device("meta"), Alive(flow) as alive:
        flow(torch.zeros(1, 256, 64), torch.zeros(1), condition(flow, **counts))
    assert cost.step_bytes(config.flow, **counts) == pytest.approx(alive.peak, rel=0.05)


@pytest.mark.parametrize(("width", "height"), [(256, 256), (512, 288), (1024, 1024), (2048, 1088)])
@pytest.mark.parametrize("name", ["nano", "kontext_dev"])
def test_bytes_of_the_autoencoder_are_those_of_the_tensors_alive(
    name: str, width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda q, k, v: q.clone())  # the fused one makes no scores
    config = preset(name)
    _, autoencoder = on_meta(config)
    band = pipeline._band(width, height)
    with torch.no_grad(), torch.device("meta"):
        with Alive(autoencoder) as decoding:
            autoencoder.decode(torch.zeros(1, 16, height // 8, width // 8), band=band)
        with Alive(autoencoder) as encoding:
            autoencoder.encode(torch.zeros(1, 3, height, width), band=band)
    size = {"width": width, "height": height}
    assert cost.decode_bytes(config.autoencoder, **size) == pytest.approx(decoding.peak, rel=0.05)
    assert cost.encode_bytes(config.autoencoder, **size) == pytest.approx(encoding.peak, rel=0.05)


def test_attention_over_pixels_makes_no_scores_in_a_loaded_model() -> None:
    """Formulas leave them out. The fused kernel refuses strided tensors, and the plain one would take over."""
    autoencoder = load("nano", device="cpu", dtype="fp32").autoencoder
    with torch.inference_mode(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        for band in (None, 32):
            autoencoder.encode(torch.zeros(1, 3, 64, 64), band=band)
            autoencoder.decode(torch.zeros(1, 16, 8, 8), band=band)


def test_bands_begin_where_the_pipeline_begins_them() -> None:
    assert (cost.BAND_ABOVE_PX, cost.BAND_ROWS) == (pipeline.BAND_ABOVE_PX, pipeline.BAND_ROWS)


def test_guidance_and_pictures_multiply_evaluations_and_batches_divide_them() -> None:
    request = Request(width=256, height=256, evaluations=5, num_images=4)
    assert estimate(nano(), request).evaluations == 20
    assert estimate(nano(), replace(request, true_guidance=3.0)).evaluations == 40
    batched = estimate(nano(), replace(request, batch_size=3))
    assert batched.evaluations == 10
    assert batched.step.total == 3 * estimate(nano(), request).step.total


def test_bf16_halves_the_transformer_and_leaves_the_autoencoder() -> None:
    request = Request(width=256, height=256)
    full, half = estimate(nano(), request), estimate(nano(), replace(request, dtype="bf16"))
    assert 2 * half.weights_bytes["flow"] == full.weights_bytes["flow"]
    assert half.weights_bytes["autoencoder"] == full.weights_bytes["autoencoder"]
    assert half.decode_bytes == full.decode_bytes


def test_a_cpu_keeps_places_of_the_largest_block_that_its_heap_holds() -> None:
    """One of 32 MiB goes back to the system at once: 32 channels at 512 x 512, and at 512 x 496 not."""
    own = nano().autoencoder
    always = cost.TOUCHED_BYTES + 4 * cost.autoencoder_parameters(own)

    def places(width: int, height: int, *contexts: tuple[int, int]) -> float:
        kept = estimate(nano(), Request(width=width, height=height, contexts=contexts)).kept_bytes
        return (kept - always) / (4 * own.ch * 256 * 256)  # of a block of all pixels of 256 x 256

    assert places(256, 256) == 2
    assert places(256, 256, (256, 256)) == 3  # encoding has left holes as well
    assert places(256, 256, (256, 256), (256, 256)) == 3
    assert places(256, 256, (256, 256), (512, 256)) == 6 * 2  # the blocks of another shape do not fit into those holes
    assert places(256, 256, (256, 256), (512, 256), (128, 128)) == 6 * 2
    assert places(512, 496) == 2 * 4 * 496 / 512
    assert places(512, 512) == 2 * 2  # half the side, twice the channels


def test_formulas_need_no_torch() -> None:
    code = "import recast.cost, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
