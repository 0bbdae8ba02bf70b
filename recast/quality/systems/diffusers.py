"""Any diffusers pipeline from a local folder, as a system under test; its arguments are looked up, not assumed."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import ConfigError, MissingWeights
from recast.quality.systems.contract import Failed, Made, Request

LISTS = {
    "Flux2Pipeline",
    "Flux2KleinPipeline",
    "QwenImageEditPlusPipeline",
}
"""Pipelines for which a list of pictures belongs to one request; for the others it is a batch of several."""
FILLED = {"prompt", "generator", "image"}


class Diffusers:
    """A pipeline folder, with its `model_index.json`, one request at a time; nothing is fetched.

    steps, guidance: num_inference_steps and guidance_scale; None is the pipeline's own. extra: further arguments of
    its call. takes_lists: whether a list of pictures is one request, where the class is not known here.
    Raises MissingWeights for what is no such folder, ConfigError for arguments that its pipeline does not have.
    """

    concurrency = 1

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        steps: int | None = None,
        guidance: float | None = None,
        extra: Mapping[str, Any] | None = None,
        takes_lists: bool | None = None,
    ) -> None:
        from recast.loading import pick_device, pick_dtype

        self.folder = Path(folder)
        if not (self.folder / "model_index.json").is_file():
            raise MissingWeights(
                f"diffusers:{folder}: no model_index.json there; a folder that `save_pretrained` wrote accepted; "
                "name one"
            )
        self.device = pick_device(device)
        self.dtype = pick_dtype(dtype, self.device)
        self.pipeline = _opened(self.folder, self.dtype).to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.kind = type(self.pipeline).__name__
        self.takes_lists = self.kind in LISTS if takes_lists is None else takes_lists
        self.arguments = inspect.signature(type(self.pipeline).__call__).parameters
        self.name = name or self.folder.name
        given = {"num_inference_steps": steps, "guidance_scale": guidance}
        self.given = {key: value for key, value in given.items() if value is not None} | dict(extra or {})
        wrong = sorted(key for key in self.given if key not in self.arguments or key in FILLED)
        if wrong:
            raise ConfigError(
                f"{', '.join(wrong)}: not to be set for {self.kind}; accepted: "
                f"{', '.join(key for key in self.arguments if key not in FILLED | {'self'})}; leave it out"
            )
        self._check_callable()

    def _check_callable(self) -> None:
        """Raise ConfigError for a pipeline that needs what no request has, such as a mask."""
        needed = {
            key
            for key, parameter in self.arguments.items()
            if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        } - {"self", *FILLED, *self.given}
        needed |= {key for key in ("mask_image", "control_image") if key in self.arguments} - set(self.given)
        if "prompt" not in self.arguments or needed:
            raise ConfigError(
                f"diffusers:{self.folder}: {self.kind} needs {', '.join(sorted(needed)) or 'no prompt'}; pipelines "
                "that work from a prompt and pictures accepted; use another, or fill it with extra="
            )

    def describe(self) -> dict[str, Any]:
        """The pipeline's class and versions, the checksum of its folder, and every argument set by hand."""
        import diffusers

        return {
            "adapter": "diffusers",
            "model": self.name,
            "pipeline": self.kind,
            "versions": {"diffusers": diffusers.__version__},
            "files": _checksum(self.folder),
            "device": self.device.type,
            "dtype": str(self.dtype).removeprefix("torch."),
            "takes_lists": self.takes_lists,
            "arguments": {key: _plain(value) for key, value in self.given.items()},
        }

    def price_usd(self, request: Request) -> float:
        """Nothing: it runs here."""
        return 0.0

    def make(self, request: Request) -> Made:
        """The picture. Raises Failed where the pipeline has no argument for what the request holds."""
        import torch

        arguments = {**self._arguments(request), **self.given}
        generator = torch.Generator("cpu").manual_seed(request.seed)
        begun = time.perf_counter()
        try:
            output = self.pipeline(prompt=request.instruction, generator=generator, **arguments)
        except (ValueError, TypeError, RuntimeError, MemoryError, AttributeError) as error:
            raise Failed("error", f"{self.kind}: {type(error).__name__}: {error}") from error
        picture = output.images[0]
        pixels = np.asarray(picture.convert("RGB"))
        seconds = time.perf_counter() - begun
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise Failed("blocked", f"{self.kind}: its safety checker refused the picture")
        sizes = {key: arguments[key] for key in ("width", "height", "max_area") if key in arguments}
        detail = {
            "asked_size": [request.width, request.height],
            "got_size": [pixels.shape[1], pixels.shape[0]],
            "sent": sizes,
        }
        return Made(pixels=pixels, seconds=seconds, cost_usd=0.0, detail=detail)

    def _arguments(self, request: Request) -> dict[str, Any]:
        """The request in the words of this pipeline."""
        from PIL import Image

        arguments: dict[str, Any] = {}
        if request.contexts:
            if "image" not in self.arguments:
                raise Failed("error", f"{self.kind} makes pictures from words alone; {len(request.contexts)} came")
            if len(request.contexts) > 1 and not self.takes_lists:
                raise Failed(
                    "error",
                    f"{self.kind} takes one picture; {len(request.contexts)} came; takes_lists=True if that is wrong",
                )
            pictures = [Image.fromarray(pixels) for pixels in request.contexts]
            arguments["image"] = pictures if self.takes_lists else pictures[0]
        elif "image" in self.arguments and self._must_edit():
            raise Failed("error", f"{self.kind} changes pictures; none came")
        multiple = self._multiple()
        for key, side in (("width", request.width), ("height", request.height)):
            if key in self.arguments:
                arguments[key] = max(multiple, round(side / multiple) * multiple)
        if "max_area" in self.arguments and {"width", "height"} <= set(arguments):
            arguments["max_area"] = arguments["width"] * arguments["height"]
        return arguments

    def _must_edit(self) -> bool:
        """Whether a picture has to come: by the signature, or by the class, which would trip over it later."""
        edits = any(word in self.kind for word in ("Img2Img", "Pix2Pix", "ImageEdit", "Inpaint"))
        return edits or self.arguments["image"].default is inspect.Parameter.empty

    def _multiple(self) -> int:
        """The sides are multiples of this many pixels: the autoencoder's factor, twice where latents are patched."""
        factor = int(getattr(self.pipeline, "vae_scale_factor", 8))
        return factor * 2 if hasattr(self.pipeline, "transformer") else factor


def _opened(folder: Path, dtype: Any) -> Any:
    """The pipeline in a folder. Raises ConfigError for one whose class or parts this diffusers cannot build."""
    from diffusers import DiffusionPipeline

    try:
        return DiffusionPipeline.from_pretrained(folder, local_files_only=True, dtype=dtype)
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise ConfigError(
            f"diffusers:{folder}: cannot be opened: {error}; a whole pipeline of the installed diffusers accepted; "
            "check the folder against its model_index.json"
        ) from error


def _checksum(folder: Path) -> str:
    """The hash of every file's name and bytes, in the order of the names."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                inner = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.relative_to(folder).as_posix()} {inner}\n".encode())
    return total.hexdigest()


def _plain(value: Any) -> Any:
    """The value if it is JSON, else how it prints."""
    try:
        json.dumps(value)
    except TypeError:
        return repr(value)
    return value
