"""`recast convert`: a checkpoint in another layout, the same values to the bit unless --dtype asks otherwise."""

from __future__ import annotations

import argparse
from pathlib import Path

from recast.cli.options import add_report
from recast.errors import ConfigError

HELP = """Write a checkpoint in another layout: the values are the same to the bit unless --dtype asks otherwise.

  recast convert flux1-kontext-dev.safetensors kontext --layout diffusers --part flow
  recast convert FLUX.1-Kontext-dev kontext --layout recast --variant kontext_dev"""

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast convert SOURCE TARGET --layout LAYOUT [options]"
    parser.add_argument("source", metavar="SOURCE", help="a file or folder in any layout, or nano")
    parser.add_argument("target", metavar="TARGET", help="a new folder; a .safetensors file for one part in bfl")
    parser.add_argument("--layout", metavar="LAYOUT", help="bfl, diffusers or recast")
    parser.add_argument("--dtype", metavar="NAME", help="bf16, fp16 or fp32; usual: as it is")
    parser.add_argument("--variant", metavar="NAME", help="which model the files hold, where they do not tell")
    parser.add_argument(
        "--part", action="append", metavar="NAME", help="flow or autoencoder; repeat for more; usual: both"
    )
    add_report(parser)


def run(args: argparse.Namespace) -> int:
    _check("--layout", args.layout, ("bfl", "diffusers", "recast"))
    for part in args.part or ():
        _check("--part", part, ("flow", "autoencoder"))
    if args.dtype is not None:
        _check("--dtype", args.dtype, (*DTYPES, *DTYPES.values()))
    import torch

    from recast.cli.output import print_json
    from recast.cli.progress import Progress
    from recast.loading import place
    from recast.weights import convert

    with Progress(quiet=args.quiet) as progress:
        progress.note(f"writing {args.target}")
        target = convert(
            place(args.source),
            args.target,
            args.layout,
            parts=tuple(args.part or ("flow", "autoencoder")),
            dtype=getattr(torch, DTYPES.get(args.dtype, args.dtype)) if args.dtype else None,
            variant=args.variant,
        )
    written = _files(target)
    if args.json:
        files = [{"path": str(file), "bytes": file.stat().st_size} for file in written]
        print_json({"path": str(target), "layout": args.layout, "files": files})
    else:
        print(*written, sep="\n")
    return 0


def _check(flag: str, value: str | None, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        came = "missing" if value is None else f"{value!r}"
        raise ConfigError(f"{flag}: {came}; {', '.join(accepted)} accepted; see `recast convert --help`")


def _files(target: Path) -> list[Path]:
    return [target] if target.is_file() else sorted(path for path in target.rglob("*") if path.is_file())
