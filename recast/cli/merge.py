"""`recast merge`: two pictures, from any editor, and only what was changed on purpose; no model is loaded."""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.cli.main import Exit
from recast.cli.options import add_report
from recast.errors import ConfigError

if TYPE_CHECKING:
    from recast.retouch.asked import Box
    from recast.retouch.merge import Merge
    from recast.retouch.original import Original

HELP = """Lay an edit over its source so that only what was changed on purpose differs: all else keeps its bytes.

  recast merge before.png after.png --out merged.png
  recast merge before.png after.png --out merged.png --box 40,60,400,380 --strict --report report.json
  recast verify before.png merged.png
  other-editor before.png | recast merge before.png - --out merged.png

The edit may come from any program. It may be shifted, scaled, tinted or compressed, and of another size. Exit code 5
says that nothing could be kept: the whole picture changed, or shows another framing; the edit is written as it is."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast merge BEFORE AFTER --out PATH [options]"
    parser.add_argument("before", metavar="BEFORE", help="the source; - is stdin")
    parser.add_argument("after", metavar="AFTER", help="the edit of it; - is stdin, for one of the two")
    add_constraints(parser)
    parser.add_argument(
        "--look",
        choices=("auto", "local", "global"),
        default="auto",
        help="local merges however much changed, global keeps the edit as it is; usual: auto, by the changed share",
    )
    parser.add_argument(
        "-o", "--out", metavar="PATH", help="where to write: .png or .webp keep the bytes, .jpg does not"
    )
    parser.add_argument("--report", metavar="FILE", help="write what was found, as JSON, to this file")
    add_parts(parser)
    add_report(parser)


def add_constraints(parser: argparse.ArgumentParser) -> None:
    """--mask, --mask-mode, --box, --take, --strict, --faces, --text and --logos."""
    group = parser.add_argument_group("where (left out: wherever something changed)")
    group.add_argument("--mask", metavar="FILE", help="where a change was asked for; of the source's size")
    group.add_argument(
        "--mask-mode",
        choices=("auto", "white", "alpha"),
        default="auto",
        help="white is edited, or transparent is; usual: auto, alpha where there is any transparency",
    )
    group.add_argument(
        "--box", action="append", type=box, metavar="X0,Y0,X1,Y1", help="the same as a box in pixels; repeat for more"
    )
    group.add_argument("--take", metavar="FILE", help="a mask of what to take from the edit whatever the difference")
    group.add_argument(
        "--strict",
        action="store_true",
        help="nothing outside --mask, --box and --take may change, not even by a soft border",
    )
    group.add_argument("--faces", metavar="FILE", help="YuNet weights (.onnx): faces are taken whole or left whole")
    group.add_argument("--text", metavar="FILE", help="DB text detector (.onnx): so are lines of text")
    group.add_argument("--logos", metavar="FILE", help="YOLO detector of logos (.onnx): so are they")


def add_parts(parser: argparse.ArgumentParser) -> None:
    """--parts."""
    parser.add_argument(
        "--parts",
        metavar="FOLDER",
        help="where to keep the source, the unmerged edit and the regions, for `recast regions`; none keeps nothing; "
        "usual: the name of --out with .parts",
    )


def box(text: str) -> Box:
    """Four whole numbers, separated by commas."""
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: left,top,right,bottom in pixels accepted, as 40,60,400,380")
    left, top, right, bottom = (int(number) for number in match.groups())
    return left, top, right, bottom


def run(args: argparse.Namespace) -> int:
    if args.out is None:
        raise ConfigError("--out: missing; a path such as merged.png accepted")
    from recast.cli.job import place_of
    from recast.cli.output import check_places, say
    from recast.retouch.merge import merge
    from recast.retouch.original import check_format, read_original

    if args.out == "-":
        raise ConfigError(
            "--out=-: a merge leaves a picture and its parts; a path such as merged.png accepted; name one"
        )
    if args.before == args.after == "-":
        raise ConfigError("BEFORE, AFTER: both -; one of them accepted from stdin; give the path of the other")
    if args.mask_mode != "auto" and not (args.mask or args.take):
        raise ConfigError(f"--mask-mode={args.mask_mode}: reads --mask and --take, and neither came; leave it out")
    check_format(args.out)
    parts = parts_folder(args)
    check_places([args.out, *([args.report] if args.report else [])], [args.before, args.after])
    check_parts(parts)
    if parts is not None and parts.resolve() in {Path(each).resolve() for each in (args.out, args.report) if each}:
        raise ConfigError(f"--parts={str(parts)!r}: two results would go there; choose another name")
    places = {"BEFORE": args.before, "AFTER": args.after}
    source, edited = (
        read_original(place_of(path, name) if path == "-" else path, name=name) for name, path in places.items()
    )
    made = merge(source, edited, **constraints(args, source), look=args.look)
    notes = write(made, args.out, parts)
    if args.report:
        write_json(args.report, made.report)
    notes = [*made.warnings, *notes]
    if not args.quiet:
        say(summary(made))
    for note in notes:
        say(f"warning: {note}")
    if args.json:
        print(
            json.dumps({"path": args.out, "parts": parts and str(parts), **made.report}, ensure_ascii=False, indent=2)
        )
    else:
        print(args.out)
    return Exit.GATE if made.certificate is None else Exit.DONE


def constraints(args: argparse.Namespace, source: Original) -> dict[str, Any]:
    """The arguments of `merge` that say where, from the flags; reads the masks."""
    from recast.pixels.mask import read_mask
    from recast.retouch.detectors import KNOWN, load_detectors

    size = {"width": source.width, "height": source.height}
    return {
        "mask": read_mask(args.mask, mode=args.mask_mode, name="--mask", **size) if args.mask else None,
        "boxes": tuple(args.box or ()),
        "take": read_mask(args.take, mode=args.mask_mode, name="--take", **size) if args.take else None,
        "is_strict": args.strict,
        "detectors": load_detectors({name: getattr(args, name) for name in KNOWN}, os.environ),
    }


def parts_folder(args: argparse.Namespace) -> Path | None:
    """Where the parts go; None for nowhere."""
    if args.parts == "none":
        return None
    return Path(args.parts) if args.parts else Path(args.out).with_suffix(".parts")


def check_parts(parts: Path | None) -> None:
    """Raise ConfigError if something that is no parts lies there."""
    if parts is not None and parts.exists() and not (parts / "parts.json").is_file():
        raise ConfigError(
            f"--parts={str(parts)!r}: something else is there; a new folder accepted; choose another name"
        )


def write(made: Merge, path: str, parts: Path | None) -> list[str]:
    """The result and its parts on disk; what a reader of the notes should know."""
    notes = made.write(path)
    if parts is not None and made.certificate is not None:
        made.write_parts(parts)
    return notes


def write_json(path: str, data: Any) -> None:
    """JSON in a file, whole or not at all."""
    from recast.cli.output import write_text

    write_text(Path(path), json.dumps(data, ensure_ascii=False, indent=2) + "\n", "--report")


def summary(made: Merge) -> str:
    """What came of a merge, in a line."""
    if made.certificate is None:
        return f"{made.verdict}: {made.reason}; nothing was kept, the edit was written as it is"
    kept, of = made.certificate.preserved, made.source.width * made.source.height
    regions = len(made.regions)
    rejected = sum(not region.is_accepted for region in made.regions)
    told = f"{regions} region{'s' if regions != 1 else ''}" + (
        f", {rejected} not asked for and left out" if rejected else ""
    )
    reason = f" ({made.reason})" if made.reason else ""
    return (
        f"{made.verdict}{reason}: {told}; {kept:,} of {of:,} pixels ({kept / of:.1%}) are the source's, byte for byte"
    )
