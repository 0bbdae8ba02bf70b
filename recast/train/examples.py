"""The examples of a run: what it is trained on, what it is judged by, and how both are put together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from recast.config import ModelConfig
from recast.errors import ConfigError, InputError
from recast.train import parallel
from recast.train.data.buckets import Batching
from recast.train.data.example import Batch, Example, Shape, Source
from recast.train.data.folder import FolderSource
from recast.train.data.loader import Loader, collated
from recast.train.data.mixture import Mixture, shares
from recast.train.data.order import Permutation, Selected
from recast.train.data.pictures import fitted, shape_of
from recast.train.data.public import SCHEMAS, schema
from recast.train.data.record import Identified, Traced
from recast.train.data.shards import ShardSource
from recast.train.data.sheets import SheetSource
from recast.train.data.split import split
from recast.train.data.tables import ListSource, ParquetSource
from recast.train.data.world import LENGTHS, WorldSource
from recast.train.parallel import Ranks
from recast.train.presets import SHEETS, WORLD, Data
from recast.train.settings import as_json

log = logging.getLogger(__name__)

DRAWN = (WORLD, SHEETS)
"""Kinds of place that are drawn, and have a held-out split of their own."""


UNASKED = ("workers", "shown", "statistics")
"""Settings of data that change no example that is trained on."""


@dataclass(frozen=True)
class Sides:
    """One place: what is trained on, what is judged by, and how many of that are wanted."""

    place: str
    train: Source
    judged: Source | None
    wanted: int
    length: int | None  # of the whole place
    is_shared_out: bool = False  # by `data.held_out_share`; else all that is there may judge


class Examples:
    """The examples of a run.

    What is drawn is judged by its held-out split. Of files, some examples are held out (`data.split`), unless
    `data.held_out_from` names a place to judge by. Several places are judged in proportion to their weights.
    least: how many must be there to judge by. event: is told what is held out.
    Raises ConfigError for a kind of place that does not exist, for settings that none of these places reads, and for
    pictures that are both trained on and judged by.
    """

    def __init__(
        self, data: Data, model: ModelConfig, *, least: int = 0, event: Callable[..., None] | None = None
    ) -> None:
        _require_read(data)
        if data.only is not None and len(data.places) > 1:
            raise ConfigError(f"only={data.only!r}: {len(data.places)} places came; one accepted; select before mixing")
        self.data, self.model, self.least, self.event = data, model, least, event
        weights = [_weight(place) for place in data.places]
        wanted = shares(weights, max(data.held_out, least) if data.held_out_from is None else 0)
        self.sides = self._sides(wanted)
        parts = list(zip((side.train for side in self.sides), weights, strict=True))
        self.train: Source = parts[0][0] if len(parts) == 1 else Mixture(parts, data.seed)
        if data.held_out_from is not None:
            self.sides.append(self._apart(data.held_out_from))

    @property
    def batching(self) -> Batching:
        """How they are put together for this model."""
        return Batching(
            batch_size=self.data.batch_size if self.data.tokens is None else None,
            tokens=self.data.tokens,
            pixels_per_token=self.model.pixels_per_token,
            sizes=self.data.buckets,
            multiple=self.data.multiple,
        )

    def loader(
        self,
        ranks: Ranks = parallel.ALONE,
        event: Callable[..., None] | None = None,
        *,
        batch_size: int | None = None,
    ) -> Loader:
        """The batches that are trained on, from the first. batch_size: instead of `data.batch_size`."""
        return Loader(
            self.train,
            batching=self.batching if batch_size is None else replace(self.batching, batch_size=batch_size),
            ranks=ranks,
            seed=self.data.seed,
            workers=self.data.workers,
            on_bad=self.data.on_bad,
            event=event,
            asked=self._asked(),
        )

    def held_out(self, count: int | None = None) -> list[Example]:
        """What the run is judged by: `data.held_out` examples, fewer of few files, or the first `count` of these.

        Any beginning of them is of all places, in proportion. Raises ConfigError where there are fewer than `least`, or
        fewer drawn ones than asked for.
        """
        turns = sorted(((n + 0.5) / side.wanted, k) for k, side in enumerate(self.sides) for n in range(side.wanted))
        streams = [self._readable(side) for side in self.sides]
        found: list[Example] = []
        each: list[list[Example]] = [[] for _ in self.sides]
        short: set[int] = set()
        for _, k in turns:
            if len(found) == count:
                break
            new = list(islice(streams[k], 1))
            found, each[k] = found + new, each[k] + new
            short |= set() if new else {k}
        if len(found) < self.least:
            raise ConfigError(
                f"held_out: {len(found)} of {self.least} needed to judge by can be held out of "
                f"{', '.join(self.data.places)}; more source pictures accepted, or others in data.held_out_from"
            )
        for k, side in enumerate(self.sides):
            if (each[k] or k in short) and kind_of(side.place)[0] not in DRAWN:
                self._tell(side, each[k], is_short=k in short)
        return found

    def batches(self, examples: list[Example], ranks: Ranks = parallel.ALONE) -> list[Batch]:
        """These, stretched to their buckets, each batch of one shape and no larger than a process trains on at once."""
        batching = self.batching

        def key(example: Example) -> Shape:
            return batching.key(shape_of(example))

        numbers, batches = iter(range(len(examples))), []
        for shape, group in groupby(sorted(examples, key=key), key=key):
            most = max(1, batching.capacity(shape) // ranks.data_size)
            while same := [fitted(example, shape) for example in islice(group, most)]:
                batches.append(collated(same, list(islice(numbers, len(same))), len(examples)))
        return batches

    def require_apart(self, ids: Iterable[str], what: str) -> None:
        """Raises ConfigError where one of these examples, by which `what` judges, is trained on; of files, by its id.

        What is drawn is judged by another split than it is trained on, by whomever.
        """
        left = set(ids)
        for side in self.sides:
            if isinstance(side.judged, Identified):
                is_drawn = kind_of(side.place)[0] in DRAWN
                left -= set(_names(side.judged, len(left) if is_drawn else None))
        for side in self.sides if left else []:  # they may be of other places: look at what is trained on
            trained = _names(side.train) if isinstance(side.train, Traced) else iter(())
            if found := next((name for name in trained if name in left), None):
                raise ConfigError(
                    f"held_out={self.data.held_out}: {found} of {side.place} is trained on, and {what} judges by it; "
                    "data.held_out, held_out_share and held_out_from as when that was written accepted; set them, or "
                    "take others"
                )

    def _asked(self) -> dict[str, Any]:
        """The settings that choose the examples and put them together, but those that say nothing."""
        said = as_json(self.data)
        return {name: value for name, value in said.items() if name not in UNASKED and value not in (None, [], {})}

    def _sides(self, wanted: Sequence[int]) -> list[Sides]:
        limit, found = self.model.text.max_length - 1, []
        for place, count in zip(self.data.places, wanted, strict=True):
            whole, judged = _one(place, self.data, limit), None
            if self.data.only is not None:
                whole = Selected(whole, _ids(self.data.only))
            if kind_of(place)[0] in DRAWN:
                judged = _one(place, self.data, limit, "held out")
                if judged.length is not None and judged.length < count:
                    raise ConfigError(f"held_out={count}: at most {judged.length} accepted; there are no more")
            found.append(Sides(place, whole, judged, count, whole.length))
        # All files at once: a picture may be in two places.
        files = [(n, side.train) for n, side in enumerate(found) if side.judged is None]
        sources = [source for _, source in files if isinstance(source, Traced)]
        parted = split(sources, [found[n].wanted for n, _ in files], self.data.held_out_share)
        for (n, _), source, (train, judged) in zip(files, sources, parted, strict=True):
            found[n] = replace(found[n], train=train, judged=judged, is_shared_out=source.published() is None)
        return found

    def _apart(self, place: str) -> Sides:
        """The side of a place of its own to judge by."""
        judged = _one(place, self.data, self.model.text.max_length - 1, "held out")
        if isinstance(judged, Traced):
            known = {
                picture
                for side in self.sides
                if isinstance(side.train, Traced)
                for origin in side.train.origins()
                for picture in origin.pictures
            }
            for number, origin in enumerate(judged.origins()):
                if known.intersection(origin.pictures):
                    raise ConfigError(
                        f"held_out_from={place!r}: {judged.id(number)} shows a picture that is trained on; pictures "
                        "that are on one side alone accepted; take it out of one of them"
                    )
        return Sides(place, self.train, judged, self.data.held_out, judged.length)

    def _readable(self, side: Sides) -> Iterator[Example]:
        """The examples to judge by; those that cannot be read stop the run or are told of, as `data.on_bad` says."""
        if side.judged is None:
            return
        count = side.judged.length or side.wanted
        is_listed = side.place == self.data.held_out_from and side.judged.length is not None
        order = Permutation(count, 0) if is_listed else range(count)  # neighbours in a list are often alike
        for place in range(count):
            try:
                example = side.judged.example(order[place])
                self.batching.key(shape_of(example))  # it has a place in a batch
            except InputError as error:
                if self.data.on_bad == "stop":
                    raise
                log.warning("bad example held_out=%d reason=%s", place, error)
                if self.event is not None:
                    self.event("bad example", number=place, instead=None, reason=str(error))
            else:
                yield example

    def _tell(self, side: Sides, judged: list[Example], *, is_short: bool) -> None:
        """What is held out of files, and why it is less than wanted."""
        if self.event is not None:
            names = [example.id for example in judged]
            self.event("held out", place=side.place, examples=names, trained_on=side.train.length)
        if is_short:
            why = "there are no more that can be read"
            if side.is_shared_out:
                why = f"at most a share of {self.data.held_out_share:g} is, in whole source pictures"
            none = ", so it is trained on all and not judged" if side.judged is None else ", so it is not judged"
            log.warning(
                "held out: %d of the %s examples of %s, not %d, to judge the run by%s: %s; --held-out names others",
                len(judged),
                side.length,
                side.place,
                side.wanted,
                "" if judged else none,
                why,
            )


def source(data: Data, limit_bytes: int) -> Source:
    """All examples that `data.places` name, those that a run would hold out of files too.

    Raises ConfigError for a kind of place that does not exist, and for settings that none of these places reads.
    """
    _require_read(data)
    parts = [(_one(place, data, limit_bytes), _weight(place)) for place in data.places]
    return parts[0][0] if len(parts) == 1 else Mixture(parts, data.seed)


# Places.


def kind_of(place: str) -> tuple[str, str]:
    """The kind of a place, and its path. Raises ConfigError for a kind that does not exist."""
    kind, colon, path = (place.rpartition("@")[0] or place).partition(":")
    if (kind in (WORLD, SHEETS) and not colon) or (colon and kind in ("folder", "shards", *SCHEMAS)):
        return kind, path
    raise ConfigError(
        f"data={place!r}: {WORLD}, {SHEETS}, folder:PATH, shards:PATH, or a public set as {', '.join(SCHEMAS)}:PATH "
        "accepted"
    )


def _is_sheets(data: Data) -> bool:
    """Whether sheets are all there is."""
    return all(kind_of(place)[0] == SHEETS for place in data.places)


def _require_read(data: Data) -> None:
    """Raises ConfigError for settings of the world where there are sheets alone, of sheets where there are none."""
    unread: tuple[str, ...] = ()
    if _is_sheets(data):
        unread = ("size_weights", "categories", "kinds", "lengths", "scene")
    elif all(kind_of(place)[0] != SHEETS for place in data.places):
        unread = ("colours",)
    for name in unread:
        if value := getattr(data, name):
            raise ConfigError(
                f"{name}={value!r}: not read by {', '.join(data.places)}; set data.{name}="
                f"{'[]' if isinstance(value, tuple) else 'none'}, or take examples that it is for"
            )


def _one(place: str, data: Data, limit_bytes: int, side: str = "train") -> Source:
    """All of a place; of what is drawn, this side of it."""
    kind, path = kind_of(place)
    if kind == WORLD:
        return WorldSource(**_world(data, limit_bytes), split=side)
    if kind == SHEETS:
        return _sheets(data, side)
    if kind == "folder":
        return FolderSource(path)
    if kind == "shards":
        return ShardSource(path)
    wanted = schema(kind)
    files = sorted(Path(path).rglob("*.parquet")) if Path(path).is_dir() else [Path(path)]
    if wanted.storage == "parquet":
        pictures = Path(path) if Path(path).is_dir() else None
        return ParquetSource(files, wanted, pictures=pictures, on_bad=data.on_bad)
    return ListSource([Path(path)], wanted, on_bad=data.on_bad)


def _weight(place: str) -> float:
    _, at, weight = place.rpartition("@")
    try:
        found = float(weight) if at else 1.0
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ConfigError(
            f"data={place!r}: a number above 0 after the last @ accepted, such as {WORLD}@0.2; end a path that has "
            "one of its own with @1"
        )
    return found


def _world(data: Data, limit_bytes: int) -> dict[str, Any]:
    return {
        "seed": data.seed,
        "sizes": data.weighted_sizes,
        "categories": data.categories,
        "kinds": data.kinds,
        "lengths": data.lengths or LENGTHS,
        "limit_bytes": limit_bytes,
        "scene": data.scene,
        "things": data.things,
    }


def _sheets(data: Data, split: str) -> SheetSource:
    """Raises ConfigError for more than one size."""
    if len(data.sizes) > 1:
        raise ConfigError(f"sizes={data.sizes}: one accepted of sheets; leave one")
    return SheetSource(things=data.things, colours=data.colours, size=data.sizes[0], split=split, seed=data.seed)


def _names(source: Identified, most: int | None = None) -> Iterator[str]:
    """The ids of the first `most` examples of a source, or of all of a finite one."""
    return map(source.id, range(min(each for each in (source.length, most) if each is not None)))


def _ids(path: str) -> list[str]:
    try:
        return [line for line in Path(path).read_text(encoding="utf-8-sig").split("\n") if line]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"only={path!r}: {error}; a file of ids, one a line, as lint writes it, accepted") from None
