"""An edit with `nano` on a CPU: recast beside diffusers, the same weights, the same picture, the same run.

    python benchmarks/cpu_nano.py [--steps 28] [--repeats 5] [--arms fp32 bf16 int8 compile exact lossless ...]

An arm is fp32, bf16, int8, compile (the whole network), a plan of `recast.speed` (exact, lossless), tuned (lossless
with every product in the way that is fastest here), a plan with an option that skips work
(lossless+context-reuse:every=6), or cached (the context computed once: exact for weights that were trained so, which
these were not, so that its time alone counts).

Both pipelines read the same converted files and get the same noise and encoded prompt. Each repeat runs every arm
once, in turn. Prints warm seconds (best and median), those of the processor, which others at work disturb less, the
ratio to diffusers in fp32 by either, the PSNR of the result against
recast in fp32, and, from fresh processes, cold seconds to the first step and to the picture, and peak memory.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record

PROMPT, SEED, SIDE = "turn this into a pencil sketch", 3, 256
PHOTO = Path(__file__).parent.parent / "examples" / "cat.png"


def source() -> np.ndarray:
    """The example photograph at the model's native size."""
    from recast.pixels.image import read

    return np.asarray(read(PHOTO).to_pil().convert("RGB").resize((SIDE, SIDE)))


def ours(dtype: str) -> Any:
    """Our pipeline in fp32 or bf16, or its variants for this benchmark."""
    import torch

    import recast
    from recast.speed import accelerate
    from recast.speed.plan import PLANS

    mode = "cached" if dtype == "cached" else None
    model = recast.load("nano", device="cpu", dtype="bf16" if dtype == "bf16" else "fp32", context_attention=mode)
    plan, _, approximate = dtype.partition("+")
    if plan == "tuned":
        return accelerate(model, replace(PLANS["lossless"], tuned=True)).pipeline
    if (plan in PLANS and plan != "compile") or dtype == "cached":
        return accelerate(model, "lossless" if mode else plan, approximate=approximate or None).pipeline
    if dtype == "int8":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for blocks in (model.flow.double_blocks, model.flow.single_blocks):
                torch.ao.quantization.quantize_dynamic(blocks, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
    if dtype == "compile":
        model.flow.forward = torch.compile(model.flow.forward, dynamic=False)  # type: ignore[method-assign]
    return model


def run_ours(model: Any, picture: np.ndarray, steps: int) -> np.ndarray:
    """The edited picture (H, W, 3)."""
    return model.edit(picture, PROMPT, seed=SEED, steps=steps).pictures[0].rgb


def diffusers_pipeline(folder: Path) -> Any:
    """diffusers' Kontext pipeline on the nano weights, converted to its layout; text is given encoded."""
    import diffusers

    from recast import weights
    from recast.nano import NANO

    if not (folder / "transformer").exists():
        weights.convert(NANO, folder, "diffusers")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )
    pipeline = diffusers.FluxKontextPipeline(
        scheduler=scheduler,
        vae=diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae").float(),
        transformer=diffusers.FluxTransformer2DModel.from_pretrained(folder, subfolder="transformer").float(),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run_diffusers(pipeline: Any, text: Any, picture: np.ndarray, steps: int) -> np.ndarray:
    """The edited picture (H, W, 3), from the noise that our seed draws."""
    import torch
    from PIL import Image

    from recast.latents.tokens import pack

    shape = (1, 16, SIDE // 8, SIDE // 8)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(SEED), dtype=torch.bfloat16)
    with torch.inference_mode():
        out = pipeline(
            image=Image.fromarray(picture),
            prompt_embeds=text.tokens.clone(),
            pooled_prompt_embeds=text.pooled.clone(),
            width=SIDE,
            height=SIDE,
            max_area=SIDE * SIDE,
            num_inference_steps=steps,
            guidance_scale=1.0,
            latents=pack(noise).float(),
            output_type="np",
            _auto_resize=False,
        ).images[0]
    return np.round(out * 255).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise, in dB; 99 for equal pictures."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def cold(arm: str, folder: Path, steps: int) -> dict[str, float]:
    """Seconds from process start to the first step and to the picture, and peak memory, in a process of its own."""
    command = [sys.executable, __file__, "--cold", arm, "--folder", str(folder), "--steps", str(steps)]
    begun = time.time()
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    marks = json.loads(answer.stdout.splitlines()[-1])
    return {
        "cold first step s": marks["first"] - begun,
        "cold picture s": marks["done"] - begun,
        "peak MB": marks["peak_mb"],
    }


def cold_child(arm: str, folder: Path, steps: int) -> None:
    """What the fresh process does: load, edit, say when."""
    first: list[float] = []
    if arm == "diffusers fp32":
        pipeline = diffusers_pipeline(folder)
        import torch

        from recast.config import nano
        from recast.context.text_files import load_byte_t5
        from recast.nano import NANO

        text = load_byte_t5(NANO, nano().text, "cpu", torch.float32).encode([PROMPT])
        forward = pipeline.transformer.forward

        def marked(*args: Any, **kwargs: Any) -> Any:
            out = forward(*args, **kwargs)
            first.append(time.time())
            return out

        pipeline.transformer.forward = marked
        run_diffusers(pipeline, text, source(), steps)
    else:
        model = ours(arm.removeprefix("recast "))
        model.edit(source(), PROMPT, seed=SEED, steps=steps, on_step=lambda _: first.append(time.time()))
    status = Path("/proc/self/status").read_text()  # getrusage would count what the parent process had
    peak_kb = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    print(json.dumps({"first": first[0], "done": time.time(), "peak_mb": peak_kb / 1024}))


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=28, help="Euler steps (default 28, nano's own)")
    parser.add_argument("--repeats", type=int, default=5, help="warm runs of each arm (default 5)")
    parser.add_argument("--arms", nargs="*", default=["fp32", "bf16", "int8", "compile"], help="arms of recast")
    parser.add_argument(
        "--warm-alone", nargs="*", default=["recast compile"], metavar="ARM", help="arms without a cold start"
    )
    parser.add_argument("--cold", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cold:
        cold_child(args.cold, args.folder, args.steps)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "nano-diffusers"
        pipeline, picture = diffusers_pipeline(folder), source()
        models = {f"recast {dtype}": ours(dtype) for dtype in args.arms}
        text = copy.deepcopy(next(iter(models.values())).text.encode([PROMPT]))
        arms: dict[str, Callable[[], np.ndarray]] = {
            "diffusers fp32": lambda: run_diffusers(pipeline, text, picture, args.steps)
        }
        arms |= {name: lambda model=model: run_ours(model, picture, args.steps) for name, model in models.items()}
        pictures = {name: run() for name, run in arms.items()}  # warm-up, and compilation
        seconds: dict[str, list[float]] = {name: [] for name in arms}
        used: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(args.repeats):
            for name, run in arms.items():
                begun, begun_cpu = time.perf_counter(), time.process_time()
                run()
                seconds[name].append(time.perf_counter() - begun)
                used[name].append(time.process_time() - begun_cpu)
        peer = statistics.median(seconds["diffusers fp32"])
        rows = []
        for name in arms:
            start = {} if name in args.warm_alone else cold(name, folder, args.steps)
            rows.append(
                {
                    "arm": name,
                    "warm best s": min(seconds[name]),
                    "warm median s": statistics.median(seconds[name]),
                    "processor median s": statistics.median(used[name]),
                    "x diffusers by processor": statistics.median(used["diffusers fp32"])
                    / statistics.median(used[name]),
                    "x diffusers": peer / statistics.median(seconds[name]),
                    "PSNR to recast fp32": psnr(pictures[name], pictures["recast fp32"]),
                    "cold first step s": start.get("cold first step s", float("nan")),
                    "cold picture s": start.get("cold picture s", float("nan")),
                    "peak MB": start.get("peak MB", float("nan")),
                }
            )
    print(record.table(rows))
    record.append("cpu_nano", {"steps": args.steps, "repeats": args.repeats, "side": SIDE, "rows": rows})


if __name__ == "__main__":
    main()
