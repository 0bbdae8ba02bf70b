"""What each of the commands of `recast thumbnails` does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from recast.cli.job import Model
from recast.cli.main import Exit
from recast.cli.output import print_json, say
from recast.cli.progress import Progress
from recast.cli.thumbnails_after import animate, upload
from recast.cli.thumbnails_results import learned, results
from recast.errors import ConfigError, InputError

if TYPE_CHECKING:
    from recast.thumbnails.brief import Brief
    from recast.thumbnails.findings import Finding
    from recast.thumbnails.kit import Kit
    from recast.thumbnails.seeing import Sight
    from recast.thumbnails.workflow import Finished, Tools

Attention: TypeAlias = "Literal['full', 'cached'] | None"
MARK = {"pass": "ok", "warn": "warn", "fail": "FAIL", "absent": "–"}


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
        draft = learning.learn([Path(each) for each in args.words], name=args.name or out.name, sight=_sight(args))
    written = learning.write(draft, out)
    for note in draft.notes:
        if not args.quiet:
            say(note)
    return _paths(args, written, "a draft: read it, name the fonts and characters")


def concepts(args: argparse.Namespace) -> Exit:
    from recast.thumbnails.brief import read_brief_and_kit
    from recast.thumbnails.instructions import concepts as ideas

    brief, kit = read_brief_and_kit(Path(args.words[0]))
    found = [each.to_dict() for each in ideas(brief, kit, count=args.count or 6)]
    if args.json:
        print_json({"concepts": found})
    else:
        for i, each in enumerate(found, start=1):
            print(f"{i}. {each['text']!r} in {each['colour']}, {each['emotion']}, in front of {each['background']}")
            print(f"   prompt: {each['prompt']}\n   edit: {each['edit']}")
    return Exit.DONE


def make(args: argparse.Namespace) -> Exit:
    from recast.thumbnails.brief import read_brief_and_kit
    from recast.thumbnails.workflow import STAGES, Set

    path = Path(args.words[0])
    brief, kit = read_brief_and_kit(path)
    folder = Path(args.out) if args.out else path.parent / ("set" if path.stem == "brief" else path.stem)
    until = args.until or STAGES[-1]
    finished: Finished | None = None
    with Progress(quiet=args.quiet) as progress:
        progress.note("looking at the brief")
        work = Set(brief, kit, folder, _tools(args, kit, progress)).make(until=until)
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
        if args.json:
            print_json({"folder": str(folder), "until": until})
        else:
            print(folder)
        return Exit.DONE
    return _told(args, brief, finished)


def check(args: argparse.Namespace) -> Exit:
    """The findings of pictures; GATE where one fails."""
    from recast.thumbnails.checks import Expected, advise, check_picture, table
    from recast.thumbnails.findings import is_failed
    from recast.thumbnails.kit import read_kit
    from recast.thumbnails.profiles import profile

    kit = None if args.kit is None else read_kit(Path(args.kit))
    if args.character and kit is None:
        raise ConfigError(f"--character {args.character[0]}: of no kit; --kit brand.yaml needed")
    where = profile(args.profile or "youtube-portable")
    if args.overlay is not None and len(args.words) > 1:
        raise ConfigError(f"--overlay: {len(args.words)} pictures came; one accepted")
    expected = Expected(text=args.text, characters=tuple(args.character) if args.character else None)
    sight = _sight(args)
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
    print(f"{data['title']}: {data['factor']}, {len(data['variants'])} variants")
    for each in data["variants"]:
        findings = each["findings"]
        open_ones = [row["check"] for row in findings if row["verdict"] in ("fail", "warn")]
        place = "–" if each["place"] is None else each["place"]
        alike = ", ".join(f"{name} {value:.2f}" for name, value in each["similarity"].items() if value is not None)
        said = "shipped" if each["is_shipped"] else each["reason"] or ("" if each["is_kept"] else "a check fails")
        print(f"{place:>3}  {each['name']:<20} {alike:<14} {' '.join(open_ones) or 'no complaint':<24} {said}")
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
    "list": listed,
    "animate": animate,
    "upload": upload,
    "calibrate": calibrate,
    "results": results,
    "learned": learned,
}


# What the commands are made of.


def certificate_of(path: Path) -> str | None:
    """The text of the certificate in a PNG or WebP; None where it carries none, or is another kind of file."""
    from recast.retouch.embedded import read_text

    return read_text(path) if path.suffix.lower() in (".png", ".webp") else None


def _tools(args: argparse.Namespace, kit: Kit, progress: Progress) -> Tools:
    from recast.thumbnails.base import size_of
    from recast.thumbnails.workflow import Tools

    model = _with_adapters(Model.of(args), kit, args)
    outline = model.outline()
    usual: Attention = "cached" if outline.config.name.startswith("nano") else None
    context: Attention = args.context or usual
    if args.together is not None and args.together < 1:
        raise ConfigError(f"--together {args.together}: 1 or more accepted")

    def load() -> Any:
        from recast.retouch.editor import Editor

        progress.note("loading the model")
        return Editor(replace(model, context_attention=context).load())

    config = outline.config
    said = {
        "name": config.name,
        "plan": model.plan or "reference",
        "dtype": model.precision,
        "context_attention": context or config.flow.context_attention,
        "adapters": [f"{Path(path).name}:{strength:g}" for path, strength in model.adapters],
        "sampler": config.defaults.sampler,
    }
    return Tools(
        generator=_once(load),
        model=said,
        size=size_of(multiple=config.pixels_per_token, most_tokens=config.defaults.max_tokens),
        sight=_sight(args),
        certificate=certificate_of,
        together=args.together or 5,
        licences={config.name: config.licence, **{each.file.name: each.license for each in kit.fonts}},
    )


def _with_adapters(model: Model, kit: Kit, args: argparse.Namespace) -> Model:
    """The model with the adapters of the kit's characters; an optional one that is not there is said."""
    found = list(model.adapters)
    for each in kit.characters:
        if each.lora is None:
            continue
        if each.lora.file.is_file():
            found.append((str(each.lora.file), each.lora.weight))
        elif not each.lora.optional:
            raise InputError(f"{each.lora.file}: the adapter of {each.id} is not there; train it, or make it optional")
        elif not args.quiet:
            say(f"{each.id}: no adapter at {each.lora.file}, which is optional")
    return replace(model, adapters=found)


def _sight(args: argparse.Namespace) -> Sight:
    from recast.cli.options import setting
    from recast.cli.sight import sight

    return sight(
        setting(args, "model") or "nano",
        faces=args.faces,
        detector=args.detector,
        calibration=args.calibration,
        read=args.read,
    )


def _once(make: Callable[[], Any]) -> Callable[[], Any]:
    made: list[Any] = []

    def get() -> Any:
        if not made:
            made.append(make())
        return made[0]

    return get


def _told(args: argparse.Namespace, brief: Brief, finished: Finished) -> Exit:
    """What came of a set: as JSON, or as lines that name the files to look at."""
    kept = [each for each in finished.entries if each.place is not None]
    alike = finished.consistency
    consistency = None
    if alike:
        consistency = {"mean": round(sum(alike) / len(alike), 4), "worst": round(min(alike), 4)}
    said = {
        "folder": str(finished.folder),
        "variants": len(finished.entries),
        "kept": len(kept),
        "shipped": list(finished.shipped),
        "consistency": consistency,
        "set": [each.to_dict() for each in finished.findings],
        "files": [file.file for each in finished.entries for file in each.files],
        "done": list(finished.done_again),
    }
    if args.json:
        print_json(said)
        return Exit.DONE
    print(f"{brief.title}: {len(finished.entries)} variants, {len(kept)} pass, {len(finished.shipped)} shipped")
    if consistency:
        print(f"likeness: mean {consistency['mean']:.2f}, worst {consistency['worst']:.2f}")
    for each in finished.entries:
        if each.is_shipped:
            files = ", ".join(f"{file.file} ({file.bytes / 1000:.0f} kB)" for file in each.files)
            print(f"{each.place}. {each.made.name}: {files}")
    for finding in finished.findings:
        print(f"{finding.check} {MARK[finding.verdict]}: {finding.says}")
    print(f"look: {finished.folder / 'feed.html'}, {finished.folder / 'contact.png'}")
    return Exit.DONE


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
