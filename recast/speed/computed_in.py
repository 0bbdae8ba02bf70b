"""What a plan computes in on a device, and what of it fits under a cap: the `Numbers` of `recast.speed.memory`."""

from __future__ import annotations

from dataclasses import replace

import torch

from recast import cost
from recast.config import ModelConfig
from recast.errors import OutOfMemory
from recast.speed import attention, fused
from recast.speed.autoencoder import dtype_on
from recast.speed.engine import Engine
from recast.speed.forecast import fit_beside
from recast.speed.memory import Masters, Memory, Numbers
from recast.speed.ops import Plain as PlainOps
from recast.speed.plan import Plan


def recipe_under(
    cap_bytes: float, config: ModelConfig, request: cost.Request, plan: Plan, numbers: Numbers
) -> tuple[Numbers, Memory]:
    """What fits under a cap: with a graph where there is room for one beside all weights, else without.

    Raises OutOfMemory if nothing does.
    """
    if numbers.graph:
        try:
            found = fit_beside(config, request, numbers, cap_bytes, plan.approximate)
        except OutOfMemory:
            found = None
        if found is not None and found.resident_blocks == config.flow.depth + config.flow.depth_single_blocks:
            return numbers, found
        numbers = replace(numbers, graph=False)
    return numbers, fit_beside(config, request, numbers, cap_bytes, plan.approximate)


def numbers_at(plan: Plan, dtype: torch.dtype, device: torch.device) -> Numbers:
    """As `numbers_of`, before there is an engine, for a device that is at hand."""
    fused_here = plan.kernels and fused.missing(device, rows=plan.eight_bit) is None
    is_written = plan.attention != "plain" and attention.fastest(device, dtype)[0] is not attention.plain
    return numbers_by(plan, dtype, device.type, fused=fused_here, scores=is_written and device.type != "cuda")


def numbers_of(plan: Plan, engine: Engine, device: torch.device, masters: Masters = "host") -> Numbers:
    """What a plan computes in on a device, for the formulas of `recast.speed.memory`."""
    return numbers_by(
        plan,
        engine.dtype,
        device.type,
        fused=not isinstance(engine.ops, PlainOps),
        scores=engine.attend is not attention.plain and device.type != "cuda",
        masters=masters,
    )


def numbers_by(
    plan: Plan,
    dtype: torch.dtype,
    device_type: str,
    *,
    fused: bool,
    scores: bool = False,
    masters: Masters = "host",
) -> Numbers:
    """As `numbers_of`, before there is an engine. fused: whether our kernels run there; the others as in `Numbers`."""
    item, on_cuda = dtype.itemsize, device_type == "cuda"
    return Numbers(
        blocks=1.0 if plan.eight_bit else float(item),
        item=item,
        fused=fused,
        joined=plan.joined,
        scores=scores,
        graph=plan.graph and plan.approximate is None and on_cuda,
        modulators=float(item),
        text=float(item),
        autoencoder=dtype_on(device_type, dtype).itemsize if plan.autoencoder == "fast" else 4,
        on_cuda=on_cuda,
        masters=masters,
    )
