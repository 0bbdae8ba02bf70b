"""`recast thumbnails`: from a brief to a checked set."""

from __future__ import annotations

import argparse
from typing import NamedTuple

from recast.cli.options import add_model, add_report
from recast.errors import ConfigError

HELP = """Make thumbnails that differ in one thing, with the same face on all, and check them (docs/thumbnails.md).

  recast thumbnails new      robot                        a folder with brief.yaml and brand.yaml to fill in
  recast thumbnails learn    past/*.jpg --out robot       a brand kit from past thumbnails, to edit
  recast thumbnails concepts robot/brief.yaml             ideas for base pictures and levels
  recast thumbnails make     robot/brief.yaml             base, variants, lettering, checks, rank, files, a mock feed
  recast thumbnails check    any.png --kit brand.yaml     what is wrong with any picture, and what to do
  recast thumbnails improve  robot/set                    titles that are lost where small, set again beside the set
  recast thumbnails list     robot/set                    a finished set again
  recast thumbnails animate  robot/set                    a short loop through the variants, WebP and MP4
  recast thumbnails results  robot/set night=38 beach=34  watch-time shares of a finished test, to learn from
  recast thumbnails learned  robot                        what the channel's tests say so far
  recast thumbnails upload   robot/set night --video ID --credentials token.json
  recast thumbnails calibrate people --faces auraface:glintr100.onnx --detector yunet.onnx

`make` goes on where an earlier call, finished or killed, has left it; Ctrl-C stops and keeps what is finished."""


class What(NamedTuple):
    """The words and options of one thing to do, beside those that all have. most: None for any number of words."""

    words: str
    least: int
    most: int | None
    options: tuple[str, ...] = ()


MODEL = ("model", "variant", "device", "dtype", "lora", "plan", "vram", "approximate")
SEEING = ("faces", "detector", "read", "calibration")
FILES = ("model", "variant")
"""By which the checks know whose people a picture shows."""
WHAT = {
    "new": What("FOLDER", 1, 1),
    "learn": What("PICTURE ...", 1, None, ("out", "name", *SEEING, *FILES)),
    "concepts": What("BRIEF", 1, 1, ("count",)),
    "make": What("BRIEF", 1, 1, ("out", "until", "together", "context", *SEEING, *MODEL)),
    "check": What("PICTURE ...", 1, None, ("kit", "text", "character", "profile", "overlay", *SEEING, *FILES)),
    "improve": What("SET [VARIANT ...]", 1, None, ("out", "kit", "text", *SEEING, *FILES)),
    "list": What("SET", 1, 1),
    "animate": What("SET [VARIANT ...]", 1, None, ("out", "seconds", "fps", "width", "limit", *MODEL)),
    "results": What("SET VARIANT=SHARE ...", 2, None, ("channel", "impressions")),
    "learned": What("CHANNEL", 1, 1, ()),
    "upload": What("SET VARIANT", 2, 2, ("video", "credentials", "endpoint", "yes", "again")),
    "calibrate": What("FOLDER", 1, 1, ("out", "faces", "detector")),
}
EVERY = ("what", "words", "json", "quiet", "traceback")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast thumbnails WHAT ... [options]"
    parser.add_argument("what", metavar="WHAT", help=f"one of {', '.join(WHAT)}")
    parser.add_argument("words", metavar="...", nargs="*", help="the folder, brief, pictures or set that it is about")
    parser.add_argument(
        "-o", "--out", metavar="PATH",
        help="make: the set's folder (usual: NAME beside NAME.yaml; set for brief.yaml); learn: the kit's folder; "
        "improve: the folder (usual: SET-improved); animate: the .webp or .mp4 file (usual: loop.webp in the set); "
        "calibrate: the file",
    )  # fmt: skip
    group = parser.add_argument_group("make (by --plan auto, unless told otherwise)")
    group.add_argument("--until", metavar="STAGE", help="stop after concepts, base, variants, designs, checks or rank")
    group.add_argument("--together", type=int, metavar="N", help="variants in one request (usual: 10)")
    group.add_argument(
        "--context", choices=("cached", "full"), metavar="HOW",
        help="cached looks at the base once for all steps and variants, full at every step; usual: cached for nano, "
        "as trained for others",
    )  # fmt: skip
    group = parser.add_argument_group("check, improve, learn, concepts")
    group.add_argument(
        "--kit", metavar="PATH", help="check: hold the picture to this brand.yaml; improve: of a single picture"
    )
    group.add_argument(
        "--text", metavar="WORDS",
        help="check: the title it should show; usual: whatever is read; improve: to set over a single picture",
    )  # fmt: skip
    group.add_argument("--character", action="append", metavar="ID", help="check: of the kit, must show; repeat")
    group.add_argument("--profile", metavar="NAME", help="check: where it goes (usual: youtube-portable)")
    group.add_argument("--overlay", metavar="PATH", help="check: draw what was found over the picture, into this file")
    group.add_argument("--name", metavar="NAME", help="learn: of the channel (usual: the folder's)")
    group.add_argument("--count", type=int, metavar="N", help="concepts: how many (usual: 6)")
    group = parser.add_argument_group("what the checks look with")
    group.add_argument(
        "--faces", metavar="HOW",
        help="world, auraface:FILE or none; usual: world with nano, else none",
    )  # fmt: skip
    group.add_argument("--detector", metavar="FILE", help="YuNet's ONNX file, with auraface")
    group.add_argument("--calibration", metavar="FILE", help="of the recogniser, as `calibrate` writes it")
    group.add_argument("--read", metavar="HOW", help="rapidocr or none; usual: rapidocr where it is installed")
    group = parser.add_argument_group("results, animate, upload")
    group.add_argument("--channel", metavar="FILE", help="results: where the channel's tests are kept")
    group.add_argument("--impressions", type=int, metavar="N", help="results: of all variants together")
    group.add_argument("--seconds", type=float, metavar="S", help="animate: length, 3 to 6 (usual: 4)")
    group.add_argument("--fps", type=int, metavar="N", help="animate: frames a second, 6 to 30 in sixes (usual: 12)")
    group.add_argument("--width", type=int, metavar="PX", help="animate: of the loop (usual: 640)")
    group.add_argument("--limit", type=float, metavar="MB", help="animate: of the file (usual: 5 for WebP, 8 for MP4)")
    group.add_argument("--video", metavar="ID", help="upload: the video's id")
    group.add_argument("--credentials", metavar="FILE", help="upload: your own OAuth token, as JSON")
    group.add_argument("--endpoint", metavar="URL", help="upload: another server of the same API")
    group.add_argument("--yes", action="store_true", help="upload: do it; without it the request is only printed")
    group.add_argument("--again", action="store_true", help="upload: also what the video was sent last")
    add_model(parser)
    add_report(parser)


def run(args: argparse.Namespace) -> int:
    from recast.cli import thumbnails_work

    if args.what not in WHAT:
        raise ConfigError(f"{args.what!r}: {', '.join(WHAT)} accepted; see `recast thumbnails --help`")
    what = WHAT[args.what]
    count = len(args.words)
    if count < what.least or (what.most is not None and count > what.most):
        raise ConfigError(f"thumbnails {args.what}: {count} words came; {what.words} accepted")
    allowed = {*what.options, *EVERY}
    strange = [name for name, value in vars(args).items() if name not in allowed and is_given(value)]
    if strange:
        shown = ", ".join("--" + name.replace("_", "-") for name in strange)
        raise ConfigError(f"{shown}: not for `thumbnails {args.what}`; leave it out; see `recast thumbnails --help`")
    return thumbnails_work.DO[args.what](args)


def is_given(value: object) -> bool:
    """Whether a flag was passed: 0 is a value like any other."""
    return value is not None and value is not False and value != []
