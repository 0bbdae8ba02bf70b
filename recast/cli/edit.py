"""`recast edit`: a picture changed by words; with --batch, every picture in a folder."""

from __future__ import annotations

import argparse
import secrets
from typing import TYPE_CHECKING, Any

from recast.cli.generate import add_replay
from recast.cli.job import Job, Model, named_path, read_picture
from recast.cli.options import add_model, add_output, add_sampling, sampling, width_height
from recast.errors import ConfigError

if TYPE_CHECKING:
    from recast.pixels.image import Picture

    Named = list[tuple[str | None, Picture]]

HELP = """Change a picture by words. The result has the width and height of the source.

  recast edit photo.png "make it night" --out night.png
  recast edit room.jpg "hang @poster over the sofa" --ref poster=poster.png --out room-2.jpg
  recast edit photos "make it night" --batch --out results --seed 7
  recast edit --recipe night.png --out again.png"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "recast edit IMAGE INSTRUCTION --out PATH [options]\n"
        "       recast edit FOLDER INSTRUCTION --batch --out FOLDER [options]\n"
        "       recast edit [IMAGE] --recipe FILE --out PATH"
    )
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="the picture to change; - is stdin")
    parser.add_argument("prompt", nargs="?", metavar="INSTRUCTION", help="what to change")
    # One list for both: the order of the pictures is part of the request.
    parser.add_argument(
        "--image",
        dest="references",
        action="append",
        type=_unnamed,
        metavar="PATH",
        help='a further picture, "image 2" in the instruction; repeat for more',
    )
    parser.add_argument(
        "--ref",
        dest="references",
        action="append",
        type=named_path,
        metavar="NAME=PATH",
        help="a further picture, @NAME in the instruction; repeat for more",
    )
    parser.add_argument(
        "--size",
        type=_size,
        metavar="HOW",
        help="what the model works at: auto (usual), source, trained or WxH; the result keeps the source's size",
    )
    parser.add_argument(
        "--batch",
        action="store_true",
        help="IMAGE is a folder: edit every picture in it, into the folder --out (or a template with {name}, usual "
        "suffix .png). What a former run finished with the same recipe is skipped, where --metadata is full; a picture "
        "that fails is reported and does not stop the rest. The seed is 0 unless given, the same for every picture",
    )
    add_output(parser)
    add_sampling(parser)
    add_model(parser)
    add_replay(parser)


def run(args: argparse.Namespace) -> int:
    from recast.cli.work import carry_out

    if args.recipe:
        from recast.cli.replay import Replay

        replay = Replay.of(args, "edit")
        return carry_out(args, replay.job, replay.model, replay)
    if args.image is None or args.prompt is None:
        missing = "INSTRUCTION" if args.image else "IMAGE, INSTRUCTION"
        raise ConfigError(f"{missing}: missing; a picture and, in quotes, what to change; see `recast edit --help`")
    if args.exact:
        raise ConfigError("--exact: compares with a recipe; --recipe FILE is missing")
    if args.batch:
        from recast.cli import batch

        return batch.run(args)
    options = {"seed": secrets.randbits(32), **sampling(args)}
    return carry_out(args, job_of(args, args.image, references_of(args), options), Model.of(args))


def references_of(args: argparse.Namespace) -> Named:
    """The pictures of --image and --ref, in the order of the command line."""
    return [(name, read_picture(path, f"--ref {name}" if name else "--image")) for name, path in args.references or ()]


def job_of(args: argparse.Namespace, source: str, references: Named, options: dict[str, Any]) -> Job:
    """The edit of one source as the flags say; reads it."""
    pictures = [(None, read_picture(source, "IMAGE")), *references]
    return Job(task="edit", prompt=args.prompt, options=options, size=args.size or "auto", pictures=pictures)


def _unnamed(text: str) -> tuple[None, str]:
    return None, text


def _size(text: str) -> str | tuple[int, int]:
    if text in ("auto", "source", "trained"):
        return text
    try:
        return width_height(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r}: auto, source, trained or WxH accepted, as 1024x768") from None
