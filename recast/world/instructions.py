"""Instructions: what is asked, said as people say it.

`instruct` takes one phrasing of `phrases` and dresses it: polite or terse, capitals or not, one of several quotation
marks, now and then a typo (never inside quotation marks).
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from recast.errors import InputError
from recast.world.dice import Dice
from recast.world.phrases import KEEPERS, TEMPLATES, WRAPPERS
from recast.world.vocabulary import article

Phrase = tuple[str, Mapping[str, str]]
"""A kind of `phrases` and what its slots say. Slots called quote and old_quote hold a title, without marks."""

QUOTES = {('"', '"'): 10, ("“", "”"): 5, ("'", "'"): 4, ("‘", "’"): 2, ("«", "»"): 0.5, ("`", "`"): 0.5}
BETWEEN = (" above ", " over ")
"""What stands between two lines of a quoted text, each in quotation marks."""
TYPO_RATE = 0.04
SLIPS = ("swap", "drop", "double")
TRIES = 80
_HELD = 0xE000  # private characters stand for quoted strings until everything around them is done


def instruct(
    phrases: Sequence[Phrase],
    dice: Dice,
    *,
    limit_bytes: int | None = None,
    keeps_rest: bool = True,
    typos: bool = True,
) -> str:
    """An instruction that asks for everything in `phrases`, in one remark.

    limit_bytes: the longest accepted, in UTF-8; another phrasing is taken until one fits, none is cut. keeps_rest:
    whether "and keep everything else" may be said. typos: whether one instruction in 25 may have one.
    Raises InputError for an unknown kind, a slot that no phrasing can do without, and a limit that none meets.
    """
    for attempt in range(TRIES):
        said = _remark(phrases, dice.stream("say", attempt), keeps_rest, typos)
        if limit_bytes is None or len(said.encode()) <= limit_bytes:
            return said
    raise InputError(f"limit_bytes={limit_bytes}: no phrasing of {[kind for kind, _ in phrases]} is so short; raise it")


def usable(kind: str, slots: Mapping[str, str]) -> list[str]:
    """The phrasings of a kind all of whose slots are given. Raises InputError if there are none, or no such kind."""
    if kind not in TEMPLATES:
        raise InputError(f"kind={kind!r}: no phrasings; kinds of `phrases.TEMPLATES` accepted")
    found = [line for line in TEMPLATES[kind] if _slots(line) <= set(slots)]
    if not found:
        raise InputError(f"slots={sorted(slots)}: too few for any phrasing of {kind!r}; see `phrases`")
    return found


def quoted(text: str, marks: tuple[str, str], dice: Dice) -> str:
    """The text in quotation marks, each of its lines in its own: `"TOP" above "TEN"`."""
    lines = [f"{marks[0]}{line}{marks[1]}" for line in text.split("\n")]
    return dice.choice(BETWEEN).join(lines)


def quotation_marks(texts: Sequence[str], dice: Dice) -> tuple[str, str]:
    """Marks that do not occur in the texts themselves. Raises InputError if there are none."""
    left = {m: w for m, w in QUOTES.items() if not any(set(m) & set(text) for text in texts)}
    if not left:
        marks = " ".join("".join(pair) for pair in QUOTES)
        raise InputError(f"texts={list(texts)}: all quotation marks occur in them; leave out one pair of {marks}")
    return dice.weighted(left)


def typo(text: str, dice: Dice) -> str:
    """The text with one slip of the fingers inside one word of five letters or more; itself if it has none."""
    places = _slip_places(text)
    if not places:
        return text
    at = dice.choice(places)
    return _slip(text, at, dice.choice(SLIPS))


def every_typo(text: str) -> set[str]:
    """Every text that `typo` makes of this one."""
    return {_slip(text, at, slip) for at in _slip_places(text) for slip in SLIPS} or {text}


def _slip_places(text: str) -> list[int]:
    """Where a finger may slip: at the letter after the first of any five in a row."""
    return [i + 1 for i in range(len(text) - 4) if text[i : i + 5].isalpha() and text[i : i + 5].isascii()]


def _slip(text: str, at: int, slip: str) -> str:
    if slip == "swap" and text[at] != text[at + 1]:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + ("" if slip == "drop" else text[at] * 2) + text[at + 1 :]


def finish(text: str, held: Sequence[str], dice: Dice, *, typos: bool) -> str:
    """The text with its capitals, its full stop and perhaps a typo, and at last the quoted strings in their places."""
    text = " ".join(text.split())
    if dice.stream("typo").chance(TYPO_RATE) and typos:
        text = typo(text, dice.stream("slip"))
    if dice.stream("capital").chance(0.55):
        text = text[0].upper() + text[1:]
    if text[-1] not in "?.!" and dice.stream("stop").chance(0.3):
        text += dice.stream("end").weighted({".": 9, "!": 1})
    for i, each in enumerate(held):
        text = text.replace(chr(_HELD + i), each)
    return text


def hold(held: list[str], text: str) -> str:
    """A placeholder for a quoted string, which `finish` puts in."""
    held.append(text)
    return chr(_HELD + len(held) - 1)


def _remark(phrases: Sequence[Phrase], dice: Dice, keeps_rest: bool, typos: bool) -> str:
    held: list[str] = []
    texts = [text for _, slots in phrases for name, text in slots.items() if name.endswith("quote")]
    marks = quotation_marks(texts, dice.stream("marks"))
    clauses = []
    for i, (kind, slots) in enumerate(phrases):
        lines = usable(kind, slots)
        if len(phrases) > 1:  # only imperatives can be joined to each other
            lines = [line for line in lines if not line.startswith("~") and ":" not in line]
        line = dice.stream("line", i).choice(lines)
        said = {f"an_{name}": article(text) for name, text in slots.items() if text} | dict(slots)
        for name in ("quote", "old_quote"):
            if name in slots:
                said[name] = hold(held, quoted(slots[name], marks, dice.stream("lines", i)))
        clauses.append(line.format_map(said).format_map(said))
    text = join(clauses, dice.stream("join"))
    if text.startswith("~"):
        return finish(text[1:], held, dice, typos=typos)
    wrap = dice.stream("wrap")
    if keeps_rest and wrap.chance(0.08):
        text = wrap.choice(KEEPERS).format(x=text)
    elif wrap.chance(0.45):
        text = wrap.choice(WRAPPERS).format(x=text)
    return finish(text, held, dice, typos=typos)


def join(clauses: Sequence[str], dice: Dice) -> str:
    """The clauses as one: "a", "a and b", "a, b and c"."""
    if len(clauses) == 1:
        return clauses[0]
    last = dice.choice((" and ", " and ", ", and ", ", then ", " and then ", " and also "))
    return ", ".join(clauses[:-1]) + last + clauses[-1]


def _slots(line: str) -> set[str]:
    return {name.removeprefix("an_") for _, name, _, _ in string.Formatter().parse(line) if name}
