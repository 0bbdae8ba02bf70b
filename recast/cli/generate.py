"""`recast generate`: a picture from words."""

from __future__ import annotations

import argparse
import math
import re
import secrets

from recast.cli.job import Job, Model
from recast.cli.options import add_model, add_output, add_parallel, add_sampling, sampling, width_height
from recast.cli.parallel import in_parallel
from recast.errors import ConfigError

HELP = """Make a picture from words.

  recast generate "a red circle on a blue square" --out circle.png
  recast generate "a green star" -n 4 --seed 7 --out star-{seed}.png --aspect-ratio 16:9"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast generate PROMPT --out PATH [options]\n       recast generate --recipe FILE --out PATH"
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="what to make")
    add_output(parser)
    size = parser.add_argument_group("size (left out: as the model was made for)")
    size.add_argument("--width", type=int, metavar="PX", help="a multiple of 16")
    size.add_argument("--height", type=int, metavar="PX", help="a multiple of 16")
    size.add_argument("--size", type=width_height, metavar="WxH", help="both at once: 1024x768")
    size.add_argument(
        "--aspect-ratio", type=ratio, metavar="W:H", help="the model's usual number of pixels in another shape: 16:9"
    )
    add_sampling(parser)
    add_model(parser)
    add_parallel(parser)
    add_replay(parser)


def add_replay(parser: argparse.ArgumentParser) -> None:
    """--recipe and --exact, which `edit` has as well."""
    group = parser.add_argument_group("replay")
    group.add_argument(
        "--recipe",
        metavar="FILE",
        help="make the picture of a recipe again, bit for bit on the same machine; FILE is a picture written by "
        "recast, or a recipe as JSON; beside it only the model, the output and pictures that went in can be given, "
        "and --quality as it was then",
    )
    group.add_argument("--exact", action="store_true", help="exit with 5 if a pixel differs from the recipe's picture")


@in_parallel
def run(args: argparse.Namespace) -> int:
    from recast.cli.work import carry_out

    if args.recipe:
        from recast.cli.replay import Replay

        replay = Replay.of(args, "generate")
        return carry_out(args, replay.job, replay.model, replay)
    if args.prompt is None:
        raise ConfigError("PROMPT: missing; what to make, in quotes; see `recast generate --help`")
    if args.exact:
        raise ConfigError("--exact: compares with a recipe; --recipe FILE is missing")
    options = {"seed": secrets.randbits(32), **sampling(args)}
    model = Model.of(args)
    width, height = _size(args, model)
    job = Job(task="generate", prompt=args.prompt, options=options, width=width, height=height)
    return carry_out(args, job, model)


def ratio(text: str) -> float:
    """Width over height from a text like 16:9."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", text)
    if match is None or not 1 / 16 <= float(match[1]) / (float(match[2]) or math.inf) <= 16:
        raise argparse.ArgumentTypeError(f"{text!r}: width:height from 1:16 to 16:1 accepted, as 16:9")
    return float(match[1]) / float(match[2])


def _size(args: argparse.Namespace, model: Model) -> tuple[int | None, int | None]:
    """Width and height as asked for in one of three ways; None is the model's own."""
    ways = [args.height if args.width is None else args.width, args.size, args.aspect_ratio]
    if sum(way is not None for way in ways) > 1:
        raise ConfigError("--width and --height, --size, --aspect-ratio: one of the three accepted; leave the rest out")
    if args.size:
        return args.size
    if args.aspect_ratio is None:
        return args.width, args.height
    from recast.loading import place
    from recast.weights import read_config

    config = read_config(place(model.place), variant=model.variant)
    return near_ratio(args.aspect_ratio, config.defaults.width * config.defaults.height, config.pixels_per_token)


def near_ratio(ratio: float, pixels: int, multiple: int) -> tuple[int, int]:
    """Width and height, whole tokens, about so many pixels in that shape."""
    width, height = math.sqrt(pixels * ratio), math.sqrt(pixels / ratio)
    return tuple(max(1, round(side / multiple)) * multiple for side in (width, height))  # type: ignore[return-value]
