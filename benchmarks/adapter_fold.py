"""Adapters folded into an engine's working weights: milliseconds and GB/s for one, two, another strength, and none.

    python benchmarks/adapter_fold.py --model mid --device cpu
    python benchmarks/adapter_fold.py --model kontext_dev --device cuda
    python benchmarks/adapter_fold.py --smoke    (tiny, on a CPU, appending nothing: that the script runs)

A LoRA of every matrix of the blocks, with random weights: what counts is how much is read and written. GB/s counts each
working weight read once and written once (2 x its bytes), which is the least there can be. kontext_dev takes two
times 24 GB of the device, the second for the masters; --keep-on cpu leaves these on the host.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import record
import torch
from safetensors.torch import save_file
from torch import Tensor

from recast.config import FlowConfig, kontext_dev, nano, tiny
from recast.flow.transformer import FlowTransformer
from recast.speed.adapters import Folding, Written
from recast.speed.blocks import blocks_of
from recast.speed.engine import Engine, Resident
from recast.speed.linear import Linear, Plain
from recast.speed.quantize import EightBit, quantised

MODELS: dict[str, FlowConfig] = {
    "tiny": tiny().flow,
    "nano": nano().flow,
    "mid": replace(
        kontext_dev().flow, hidden_size=1024, num_heads=8, depth=2, depth_single_blocks=4, axes_dim=(16, 56, 56)
    ),
    "kontext_dev": kontext_dev().flow,
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="mid")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), help="of the weights (usual: bf16 on cuda, fp32 on cpu)")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--keep-on", help="device of the masters (usual: that of the weights)")
    parser.add_argument("--eight-bit", action="store_true", help="an engine in eight bits, requantised from its master")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU, to see that all of it runs")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.model, arguments.device, arguments.rank, arguments.repeats = "tiny", "cpu", 2, 1
    device = torch.device(arguments.device)
    name = arguments.dtype or ("bf16" if device.type == "cuda" else "fp32")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[name]

    flow = random_flow(MODELS[arguments.model], device, dtype)
    engine = Engine(flow)
    if arguments.eight_bit:
        engine = Engine(flow, blocks=Resident(quantised(blocks_of(flow))))
    folding = Folding(engine, requantise=requantise, keep_on=arguments.keep_on)
    with tempfile.TemporaryDirectory() as place:
        first, second = (
            folding.read(save(Path(place) / f"{seed}.safetensors", flow, arguments.rank, dtype, seed))
            for seed in (1, 2)
        )
        cases: dict[str, tuple[Callable[[], Any], Callable[[], Written]]] = {
            "one in": (folding.set, lambda: folding.set((first, 1.0))),
            "another strength": (lambda: folding.set((first, 1.0)), lambda: folding.set((first, 0.5))),
            "a second as well": (lambda: folding.set((first, 1.0)), lambda: folding.set((first, 1.0), (second, 1.0))),
            "all out": (lambda: folding.set((first, 1.0)), folding.set),
        }
        rows = [
            {"case": case, **measured(before, change, device, arguments.repeats)}
            for case, (before, change) in cases.items()
        ]
    weights = sum(parameter.nbytes for parameter in flow.parameters())
    shown = (
        f"{arguments.model}, {name}{' + eight bits' if arguments.eight_bit else ''}, rank {arguments.rank}, {device}"
    )
    print(f"{shown}: weights {weights / 1e9:.3f} GB\n\n{record.table(rows)}")
    settings = {
        "model": arguments.model,
        "dtype": name,
        "rank": arguments.rank,
        "eight_bit": arguments.eight_bit,
        "keep_on": arguments.keep_on or str(device),
        "device": str(device),
        "weights_bytes": weights,
    }
    if not arguments.smoke:
        record.append("adapter_fold", {**settings, "rows": rows})


def measured(
    before: Callable[[], Any], change: Callable[[], Written], device: torch.device, repeats: int
) -> dict[str, float]:
    """Median and spread of a change of adapters, each time from the same state; the first time is not counted."""
    times = []
    for _ in range(repeats + 1):
        before()
        wait(device)
        started = time.perf_counter()
        written = change()
        wait(device)
        times.append(time.perf_counter() - started)
    middle = median(times[1:])
    return {
        "written_gb": written.weights_bytes / 1e9,
        "ms": 1e3 * middle,
        "fastest_ms": 1e3 * min(times[1:]),
        "slowest_ms": 1e3 * max(times[1:]),
        "gb_per_s": 2 * written.weights_bytes / middle / 1e9,
    }


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def random_flow(config: FlowConfig, device: torch.device, dtype: torch.dtype) -> FlowTransformer:
    with torch.device("meta"):
        flow = FlowTransformer(config).to(dtype)
    flow.to_empty(device=device).requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for parameter in flow.parameters():
        parameter.normal_(std=0.02, generator=generator)
    return flow


def save(path: Path, flow: FlowTransformer, rank: int, dtype: torch.dtype, seed: int) -> Path:
    """A LoRA of every matrix of the blocks but the modulations, in kohya's names."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for name, parameter in flow.named_parameters():
        if "blocks" in name and parameter.ndim == 2 and "mod" not in name:
            outputs, inputs = parameter.shape
            module = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
            found[f"{module}.lora_down.weight"] = torch.randn(rank, inputs, generator=generator).to(dtype)
            found[f"{module}.lora_up.weight"] = torch.randn(outputs, rank, generator=generator).mul_(1e-3).to(dtype)
    save_file(found, path)
    return path


def requantise(layer: Linear, weight: Tensor) -> None:
    assert isinstance(layer, EightBit)
    layer.fill(Plain(weight, layer.bias))


if __name__ == "__main__":
    main()
