"""An example whose pictures are still encoded, and the part that all sources of such examples share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from recast.errors import InputError
from recast.train.data import pictures
from recast.train.data.example import Example, Shape, Source


@runtime_checkable
class Identified(Source, Protocol):
    """A source that can name an example without decoding it."""

    def id(self, index: int) -> str:
        """The id of example `index`."""
        ...


class Origin(NamedTuple):
    """Where an example comes from, as far as a split asks.

    pictures: what names its source picture, and its target where that may be another's source: examples that share one
    stay on one side. () where nobody can tell.
    """

    pictures: tuple[bytes, ...] = ()


@runtime_checkable
class Traced(Identified, Protocol):
    """A source that knows where its examples come from."""

    def origins(self) -> Iterator[Origin]:
        """The origin of every example, in order."""
        ...

    def published(self) -> Sequence[bool] | None:
        """Of every example whether those who published the set hold it out; None where they do not say. Fast."""
        ...


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A picture in a file, or in a part of one."""

    name: str  # the file and the place in it, for errors
    load: Callable[[], bytes | Path]
    size: tuple[int, int] | None = None  # (width, height) where it is known without looking
    box: tuple[int, int, int, int] | None = None  # left, top, right, bottom of the part of it that counts

    def decoded(self) -> np.ndarray:
        """The picture (H, W, 3) uint8."""
        whole = pictures.read(self.load(), self.name)
        if self.box is None:
            return whole
        left, top, right, bottom = self.box
        return whole[top:bottom, left:right]

    def measured(self) -> tuple[int, int]:
        """(width, height), from the header at most."""
        if self.box is not None:
            return self.box[2] - self.box[0], self.box[3] - self.box[1]
        return self.size or pictures.size(self.load(), self.name)


@dataclass(frozen=True, kw_only=True)
class Record:
    """An example, its pictures not read yet. The fields are those of `Example`."""

    id: str
    contexts: tuple[Encoded, ...] = ()
    target: Encoded
    instruction: str | None = None
    inverse: str | None = None
    captions: tuple[str | None, ...] | None = None  # of contexts, then target; None: of none
    mask: Encoded | None = None
    base: int = 0
    kind: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    licence: str = "unknown"
    truth: Mapping[str, Any] | None = None

    def shape(self) -> Shape:
        """The sizes of its pictures. Raises InputError for one whose header cannot be read."""
        return Shape(self.target.measured(), tuple(each.measured() for each in self.contexts))

    def decode(self) -> Example:
        """The example. Raises InputError for a picture that cannot be read, a pair whose shapes differ, or no words."""
        captions = self.captions or (None,) * (len(self.contexts) + 1)
        if len(captions) != len(self.contexts) + 1:
            raise InputError(
                f"{self.id}: {len(captions)} captions for {len(self.contexts)} contexts and a target; one each accepted"
            )
        if not any(each and each.strip() for each in ((self.instruction,) if self.contexts else captions)):
            what = "instruction" if self.contexts else "caption"
            raise InputError(f"{self.id}: its {what} is empty; words accepted; write them, or leave the example out")
        target = self.target.decoded()
        mask = None
        if self.mask is not None:
            mask = pictures.mask(self.mask.load(), target.shape[1], target.shape[0], self.mask.name)
        return pictures.check(
            Example(
                id=self.id,
                contexts=tuple(each.decoded() for each in self.contexts),
                target=target,
                instruction=self.instruction,
                inverse=self.inverse,
                captions=captions,
                mask=mask,
                base=self.base,
                kind=self.kind,
                scores=self.scores,
                licence=self.licence,
                truth=self.truth,
            )
        )


class Records(ABC):
    """A source whose examples come as records: `record`, `length` and `about` are all that is left to write."""

    @property
    @abstractmethod
    def length(self) -> int | None: ...

    @abstractmethod
    def record(self, index: int) -> Record:
        """Record `index`. Raises InputError that names the file and the place if it cannot be found there."""

    @abstractmethod
    def about(self) -> Mapping[str, Any]: ...

    def shape(self, index: int) -> Shape:
        return self.record(index).shape()

    def example(self, index: int) -> Example:
        return self.record(index).decode()

    def id(self, index: int) -> str:
        return self.record(index).id

    def published(self) -> Sequence[bool] | None:
        return None
