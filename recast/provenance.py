"""What is said of a picture once it is made: its recipe, and what decided its last bits."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL
import PIL.Image
import torch

from recast.config import VERSION, ModelConfig
from recast.cpu_units import cpu_units
from recast.pixels.image import Picture
from recast.recipe import Adapter, Ingredient, Recipe
from recast.request import Request


def recipe_of(
    request: Request,
    seed: int,
    picture: Picture,
    *,
    config: ModelConfig,
    adapters: Sequence[Adapter],
    arithmetic: Mapping[str, Any],
    warnings: tuple[str, ...],
    timings: Mapping[str, float],
) -> Recipe:
    """The recipe of the picture of one seed, but for the hashes of weights. arithmetic: `arithmetic_of`.

    timings: seconds, by what took them.
    """
    return Recipe(
        task=request.task,
        prompt=request.asked_of(seed),
        negative_prompt=request.options.negative_prompt,
        seed=seed,
        times=tuple(request.times),
        sampler=request.sampler,
        guidance=request.guidance,
        true_guidance=request.true_guidance,
        width=picture.width,
        height=picture.height,
        size=request.size,
        images=tuple(
            Ingredient(
                sha256=p.sha256(),
                width=p.width,
                height=p.height,
                fit=fit.to_dict(),
                file=None if p.source is None else Path(p.source).name,
                name=name,
            )
            for p, fit, name in zip(request.pictures, request.fits, request.names, strict=True)
        ),
        preserving=request.preserving,
        model=config.name,
        weights={},
        adapters=tuple(adapters),
        context_attention=config.flow.context_attention,
        batch_size=request.together(seed),
        **arithmetic,
        timings_s={name: round(seconds, 4) for name, seconds in timings.items()},
        output_sha256=picture.sha256(),
        warnings=warnings,
    )


def arithmetic_of(plan: str, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What beside weights and request decides the last bits, under the names that a recipe has for it."""
    return {
        "plan": plan,
        "device": _device_name(device),
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads() if device.type == "cpu" else 0,
        "versions": {
            "recast": VERSION,
            "torch": torch.__version__,
            "pillow": PIL.__version__,
            "python": platform.python_version(),
        },
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return " ".join((device.type, platform.machine(), *(cpu_units() if device.type == "cpu" else ())))
