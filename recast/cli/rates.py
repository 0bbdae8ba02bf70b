"""What a device computes in a second, measured on a part of each network: for `recast estimate`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from recast.config import AutoencoderConfig, FlowConfig, ModelConfig
from recast.cost import Work, decode_work, step_work

if TYPE_CHECKING:
    import torch

    from recast.speed.plan import Plan

FLOW_FLOPS = {"cpu": 5e9, "mps": 5e10, "cuda": 4e12}  # of a block to try: 1,200 tokens of nano, 11,000 of kontext_dev
AUTOENCODER_FLOPS = {"cpu": 1e10, "mps": 5e10, "cuda": 1e12}  # of a decoding: on a CPU 128x128 of nano; less is slower
TURNS, SPREAD_S = 5, 0.5  # a neighbour's burst is shorter than the time over which they are spread
LEAST_TURNS = 3  # where they take longer than that
CALLED_S = 0.03  # for each call of a turn: a short one is made several times, the first of them with cold caches
COPIED_BYTES = 256 << 20  # to measure the bus with


@dataclass(frozen=True)
class Rates:
    """FLOP/s: of the network's products, which stand for the text encoder too, of its attention, of the autoencoder."""

    linear: float
    attention: float
    autoencoder: float

    def seconds(self, work: Work) -> float:
        """Of the text encoder, or of the network."""
        return work.linear / self.linear + work.attention / self.attention


def measure_rates(config: ModelConfig, device: torch.device, dtype: str, tokens: int) -> Rates:
    """The rates of a block of the transformer and of decoding a small picture: products and all that goes between.

    Where that would take long, a narrower network, of random weights as either is, stands for the model's own.
    """
    import torch

    from recast.flow.layers import SingleStreamBlock, rotary_table
    from recast.latents.autoencoder import Autoencoder

    precision = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    flow, counts = _probe_flow(config.flow, device, tokens)
    ae, side = _probe_autoencoder(config.autoencoder, device)
    with torch.inference_mode():
        block = SingleStreamBlock(flow).to(device, precision).eval()
        vector = torch.randn(1, flow.hidden_size).to(device, precision)
        x = [torch.randn(1, count, flow.hidden_size).to(device, precision) for count in counts]
        places = [torch.zeros(1, count, len(flow.axes_dim), device=device) for count in counts]
        rotary = [rotary_table(place, flow.axes_dim, flow.theta) for place in places]
        autoencoder = Autoencoder(ae).eval().to(device)
        autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # as `load` does
        latents = torch.randn(1, ae.z_channels, side // ae.downscale, side // ae.downscale).to(device)
        calls: list[Callable[[], object]] = [partial(block, x[i], vector, rotary[i]) for i in range(len(counts))]
        *spent, decoding = quickest([*calls, partial(autoencoder.decode, latents)], device)
    work = [_block_work(flow, count) for count in counts]
    return Rates(*two_rates(work, spent), decode_work(ae, width=side, height=side).total / decoding)


def measure_plan(config: ModelConfig, plan: Plan, device: torch.device, dtype: torch.dtype, tokens: int) -> Rates:
    """The rates of an evaluation and of decoding, as a plan computes them, on blocks of random weights."""
    import torch

    from recast.speed import accelerate
    from recast.speed.selftest import random_pipeline

    flow, counts = _probe_flow(config.flow, device, tokens)
    flow = replace(flow, depth=1, depth_single_blocks=2, context_attention="full")
    ae, side = _probe_autoencoder(config.autoencoder, device)
    whole = random_pipeline(replace(config, flow=flow, autoencoder=ae), device, dtype)
    bare = replace(plan, vram_bytes=None, approximate=None, compile=False, tuned=False)
    made = accelerate(whole, bare).pipeline

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(1, *shape).to(device, dtype)

    def evaluation(target: int, text: int) -> Callable[[], object]:
        inputs: dict[str, torch.Tensor] = {
            "positions": torch.zeros(1, target, len(flow.axes_dim), device=device),
            "text": random(text, flow.context_in_dim),
        }
        if flow.vec_in_dim is not None:
            inputs["pooled"] = random(flow.vec_in_dim)
        if flow.guidance_embed:
            inputs["guidance"] = torch.full((1,), 3.5, device=device)
        if flow.extra_channels:
            inputs["extra"] = random(target, flow.extra_channels)
        x = random(target, flow.out_channels).float()
        velocity = made.network.along(made.network.condition(**inputs), [1.0, 0.5, 0.2, 0.0])
        return lambda: velocity(x, 0.5)  # neither the first nor the last evaluation

    latents = torch.randn(1, ae.z_channels, side // ae.downscale, side // ae.downscale).to(device)
    texts = [min(config.text.max_length, count // 4) for count in counts]
    sizes = [{"target": count - text, "text": text} for count, text in zip(counts, texts, strict=True)]
    with torch.inference_mode():
        calls = [evaluation(**size) for size in sizes]
        *spent, decoding = quickest([*calls, lambda: made.autoencoder.decode(latents)], device)
    work = [step_work(flow, **size) for size in sizes]
    return Rates(*two_rates(work, spent), decode_work(ae, width=side, height=side).total / decoding)


def measure_bus(device: torch.device) -> float:
    """Bytes a second from page-locked memory of the host to a GPU."""
    import torch

    host = torch.empty(COPIED_BYTES, dtype=torch.uint8, pin_memory=True)
    there = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=device)
    [spent] = quickest([lambda: there.copy_(host, non_blocking=True)], device)
    return COPIED_BYTES / spent


def quickest(calls: Sequence[Callable[[], object]], device: torch.device) -> list[float]:
    """The shortest time of each call, in seconds, after one to warm up.

    They are called in turns, spread over `SPREAD_S`: what a neighbour computes meanwhile spoils some turns, not all.
    """
    from recast.speed.clock import undisturbed

    for call in calls:
        call()
    least = [math.inf] * len(calls)
    begun = time.perf_counter()
    for turn in range(TURNS):
        late = time.perf_counter() - begun - turn * SPREAD_S / (TURNS - 1)
        if turn >= LEAST_TURNS and late > 0:
            break
        time.sleep(max(0.0, -late))
        for index, call in enumerate(calls):
            spent = 0.0
            while spent < CALLED_S:
                took = undisturbed(call, device)
                spent, least[index] = spent + took, min(took, least[index])
    return least


def two_rates(work: Sequence[Work], spent: Sequence[float]) -> tuple[float, float]:
    """FLOP/s of products and of attention, from the seconds of fewer tokens and of more.

    What goes between products grows as they do, with tokens, and is counted with them; attention grows with their
    square. One rate, that of more tokens, stands for both where the two times say what cannot be: that either takes
    less than no time, or that attention is faster than products, which are what it is made of. So it comes out where
    neither count fills the device.
    """
    (few, many), (short, long) = work, spent
    both = few.linear * many.attention - many.linear * few.attention
    linear = (short * many.attention - long * few.attention) / both  # seconds of a FLOP
    attention = (few.linear * long - many.linear * short) / both
    if 0 < linear <= attention:
        return 1 / linear, 1 / attention
    return many.total / long, many.total / long


def _probe_flow(flow: FlowConfig, device: torch.device, tokens: int) -> tuple[FlowConfig, tuple[int, int]]:
    """A network, perhaps narrower, and two counts of tokens, perhaps fewer, of which a block takes little time."""
    budget = FLOW_FLOPS.get(device.type, FLOW_FLOPS["cpu"])
    while _block_work(flow, tokens).total > budget and tokens > 256:
        tokens //= 2
    while _block_work(flow, tokens).total > budget and flow.num_heads > 4:
        heads = flow.num_heads // 2
        flow = replace(flow, num_heads=heads, hidden_size=heads * flow.head_dim)
    return flow, (tokens // 2, tokens)


def _probe_autoencoder(ae: AutoencoderConfig, device: torch.device) -> tuple[AutoencoderConfig, int]:
    """The same of an autoencoder, and the side of the picture to decode, in pixels."""
    budget, side = AUTOENCODER_FLOPS.get(device.type, AUTOENCODER_FLOPS["cpu"]), 256
    while decode_work(ae, width=side, height=side).total > budget and side > 64:
        side //= 2
    while decode_work(ae, width=side, height=side).total > 2 * budget and ae.ch // 2 % ae.num_groups == 0:
        ae = replace(ae, ch=ae.ch // 2)
    return ae, side


def _block_work(flow: FlowConfig, tokens: int) -> Work:
    d, h = flow.hidden_size, flow.mlp_hidden
    return Work(linear=2 * tokens * (4 * d * d + 2 * d * h) + 6 * d * d, attention=4 * d * tokens**2)
