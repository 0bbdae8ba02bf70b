"""Our side of benchmarks/gpu_edit.py: a pipeline of random weights by a plan, timed stage by stage."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gpu_edit_arms import CASES, SMOKE, Arm, Case, slug


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
            torch.save(exact, Path(args.scratch) / f"fp32-{slug(name)}.pt")
    asked = {"device": device, "vram": arm.vram, "approximate": arm.approximate}
    made = accelerate(pipeline, arm.plan, **asked, gives_away=True)  # as the commands do
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


def preset_of(name: str, *, cached: bool) -> Any:
    from recast.config import preset

    config = preset(name)
    flow = replace(config.flow, context_attention="cached") if cached else config.flow
    return replace(config, flow=flow)


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
    # bf16 embeds 2.0 as fp32 does, and of 2.5 another number: with random weights that alone would be the distance
    given["guidance"] = torch.tensor([2.0], device=device) if c.guidance_embed else None
    x = draw(1, n, c.out_channels)
    if case.references:
        given["context"] = draw(1, case.references * n, c.out_channels)
        where = [positions(grid, index=k + 1) for k in range(case.references)]
        given["context_positions"] = torch.cat(where, dim=1).to(device)
    with torch.inference_mode():
        times = [1.0, 0.75, 0.5, 0.25, 0.0]  # a plan may treat the first and the last of a walk as others
        velocity = network.along(network.condition(**given), times)(x.float(), 0.5)
    return velocity.float().cpu()


def synchronise(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
