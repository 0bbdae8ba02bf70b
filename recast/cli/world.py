"""`recast world`: look at the procedural world, write training pairs from it, and its frozen benchmarks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.cli.options import width_height
from recast.errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np

HELP = """A drawn world where the truth about every pixel is known: look at it, train on it, measure with it.

  recast world show --seed 7 --count 24 --out sheet.png
  recast world show --pairs --seed 7 --count 6 --out edits.png
  recast world pairs --out shards --count 10000
  recast world suite --name worldbench-1 --out worldbench-1

show draws a contact sheet. pairs writes WebDataset shards: tar files of source, target, mask and words (docs/world.md).
suite writes a frozen benchmark and prints its hash; a model must not be trained on what it holds."""

WHAT = {
    "show": ("out", "seed", "count", "size", "split", "kind", "pairs"),
    "pairs": ("out", "seed", "count", "size", "split", "kind"),
    "suite": ("out", "name"),
    "held-out": (),
}
"""What there is to do, and the options that each has, beside those of EVERY."""
EVERY = ("json", "quiet", "traceback")
SPLITS = ("train", "held out", "any")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast world show|pairs|suite|held-out [options]"
    parser.add_argument("what", metavar="WHAT", help=f"one of {', '.join(WHAT)}")
    parser.add_argument("--out", metavar="PATH", help="a picture (show), or a new folder (pairs, suite)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the first scene (usual: 0)")
    parser.add_argument("--count", type=int, metavar="N", help="how many scenes or pairs (usual: 24 for show)")
    parser.add_argument("--size", type=width_height, metavar="WxH", help="of each picture (usual: 256x256)")
    parser.add_argument("--split", metavar="NAME", help="train (usual), held out, or any")
    parser.add_argument("--kind", metavar="NAME", help="cartoon, photo or sheet; of pairs: a kind of edit")
    parser.add_argument("--pairs", action="store_true", help="show: edits, with source, instruction and answer")
    parser.add_argument("--name", metavar="NAME", help="suite: which (usual: worldbench-1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    if args.what not in WHAT:
        raise ConfigError(f"{args.what!r}: {', '.join(WHAT)} accepted")
    if args.split is not None and args.split not in SPLITS:
        raise ConfigError(f"--split {args.split!r}: {', '.join(SPLITS)} accepted")
    if args.count is not None and args.count < 1:
        raise ConfigError(f"--count {args.count}: at least 1 accepted")
    _check_options(args)
    if args.what == "held-out":
        return _held_out()
    if args.out is None:
        raise ConfigError("--out: missing; a path such as sheet.png, or a folder, accepted")
    return {"show": _show, "pairs": _pairs, "suite": _suite}[args.what](args)


def _check_options(args: argparse.Namespace) -> None:
    """Raise ConfigError for an option that means nothing to what is to be done, and for an edit there is not."""
    has = WHAT[args.what]
    for name, value in vars(args).items():
        if name not in ("what", *has, *EVERY) and value is not None and value is not False:
            accepted = ", ".join(f"--{each}" for each in has) or "no option"
            raise ConfigError(
                f"--{name}: means nothing to `recast world {args.what}`; {accepted} accepted; leave it out"
            )
    if args.kind is not None and (args.what == "pairs" or args.pairs):
        from recast.world.edits import KINDS

        known = [each for kinds in KINDS.values() for each in kinds]
        if args.kind not in known:
            raise ConfigError(f"--kind {args.kind!r}: no such edit; accepted: {', '.join(known)}")


def _folder(args: argparse.Namespace) -> Path:
    """--out, which may become a folder. Raises InputError where a file is in the way."""
    out = Path(args.out)
    for each in (out, *out.parents):
        if each.exists() and not each.is_dir():
            raise InputError(f"--out {args.out}: {each} is a file; a folder, new or empty, accepted; name another")
    return out


def _show(args: argparse.Namespace) -> int:
    """A contact sheet of scenes, or of edits with their words."""
    from recast.pixels import image
    from recast.world import contact

    seed = args.seed or 0
    width, height = args.size or (256, 256)
    options: dict[str, Any] = {"width": width, "height": height, "split": args.split or "train", "kind": args.kind}
    sheet: np.ndarray
    if args.pairs:
        sheet = contact.edits(seed, args.count or 6, **options)
    else:
        sheet = contact.scenes(seed, args.count or 24, **options)
    image.write(sheet, args.out)
    return _print(args, {"out": args.out, "width": sheet.shape[1], "height": sheet.shape[0]}, args.out)


def _pairs(args: argparse.Namespace) -> int:
    from recast.cli.progress import Progress
    from recast.world import shards

    if args.count is None:
        raise ConfigError("--count: missing; how many pairs, as --count 10000")
    width, height = args.size or (256, 256)
    out, split = _folder(args), args.split or "train"
    with Progress(quiet=args.quiet) as progress:
        progress.note("drawing")
        for done, of in shards.write_pairs(
            out, args.count, seed=args.seed or 0, width=width, height=height, split=split, kind=args.kind
        ):
            progress.step(done, of)
    written = [str(path) for path in shards.paths(out, args.count)]
    return _print(args, {"shards": written, "pairs": args.count}, "\n".join(written))


def _suite(args: argparse.Namespace) -> int:
    from recast.cli.main import Exit
    from recast.cli.progress import Progress
    from recast.quality import build, suites

    name, out = args.name or "worldbench-1", _folder(args)
    with Progress(quiet=args.quiet) as progress:
        progress.note("drawing")
        for done in build.write(name, out):
            progress.note(f"{done} items")
    suite = suites.load(out)
    expected = build.HASHES.get(name)
    about = {"name": name, "items": len(suite.items), "sha256": suite.sha256, "expected": expected, "out": args.out}
    _print(args, about, f"{name}: {len(suite.items)} items, sha256 {suite.sha256}")
    if expected not in (None, suite.sha256):
        print(
            f"recast: {name}: sha256 {expected} expected: its pictures came out otherwise on this machine, and what is "
            "measured on it cannot be compared; install the pinned libraries of constraints.txt",
            file=sys.stderr,
        )
        return Exit.GATE
    return Exit.DONE


def _held_out() -> int:
    from recast.cli.output import print_json
    from recast.world.heldout import listing

    print_json(listing())
    return 0


def _print(args: argparse.Namespace, data: dict[str, Any], text: str) -> int:
    from recast.cli.output import print_json

    if args.json:
        print_json(data)
    else:
        print(text)
    return 0
