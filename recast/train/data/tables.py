"""Data sets whose rows are in files of their own: Parquet tables, JSON lines, JSON arrays; each by a schema."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recast.errors import ConfigError, InputError
from recast.train.data.folder import lines
from recast.train.data.record import Origin, Record, Records
from recast.train.data.schema import Row, Schema, tops

log = logging.getLogger(__name__)

SPLIT = re.compile(r"(?:dev|val|validation|test)[-_.]")
"""How the hub names the files of a split that is not to be trained on: dev-00000-of-00004.parquet."""
EARLIER: Mapping[str, Any] = {"part": "all", "held_out": 0.01}
"""What `about` of a whole set has said from the first, so that runs that began by it go on."""
OnBad = Literal["stop", "skip"]
GROUPS_KEPT = 2
"""Row groups that a process holds in memory: the one it reads from, and the one before."""


class ParquetSource(Records):
    """The rows of Parquet files, one example each, or one for each turn; read by row groups, the last ones kept.

    pictures: the folder of those that are not in the table. on_bad: "stop" or "skip": whether a row that does not name
    its source picture stops a split. Raises InputError for no files, a file that is no Parquet, or one that lacks a
    column of the schema.
    """

    def __init__(
        self,
        files: Sequence[Path | str],
        schema: Schema,
        *,
        pictures: Path | str | None = None,
        on_bad: OnBad = "stop",
    ) -> None:
        _check(schema, files, ("parquet",))
        self.files, self.schema, self.on_bad = [Path(each) for each in files], schema, on_bad
        self.pictures = Path(pictures) if pictures is not None else None
        self.columns = [self._columns(path) for path in self.files]
        self.rows, self.blocks = self._placed()
        if not len(self.rows):
            raise InputError(f"files: no rows in {len(self.files)} files; at least one accepted")
        self._group = lru_cache(maxsize=GROUPS_KEPT)(self._read)

    @property
    def length(self) -> int:
        return len(self.rows)

    def record(self, index: int) -> Record:
        file, group, place, turn = (int(each) for each in self.rows[index])
        where = f"{self.files[file]}: row group {group}, row {place}"
        row: Row = self._group(file, group)[place]
        if self.schema.turns is not None:
            row, where = self.schema.turns(row)[turn], f"{where}, turn {turn + 1}"
        return self.schema.record(row, index, where, self.pictures)

    def origins(self) -> Iterator[Origin]:
        """By the schema, of which only these columns are read: where one is the picture itself, the whole set."""
        return _origins(self._named_rows(), self.schema, self.on_bad)

    def published(self) -> Sequence[bool] | None:
        """By the names of the files, where some have the name of such a split and some have not."""
        own = [SPLIT.match(path.name) is not None for path in self.files]
        return [own[file] for file in self.rows[:, 0]] if any(own) and not all(own) else None

    def _named_rows(self) -> Iterator[tuple[str, Row]]:
        """Of every example its place and the columns that name its source picture."""
        needed = {top for each in self.schema.grouping for top in tops(each)}
        for (file, group), rows in groupby(self.rows, key=lambda row: (int(row[0]), int(row[1]))):
            read = self._read(file, group, tuple(name for name in self.columns[file] if name in needed))
            for place in (int(row[2]) for row in rows):
                yield f"{self.files[file]}: row group {group}, row {place}", read[place]

    def about(self) -> Mapping[str, Any]:
        """Its schema, and a hash of the names, lengths and row counts of its files."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(json.dumps([path.name, path.stat().st_size]).encode())
        return {
            "kind": "parquet",
            "schema": self.schema.name,
            "place": str(self.files[0].parent),
            **EARLIER,
            "examples": self.length,
            "sha256": digest.hexdigest(),
            "licence": self.schema.licence,
        }

    def _placed(self) -> tuple[np.ndarray, list[int]]:
        """(file, row group, row, turn) of every example, (n, 4) int32, and how many each row group has."""
        placed: list[np.ndarray] = []
        for file, path in enumerate(self.files):
            for group, count in enumerate(_groups(path)):
                if self.schema.turns is None:
                    kept = [(place, 0) for place in range(count)]
                else:
                    kept = list(self._turns(file, group))
                block = np.full((len(kept), 4), (file, group, 0, 0), np.int32)
                block[:, 2:] = np.array(kept, np.int32).reshape(-1, 2)
                placed.append(block)
        blocks = [len(each) for each in placed if len(each)]
        return np.concatenate(placed) if placed else np.zeros((0, 4), np.int32), blocks

    def _turns(self, file: int, group: int) -> Iterator[tuple[int, int]]:
        """The rows of a group, each as often as it has turns."""
        turns, column = self.schema.turns, self.schema.turns_field
        assert turns is not None
        assert column is not None, "a table tells its turns by one column"
        for place, row in enumerate(self._read(file, group, (column,))):
            yield from ((place, turn) for turn in range(len(turns(row))))

    def _columns(self, path: Path) -> list[str]:
        """The columns that an example needs and the file has: those of the schema that may be missing are left out."""
        there = set(_opened(path).schema_arrow.names)
        needed = [self.schema.target, *self.schema.contexts, *self.schema.instructions, *self.schema.id]
        if self.schema.turns_field is not None:
            needed = [self.schema.turns_field]
        for each in needed:
            if not there & {name.partition(".")[0] for name in each.split("|")}:
                raise InputError(
                    f"{path}: no column {each!r}, which {self.schema.name} has; it has {', '.join(sorted(there))}; "
                    "check the schema"
                )
        return [each for each in self.schema.columns if each in there]

    def _read(self, file: int, group: int, columns: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
        path = self.files[file]
        try:
            wanted = list(columns) if columns is not None else self.columns[file]
            rows: list[dict[str, Any]] = _opened(path).read_row_group(group, wanted, use_threads=False).to_pylist()
            return rows
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: row group {group} is broken ({error}); a whole file accepted; fetch it again"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: each for name, each in self.__dict__.items() if name != "_group"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._group = lru_cache(maxsize=GROUPS_KEPT)(self._read)


class ListSource(Records):
    """The rows of JSON files, one example each, or one for each turn; their pictures are files in a folder.

    pictures: that folder; None for that of the first file. on_bad: as of ParquetSource. Raises InputError for no files,
    and for one that cannot be read, naming the line.
    """

    def __init__(
        self,
        files: Sequence[Path | str],
        schema: Schema,
        *,
        pictures: Path | str | None = None,
        on_bad: OnBad = "stop",
    ) -> None:
        _check(schema, files, ("lines", "list"))
        self.files, self.schema, self.on_bad = [Path(each) for each in files], schema, on_bad
        self.pictures = Path(pictures) if pictures is not None else self.files[0].parent
        self.rows: list[tuple[str, Row]] = []
        for path in self.files:
            for number, row in enumerate(lines(path) if schema.storage == "lines" else _array(path), 1):
                where = f"{path}: row {number}"
                try:
                    turns = schema.turns(row) if schema.turns is not None else [row]
                except InputError as error:
                    raise InputError(f"{where}: {error}") from error
                self.rows += [
                    (where if schema.turns is None else f"{where}, turn {turn}", each)
                    for turn, each in enumerate(turns, 1)
                ]
        if not self.rows:
            raise InputError(f"files: no rows in {len(self.files)} files; at least one accepted")

    @property
    def length(self) -> int:
        return len(self.rows)

    def record(self, index: int) -> Record:
        where, row = self.rows[index]
        return self.schema.record(row, index, where, self.pictures)

    def origins(self) -> Iterator[Origin]:
        return _origins(self.rows, self.schema, self.on_bad)

    def about(self) -> Mapping[str, Any]:
        """Its schema, and a hash of its files."""
        digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in self.files))
        return {
            "kind": self.schema.storage,
            "schema": self.schema.name,
            "place": str(self.pictures),
            **EARLIER,
            "examples": self.length,
            "sha256": digest.hexdigest(),
            "licence": self.schema.licence,
        }


def _origins(rows: Iterable[tuple[str, Row]], schema: Schema, on_bad: OnBad) -> Iterator[Origin]:
    """Where rows come from, each with its place; nobody knows of those that do not say, where these are skipped."""
    for where, row in rows:
        try:
            origin = schema.origin(row, where)
        except InputError as error:
            if on_bad == "stop":
                raise
            log.warning("source picture not known reason=%s", error)
            origin = Origin()
        yield origin


def _check(schema: Schema, files: Sequence[Path | str], storages: tuple[str, ...]) -> None:
    if schema.storage not in storages:
        raise ConfigError(
            f"schema={schema.name!r}: is stored as {schema.storage}; {' or '.join(storages)} accepted here"
        )
    if isinstance(files, str | Path) or not files:
        raise InputError(f"files={files!r}: a list of one path or more accepted")


def _opened(path: Path) -> Any:
    """A Parquet file. Raises InputError if it is none, or pyarrow is not there."""
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise InputError("files: Parquet needs pyarrow, which is not installed; pip install 'recast[train]'") from error
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no whole Parquet file ({error}); fetch it again") from error


def _groups(path: Path) -> list[int]:
    """How many rows each row group has."""
    head = _opened(path).metadata
    return [head.row_group(group).num_rows for group in range(head.num_row_groups)]


def _array(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); a JSON array of objects accepted") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: no JSON array of objects; one accepted; check the schema")
    return rows
