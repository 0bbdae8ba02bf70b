"""`recast thumbnails improve`: titles that do not hold at 168 pixels are set again, beside what was there."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.alone import alone
from recast.cli.main import Exit
from recast.cli.output import print_json, say
from recast.cli.progress import Progress
from recast.cli.thumbnails_said import MARK
from recast.cli.thumbnails_tools import sight_of
from recast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recast.thumbnails.beside import Start
    from recast.thumbnails.findings import Finding
    from recast.thumbnails.improve import Improved
    from recast.thumbnails.seeing import Sight


def improve(args: argparse.Namespace) -> Exit:
    """Set titles again, and say what was changed; GATE where one still fails."""
    from recast.thumbnails import beside
    from recast.thumbnails.findings import is_failed

    first = Path(args.words[0])
    is_set = first.is_dir()
    whole = first.resolve()  # "." has no name
    out = Path(args.out) if args.out else whole.with_name(f"{whole.name if is_set else whole.stem}-improved")
    sight = sight_of(args)
    rows: list[dict[str, Any]] = []
    done: list[tuple[Start, Improved | None]] = []
    with Progress(quiet=args.quiet) as progress:
        progress.note("looking at the titles")
        starts = list(_starts(args, sight))
        beside.check_free(out, [each.name for each in starts])
        with _held(out) if any(each.design for each in starts) else nullcontext():
            for i, start in enumerate(starts):
                done.append((start, start.improved(sight)))
                progress.step(i + 1, len(starts))
            new = {
                start.name: made
                for start, made in done
                if made is not None and (made.design is not start.design or not is_set)
            }
            beside.check_free(out, list(new))  # again: another may have written meanwhile
            for start, made in done:
                files = beside.write(out, start.name, new[start.name], start.profile) if start.name in new else ()
                rows.append(_row(start, made, [path.name for path in files]))
            if new:
                beside.report(out, rows)
    if args.json:
        print_json({"folder": str(out) if new else None, "designs": rows})
    else:
        _say(rows, out, is_set=is_set)
        for why in () if args.quiet else dict.fromkeys(_unseen(done)):
            say(why)
    failed = any(made is not None and is_failed(made.after) for _, made in done)
    return Exit.GATE if failed else Exit.DONE


def _held(out: Path) -> AbstractContextManager[None]:
    """The folder for this process alone, from before the titles are tried, which takes long, to the last file.

    It stays, empty, where nothing better is found: to remove a lock could take another's away.
    """
    cure = "wait for it, or name another folder with --out"
    return alone(out, "folder of titles set again", needs_locks=False, cure=cure)


def _starts(args: argparse.Namespace, sight: Sight) -> Iterator[Start]:
    from recast.thumbnails import beside
    from recast.thumbnails.kit import read_kit

    first, *more = args.words
    if Path(first).is_dir():
        for flag in ("kit", "text"):
            if getattr(args, flag) is not None:
                raise ConfigError(f"--{flag}: not for a set, which has its own; leave it out, or name a picture")
        yield from beside.of_set(Path(first), more, sight)
        return
    if more:
        raise ConfigError(f"{len(args.words)} words came; a set and its variants, or one picture, accepted")
    missing = [f"--{flag}" for flag in ("kit", "text") if not getattr(args, flag)]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)}: missing; a picture needs --kit brand.yaml and --text WORDS, the title to set; "
            "the folder of a finished set needs neither"
        )
    yield beside.of_picture(Path(first), args.text, read_kit(Path(args.kit)), sight)


def _row(start: Start, made: Improved | None, files: list[str]) -> dict[str, Any]:
    if made is None:
        return {"name": start.name, "changes": [], "tries": 0, "before": [], "after": [], "files": []}
    return {
        "name": start.name,
        "changes": list(made.changes),
        "tries": made.tries,
        "before": [each.to_dict() for each in made.before],
        "after": [each.to_dict() for each in made.after],
        "files": files,
    }


def _say(rows: list[dict[str, Any]], out: Path, *, is_set: bool) -> None:
    if not rows:
        print("every title holds at 168 pixels; nothing to do; name a variant to look at it all the same")
    for row in rows:
        before, after = _wrong(row["before"]), _wrong(row["after"])
        if not row["before"]:
            print(f"{row['name']}: has no title")
        elif not before:
            print(f"{row['name']}: holds at 168 pixels")
        elif not row["changes"]:
            print(f"{row['name']}: {before}; nothing better in {row['tries']} tries")
        else:
            print(f"{row['name']}: {before} → {after or 'holds'}; {'; '.join(row['changes'])}")
        for file in row["files"]:
            print(f"  {out / file}")
    if is_set and any(row["files"] for row in rows):
        print(f"the set is as it was; {out / 'improved.json'} has the numbers")


def _wrong(findings: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['check']} {MARK[each['verdict']]}" for each in findings if each["verdict"] in _BAD)


_BAD = ("fail", "warn")


def _unseen(done: list[tuple[Start, Improved | None]]) -> Iterator[str]:
    """What the tries were not held to, each reason once."""
    findings: list[Finding] = [each for _, made in done if made is not None for each in made.after]
    for each in findings:
        if each.verdict == "absent":
            yield f"{each.check} not looked at: {each.says}"
