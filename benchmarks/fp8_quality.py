"""What eight bits cost in quality: errors of the velocity against fp32, beside those that bf16 makes on its own.

    python benchmarks/fp8_quality.py [--requests 2] [--steps 8] [--share 0.04]
    python benchmarks/fp8_quality.py --preset kontext_dev --device cuda --random [--side 1024]
    python benchmarks/fp8_quality.py --smoke    (tiny, random, on a CPU, appending nothing: that the script runs)

With the model nano, on photographs that come with scikit-image and on drawn scenes. Figures of each arm:
step       |v - v_fp32| / |v_fp32| at some times of the fp32 walk, root mean square over requests
x bf16     the same, root mean square over times, divided by that of the core in bf16
forced     mean of the same over every step of the fp32 walk
PSNR       of the edited pictures against those of fp32, dB, mean
The eight-bit numbers are those of a GPU; what lies between the products stays in the dtype of the model: fp32 with
nano on a CPU, bf16 on CUDA. With --random, weights and inputs are normal noise of the true shapes: that shows that
the arms run and how the arithmetic rounds, not what it does to a picture. Then no picture is made, and times and
guidance are such that bf16 embeds what fp32 does: that one rounding would be all that is seen (of 2.5 and 0.75, with
random weights: 0.2 to 0.4 of the velocity, where all others together make 0.01).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import record
import torch
from torch import Tensor

import recast
from recast.config import preset
from recast.flow.transformer import Condition, FlowTransformer, Network
from recast.latents.tokens import positions
from recast.pipeline import Pipeline
from recast.quality.build import framed, load
from recast.speed import attention8, sensitivity
from recast.speed.attention import plain
from recast.speed.blocks import blocks_of
from recast.speed.engine import Engine, Resident
from recast.speed.quantize import quantised
from recast.speed.sensitivity import TIMES, Probe, Walked, distance
from recast.world import edits, sample
from recast.world.draw import draw

PHOTOGRAPHS = (
    ("astronaut", "turn this into a pencil sketch"),
    ("coffee", "make it look like a watercolour painting"),
    ("chelsea", "turn this into a cartoon"),
)
EMBEDDED_ALIKE = (1.0, 0.5, 0.25, 0.05)  # times t with 1000 t the same in bf16 as in fp32; so are powers of 1/2
Edit = Callable[[Pipeline], np.ndarray]


@dataclass(frozen=True)
class Case:
    """A model, the walks that fp32 takes, and the same conditions as its own dtype embeds them."""

    exact: Network
    eager: Network  # the core in bf16
    own: FlowTransformer  # what is quantised: fp32 on a CPU, bf16 on CUDA
    walks: list[Walked]
    eager_conditions: list[Condition]
    own_conditions: list[Condition]
    pictures: Callable[[Network], list[np.ndarray]] | None  # of every request
    times: Sequence[float] = TIMES


def requests(count: int, steps: int) -> list[Edit]:
    """Edits of photographs and of drawn scenes in turn, 256 x 256."""
    made: list[Edit] = []
    for number in range(count):
        if number % 2 == 0:
            name, words = PHOTOGRAPHS[number // 2 % len(PHOTOGRAPHS)]
            source = framed(load(name), 256, 256)
        else:
            drawn = edits.edit(sample.FIRST_UNTRAINED + number, split="any")
            source, words = draw(drawn.source), drawn.instruction

        def edit(pipeline: Pipeline, source: np.ndarray = source, words: str = words, seed: int = number) -> np.ndarray:
            return pipeline.edit(source, words, seed=seed, steps=steps).pictures[0].rgb

        made.append(edit)
    return made


def of_nano(device: str, count: int, steps: int) -> Case:
    """The embedded model with real requests."""
    asked = requests(count, steps)
    pipelines = {dtype: recast.load("nano", device=device, dtype=dtype) for dtype in ("fp32", "bf16")}
    exact, eager = pipelines["fp32"], pipelines["bf16"]
    with sensitivity.recorded(exact) as walks:
        for edit in asked:
            edit(exact)
    with sensitivity.recorded(eager) as rounded:  # for its conditions alone: the states are those of fp32
        for edit in asked:
            edit(eager)

    def pictures(network: Network) -> list[np.ndarray]:
        pipeline = eager if network is eager.flow else exact if device == "cpu" else eager
        usual, pipeline.network = pipeline.network, network
        try:
            return [edit(pipeline) for edit in asked]
        finally:
            pipeline.network = usual

    own = exact if device == "cpu" else eager
    conditions = [walk.condition for walk in rounded]
    return Case(
        exact=exact.flow,
        eager=eager.flow,
        own=own.flow,
        walks=walks,
        eager_conditions=conditions,
        own_conditions=[walk.condition for walk in walks] if device == "cpu" else conditions,
        pictures=pictures,
    )


def of_random(name: str, device: str, count: int, steps: int, side: int) -> Case:
    """A preset with random weights, on random states and conditions of an edit of side x side pixels."""
    config = preset(name)
    generator = torch.Generator(device).manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    with torch.device(device):
        exact = FlowTransformer(config.flow).eval().requires_grad_(False)
    for parameter in exact.parameters():
        parameter.copy_(noise(*parameter.shape) * (parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.1))
    with torch.device("meta"):
        own = FlowTransformer(config.flow).to(torch.bfloat16)
    own.to_empty(device=device).eval().requires_grad_(False).load_state_dict(exact.state_dict())
    grid = (side // 16, side // 16)
    at, n = positions(grid).to(device), grid[0] * grid[1]
    reference = at.clone()
    reference[..., 0] = 1
    walks, conditions = [], []
    for _ in range(count):
        given = {
            "text": noise(1, config.text.max_length, config.flow.context_in_dim),
            "pooled": None if config.flow.vec_in_dim is None else noise(1, config.flow.vec_in_dim),
            "guidance": torch.full((1,), 2.0, device=device) if config.flow.guidance_embed else None,
            "context": noise(1, n, config.flow.out_channels),
        }
        half = {key: value if value is None or key == "guidance" else value.bfloat16() for key, value in given.items()}
        where = {"positions": at, "context_positions": reference}
        walk, x = Walked(exact.condition(**given, **where)), noise(1, n, config.flow.out_channels)
        times = [0.5**i for i in range(steps)]
        velocity = exact.along(walk.condition, times)
        for t in times:  # not a walk to anywhere: random weights lead nowhere
            walk.states.append(x)
            walk.times.append(t)
            walk.velocities.append(velocity(x, t))
            x = x - walk.velocities[-1] * t / 2
        walks.append(walk)
        conditions.append(own.condition(**half, **where))
    return Case(exact, own, own, walks, conditions, conditions, None, EMBEDDED_ALIKE)


def arms(case: Case, keep: Sequence[str]) -> dict[str, Network]:
    """What is compared, by name."""
    all_eight = Resident(quantised(blocks_of(case.own)))
    most_eight = Resident(quantised(blocks_of(case.own), keep=keep))
    made: dict[str, Network] = {
        "bf16 eager": case.eager,
        "fp8 all": Engine(case.own, blocks=all_eight),
        f"fp8, {len(keep)} kept": Engine(case.own, blocks=most_eight),
    }
    for smooth, rotate in ((False, False), (True, False), (False, True), (True, True)):
        how = " + ".join(["fp8 attention", *["smooth"] * smooth, *["rotate"] * rotate])
        attend = attention8.Written(smooth=smooth, rotate=rotate)
        made[how] = Engine(case.own, attend=attend)
        if smooth == rotate:
            made[f"fp8, {len(keep)} kept + {how}"] = Engine(case.own, blocks=most_eight, attend=attend)
    return made


def errors(network: Network, probes: list[Probe], true: list[Tensor]) -> list[float]:
    """The relative error at every point."""
    made = sensitivity.velocities(network, probes)
    return [distance(one, reference) for one, reference in zip(made, true, strict=True)]


def rms(values: Sequence[float]) -> float:
    """Root mean square."""
    return math.sqrt(sum(value**2 for value in values) / len(values))


def psnr(made: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal to noise, in dB; 99 for equal pictures."""
    error = np.mean((made.astype(np.float64) - reference.astype(np.float64)) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def compare(case: Case, keep: Sequence[str]) -> list[dict[str, Any]]:
    """The table, an arm a row."""
    at_times = [[walk.at(t) for walk in case.walks] for t in case.times]
    steps = [probe for walk in case.walks for probe in walk.steps()]
    true_at = [sensitivity.velocities(case.exact, probes) for probes in at_times]
    true_steps = [velocity for walk in case.walks for velocity in walk.velocities]
    references = case.pictures(case.exact) if case.pictures else []
    rows: list[dict[str, Any]] = []
    for name, network in arms(case, keep).items():
        begun = time.perf_counter()
        known = case.eager_conditions if network is case.eager else case.own_conditions
        by_walk = {id(walk.condition): condition for walk, condition in zip(case.walks, known, strict=True)}

        def own(probes: list[Probe], by_walk: dict[int, Condition] = by_walk) -> list[Probe]:
            return [replace(probe, condition=by_walk[id(probe.condition)]) for probe in probes]

        by_time = [rms(errors(network, own(probes), true)) for probes, true in zip(at_times, true_at, strict=True)]
        row: dict[str, Any] = {"arm": name, **{f"t={t}": error for t, error in zip(case.times, by_time, strict=True)}}
        row["x bf16"] = rms(by_time) / (rows[0]["step"] if rows else rms(by_time))
        row["step"] = rms(by_time)
        row["forced"] = float(np.mean(errors(network, own(steps), true_steps)))
        if case.pictures:
            row["PSNR"] = float(np.mean([psnr(*pair) for pair in zip(case.pictures(network), references, strict=True)]))
        rows.append(row)
        print(json.dumps({**row, "seconds": round(time.perf_counter() - begun)}), flush=True)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="nano", help="nano (default), or with --random any preset")
    parser.add_argument("--random", action="store_true", help="random weights of the preset")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--requests", type=int, default=2, help="edits, or random states (default 2)")
    parser.add_argument("--steps", type=int, default=8, help="Euler steps (default 8)")
    parser.add_argument("--share", type=float, default=sensitivity.SHARE, help="of layers to keep (default 0.04)")
    parser.add_argument("--rank-at", type=float, nargs="+", default=TIMES, help="times at which layers are ranked")
    parser.add_argument("--side", type=int, default=1024, help="pixels, with --random (default 1024)")
    parser.add_argument("--smoke", action="store_true", help="tiny, random, on a CPU, to see that all of it runs")
    args = parser.parse_args(argv)
    if args.smoke:
        args.preset, args.random, args.device, args.side = "tiny", True, "cpu", 64
        args.requests, args.steps, args.rank_at = 1, 2, TIMES[:1]
    if args.preset != "nano" and not args.random:
        parser.error(f"--preset {args.preset}: its weights are not in the package; add --random")
    if args.random:
        with torch.inference_mode():
            case = of_random(args.preset, args.device, args.requests, args.steps, args.side)
    else:
        case = of_nano(args.device, args.requests, args.steps)
    base = Engine(case.own, attend=plain)
    first = replace(case.walks[0], condition=case.own_conditions[0])
    begun = time.perf_counter()
    table = sensitivity.measure(
        base, [first], times=args.rank_at
    )  # of one request: its cost is that of layers x times evaluations
    print(f"sensitivity of {len(table.error)} layers: {time.perf_counter() - begun:.0f} s", flush=True)
    keep = sensitivity.worst(table, args.share)
    ranked = sorted(table.error, key=table.overall, reverse=True)
    layers = [{"layer": name, "error": table.overall(name), "kept": name in keep} for name in ranked]
    print(record.table(layers[:12]), layers[-1], sep="\n")
    rows = compare(case, keep)
    print(record.table(rows))
    settings = {
        key: getattr(args, key) for key in ("preset", "random", "device", "requests", "steps", "share", "rank_at")
    }
    sensitivities = {name: table.error[name] for name in ranked}
    if not args.smoke:
        record.append("fp8_quality", {**settings, "keep": keep, "layers": sensitivities, "rows": rows})


if __name__ == "__main__":
    main()
