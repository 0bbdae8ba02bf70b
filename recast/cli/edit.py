"""`recast edit`: a picture changed by words; with --batch, every picture in a folder."""

from __future__ import annotations

import argparse
import os
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recast.cli.generate import add_replay
from recast.cli.job import Job, Model, named_path, place_of, read_picture
from recast.cli.merge import add_parts, box
from recast.cli.options import add_model, add_output, add_parallel, add_sampling, sampling, width_height
from recast.cli.parallel import in_parallel
from recast.errors import ConfigError

if TYPE_CHECKING:
    from recast.pixels.image import Picture

    Named = list[tuple[str | None, Picture]]

HELP = """Change a picture by words, and nothing else in it: what the edit did not change keeps its bytes, with a
certificate that `recast verify` checks. The result has the size, depth and colour profile of the source.

  recast edit photo.png "make the jacket red" --out red.png
  recast edit photo.png "remove the sign" --box 40,60,300,220 --preserve strict --out clean.png
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
        type=model_size,
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
    _add_keeping(parser)
    add_parts(parser)
    add_output(parser)
    add_sampling(parser)
    add_model(parser)
    add_parallel(parser)
    add_replay(parser)


@in_parallel
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
    job = Job(task="edit", prompt=args.prompt, options=options, size=args.size or "auto")
    keeping: dict[str, Any] = {
        "preserve": args.preserve or "auto",
        "context": args.context or "auto",
        "boxes": args.box or [],
    }
    check_effect(args, keeping["preserve"])
    if keeping["preserve"] == "off" and not is_bound(args):
        return replace(job, pictures=[(None, read_picture(source, "IMAGE")), *references])
    return keep(job, args, place_of(source, "IMAGE"), references, keeping)


def is_bound(args: argparse.Namespace) -> bool:
    """Whether a flag says where something may change, or asks where it is going to: an editor sees to that."""
    return any((args.mask, args.mask_mode, args.box, args.forecast, args.forecast_out))


def check_effect(args: argparse.Namespace, preserve: str) -> None:
    """Raise ConfigError for flags that only a merge heeds, where there is none."""
    if preserve != "off":
        return
    for name in ("context", "parts", "faces", "text", "logos"):
        if getattr(args, name) not in (None, "none", "whole"):
            raise ConfigError(f"--{name}: has no effect with --preserve off, which merges nothing; leave it out")


def keep(job: Job, args: argparse.Namespace, source: str | bytes, references: Named, keeping: dict[str, Any]) -> Job:
    """The job with its source and references, and with how to keep the rest of the source."""
    from recast.cli.forecast import on_forecast
    from recast.pixels.mask import read_mask
    from recast.retouch.detectors import KNOWN, load_detectors
    from recast.retouch.original import read_original

    original = read_original(source, name="IMAGE")
    picture = original.picture()
    if args.mask:
        size = {"width": picture.width, "height": picture.height}
        keeping["mask"] = read_mask(args.mask, **size, mode=args.mask_mode or "auto", name="--mask")
    elif args.mask_mode:
        raise ConfigError("--mask-mode: says how to read a mask, and --mask is missing; leave it out, or give a mask")
    detectors = load_detectors({name: getattr(args, name) for name in KNOWN}, os.environ)
    job = replace(job, pictures=[(None, picture), *references], original=original, editor={"detectors": detectors})
    return replace(job, keeping=keeping | {"on_forecast": on_forecast(args, job, keeping["boxes"])})


def _add_keeping(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what may change")
    group.add_argument(
        "--preserve",
        choices=("auto", "strict", "off"),
        metavar="HOW",
        help="auto (usual) lays what was changed into the source, and says so where too much was; strict makes that "
        "an error, exit code 5, and changes nothing outside mask and boxes; off writes what the model made",
    )
    group.add_argument(
        "--mask", metavar="PATH", help="a picture of the source's size, white where to change it (or see --mask-mode)"
    )
    group.add_argument(
        "--mask-mode",
        choices=("auto", "white", "alpha"),
        metavar="HOW",
        help="white: white may change; alpha: what is transparent may; auto (usual): alpha where there is any",
    )
    group.add_argument(
        "--box",
        action="append",
        type=box,
        metavar="X0,Y0,X1,Y1",
        help="a rectangle of the source where to change it, in pixels from its top left; repeat for more. What reaches "
        "out of it is taken whole, unless --preserve is strict",
    )
    group.add_argument(
        "--context",
        choices=("auto", "whole", "crop"),
        metavar="HOW",
        help="what the model sees: the whole, or a crop round mask and boxes at full size and the whole beside it; "
        "auto (usual) takes the crop for a small region of a large picture",
    )
    group.add_argument(
        "--forecast",
        choices=("show", "stop"),
        metavar="HOW",
        help="a third of the way, say where the picture is going to change; stop ends the run, exit code 5, if that "
        "leaves the boxes",
    )
    group.add_argument("--faces", metavar="FILE", help="YuNet weights (.onnx): faces are taken whole or left whole")
    group.add_argument("--text", metavar="FILE", help="DB text detector (.onnx): so are lines of text")
    group.add_argument("--logos", metavar="FILE", help="YOLO detector of logos (.onnx): so are they")
    group.add_argument("--forecast-out", metavar="PATH", help="write the forecast as a mask, white where it changes")


def _unnamed(text: str) -> tuple[None, str]:
    return None, text


def model_size(text: str) -> str | tuple[int, int]:
    """What --size says: a word, or (width, height)."""
    if text in ("auto", "source", "trained"):
        return text
    try:
        return width_height(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r}: auto, source, trained or WxH accepted, as 1024x768") from None
