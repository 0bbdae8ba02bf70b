"""Strings to numbers: how near what was read is to what should be there.

The plain distances compare their strings as they come; `normalise` both first where case and width should not count.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from recast.errors import InputError

RUN = 4  # recognised lines that may be one title, broken


def normalise(text: str) -> str:
    """The text in Unicode's compatibility form and without case: what looks alike is alike."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def edit_distance(a: str, b: str) -> int:
    """The fewest insertions, deletions and replacements of a character that make b of a (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, from_a in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, from_b in enumerate(b, 1):
            diagonal, row[j] = row[j], min(diagonal + (from_a != from_b), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def ned(a: str, b: str) -> float:
    """1 - edit distance / length of the longer: 1 for equal strings, 0 for strings with nothing in common."""
    return 1 - edit_distance(a, b) / max(len(a), len(b)) if a or b else 1.0


def cer(text: str, reference: str) -> float:
    """Edit distance / length of the reference, the character error rate: 0 is right; wordy text goes beyond 1."""
    if not reference:
        raise InputError("reference: an empty string came; at least one character accepted; leave the item out")
    return edit_distance(text, reference) / len(reference)


def text_edit_terms(
    target: str | None, old: str | None, lines_before: Sequence[str], lines_after: Sequence[str]
) -> tuple[float, float, float]:
    """Whether the target is there, the old string gone, and every other string still as it was: three, in 0..1.

    target: what should be there, None for a removal. old: what it replaces, None for an addition. lines_before and
    lines_after: strings recognised in source and output; up to four in a row may be one title. All are normalised.

    Present: the best `ned` of a line to the target. Gone: 1 - the best `ned` of a line to the old string, over the same
    for the right answer, since some of the old may live on in the new (FREIBURG to FREIBERG) or in a neighbour; 1 where
    the old string is part of the target. Others: mean over the source's other lines of their best `ned`. Where the old
    string is part of a longer line, all that line is compared.
    """
    before, after = [normalise(line) for line in lines_before], [normalise(line) for line in lines_after]
    new, gone = normalise(target or ""), normalise(old or "")
    if not (new or gone):
        raise InputError("target and old: both empty; at least one accepted; name the string to set, or to remove")
    start, stop = _place(gone, before)
    line = " ".join(before[start:stop])
    if gone and gone in line:
        gone, new = line, " ".join(line.replace(gone, new).split())
    others = before[:start] + before[stop:]
    expected = _best(gone, before[:start] + [new] * bool(new) + before[stop:])
    is_part = not gone or gone in new or expected == 1
    return (
        _best(new, after) if new else 1.0,
        1.0 if is_part else min(1.0, (1 - _best(gone, after)) / (1 - expected)),
        sum(_best(text, after) for text in others) / len(others) if others else 1.0,
    )


def text_edit_score(
    target: str | None, old: str | None, lines_before: Sequence[str], lines_after: Sequence[str]
) -> float:
    """The product of `text_edit_terms`, in 0..1: nothing done, or one string too many broken, costs all of it."""
    return math.prod(text_edit_terms(target, old, lines_before, lines_after))


def _runs(lines: Sequence[str]) -> list[tuple[int, int]]:
    return [(i, j) for i in range(len(lines)) for j in range(i + 1, min(i + RUN, len(lines)) + 1)]


def _best(text: str, lines: Sequence[str]) -> float:
    """The best `ned` of the text to a line, or to lines in a row joined by spaces; 0 where there are none."""
    return max((ned(text, " ".join(lines[i:j])) for i, j in _runs(lines)), default=0.0)


def _place(old: str, lines: Sequence[str]) -> tuple[int, int]:
    """Which lines [start, stop) show the old string, whole or misread by less than half; (0, 0) if none does."""

    def likeness(run: tuple[int, int]) -> float:
        text = " ".join(lines[slice(*run)])
        return 1.0 if old in text else ned(old, text)

    best = max(_runs(lines), key=lambda run: (likeness(run), run[0] - run[1]), default=(0, 0))  # the shortest of equals
    return best if old and likeness(best) > 0.5 else (0, 0)
