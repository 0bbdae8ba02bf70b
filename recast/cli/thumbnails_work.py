"""What each of the commands of `recast thumbnails` does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.cli.main import Exit
from recast.cli.output import print_json, say
from recast.cli.progress import Progress
from recast.cli.thumbnails_after import animate, upload
from recast.cli.thumbnails_improve import improve
from recast.cli.thumbnails_results import learned, results
from recast.cli.thumbnails_said import say_listed, say_made, say_so_far
from recast.cli.thumbnails_tools import certificate_of, sight_of, tools
from recast.errors import ConfigError, InputError

if TYPE_CHECKING:
    from recast.thumbnails.delivery import Finished
    from recast.thumbnails.findings import Finding
    from recast.thumbnails.kit import Kit

MADE = (
    "base.png",
    "free.png",
    "contact.png",
    "feed.html",
    "manifest.json",
    "variants",
    "candidates",
    "in-scene",
    "export",
)
"""What a set's folder has, beside the records of its stages."""


def new(args: argparse.Namespace) -> Exit:
    from recast.thumbnails import templates

    written = templates.new(Path(args.words[0]))
    return _paths(args, written, "fill them in, then: recast thumbnails make " + str(written[0]))


def learn(args: argparse.Namespace) -> Exit:
    from recast.thumbnails import learn as learning

    if args.out is None:
        raise ConfigError("--out: missing; the folder for brand.yaml accepted, such as --out my-channel")
    out = Path(args.out)
    with Progress(quiet=args.quiet) as progress:
        progress.note(f"looking at {len(args.words)} pictures")
        draft = learning.learn([Path(each) for each in args.words], name=args.name or out.name, sight=sight_of(args))
    written = learning.write(draft, out)
    for note in draft.notes:
        if not args.quiet:
            say(note)
    return _paths(args, written, "a draft: read it, name the fonts and characters")


def concepts(args: argparse.Namespace) -> Exit:
    from recast.thumbnails.brief import read_brief_and_kit
    from recast.thumbnails.instructions import concepts as ideas
    from recast.thumbnails.instructions import levels

    brief, kit = read_brief_and_kit(Path(args.words[0]))
    found = [each.to_dict() for each in ideas(brief, kit, count=6 if args.count is None else args.count)]
    proposed = [
        {name: value for name, value in vars(level).items() if value is not None} for level in levels(brief, kit)
    ]
    if args.json:
        print_json({"concepts": found, "levels": proposed})
    else:
        for i, each in enumerate(found, start=1):
            print(f"{i}. {each['text']!r} in {each['colour']}, {each['emotion']}, in front of {each['background']}")
            print(f"   prompt: {each['prompt']}\n   edit: {each['edit']}")
        print(f"levels of {brief.variants.factor}, to copy into the brief:")
        for level in proposed:
            print("  - " + json.dumps(level, ensure_ascii=False))  # JSON is YAML
    return Exit.DONE


def make(args: argparse.Namespace) -> Exit:
    from recast.thumbnails.brief import read_brief_and_kit
    from recast.thumbnails.workflow import STAGES, Set

    path = Path(args.words[0])
    brief, kit = read_brief_and_kit(path)
    folder = Path(args.out) if args.out else path.parent / ("set" if path.stem == "brief" else path.stem)
    _check_free(folder)
    until = args.until or STAGES[-1]
    finished: Finished | None = None
    with Progress(quiet=args.quiet) as progress:
        progress.note("looking at the brief")
        made = Set(brief, kit, folder, tools(args, kit, progress))
        work = made.make(until=until)
        stage = ""
        while True:
            try:
                step = next(work)
            except StopIteration as done:
                finished = done.value
                break
            if step.stage != stage:
                stage = step.stage
                progress.note(stage, f"{stage} ")
            if step.all:
                progress.step(min(step.done, step.all), step.all)
    if finished is None:
        say_so_far(brief, folder, until, made.entries, made.findings, as_json=args.json)
        return Exit.DONE
    say_made(brief, finished, as_json=args.json)
    return Exit.DONE


def check(args: argparse.Namespace) -> Exit:
    """The findings of pictures; GATE where one fails."""
    from recast.thumbnails.checks import Expected, advise, check_picture, table
    from recast.thumbnails.findings import is_failed
    from recast.thumbnails.kit import read_kit
    from recast.thumbnails.profiles import profile

    kit = None if args.kit is None else read_kit(Path(args.kit))
    _check_characters(args.character or (), kit)
    where = profile(args.profile or "youtube-portable")
    if args.overlay is not None and len(args.words) > 1:
        raise ConfigError(f"--overlay: {len(args.words)} pictures came; one accepted")
    if args.overlay is not None and _is_same(Path(args.overlay), Path(args.words[0])):
        raise ConfigError(
            f"--overlay {args.overlay}: is the picture under check, and would be written over; name another file"
        )
    expected = Expected(text=args.text, characters=tuple(args.character) if args.character else None)
    sight = sight_of(args)
    rows: list[dict[str, Any]] = []
    failed = False
    for word in args.words:
        findings = check_picture(
            Path(word),
            kit=kit,
            expected=expected,
            sight=sight,
            profile=where,
            certificate=certificate_of,
        )
        failed |= is_failed(findings)
        rows.append({"picture": word, "findings": [each.to_dict() for each in findings]})
        if not args.json:
            print(f"{word}: {_verdict(findings)}")
            print(table(findings))
            for line in advise(findings):
                print(f"→ {line}")
        if args.overlay is not None:
            from recast.thumbnails.overlay import write

            write(Path(args.overlay), Path(word), findings, profile=where)
    if args.json:
        print_json({"pictures": rows})
    return Exit.GATE if failed else Exit.DONE


def listed(args: argparse.Namespace) -> Exit:
    from recast.thumbnails import manifest

    data = manifest.read(Path(args.words[0]))
    if args.json:
        print_json(data)
        return Exit.DONE
    say_listed(data)
    return Exit.DONE


def calibrate(args: argparse.Namespace) -> Exit:
    """The limit of a recogniser, from one's own pictures: a folder of folders, one a person."""
    from recast.cli.sight import AuraFaces, WorldPeople, sight
    from recast.thumbnails.calibration import calibrate_folder
    from recast.weights.files import checksum

    if args.faces in (None, "none"):
        raise ConfigError("--faces: missing; the recogniser to calibrate accepted: world, or auraface:FILE")
    if args.out is None:
        raise ConfigError("--out: missing; the file for the limit accepted, such as --out glintr100.json")
    faces = sight(faces=args.faces, detector=args.detector, read="none", style=False).faces
    assert isinstance(faces, AuraFaces | WorldPeople)
    with Progress(quiet=args.quiet) as progress:
        progress.note(f"looking for faces in {args.words[0]}")
        found, left_out = calibrate_folder(args.words[0], faces, network=checksum(faces.path))
    path = found.write(Path(args.out))
    if args.json:
        print_json({"path": str(path), "left_out": list(left_out), **asdict(found)})
        return Exit.DONE
    for each in [] if args.quiet else left_out:
        say(f"left out: {each}")
    print(path)
    print(
        f"limit {found.limit:.3f}: {found.true_accept:.1%} of {found.same_pairs} pairs of one person pass, "
        f"{found.false_accept:.2%} of {found.different_pairs} pairs of different people"
    )
    if not found.is_certain and not args.quiet:
        say(f"too few pairs to show {found.asked:.1%}: it may be up to {found.at_most:.1%}; add people")
    return Exit.DONE


DO: Mapping[str, Callable[[argparse.Namespace], Exit]] = {
    "new": new,
    "learn": learn,
    "concepts": concepts,
    "make": make,
    "check": check,
    "improve": improve,
    "list": listed,
    "animate": animate,
    "upload": upload,
    "calibrate": calibrate,
    "results": results,
    "learned": learned,
}


# What the commands are made of.


def _check_free(folder: Path) -> None:
    """Raise InputError for a folder whose files no set has made, and a set would write over."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: is a file; a folder accepted; name another")
    taken = [name for name in MADE if (folder / name).exists()]
    if taken and not (folder / "stages").is_dir():
        raise InputError(
            f"--out {folder}: holds {', '.join(taken)}, of no set that is known; a new folder, or that of a set, "
            "accepted; name another, or move what is there"
        )


def _check_characters(named: Sequence[str], kit: Kit | None) -> None:
    """Raise ConfigError for characters that no kit, or not this one, has."""
    if named and kit is None:
        raise ConfigError(f"--character {named[0]}: of no kit; --kit brand.yaml needed")
    known = [each.id for each in kit.characters] if kit else []
    for name in named:
        if name not in known:
            raise ConfigError(
                f"--character {name}: the kit has none of this id; {', '.join(known) or 'none'} accepted; choose one, "
                "or add it to the kit"
            )


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths name one file, by whatever way."""
    return one.exists() and other.exists() and one.samefile(other)


def _verdict(findings: list[Finding]) -> str:
    counts = {name: sum(each.verdict == name for each in findings) for name in ("fail", "warn", "pass", "absent")}
    words = {"fail": "fail", "warn": "warn", "pass": "pass", "absent": "not looked at"}
    return ", ".join(f"{count} {words[name]}" for name, count in counts.items() if count)


def _paths(args: argparse.Namespace, paths: tuple[Path, ...], hint: str) -> Exit:
    if args.json:
        print_json({"files": [str(path) for path in paths]})
        return Exit.DONE
    for path in paths:
        print(path)
    if not args.quiet:
        print(f"recast: {hint}", file=sys.stderr)
    return Exit.DONE
