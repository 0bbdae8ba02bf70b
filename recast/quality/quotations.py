"""The strings in an instruction's quotation marks → which is to be replaced, added, or removed.

Replace "SALE" with "OPEN"              SALE → OPEN
Make it say "OPEN" instead of "SALE"    SALE → OPEN
Add the words "NEW HERE"                     → NEW HERE
Remove "SALE"                           SALE →
Make "SALE" bigger                      nothing that reading could tell
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUOTED = re.compile(
    r"\"([^\"]+)\"|“([^”]+)”|„([^“”]+)[“”]|«([^»]+)»|(?<!\w)‘(.+?)’(?!\w)|(?<!\w)'(.+?)'(?!\w)",
)
_BACKWARDS = re.compile(r"\b(?:instead of|in place of|rather than|where it (?:now )?(?:says?|reads?)|replacing)\b")
_FORWARDS = re.compile(r"\b(?:to|with|by|into|for|should|must|say|read|become|becomes)\b|→|->")
_IS_NEW = re.compile(r"\b(?:add|insert|include|put|place|write|print|type|engrave|overlay|display|show|hold\w*)\b")
_IS_OLD = re.compile(r"\b(?:remove|delete|erase|get rid of|take (?:out|away)|eliminate|clear)\b")
_BEFORE_NEW = re.compile(
    r"\b(?:to|into|with|by|says?|saying|reads?|reading|spells?|spelling|titled|labell?ed|be|words?)\s*[:,]?\s*$"
)
_LOOKS = re.compile(
    r"\b(?:colou?r|font|size|bigger|larger|smaller|bold|bolder|italics?|upper ?case|lower ?case|typeface|glow\w*|"
    r"shadow|outline|neon|cursive|handwritten|rotate\w*|move\w*|align\w*)\b"
)
_BARE_NEW = re.compile(r"\b(?:say|says|read|reads|spell|spells)\s+((?:[A-Z0-9][\w'&%$-]*[ ,]*){1,6})[.!]?$")
_CAPITALS = r"((?:[A-Z0-9][A-Z0-9'&%$!-]*)(?:\s+[A-Z0-9][A-Z0-9'&%$!-]*)*)"
_BARE_PAIR = re.compile(rf"\b(?i:replace|change|swap|turn)\s+(?:the (?:word|text|title)s?\s+)?{_CAPITALS}\s+"
                        rf"(?:with|to|by|into|for)\s+{_CAPITALS}")  # fmt: skip


@dataclass(frozen=True)
class Texts:
    """Pairs (old, new), None where there is none, or the old one is not said. is_new: the new ones come in addition.

    No pair: strings are named, but what is asked of them (another colour, say) is not for a reader to tell.
    """

    pairs: tuple[tuple[str | None, str | None], ...]
    is_new: bool = False


def changes(instruction: str, *, is_about_text: bool = False) -> Texts | None:
    """What is to become of the strings in quotation marks; None where there are none.

    is_about_text: strings are also taken without marks, if they are in capitals: the category says that there are some.
    """
    found = [(m.start(), m.end(), _clean(next(group for group in m.groups() if group))) for m in _quoted(instruction)]
    marks = [mark for mark in found if mark[2]]
    if not marks:
        return _bare(instruction) if is_about_text else None
    pairs: list[tuple[str | None, str | None]] = []
    outside = _outside(instruction, marks)
    verb, is_new, place, number = "", False, 0, 0
    while number < len(marks):
        start, end, text = marks[number]
        before = instruction[place:start].lower()
        after_here = marks[number + 1] if number + 1 < len(marks) else None
        between = instruction[end : after_here[0]].lower() if after_here else ""
        verb = _verb(before) or verb
        if after_here and _BACKWARDS.search(between):
            pairs.append((after_here[2], text))
        elif after_here and _FORWARDS.search(between) and " and " not in between and verb != "remove":
            pairs.append((text, after_here[2]))
        else:
            one = _single(before, text, verb, instruction[end:], outside)
            if one is None:
                return Texts(())
            is_new |= one[0] is None and verb == "add"
            pairs.append(one)
            place, number = end, number + 1
            continue
        assert after_here is not None
        place, number = after_here[1], number + 2
    return Texts(tuple(pairs), is_new and all(old is None for old, _ in pairs))


def _single(before: str, text: str, verb: str, after: str, outside: str) -> tuple[str | None, str | None] | None:
    """The pair of a string that stands alone; None where it is only spoken of."""
    if verb == "remove":
        return text, None
    if _BEFORE_NEW.search(before) and not re.search(r"\b(?:next|close|add\w*|similar) to\s*$", before):
        return None, text
    bare = re.match(r"\s+(?:to|with|into|by)\s+([A-Z0-9][\w'&%$-]*(?:\s+[\w'&%$-]+){0,3})[.!]?$", after)
    if bare and not _LOOKS.search(outside):
        return text, bare[1]
    if verb == "add":
        return None, text
    return None


def _verb(before: str) -> str:
    found = [(m.start(), "add") for m in _IS_NEW.finditer(before)] + [
        (m.start(), "remove") for m in _IS_OLD.finditer(before)
    ]
    return max(found)[1] if found else ""


def _bare(instruction: str) -> Texts | None:
    pair = _BARE_PAIR.search(instruction)
    if pair:
        return Texts(((pair[1], pair[2].rstrip("!")),))
    new = _BARE_NEW.search(instruction)
    return Texts(((None, new[1].strip(" ,")),)) if new else None


def _quoted(instruction: str) -> list[re.Match[str]]:
    return list(_QUOTED.finditer(instruction))


def _outside(instruction: str, marks: list[tuple[int, int, str]]) -> str:
    """The instruction without what is in quotation marks."""
    rest, place = "", 0
    for start, end, _ in marks:
        rest, place = rest + instruction[place:start], end
    return (rest + instruction[place:]).lower()


def _clean(text: str) -> str:
    """Without the comma or full stop that some put inside the marks."""
    return text.strip().rstrip(",").strip() if not text.strip().endswith("...") else text.strip()
