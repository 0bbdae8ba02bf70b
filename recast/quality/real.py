"""Did it change what was asked, and keep the rest? Scores of pictures whose truth nobody wrote down.

A panel of local models takes the place of a world's truth. Of each item the first check that can be made is made, and
its name is stored (`routing`, `checking`); where none can, the score has no value but the reason, and the coverage
falls. What needs a scale, the cosine of faces and the distance of blocks, is kept raw: the controls give the scale when
the table is made.

    instruction                 by ocr, boxes, colour, clip or judge
    face_cosine                 of pictures that must keep a face; dino_cosine of characters without one
    block_distance              of edits that must keep most of the picture, in mean delta E
    lpips, clip_direction       beside, in no column
    instructed, held            of chains: the share of all requests so far that hold, and whether all do
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from recast.quality import metrics, turns
from recast.quality.checking import Check, Found, prepare
from recast.quality.routing import Ask, family, parse
from recast.quality.sight import Sight
from recast.quality.store import Mode, Result, Score
from recast.quality.suites import Item, pixels

LOCAL_SHARE, TEXT_SHARE = 0.4, 0.25
"""Of the blocks, those that an edit may change when nobody knows where: the most different ones are left out."""
LPIPS_PX = 256  # its shorter side, whatever the picture's: the size moves the value
HOLDS = 0.999
NO_OP_MOST = 0.2
"""A judge that finds the request met in more pictures than this, to which nothing was done, cannot be used."""
ERRORS_MOST = 0.01


class Panel:
    """The local models of a run. absent: a reason for each measure that they cannot take."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight
        reasons = [sight.why_not(measure) for measure in sight.state]
        self.absent: tuple[str, ...] = tuple(reason for reason in reasons if reason)

    @classmethod
    def of(cls, folder: Path | None) -> Panel:
        """The models of a folder laid out as `features.files` says; None for none at all.

        Raises MissingWeights if there is no such folder: a mistyped path must not read as "nothing installed".
        """
        return cls(Sight.within(folder))

    def score(
        self, item: Item, results: Sequence[Result | None], pictures: Sequence[np.ndarray | None]
    ) -> Iterator[Score]:
        """The scores of all turns of an item, from its results and their pictures (None where there is none)."""
        mode: Mode = next((result.mode for result in results if result is not None), "free")
        sources = item.sources()
        first = before = sources[0] if sources else None
        chain: list[_Request] = []
        for number, (result, picture) in enumerate(zip(results, pictures, strict=True)):
            if result is None:
                return
            answer = item.turns[number - 1].answer if number else None
            if mode == "forced" and answer is not None:
                before = pixels(answer)
            unit = _Unit(item.key, number, mode)
            turn = self._turn(unit, item, first, before, chain)
            if picture is not None:
                shown, flags = metrics.register(picture, item.width, item.height)
                yield from self._made(turn, chain, shown, flags)
                before = shown
            elif result.status == "ok":  # a file was lost: nothing that the system did
                yield unit.none("instruction", "the picture is no longer in the run")
            else:
                yield from self._failed(turn, f"{result.status}: {result.reason}")

    def _turn(
        self, unit: _Unit, item: Item, first: np.ndarray | None, before: np.ndarray | None, chain: list[_Request]
    ) -> _Turn:
        """What can be asked of a turn, decided before its picture is looked at. Adds its request to the chain."""
        size = (item.height, item.width)
        instruction = item.turns[unit.turn].instruction
        ask = parse(instruction, item.category)
        source = before if before is not None and before.shape[:2] == size else None
        check = prepare(self.sight, ask, instruction, before if source is None else source)
        if source is None and before is not None and isinstance(check, Check) and check.name == "colour":
            check = "colour: the picture before has another size than the one that was asked for"
        chain[:] = [request for request in chain if not _overrides(ask, request.ask)]
        chain.append(_Request(ask, check))
        local = [_changed_share(request.ask, item.category) for request in chain]
        share: float | None = None
        if all(each is not None for each in local):
            is_chain = len(item.turns) > 1
            share = min(0.8, 0.2 * (unit.turn + 1)) if is_chain else local[-1]
        return _Turn(
            unit=unit,
            ask=ask,
            check=check,
            belongs=family(item.category),
            first=first if first is not None and first.shape[:2] == size else None,
            source=source,
            share=share,
            must_keep_face=self._must_keep_face(item, [request.ask for request in chain], first),
            is_chain=len(item.turns) > 1,
            instruction=instruction,
        )

    def _must_keep_face(self, item: Item, asks: Sequence[Ask], first: np.ndarray | None) -> bool:
        """Whether a face of the first picture has to be found again; known without the picture that was made."""
        belongs = family(item.category)
        if first is None or belongs == "style" or not all(ask.keeps_faces for ask in asks):
            return False
        return belongs == "character" or (not self.sight.why_not("identity") and self.sight.has_face(first))

    def _made(self, turn: _Turn, chain: Sequence[_Request], shown: np.ndarray, flags: Sequence[str]) -> Iterator[Score]:
        unit, flagged = turn.unit, {"flags": list(flags)}
        found = None
        if isinstance(turn.check, str):
            yield unit.none("instruction", turn.check, flagged)
        else:
            found = turn.check.look(shown, False)
            detail = {**flagged, **found.detail, "models": turn.check.stamp}
            yield unit.score("instruction", found.value, turn.check.name, detail, found.reason)
            chain[-1].value = found.value
            direction = found.detail.get("direction")
            if turn.check.name == "clip":
                reason = None if direction is not None else "the picture did not move"
                yield unit.score("clip_direction", direction, "clip", {"models": turn.check.stamp}, reason)
        if turn.must_keep_face:
            yield self._face(turn, shown)
        if turn.share is not None and turn.first is not None:
            yield self._distance(turn, shown)
        elif turn.is_chain:
            yield unit.none(
                "block_distance", "a request of this chain is, or may be, for the whole picture, or has another size"
            )
        if turn.source is not None and not self.sight.why_not("lpips"):
            yield self._lpips(turn, shown)
        if turn.is_chain:
            yield from _held(unit, chain, shown)
            yield from _aged(turn, shown)

    def _failed(self, turn: _Turn, reason: str) -> Iterator[Score]:
        """What a picture that never came scores: 0 wherever it would have counted."""
        names = ["instruction"]
        if turn.is_chain:
            names += ["instructed", "held", "kept", "quality"]
        elif turn.share is not None and turn.first is not None:
            names += ["kept", "precision"]
        names += ["consistency"] if turn.must_keep_face else []
        for name in names:
            # What no check could have been made of in a picture cannot be lost by having none.
            absent = (
                turn.check if name in ("instruction", "instructed", "held") and isinstance(turn.check, str) else None
            )
            absent = absent or (self.sight.why_not("identity") if name == "consistency" else None)
            yield turn.unit.none(name, absent) if absent else turn.unit.score(name, 0.0, "none", {}, reason)

    def _face(self, turn: _Turn, shown: np.ndarray) -> Score:
        """The cosine of the worst-kept face; of a character without a face, that of DINOv2's class tokens."""
        assert turn.first is not None or turn.belongs == "character"
        lacking = self.sight.why_not("identity")
        if lacking or turn.first is None:
            return turn.unit.none("face_cosine", lacking or "the first picture has another size")
        found = self.sight.likeness(turn.first, shown)
        stamp = {"models": self.sight.stamp("identity")}
        if found.eligible:
            # A face too few is a face that is gone: the column calls both "no_face", the detail tells them apart.
            reason = "no_face" if found.similarity is None else None
            detail = {**stamp, "faces": [found.source_faces, found.output_faces], "why": found.reason}
            return turn.unit.score("face_cosine", found.similarity, "auraface", detail, reason)
        return self._character(turn, shown, found.reason or "no face")

    def _character(self, turn: _Turn, shown: np.ndarray, why: str) -> Score:
        lacking = [reason for model in ("dino", "boxes") if (reason := self.sight.why_not(model))]
        if lacking:
            return turn.unit.none("face_cosine", f"{why}; {'; '.join(lacking)}")
        assert turn.first is not None
        subject = _subject(turn.instruction)
        boxes = [self.sight.boxes(picture, subject) for picture in (turn.first, shown)]
        detail = {"subject": subject, "models": self.sight.stamp("dino"), "why": why}
        for place, name in zip(boxes, ("no_subject_in_source", "no_subject"), strict=True):
            if not len(place):
                return turn.unit.score("dino_cosine", None, "dino", detail, name)
        cosine = self.sight.dino.likeness(turn.first, shown, (boxes[0][0], boxes[1][0]))
        return turn.unit.score("dino_cosine", cosine, "dino", detail)

    def _distance(self, turn: _Turn, shown: np.ndarray) -> Score:
        """Mean delta E of the blocks that had to stay: those beside the thing's boxes in the first picture, or, where
        none are known, the most alike ones. Never by boxes in the picture that was made: it would set its own limits.
        """
        assert turn.first is not None
        assert turn.share is not None
        goes = [turn.ask.instead_of] if turn.ask.instead_of else []
        goes += list(turn.ask.things) if turn.ask.kind in ("remove", "recolour") else []
        if goes and not turn.is_chain and not self.sight.why_not("boxes"):
            from recast.quality.features.regions import union_mask

            height, width = shown.shape[:2]
            boxes = [self._known_boxes(turn.first, thing) for thing in goes]
            if all(len(each) for each in boxes):
                outside = ~union_mask(np.concatenate(boxes), width=width, height=height)
                distance = metrics.trimmed_distance(turn.first, shown, 0, where=outside)
                if distance is not None:
                    detail = {"outside": round(float(outside.mean()), 4), "models": self.sight.stamp("boxes")}
                    return turn.unit.score("block_distance", distance, "mask", detail)
        distance = metrics.trimmed_distance(turn.first, shown, turn.share)
        return turn.unit.score("block_distance", distance, "trimmed", {"share": turn.share})

    def _known_boxes(self, picture: np.ndarray, thing: str) -> np.ndarray:
        from recast.errors import InputError

        try:
            return self.sight.boxes(picture, thing)
        except InputError:  # a phrase longer than the network reads names no place
            return np.zeros((0, 4))

    def _lpips(self, turn: _Turn, shown: np.ndarray) -> Score:
        assert turn.source is not None
        height, width = shown.shape[:2]
        scale = LPIPS_PX / min(height, width)
        size = (round(width * scale), round(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        pair = [cv2.resize(picture, size, interpolation=how) for picture in (turn.source, shown)]
        detail = {"models": self.sight.stamp("lpips"), "shorter_px": LPIPS_PX}
        return turn.unit.score("lpips", self.sight.lpips.distance(*pair), "lpips", detail)


class _Judged(Protocol):
    """A system's records as the table has them."""

    @property
    def id(self) -> str: ...
    @property
    def is_control(self) -> bool: ...
    @property
    def scores(self) -> Mapping[tuple[str, int], Mapping[str, Score]]: ...


def judge_warnings(entries: Sequence[_Judged]) -> list[str]:
    """What a reader must know of a judge that decided some items: whether it calls nothing a change, how often it errs.

    A judge is for a table only if the no-op control is near 0 by it; its errors are in no mean, and are counted here.
    """
    warnings = []
    for entry in entries:
        found = [score for unit in entry.scores.values() if (score := unit.get("instruction")) is not None]
        judged = [score for score in found if score.check == "judge"]
        if not judged:
            continue
        known = [score.value for score in judged if score.value is not None]
        if entry.id == "no-op" and entry.is_control and known and float(np.mean(known)) > NO_OP_MOST:
            warnings.append(
                f"judge: it finds {np.mean(known):.0%} of {len(known)} requests met in pictures to which nothing was "
                "done; the items it decided cannot be believed"
            )
        errors = 1 - len(known) / len(judged)
        if errors > ERRORS_MOST:
            warnings.append(f"{entry.id}: the judge failed on {errors:.0%} of the {len(judged)} items left to it")
        share = len(judged) / len(found)
        if not entry.is_control and share > 0.5:
            warnings.append(f"{entry.id}: {share:.0%} of the instruction column was decided by the judge alone")
    return warnings


@dataclass(eq=False)
class _Request:
    """A request of a chain, its check or why there is none, and what it was worth at its own turn."""

    ask: Ask
    check: Check | str
    value: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Turn:
    """What is known of a turn before its picture is looked at. first, source: None if of another size."""

    unit: _Unit
    ask: Ask
    check: Check | str
    belongs: str
    first: np.ndarray | None
    source: np.ndarray | None
    share: float | None
    must_keep_face: bool
    is_chain: bool
    instruction: str


@dataclass(frozen=True)
class _Unit:
    item: str
    turn: int
    mode: Mode

    def score(
        self,
        metric: str,
        value: float | None,
        check: str,
        detail: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Score:
        return Score(
            item=self.item,
            turn=self.turn,
            mode=self.mode,
            metric=metric,
            value=None if value is None else float(value),
            check=check,
            reason=reason,
            detail=detail or {},
        )

    def none(self, metric: str, reason: str, detail: Mapping[str, Any] | None = None) -> Score:
        """A score that could not be made."""
        return self.score(metric, None, "none", detail, reason)


def _held(unit: _Unit, chain: Sequence[_Request], shown: np.ndarray) -> Iterator[Score]:
    """How much of all that was asked for so far holds now. A judge is not asked again: it said so at its turn."""
    now: list[float] = []
    for request in chain:
        if isinstance(request.check, str):
            continue
        is_asked = request is chain[-1] or request.check.name == "judge"
        found = Found(value=request.value) if is_asked else request.check.look(shown, True)
        if found.value is not None:
            now.append(found.value)
    if not now:
        yield unit.none("instructed", "no request of this chain could be checked")
        yield unit.none("held", "no request of this chain could be checked")
        return
    detail = {"checked": len(now), "of": len(chain)}
    yield unit.score("instructed", float(np.mean(now)), "chain", detail)
    yield unit.score("held", float(min(now) >= HOLDS), "chain", detail)


def _aged(turn: _Turn, shown: np.ndarray) -> Iterator[Score]:
    """How a chain's picture has drifted from its first."""
    if turn.first is None:
        return
    drifted = turns.drift(turn.first, shown)
    for name in ("colour_shift", "sharpness"):
        if drifted[name] is not None:
            yield turn.unit.score(name, drifted[name], "drift")


def _changed_share(ask: Ask, category: str) -> float | None:
    """The share of blocks that an edit may change; None where it is, or may be, an edit of the whole picture."""
    belongs = family(category)
    if ask.kind in ("look", "scene") or belongs in ("global", "style", "character"):
        return None
    if ask.kind == "text" or belongs == "text":
        return TEXT_SHARE
    return LOCAL_SHARE if belongs == "local" or ask.kind != "other" else None


def _overrides(later: Ask, earlier: Ask) -> bool:
    """Whether a later request of a chain speaks of the same: then only the later one has to hold."""
    if later.kind == "text" and earlier.kind == "text":
        return bool({old for old, _ in later.texts if old} & {new for _, new in earlier.texts if new})
    if later.kind == earlier.kind == "look":
        return True
    speaks_of = {thing.split()[-1] for thing in (*later.things, later.instead_of or "") if thing}
    return bool(speaks_of & {thing.split()[-1] for thing in earlier.things})


def _subject(instruction: str) -> str:
    """The character that an instruction speaks of, in its own word: "the same fox is now …" is of a fox."""
    spoken = re.finditer(r"\b(?:this|the|that)(?: same| exact)? ([a-z-]+)", instruction.lower())
    not_one = {"style", "image", "picture", "photo", "same", "exact", "person", "character", "reference", "background"}
    return next((match[1] for match in spoken if match[1] not in not_one), "character")
