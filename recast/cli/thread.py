"""`recast thread`: a tree of edits in one folder."""

from __future__ import annotations

import argparse
import re
from typing import NamedTuple

from recast.cli.edit import model_size
from recast.cli.job import named_path
from recast.cli.merge import box
from recast.cli.options import add_model, add_report, add_sampling
from recast.errors import ConfigError

HELP = """Edit a picture again and again. A thread is a tree of edits in one folder: nothing is overwritten, every edit
can be gone back to, and what no edit was meant to change is still the first picture's (docs/threads.md).

  recast thread new    trip photo.png               begin with a picture
  recast thread edit   trip "make it night"         edit the last picture of the current branch
  recast thread edit   trip "make it snow" --at root --branch snow
  recast thread branch trip calm --at 4kd0          make a branch that ends at a node, or go to one that is there
  recast thread list   trip                         every node, with its drift against the first picture
  recast thread show   trip 4kd0 --out now.png      what is known of a node, and its picture
  recast thread diff   trip root main --out map.png
  recast thread regions trip 4kd0 --reject 2,3      the same edit without its regions 2 and 3
  recast thread replay trip main --on other.png     the same instructions on another picture
  recast thread rebake trip main --passes 2         all its instructions on the first picture, in two passes
  recast thread rename trip snow winter
  recast thread note   trip main "this one"
  recast thread prune  trip snow --yes              remove a branch; without a name, files that nothing needs
  recast thread export trip --out trip.zip
  recast thread import trip.zip copy
  recast thread check  trip                         every row and every file against its hash

A NODE is its id, the first four letters of it or more, root, or a branch, which stands for its last node."""


class What(NamedTuple):
    """The words and options of one thing to do, beside those that all have. most: None for any number of words."""

    words: str
    least: int
    most: int | None
    options: tuple[str, ...] = ()


EDITING = (
    "references", "preserve", "context", "size", "carry", "root", "give_back", "negative_prompt", "steps",
    "guidance", "true_guidance", "sampler", "times", "seed", "num_images", "batch_size", "model", "variant", "device",
    "dtype", "lora", "plan", "vram", "approximate", "out",
)  # fmt: skip
WHAT = {
    "new": What("FOLDER PICTURE", 2, 2),
    "edit": What("FOLDER INSTRUCTION", 2, 2, (*EDITING, "at", "branch", "mask", "mask_mode", "box")),
    "branch": What("FOLDER NAME", 2, 2, ("at",)),
    "list": What("FOLDER", 1, 1),
    "show": What("FOLDER [NODE]", 1, 2, ("out", "raw")),
    "diff": What("FOLDER NODE NODE", 3, 3, ("out",)),
    "regions": What("FOLDER NODE", 2, 2, ("accept", "reject", "branch", "out")),
    "replay": What("FOLDER BRANCH", 2, 2, (*EDITING, "on", "branch", "drop_places")),
    "rebake": What("FOLDER NODE", 2, 2, (*EDITING, "passes", "branch", "drop_places")),
    "rename": What("FOLDER BRANCH NAME", 3, 3),
    "note": What("FOLDER NODE TEXT", 3, 3),
    "prune": What("FOLDER [BRANCH ...]", 1, None, ("yes", "dry_run")),
    "export": What("FOLDER", 1, 1, ("out",)),
    "import": What("FILE FOLDER", 2, 2),
    "check": What("FOLDER", 1, 1),
}
EVERY = ("what", "words", "json", "quiet", "traceback")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast thread WHAT FOLDER ... [options]"
    parser.add_argument("what", metavar="WHAT", help=f"one of {', '.join(WHAT)}")
    parser.add_argument("words", metavar="...", nargs="*", help="the folder of the thread, and what it is about")
    parser.add_argument("--at", metavar="NODE", help="edit, branch: where to start; usual: the current branch's last")
    parser.add_argument("--branch", metavar="NAME", help="the name of the new branch; of edit also one that ends there")
    parser.add_argument("--on", metavar="PATH", help="replay: the other picture")
    parser.add_argument("--passes", type=int, metavar="N", help="rebake: how many edits the instructions become")
    parser.add_argument(
        "--drop-places", action="store_true", help="replay, rebake: leave out masks and boxes; usual: keep them"
    )
    parser.add_argument("--accept", type=_ids, metavar="N,N,...", help="regions: take these as well")
    parser.add_argument("--reject", type=_ids, metavar="N,N,...", help="regions: leave these as they were before")
    parser.add_argument("--raw", action="store_true", help="show: --out writes the edit as it was before its merge")
    parser.add_argument("--yes", action="store_true", help="prune: do it without asking")
    parser.add_argument("--dry-run", action="store_true", help="prune: say what would go, and stop")
    parser.add_argument(
        "-o", "--out", metavar="PATH", help="a picture: the last one made, the node's, or of diff the difference, "
        "black to white for a CIEDE2000 of 0 to 20; of export the file"
    )  # fmt: skip
    group = parser.add_argument_group("edit, replay, rebake (of the last two: for all edits, instead of their own)")
    group.add_argument(
        "--image", dest="references", action="append", type=_unnamed, metavar="PATH",
        help='a further picture, "image 2" in the instruction; repeat for more',
    )  # fmt: skip
    group.add_argument(
        "--ref", dest="references", action="append", type=named_path, metavar="NAME=PATH",
        help="a further picture, @NAME in the instruction; repeat for more",
    )  # fmt: skip
    for flag, choices, text in (
        ("--preserve", ("auto", "strict", "off"), "how the rest is kept, as of `recast edit`"),
        ("--context", ("auto", "whole", "crop"), "what the model sees, as of `recast edit`"),
        ("--carry", ("on", "off"), "whether tokens of what was left alone go on to the next turn; usual: on"),
        ("--root", ("on", "off"), "whether the first picture rides along as one context image more; usual: off"),
        ("--give-back", ("on", "off"), "whether what the autoencoder loses is added back to what was left alone; "
         "usual: on; nothing is with --preserve off"),
        ("--mask-mode", ("auto", "white", "alpha"), "how to read --mask, as of `recast edit`"),
    ):  # fmt: skip
        group.add_argument(flag, choices=choices, metavar="HOW", help=text)
    group.add_argument(
        "--size", type=model_size, metavar="HOW",
        help="what the model works at: auto (usual), source, trained or WxH; a node keeps its picture's own size",
    )  # fmt: skip
    group.add_argument("--mask", metavar="PATH", help="edit: a picture of the same size, white where it may change")
    group.add_argument(
        "--box", action="append", type=box, metavar="X0,Y0,X1,Y1", help="edit: a rectangle that may change; repeat"
    )
    add_sampling(parser)
    add_model(parser)
    add_report(parser.add_argument_group("output"))


def run(args: argparse.Namespace) -> int:
    what = WHAT.get(args.what)
    if what is None:
        raise ConfigError(f"{args.what!r}: {', '.join(WHAT)} accepted; see `recast thread --help`")
    if len(args.words) < what.least or (what.most is not None and len(args.words) > what.most):
        came = " ".join(args.words) or "nothing"
        raise ConfigError(f"{came}: came; {what.words} accepted by `recast thread {args.what}`; see its --help")
    for name, value in vars(args).items():
        if name not in (*EVERY, *what.options) and value is not None and value is not False:
            raise ConfigError(f"--{name.replace('_', '-')}: means nothing to `recast thread {args.what}`; leave it out")
    from recast.cli import thread_work

    return thread_work.DO[args.what](args)


def _unnamed(text: str) -> tuple[None, str]:
    return None, text


def _ids(text: str) -> list[int]:
    if re.fullmatch(r"\d+(,\d+)*", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers separated by commas accepted, as 2,3")
    return [int(number) for number in text.split(",")]
