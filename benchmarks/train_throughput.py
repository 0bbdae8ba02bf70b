"""Training steps of a flow on random weights and pictures: examples a second and MFU, ours beside diffusers' where both
can do it.

    python benchmarks/train_throughput.py [--case all|pairs|lora] [--preset NAME] [--size PX] [--batch N] [--steps 20]
        [--checkpointing none|selective|full] [--compile] [--peer diffusers|none] [--device cuda]
        [--smoke]

pairs: `FlowStage` of nano and its text encoder at 256 x 256 with one context, as the recipe trains them: pictures are
encoded in the step, forward, backward, norms, Muon and AdamW, averages. Reading and drawing of pictures is not in it.
Wanted on an H200: 3,000 pairs a second. lora: adapters on kontext_dev at 1024 x 1024 with 4,096 context tokens, on
latents and text that are encoded already: forward, loss, backward, clip, AdamW; beside diffusers' network with the
same weights and the same adapters through peft, under autocast, as its Kontext LoRA script does a step. Wanted on an
H200: 45 % MFU. Arms take turns; each step is synchronised. Prints medians and spread.

MFU counts what must be computed: of a frozen matrix no gradient of its own. "3 x forward" counts as if nothing were
frozen, as many reports do. With --smoke: `tiny`, 64 x 64, two examples, on a CPU in fp32, appending nothing: that the
script runs from end to end.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import record
import torch
from gpu_step import diffusers_twin, random_flow
from torch import Tensor, nn

from recast import cost
from recast.config import ModelConfig, preset
from recast.context.t5 import T5Config, T5Encoder
from recast.context.text import ByteT5
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.latents.tokens import positions
from recast.train import adapters, objective, optim, parallel, plan, presets
from recast.train.data.example import Batch, Shape
from recast.train.ema import Average
from recast.train.flow_stage import FlowStage
from recast.train.hardware import Device, here
from recast.train.initial import initialise
from recast.train.parallel import Ranks
from recast.train.plan import Method
from recast.train.settings import Optimiser, Parallel, Run
from recast.train.stage import trained
from recast.train.uses import FlowTraining

DIFFUSERS_TARGETS = (
    r".*(attn\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)"
    r"|ff\.net\.(0\.proj|2)|ff_context\.net\.(0\.proj|2)|proj_mlp)|single_transformer_blocks\.\d+\.proj_out"
)
"""The layers of `adapters.TARGETS["attention+mlp"]`, by diffusers' names."""


@dataclass
class Arm:
    """One way to do a step."""

    name: str
    step: Callable[[], float]  # the loss
    flops: float  # that must be computed
    flops_unfrozen: float  # 3 x forward
    examples: int  # in a step
    uses: int = 1  # of every example


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=["all", "pairs", "lora"], default="all")
    parser.add_argument("--preset", help="of both cases (default: that of the recipe for pairs, kontext_dev for lora)")
    parser.add_argument("--size", type=int, help="pixels along one side (default: 256 for pairs, 1024 for lora)")
    parser.add_argument("--batch", type=int, help="examples a step (default: the recipe's for pairs, 1 for lora)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--checkpointing", choices=["none", "selective", "full"], help="default: none; of lora, full")
    parser.add_argument("--compile", action="store_true", help="our blocks; diffusers' are eager, as its script has it")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--mixed", action="store_true", help="of pairs: all shapes of the recipe, one after another")
    parser.add_argument("--peer", choices=["diffusers", "none"], default="diffusers")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU, to see that all of it runs")
    args = parser.parse_args(argv)
    if args.smoke:
        args.preset, args.size, args.batch, args.steps, args.warm_up = "tiny", 64, 2, 1, 0
        args.device, args.precision = "cpu", "fp32"
    device = torch.device(args.device)
    hardware = here(device)
    rows = []
    for case, making in (("pairs", pairs_arms), ("lora", lora_arms)):
        if args.case in ("all", case):
            rows += measure(case, making(args, device), args, device, hardware)
    print(f"{hardware.name}: MFU of {hardware.peak_tflops:.4g} TFLOP/s, {hardware.source}")
    print(record.table(rows))
    settings = {name: value for name, value in vars(args).items() if name != "device"}
    if not args.smoke:
        record.append("train_throughput", settings | {"peak_tflops": hardware.peak_tflops, "rows": rows})


def measure(
    case: str, made: tuple[list[Arm], str], args: argparse.Namespace, device: torch.device, hardware: Device
) -> list[dict[str, Any]]:
    """A row for each arm, which take turns."""
    arms, peer = made
    is_cuda = device.type == "cuda"
    first: dict[str, float] = {}
    first_s: dict[str, float] = {}
    graphs = dict.fromkeys((arm.name for arm in arms), 0)
    for turn in range(1 + args.warm_up):
        for arm in arms:
            before, begun = compiled_graphs(), time.perf_counter()
            loss = arm.step()
            if turn == 0:
                first[arm.name], first_s[arm.name] = loss, time.perf_counter() - begun
            graphs[arm.name] += compiled_graphs() - before
    seconds: dict[str, list[float]] = {arm.name: [] for arm in arms}
    peaks = dict.fromkeys(seconds, 0.0)
    for _ in range(args.steps):
        for arm in arms:
            before = compiled_graphs()
            if is_cuda:
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            begun = time.perf_counter()
            arm.step()
            if is_cuda:
                torch.cuda.synchronize()
                peaks[arm.name] = torch.cuda.max_memory_allocated() / 2**30
            seconds[arm.name].append(time.perf_counter() - begun)
            graphs[arm.name] += compiled_graphs() - before
    rows = []
    for arm in arms:
        ordered = sorted(seconds[arm.name])
        median = statistics.median(ordered)
        rows.append(
            {
                "case": case,
                "arm": arm.name,
                "batch": arm.examples,
                "median ms": 1000 * median,
                "p10 ms": 1000 * ordered[len(ordered) // 10],
                "p90 ms": 1000 * ordered[-1 - len(ordered) // 10],
                "examples/s": arm.examples / median,
                "uses/s": arm.examples * arm.uses / median,
                "MFU %": 100 * arm.flops / median / (hardware.peak_tflops * 1e12),
                "MFU %, 3 x forward": 100 * arm.flops_unfrozen / median / (hardware.peak_tflops * 1e12),
                "peak GiB": peaks[arm.name],
                "first loss": first[arm.name],
                "first s": first_s[arm.name],
                "graphs": graphs[arm.name],
                "peer": peer,
            }
        )
    return rows


def compiled_graphs() -> int:
    """How many graphs this process has compiled."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


# Pairs.


def pairs_arms(args: argparse.Namespace, device: torch.device) -> tuple[list[Arm], str]:
    """The whole stage, with the recipe's shares of uses and on edits alone; pictures drawn at random."""
    recipe = presets.nano_flow()
    alone = replace(recipe.training, edit=1.0, text_to_image=0.0, keep=0.0)
    arms = [
        _stage_arm("recipe", recipe, recipe.training, args, device),
        _stage_arm("edits", recipe, alone, args, device),
    ]
    return arms, "none: no stage of diffusers does this"


def _stage_arm(
    name: str, recipe: presets.Preset, training: FlowTraining, args: argparse.Namespace, device: torch.device
) -> Arm:
    """A round of optimiser steps, one of every shape: as `loop.run` does them."""
    model = preset(args.preset) if args.preset else recipe.model
    course = replace(
        recipe.run, precision=args.precision, checkpointing=args.checkpointing or "none", compile=args.compile
    )
    ranks = Ranks(device=device)
    torch.manual_seed(0)
    flow = initialise(FlowTransformer(model.flow), 0)
    text = ByteT5(T5Encoder(_encoder(model)).to(device), model.text.max_length)
    stage = FlowStage(
        flow=parallel.wrap(flow, course, Parallel(), ranks),  # type: ignore[arg-type]
        autoencoder=Autoencoder(model.autoencoder).to(device),
        text=text,
        training=training,
        optimiser=recipe.optimiser,
        run=course,
        ranks=ranks,
    )
    optimisers = {phase.name: optim.build(trained(phase, stage.networks), phase.optimiser) for phase in stage.phases}
    averages = [Average(stage.networks[name]) for name in stage.averaged]
    count = args.batch or recipe.data.batch_size or 1
    sizes = shapes(recipe.data.sizes, args.size, model.pixels_per_token)
    kinds = [(size, contexts) for contexts in (1, 2) for size in sizes] if args.mixed else [(sizes[0], 1)]
    batches = [_pairs(count, size, contexts) for size, contexts in kinds]
    drawn = iter(range(0, 1 << 62, count))  # numbers of examples: their uses and times are drawn by these

    def optimise(batch: Batch) -> float:
        for each in (optimiser for group in optimisers.values() for optimiser in group):
            each.zero_grad(set_to_none=True)
        loss = stage.loss("flow", stage.prepare(batch, 0.5), 0.5)
        assert loss is not None
        loss.value.backward()
        for phase in stage.phases:
            moved = [parameter for _, parameter in trained(phase, stage.networks) if parameter.grad is not None]
            optim.clip(moved, optim.gradient_norm(moved), phase.optimiser.clip)
            for optimiser in optimisers[phase.name]:
                optimiser.step()
        for average in averages:
            average.update(0.999)
        return float(loss.value.detach())

    def step() -> float:
        losses = []
        for batch in batches:
            start = next(drawn) if args.mixed else 0
            losses.append(optimise(replace(batch, numbers=tuple(range(start, start + count)))))
        return statistics.mean(losses)

    flops = sum(stage.flops(batch) for batch in batches)
    return Arm(name, step, flops, flops, examples=count * len(batches), uses=training.uses)


def shapes(sizes: Sequence[tuple[int, int]], side: int | None, token: int) -> list[tuple[int, int]]:
    """The recipe's sizes (width, height), or as many times smaller as the first one's side must be, in whole tokens."""
    if side is None:
        return list(sizes)
    return [
        (width * side // sizes[0][0] // token * token, height * side // sizes[0][0] // token * token)
        for width, height in sizes
    ]


def _encoder(model: ModelConfig) -> T5Config:
    """The byte encoder of `nano`, or one as wide as the model reads."""
    sizes = cost.BYTE_T5
    if model.flow.context_in_dim != sizes.d_model:
        sizes = replace(sizes, d_model=model.flow.context_in_dim, d_kv=8, d_ff=64, num_layers=2, num_heads=3)
    names = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
    return T5Config(**{name: getattr(sizes, name) for name in names})


def _pairs(count: int, size: tuple[int, int], contexts: int) -> Batch:
    """Random pictures, as a loader hands them out; a quarter of each must change."""
    width, height = size
    target, *shown = torch.randint(0, 256, (1 + contexts, count, 3, height, width), dtype=torch.uint8)
    masks = torch.zeros(count, 1, height, width, dtype=torch.bool)
    masks[:, :, : height // 2, : width // 2] = True
    if torch.cuda.is_available():
        target, shown, masks = target.pin_memory(), [each.pin_memory() for each in shown], masks.pin_memory()
    return Batch(
        numbers=tuple(range(count)),
        of=count,
        ids=tuple(f"random-{i}" for i in range(count)),
        target=target,
        contexts=tuple(shown),
        instructions=tuple(f"make the shirt of person {i} red" for i in range(count)),
        inverses=tuple(f"make the shirt of person {i} blue" for i in range(count)),
        captions=tuple((*[f"person {i} in blue"] * contexts, f"person {i} in red") for i in range(count)),
        masks=masks,
        bases=(0,) * count,
    )


# Adapters.


def lora_arms(args: argparse.Namespace, device: torch.device) -> tuple[list[Arm], str]:
    """Our network and diffusers', on the same weights, tokens, times and noise."""
    model, side, count = preset(args.preset or "kontext_dev"), args.size or 1024, args.batch or 1
    kind = args.checkpointing or "full"
    flow = random_flow(model.name, device)
    if args.precision == "fp32":
        flow.float()
    twin = peer = None
    if args.peer == "diffusers":
        try:
            import diffusers  # noqa: F401
            import peft  # noqa: F401
        except ImportError as problem:
            peer = f"none: {problem.name} is not installed"
        else:
            twin = diffusers_twin(flow)
    lora = adapters.attach(flow, adapters.LoRA(rank=args.rank, alpha=args.rank))
    course = Run(steps=1, precision=args.precision, checkpointing=kind, compile=args.compile)
    parallel.wrap(flow, course, Parallel(), Ranks(device=device))
    given = _given(model, side, count, device)
    method = Method(lora_rank=args.rank, batch=count, checkpointing=kind)
    shape, hardware = Shape((side, side), ((side, side),)), here(device)
    flops = plan.plan(model, shape, Parallel(), hardware, method).model_flops
    unfrozen = plan.plan(model, shape, Parallel(), hardware, replace(method, lora_rank=None)).model_flops
    arms = [Arm("recast", _our_step(flow, lora, given, args.precision), flops, unfrozen, count)]
    if twin is not None:
        step = _their_step(twin, model, given, args, kind, sum(p.numel() for p in lora.parameters()))
        arms.append(Arm("diffusers eager", step, flops, unfrozen, count))
    return arms, peer or args.peer


def _given(model: ModelConfig, side: int, count: int, device: torch.device) -> dict[str, Tensor]:
    """What a step starts from, encoded."""
    flow, tokens = model.flow, (side // model.pixels_per_token) ** 2
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "clean": (count, tokens, flow.out_channels),
        "noise": (count, tokens, flow.out_channels),
        "context": (count, tokens, flow.out_channels),
        "text": (count, model.text.max_length, flow.context_in_dim),
        "pooled": (count, flow.vec_in_dim or 0),
    }
    drawn = {name: torch.randn(shape, generator=generator).to(device) for name, shape in shapes.items()}
    grid = (side // model.pixels_per_token,) * 2
    places = {f"at {index}": positions(grid, index=index).to(device) for index in (0, 1)}
    return drawn | places | {"t": torch.rand(count, generator=generator).to(device)}


def _our_step(flow: FlowTransformer, lora: nn.Module, given: dict[str, Tensor], precision: str) -> Callable[[], float]:
    settings = Optimiser(lr=1e-4)
    parameters = list(lora.parameters())
    (optimiser,) = optim.build(list(lora.named_parameters()), settings)
    device = given["t"].device

    def velocity(x_t: Tensor, t: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            condition = flow.condition(
                positions=given["at 0"],
                text=given["text"],
                pooled=given["pooled"] if flow.config.vec_in_dim else None,
                guidance=torch.ones_like(t) if flow.config.guidance_embed else None,
                context=given["context"],
                context_positions=given["at 1"],
            )
            found: Tensor = flow(x_t, t, condition)
        return found

    def step() -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = objective.flow_matching_loss(velocity, given["clean"], given["noise"], given["t"]).mean()
        loss.backward()
        optim.clip(parameters, optim.gradient_norm(parameters), settings.clip)
        optimiser.step()
        return float(loss.detach())

    return step


def _their_step(
    twin: Any, model: ModelConfig, given: dict[str, Tensor], args: argparse.Namespace, kind: str, ours: int
) -> Callable[[], float]:
    from peft import LoraConfig

    twin.add_adapter(
        LoraConfig(r=args.rank, lora_alpha=args.rank, init_lora_weights="gaussian", target_modules=DIFFUSERS_TARGETS)
    )
    twin.train()
    if kind != "none":
        twin.enable_gradient_checkpointing()
    parameters = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    theirs = sum(parameter.numel() for parameter in parameters)
    if theirs != ours:
        raise SystemExit(f"peer: {theirs} parameters of adapters came, {ours} needed for the same ones")
    device = given["t"].device
    optimiser = torch.optim.AdamW(
        parameters, lr=1e-4, betas=(0.9, 0.999), weight_decay=1e-4, fused=device.type == "cuda"
    )
    tokens = given["clean"].shape[1]
    places = torch.cat([given["at 0"], given["at 1"]], dim=1)[0].float()

    def step() -> float:
        t = given["t"][:, None, None]
        x_t = (1 - t) * given["clean"] + t * given["noise"]
        with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16"):
            found = twin(
                hidden_states=torch.cat([x_t, given["context"]], dim=1),
                encoder_hidden_states=given["text"],
                pooled_projections=given["pooled"],
                timestep=given["t"],
                guidance=torch.ones_like(given["t"]) if model.flow.guidance_embed else None,
                img_ids=places,
                txt_ids=torch.zeros(given["text"].shape[1], 3, device=device),
                return_dict=False,
            )[0][:, :tokens]
        loss = (found.float() - (given["noise"] - given["clean"])).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


if __name__ == "__main__":
    main()
