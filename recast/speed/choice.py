"""`--plan auto`: the fastest plan that changes nothing but the order of sums, and where its weights go.

Eight bits and options that skip work are never chosen: they change pictures, so that a user asks for them by name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recast import cost
from recast.config import ModelConfig
from recast.speed.cap import free_bytes, passing
from recast.speed.memory import SPARE, Masters, Memory, Numbers, amount, fit, peak_bytes
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
    masters: Masters = "loading",
) -> Choice:
    """The plan for a request on a device. memory_bytes: to be had of it, instead of asking what is free.

    masters: whether the weights that come in stay on the device beside what the plan makes of them, as long as all do.
    Raises OutOfMemory if it does not fit even with all weights streamed; ConfigError for a device of no known memory.
    """
    lossless = PLANS["lossless"]
    from recast.speed.placing import in_words

    memory_bytes = free_bytes(device) if memory_bytes is None else memory_bytes
    if memory_bytes is None:
        return Choice(lossless, f"the engine in {str(dtype).removeprefix('torch.')}; all else needs CUDA")
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
        masters=masters,
    )
    whole = Memory(resident_blocks=config.flow.depth + config.flow.depth_single_blocks)
    needed = peak_bytes(config, request, numbers, whole).total
    room = amount(memory_bytes)
    if needed <= memory_bytes * (1 - SPARE):
        return Choice(lossless, f"all weights stay on the device ({amount(needed)} of {room})")
    recipe = fit(config, request, passing(numbers), memory_bytes)
    plan = replace(lossless, graph=False, vram_bytes=int(memory_bytes))
    how = "; ".join(in_words(recipe, whole.resident_blocks))
    return Choice(plan, f"{amount(needed)} do not fit into {room}; {how}", passes=True)
