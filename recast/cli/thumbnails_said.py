"""What is said of a set: which variants are shipped, why the others are not, and what nobody has looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recast.cli.output import print_json

if TYPE_CHECKING:
    from recast.thumbnails.brief import Brief
    from recast.thumbnails.delivery import Finished
    from recast.thumbnails.manifest import Entry

MARK = {"pass": "ok", "warn": "warn", "fail": "FAIL", "absent": "–"}

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
    for finding in finished.findings:
        print(f"{finding.check} {MARK[finding.verdict]}: {finding.says}")
    _say_unseen(unseen)
    print(f"look: {finished.folder / 'feed.html'}, {finished.folder / 'contact.png'}")


def say_listed(data: Mapping[str, Any]) -> None:
    """Print a manifest: a line for each variant."""
    rows: Sequence[Row] = data["variants"]
    print(f"{data['title']}: {data['factor']}, {len(rows)} variants")
    for row in rows:
        place = "–" if row["place"] is None else row["place"]
        alike = ", ".join(f"{name} {value:.2f}" for name, value in row["similarity"].items() if value is not None)
        said = "shipped" if row["is_shipped"] else why_left_out(row, rows)
        print(f"{place:>3}  {row['name']:<20} {alike:<14} {_complaints(row):<24} {said}")
    _say_unseen(not_looked_at(finding for row in rows for finding in row["findings"]))


def why_left_out(row: Row, rows: Sequence[Row], asked: int | None = None) -> str:
    """Why a variant of a set is not shipped. asked: how many were to be; None where that is not known."""
    if row["place"] is None:
        failed = [f"{each['check']}: {each['says']}" for each in row["findings"] if each["verdict"] == "fail"]
        return "; ".join(["rejected", *failed] if failed else ["rejected", row["reason"]])
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
