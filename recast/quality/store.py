"""Where a run is kept: one line of JSON for every picture asked for, and the pictures by the hash of their pixels.

    RUN/
      run.json                      suite and its hash, command, versions, machine, when
      systems/NAME/system.json      what was tested, and the hash of that
      systems/NAME/results.jsonl    one line a unit: what came, how long it took, or why nothing came
      systems/NAME/scores.jsonl     one line a unit and metric
      pictures/ab/abcd….png

A unit is (item, turn, mode). Lines are only ever appended, each by one write; the last line of a unit counts. What a
crash tore off is a line without its end, and is dropped when the store is opened.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recast.errors import InputError
from recast.pixels import image
from recast.world.folder import picture_name, write_whole

SCHEMA = 1
Mode = Literal["free", "forced"]
"""How a chain's turn gets its source: the system's own last picture (free), or the right one (forced)."""
Unit = tuple[str, int, Mode]
DONE = "scored"
"""The metric that ends the scores of a unit: without it they are not all there."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of one unit. status: ok, blocked, timeout, error, bad_image, or upstream (the turn before failed)."""

    item: str
    turn: int
    mode: Mode = "free"
    seed: int
    status: str
    reason: str | None = None
    picture: str | None = None  # path in the run
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    server_seconds: float | None = None
    queue_seconds: float | None = None
    attempts: int = 0
    cost_usd: float | None = None
    instruction: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""

    @property
    def unit(self) -> Unit:
        return self.item, self.turn, self.mode


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number about one unit. value: None if the check could not be made, with the reason; never a guess.

    check: what made it (world, ocr, clip, ...). version: of the metric's definition. sha256: of the picture it is of,
    None for a failure: a unit that is made anew is scored anew.
    """

    item: str
    turn: int
    mode: Mode = "free"
    metric: str
    version: int = 1
    value: float | None
    check: str
    reason: str | None = None
    sha256: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int, Mode, str, int]:
        return self.item, self.turn, self.mode, self.metric, self.version


class Store:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._lock = threading.Lock()

    def begin(self, about: Mapping[str, Any]) -> None:
        """Make the folder for a run of this suite. Raises InputError if it holds the run of another."""
        if self.about_path.exists():
            old = self.about()["suite"]
            if old["sha256"] != about["suite"]["sha256"]:
                raise InputError(
                    f"out={self.folder}: holds a run of {old['name']} {old['sha256'][:8]}, not of "
                    f"{about['suite']['name']} {about['suite']['sha256'][:8]}; name another folder"
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.about_path, _dump(about, indent=1))

    @property
    def about_path(self) -> Path:
        return self.folder / "run.json"

    def about(self) -> dict[str, Any]:
        """What run.json says. Raises InputError where there is none."""
        if not self.about_path.is_file():
            raise InputError(f"run={self.folder}: no run.json; a folder written by `recast evaluate` accepted")
        data: dict[str, Any] = json.loads(self.about_path.read_text())
        return data

    def systems(self) -> tuple[str, ...]:
        """The names of the systems with results here."""
        places = (self.folder / "systems").glob("*/system.json")
        return tuple(sorted(place.parent.name for place in places))

    def system(self, name: str) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self._place(name) / "system.json").read_text())
        return data

    def enter(self, name: str, about: Mapping[str, Any]) -> None:
        """Make the place for a system. Raises InputError if another one of the same name was tested here."""
        path = self._place(name) / "system.json"
        if path.exists():
            old = json.loads(path.read_text())
            if old["config_hash"] != about["config_hash"]:
                changed = sorted(
                    key
                    for key in {*old["describe"], *about["describe"]}
                    if old["describe"].get(key) != about["describe"].get(key)
                )
                raise InputError(
                    f"model: {name} was tested here with other settings ({', '.join(changed)} differ); a run goes on "
                    "only with the same; use the same, or another --out or --name"
                )
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _dump(about, indent=1))

    def results(self, name: str) -> dict[Unit, Result]:
        """The last result of each unit of a system."""
        return {each.unit: each for each in (Result(**line) for line in self._lines(name, "results"))}

    def scores(self, name: str) -> dict[tuple[str, int, Mode, str, int], Score]:
        """The last score of each unit and metric of a system."""
        return {each.key: each for each in (Score(**line) for line in self._lines(name, "scores"))}

    def add(self, name: str, line: Result | Score) -> None:
        """Append one line; safe from several threads."""
        self.add_all(name, [line])

    def add_all(self, name: str, lines: Sequence[Result | Score]) -> None:
        """Append lines of one kind by one write."""
        if not lines:
            return
        kind = "results" if isinstance(lines[0], Result) else "scores"
        path = self._place(name) / f"{kind}.jsonl"
        data = b"".join(_dump(asdict(line)) for line in lines)
        with self._lock:
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                while data:
                    data = data[os.write(handle, data) :]
                os.fsync(handle)
            finally:
                os.close(handle)

    def forget_scores(self, name: str) -> None:
        """Remove the scores of a system, so that all of it is scored anew; its pictures stay."""
        (self._place(name) / "scores.jsonl").unlink(missing_ok=True)

    def repair(self, name: str) -> None:
        """Cut off the torn end that a crash may have left behind in the files of a system."""
        for kind in ("results", "scores"):
            path = self._place(name) / f"{kind}.jsonl"
            if not path.exists():
                continue
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if whole != data:
                write_whole(path, whole)

    def keep(self, pixels: np.ndarray) -> tuple[str, str]:
        """Write a picture (H, W, 3) uint8 unless it is there; its path in the run, and its hash."""
        picture = image.Picture(rgb=pixels)
        digest = picture.sha256()
        path = self.folder / picture_name(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            image.write(picture, path)
        return picture_name(digest), digest

    def picture(self, result: Result) -> np.ndarray | None:
        """The picture of a result, uint8 (H, W, 3); None if it is gone or is no longer what it was."""
        if result.status != "ok" or result.picture is None:
            return None
        try:
            picture = image.read(self.folder / result.picture)
        except InputError:
            return None
        return picture.rgb if picture.sha256() == result.sha256 else None

    def _place(self, name: str) -> Path:
        return self.folder / "systems" / name

    def _lines(self, name: str, kind: str) -> Iterator[dict[str, Any]]:
        path = self._place(name) / f"{kind}.jsonl"
        if not path.exists():
            return
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):  # what follows the last end is torn
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InputError(
                    f"{path}:{number}: not JSON ({error}); remove the line, its unit is made anew"
                ) from None


def _dump(data: Mapping[str, Any], indent: int | None = None) -> bytes:
    return (json.dumps(data, ensure_ascii=False, indent=indent, sort_keys=True) + "\n").encode()
