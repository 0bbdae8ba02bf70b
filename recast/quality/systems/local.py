"""A recast model on this machine, as a system under test."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import recast
from recast.errors import ConfigError, RecastError
from recast.options import Options
from recast.quality.systems.contract import Failed, Made, Request

if TYPE_CHECKING:
    from recast.pipeline import Pipeline, Size


class Local:
    """`recast.load(place)`, one request at a time.

    model: a pipeline that is loaded already, instead of the files. device, dtype, variant, adapters: as of
    `recast.load`. size: of an edit, as of `Pipeline.edit`. The rest, such as steps and guidance: as of
    `recast.options.Options`, and checked at once; seed and num_images belong to the request.
    """

    concurrency = 1

    def __init__(
        self,
        place: str | Path = "nano",
        *,
        name: str | None = None,
        model: Pipeline | None = None,
        device: str = "auto",
        dtype: str = "auto",
        variant: str | None = None,
        adapters: tuple[Any, ...] = (),
        size: Size = "auto",
        **sampling: Any,
    ) -> None:
        for taken in ("seed", "num_images", "batch_size"):
            if taken in sampling:
                raise ConfigError(f"{taken}: came as an option; it belongs to each request; leave it out")
        Options.of(sampling)
        self.model = model or recast.load(place, device=device, dtype=dtype, variant=variant, adapters=adapters)
        self.name = name or (self.model.config.name if str(place) == "nano" else Path(place).stem)
        self.size, self.sampling = size, sampling

    def describe(self) -> dict[str, Any]:
        """The model by its checksums, where and in what numbers it computes, and how it samples."""
        model = self.model
        options = {key: value for key, value in vars(Options.of(self.sampling)).items() if value is not None}
        for taken in ("num_images", "batch_size"):
            options.pop(taken)
        return {
            "adapter": "recast",
            "model": model.config.name,
            "version": recast.__version__,
            "weights": dict(model.checksums()),
            "adapters": [f"{one.sha256}@{one.strength:g}" for one in model.adapters],
            "device": model.device.type,
            "dtype": str(model.dtype).removeprefix("torch."),
            "size": self.size if isinstance(self.size, str) else list(self.size),
            **options,
        }

    def price_usd(self, request: Request) -> float:
        """Nothing: it runs here."""
        return 0.0

    def make(self, request: Request) -> Made:
        """The picture. An edit has the size of its source; a picture from words the nearest whole tokens.

        The clock stops when the pixels are in main memory, which the device has to have finished for.
        """
        detail: dict[str, Any] = {"asked_size": [request.width, request.height]}
        options = {**self.sampling, "seed": request.seed}
        begun = time.perf_counter()
        try:
            if request.contexts:
                source, *references = request.contexts
                result = self.model.edit(source, request.instruction, references=references, size=self.size, **options)
            else:
                multiple = self.model.config.pixels_per_token
                width, height = (
                    max(multiple, round(side / multiple) * multiple) for side in (request.width, request.height)
                )
                result = self.model.generate(request.instruction, width=width, height=height, **options)
        except RecastError as error:
            raise Failed("error", str(error)) from error
        pixels = result.pictures[0].rgb
        seconds = time.perf_counter() - begun
        recipe = result.recipe
        detail |= {
            "got_size": [pixels.shape[1], pixels.shape[0]],
            "steps": recipe.steps,
            "guidance": recipe.guidance,
            "true_guidance": recipe.true_guidance,
            "timings_s": dict(recipe.timings_s),
            "threads": recipe.threads,
        }
        if result.warnings:
            detail["warnings"] = list(result.warnings)
        return Made(pixels=pixels, seconds=seconds, cost_usd=0.0, detail=detail)
