"""How the rows of a data set become examples: which field holds what, as data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from recast.errors import InputError
from recast.train.data.folder import inside
from recast.train.data.order import mixed
from recast.train.data.record import Encoded, Origin, Record
from recast.train.data.split import named

Row = Mapping[str, Any]
BETWEEN = "|"


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Where a row keeps what an example needs. A field is a name, a path "a.b", or several, "a|b": the first there is.

    A field of several values, or of values in a list, is what it says: contexts are all of them in order, instructions
    are ways to say the same, of which one is taken by the number of the example. turns: from a row to one row for each
    turn of a conversation; turns_field: the field that tells how many. group: what names the source picture, by which
    a set is split, so that no picture stands on both sides; where a set has no such name it is the field of the picture
    itself. halves: the target and its context are the right and the left half of one picture, each in a border of so
    many pixels. has_mask: a field that is 0 where the mask means nothing.
    """

    name: str
    licence: str
    storage: Literal["parquet", "lines", "list"]  # lines: one JSON object a line; list: one JSON array of them
    target: str
    contexts: tuple[str, ...] = ()
    instructions: tuple[str, ...] = ()
    inverse: str | None = None
    captions: tuple[str | None, str | None] = (None, None)  # of the first context, of the target
    mask: str | None = None
    has_mask: str | None = None
    id: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    kind: str | None = None
    scores: tuple[str, ...] = ()
    turns: Callable[[Row], Sequence[Row]] | None = None
    turns_field: str | None = None
    halves: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table that an example is made from."""
        if self.turns_field is not None:
            return (self.turns_field,)
        fields: Iterable[str | None] = (
            *(self.target, *self.contexts, *self.instructions, self.inverse, *self.captions, self.mask, self.kind),
            *(*self.id, *self.group, *self.scores, self.has_mask),
        )
        return tuple(dict.fromkeys(top for each in fields if each for top in tops(each)))

    def record(self, row: Row, number: int, place: str, folder: Path | None) -> Record:
        """The example of a row; its pictures may lie in a folder.

        number: of the example in its source. place: the file and the row, for errors. Raises InputError for a field
        that is missing or of another type.
        """
        target = self._pictures(row, self.target, place, folder)
        contexts = [each for name in self.contexts for each in self._pictures(row, name, place, folder)]
        if len(target) != 1 or (self.contexts and not contexts):
            raise InputError(f"{place}: {len(target)} targets and {len(contexts)} contexts; one target accepted")
        if self.halves is not None:
            contexts, target = _halved(target[0], self.halves)
        said = self._said(row, place)
        first, last = (_text(row, each) for each in self.captions)
        has_mask = self.mask is not None and value(row, self.mask) is not None
        if self.has_mask is not None:
            has_mask = has_mask and bool(int(value(row, self.has_mask) or 0))
        return Record(
            id="/".join(_named(value(row, each), f"{place}: {each}") for each in self.id) or str(number),
            contexts=tuple(contexts),
            target=target[0],
            instruction=said[mixed(number) % len(said)] if said else None,
            inverse=_text(row, self.inverse),
            captions=(*[first, *[None] * (len(contexts) - 1)][: len(contexts)], last),
            mask=self._pictures(row, self.mask or "", place, folder)[0] if has_mask else None,
            kind=_text(row, self.kind) or "",
            scores={name: float(value(row, name)) for name in self.scores if value(row, name) is not None},
            licence=self.licence,
        )

    @property
    def grouping(self) -> tuple[str, ...]:
        """The fields that name the source picture, or are it."""
        return self.group or self.contexts[:1] or (self.target,)

    def origin(self, row: Row, place: str) -> Origin:
        """Where a row comes from: the name of its source picture, or a hash of its bytes where the row holds these.

        Raises InputError for one that does not say.
        """
        parts = []
        for each in self.grouping:
            found = value(row, each)
            if found is None:
                raise InputError(
                    f"{place}: no {each}, by which the set is split; rows with it accepted, or data.held_out=0, by "
                    "which nothing is held out"
                )
            if isinstance(found, Mapping):
                found = found.get("bytes") or found.get("path")
            parts.append(named(found) if isinstance(found, bytes) else hashlib.sha256(str(found).encode()).digest())
        return Origin((parts[0] if len(parts) == 1 else hashlib.sha256(b"".join(parts)).digest(),))

    def _said(self, row: Row, place: str) -> list[str]:
        said: list[str] = []
        for name in self.instructions:
            found = value(row, name)
            for each in found if isinstance(found, list | tuple) else [found]:
                if isinstance(each, str) and each.strip():
                    said.append(each.strip())
                elif each is not None and not isinstance(each, str):
                    raise InputError(f"{place}: {name} is {type(each).__name__}; a text accepted; correct the row")
        return said

    def _pictures(self, row: Row, name: str, place: str, folder: Path | None) -> list[Encoded]:
        found = value(row, name)
        many = found if isinstance(found, list | tuple) else [found]
        return [_encoded(each, f"{place}: {name}", folder) for each in many]


def tops(field: str) -> list[str]:
    """The columns that a field may be found in."""
    return [each.partition(".")[0] for each in field.split(BETWEEN)]


def value(row: Row, field: str) -> Any:
    """What a row holds at a field, or None."""
    for path in field.split(BETWEEN):
        found: Any = row
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        if found is not None:
            return found
    return None


def _text(row: Row, field: str | None) -> str | None:
    found = value(row, field) if field else None
    return str(found).strip() if found is not None else None


def _named(found: Any, place: str) -> str:
    """One part of an id: a text, a number, or the one item of a list."""
    one = found[0] if isinstance(found, list | tuple) and len(found) == 1 else found
    if not isinstance(one, str | int) or one == "":
        raise InputError(f"{place}: {found!r} came; a text or a number, by which an example is known, accepted")
    return str(one)


def _encoded(found: Any, place: str, folder: Path | None) -> Encoded:
    """A picture in a row: bytes, {"bytes", "path"} as the hub stores them, or the path of a file in the folder.

    Of an address on the network the last part is looked for: nothing is fetched.
    """
    path = found.get("path") if isinstance(found, Mapping) else found
    data = found.get("bytes") if isinstance(found, Mapping) else found
    if isinstance(data, bytes):
        return Encoded(name=place, load=partial(_same, data))
    if not isinstance(path, str) or not path:
        raise InputError(
            f"{place}: {type(found).__name__} came; bytes or the path of a picture accepted; see its schema"
        )
    if folder is None:
        raise InputError(f"{place}: names the file {path!r}; the folder of the pictures is needed; pass pictures=...")
    if "://" in path:
        path = path.rpartition("/")[2]
    return Encoded(name=f"{place}: {path}", load=partial(_same, inside(folder, path)))


def _same(data: bytes | Path) -> bytes | Path:
    return data


def _halved(whole: Encoded, border: int) -> tuple[list[Encoded], list[Encoded]]:
    """The left and the right half of a picture, without their borders."""
    width, height = whole.measured()
    half = width // 2
    if width % 2 or half <= 2 * border or height <= 2 * border:
        raise InputError(f"{whole.name}: {width}x{height}; two halves with borders of {border} accepted")
    boxes = [(x + border, border, x + half - border, height - border) for x in (0, half)]
    left, right = (Encoded(name=whole.name, load=whole.load, box=box) for box in boxes)
    return [left], [right]
