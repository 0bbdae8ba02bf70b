"""A request and the picture before it → a check that looks at pictures after it: did it happen?

Whether a check can be made is decided by the words and the picture before alone. What a system made of it must not
decide how it is looked at, and a picture that never came fails the check that it would have been put to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.quality import captions, colours
from recast.quality.routing import Ask
from recast.quality.sight import Sight
from recast.quality.text_scores import RUN, ned, normalise, text_edit_terms

FLOOR_DB = 31.1
"""PSNR of the noise that stands for an autoencoder's: that of the published 16-channel one (arXiv 2506.15742, table 3).

Pictures that moved no further in CLIP's space than the source under such noise did not move. One floor for every
system: a system with a poor autoencoder gets no larger one.
"""
READABLE = 0.5
"""Likeness from which a line is the string that an instruction speaks of; below, the picture cannot be read."""
MODELS = {"ocr": ("ocr",), "boxes": ("boxes",), "colour": ("boxes",), "clip": ("clip",), "judge": ("judge",)}
"""What each check needs."""
ABSENT = ("a giraffe", "a submarine", "an accordion", "a lighthouse", "a chess board", "a parachute", "a snowmobile")
"""What a picture rarely shows: the judge is asked for one of these too, and must say no."""


class Unusable(Exception):
    """A check that cannot be made of an item; its text says why."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a check found: a value in 0..1, or None with the reason, and what is worth keeping of how."""

    value: float | None
    reason: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """A check of one request. look(picture, again): again, if others may have come after it (a chain)."""

    name: str
    look: Callable[[np.ndarray, bool], Found]
    stamp: str


def prepare(sight: Sight, ask: Ask, instruction: str, before: np.ndarray | None) -> Check | str:
    """The first check of the request that can be made; or, where none can, why each cannot.

    before: the picture to be changed, uint8 (H, W, 3); None where there is none.
    """
    makers: Mapping[str, Callable[[], Callable[[np.ndarray, bool], Found]]] = {
        "ocr": lambda: _reading(sight, ask, _needed(before)),
        "boxes": lambda: _counting(sight, ask, _needed(before)),
        "colour": lambda: _colouring(sight, ask, _needed(before)),
        "clip": lambda: _moving(sight, ask, _needed(before)),
        "judge": lambda: _judging(sight, instruction, before),
    }
    reasons = []
    for name in ask.checks:
        lacking = [reason for model in MODELS[name] if (reason := sight.why_not(model))]
        if lacking:
            reasons += lacking
            continue
        try:
            return Check(name, makers[name](), sight.stamp(MODELS[name][0]))
        except Unusable as error:
            reasons.append(f"{name}: {error}")
    return "; ".join(reasons)


def _needed(before: np.ndarray | None) -> np.ndarray:
    if before is None:
        raise Unusable("there is no picture before it to compare with")
    return before


def _reading(sight: Sight, ask: Ask, before: np.ndarray) -> Callable[[np.ndarray, bool], Found]:
    """The product of three: the new string is there, the old one gone, every other one as it was.

    Of several strings the worst counts. A string that comes in addition counts from what was like it before, so that
    doing nothing is 0. Where the old string is not said, it is the only line there is, or else the others are left out.
    Where it is misread before, what was read is what has to be gone.
    """
    lines = [normalise(line) for line in sight.lines(before)]
    pairs = [_told(pair, lines, is_new=ask.is_new_text) for pair in ask.texts]
    for old, new, _ in pairs:
        if old is not None and _likeness(old, lines) < READABLE:
            raise Unusable(f"{old!r} cannot be read in the picture before")
        if old is None and new is not None and _likeness(new, lines) == 1:
            raise Unusable(f"{new!r} is in the picture already")

    pairs = [(old and _nearest(old, lines)[1], new, knows_others) for old, new, knows_others in pairs]

    def look(after: np.ndarray, again: bool) -> Found:
        now = [normalise(line) for line in sight.lines(after)]
        values, terms = [], []
        for place, (old, new, knows_others) in enumerate(pairs):
            rest = lines
            for other_old, other_new, _ in (*pairs[:place], *pairs[place + 1 :]):
                rest = [line.replace(other_old, other_new or "") if other_old else line for line in rest]
            there, gone, others = text_edit_terms(new, old, [line for line in rest if line.strip()], now)
            if old is None and new is not None:
                already = _likeness(new, lines)
                there = max(0.0, (there - already) / (1 - already))
            others = others if knows_others and not again else 1.0
            values.append(there * gone * others)
            terms.append([round(term, 4) for term in (there, gone, others)])
        return Found(value=min(values), detail={"terms": terms, "read": sight.lines(after)})

    return look


def _told(
    pair: tuple[str | None, str | None], lines: Sequence[str], *, is_new: bool
) -> tuple[str | None, str | None, bool]:
    """(old, new, whether the other lines are known), normalised; a new string with no old one takes the only line."""
    old, new = (normalise(text) if text else None for text in pair)
    if old is None and not is_new:
        return (lines[0], new, True) if len(lines) == 1 and lines[0] != new else (None, new, not lines)
    return old, new, True


def _likeness(text: str, lines: Sequence[str]) -> float:
    """How near the nearest line, or lines in a row, comes to the text; 1 where a line holds it."""
    return _nearest(text, lines)[0]


def _nearest(text: str, lines: Sequence[str]) -> tuple[float, str]:
    """The likeness of the nearest line, or lines in a row, and how the text stands there."""
    runs = [" ".join(lines[i:j]) for i in range(len(lines)) for j in range(i + 1, min(i + RUN, len(lines)) + 1)]
    if any(text in run for run in runs):
        return 1.0, text
    return max(((ned(text, run), run) for run in runs), default=(0.0, text))


def _counting(sight: Sight, ask: Ask, before: np.ndarray) -> Callable[[np.ndarray, bool], Found]:
    """1 if the counts before and after say that what was asked for happened, otherwise 0."""
    goes = [ask.instead_of] if ask.instead_of else list(ask.things) if ask.kind == "remove" else []
    comes = [thing for thing in ask.things if thing not in goes]
    was = {thing: _count(sight, before, thing) for thing in (*goes, *comes)}
    for thing in goes:
        if not was[thing]:
            raise Unusable(f"{thing!r} is not found in the picture before")
    if ask.kind == "count" and was[comes[0]] == ask.count:
        raise Unusable(f"there are {ask.count} {comes[0]!r} in the picture already")

    def look(after: np.ndarray, again: bool) -> Found:
        now = {thing: _count(sight, after, thing) for thing in was}
        good = all(_is_gone(ask, thing, was[thing], now[thing]) for thing in goes)
        for thing in comes:
            if ask.kind == "count":
                good &= now[thing] == ask.count
            elif ask.count is not None and len(comes) == 1:
                good &= now[thing] == was[thing] + ask.count
            else:
                good &= now[thing] > was[thing]
        return Found(value=float(good), detail={"before": was, "after": now})

    return look


def _is_gone(ask: Ask, thing: str, was: int, now: int) -> bool:
    """Of "the cars" none may be left, of "two cars" two fewer; of "the car" one less is enough, there may be others."""
    last = thing.split()[-1]
    if ask.kind == "remove" and ask.count is not None and len(ask.things) == 1:
        return now == max(0, was - ask.count)
    is_plural = last in ("people", "men", "women", "children") or (last.endswith("s") and not last.endswith("ss"))
    return now == 0 if ask.takes_all or is_plural else now < was


def _count(sight: Sight, picture: np.ndarray, thing: str) -> int:
    return len(_boxes(sight, picture, thing))


def _boxes(sight: Sight, picture: np.ndarray, thing: str) -> np.ndarray:
    try:
        return sight.boxes(picture, thing)
    except InputError as error:  # a phrase longer than the network reads
        raise Unusable(str(error)) from None


def _colouring(sight: Sight, ask: Ask, before: np.ndarray) -> Callable[[np.ndarray, bool], Found]:
    """The share of the subject's pixels in the colour's part of Lab, less the share that was there before."""
    assert ask.colour is not None
    colour, boxes = ask.colour, _boxes(sight, before, ask.things[0])
    if not len(boxes):
        raise Unusable(f"{ask.things[0]!r} is not found in the picture before")
    where = colours.subject(before, boxes)

    def look(after: np.ndarray, again: bool) -> Found:
        was, now = colours.gain(before, after, where, colour)
        detail = {"before": round(was, 4), "after": round(now, 4), "colour": colour}
        return Found(value=max(0.0, now - was), detail=detail)

    return look


def _moving(sight: Sight, ask: Ask, before: np.ndarray) -> Callable[[np.ndarray, bool], Found]:
    """1 if the picture moved in CLIP's space the way its caption says rather than another's, and further than noise."""
    from recast.quality.features import clip

    said = captions.of(ask)
    if said is None:
        raise Unusable("too few other captions are left to tell it from")
    try:
        texts = sight.captions([said.source, said.target, *said.others])
    except InputError as error:  # a caption longer than the network reads
        raise Unusable(str(error)) from None
    start = sight.vector(before)
    floor = float(np.linalg.norm(sight.vector(noisy(before)) - start))

    def look(after: np.ndarray, again: bool) -> Found:
        try:
            found = clip.retrieval(start, sight.vector(after), texts[0], texts[1], texts[2:], floor=floor)
        except InputError as error:  # the network cannot tell two captions apart
            return Found(value=None, reason=str(error))
        return Found(
            value=float(found.success),
            detail={
                "rank": found.rank,
                "chance": round(found.chance, 4),
                "moved": round(found.moved, 6),
                "floor": round(found.floor, 6),
                "direction": found.cosines[0],
                "caption": said.target,
            },
        )

    return look


def noisy(picture: np.ndarray) -> np.ndarray:
    """The picture under white noise of FLOOR_DB, the same for the same picture."""
    noise = np.random.default_rng(0).normal(0, 255 * 10 ** (-FLOOR_DB / 20), picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def _judging(sight: Sight, instruction: str, before: np.ndarray | None) -> Callable[[np.ndarray, bool], Found]:
    """1 if the judge says that the change is there; nothing if it fails its control, or gives no answer."""
    from recast.quality.features.judge import Question

    asked = (
        f"The first picture was to be changed as follows: {instruction}\n"
        "Does the second picture show this change, made as asked?"
        if before is not None
        else f"Does the picture show what these words ask for? {instruction}"
    )
    rare = [thing for thing in ABSENT if thing.split()[-1] not in instruction.lower()]
    absent = rare[hashlib.sha256(instruction.encode()).digest()[0] % len(rare)]
    control = f"Does the {'second ' if before is not None else ''}picture show {absent}?"
    questions = [Question(text=asked), Question(text=control, right="no", is_control=True)]

    def look(after: np.ndarray, again: bool) -> Found:
        verdict = sight.judge.ask([after] if before is None else [before, after], questions)
        if verdict.status != "ok":
            return Found(value=None, reason=f"judge_error: {verdict.reason}")
        detail = {"answers": list(verdict.answers)}
        if not verdict.controls_right:
            return Found(value=None, reason=f"judge_control: it sees {absent}, or is not sure", detail=detail)
        return Found(value=verdict.share, detail=detail)

    return look
