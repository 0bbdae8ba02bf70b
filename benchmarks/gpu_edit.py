"""Edits and pictures from words by every plan, beside diffusers, on one GPU: time by stage, cold start, memory.

    python benchmarks/gpu_edit.py [--preset kontext_dev] [--steps 28] [--repeats 20] [--rounds 3]
                                  [--arms NAME,...] [--cases NAME,...] [--out FOLDER] [--smoke]

One process per arm and round, arms taking turns (A B C A B C ...), random normal weights of the true shapes from one
seed, the same pictures, text features and noise. Every request brings a picture not seen before, so that what is kept
between requests takes part in none; keys and values of a cached context count as sampling. Three warm-up requests
(the first is the cold one, reported on its own), then the timed ones: median, p10 and p90 of each stage. Compiled
kernels are kept in a folder of each arm, so that `cold s`, of round 0, has them compiled anew if --out is a new one.
Before an arm the GPU may cool down to where it began, `--cool` seconds at most; its temperature, clock and power are
sampled while the arm runs. Three tables, never mixed: lossless, near-lossless,
approximate; each with the ratio to diffusers eager and to its regional compile measured in the same run, and
`distance`: the velocity at a fixed point from that of the reference arm, relative, divided by the distance of the
reference arm (bf16) from itself in fp32 where that fits (`--distance-in-fp32`), else relative alone. None for cached
arms, whose network is another one, nor for approximate ones, whose error is one of several steps.

Text features are drawn, not encoded: the text encoders are the same for every arm. Weights are random, so pictures
are not looked at and what depends on data (`first-block`) is not timed here but on nano (benchmarks/approximate.py).
With --smoke: `tiny`, two steps, 64 x 64, on a CPU: that the script runs from end to end. Arms that cannot run are
printed with the reason. Every sample is appended to benchmarks/results/gpu_edit.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()  # as early as Python lets us: what a worker calls cold begins here


@dataclass(frozen=True)
class Arm:
    """One way of computing. peer: not ours. options: of `edit`, beside those of the case."""

    table: str
    plan: str = ""
    approximate: str | None = None
    cached: bool = False
    vram: str | None = None
    peer: str | None = None


ARMS: dict[str, Arm] = {
    "diffusers eager": Arm("lossless", peer="eager"),
    "diffusers compile": Arm("lossless", peer="compile"),
    "reference": Arm("lossless", "reference"),
    "exact": Arm("lossless", "exact"),
    "lossless": Arm("lossless", "lossless"),
    "lossless cached context": Arm("lossless", "lossless", cached=True),
    "lossless 24 GB": Arm("lossless", "lossless", vram="24gb"),
    "lossless 8 GB": Arm("lossless", "lossless", vram="8gb"),
    "diffusers torchao fp8 compile": Arm("near-lossless", peer="torchao"),
    "fp8": Arm("near-lossless", "fp8"),
    "fp8-attention": Arm("near-lossless", "fp8-attention"),
    "fp8 cached context": Arm("near-lossless", "fp8", cached=True),
    "fp8-attention cached context": Arm("near-lossless", "fp8-attention", cached=True),
    "fp8 12 GB": Arm("near-lossless", "fp8", vram="12gb"),
    "context reuse": Arm("approximate", "lossless", "context-reuse"),
    "fp8 context reuse": Arm("approximate", "fp8", "context-reuse"),
}


@dataclass(frozen=True)
class Case:
    """One request: width and height of the picture, context pictures of the same size, steps if not the usual.

    variants: pictures of one source, each by words of its own; a peer makes them one after another.
    """

    width: int
    height: int
    references: int
    steps: int | None = None
    variants: int = 1


CASES: dict[str, Case] = {
    "edit 1024x1024": Case(1024, 1024, 1),
    "text to image 1024x1024": Case(1024, 1024, 0),
    "edit 1280x720": Case(1280, 720, 1),
    "edit 1280x720 4 steps": Case(1280, 720, 1, steps=4),
    "twenty variants 1280x720 4 steps": Case(1280, 720, 1, steps=4, variants=20),
    "two references 1024x1024": Case(1024, 1024, 2),
    "text to image 512x512": Case(512, 512, 0),
}
SMOKE = {
    "edit 64x64": Case(64, 64, 1),
    "text to image 64x64": Case(64, 64, 0),
    "three variants 64x64": Case(64, 64, 1, variants=3),
}
STAGES = ("encode", "sample", "decode", "file")


def main() -> None:
    """Send every arm through every round; print; append."""
    args = arguments()
    if args.worker:
        work(args)
        return
    import gpu_state
    import record

    cases = list(SMOKE if args.smoke else CASES) if args.cases is None else args.cases.split(",")
    arms = list(ARMS) if args.arms is None else args.arms.split(",")
    folder = Path(args.out or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    first_c = gpu_state.cool(None, 0)
    for number in range(args.rounds):
        for arm in arms:
            gpu_state.cool(first_c, args.cool)
            with gpu_state.Watch() as watch:
                found = list(run_worker(args, arm, cases, folder))
            for row in found:
                row["gpu_state"] = watch.said
                rows.append({"round": number, **row})
                said = row.get("not_run") or f"{1000 * statistics.median(row['sample']) / evaluations(row):.1f} ms/step"
                print(f"round {number}: {arm}: {row.get('case', '')} {said}", file=sys.stderr, flush=True)
                if not args.smoke:
                    record.append("gpu_edit", {"preset": args.preset, "round": number, **row})
    for table in ("lossless", "near-lossless", "approximate"):
        print(f"\n{table}\n")
        shown = [line for case in cases for line in lines(rows, table, case, folder)]
        print(record.table(shown) if shown else "no arm of this table was run")
    refused = {row["arm"]: row["not_run"] for row in rows if "not_run" in row}
    for arm, why in refused.items():
        print(f"not run: {arm}: {why}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="kontext_dev")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--repeats", type=int, default=20, help="timed requests an arm, case and round (default 20)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cool", type=float, default=60, help="seconds an arm waits at most for a cool GPU")
    parser.add_argument("--arms", help=f"of: {', '.join(ARMS)}")
    parser.add_argument("--cases", help=f"of: {', '.join(CASES)}")
    parser.add_argument("--out", help="folder for velocities (default: a temporary one)")
    parser.add_argument("--distance-in-fp32", action="store_true", help="needs 48 GB for kontext_dev beside the rest")
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU, to see that all of it runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.smoke:
        args.preset, args.device, args.steps, args.repeats, args.rounds = "tiny", "cpu", 2, 1, 1
    return args


def run_worker(args: argparse.Namespace, arm: str, cases: Sequence[str], folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of one arm, by a process of its own; one row that says why, where it cannot run."""
    flags = ["--smoke"] if args.smoke else [
        "--preset", args.preset, "--device", args.device, "--steps", str(args.steps), "--repeats", str(args.repeats)
    ]  # fmt: skip
    command = [sys.executable, __file__, *flags, "--worker", arm, "--cases", ",".join(cases), "--out", str(folder)]
    if args.distance_in_fp32:
        command.append("--distance-in-fp32")
    here = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    kernels = folder / f"kernels-{slug(arm)}"
    caches = {"TRITON_CACHE_DIR": f"{kernels}/triton", "TORCHINDUCTOR_CACHE_DIR": f"{kernels}/inductor"}
    environment = {**os.environ, **caches, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"arm":')]
    yield from found
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        yield {"arm": arm, "not_run": said[-1]}


def lines(rows: Sequence[dict[str, Any]], table: str, case: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of one table for one case, each with its ratio to the peers of the same case."""

    def step_ms(arm: str) -> float | None:
        mine = [row for row in rows if row["arm"] == arm and row.get("case") == case]
        every = [seconds / evaluations(row) for row in mine for seconds in row["sample"]]
        return 1000 * statistics.median(every) if every else None

    peers = {name: step_ms(f"diffusers {name}") for name in ("eager", "compile", "torchao fp8 compile")}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == arm and row.get("case") == case]
        if ARMS[arm].table != table or not mine:
            continue
        ms = step_ms(arm)
        assert ms is not None
        samples = sorted(1000 * s / evaluations(row) for row in mine for s in row["sample"])

        def stage(name: str, mine: Sequence[dict[str, Any]] = mine) -> float:
            return 1000 * statistics.median(value for row in mine for value in row[name])

        line = {
            "case": case,
            "arm": arm,
            "ms/step": ms,
            "p10": samples[len(samples) // 10],
            "p90": samples[-1 - len(samples) // 10],
            "encode ms": stage("encode"),
            "decode ms": stage("decode"),
            "file ms": stage("file"),
            "in all s": statistics.median(
                sum(parts) for row in mine for parts in zip(*(row[name] for name in STAGES), strict=True)
            ),
            "cold s": mine[0]["cold_s"],  # later rounds find their kernels compiled
            "peak GiB": max(row["peak_gib"] for row in mine),
            "MHz": in_the_middle(mine, "clock_mhz"),
            "W": in_the_middle(mine, "power_w"),
        }
        for name, peer in peers.items():
            line[f"x {name}"] = "–" if peer is None else f"{peer / ms:.2f}"
        line["distance"] = distance(folder, arm, case)
        yield line


def in_the_middle(rows: Sequence[dict[str, Any]], name: str) -> float | str:
    """The median over rounds of the median that was sampled of the GPU's state while an arm ran."""
    found = [row["gpu_state"][name][1] for row in rows if name in row["gpu_state"]]
    return statistics.median(found) if found else "–"


def evaluations(row: dict[str, Any]) -> int:
    """Steps of all the pictures of a request."""
    return int(row["steps"] * row["variants"])


def distance(folder: Path, arm: str, case: str) -> str:
    """How far an arm's velocity is from the reference arm's, in units of bf16's own error where that is known."""
    import torch

    def load(name: str) -> torch.Tensor | None:
        place = folder / f"{slug(name)}-{slug(case)}.pt"
        return torch.load(place, weights_only=True) if place.exists() else None

    if ARMS[arm].cached or ARMS[arm].approximate:
        return "–"
    mine, base, exact = load(arm), load("reference"), load("fp32")
    if mine is None or base is None or mine.shape != base.shape:
        return "–"
    if exact is None:
        return f"{(mine - base).norm() / base.norm():.4f}"
    return f"{(mine - exact).norm() / (base - exact).norm().clamp_min(1e-12):.2f} x bf16"


def slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


# A worker: one arm, in a process of its own.


def work(args: argparse.Namespace) -> None:
    """Every case of one arm; a JSON line each."""
    import torch

    arm, folder = ARMS[args.worker], Path(args.out)
    imported = time.perf_counter() - STARTED
    device = torch.device(args.device)
    side = CASES | SMOKE
    config = preset_of(args.preset, cached=arm.cached)
    made = peer_of(args, arm, config, device) if arm.peer else ours(args, arm, config, device)
    loaded = time.perf_counter() - STARTED - imported
    for name in args.cases.split(","):
        case = side[name]
        if arm.approximate == "context-reuse" and not case.references:
            continue  # there is no context to reuse
        steps = case.steps or args.steps
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        begun = time.perf_counter()
        made.request(case, steps)
        synchronise(device)
        cold = time.perf_counter() - begun
        for _ in range(0 if args.smoke else 2):
            made.request(case, steps)
        samples = [made.request(case, steps) for _ in range(args.repeats)]
        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
        torch.save(made.velocity(case), folder / f"{slug(args.worker)}-{slug(name)}.pt")
        row = {"arm": args.worker, "case": name, "steps": steps, "import_s": imported, "load_s": loaded}
        row |= {
            "variants": case.variants,
            "cold_s": cold,
            "peak_gib": peak / 2**30,
            **{s: [one[s] for one in samples] for s in STAGES},
        }
        print(json.dumps(row | getattr(made, "said", {})), flush=True)


def preset_of(name: str, *, cached: bool) -> Any:
    from recast.config import preset

    config = preset(name)
    flow = replace(config.flow, context_attention="cached") if cached else config.flow
    return replace(config, flow=flow)


def synchronise(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class Ours:
    """A pipeline of ours by a plan."""

    pipeline: Any
    said: dict[str, Any]
    conditioned_s: list[float] = field(default_factory=list)  # of the request under way
    num_requests: int = 0

    def __post_init__(self) -> None:
        """What is computed once for all steps (a cached context above all) is timed, and counts as sampling."""
        network, spent = self.pipeline.network, self.conditioned_s
        make = network.condition

        def condition(*args: Any, **inputs: Any) -> Any:
            synchronise(network.device)
            begun = time.perf_counter()
            made = make(*args, **inputs)
            synchronise(network.device)
            spent.append(time.perf_counter() - begun)
            return made

        network.condition = condition

    def request(self, case: Case, steps: int) -> dict[str, float]:
        """Seconds by stage of one request, from a picture in memory to a PNG on disk."""
        from recast.pixels.image import write

        options: dict[str, Any] = {"seed": 0, "steps": steps}
        self.num_requests += 1
        self.conditioned_s.clear()
        if case.references:
            first, *more = (picture(case, i + 10 * self.num_requests) for i in range(case.references))
            words: Any = [f"instruction {i}" for i in range(case.variants)] if case.variants > 1 else "an instruction"
            result = self.pipeline.edit(first, words, references=more, size="source", **options)
        else:
            result = self.pipeline.generate("words", width=case.width, height=case.height, **options)
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            for number, made in enumerate(result.pictures):
                write(made, Path(folder) / f"{number}.png")
        file_s = time.perf_counter() - begun
        spent = [recipe.timings_s for recipe in result.recipes]  # pictures of one batch would share theirs
        stages = {"encode": spent[0]["encode"]} | {s: sum(one[s] for one in spent) for s in ("sample", "decode")}
        stages["encode"] -= sum(self.conditioned_s)
        stages["sample"] += sum(self.conditioned_s)
        return {**stages, "file": file_s}

    def velocity(self, case: Case) -> Any:
        """At a fixed point, with a drawn context: (1, n, c) fp32 on the CPU."""
        return velocity_of(self.pipeline.network, case)


def ours(args: argparse.Namespace, arm: Arm, config: Any, device: Any) -> Ours:
    """Random weights, and the plan of an arm. With a cap they begin on the host."""
    import torch

    from recast.speed import accelerate

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    home = torch.device("cpu") if arm.vram else device
    pipeline = random_pipeline(config, device, home, dtype)
    if args.distance_in_fp32 and arm.plan == "reference":
        for name in args.cases.split(","):
            exact = velocity_of(random_flow(config, home, dtype).float(), (CASES | SMOKE)[name])
            torch.save(exact, Path(args.out) / f"fp32-{slug(name)}.pt")
    made = accelerate(pipeline, arm.plan, device=device, vram=arm.vram, approximate=arm.approximate)
    return Ours(made.pipeline, {"report": [str(line) for line in made.report]})


def random_flow(config: Any, device: Any, dtype: Any) -> Any:
    """A transformer with small random weights, the same for one seed, device and version."""
    import torch

    from recast.flow.transformer import FlowTransformer

    with torch.device("meta"):
        flow = FlowTransformer(config.flow)
    flow = flow.to(dtype).to_empty(device=device)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in flow.parameters():
            torch.nn.init.normal_(parameter, std=0.02) if parameter.ndim > 1 else parameter.fill_(0.5)
    return flow.eval().requires_grad_(False)


def random_pipeline(config: Any, device: Any, home: Any, dtype: Any) -> Any:
    """A whole pipeline at home, with random weights drawn on a device: elsewhere they would be others, and slow.

    Its text features are drawn too.
    """
    import torch

    from recast.context.text import Text
    from recast.latents.autoencoder import Autoencoder
    from recast.pipeline import Pipeline

    class Drawn:
        """A text encoder that answers every prompt with the same random features."""

        def encode(self, prompts: Sequence[str]) -> Text:
            generator = torch.Generator().manual_seed(1)
            flow = config.flow
            tokens = torch.randn(len(prompts), config.text.max_length, flow.context_in_dim, generator=generator)
            width = flow.vec_in_dim
            pooled = None if width is None else torch.randn(len(prompts), width, generator=generator)
            return Text(tokens, pooled, ())

    torch.manual_seed(0)
    autoencoder = Autoencoder(config.autoencoder).to(home)
    flow = random_flow(config, device, dtype).to(home)
    if home != device:
        torch.cuda.empty_cache()  # a cap counts what the allocator keeps
    return Pipeline(config, flow, autoencoder, Drawn(), checksums=lambda: {})


def picture(case: Case, number: int) -> Any:
    """A picture of smooth random colours (H, W, 3) uint8."""
    import cv2
    import numpy as np

    small = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (case.width, case.height), interpolation=cv2.INTER_LINEAR)


def velocity_of(network: Any, case: Case) -> Any:
    """The velocity of a network of ours at t = 0.5 of drawn tokens."""
    import torch

    from recast.latents.tokens import positions

    generator, c = torch.Generator().manual_seed(2), network.config
    grid = case.height // 16, case.width // 16
    n, device, dtype = grid[0] * grid[1], network.device, network.dtype

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    given: dict[str, Any] = {"positions": positions(grid).to(device), "text": draw(1, 512, c.context_in_dim)}
    given["pooled"] = draw(1, c.vec_in_dim) if c.vec_in_dim else None
    given["guidance"] = torch.tensor([2.5], device=device) if c.guidance_embed else None
    x = draw(1, n, c.out_channels)
    if case.references:
        given["context"] = draw(1, case.references * n, c.out_channels)
        where = [positions(grid, index=k + 1) for k in range(case.references)]
        given["context_positions"] = torch.cat(where, dim=1).to(device)
    with torch.inference_mode():
        times = [1.0, 0.75, 0.5, 0.25, 0.0]  # a plan may treat the first and the last of a walk as others
        velocity = network.along(network.condition(**given), times)(x.float(), 0.5)
    return velocity.float().cpu()


@dataclass
class Peer:
    """diffusers' network and autoencoder with weights of the same shapes, its loop written out: Euler.

    prepare: from a case, what the network is given at every step beside the state, on the device.
    """

    prepare: Callable[[Case], dict[str, Any]]
    evaluate: Callable[[Any, Any, Any, dict[str, Any]], Any]
    autoencoder: Any
    device: Any
    channels: int
    num_requests: int = 0

    def request(self, case: Case, steps: int) -> dict[str, float]:
        """As `Ours.request`; the pictures go in and come out as tensors of the device."""
        self.num_requests += 1
        every = [self._one(case, steps) for _ in range(case.variants)]
        return {stage: sum(one[stage] for one in every) for stage in STAGES}

    def _one(self, case: Case, steps: int) -> dict[str, float]:
        import numpy as np
        import PIL.Image
        import torch

        from recast.latents.tokens import pack, unpack

        seconds, grid = {}, (case.height // 16, case.width // 16)
        dtype = next(self.autoencoder.parameters()).dtype

        def measured(stage: str, run: Callable[[], Any]) -> Any:
            begun = time.perf_counter()
            result = run()
            synchronise(self.device)
            seconds[stage] = time.perf_counter() - begun
            return result

        def encode() -> Any:
            pixels = [torch.from_numpy(one).to(self.device, dtype) for one in drawn]
            latents = [self.autoencoder.encode(p.permute(2, 0, 1)[None] / 127.5 - 1).latent_dist.mode() for p in pixels]
            return torch.cat([pack(one) for one in latents], dim=1) if latents else None

        def sample() -> Any:
            x = torch.randn(1, grid[0] * grid[1], self.channels, device=self.device, dtype=dtype)
            times = torch.linspace(1, 0, steps + 1, device=self.device)
            for t, t_next in pairwise(times):
                x = x + (t_next - t) * self.evaluate(x, t[None].to(dtype), context, given)
            return x

        with torch.inference_mode():
            given = self.prepare(case)
            drawn = [picture(case, i + 10 * self.num_requests) for i in range(case.references)]
            synchronise(self.device)
            context = measured("encode", encode)
            x = measured("sample", sample)
            pixels = measured("decode", lambda: self.autoencoder.decode(unpack(x, grid)).sample.float().cpu())
        rgb = ((pixels[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).to(torch.uint8).numpy()
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            PIL.Image.fromarray(np.ascontiguousarray(rgb)).save(Path(folder) / "picture.png")
        return {**seconds, "file": time.perf_counter() - begun}

    def velocity(self, case: Case) -> Any:
        """Not compared: benchmarks/gpu_step.py compares the two networks with the same weights."""
        import torch

        return torch.zeros(0)


def peer_of(args: argparse.Namespace, arm: Arm, config: Any, device: Any) -> Peer:
    """diffusers as it comes, with its regional compile, or with torchao's fp8 as well."""
    import diffusers
    import torch
    from gpu_step import diffusers_twin

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    twin = diffusers_twin(random_flow(config, device, dtype))
    if arm.peer == "torchao":
        from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_

        quantize_(twin, Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()))
    if arm.peer in ("compile", "torchao"):
        if device.type != "cuda":
            raise SystemExit("compiled on CUDA only; here it would measure the compiler")
        twin.compile_repeated_blocks(fullgraph=True, dynamic=False)  # each shape its own kernels: the faster
    a, c = config.autoencoder, config.flow
    autoencoder = diffusers.AutoencoderKL(
        in_channels=a.in_channels,
        out_channels=a.out_ch,
        down_block_types=("DownEncoderBlock2D",) * len(a.ch_mult),
        up_block_types=("UpDecoderBlock2D",) * len(a.ch_mult),
        block_out_channels=tuple(a.ch * m for m in a.ch_mult),
        layers_per_block=a.num_res_blocks,
        latent_channels=a.z_channels,
        norm_num_groups=a.num_groups,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).to(device, dtype)

    def prepare(case: Case) -> dict[str, Any]:
        grid = case.height // 16, case.width // 16
        generator = torch.Generator(device).manual_seed(1)
        m = config.text.max_length
        return {
            "encoder_hidden_states": torch.randn(
                1, m, c.context_in_dim, device=device, dtype=dtype, generator=generator
            ),
            "pooled_projections": torch.randn(1, c.vec_in_dim or 0, device=device, dtype=dtype, generator=generator),
            "guidance": torch.tensor([2.5], device=device) if c.guidance_embed else None,
            "img_ids": places(grid, case.references, device),
            "txt_ids": torch.zeros(m, 3, device=device),
        }

    def evaluate(x: Any, t: Any, context: Any, given: dict[str, Any]) -> Any:
        tokens = x if context is None else torch.cat([x, context], dim=1)
        return twin(hidden_states=tokens, timestep=t, return_dict=False, **given)[0][:, : x.shape[1]]

    return Peer(prepare, evaluate, autoencoder.eval().requires_grad_(False), device, c.out_channels)


def places(grid: tuple[int, int], references: int, device: Any) -> Any:
    """Positions (n + r, 3) of target and context images."""
    import torch

    from recast.latents.tokens import positions

    return torch.cat([positions(grid, index=k) for k in range(references + 1)], dim=1)[0].to(device)


if __name__ == "__main__":
    main()
