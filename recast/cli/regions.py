"""`recast regions`: the changes of a merge, one by one; take some back, or in again, at any time."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from recast.cli.main import Exit
from recast.cli.options import add_report
from recast.errors import ConfigError, InputError

if TYPE_CHECKING:
    from recast.recipe import Recipe
    from recast.retouch.regions import Parts

SAME_LEVELS = 12
"""A lossy copy is off by less in the means of 16 x 16 pixels; two different merges are by more in some of them."""
HELP = """List the regions of change in a merged picture, and take some back or in again.

  recast regions merged.png
  recast regions merged.png --reject 2,3
  recast regions merged.png --only 1 --out only-the-first.png

RESULT is the merged picture, or the folder of parts that `recast merge` and `recast edit` keep beside it. A picture's
recipe goes into what is written, and says which regions are left out; a folder of parts holds none."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast regions RESULT [--accept IDS] [--reject IDS] [--only IDS] [--out PATH] [options]"
    parser.add_argument("result", metavar="RESULT", help="the merged picture, or its folder of parts")
    parser.add_argument("--accept", type=ids, metavar="IDS", help="regions to take in, as 1,4; all takes every one")
    parser.add_argument("--reject", type=ids, metavar="IDS", help="regions to leave as they were in the source")
    parser.add_argument("--only", type=ids, metavar="IDS", help="take these and no others")
    parser.add_argument(
        "-o",
        "--out",
        metavar="PATH",
        help="where to write the picture; usual: over the merged picture that RESULT names, if it is still that merge",
    )
    parser.add_argument(
        "--quality",
        type=int,
        metavar="1-100",
        help="of a lossy picture; usual: a JPEG keeps its own, and WebP without it is lossless",
    )
    add_report(parser)


def ids(text: str) -> tuple[int, ...] | str:
    """Numbers separated by commas, or "all"."""
    if text == "all":
        return text
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: numbers of regions separated by commas accepted, as 2,3; or all")
    return tuple(int(number) for number in text.split(","))


def run(args: argparse.Namespace) -> int:
    if "only" in _given(args) and len(_given(args)) > 1:
        raise ConfigError("--only: says all there is to say; leave --accept and --reject out")
    both = set(args.accept or ()) & set(args.reject or ()) if "all" not in (args.accept, args.reject) else set()
    if both:
        raise ConfigError(f"--accept, --reject: region {min(both)} in both; one of them accepted; leave it out of one")
    from recast.cli.output import check_places, print_json, say
    from recast.retouch.original import check_format
    from recast.retouch.regions import read_parts
    from recast.retouch.written import with_regions

    if args.quality is not None and not (_given(args) or args.out):
        raise ConfigError("--quality: says how to write, and nothing is written; leave it out, or say what to change")
    folder, picture = _places(args.result)
    parts = read_parts(folder)
    every = [region.id for region in parts.regions]
    chosen = {region.id for region in parts.regions if region.is_accepted}
    for name in _given(args):
        named = getattr(args, name)
        group = every if named == "all" else named
        strange = sorted(set(group) - set(every))
        if strange:
            raise InputError(f"--{name}: no region {strange[0]} in {str(folder)!r}; {every} accepted")
        chosen = chosen | set(group) if name == "accept" else chosen - set(group) if name == "reject" else set(group)
    out = args.out or (str(picture) if picture else None)
    if _given(args) or args.out:
        if out is None:
            raise ConfigError(f"--out: missing; {str(folder)!r} does not say where its picture lies; name one")
        check_format(out, args.quality)
        check_places([out], [])
        is_over = picture is not None and Path(out).exists() and picture.exists() and os.path.samefile(out, picture)
        _check_over(Path(out), parts, is_implied=args.out is None)
        carrying = picture if picture is not None and picture.exists() else None
        quality = _quality(args.quality, carrying, Path(out))
        recipe, lost = _recipe(carrying, parts, args.result)
        is_chosen = chosen != set(parts.accepted)
        parts = parts.accepting(chosen)
        if recipe is not None and is_chosen:
            recipe = with_regions(recipe, parts.merged(), parts.regions)
        notes = [*lost, *parts.write(out, recipe=None if recipe is None else recipe.to_json(), quality=quality)]
        if args.out is None or is_over:
            parts.keep()
        for note in notes:
            say(f"warning: {note}")
    if args.json:
        print_json({"path": out, "regions": [region.to_dict() for region in parts.regions]})
        return Exit.DONE
    if _given(args) or args.out:
        print(out)
    else:
        for region in parts.regions:
            left, top, right, bottom = region.box
            taken = "taken" if region.is_accepted else "left as it was"
            print(f"{region.id:3d}  {left},{top},{right},{bottom}  {region.area} px  dE {region.delta_e}  "
                  f"{region.kind}{', '.join(('', *region.contains))}  {taken}")  # fmt: skip
    return Exit.DONE


def _given(args: argparse.Namespace) -> list[str]:
    """The flags that change something, in the order they act."""
    return [name for name in ("only", "accept", "reject") if getattr(args, name) is not None]


def _quality(asked: int | None, picture: Path | None, out: Path) -> int | None:
    """The quality to write with: as asked for, or that of the picture where both are of one format.

    Raises InputError for a lossy picture that does not say its own.
    """
    from recast.pixels.image import WRITE
    from recast.retouch.written import quality_of

    if asked is not None or picture is None:
        return asked
    kinds = {WRITE.get(each.suffix.lower().removeprefix(".")) for each in (picture, out)}
    return quality_of(picture, name="RESULT") if len(kinds) == 1 else None


def _recipe(picture: Path | None, parts: Parts, result: str) -> tuple[Recipe | None, list[str]]:
    """The recipe that a picture carries of the merge that parts describe, and why there is none where one is lost."""
    from recast.retouch.written import recipe_of

    if picture is None:
        return None, [f"RESULT={result!r}: no picture, so what was written has no recipe; name the picture to keep its"]
    recipe = recipe_of(picture, name="RESULT")
    if recipe is None or recipe.output_sha256 == parts.merged().picture().sha256():
        return recipe, []
    return None, [
        f"RESULT={result!r}: carries the recipe of another picture than the merge whose parts lie in "
        f"{str(parts.folder)!r}, so what was written has none; edit again to have one"
    ]


def _check_over(out: Path, parts: Parts, *, is_implied: bool) -> None:
    """Raise InputError if writing to `out` would lose a source, an edit, or, unless it was named, another picture."""
    if parts.folder.resolve() in out.resolve().parents:
        raise InputError(f"--out={str(out)!r}: lies in the folder of parts, which holds what it has to; name another")
    if not out.exists():
        return
    for role in ("source", "edit"):
        file = parts.path(role)
        if out.stat().st_size == file.stat().st_size and out.read_bytes() == file.read_bytes():
            raise InputError(
                f"output={str(out)!r}: is the {role} of this merge, and would be lost; a merged picture or a new file "
                "accepted; name one with --out"
            )
    if is_implied and not _is_merge(out, parts):
        raise InputError(
            f"RESULT={str(out)!r}: is not the merge whose parts lie in {str(parts.folder)!r}, or was changed since, "
            "and would be lost; that merge accepted; write to another file with --out, or merge again"
        )


def _is_merge(picture: Path, parts: Parts) -> bool:
    """Whether a picture shows the merge that parts describe: sample by sample, or nearly if its format is lossy."""
    import cv2
    import numpy as np

    from recast.retouch.original import read_original

    found, made = read_original(picture, name="RESULT"), parts.merged()
    if found.samples.shape != made.samples.shape or found.depth != made.depth:
        return False
    if np.array_equal(found.samples, made.samples):
        return True
    if found.format not in ("JPEG", "WEBP"):
        return False
    size = max(1, made.width // 16), max(1, made.height // 16)
    one, other = (cv2.resize(each.srgb8(), size, interpolation=cv2.INTER_AREA) for each in (found, made))
    return int(cv2.absdiff(one, other).max()) <= SAME_LEVELS


def _places(result: str) -> tuple[Path, Path | None]:
    """The folder of parts, and the picture beside it if RESULT is one."""
    path = Path(result)
    if path.is_dir():
        return path, None
    folder = path.with_suffix(".parts")
    if not folder.is_dir():
        raise InputError(
            f"RESULT={result!r}: no regions are kept beside it (no folder {str(folder)!r}); a picture merged without "
            "--parts none accepted, or the folder itself; merge again, or name it"
        )
    return folder, path
