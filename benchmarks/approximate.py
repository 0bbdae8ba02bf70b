"""Options that skip work, each beside simply using fewer steps: `nano`, edits of drawn scenes and of photographs.

    OMP_NUM_THREADS=1 python benchmarks/approximate.py [--requests 4] [--first 0] [--converged 100] [--side 256]
        [--smoke]

Each request is walked by every arm from the same noise: as it is, and, for `region`, with its mask, where the figures
are of the tokens that the mask lets change (and of the pixels of its box). Even requests are of drawn scenes, odd ones
of photographs that scikit-image packages.

work       FLOPs of all evaluations, counted by torch as they run, over those of 28 Euler steps (%)
converged  distance of the final tokens to those of the converged walk: |a - b| / |b| (%); its PSNR (dB) beside it
28 steps   the same, to 28 Euler steps: the walk that is skipped in
velocity   mean over the 28 steps of the distance of velocities along the walk of 28 Euler steps (%)
of Euler   distance to the converged walk over what Euler has at equal work, on the line through its measured step
           counts in the logarithms of both; below 1, the option is worth more than fewer steps; the same for `ab2`
s          seconds of the walk, with the counting of FLOPs

The converged walk is `ab2` of many steps: its error falls with their square, so that 60 are nearer than 200 of Euler.
Figures of several requests are means. Appends every request's figures to results/approximate.jsonl. With --smoke:
random weights of `tiny`, 64 px and fewer arms, appending nothing: that the script runs from end to end.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import record
import skimage.data
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import recast
from recast.config import tiny
from recast.errors import InputError
from recast.flow.guidance import MayChange, Velocity
from recast.flow.transformer import Condition
from recast.speed import attention
from recast.speed.context_reuse import context_reuse
from recast.speed.engine import Engine, Walk, exactly
from recast.speed.extrapolate import extrapolate
from recast.speed.refresh import Refresh
from recast.speed.region_steps import region_steps
from recast.speed.selftest import random_pipeline
from recast.speed.step_cache import step_cache
from recast.world.draw import draw
from recast.world.edits import NANO_BYTES, edit
from recast.world.sample import FIRST_UNTRAINED

STEPS, FIRST = 28, FIRST_UNTRAINED + 91_000
Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Arm:
    """A way to walk."""

    name: str
    sampler: str = "euler"
    steps: int = STEPS
    walk: Walk = exactly


@dataclass(frozen=True)
class Case:
    """An edit, and the box that it is about."""

    name: str
    source: np.ndarray
    prompt: str
    box: Box
    seed: int


@dataclass(frozen=True)
class Walked:
    """Where a walk ended, and what it took."""

    tokens: Tensor  # (1, n, d)
    rgb: np.ndarray
    flops: int
    seconds: float


EULER = [Arm(f"euler {steps}", steps=steps) for steps in (20, 14, 10)]
PLAIN = Arm(f"euler {STEPS}")
AB2 = [Arm(f"ab2 {steps}", "ab2", steps) for steps in (20, 14, 10)]
SEVENTH, THIRD = Refresh(first=2, every=6), Refresh(first=2, every=3)
WHOLE_PICTURE = [
    *EULER,
    *AB2,
    Arm("dpmpp_2m 14", "dpmpp_2m", 14),
    Arm("context, every 6th", walk=context_reuse(SEVENTH)),
    Arm("context, every 6th, on a line", walk=context_reuse(SEVENTH, extrapolates=True)),
    Arm("context, every 3rd", walk=context_reuse(THIRD)),
    Arm("first block 0.05", walk=step_cache(0.05)),
    Arm("first block 0.1", walk=step_cache(0.1)),
    Arm("extrapolate, every 2nd, line", walk=extrapolate(Refresh(first=3, every=2))),
    Arm("extrapolate, every 3rd, line", walk=extrapolate(Refresh(first=3, every=3))),
    Arm("extrapolate, every 2nd, parabola", walk=extrapolate(Refresh(first=3, every=2), order=2)),
]
SPARSE, DENSE = Refresh(first=4, every=8, last=False), Refresh(first=4, every=4, last=False)
MASKED = [
    *EULER,
    *AB2,
    Arm("region, every 8th, ring 0", walk=region_steps(SPARSE, ring=0)),
    Arm("region, every 8th, ring 1", walk=region_steps(SPARSE, ring=1)),
    Arm("region, every 4th, ring 1", walk=region_steps(DENSE, ring=1)),
    Arm("region, every 8th, ring 1, ab2 14", "ab2", 14, walk=region_steps(SPARSE, ring=1)),
]
IN_SMOKE = ("euler 10", "ab2 14", "ab2 10", "first block 0.1", "region, every 8th, ring 1, ab2 14")


class Watched(Engine):
    """An engine that counts the FLOPs of its evaluations, and keeps what it was last asked."""

    def along(self, condition: Condition, times: Sequence[float], may_change: MayChange | None = None) -> Velocity:
        inner = super().along(condition, times, may_change)
        self.asked, self.flops = (condition, times, may_change), 0
        self.seen: list[tuple[Tensor, float, Tensor]] = []

        def velocity(x: Tensor, t: float) -> Tensor:
            with FlopCounterMode(display=False) as counter:
                v = inner(x, t)
            self.flops += counter.get_total_flops()
            self.seen.append((x, t, v))
            return v

        return velocity


def case(number: int, side: int) -> Case:
    """A request of side x side pixels: a local edit of a drawn scene, or a thing put into a corner of a photograph."""
    if number % 2:
        photograph = (skimage.data.chelsea, skimage.data.astronaut)[number // 2 % 2]
        colour, thing = (("red", "star"), ("yellow", "heart"), ("blue", "circle"))[number // 2 % 3]
        corner = ("top left", "bottom right")[number // 2 % 2]
        size = 3 * side // 8
        at = 0 if corner == "top left" else side - size
        source = cv2.resize(photograph(), (side, side), interpolation=cv2.INTER_AREA)
        prompt = f"add a {colour} {thing} in the {corner} corner"
        return Case(photograph.__name__, source, prompt, (at, at, at + size, at + size), number)
    seed = FIRST + 1000 * number
    while True:
        seed += 1
        try:
            made = edit(seed, category="local", limit_bytes=NANO_BYTES)
        except InputError:
            continue
        source = draw(made.source, side, side)
        changed = (draw(made.target, side, side) != source).any(-1).astype(np.uint8)
        left, top, width, height = cv2.boundingRect(cv2.dilate(changed, np.ones((side // 16 + 1,) * 2, np.uint8)))
        if 0 < width * height < changed.size / 3:
            return Case(f"scene {seed}", source, made.instruction, (left, top, left + width, top + height), number)


def walked(pipeline: recast.Pipeline, case: Case, arm: Arm, mask: np.ndarray | None) -> Walked:
    """A request by one arm."""
    engine = pipeline.network
    assert isinstance(engine, Watched)
    engine.walk = arm.walk
    options: dict[str, Any] = {"seed": case.seed, "steps": arm.steps, "sampler": arm.sampler, "size": "source"}
    begun = time.perf_counter()
    result = pipeline.edit(case.source, case.prompt, mask=mask, **options)
    return Walked(result.tokens[0], result.pictures[0].rgb, engine.flops, time.perf_counter() - begun)


def along_the_plain_walk(engine: Watched, arm: Arm, plain: list[tuple[Tensor, float, Tensor]], where: Tensor) -> float:
    """Mean distance of an option's velocities to the plain ones, at the states of the plain walk (%)."""
    engine.walk = arm.walk
    velocity = Engine.along(engine, *engine.asked)
    return float(np.mean([distance(velocity(x, t), v, where) for x, t, v in plain]))


def distance(a: Tensor, b: Tensor, where: Tensor) -> float:
    """|a - b| / |b| over tokens (n,) bool, in per cent."""
    a, b = a[:, where], b[:, where]
    return 100 * float((a - b).norm() / b.norm())


def psnr(a: np.ndarray, b: np.ndarray, box: Box) -> float:
    """Peak signal to noise within a box, in dB; 99 for equal pictures."""
    left, top, right, bottom = box
    a, b = (picture[top:bottom, left:right].astype(np.float64) for picture in (a, b))
    error = float(np.mean((a - b) ** 2))
    return 99.0 if error == 0 else 10 * math.log10(255**2 / error)


def arms_of(kind: str, *, smoke: bool) -> list[Arm]:
    """The arms of a table, the plain walk first. smoke: a few of them, of two sevenths of their steps."""
    arms = [PLAIN, *(MASKED if kind == "masked" else WHOLE_PICTURE)]
    if not smoke:
        return arms
    return [replace(arm, steps=round(2 * arm.steps / 7)) for arm in arms if arm is PLAIN or arm.name in IN_SMOKE]


def measure(
    pipeline: recast.Pipeline, case: Case, converged_steps: int, arms: Sequence[Arm], *, masked: bool
) -> list[dict[str, Any]]:
    """The figures of one request, an arm a row; the first of the arms is the plain walk."""
    engine = pipeline.network
    assert isinstance(engine, Watched)
    height, width = case.source.shape[:2]
    left, top, right, bottom = box = case.box if masked else (0, 0, width, height)
    mask = None
    if masked:
        mask = np.zeros((height, width), np.float32)
        mask[top:bottom, left:right] = 1
    converged = walked(pipeline, case, Arm("converged", "ab2", converged_steps), mask)
    plain = walked(pipeline, case, arms[0], mask)
    asked, seen = engine.asked, engine.seen
    free = asked[2]() if asked[2] is not None else None
    where = torch.ones(plain.tokens.shape[1], dtype=torch.bool) if free is None else free[0]
    rows = []
    for arm in arms:
        made = plain if arm is arms[0] else walked(pipeline, case, arm, mask)
        skips = arm.walk is not exactly and arm.steps == arms[0].steps
        if skips:
            engine.asked = asked
        rows.append(
            {
                "arm": arm.name,
                "work %": 100 * made.flops / plain.flops,
                "converged %": distance(made.tokens, converged.tokens, where),
                "converged dB": psnr(made.rgb, converged.rgb, box),
                "28 steps %": distance(made.tokens, plain.tokens, where),
                "28 steps dB": psnr(made.rgb, plain.rgb, box),
                "velocity %": along_the_plain_walk(engine, arm, seen, where) if skips else float("nan"),
                "s": made.seconds,
            }
        )
    for row in rows:
        for sampler in ("euler", "ab2"):
            row[f"of {sampler}"] = row["converged %"] / at_equal_work(rows, sampler, row["work %"])
    return rows


def at_equal_work(rows: list[dict[str, Any]], sampler: str, work: float) -> float:
    """The distance of a sampler of fewer steps with so much work, between its measured ones or on the line beyond."""
    points = sorted((r["work %"], r["converged %"]) for r in rows if r["arm"].split()[0] == sampler)
    logs = [(math.log(a), math.log(b)) for a, b in points]
    last = next((i for i, (a, _) in enumerate(logs[1:-1], 1) if math.log(work) <= a), len(logs) - 1)
    (a, b), (c, d) = logs[last - 1], logs[last]
    return math.exp(b + (d - b) * (math.log(work) - a) / (c - a))


def means(measured: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The mean row of each arm over requests; and in how many of them it is nearer than Euler at equal work."""
    made = []
    for rows in zip(*measured, strict=True):
        mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "arm"}
        beats = sum(row["of euler"] < 1 for row in rows)
        made.append({"arm": rows[0]["arm"], **mean, "beats Euler": f"{beats} of {len(rows)}"})
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4, help="how many (default 4: two drawn, two photographs)")
    parser.add_argument("--first", type=int, default=0, help="number of the first request (default 0)")
    parser.add_argument("--converged", type=int, default=100, help="ab2 steps of the converged walk (default 100)")
    parser.add_argument(
        "--side", type=int, default=256, help="of the pictures, px (default 256, what nano is made for)"
    )
    parser.add_argument("--only", choices=["whole", "masked"], help="one of the two tables")
    parser.add_argument("--smoke", action="store_true", help="tiny, a few arms, to see that all of it runs")
    args = parser.parse_args(argv)
    if args.smoke:
        args.requests, args.side, args.converged = 1, 64, 2
        pipeline = random_pipeline(tiny(), torch.device("cpu"), torch.float32)
    else:
        pipeline = recast.load("nano", device="cpu", dtype="fp32")
    pipeline.network = Watched(pipeline.flow, attend=attention.by_length)
    tables: dict[str, list[list[dict[str, Any]]]] = {"whole": [], "masked": []}
    for number in range(args.first, args.first + args.requests):
        request = case(number, args.side)
        for kind in [args.only] if args.only else list(tables):
            arms = arms_of(kind, smoke=args.smoke)
            rows = measure(pipeline, request, args.converged, arms, masked=kind == "masked")
            tables[kind].append(rows)
            about = {"request": request.name, "prompt": request.prompt, "box": request.box, "seed": request.seed}
            how = {"table": kind, "side": args.side, "converged": args.converged}
            if not args.smoke:
                record.append("approximate", {**how, **about, "rows": rows})
            print(f"\n{kind}: {len(tables[kind])} requests\n{record.table(means(tables[kind]))}", flush=True)


if __name__ == "__main__":
    main()
