"""A step of adversarial distillation in pixels (ADD) beside one in latents (LADD): time, work and peak memory.

    python benchmarks/add_ladd.py [--preset tiny|nano] [--device cpu] [--batch 4] [--steps 8] [--arms LADD ADD]
        [--size PX] [--precision fp32] [--on-policy 0.5] [--features DINOV2_FOLDER] [--crop 128]
        [--head-width 128] [--smoke]

One student, one teacher, the same edits with one context: latents and words that are there already, so that no picture
is encoded in a step. A step is the student's phase and the discriminator's, each with its backward pass and its
optimiser. Arms:

    LADD                 heads on the teacher's blocks, R1
    LADD, negatives      with mis-paired and copied negatives and approximate R1, as `LaddSettings` has them
    ADD                  decoded pictures, heads on frozen features of them, R1, distillation, as `AddSettings` has them
    ADD, crop            the same on squares of --crop pixels

Features are DINOv2's where a folder of its files is given, else those of the autoencoder's encoder; weights of nano are
its own, of tiny random. Heads are of one width, on three blocks of the teacher and on four layers of the features. Arms
take turns, in an order that turns too, and ratios are of steps of the same round: another load on the machine falls on
all. Seconds are the clock's, and those of the process's own threads, which a busy machine disturbs less. Peak memory is
what a step adds to the networks, gradients of both phases included, without the optimisers' state: the most that is
held at once, on CUDA by the allocator, on the CPU by all tensors, as torch's profiler sees them come and go in a first
step that moves nothing and is not timed. With --smoke: `tiny`, 64 x 64, two examples, on a CPU, appending nothing.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import gpu_state
import record
import torch
from train_throughput import _encoder

import recast
from recast.config import preset
from recast.context.t5 import T5Encoder
from recast.context.text import ByteT5
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.train import optim, parallel
from recast.train.distill.add import AddStage
from recast.train.distill.add_settings import AddSettings
from recast.train.distill.adversarial import AdversarialStage
from recast.train.distill.heads import Heads
from recast.train.distill.ladd import LaddStage
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.pairs import PairBatch
from recast.train.distill.pixel_features import AutoencoderFeatures, DinoFeatures, PixelFeatures
from recast.train.distill.pixel_heads import PixelHeads
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import FlowStage
from recast.train.initial import initialise
from recast.train.parallel import Ranks
from recast.train.settings import Optimiser, Parallel, Run
from recast.train.stage import trained
from recast.train.uses import TARGET, FlowTraining, Pass, Use

PHASES = ("generator", "discriminator")
EACH_STEP = {"generator_from": 0.0, "discriminator_steps": 1}
"""Both phases in every step."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["tiny", "nano"], default="nano")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, help="pixels along one side (default: the preset's)")
    parser.add_argument("--steps", type=int, default=8, help="of each arm, after one that is not counted")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="fp32")
    parser.add_argument("--on-policy", type=float, default=0.5, help="share of states that the student itself came to")
    parser.add_argument("--features", help="a local folder of DINOv2 (default: the autoencoder's encoder)")
    parser.add_argument("--crop", type=int, help="pixels along one side (default: half of --size)")
    parser.add_argument("--head-width", type=int, default=128)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU, to see that all of it runs")
    args = parser.parse_args(argv)
    if args.smoke:
        args.preset, args.device, args.precision = "tiny", "cpu", "fp32"
        args.batch, args.size, args.steps, args.crop, args.head_width = 2, 64, 1, 32, 16
    args.size = args.size or preset(args.preset).defaults.width
    args.crop = args.crop or args.size // 2
    arms = {name: ARMS[name](args) for name in dict.fromkeys(["LADD", *args.arms])}
    with gpu_state.Watch() if args.device == "cuda" else nullcontext() as watch:
        peaks, seconds = measured(arms, args.steps)
    rows = [row_of(name, seconds, arm) | {"peak MiB": peaks[name]} for name, arm in arms.items()]
    settings = {name: value for name, value in vars(args).items() if name != "features"}
    described = next((a.stage.features.describe() for a in arms.values() if isinstance(a.stage, AddStage)), None)
    print(f"{args.preset}, {args.device}, {args.precision}, batch {args.batch}, features: {described}")
    print(record.table(rows))
    if not args.smoke:
        about = {"features": described, "gpu state": getattr(watch, "said", {})}
        record.append("add_ladd", settings | about | {"rows": rows})


# Arms.


class Arm:
    """A stage of its own and its optimisers."""

    def __init__(self, stage: AdversarialStage[Any, Any], batch: PairBatch) -> None:
        self.stage, self.batch, self.done = stage, batch, 0
        self.optimisers = {
            phase.name: optim.build(trained(phase, stage.networks), phase.optimiser) for phase in stage.phases
        }

    def step(self, *, moves: bool = True) -> dict[str, float]:
        """One step; the clock's seconds of each phase, and the threads' of all. moves: parameters, too."""
        batch, count = self.batch, len(self.batch.numbers)
        numbers = range(self.done * count, (self.done + 1) * count)
        uses = tuple(replace(use, number=n) for use, n in zip(batch.each.uses, numbers, strict=True))
        self.done += 1
        cpu, found = time.process_time(), {}
        prepared = self.stage.prepare(replace(batch, each=replace(batch.each, uses=uses)), 0.5)
        for name in PHASES:
            begun = time.perf_counter()
            for optimiser in self.optimisers[name]:
                optimiser.zero_grad(set_to_none=True)
            loss = self.stage.loss(name, prepared, 0.5)
            assert loss is not None
            loss.value.backward()
            for optimiser in self.optimisers[name] if moves else ():
                optimiser.step()
            if self.stage.reading.device.type == "cuda":
                torch.cuda.synchronize()
            found[name] = time.perf_counter() - begun
        return found | {"threads": time.process_time() - cpu}


def _ladd(args: argparse.Namespace, **changes: Any) -> Arm:
    reading, teacher = networks(args)
    settings = LaddSettings(**{**EACH_STEP, "r1": 1e-5, "on_policy": args.on_policy, **changes})
    settings = replace(settings, heads=replace(settings.heads, width=args.head_width))
    heads = Heads(teacher.flow.config, settings.heads).initialise(0).to(reading.device)
    rate = Optimiser(lr=1e-5)
    return Arm(LaddStage(reading, teacher, heads, settings, discriminator_optimiser=rate), pairs(args, settings))


def _add(args: argparse.Namespace, **changes: Any) -> Arm:
    reading, teacher = networks(args)
    settings = AddSettings(**{**EACH_STEP, "pictures": 0.0, "on_policy": args.on_policy, **changes})
    settings = replace(settings, heads=replace(settings.heads, width=args.head_width))
    features: PixelFeatures = AutoencoderFeatures(reading.autoencoder)
    if args.features:
        features = DinoFeatures.load(args.features, args.device)
    heads = PixelHeads(features, teacher.flow.config, settings.heads).initialise(0).to(reading.device)
    stage = AddStage(reading, teacher, features, heads, settings, discriminator_optimiser=Optimiser(lr=1e-5))
    return Arm(stage, pairs(args, settings))


ARMS: dict[str, Callable[[argparse.Namespace], Arm]] = {
    "LADD": lambda args: _ladd(args, mispaired=0.0, copies=0.0, approximate_r1=0.0),
    "LADD, negatives": _ladd,
    "ADD": _add,
    "ADD, crop": lambda args: _add(args, crop_px=args.crop),
}


def networks(args: argparse.Namespace) -> tuple[FlowStage, Teacher]:
    """A student and its teacher, which begin alike."""
    model, device = preset(args.preset), torch.device(args.device)
    text: Any
    if args.preset == "nano":
        pipeline = recast.load("nano", device=args.device, dtype="fp32")
        flow, autoencoder, text = copy.deepcopy(pipeline.flow), pipeline.autoencoder, pipeline.text
    else:
        torch.manual_seed(0)
        flow, autoencoder = FlowTransformer(model.flow), Autoencoder(model.autoencoder).to(device)
        initialise(flow, 0)
        text = ByteT5(T5Encoder(_encoder(model)).to(device), model.text.max_length)
    teacher = Teacher(copy.deepcopy(flow).to(device))
    course, ranks = Run(steps=1, precision=args.precision), Ranks(device=device)
    reading = FlowStage(
        flow=parallel.wrap(flow.train().requires_grad_(True), course, Parallel(), ranks),  # type: ignore[arg-type]
        autoencoder=autoencoder,
        text=text,
        training=FlowTraining(edit=1.0, text_to_image=0.0, keep=0.0),
        optimiser=Optimiser(lr=1e-6),
        run=course,
        ranks=ranks,
    )
    return reading, teacher


def pairs(args: argparse.Namespace, settings: LaddSettings | AddSettings) -> PairBatch:
    """Latents at random, of unit scale as real ones are."""
    model = preset(args.preset)
    side = args.size // model.pixels_per_token
    shape = args.batch, side * side, model.flow.out_channels
    generator = torch.Generator().manual_seed(0)
    clean, context, noise = (torch.randn(shape, generator=generator) for _ in range(3))
    uses = tuple(
        Use(example=i, number=i, kind="edit", target=TARGET, contexts=(0,), prompt=f"make the shirt of person {i} red")
        for i in range(args.batch)
    )
    each = Pass(uses=uses, clean=clean, grid=(side, side), context=context, context_grids=((side, side),), mask=None)
    ids = tuple(map(str, range(args.batch)))
    return PairBatch(each=each, noise=noise, of=args.batch, ids=ids, guidance=settings.guidance, steps=25)


# Measures.


def measured(arms: dict[str, Arm], steps: int) -> tuple[dict[str, float], dict[str, list[dict[str, float]]]]:
    """The peak in MiB of each arm's first step, and what its other steps took, round by round."""
    names = list(arms)
    peaks = {name: peak_of(arm) for name, arm in arms.items()}
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(steps):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(arms[name].step())
    return peaks, seconds


def row_of(name: str, seconds: dict[str, list[dict[str, float]]], arm: Arm) -> dict[str, Any]:
    """Medians of an arm, and how it stands to LADD, round by round."""
    own, first = seconds[name], seconds["LADD"]
    whole = [sum(step[phase] for phase in PHASES) for step in own]
    ratios = sorted(
        sum(a[phase] for phase in PHASES) / sum(b[phase] for phase in PHASES) for a, b in zip(own, first, strict=True)
    )
    threads = statistics.median(a["threads"] / b["threads"] for a, b in zip(own, first, strict=True))
    return {
        "arm": name,
        "median ms": 1000 * statistics.median(whole),
        **{f"{phase} ms": 1000 * statistics.median(step[phase] for step in own) for phase in PHASES},
        "times LADD": statistics.median(ratios),
        "least to most": f"{ratios[0]:.3g} to {ratios[-1]:.3g}",
        "times LADD, threads": threads,
        "threads' ms": 1000 * statistics.median(step["threads"] for step in own),
        "GFLOP": arm.stage.flops(arm.batch) / 1e9,
    }


def peak_of(arm: Arm) -> float:
    return device_peak(arm) if arm.stage.reading.device.type == "cuda" else tensors_peak(arm)


def tensors_peak(arm: Arm) -> float:
    """MiB of CPU tensors that a step adds at its highest, as torch's profiler saw them come and go."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        arm.step(moves=False)
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore[union-attr]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most / 2**20


def device_peak(arm: Arm) -> float:
    """MiB that a step adds at its highest, as CUDA's allocator says."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    arm.step(moves=False)
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


if __name__ == "__main__":
    main()
