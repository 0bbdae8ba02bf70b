"""What benchmarks/cpu_nano.py compares: the edits that are asked for, and each way of making them."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from recast.flow.schedule import resolution_shift

SIDE, STEPS = 256, 28  # nano's own
PHOTO = Path(__file__).parent.parent / "examples" / "cat.png"
PEER_SAMPLERS = ("euler", "unipc")


class Edit(NamedTuple):
    """A picture of SIDE x SIDE pixels, and what is asked of it."""

    name: str
    picture: np.ndarray
    prompt: str
    seed: int


class Ended(NamedTuple):
    """Where a walk ended: its last tokens (1, n, d), and the picture (H, W, 3) that they are decoded to."""

    tokens: Tensor
    rgb: np.ndarray


@dataclass(frozen=True)
class Arm:
    """A way to make an edit; `name` is how it is asked for."""

    name: str
    model: str
    way: str
    dtype: str  # fp32 or bf16
    sampler: str | None  # None for the model's own
    steps: int | None
    first: float = 1.0  # length of the first step, in that of the others, before times are shifted

    @classmethod
    def read(cls, name: str) -> Arm:
        """[MODEL/]WAY[.bf16][@SAMPLER:STEPS[:FIRST]], as the module of the benchmark says."""
        made, _, walk = name.partition("@")
        model, _, way = made.removesuffix(".bf16").rpartition("/")
        dtype = "bf16" if made.endswith(".bf16") else "fp32"
        found = re.fullmatch(r"(\w+):([1-9]\d*)(?::(0?\.\d*[1-9]))?", walk)
        if walk and not found:
            form = "[MODEL/]WAY[.bf16][@SAMPLER:STEPS[:FIRST]]"
            raise SystemExit(f"--arms {name}: {form} accepted, as lossless@ab2:8:0.5")
        sampler, steps, first = found.groups() if found else (None, None, None)
        if way == "diffusers" and (model or first or (sampler or "euler") not in PEER_SAMPLERS):
            raise SystemExit(f"--arms {name}: diffusers walks nano by {' or '.join(PEER_SAMPLERS)} here, at even steps")
        return cls(name, model or "nano", way, dtype, sampler, int(steps) if steps else None, float(first or 1))

    @property
    def walk(self) -> dict[str, Any]:
        """The options of `Pipeline.edit` for it."""
        if self.steps is None or self.first == 1:
            return {"sampler": self.sampler, "steps": self.steps}
        even = [rest / (self.steps - 1 + self.first) for rest in range(self.steps - 1, 0, -1)]
        shift = math.exp(resolution_shift((SIDE // 16) ** 2))  # as `recast.flow.schedule.times`
        return {"sampler": self.sampler, "times": [1.0, *(shift / (shift + 1 / t - 1) for t in even), 0.0]}


def edits(count: int) -> list[Edit]:
    """The cat as a pencil sketch; then, in turn, drawn scenes and photographs of `benchmarks/approximate.py`."""
    from recast.pixels.image import read

    if count > 1:  # not for a fresh process, whose start is timed
        import approximate

    cat = np.asarray(read(PHOTO).to_pil().convert("RGB").resize((SIDE, SIDE)))
    found = [Edit("cat", cat, "turn this into a pencil sketch", 3)]
    for number in range(count - 1):
        case = approximate.case(number, SIDE)
        found.append(Edit(case.name, case.source, case.prompt, case.seed))
    return found[:count]


class Ours:
    """recast by one way of computing; arms of other samplers and steps share it."""

    def __init__(self, model: str, way: str, dtype: str) -> None:
        self.pipeline = _pipeline(model, way, dtype)

    def run(self, edit: Edit, arm: Arm, on_step: Callable[[Any], None] | None = None) -> Ended:
        """The edit of a picture that was not seen before; its words may have been."""
        recent = getattr(self.pipeline.autoencoder, "recent", None)  # a plan keeps latents of pictures
        if recent is not None:
            recent.clear()
        made = self.pipeline.edit(edit.picture, edit.prompt, seed=edit.seed, on_step=on_step, **arm.walk)
        return Ended(made.tokens[0].float(), made.pictures[0].rgb)


class Theirs:
    """diffusers' Kontext pipeline on the nano weights, converted to its layout in a folder; text is given encoded."""

    def __init__(self, folder: Path, dtype: str) -> None:
        import diffusers
        import torch

        from recast import weights
        from recast.nano import NANO

        if not (folder / "transformer").exists():
            weights.convert(NANO, folder, "diffusers")
        self.dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
        transformer = diffusers.FluxTransformer2DModel.from_pretrained(folder, subfolder="transformer")
        self.pipeline = diffusers.FluxKontextPipeline(
            scheduler=_scheduler("euler"),
            vae=diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae").to(self.dtype),
            transformer=transformer.to(self.dtype),
            text_encoder=None,
            tokenizer=None,
            text_encoder_2=None,
            tokenizer_2=None,
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.encoded: dict[str, Any] = {}

    def text(self, prompt: str) -> Any:
        """The words, encoded once."""
        if prompt not in self.encoded:
            self.encoded[prompt] = _text_encoder().encode([prompt])
        return self.encoded[prompt]

    def run(self, edit: Edit, arm: Arm) -> Ended:
        """The edit, from the noise that our seed draws."""
        import torch
        from PIL import Image

        from recast.latents.tokens import pack

        self.pipeline.scheduler = _scheduler(arm.sampler or "euler")
        text, last = self.text(edit.prompt), []
        noise = torch.randn(
            (1, 16, SIDE // 8, SIDE // 8), generator=torch.Generator().manual_seed(edit.seed), dtype=torch.bfloat16
        )

        def keep(_pipeline: Any, _step: int, _time: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            last[:] = [tensors["latents"]]
            return {}

        with torch.inference_mode():
            out = self.pipeline(
                image=Image.fromarray(edit.picture),
                prompt_embeds=text.tokens.to(self.dtype, copy=True),
                pooled_prompt_embeds=text.pooled.to(self.dtype, copy=True),
                width=SIDE,
                height=SIDE,
                max_area=SIDE * SIDE,
                num_inference_steps=arm.steps or STEPS,
                guidance_scale=1.0,
                latents=pack(noise).to(self.dtype),
                output_type="np",
                _auto_resize=False,
                callback_on_step_end=keep,
            ).images[0]
        return Ended(last[0].float(), np.round(out * 255).astype(np.uint8))


def _pipeline(model: str, way: str, dtype: str) -> Any:
    """Our pipeline: the core, a plan, or another variant of this benchmark."""
    import torch

    import recast
    from recast.speed import accelerate
    from recast.speed.plan import PLANS

    mode = "cached" if way == "cached" else None
    made = recast.load(model, device="cpu", dtype=dtype, context_attention=mode)
    plan, _, option = way.partition("+")
    if plan == "tuned":
        return accelerate(made, replace(PLANS["lossless"], tuned=True)).pipeline
    if (plan in PLANS and plan != "compile") or mode:
        return accelerate(made, "lossless" if mode else plan, approximate=option or None).pipeline
    if way == "int8":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for blocks in (made.flow.double_blocks, made.flow.single_blocks):
                torch.ao.quantization.quantize_dynamic(blocks, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
    elif way == "compile":
        made.flow.forward = torch.compile(made.flow.forward, dynamic=False)  # type: ignore[method-assign]
    elif way != "core":
        ways = "core", "int8", "tuned", "cached", "diffusers", *PLANS
        raise SystemExit(f"--arms {way}: {', '.join(ways)} accepted")
    return made


def _scheduler(sampler: str) -> Any:
    """diffusers' Euler steps as the published model takes them; or UniPC of second order over the same times."""
    import diffusers

    shift = {"use_dynamic_shifting": True}
    if sampler == "unipc":
        return diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, solver_order=2, **shift
        )
    return diffusers.FlowMatchEulerDiscreteScheduler(
        shift=3.0, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096, **shift
    )


@cache
def _text_encoder() -> Any:
    import torch

    from recast.config import nano
    from recast.context.text_files import load_byte_t5
    from recast.nano import NANO

    return load_byte_t5(NANO, nano().text, "cpu", torch.float32)
