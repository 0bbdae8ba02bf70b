"""The last stage: what is shipped as files of every profile; a contact sheet and a feed to look at; the manifest."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recast.errors import GateFailed
from recast.pixels import image
from recast.thumbnails import base as bases
from recast.thumbnails import contact, feed, made_from, openraster
from recast.thumbnails import export as exports
from recast.thumbnails import manifest as manifests
from recast.thumbnails.candidates import nobody
from recast.thumbnails.checks import Evidence, Expected, Limits, check
from recast.thumbnails.design import Design
from recast.thumbnails.export import Exported
from recast.thumbnails.findings import Finding
from recast.thumbnails.manifest import Entry
from recast.thumbnails.profiles import Profile
from recast.thumbnails.render import layers, render
from recast.thumbnails.setting import reframed
from recast.thumbnails.variants import Step
from recast.thumbnails.vector import to_svg

if TYPE_CHECKING:
    from recast.thumbnails.workflow import Set

SHOWN_PX = (960, 540)
"""Width and height of the pictures of the feed and the contact sheet."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A set that is done. shipped: names of the exported variants, best first. consistency: cosines of every face of a
    kept variant to its character's references. findings: of the set as a whole.
    """

    folder: Path
    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    shipped: tuple[str, ...]
    consistency: tuple[float, ...]
    done_again: tuple[str, ...]  # stages that this call did; the others were finished


def deliver(
    made: Set, entries: Sequence[Entry], findings: tuple[Finding, ...], designs: Mapping[str, Design]
) -> Generator[Step, None, Finished]:
    """folder/export: files of every profile, layered masters; contact.png, feed.html and manifest.json beside it."""
    chosen = sorted((each for each in entries if each.is_shipped), key=lambda each: each.place or 0)
    written: dict[str, Entry] = {}
    (made.folder / "export").mkdir(exist_ok=True)
    for done, each in enumerate(chosen):
        yield Step("export", done, len(chosen), each.made.name)
        written[each.made.name] = _exported(made, each, designs[each.made.name])
    entries = [written.get(each.made.name, each) for each in entries]
    chosen = [each for each in written.values() if each.is_shipped]
    _shown(made, entries, designs)
    sight = made.tools.sight
    data = manifests.manifest(
        made.brief,
        made.kit,
        entries,
        findings,
        model=made.tools.model,
        seen_by={part: made_from.name(getattr(sight, part)) for part in ("faces", "text", "style")},
        licences=made.tools.licences,
        steps=made.brief.steps or made.tools.steps,
        made_from=made_from.said(made.brief, made.kit, made.folder),
    )
    manifests.write(made.folder / manifests.NAME, data)
    made.stages.forget("export-", keep=[f"export-{name}" for name in written])
    made.stages.forget("design-", keep=[f"design-{name}" for name in designs])
    if not chosen:
        raise GateFailed(nobody(made, entries))
    passed = [each for each in entries if each.place is not None]
    return Finished(
        folder=made.folder,
        entries=tuple(entries),
        findings=findings,
        shipped=tuple(each.made.name for each in chosen),
        consistency=tuple(value for each in passed for value in each.made.similarity.values() if value is not None),
        done_again=tuple(made.did),
    )


def _exported(made: Set, each: Entry, plan: Design) -> Entry:
    """One variant in every profile, and its layered master; a file that a check fails is not shipped, and is noted."""
    name, out = each.made.name, made.folder / "export"
    inputs = {
        "design": made.stages.last(f"design-{name}").inputs,
        "profiles": [profile.name for profile in made.profiles],
        "kit": made_from.design_kit(made.kit),
        "seen_by": [made_from.name(eye) for eye in (made.tools.sight.faces, made.tools.sight.text)],
        "sheets": made_from.identity(made.sheets),
    }
    record = made.stages.find(f"export-{name}", inputs)
    if record is not None:
        files = [Exported.from_dict(file) for file in record.result["files"]]
        return _with_files(each, files, record.result["refused"])
    faces = bases.faces_of(plan.base, made.tools.sight.faces)
    written: list[Exported] = []
    refused: list[str] = []
    for profile in made.profiles:
        fitted = reframed(plan, made.brief, made.kit, made.level(each.made), faces, profile=profile)
        flat = render(fitted, width=profile.width, height=profile.height)
        file = exports.export(flat, profile, out, f"{name}.{profile.name}")
        failed = _failed(made, each, fitted, out / file.file, profile)
        if failed:
            (out / file.file).unlink()
            refused.append(f"{profile.name}: not shipped: {failed}")
        else:
            written.append(replace(file, notes=tuple(_changes(plan, fitted, profile))))
    width, height = max((plan.base.width, plan.base.height), bases.MASTER_PX)
    svg = to_svg(plan, width=width, height=height)
    merged = render(plan, width=width, height=height)
    master = openraster.write(out / f"{name}.ora", layers(plan, width=width, height=height), merged, svg=svg)
    paths: list[Path] = [*(out / file.file for file in written), master]
    said = {"files": [file.to_dict() for file in written], "refused": refused}
    made.done(f"export-{name}", inputs, said, paths)
    return _with_files(each, written, refused)


def _with_files(each: Entry, files: Sequence[Exported], refused: Sequence[str]) -> Entry:
    return replace(each, files=tuple(files), is_shipped=bool(files), notes=(*each.notes, *refused))


def _failed(made: Set, each: Entry, fitted: Design, path: Path, profile: Profile) -> str:
    """What a check fails of a file in another shape or size than the candidate's, "" for nothing."""
    if profile == made.first:
        return ""  # the candidate has passed
    found = check(
        Evidence(
            source=path,
            design=fitted,
            kit=made.kit,
            expected=Expected(text=each.text, characters=made.wanted, allowed=tuple(made.kit.name.split())),
            sight=made.tools.sight,
            limits=Limits.of(made.kit),
            profile=profile,
            sheets=made.sheets or None,
        )
    )
    return "; ".join(f"{finding.check}: {finding.says}" for finding in found if finding.verdict == "fail")


def _changes(plan: Design, fitted: Design, profile: Profile) -> list[str]:
    """What was done to come to a profile's shape and size."""
    notes = [note for note in fitted.notes if note not in plan.notes]
    if profile.width > fitted.base.width:
        notes.append(f"enlarged from {fitted.base.width}x{fitted.base.height}")
    return notes


def _shown(made: Set, entries: Sequence[Entry], designs: Mapping[str, Design]) -> None:
    """The contact sheet of what passed, and the feed of every candidate."""
    width, height = SHOWN_PX
    pictures = {name: render(plan, width=width, height=height) for name, plan in designs.items()}
    passed = [each for each in entries if each.place is not None]
    shown = passed or [each for each in entries if each.made.name in designs]
    if not shown:  # nobody came as far as that: pages of an earlier brief would tell of other pictures
        for name in ("contact.png", "feed.html"):
            (made.folder / name).unlink(missing_ok=True)
        return
    contact.write(made.folder / "contact.png", [(each.made.name, pictures[each.made.name]) for each in shown])
    shipped = sum(each.is_shipped for each in entries)
    said = f"Factor: {made.brief.variants.factor}. {len(entries)} variants, {shipped} shipped."
    feed.write(
        made.folder / "feed.html",
        [
            feed.Shown(
                name=each.made.name,
                picture=pictures[each.made.name],
                findings=each.findings,
                says=_place_in_words(each, len(passed)),
            )
            for each in entries
            if each.made.name in designs
        ],
        video=made.brief.title,
        channel=made.kit.name,
        subtitle=f"{said} {made.brief.hypothesis}".strip(),
        neighbours=[image.read(path, name="look.reference_images") for path in made.kit.look.reference_images],
    )


def _place_in_words(each: Entry, count: int) -> str:
    if each.place is None:
        return "Rejected: a check fails."
    shipped = "shipped" if each.is_shipped else "not shipped"
    faces = ", ".join(f"{name} {value:.2f}" for name, value in each.made.similarity.items() if value is not None)
    return f"Place {each.place} of {count}, {shipped}." + (f" Likeness: {faces}." if faces else "")
