"""The options that verbs share: declared once, named after the fields they fill.

A flag left out is None, so that a verb can tell what was asked for from what is usual.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from dataclasses import fields
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

from recast.options import ALIASES, Options


class Flag(NamedTuple):
    """How a field of `Options` looks on the command line."""

    read: Callable[[str], Any]
    metavar: str
    help: str
    short: tuple[str, ...] = ()


def numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas."""
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers separated by commas accepted, as 1,0.7,0.4,0") from None


def width_height(text: str) -> tuple[int, int]:
    """Width and height from a text like 1024x768."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: a width and a height accepted, as 1024x768")
    return int(match[1]), int(match[2])


def path_and_strength(text: str) -> tuple[str, float | None]:
    """Path and strength from path:strength, or the path alone and None; a colon within a path's name is its own."""
    path, _, strength = text.rpartition(":")
    try:
        number = float(strength)
    except ValueError:
        number = nan
    if path and isfinite(number):
        return path, number
    if path and not Path(text).exists() and not {"/", "\\"} & set(strength):
        raise argparse.ArgumentTypeError(
            f"{text!r}: strength {strength!r} came; a finite number accepted, as {path}:0.8; mend it, or leave it out"
        )
    return text, None


SAMPLING = {
    "negative_prompt": Flag(str, "TEXT", "what to move away from; needs --true-guidance above 1"),
    "steps": Flag(int, "N", "sampler steps; more is finer and slower"),
    "guidance": Flag(float, "SCALE", "how closely to follow the words, for models that embed it"),
    "true_guidance": Flag(float, "SCALE", "the same by two network calls a step; 1 is off"),
    "sampler": Flag(str, "NAME", "euler (usual), heun, ab2, dpmpp_2m, or renoise (usual of some few-step models)"),
    "times": Flag(numbers, "T,T,...", "times of one's own from 1 to 0, instead of --steps: 1,0.7,0.4,0"),
    "seed": Flag(int, "N", "of the first picture, the next have N + 1, N + 2 ...; drawn if left out"),
    "num_images": Flag(int, "N", "how many pictures (usual: 1)", ("-n",)),
    "batch_size": Flag(int, "N", "pictures per network call (usual: 1); above 1 the last bits may differ"),
}


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """A flag for every field of `recast.options.Options`, its other names included."""
    group = parser.add_argument_group("sampling (left out: as the model was made for)")
    for field in fields(Options):
        flag = SAMPLING[field.name]
        names = [field.name, *(alias for alias, name in ALIASES.items() if name == field.name)]
        group.add_argument(
            *flag.short,
            *("--" + name.replace("_", "-") for name in names),
            dest=field.name,
            type=flag.read,
            metavar=flag.metavar,
            help=flag.help,
        )


def sampling(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `Options` that were given, checked. Raises ConfigError like `Options`."""
    given = {field.name: getattr(args, field.name) for field in fields(Options)}
    given = {name: value for name, value in given.items() if value is not None}
    Options.of(given)
    return given


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, where, and in which number format."""
    group = parser.add_argument_group("model (all but --lora and --approximate also by environment: RECAST_MODEL ...)")
    group.add_argument("--model", metavar="PATH", help="a name (`recast models`), or the path of weights; usual: nano")
    group.add_argument("--variant", metavar="NAME", help="which model the files hold, where they do not tell")
    group.add_argument("--device", metavar="NAME", help="cpu, cuda, mps; usual: the best there is")
    group.add_argument(
        "--dtype", metavar="NAME", help="bf16 or fp32; usual: bf16 where the device is fast at it, else fp32"
    )
    group.add_argument(
        "--lora",
        action="append",
        type=path_and_strength,
        metavar="PATH[:STRENGTH]",
        help="an adapter to fold into the weights; repeat for more",
    )
    group.add_argument(
        "--plan",
        metavar="NAME",
        help="how to compute: auto, reference (usual), exact, lossless, compile, fp8 or fp8-attention (docs/speed.md)",
    )
    group.add_argument(
        "--vram", metavar="SIZE", help="a cap on the device's memory, as 24gb: what does not fit passes through"
    )
    group.add_argument(
        "--approximate",
        metavar="OPTION",
        help="skip work: context-reuse, first-block, extrapolate or region, settings after a colon, as "
        "context-reuse:every=4",
    )


def add_parallel(parser: argparse.ArgumentParser) -> None:
    """--parallel, of the verbs that several processes can do together."""
    group = parser.add_argument_group("several GPUs (torchrun --nproc-per-node N -m recast ... --parallel sequence)")
    group.add_argument(
        "--parallel",
        choices=("sequence", "tensor"),
        metavar="HOW",
        help="the processes make each picture together: sequence, where the model fits one GPU, or tensor, which "
        "shares out its weights too; --plan is then lossless unless given (docs/speed.md)",
    )


def setting(args: argparse.Namespace, name: str) -> str | None:
    """A setting of this machine: the flag, else the environment's RECAST_<NAME>, else None."""
    value: str | None = getattr(args, name)
    return value or os.environ.get(f"RECAST_{name.upper()}") or None


def add_output(parser: argparse.ArgumentParser) -> None:
    """Where results go, in which form, and what is said on the way."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o",
        "--out",
        "--output",
        metavar="PATH",
        help="where to write; {seed}, {index} and {name} are filled in, - is stdout; several pictures "
        "get -{seed} before the suffix unless {seed} or {index} is there",
    )
    group.add_argument("--format", metavar="NAME", help="png, jpeg or webp; usual: by the suffix of --out")
    group.add_argument(
        "--quality", type=int, metavar="N", help="1 to 100, of jpeg (usual: 95) and webp (usual: lossless)"
    )
    group.add_argument(
        "--metadata",
        choices=("full", "minimal", "none"),
        metavar="HOW",
        help="the recipe inside the picture: full (usual), minimal, without words and file names, or none",
    )
    group.add_argument("--recipe-out", metavar="PATH", help="write the full recipe, as JSON, to this file too")
    add_report(group)
    group.add_argument("--dry-run", action="store_true", help="print the resolved request as JSON and stop")


def add_report(parser: Any) -> None:
    """--json and --quiet."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of paths")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no notes on stderr")
