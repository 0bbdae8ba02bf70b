"""What is said of a set: which variants are shipped, why the others are not, and what nobody has looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recast.cli.output import print_json

if TYPE_CHECKING:
    from pathlib import Path

    from recast.thumbnails.brief import Brief
    from recast.thumbnails.delivery import Finished
    from recast.thumbnails.findings import Finding
    from recast.thumbnails.manifest import Entry

MARK = {"pass": "ok", "warn": "warn", "fail": "FAIL", "absent": "–"}

OWN = ("look.style", "base.keep_mask")
"""What of the files that a set was made from is measured or cut out of others: it has no licence of its own."""
Row = Mapping[str, Any]
"""A variant as a manifest has it."""


def say_made(brief: Brief, finished: Finished, *, as_json: bool) -> None:
    """Print what came of a set: as JSON, or as lines that name the files to look at."""
    asked = brief.variants.ship
    rows = [_row(each) for each in finished.entries]
    left_out = {str(row["name"]): why_left_out(row, rows, asked) for row in rows if not row["is_shipped"]}
    unseen = not_looked_at(finding for row in rows for finding in row["findings"])
    kept = [each for each in finished.entries if each.place is not None]
    alike = finished.consistency
    consistency = {"mean": round(sum(alike) / len(alike), 4), "worst": round(min(alike), 4)} if alike else None
    if as_json:
        print_json({
            "folder": str(finished.folder),
            "variants": len(rows),
            "kept": len(kept),
            "asked": asked,
            "shipped": list(finished.shipped),
            "left_out": left_out,
            "not_looked_at": unseen,
            "consistency": consistency,
            "set": [each.to_dict() for each in finished.findings],
            "files": [file.file for each in finished.entries for file in each.files],
            "done": list(finished.done_again),
        })  # fmt: skip
        return
    fewer = f" of {asked} asked" if len(finished.shipped) < asked else ""
    print(f"{brief.title}: {len(rows)} variants, {len(kept)} pass, {len(finished.shipped)}{fewer} shipped")
    if consistency:
        print(f"likeness: mean {consistency['mean']:.2f}, worst {consistency['worst']:.2f}")
    for each in finished.entries:
        if each.is_shipped:
            files = ", ".join(f"{file.file} ({file.bytes / 1000:.0f} kB)" for file in each.files)
            print(f"{each.place}. {each.made.name}: {files}")
    for name, why in left_out.items():
        print(f"–  {name}: {why}")
    _say_set(finished.findings)
    _say_unseen(unseen)
    print(f"look: {finished.folder / 'feed.html'}, {finished.folder / 'contact.png'}")


def say_so_far(
    brief: Brief, folder: Path, until: str, entries: Sequence[Entry], findings: Sequence[Finding], *, as_json: bool
) -> None:
    """Print what is known of a set that was ended after a stage: who is rejected, and why; the folder comes last."""
    rows = [_row(each) for each in entries]
    is_ranked = any(row["place"] is not None for row in rows)
    if is_ranked:
        left_out = {row["name"]: why_left_out(row, rows, brief.variants.ship) for row in rows if not row["is_shipped"]}
    else:
        left_out = {row["name"]: why for row in rows if (why := _why_rejected(row))}
    order = [row["name"] for row in rows if row["is_shipped"]]
    unseen = not_looked_at(finding for row in rows for finding in row["findings"])
    if as_json:
        print_json({
            "folder": str(folder),
            "until": until,
            "variants": len(rows),
            "to_ship": order,
            "left_out": left_out,
            "not_looked_at": unseen,
            "set": [each.to_dict() for each in findings],
        })  # fmt: skip
        return
    if rows:
        passed = sum(not _why_rejected(row) for row in rows)
        print(f"{brief.title}: {len(rows)} variants, {len(rows) - passed} rejected" + _to_ship(order, is_ranked))
    for place, name in enumerate(order, start=1):
        print(f"{place}. {name}")
    for name, why in left_out.items():
        print(f"–  {name}: {why}")
    _say_set(findings)
    _say_unseen(unseen)
    print(folder)


def _to_ship(order: Sequence[str], is_ranked: bool) -> str:
    return f", {len(order)} to ship" if is_ranked else ""


def say_listed(data: Mapping[str, Any]) -> None:
    """Print a manifest: a line for each variant, and what they were made of."""
    rows: Sequence[Row] = data["variants"]
    asked: int | None = data.get("asked", {}).get("ship")
    shipped = sum(row["is_shipped"] for row in rows)
    of = "" if asked is None else f", {shipped} of {asked} asked shipped"
    print(f"{data['title']}: {data['factor']}, {len(rows)} variants{of}")
    for row in rows:
        place = "–" if row["place"] is None else row["place"]
        alike = ", ".join(f"{name} {value:.2f}" for name, value in row["similarity"].items() if value is not None)
        said = "shipped" if row["is_shipped"] else why_left_out(row, rows, asked)
        print(f"{place:>3}  {row['name']:<20} {alike:<14} {_complaints(row):<24} {said}")
    _say_unseen(not_looked_at(finding for row in rows for finding in row["findings"]))
    _say_made_from(data)


def why_left_out(row: Row, rows: Sequence[Row], asked: int | None = None) -> str:
    """Why a variant of a set is not shipped. asked: how many were to be; None where that is not known."""
    if row["place"] is None:
        return _why_rejected(row) or "rejected"
    better = [each for each in rows if each["is_shipped"] and each["place"] < row["place"]]
    for each in better:
        if each["level"] == row["level"]:
            return f"passes, not shipped: {each['name']}, of the same level, is better"
    if asked is None:
        return "passes, not shipped"
    if len(better) >= asked:
        return f"passes, not shipped: {asked} asked, and so many are better"
    return "passes, not shipped: too like a better one to be tested against it, see V1"


def not_looked_at(findings: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Why checks were not done: each reason once, with the ids of the checks."""
    why: dict[str, dict[str, None]] = {}
    for each in findings:
        if each["verdict"] == "absent":
            why.setdefault(each["says"], {})[each["check"]] = None
    return {says: list(checks) for says, checks in why.items()}


def _why_rejected(row: Row) -> str:
    """Why a variant is no candidate: what its checks fail, or how it was lost; "" for one that stands so far."""
    failed = [f"{each['check']}: {each['says']}" for each in row["findings"] if each["verdict"] == "fail"]
    reasons = failed or ([row["reason"]] if row["reason"] else [])
    return "; ".join(["rejected", *reasons]) if reasons else ""


def _say_set(findings: Iterable[Finding]) -> None:
    for finding in findings:
        print(f"{finding.check} {MARK[finding.verdict]}: {finding.says}")


def _say_made_from(data: Mapping[str, Any]) -> None:
    """By which model, from which files; pictures of which nobody has stated a licence."""
    made = data.get("made_from")
    if not made:
        return  # of a version that did not say
    print(f"made by {data['model'].get('name')}, {data['steps']} steps, from {made['brief']['file']}")
    unstated = [each for each in made["files"] if each["licence"] is None and each["used_as"] not in OWN]
    if unstated:
        names = ", ".join(dict.fromkeys(f"{each['used_as']} ({each['file']})" for each in unstated))
        print(f"licence not stated: {names}")


def _say_unseen(unseen: Mapping[str, Sequence[str]]) -> None:
    for why, checks in unseen.items():
        print(f"{' '.join(checks)} not looked at: {why}")


def _complaints(row: Row) -> str:
    findings = row["findings"]
    if not findings:
        return "not checked"
    wrong = [each["check"] for each in findings if each["verdict"] in ("fail", "warn")]
    unseen = [each["check"] for each in findings if each["verdict"] == "absent"]
    if unseen:
        wrong.append(f"({' '.join(unseen)} not looked at)")
    return " ".join(wrong) or "no complaint"


def _row(each: Entry) -> Row:
    return {
        "name": each.made.name,
        "level": each.made.level,
        "place": each.place,
        "is_shipped": each.is_shipped,
        "reason": each.made.reason,
        "findings": [finding.to_dict() for finding in each.findings],
    }
