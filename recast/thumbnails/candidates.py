"""Variants to candidates: lettered, checked, put in order; who fails a check is not shipped, and says why."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.pixels import image
from recast.thumbnails import base as bases
from recast.thumbnails import export as exports
from recast.thumbnails import made_from
from recast.thumbnails.checks import Evidence, Expected, Limits, check, check_set
from recast.thumbnails.design import Design
from recast.thumbnails.export import Exported
from recast.thumbnails.findings import Finding, from_dict
from recast.thumbnails.kit import SCORES
from recast.thumbnails.manifest import Entry
from recast.thumbnails.rank import Candidate, rank, shipped
from recast.thumbnails.render import render
from recast.thumbnails.scene_text import into_the_scene
from recast.thumbnails.setting import design, text_of
from recast.thumbnails.stages import Record, sha256
from recast.thumbnails.variants import Made, Step

if TYPE_CHECKING:
    from recast.thumbnails.workflow import Set


def designed(work: Set, made: Sequence[Made]) -> Generator[Step, None, dict[str, Design]]:
    """folder/candidates/NAME.jpg: each variant with its lettering, in the first 16:9 profile."""
    designs: dict[str, Design] = {}
    kept = [each for each in made if each.is_kept]
    for done, each in enumerate(kept):
        yield Step("designs", done, len(kept), each.name)
        level = work.level(each)
        picture = image.read(work.folder / "variants" / str(each.file), name=each.name)
        faces = bases.faces_of(picture, work.tools.sight.faces)
        plan = design(picture, work.brief, work.kit, level, faces, profile=work.first)
        inputs = {
            "variant": sha256(work.folder / "variants" / str(each.file)),
            "kit": made_from.design_kit(work.kit),
            "text": text_of(work.brief, level),
            "level": asdict(level),
            "layout": plan.layout,
            "placed": made_from.placed(plan),
            "in_scene": [work.brief.text_in_scene, made_from.name(work.tools.sight.text), work.brief.steps],
            "profile": work.first.name,
        }
        record = work.stages.find(f"design-{each.name}", inputs)
        if work.brief.text_in_scene:
            plan = yield from _in_scene(work, each, plan, record)
        designs[each.name] = plan
        if record is None:
            folder = work.folder / "candidates"
            folder.mkdir(exist_ok=True)
            flat = render(plan, width=work.first.width, height=work.first.height)
            written = exports.export(flat, work.first, folder, each.name)
            files = [folder / written.file]
            if work.brief.text_in_scene:
                files.append(_scene_file(work, each))
            result = {
                "file": written.to_dict(),
                "notes": list(plan.notes),
                "is_lettered": plan.lettering is not None,
            }
            work.done(f"design-{each.name}", inputs, result, files)
    return designs


def _in_scene(work: Set, each: Made, plan: Design, record: Record | None) -> Generator[Step, None, Design]:
    """The design with its title painted by the model, where it can be read there; else as it came."""
    path = _scene_file(work, each)
    if record is not None:
        picture = image.read(path, name=each.name)
        return plan if record.result["is_lettered"] else replace(plan, base=picture, lettering=None)
    path.parent.mkdir(exist_ok=True)
    tools, steps = work.tools, work.brief.steps
    painted = into_the_scene(
        plan, tools.generator(), tools.sight.text, path, seed=each.seed, keeps=tools.keeps, steps=steps
    )
    return (yield from painted)


def undesigned(work: Set, made: Made) -> Entry:
    """What is known of a variant before it is lettered."""
    return Entry(made=made, text=text_of(work.brief, work.level(made)), layout=None)


def checked(work: Set, made: Sequence[Made], designs: Mapping[str, Design]) -> Generator[Step, None, list[Entry]]:
    """Every check of every candidate, on the file that was written."""
    entries = []
    for done, each in enumerate(made):
        level = work.level(each)
        entry = undesigned(work, each)
        if each.name not in designs:
            entries.append(entry)
            continue
        yield Step("checks", done, len(made), each.name)
        plan = designs[each.name]
        record = work.stages.last(f"design-{each.name}")
        written = Exported.from_dict(record.result["file"])
        path = work.folder / "candidates" / written.file
        evidence = Evidence(
            source=path,
            design=plan,
            kit=work.kit,
            expected=Expected(
                text=entry.text,
                characters=work.wanted,
                allowed=tuple(work.kit.name.split()),
                is_edit=bool(level.edit or work.brief.base.edit),
            ),
            sight=work.tools.sight,
            limits=Limits.of(work.kit),
            profile=work.first,
            sheets=work.sheets or None,
            certificate=_certificate(work, each),
        )
        work.seen[each.name] = evidence
        findings = _findings(work, each, evidence, record)
        entries.append(
            replace(
                entry,
                layout=plan.layout,
                findings=findings,
                brand=_brand(findings),
                notes=tuple(record.result["notes"]),
            )
        )
    return entries


def _findings(work: Set, each: Made, evidence: Evidence, design: Record) -> tuple[Finding, ...]:
    """What the checks say of one candidate, or have said of the same."""
    sight = work.tools.sight
    inputs = {
        "design": design.inputs,
        "file": design.files,
        "expected": asdict(evidence.expected),
        "limits": asdict(evidence.limits),
        "least": dict(work.kit.rules.brand_min),
        "look": [asdict(work.kit.look), made_from.hashes([work.kit.look.style])],
        "sheets": made_from.identity(work.sheets),
        "seen_by": [made_from.name(eye) for eye in (sight.faces, sight.text, sight.style)],
    }
    record = work.stages.find(f"checks-{each.name}", inputs)
    if record is None:
        found = [finding.to_dict() for finding in check(evidence)]
        record = work.done(f"checks-{each.name}", inputs, {"findings": found}, [])
    return tuple(from_dict(finding) for finding in record.result["findings"])


def ranked(
    work: Set, entries: Sequence[Entry], designs: Mapping[str, Design]
) -> tuple[list[Entry], tuple[Finding, ...]]:
    """The order, who is shipped, and the checks of those together."""
    candidates = [
        Candidate(
            name=each.made.name,
            level=each.made.level,
            rgb=render(designs[each.made.name], width=672, height=378).rgb,
            findings=each.findings,
            brand=each.brand.get("score"),
        )
        for each in entries
        if each.made.name in designs
    ]
    places = {each.name: each for each in rank(candidates, work.tools.measure)}
    chosen = shipped(list(places.values()), candidates, work.brief.variants.ship, partial(_is_apart, work))
    entries = [
        replace(
            each,
            place=places[each.made.name].place if each.made.name in places else None,
            points=places[each.made.name].points if each.made.name in places else None,
            is_shipped=each.made.name in chosen,
        )
        for each in entries
    ]
    findings: list[Finding] = []
    if len(chosen) > 1:
        findings = check_set({name: work.seen[name] for name in chosen}, factor=work.brief.variants.factor)
    order = {name: places[name].place or len(places) + 1 for name in places}
    return sorted(entries, key=lambda each: order.get(each.made.name, 10**6)), tuple(findings)


def _is_apart(work: Set, one: str, other: str) -> bool:
    """Whether two variants differ enough to learn from (V1)."""
    pair = {name: work.seen[name] for name in (one, other)}
    found = check_set(pair, factor=work.brief.variants.factor)
    return not any(each.check == "V1" and each.verdict == "fail" for each in found)


def nobody(work: Set, entries: Sequence[Entry]) -> str:
    """Why nothing is shipped: each reason once, the commonest first."""
    reasons: dict[str, int] = {}
    for each in entries:
        failed = [f"{finding.check}: {finding.says}" for finding in each.findings if finding.verdict == "fail"]
        for words in failed or [each.made.reason]:
            reasons[words] = reasons.get(words, 0) + 1
    said = "; ".join(f"{words} ({count})" for words, count in sorted(reasons.items(), key=lambda row: -row[1])[:4])
    return f"{work.folder}: none of {len(entries)} variants passes: {said}; change the brief and make it again"


def _certificate(work: Set, each: Made) -> Callable[[Path], str | None] | None:
    """Of the variant before its lettering: what is exported carries none, and is another picture."""
    found = work.tools.certificate
    return None if found is None else lambda _: found(work.folder / "variants" / str(each.file))


def _scene_file(work: Set, each: Made) -> Path:
    return work.folder / "in-scene" / f"{each.name}.png"


def _brand(findings: Sequence[Finding]) -> dict[str, float]:
    """The sub-scores that B1 has measured, and "score", their mean by weight."""
    found: Mapping[str, Any] = next((each.numbers.get("scores", {}) for each in findings if each.check == "B1"), {})
    known = {name: value for name, value in found.items() if value is not None}
    weight = sum(SCORES[name] for name in known)
    return known | ({"score": sum(SCORES[name] * known[name] for name in known) / weight} if known else {})
