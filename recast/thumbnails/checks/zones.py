"""Nothing important where a platform lays something over it, or cuts it off."""

from __future__ import annotations

from recast.thumbnails.boxes import BADGE, HARD, SOFT, Box
from recast.thumbnails.checks.evidence import Evidence, Unseen, logo_boxes
from recast.thumbnails.findings import Finding


def s1(seen: Evidence) -> Finding:
    """Text, faces and logo stay clear of the duration badge and within the margins."""
    boxes: list[tuple[str, Box]] = [("logo", each) for each in logo_boxes(seen)]
    unseen = []
    try:
        title = seen.title
        boxes += [(f"text {each.text!r}", each.box) for each in title.lines] if title is not None else []
    except Unseen as missing:
        unseen.append(f"text: {str(missing).removeprefix('text: ')}")
    try:
        boxes += [("face", each.box) for each in seen.faces]
    except Unseen as missing:
        unseen.append(f"faces: {str(missing).removeprefix('faces: ')}")
    has_badge = seen.profile.has_badge and seen.limits.forbid_badge_zone
    badge = [each for each in boxes if has_badge and each[1].meets(BADGE)]
    outside = [each for each in boxes if not each[1].is_within(HARD)]
    near = [each for each in boxes if not each[1].is_within(SOFT)]
    numbers = {
        "badge": [name for name, _ in badge],
        "outside_5": [name for name, _ in outside],
        "outside_8x10": [name for name, _ in near],
        "not_looked_at": unseen,
    }
    if badge or outside:
        parts = [f"{_names(badge)} under the duration badge"] if badge else []
        parts += [f"{_names(outside)} beyond the 5 % margin"] if outside else []
        advice = "Move it up and to the left" if badge else "Move it inwards, or make it smaller"
        where = tuple(dict.fromkeys(box for _, box in badge + outside))
        return Finding(check="S1", verdict="fail", says="; ".join(parts), advice=advice, numbers=numbers, boxes=where)
    if near:
        says = f"{_names(near)} within 8 % of a side, or 10 % of top or bottom"
        advice = "Move it a little inwards: some places show rounded corners, or cut"
        where = tuple(box for _, box in near)
        return Finding(check="S1", verdict="warn", says=says, advice=advice, numbers=numbers, boxes=where)
    if unseen:
        return Finding(check="S1", verdict="absent", says=f"Not looked at: {'; '.join(unseen)}", numbers=numbers)
    return Finding(check="S1", verdict="pass", says="Badge and margins are clear", numbers=numbers)


def _names(found: list[tuple[str, Box]]) -> str:
    names = ", ".join(dict.fromkeys(name for name, _ in found))
    return names[:1].upper() + names[1:]
