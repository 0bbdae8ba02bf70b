"""What `recast thumbnails` works with: the model that makes the pictures, and what looks at them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from recast.cli.job import Model
from recast.cli.output import Report, say
from recast.cli.progress import Progress
from recast.errors import ConfigError, InputError

if TYPE_CHECKING:
    from recast.thumbnails.kit import Kit
    from recast.thumbnails.seeing import Sight
    from recast.thumbnails.workflow import Tools

Attention: TypeAlias = "Literal['full', 'cached'] | None"
LARGE_BYTES = 1 << 30
"""Files above this are told by size and time of change: to hash tens of gigabytes takes longer than most commands."""


def tools(args: argparse.Namespace, kit: Kit, progress: Progress) -> Tools:
    """What a set of this kit is made with, as the flags say. The model is loaded when it is first needed.

    Raises ConfigError, InputError, MissingWeights or WeightsError for what can be known before.
    """
    from recast.cli import planned
    from recast.cli.sight import has_world_people
    from recast.thumbnails.base import size_of
    from recast.thumbnails.variants import TOGETHER
    from recast.thumbnails.workflow import Tools

    if args.together is not None and args.together < 1:
        raise ConfigError(f"--together {args.together}: 1 or more accepted")
    model = _with_adapters(Model.of(args), kit, args)
    config = model.outline().config
    usual: Attention = "cached" if has_world_people(config.name) else None
    is_named = model.plan is not None
    model = replace(model, context_attention=args.context or usual, plan=model.plan or "auto")

    def told(line: str) -> None:
        """Which plan it is; what of it was applied, to those who named one."""
        if not args.quiet and (is_named or not line.startswith(" ")):
            say(line)

    def load() -> Any:
        from recast.cli.lowering import Lowering

        progress.note("loading the model")
        warn = Report(args.json, aside=progress.aside).warn
        return Lowering(planned.load(model, say=told), warn)

    return Tools(
        generator=_once(load),
        model=made_by(model),
        size=size_of(multiple=config.pixels_per_token, most_tokens=config.defaults.max_tokens),
        steps=config.defaults.steps,
        sight=sight_of(args),
        certificate=certificate_of,
        together=args.together or TOGETHER,
        licences={config.name: config.licence, **{each.file.name: each.license for each in kit.fonts}},
    )


def made_by(model: Model) -> dict[str, Any]:
    """Whatever of a model decides its pictures, as plain data: what is made by another is made again.

    A cap on memory is no part of it, but for the plan that it asks for. Reads the adapters' files, and weight files
    up to LARGE_BYTES.
    """
    from recast.weights import checksum

    config = model.outline().config
    is_planned = model.vram is not None or model.approximate is not None
    return {
        "name": config.name,
        "variant": model.variant,
        "weights": dict(_weights(model)),
        "plan": model.plan or ("auto" if is_planned else "reference"),
        "approximate": model.approximate,
        "dtype": model.precision,
        "context_attention": model.context_attention or config.flow.context_attention,
        "adapters": [
            {"file": Path(path).name, "sha256": checksum(path), "strength": strength}
            for path, strength in model.adapters
        ],
        "sampler": config.defaults.sampler,
    }


def sight_of(args: argparse.Namespace) -> Sight:
    """What the checks look with, as the flags say."""
    from recast import models
    from recast.cli.options import setting
    from recast.cli.sight import sight

    return sight(
        setting(args, "model") or models.default(),
        variant=setting(args, "variant"),
        faces=args.faces,
        detector=args.detector,
        calibration=args.calibration,
        read=args.read,
    )


def certificate_of(path: Path) -> str | None:
    """The text of the certificate in a PNG or WebP; None where it carries none, or is another kind of file."""
    from recast.retouch.embedded import read_text

    return read_text(path) if path.suffix.lower() in (".png", ".webp") else None


def _weights(model: Model) -> Iterator[tuple[str, str]]:
    """Each file of a model as "part/file", with its SHA-256, or with size and time of change."""
    from recast import loading
    from recast.context.text_files import stand_alone_files
    from recast.weights import checksum

    files = loading.open_files(model.place, variant=model.variant)
    found = [(name, file) for name, part in files.parts.items() for file in part.files]
    if "text_encoder" not in files.parts:
        found += [("text_encoder", file) for file in stand_alone_files(files.home)]
    if files.delta is not None:
        found.append(("delta", files.delta.path))
    for part, path in found:
        stat = path.stat()
        large = f"{stat.st_size} bytes of {stat.st_mtime_ns}"
        yield f"{part}/{path.name}", large if stat.st_size > LARGE_BYTES else checksum(path)


def _with_adapters(model: Model, kit: Kit, args: argparse.Namespace) -> Model:
    """The model with the adapters of the kit's characters; an optional one that is not there is said."""
    found = list(model.adapters)
    for each in kit.characters:
        if each.lora is None:
            continue
        if each.lora.file.is_file():
            found.append((str(each.lora.file), each.lora.weight))
        elif not each.lora.optional:
            raise InputError(f"{each.lora.file}: the adapter of {each.id} is not there; train it, or make it optional")
        elif not args.quiet:
            say(f"{each.id}: no adapter at {each.lora.file}, which is optional")
    return replace(model, adapters=found)


def _once(make: Callable[[], Any]) -> Callable[[], Any]:
    made: list[Any] = []

    def get() -> Any:
        if not made:
            made.append(make())
        return made[0]

    return get
