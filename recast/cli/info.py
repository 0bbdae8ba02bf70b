"""`recast info`: what is in a file, without torch: a picture and its recipe, a recipe, a checkpoint, or a preset."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recast.config import PRESETS, ModelConfig, preset
from recast.errors import WeightsError

HELP = """Say what is in a picture written by recast, a recipe, a checkpoint (a file or a folder), or a preset.

  recast info night.png
  recast info flux1-kontext-dev.safetensors --sha256"""

WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle", ".gguf")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast info PATH [options]"
    parser.add_argument("path", metavar="PATH", help=f"a picture, a recipe, a checkpoint, or {', '.join(PRESETS)}")
    parser.add_argument("--variant", metavar="NAME", help="which model the files hold, where they do not tell")
    parser.add_argument("--sha256", action="store_true", help="of a checkpoint; reads every byte of it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    path = Path(args.path)
    if args.path in PRESETS and not path.exists():
        data = _of_name(args)
    elif _is_delta(path):
        data = _of_delta(path, args)
    elif path.is_dir() or path.suffix.lower() in WEIGHTS or (not path.exists() and not path.suffix):
        data = _of_checkpoint(path, args)
    elif path.suffix.lower() == ".json":
        data = _of_recipe(args.path)
    else:
        data = _of_picture(args.path)
    if args.json:
        from recast.cli.output import print_json

        print_json(data)
    else:
        print("\n".join(_lines(data)))
    return 0


def _of_picture(path: str) -> dict[str, Any]:
    from PIL import Image

    from recast.cli.replay import parse
    from recast.pixels import image

    picture = image.read(path, name="PATH")
    text = image.read_recipe(path, name="PATH")
    with Image.open(path, formats=image.READ) as opened:
        kind = opened.format
    return {
        "kind": "picture",
        "path": path,
        "format": kind,
        "width": picture.width,
        "height": picture.height,
        "has_alpha": picture.alpha is not None,
        "sha256": picture.sha256(),
        "bytes": Path(path).stat().st_size,
        "warnings": list(picture.warnings),
        "recipe": None if text is None else parse(text),
    }


def _of_recipe(path: str) -> dict[str, Any]:
    from recast.cli.replay import parse, recipe_text

    return {"kind": "recipe", "path": path, "recipe": parse(recipe_text(path, "PATH"))}


def _of_name(args: argparse.Namespace) -> dict[str, Any]:
    from recast import models

    known = models.find(args.path)
    if known is None:
        return {"kind": "preset", **_model(preset(args.path)), "weights": "none; it is for tests"}
    if known.place is None:
        return {"kind": "preset", **_model(known.config), "weights": f"{known.note}; give the path of a checkpoint"}
    return _of_delta(known.place, args) if _is_delta(known.place) else _of_checkpoint(known.place, args)


def _is_delta(path: Path) -> bool:
    from recast import weights

    return weights.is_delta(path)


def _of_delta(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    from recast import weights

    delta = weights.read_delta(path)
    return {
        "kind": "delta",
        "path": str(path),
        **_model(delta.config),
        "base": delta.base.name,
        "base_sha256": delta.base.sha256,
        "rank": delta.rank,
        "error": delta.error,
        "parameters": delta.parameters,
        "bytes": path.stat().st_size,
        "sha256": weights.checksum(path) if args.sha256 else None,
        "about": dict(delta.about),
    }


def _of_checkpoint(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    from recast import weights

    found = weights.summary(path, variant=args.variant, with_checksum=args.sha256)
    try:
        model = _model(weights.read_config(path, variant=args.variant))
    except WeightsError:  # a part alone, or one of several models with the same tensors
        model = {"model": None, "licence": "unknown"}
    return {
        "kind": "checkpoint",
        "path": str(path),
        "layout": found.layout,
        "variant": found.variant,
        **model,
        "sha256": found.sha256,
        "parts": {
            name: {
                "parameters": part.parameters,
                "bytes": part.size_bytes,
                "tensors": len(part.tensors),
                "dtypes": part.dtypes,
                "layout": part.layout,
                "files": [file.name for file in part.files],
                "incomplete": list(part.incomplete),
            }
            for name, part in found.parts.items()
        },
    }


def _model(config: ModelConfig) -> dict[str, Any]:
    defaults = config.defaults
    return {
        "model": config.name,
        "licence": config.licence,
        "takes_pictures": config.takes_context,
        "usual_width": defaults.width,
        "usual_height": defaults.height,
        "usual_steps": defaults.steps,
        "usual_sampler": defaults.sampler,
        "guidance_mode": config.guidance_mode,
        "usual_guidance": defaults.guidance,
        "multiple_of_px": config.pixels_per_token,
    }


def _lines(data: Mapping[str, Any], indent: str = "") -> list[str]:
    """The data as lines of name and value; what is None or empty is left out, except that there is no recipe."""
    lines = []
    width = max(len(name) for name in data) + 2
    for name, value in data.items():
        if name == "recipe" and value is None:
            lines.append(f"{indent}{'recipe':{width}}none: not written by recast, or with --metadata none")
        elif isinstance(value, Mapping) and any(isinstance(one, Mapping | list) for one in value.values()):
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        elif value not in (None, "", [], {}):
            lines.append(f"{indent}{name:{width}}{_text(name, value)}")
    return lines


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "times":
        return f"{len(value) - 1} steps: {', '.join(f'{t:.4g}' for t in value)}"
    if name == "images":
        return "; ".join(
            f"{'@' + one['name'] if one['name'] else 'image'} {one['file'] or 'unnamed'} {one['width']}x{one['height']}"
            for one in value
        )
    if name == "bytes":
        return f"{value:,} ({value / 2**20:,.1f} MiB)"
    if name == "parameters":
        return f"{value:,} ({value / 1e6:,.1f} M)"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text('', one)}" for key, one in value.items())
    if isinstance(value, list):
        return "; ".join(_text("", one) for one in value)
    return str(value)
