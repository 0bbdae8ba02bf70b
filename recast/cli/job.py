"""What a command asks for, before any model is there: a model to load, and a job to start on it."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recast.cli.options import setting
from recast.errors import InputError

if TYPE_CHECKING:
    from recast.pipeline import Pipeline, Request, Run, Size
    from recast.pixels.image import Picture
    from recast.retouch.original import Original


@dataclass(frozen=True)
class Model:
    """Which weights, where and how: the arguments of `recast.load`."""

    place: str = "nano"
    variant: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    adapters: Sequence[tuple[str, float]] = ()
    plan: str | None = None  # None: the core as it is
    vram: str | None = None
    approximate: str | None = None
    context_attention: Literal["full", "cached"] | None = None  # None: as the files' config says

    @classmethod
    def of(cls, args: argparse.Namespace) -> Model:
        """As the flags say, or the environment."""
        from recast import models

        return cls(
            setting(args, "model") or models.default(),
            setting(args, "variant"),
            setting(args, "device") or "auto",
            setting(args, "dtype") or "auto",
            [(path, 1.0 if strength is None else strength) for path, strength in args.lora or ()],
            setting(args, "plan"),
            setting(args, "vram"),
            args.approximate,
        )

    @property
    def precision(self) -> str:
        """The dtype it will have, by its torch name."""
        from recast import loading

        return str(loading.pick_dtype(self.dtype, loading.pick_device(self.device))).removeprefix("torch.")

    def outline(self) -> Pipeline:
        """The model without its weights. Raises whatever can be known before they are read."""
        from recast import loading
        from recast.weights.files import require_local

        _ = self.precision
        for path, _ in self.adapters:
            require_local(Path(path), "--lora", "a .safetensors file or the folder of an adapter")
        return loading.outline(self.place, variant=self.variant)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One request. pictures: the source of an edit, then its references, each with its name or None."""

    task: Literal["generate", "edit"]
    prompt: str
    options: Mapping[str, Any]  # of `recast.options.Options`, those that were given, and the seed
    size: Size = "auto"  # of an edit
    width: int | None = None  # of a generated picture
    height: int | None = None
    pictures: Sequence[tuple[str | None, Picture]] = field(default=(), repr=False)
    original: Original | None = field(default=None, repr=False)  # the source at its own depth, where it is merged into
    keeping: Mapping[str, Any] = field(default_factory=dict, repr=False)  # of `recast.retouch.editor.Editor.start_edit`
    editor: Mapping[str, Any] = field(default_factory=dict, repr=False)  # of `Editor` itself

    @property
    def seeds(self) -> list[int]:
        return [self.options["seed"] + i for i in range(self.options.get("num_images", 1))]

    @property
    def is_merged(self) -> bool:
        """Whether what is made is laid into its source."""
        return self.keeping.get("preserve", "off") != "off"

    @property
    def name(self) -> str:
        """What {name} stands for: the source's file name without its suffix."""
        if not self.pictures:
            return "generated"
        source = self.pictures[0][1].source
        return Path(source).stem if source else "stdin"

    def batches(self) -> list[tuple[slice, Job]]:
        """The job in parts of the same pictures, to be made one after another; and which pictures each part makes.

        An edit is one part: its pictures share the source, and each recipe says what became of the others.
        """
        seeds, size = self.seeds, self.options.get("batch_size", 1)
        if self.task == "edit":
            return [(slice(len(seeds)), self)]
        found = []
        for first in range(0, len(seeds), size):
            own = seeds[first : first + size]
            options = {**self.options, "seed": own[0], "num_images": len(own)}
            found.append((slice(first, first + len(own)), replace(self, options=options)))
        return found

    def start(self, pipeline: Pipeline) -> Run:
        """The job on a pipeline, or on the outline of one. Raises ConfigError or InputError if it cannot be done."""
        if self.task == "generate":
            return pipeline.start_generate(self.prompt, width=self.width, height=self.height, **self.options)
        (_, source), *references = self.pictures
        if not self.keeping:
            return pipeline.start_edit(source, self.prompt, references=references, size=self.size, **self.options)
        from recast.retouch.editor import Editor

        return Editor(pipeline, **self.editor).start_edit(
            self.original or source,
            self.prompt,
            references=references,
            size=self.size,
            **self.keeping,
            **self.options,
        )


def read_picture(path: str, name: str) -> Picture:
    """The picture at `path`; "-" is stdin. Raises InputError, naming the argument as `name`."""
    from recast.pixels import image

    return image.read(place_of(path, name), name=name)


def place_of(path: str, name: str) -> str | bytes:
    """What to read a picture from: the path, or for "-" all of stdin. Raises InputError like `read_picture`."""
    if Path(path).is_dir():
        raise InputError(f"{name}={path!r}: is a folder; one picture accepted; --batch edits every picture in a folder")
    if path != "-":
        return path
    if sys.stdin.isatty():
        raise InputError(f"{name}='-': stdin is a terminal; a picture accepted; pipe one in, as in `... < photo.png`")
    return sys.stdin.buffer.read()


def named_path(text: str) -> tuple[str | None, str]:
    """Name and path from name=path."""
    match = re.fullmatch(r"(\w+)=(.+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: name=path accepted, as logo=logo.png")
    return match[1], match[2]


def describe(request: Request, pipeline: Pipeline, model: Model) -> dict[str, Any]:
    """A request with every default filled in, as plain data: what --dry-run prints."""
    from recast import loading
    from recast.cli import planned

    multiple = pipeline.config.pixels_per_token
    if model.plan or model.vram or model.approximate is not None:
        planned.check(model, request, pipeline)
    return {
        "task": request.task,
        "prompt": request.asked[0],
        "negative_prompt": request.options.negative_prompt,
        "model": pipeline.config.name,
        "device": str(loading.pick_device(model.device)),
        "dtype": model.precision,
        "plan": planned.recorded(model),
        "vram": model.vram,
        "adapters": [{"file": Path(path).name, "strength": strength} for path, strength in model.adapters],
        "seeds": request.seeds,
        "size": request.size,
        "model_width": request.grid[1] * multiple,
        "model_height": request.grid[0] * multiple,
        "grid": list(request.grid),
        "images": [
            {"name": name, "file": picture.source and Path(picture.source).name, "width": picture.width,
             "height": picture.height, "sha256": picture.sha256(), "fit": fit.to_dict()}
            for name, picture, fit in zip(request.names, request.pictures, request.fits, strict=True)
        ],
        "steps": len(request.times) - 1,
        "times": request.times,
        "sampler": request.sampler,
        "guidance": request.guidance,
        "true_guidance": request.true_guidance,
        "batch_size": request.options.batch_size,
        "preserving": asdict(request.preserving),
        "warnings": request.warnings,
    }  # fmt: skip
