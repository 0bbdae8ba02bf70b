"""What a run tells: place/journal.jsonl, pictures in place/samples/, and TensorBoard's files where asked for.

A line of the journal is one JSON object of one of three kinds, told apart by their first key:

    {"step": 500, "samples": 208000, "seconds": 61.5, "flow/loss": 0.71, "perf/images_s": 3400.0, ...}
    {"event": "skipped", "time": "2031-05-04T10:00:00+00:00", "step": 501, ...}
    {"picture": "samples/step-000500-panel.png", "time": "...", "step": 500}

seconds are of wall clock since the run began, of all calls that continued it. JSON has no word for numbers that are
not finite: in a line of numbers, nan (a bin of time in which no example fell) is null, and the infinities are "inf"
and "-inf".
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from recast.errors import ConfigError, InputError, TrainingError
from recast.world.folder import write_whole

if TYPE_CHECKING:
    from recast.train.parallel import Ranks

log = logging.getLogger(__name__)

FILE = "journal.jsonl"

NAMES: Mapping[str, str] = {
    "PHASE/loss": "mean training loss of a phase since the last line",
    "PHASE/lr": "learning rate of the phase's first optimiser at this step",
    "PHASE/grad_norm": "mean norm of the phase's gradient before clipping",
    "PHASE/t0 ...": "training loss of samples whose time fell in that eighth of [0, 1]; 0 is clean, 1 is noise",
    "PHASE/PART": "another part of a training loss: of one use of examples, or of one term",
    "perf/images_s": "examples a second, all processes together",
    "perf/mfu": "model FLOPs utilisation: share of the devices' peak rate, recomputation not counted",
    "perf/data_wait": "share of the time spent waiting for a batch",
    "perf/memory_gib": "most memory any process has used so far",
    "val/loss": "held-out loss at fixed times with fixed noise, of the weights as they are",
    "val/t0 ...": "the same by time: the middles of the eighths of [0, 1]",
    "val/USE/loss, val/USE/t0 ...": "the same by use: edit, text_to_image",
    "val/kind/KIND": "the same by kind of edit",
    "val/inside, val/outside": "the same of tokens that must change, and of those that must not; "
    "of a student, how far its pictures are from the source there, squared",
    "val/PART": "another held-out measure of the stage",
    "val_ema/...": "all of val/, of the averaged weights",
}
"""The names of numbers. Capitals stand for a name of the stage's own; the first line that fits says what one means."""


class Journal:
    """Writes what happens in a run; in processes other than the first, does nothing.

    Its files begin with the first thing told; a last line that a crash has torn is taken away then. Threads may share
    it. Raises ConfigError if tensorboard is asked for and absent.
    """

    def __init__(self, place: Path, ranks: Ranks, tensorboard: bool = False) -> None:
        self.place, self.is_on = Path(place), ranks.rank == 0
        self._file: int | None = None
        self._lock = threading.Lock()
        self._board = _board(self.place / "tensorboard") if tensorboard and self.is_on else None

    def log(self, step: int, samples: int, seconds: float, numbers: Mapping[str, float]) -> None:
        """Numbers at an optimiser step. Raises TrainingError if they cannot be written."""
        head: dict[str, Any] = {"step": step, "samples": samples, "seconds": round(seconds, 3)}
        self._write(head | {name: _plain(value) for name, value in numbers.items()})
        if self._board is not None:
            for name, value in {**numbers, "perf/samples": samples}.items():
                self._board.add_scalar(name, value, step)

    def event(self, kind: str, **values: Any) -> None:
        """Something that happened, with whatever tells it; values are JSON data, or are told by their text."""
        self._write({"event": kind, "time": _now(), **values})

    def picture(self, name: str, array: np.ndarray, step: int) -> None:
        """A picture (H, W, 3) uint8, as place/samples/step-000500-NAME.png: whole or not at all."""
        if not self.is_on:
            return
        path = self.place / "samples" / f"step-{step:06d}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}.png"
        memory = io.BytesIO()
        Image.fromarray(array).save(memory, "png")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, memory.getvalue())
        except OSError as problem:
            raise _cannot_write(path, problem) from problem
        self._write({"picture": path.relative_to(self.place).as_posix(), "time": _now(), "step": step})
        if self._board is not None:
            self._board.add_image(f"samples/{name}", array, step, dataformats="HWC")

    def close(self) -> None:
        """Close the files. What is told afterwards opens them again."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
        if self._board is not None:
            self._board.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        """Append one line, with one write: a line is there as a whole, or is not there."""
        if not self.is_on:
            return
        line = json.dumps(record, ensure_ascii=False, default=str).encode() + b"\n"
        path = self.place / FILE
        with self._lock:
            try:
                if self._file is None:
                    self._file = _opened(path)
                _append(self._file, line)
            except OSError as problem:
                raise _cannot_write(path, problem) from problem


def read(place: Path) -> Iterator[dict[str, Any]]:
    """The records of the journal in `place`, oldest first; a torn last line is passed over.

    Raises InputError if there is no journal, or a line before the last is no record.
    """
    path = Path(place) / FILE
    try:
        file = path.open("rb")
    except OSError as problem:
        raise InputError(
            f"place={str(place)!r}: no {FILE} in it ({problem.strerror}); the folder of a run accepted; check the path"
        ) from problem
    with file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            yield _record(path, number, line)


def current(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records that are part of the run as it stands.

    A run that was killed goes on from its newest checkpoint: the numbers and pictures of steps after that one, told
    before "resumed", are of work that was lost.
    """
    kept: list[dict[str, Any]] = []
    for record in records:
        if record.get("event") == "resumed":
            kept = [each for each in kept if "event" in each or each["step"] <= record["step"]]
        kept.append(dict(record))
    return kept


def meaning(name: str) -> str:
    """What a number of that name says, from `NAMES`."""
    plain = re.sub(r"/t\d+$", "/t0", name.replace("val_ema/", "val/", 1))
    if plain in ("val/inside", "val/outside"):
        return NAMES["val/inside, val/outside"]
    if plain.startswith("val/"):
        kinds = {"val/t0": "val/t0 ...", "val/loss": "val/loss"}
        if plain.startswith("val/kind/"):
            return NAMES["val/kind/KIND"]
        is_by_use = plain.count("/") == 2 and plain.endswith(("/loss", "/t0"))
        return NAMES[kinds.get(plain, "val/USE/loss, val/USE/t0 ..." if is_by_use else "val/PART")]
    if plain in NAMES:
        return NAMES[plain]
    last = plain.partition("/")[2]
    named = {"t0": "PHASE/t0 ..."}.get(last, f"PHASE/{last}")
    return NAMES.get(named, NAMES["PHASE/PART"])


def _plain(value: float) -> float | str | None:
    value = float(value)
    if math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
        if not isinstance(record, dict) or not {"step", "event"} & record.keys():
            raise ValueError("an object with a step or an event needed")
    except ValueError as problem:
        raise InputError(
            f"{path}: line {number} is no record of a journal ({problem}); the file was changed from outside; "
            "take that line out"
        ) from problem
    if "event" in record or "picture" in record:
        return record
    return {name: math.nan if value is None else _number(value) for name, value in record.items()}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, str) else value


def _opened(path: Path) -> int:
    """The file, ready to be appended to, its last line whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    size = end = os.fstat(file).st_size
    while end and os.pread(file, 1, end - 1) != b"\n":
        end -= 1
    if end < size:
        log.warning("journal repaired path=%s bytes_of_a_torn_line=%d", path, size - end)
        os.ftruncate(file, end)
    return file


def _append(file: int, line: bytes) -> None:
    """Append the whole line, in one write but on a disk that takes parts; take back a part. Raises OSError."""
    before = os.fstat(file).st_size
    try:
        written = os.write(file, line)
        while written < len(line):
            written += os.write(file, line[written:])
    except OSError:
        os.ftruncate(file, before)
        raise


def _cannot_write(path: Path, problem: OSError) -> TrainingError:
    return TrainingError(
        f"{path}: cannot be written ({problem.strerror or problem}); what was saved before is whole; make room or "
        "allow writing there, and start the run again: it goes on from its newest checkpoint"
    )


def _board(place: Path) -> Any:
    """TensorBoard's writer."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as problem:
        raise ConfigError(
            f"tensorboard=True: TensorBoard is not installed ({problem}); "
            "run pip install 'recast[train]', or leave the option out"
        ) from problem
    return SummaryWriter(str(place))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
