"""Findings for a person: the few things most worth doing, and all of it as a table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from recast.thumbnails.findings import Finding

WORTH = "T4 T2 T3 F2 S1 V1 G1 G4 G3 G2 B1 F1 C1 T1 C2 X1 C3 T5 V2 P1"
"""Checks by what mending them gains, most first: what cannot be read or is the wrong person loses the click."""
MOST = 3
RANK = {"fail": 0, "warn": 1}
MARKS = {"pass": "ok", "warn": "warn", "fail": "FAIL", "absent": "-"}


def advise(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The three things most worth doing, in order: what fails before what warns; none where all is well."""
    open_ones = [each for each in findings if each.verdict in RANK and each.advice]
    order = sorted(open_ones, key=lambda each: (RANK[each.verdict], WORTH.find(each.check)))
    return tuple(dict.fromkeys(each.advice for each in order))[:MOST]


def table(findings: Iterable[Finding], *, width: int = 100) -> str:
    """The findings as text for a terminal of so many columns: check, verdict, what it says; advice below it."""
    indent = " " * 10
    lines = []
    for each in findings:
        first = f"{each.check:<4}{MARKS[each.verdict]:<6}"
        lines += textwrap.wrap(each.says, width, initial_indent=first, subsequent_indent=indent) or [first.rstrip()]
        if each.advice and each.verdict in RANK:
            lines += textwrap.wrap(each.advice, width, initial_indent=indent + "→ ", subsequent_indent=indent + "  ")
    return "\n".join(lines)
