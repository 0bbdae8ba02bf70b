"""What is finished stays finished: each stage of a set writes a record of what it was made from, and of its files.

A stage is not done again while its inputs are the same and its files are as it left them. A record is written after
the files it tells of, whole or not at all; so a run that was killed at any moment goes on with the first thing missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recast.errors import InputError
from recast.pixels.image import write_bytes


@dataclass(frozen=True)
class Record:
    """A stage that is over. result: what it found, plain data. files: by name in the set's folder, their SHA-256."""

    stage: str
    inputs: str
    result: dict[str, Any]
    files: dict[str, str]


class Stages:
    """The records of one set, in `folder`/stages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fresh: set[str] = set()  # stages that this process has done or found done

    def find(self, stage: str, inputs: Mapping[str, Any]) -> Record | None:
        """The record of a stage that was made from the same inputs and whose files are still there, whole."""
        record = self._read(stage)
        if record is None or record.inputs != digest(inputs):
            return None
        if any(sha256(self.folder / name) != wanted for name, wanted in record.files.items()):
            return None
        self.fresh.add(stage)
        return record

    def done(
        self, stage: str, inputs: Mapping[str, Any], result: Mapping[str, Any], files: Sequence[Path] = ()
    ) -> Record:
        """Write that a stage is over; its files must lie in the set's folder.

        Files that an earlier record of the stage tells of, and this one does not, go; what somebody changed stays.
        """
        former = self._read(stage)
        hashes: dict[str, str] = {}
        for path in files:
            found = sha256(path)
            if found is None:
                raise InputError(f"{path}: a file of the stage {stage!r} is gone; run the command again")
            hashes[path.relative_to(self.folder).as_posix()] = found
        record = Record(stage, digest(inputs), dict(result), hashes)
        said = {"stage": stage, "inputs": record.inputs, "result": record.result, "files": record.files}
        write_bytes(json.dumps(said, indent=1, ensure_ascii=False).encode(), self._path(stage))
        self.fresh.add(stage)
        if former is not None:
            self._remove({name: wanted for name, wanted in former.files.items() if name not in record.files})
        return record

    def last(self, stage: str) -> Record:
        """The record of a stage that this process has found or done."""
        found = self._read(stage)
        if found is None:
            raise InputError(f"{self._path(stage)}: gone or broken since this run began; run the command again")
        return found

    def forget(self, prefix: str, *, keep: Sequence[str]) -> None:
        """Remove the records of stages that begin so, but those to keep, and the files that they alone have made."""
        kept = {name for stage in keep for name in self.last(stage).files}
        for path in sorted((self.folder / "stages").glob(f"{prefix}*.json")):
            if path.stem in keep:
                continue
            record = self._read(path.stem)
            if record is not None:
                self._remove({name: wanted for name, wanted in record.files.items() if name not in kept})
            path.unlink()

    def _remove(self, files: Mapping[str, str]) -> None:
        """Remove files that are as a stage left them: what somebody changed stays."""
        for name, wanted in files.items():
            if sha256(self.folder / name) == wanted:
                (self.folder / name).unlink()

    def _read(self, stage: str) -> Record | None:
        """The record of a stage as it lies there; None where it was never begun, or what lies there is none."""
        try:
            found = json.loads(self._path(stage).read_text())
            return Record(found["stage"], found["inputs"], found["result"], found["files"])
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
            return None

    def _path(self, stage: str) -> Path:
        path = self.folder / "stages" / f"{stage}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def digest(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of plain data; paths count as the words they are."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str, ensure_ascii=False).encode()).hexdigest()


def sha256(path: Path) -> str | None:
    """SHA-256 of a file's bytes; None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        return None
