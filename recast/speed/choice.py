"""`--plan auto`: the fastest plan that changes nothing but the order of sums, and where its weights go.

Eight bits and options that skip work are never chosen: they change pictures, so that a user asks for them by name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recast import cost
from recast.config import ModelConfig
from recast.errors import ConfigError
from recast.speed.memory import SPARE, Memory, Numbers, amount, fit, peak_bytes
from recast.speed.plan import PLANS, Plan

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Choice:
    """A plan, and why. passes: the weights are to be loaded to the host, for not all of them stay on the device."""

    plan: Plan
    why: str
    passes: bool = False

    def __str__(self) -> str:
        return f"plan {self.plan}: {self.why}"


def choose(
    config: ModelConfig,
    request: cost.Request,
    *,
    device: torch.device,
    dtype: torch.dtype,
    memory_bytes: float | None = None,
) -> Choice:
    """The plan for a request on a device. memory_bytes: of the device, instead of asking it.

    Raises OutOfMemory if it does not fit even with all weights streamed; ConfigError for a device of no known memory.
    """
    lossless = PLANS["lossless"]
    from recast.speed.placing import in_words

    if device.type != "cuda" and memory_bytes is None:
        return Choice(lossless, f"the engine in {str(dtype).removeprefix('torch.')}; all else needs CUDA")
    if memory_bytes is None:
        memory_bytes = _memory(device)
    on_cuda = device.type == "cuda"
    numbers = Numbers(
        item=dtype.itemsize,
        blocks=dtype.itemsize,
        modulators=dtype.itemsize,
        text=dtype.itemsize,
        fused=on_cuda,
        autoencoder=2 if on_cuda else 4,
        graph=on_cuda,
        on_cuda=on_cuda,
    )
    whole = Memory(resident_blocks=config.flow.depth + config.flow.depth_single_blocks)
    needed = peak_bytes(config, request, numbers, whole).total
    room = amount(memory_bytes)
    if needed <= memory_bytes * (1 - SPARE):
        return Choice(lossless, f"all weights stay on the device ({amount(needed)} of {room})")
    recipe = fit(config, request, replace(numbers, graph=False), memory_bytes)
    plan = replace(lossless, graph=False, vram_bytes=int(memory_bytes))
    how = "; ".join(in_words(recipe, whole.resident_blocks))
    return Choice(plan, f"{amount(needed)} do not fit into {room}; {how}", passes=True)


def _memory(device: torch.device) -> float:
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(f"device={str(device)!r}: this PyTorch finds no CUDA device; use cpu")
    return float(torch.cuda.get_device_properties(device).total_memory)
