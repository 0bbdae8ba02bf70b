"""What a device computes in a second, measured on a part of each network: for `recast estimate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recast.config import AutoencoderConfig, FlowConfig, ModelConfig
from recast.cost import decode_work, step_work

if TYPE_CHECKING:
    import torch

    from recast.speed.plan import Plan

PROBE_FLOPS = {"cpu": 2e9, "mps": 5e10, "cuda": 1e12}
COPIED_BYTES = 256 << 20  # to measure the bus with


@dataclass(frozen=True)
class Rates:
    """FLOP/s: of the transformer's layers, which stands for the text encoder too, and of the autoencoder's."""

    flow: float
    autoencoder: float


def measure_rates(config: ModelConfig, device: torch.device, dtype: str, tokens: int) -> Rates:
    """The rates of a block of the transformer and of decoding a small picture: products and all that goes between.

    Where that would take long, a narrower network, of random weights as either is, stands for the model's own.
    """
    import torch

    from recast.flow.layers import SingleStreamBlock, rotary_table
    from recast.latents.autoencoder import Autoencoder

    precision = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    flow, tokens = _probe_flow(config.flow, device, tokens)
    work = _block_flops(flow.hidden_size, flow.mlp_hidden, tokens)
    with torch.inference_mode():
        block = SingleStreamBlock(flow).to(device, precision).eval()
        x = torch.randn(1, tokens, flow.hidden_size).to(device, precision)
        vector = torch.randn(1, flow.hidden_size).to(device, precision)
        rotary = rotary_table(torch.zeros(1, tokens, len(flow.axes_dim), device=device), flow.axes_dim, flow.theta)
        flow_rate = work / quickest(lambda: block(x, vector, rotary), device, budget_s=0.05)

        ae, side = _probe_autoencoder(config.autoencoder, device)
        autoencoder = Autoencoder(ae).eval().to(device)
        autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # as `load` does
        latents = torch.randn(1, ae.z_channels, side // ae.downscale, side // ae.downscale).to(device)
        spent = quickest(lambda: autoencoder.decode(latents), device, budget_s=0.05)
        ae_rate = decode_work(ae, width=side, height=side).total / spent
    return Rates(flow_rate, ae_rate)


def measure_plan(
    config: ModelConfig, plan: Plan, device: torch.device, dtype: torch.dtype, tokens: int
) -> tuple[float, float]:
    """FLOP/s of an evaluation and of decoding, as a plan computes them, on blocks of random weights."""
    import torch

    from recast.speed import accelerate
    from recast.speed.selftest import random_pipeline

    flow, tokens = _probe_flow(config.flow, device, tokens)
    flow = replace(flow, depth=1, depth_single_blocks=2, context_attention="full")
    ae, side = _probe_autoencoder(config.autoencoder, device)
    whole = random_pipeline(replace(config, flow=flow, autoencoder=ae), device, dtype)
    bare = replace(plan, vram_bytes=None, approximate=None, compile=False, tuned=False)
    made = accelerate(whole, bare).pipeline
    text = min(config.text.max_length, tokens // 4)
    target = tokens - text

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(1, *shape).to(device, dtype)

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
    latents = torch.randn(1, ae.z_channels, side // ae.downscale, side // ae.downscale).to(device)
    with torch.inference_mode():
        velocity = made.network.along(made.network.condition(**inputs), [1.0, 0.5, 0.2, 0.0])
        step = quickest(lambda: velocity(x, 0.5), device, budget_s=0.05)  # neither the first nor the last evaluation
        decode = quickest(lambda: made.autoencoder.decode(latents), device, budget_s=0.05)
    work = step_work(flow, target=target, text=text).total
    return work / step, decode_work(ae, width=side, height=side).total / decode


def measure_bus(device: torch.device) -> float:
    """Bytes a second from page-locked memory of the host to a GPU."""
    import torch

    host = torch.empty(COPIED_BYTES, dtype=torch.uint8, pin_memory=True)
    there = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=device)
    return COPIED_BYTES / quickest(lambda: there.copy_(host, non_blocking=True), device, budget_s=0.05)


def quickest(call: Callable[[], object], device: torch.device, *, budget_s: float, at_least: int = 3) -> float:
    """The shortest of several calls, in seconds, after one to warm up."""
    from recast.speed.clock import undisturbed

    call()
    times: list[float] = []
    while len(times) < at_least or sum(times) < budget_s:
        times.append(undisturbed(call, device))
    return min(times)


def _probe_flow(flow: FlowConfig, device: torch.device, tokens: int) -> tuple[FlowConfig, int]:
    """A network, perhaps narrower, and so many tokens, perhaps fewer, that a block of it takes no time worth a word."""
    budget = PROBE_FLOPS.get(device.type, 2e9)
    while _block_flops(flow.hidden_size, flow.mlp_hidden, tokens) > budget and tokens > 256:
        tokens //= 2
    while _block_flops(flow.hidden_size, flow.mlp_hidden, tokens) > budget and flow.num_heads > 4:
        heads = flow.num_heads // 2
        flow = replace(flow, num_heads=heads, hidden_size=heads * flow.head_dim)
    return flow, tokens


def _probe_autoencoder(ae: AutoencoderConfig, device: torch.device) -> tuple[AutoencoderConfig, int]:
    """The same of an autoencoder, and the side of the picture to decode, in pixels."""
    budget, side = PROBE_FLOPS.get(device.type, 2e9), 256
    while decode_work(ae, width=side, height=side).total > budget and side > 64:
        side //= 2
    while decode_work(ae, width=side, height=side).total > 2 * budget and ae.ch // 2 % ae.num_groups == 0:
        ae = replace(ae, ch=ae.ch // 2)
    return ae, side


def _block_flops(d: int, h: int, tokens: int) -> float:
    return 2 * tokens * (4 * d * d + 2 * d * h) + 4 * d * tokens**2 + 6 * d * d
