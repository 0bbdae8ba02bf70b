"""`recast estimate --plan`: the memory of a plan's engine, what a cap lets stay, and a forecast of its time."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from recast.cli.options import setting
from recast.cli.rates import measure_bus, measure_plan
from recast.config import ModelConfig
from recast.cost import Estimate, Request
from recast.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from recast.cli.rates import Rates as Measured
    from recast.speed.forecast import Rates
    from recast.speed.memory import Masters, Memory, Numbers
    from recast.speed.plan import Plan

EIGHT_BIT_GAIN = 2.0  # of the stated rate: what data sheets give for float8 beside bf16, from Ada on
BESIDE_TENSORS = (  # how well it is foretold is told by the tables of docs/doctor.md
    "on CUDA with half a GB of the driver's; on a CPU with what its allocator cannot give back, within 10 % in most "
    "runs on nano, up to 15 % less than foretold in others"
)
ACCURACY = {
    "memory": f"tensors of the plan's engine alive at once, by formula; {BESIDE_TENSORS}. Gaps between tensors come on "
    "top, for which 3 % of a cap are left",
    "time": "a forecast by formula: at rates measured now on three blocks computed by the plan, or at the rate stated. "
    "Loading, compiling, the first use of each kernel (0.1 to 0.2 s on a CPU), timing products and recording graphs "
    "come on top; mostly within 25 % of 28 steps on nano on a CPU, not yet compared with a run on a GPU",
}


class Asked(NamedTuple):
    """What the flags say of a plan."""

    plan: str
    vram: str | None
    approximate: str | None
    changed: float | None
    sampler: str
    tflops: float | None
    bus_gb_s: float | None


class Where(NamedTuple):
    """The device: by name, as it is if it is here, what it has, and the core's rates measured there."""

    name: str
    device: torch.device | None
    available: int | None
    available_is: str  # which memory that is, in words that follow its size
    rates: Measured | None


def configure(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("plan (left out: the core as it is)")
    group.add_argument("--plan", metavar="NAME", help="as of `recast edit`; auto chooses")
    group.add_argument("--vram", metavar="SIZE", help="a cap on the device's memory, as 24gb: says what would stay")
    group.add_argument("--approximate", metavar="OPTION", help="as of `recast edit`; never chosen by a plan")
    group.add_argument(
        "--changed", type=float, metavar="SHARE", help="of the picture, that the mask of region lets change, as 0.2"
    )
    group.add_argument(
        "--bus", type=float, metavar="RATE", help="GB/s from host to GPU; usual: measured, or 25 where there is none"
    )


def asked(args: argparse.Namespace, usual_sampler: str) -> Asked | None:
    """The flags of a plan, those of the environment included; None where none is given. usual_sampler: the model's."""
    plan, vram = setting(args, "plan"), setting(args, "vram")
    if not (plan or vram or args.approximate):
        for flag in ("changed", "bus"):
            if getattr(args, flag) is not None:
                raise ConfigError(f"--{flag}={getattr(args, flag)}: of a plan; give --plan, or leave it out")
        return None
    if args.bus is not None and not args.bus > 0:
        raise ConfigError(f"--bus={args.bus}: GB/s above 0 accepted")
    sampler = args.sampler or usual_sampler
    return Asked(plan or "auto", vram, args.approximate, args.changed, sampler, args.tflops, args.bus)


def core_bytes(cost: Estimate, device: str) -> int:
    """What a request needs of a device by the core's own network.

    On CUDA with the context of the driver, as in `recast.speed.memory.Peak`: what is compared with it counts it too.
    """
    from recast.cost import resident_bytes
    from recast.speed.memory import CONTEXT_BYTES

    return resident_bytes(cost, device) + (CONTEXT_BYTES if device.startswith("cuda") else 0)


def changes(
    asked: Asked, config: ModelConfig, request: Request, cost: Estimate, where: Where, data: dict[str, Any]
) -> dict[str, Any]:
    """What a plan changes of the data of an estimate, and what it adds. Raises OutOfMemory under an impossible cap."""
    import torch

    from recast.speed import forecast
    from recast.speed.memory import kept_on_host, peak_bytes
    from recast.speed.placing import in_words

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[request.dtype]
    plan, why = _plan(asked, config, request, dtype, where)
    if asked.changed is not None and plan.approximate is None:
        raise ConfigError(f"--changed={asked.changed}: of --approximate region; leave it out")
    numbers = _numbers(plan, dtype, where)
    steps = forecast.asked_at(asked.sampler, _steps(asked.sampler, request.evaluations))
    walk = forecast.walked(config, request, plan, steps=steps, changed=asked.changed)
    memory: Memory | None = None
    sizes = {"peak": core_bytes(cost, where.name)}
    said = ["the core's own network"]
    if plan.engine:
        kept = forecast.kept_bytes(config, request, plan.approximate, item=numbers.item)
        memory = _memory(config, request, plan, numbers)
        peak = peak_bytes(config, request, replace(numbers, context_kv_bytes=kept), memory)
        beside = 0
        if where.name.startswith("cpu") and plan.vram_bytes is None:
            is_fast = plan.autoencoder == "fast"
            beside = kept_on_host(config, request, numbers) if is_fast else cost.kept_bytes
        sizes = {**asdict(peak), "peak": peak.total + beside}
        said = in_words(memory, config.flow.depth + config.flow.depth_single_blocks)
    rates, at = _rates(asked, config, plan, numbers, dtype, where, sum(cost.tokens.values()))
    times = None if rates is None else forecast.seconds(config, request, cost, walk, numbers, memory, rates)
    room, room_is = where.available, where.available_is
    if plan.vram_bytes is not None:
        room, room_is = plan.vram_bytes, "under the cap"
    passes = cost.evaluations // request.evaluations
    return {
        "plan": {
            "name": str(plan),
            "exactness": plan.class_,
            "why": why,
            "said": said,
            "memory": None if memory is None else asdict(memory),
            "evaluations": {"whole": walk.whole, "smaller": walk.smaller, "skipped": walk.skipped},
            "notes": [*filter(None, [walk.note]), *at, *_assumed(plan, where)],
        },
        "bytes": sizes,
        "flops": data["flops"] | {"sample": cost.condition.total + walk.work.times(passes).total},
        "device_bytes": room,
        "device_bytes_are": room_is,
        "fits": None if room is None else sizes["peak"] <= room,
        "flops_per_s": None if rates is None else asdict(rates),
        "seconds": None if times is None else {**times, "all": sum(times.values())},
        "warnings": list(_warnings(plan, sizes["peak"], room, room_is)),
        "accuracy": data["accuracy"] | ACCURACY,
    }


def lines(plan: dict[str, Any]) -> Iterator[str]:
    """What a person reads of a plan, before the numbers."""
    why = f": {plan['why']}" if plan["why"] else ""
    yield f"plan {plan['name']} ({plan['exactness']}){why}"
    yield f"memory: {'; '.join(plan['said'])}"
    yield from plan["notes"]


def _plan(asked: Asked, config: ModelConfig, request: Request, dtype: torch.dtype, where: Where) -> tuple[Plan, str]:
    """The plan as `recast.speed.accelerate` would take it, and why it was chosen, if it was."""
    import torch

    from recast.speed.approximate import Approximate
    from recast.speed.cap import parse_cap
    from recast.speed.choice import choose
    from recast.speed.plan import plan_of

    cap = None if asked.vram is None else parse_cap(asked.vram)
    option = None if asked.approximate is None else Approximate.read(asked.approximate)
    why = ""
    if asked.plan == "auto":
        room = cap if cap is not None else where.available
        if room is None:
            raise ConfigError(
                f"plan='auto': chosen by the memory of a device, and there is no {where.name} here; a plan's name, "
                "--vram or --memory accepted; pass one"
            )
        is_cuda = where.name.startswith("cuda")
        place = torch.device(where.name)
        choice = choose(config, request, device=place, dtype=dtype, memory_bytes=room if is_cuda or cap else None)
        plan, why = choice.plan, choice.why
    else:
        plan = plan_of(asked.plan)
    return replace(plan, approximate=option or plan.approximate, vram_bytes=cap or plan.vram_bytes), why


def _numbers(plan: Plan, dtype: torch.dtype, where: Where) -> Numbers:
    """What the plan computes in; a device that is not here is taken to do all that it could."""
    from recast.speed import attention, fused
    from recast.speed.computed_in import numbers_by

    kind = where.name.split(":")[0]
    masters: Masters = "loading" if plan.vram_bytes is None else "host"  # as `recast edit` gives its pipeline away
    if where.device is None:
        return numbers_by(plan, dtype, kind, fused=plan.kernels and kind == "cuda", masters=masters)
    has_kernels = plan.kernels and fused.missing(where.device, rows=plan.eight_bit) is None
    written = plan.attention != "plain" and attention.fastest(where.device, dtype)[0] is not attention.plain
    return numbers_by(plan, dtype, kind, fused=has_kernels, scores=written and kind != "cuda", masters=masters)


def _memory(config: ModelConfig, request: Request, plan: Plan, numbers: Numbers) -> Memory:
    """Where weights go: all on the device, or as they are made to fit under the cap."""
    from recast.speed.forecast import fit_beside
    from recast.speed.memory import Memory

    if plan.vram_bytes is None:
        return Memory(resident_blocks=config.flow.depth + config.flow.depth_single_blocks)
    return fit_beside(config, request, numbers, plan.vram_bytes, plan.approximate)


def _steps(sampler: str, evaluations: int) -> int:
    """How many steps so many evaluations are, back from `recast.speed.forecast.asked_at`."""
    from recast.speed.forecast import asked_at

    return next(steps for steps in range(1, evaluations + 1) if len(asked_at(sampler, steps)) == evaluations)


# Rates.


def _rates(
    asked: Asked,
    config: ModelConfig,
    plan: Plan,
    numbers: Numbers,
    dtype: torch.dtype,
    where: Where,
    tokens: int,
) -> tuple[Rates | None, list[str]]:
    """What to count time with, and where it comes from, in words; no rates where nothing is known."""
    from recast.speed.forecast import Rates
    from recast.speed.memory import BUS_BYTES_S

    is_passing = plan.vram_bytes is not None and numbers.on_cuda
    bus, of_bus = BUS_BYTES_S, "assumed, a PCIe 4 x 16"
    if asked.bus_gb_s is not None:
        bus, of_bus = 1e9 * asked.bus_gb_s, "as stated"
    elif where.device is not None and where.device.type == "cuda" and is_passing:
        bus, of_bus = measure_bus(where.device), "measured"
    said = [f"bus: {bus / 1e9:.3g} GB/s, {of_bus}"] if is_passing else []
    if asked.tflops is not None:
        rate = 1e12 * asked.tflops
        gains = [1.0, 1.0]
        if numbers.on_cuda:
            gains = [EIGHT_BIT_GAIN if part else 1.0 for part in (plan.eight_bit, plan.attention == "eight-bit")]
        for name, gain in zip(("products", "attention"), gains, strict=True):
            if gain != 1:
                said.append(f"eight bits: {name} counted at {gain:g} times the stated rate")
        return Rates(text=rate, linear=rate * gains[0], attention=rate * gains[1], autoencoder=rate, bus=bus), said
    if where.device is None or where.rates is None:
        return None, said
    measured = measure_plan(config, plan, where.device, dtype, tokens)
    return Rates(text=where.rates.linear, **asdict(measured), bus=bus), said


def _assumed(plan: Plan, where: Where) -> Iterator[str]:
    if plan.compile:
        yield "compile: counted at the core's rate and memory; what the compiler gains is not foretold"
    if where.device is None and plan.engine:
        yield f"{where.name}: not here, and taken to do all that the plan asks for; `recast doctor` tells it there"


def _warnings(plan: Plan, peak: int, room: int | None, room_is: str) -> Iterator[str]:
    if room is not None and peak > room:
        cure = "--plan auto or --vram says what would pass through" if plan.engine else "choose a plan with the engine"
        yield f"memory: {peak / 1e9:.2f} GB needed, {room / 1e9:.2f} GB {room_is}; {cure}"
