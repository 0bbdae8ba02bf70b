"""Is the title short, large, apart from what is behind it, and read at the size that lists show?"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from recast.thumbnails import contrast
from recast.thumbnails.boxes import Box, union
from recast.thumbnails.checks.evidence import SMALL_PX, Evidence, Unseen, logo_boxes
from recast.thumbnails.checks.title import Title, misread, near, plain
from recast.thumbnails.findings import Finding, Verdict
from recast.thumbnails.seeing import ReadLine

RING = 0.05
"""Of the cap height: how far around a letter's outline contrast is measured, about the width of a good stroke."""
LEAST_RING_PX = 2
SHAPE_SLACK = 0.001  # by which a file's shape may differ from its design's, through rounding
NO_TEXT = "There is no title"
ESTIMATED = " (estimated from pixels)"


def t1(seen: Evidence) -> Finding:
    """Few words, few characters, few lines."""
    title, limits = seen.title, seen.limits
    if title is None:
        return no_title("T1", seen)
    counts = {
        "words": len(title.text.split()),
        "characters": sum(not unicodedata.combining(each) for each in title.text),
        "lines": _rows(title),
    }
    most = {"words": limits.max_words, "characters": limits.max_characters, "lines": limits.max_lines}
    numbers = counts | {f"max_{name}": value for name, value in most.items()}
    too_many = [f"{counts[name]} {name}, at most {most[name]} are read at a glance" for name in counts]
    too_many = [each for each, name in zip(too_many, counts, strict=True) if counts[name] > most[name]]
    says = f"{counts['words']} words, {counts['characters']} characters, {counts['lines']} lines"
    if too_many:
        advice = "Say less: the video's own title stands below the picture"
        return Finding(check="T1", verdict="warn", says="; ".join(too_many), advice=advice, numbers=numbers)
    return Finding(check="T1", verdict="pass", says=says, numbers=numbers)


def t2(seen: Evidence) -> Finding:
    """Capitals that stand high enough to be letters at 168 pixels."""
    title, limits = seen.title, seen.limits
    if title is None:
        return no_title("T2", seen)
    height = title.cap_height
    numbers = {
        "cap_height": round(float(height), 4),
        "at_168_px": round(float(height) * seen.small.shape[0], 1),
        "least": limits.least_cap_height,
        "good": limits.good_cap_height,
        "is_estimated": title.is_estimated,
    }
    says = f"Capitals are {height:.1%} of the height, {numbers['at_168_px']} pixels of a list's thumbnail"
    says += ESTIMATED if title.is_estimated else ""
    boxes = tuple(each.box for each in title.lines)
    if height >= limits.good_cap_height:
        return Finding(check="T2", verdict="pass", says=says, numbers=numbers)
    verdict: Verdict = "fail" if height < limits.least_cap_height else "warn"
    wanted = limits.least_cap_height if verdict == "fail" else limits.good_cap_height
    advice = f"Set the title larger, {wanted:.0%} of the height at least: fewer words, or a narrower font"
    return Finding(check="T2", verdict=verdict, says=says, advice=advice, numbers=numbers, boxes=boxes)


def t3(seen: Evidence) -> Finding:
    """Letters as light or dark as need be against what is around them."""
    title, limits = seen.title, seen.limits
    if title is None:
        return no_title("T3", seen)
    part = around(seen, title)
    found = part.contrast(part.rgb)
    numbers = {
        "contrast": None if found is None else round(found, 2),
        "least": limits.least_contrast,
        "good": limits.good_contrast,
        "is_estimated": title.is_estimated,
    }
    boxes = tuple(each.box for each in title.lines)
    advice = "Give the letters a stroke, a plate or another colour of the palette"
    if found is None:
        says = "No outline of a letter could be told from the ground"
        return Finding(check="T3", verdict="fail", says=says, advice=advice, numbers=numbers, boxes=boxes)
    says = f"Contrast of the letters is {found:.1f} where it is worst" + (ESTIMATED if title.is_estimated else "")
    if found >= limits.good_contrast:
        return Finding(check="T3", verdict="pass", says=says, numbers=numbers)
    verdict: Verdict = "fail" if found < limits.least_contrast else "warn"
    says += f", {limits.good_contrast:g} is good"
    return Finding(check="T3", verdict=verdict, says=says, advice=advice, numbers=numbers, boxes=boxes)


def t4(seen: Evidence) -> Finding:
    """The title is read in the picture as lists show it."""
    title = seen.title
    if title is None:
        return no_title("T4", seen)
    is_meant = not title.is_estimated or bool(seen.expected.text)
    meant = title.text if not title.is_estimated else seen.expected.text or title.text
    unknown = _unknown(seen, meant)
    if unknown:
        raise Unseen(f"the reader does not know {unknown}; pass one that reads this script")
    read = " ".join(each.text for each in near(title, seen.small_lines))
    wrong = misread(read, meant)
    numbers = {
        "read": read,
        "meant": meant,
        "is_estimated": not is_meant,
        "misread": round(wrong, 3),
        "limit": seen.limits.misread,
        "at_px": SMALL_PX,
        "reader": seen.sight.text.name if seen.sight.text else None,
    }
    source = "" if is_meant else ", as it is read at full size"
    if wrong <= seen.limits.misread:
        says = f"At {SMALL_PX} pixels it reads {read!r}{source}"
        return Finding(check="T4", verdict="pass", says=says, numbers=numbers)
    says = f"At {SMALL_PX} pixels it reads {read!r}, not {meant!r}{source}" if read else ""
    says = says or f"At {SMALL_PX} pixels nothing is read of {meant!r}"
    advice = "Larger letters, a plainer font or a stroke; a calmer ground behind them"
    boxes = tuple(each.box for each in title.lines)
    return Finding(check="T4", verdict="fail", says=says, advice=advice, numbers=numbers, boxes=boxes)


def t5(seen: Evidence) -> Finding:
    """No letters but those that are meant."""
    title = seen.title
    lines = seen.lines
    if seen.design is None and seen.expected.text is None:
        raise Unseen("which text is meant is not known; pass the title")
    meant = [*seen.expected.allowed, seen.expected.text or ""]
    ours = [*(each.box for each in title.lines), *logo_boxes(seen)] if title is not None else [*logo_boxes(seen)]
    exact = ours if seen.design is not None else []
    stray = [each for each in lines if _is_stray(each, exact, meant, seen)]
    numbers = {"read": [each.text for each in stray], "allowed": list(seen.expected.allowed)}
    if stray:
        says = f"There is text that nobody set: {', '.join(repr(each.text) for each in stray)}"
        advice = "Edit it away, or list it as allowed if it belongs there"
        boxes = tuple(each.box for each in stray)
        return Finding(check="T5", verdict="warn", says=says, advice=advice, numbers=numbers, boxes=boxes)
    return Finding(check="T5", verdict="pass", says="No other text is read", numbers=numbers)


@dataclass(frozen=True, eq=False)
class Around:
    """The part of a picture around its title, (h, w, 3) uint8, and the outline of the letters in it."""

    rgb: np.ndarray
    outline: contrast.Outline

    def contrast(self, rgb: np.ndarray) -> float | None:
        """Contrast along the outline in that part, or in another rgb for it; None where no outline is."""
        ratios = self.outline.ratios(rgb)
        return float(np.percentile(ratios, contrast.PERCENTILE)) if ratios.size else None


def around(seen: Evidence, title: Title) -> Around:
    """What T3 and X1 measure. Unseen where the file's shape is not its design's."""
    height, width = seen.rgb.shape[:2]
    if title.lettering is not None and abs(width / height / title.lettering.aspect - 1) > SHAPE_SLACK:
        raise Unseen("the file is of another shape than its design, see G1")
    box = union(each.box for each in title.lines)
    assert box is not None
    margin = title.cap_height / 2
    left, top, right, bottom = box.grown(margin * height / width, margin).pixels(width=width, height=height)
    letters = title.coverage(width=width, height=height)[top:bottom, left:right]
    ring = max(LEAST_RING_PX, round(RING * title.cap_height * height))
    return Around(seen.rgb[top:bottom, left:right], contrast.Outline(letters, ring))


def no_title(check: str, seen: Evidence) -> Finding:
    """Nothing is wrong with no title, unless one was meant: that is for T4 to say."""
    meant = seen.expected.text
    if not meant:
        return Finding(check=check, verdict="pass", says=NO_TEXT)
    if check != "T4":
        raise Unseen("no letters of the title were found, see T4")
    advice = "Set the title as a layer, or larger and plainer"
    return Finding(check=check, verdict="fail", says=f"No letters of {meant!r} are found", advice=advice)


def _rows(title: Title) -> int:
    """Lines of a title; parts of one line that a reader found apart are one."""
    if not title.is_estimated:
        return len(title.lines)
    rows: list[Box] = []
    for line in title.lines:
        if not rows or line.box.center[1] > rows[-1].bottom:
            rows.append(line.box)
    return len(rows)


def _unknown(seen: Evidence, meant: str) -> str:
    """The letters that a reader has never learnt, if it tells which it has (`characters`)."""
    known = getattr(seen.sight.text, "characters", None)
    if known is None:
        return ""
    known = frozenset(known)
    letters = dict.fromkeys(each for each in meant if each.isalnum())
    return "".join(each for each in letters if known.isdisjoint((each, each.lower(), each.upper())))


def _is_stray(line: ReadLine, ours: Iterable[Box], meant: Iterable[str], seen: Evidence) -> bool:
    """Whether a line is text that neither lies on a layer nor is meant."""
    said = plain(line.text)
    if line.score < seen.limits.sure or sum(each.isalnum() for each in said) < 2:
        return False  # a single letter is more often a shape that looks like one
    if any(line.box.overlap(box) > 0.5 * line.box.area or _is_amid(line.box, box) for box in ours):
        return False
    return not any(said in plain(each) or misread(said, each) <= seen.limits.misread for each in meant if each)


def _is_amid(line: Box, ours: Box) -> bool:
    """Whether a line's middle lies on a layer: readers draw their boxes wider than the ink."""
    x, y = line.center
    return ours.left <= x <= ours.right and ours.top <= y <= ours.bottom
