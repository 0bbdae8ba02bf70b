"""Folders that are whole or not there: written aside, hashed, published by one rename, checked before they are used.

`place`/checkpoints/step-00000500 holds files of any kind and a manifest: the size and SHA-256 of every other file.
All processes of a run see the same folder.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recast.errors import TrainingError
from recast.train.parallel import ALONE, Ranks

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_FOLDER = "checkpoints"
_ASIDE = ".writing-"  # a folder that is not published yet, or
_GONE = ".removed-"  # not any more; either may be deleted by whoever finds it


@contextmanager
def publishing(place: Path, step: int, ranks: Ranks, *, keep: int, needed_bytes: int) -> Iterator[Path]:
    """A folder for all processes to write into; it is published at the end, and then the oldest ones are removed.

    needed_bytes: about what will be written. On any failure, in any process, nothing is published, what was written
    is removed and all that was there stays. Raises TrainingError in every process if the disk is full, or if a
    process fails.
    """
    folder = place / _FOLDER
    aside, target = folder / f"{_ASIDE}{_name(step)}", folder / _name(step)
    problem: BaseException | None = None
    try:
        _together(lambda: _prepare(folder, aside, needed_bytes), ranks, only_first=True)
        try:
            yield aside
        except BaseException as one:
            problem = one
        _together(lambda: _raise(problem), ranks)
        digests = _together(lambda: _digests(aside, ranks.rank, ranks.size), ranks)
        files = {name: entry for part in digests for name, entry in part.items()}
        _together(lambda: _publish(aside, target, files), ranks, only_first=True)
    except BaseException as one:
        if ranks.rank == 0:
            shutil.rmtree(aside, ignore_errors=True)
        if _is_full(one):
            raise TrainingError(
                f"place={str(place)!r}: the disk is full: a checkpoint needs about {needed_bytes} bytes and "
                f"{_free(place)} are free; those before step {step} are whole; free some space or keep fewer, and "
                "start the run again"
            ) from one
        raise
    if ranks.rank == 0:
        _purge(folder, step, keep)


def whole(place: Path, ranks: Ranks = ALONE) -> Path | None:
    """The newest checkpoint in `place` whose manifest is there and whose files are those it lists; None without one.

    Those that are not are left alone, with a warning. The processes share the reading and agree.
    """
    for step in ranks.gather(_steps(place / _FOLDER))[0]:
        found = place / _FOLDER / _name(step)
        faults = [fault for part in ranks.gather(_faults(found, ranks.rank, ranks.size)) for fault in part]
        if not faults:
            return found
        if ranks.rank == 0:
            log.warning("skipped checkpoint=%s faults=%s", found, "; ".join(faults[:10]))
    return None


def faults(folder: Path) -> list[str]:
    """What is wrong with the files of a checkpoint, in words; nothing if it is whole."""
    return _faults(folder, 0, 1)


def write_json(path: Path, data: Any) -> None:
    """Write JSON data and see it to the disk."""
    with path.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _steps(folder: Path) -> list[int]:
    """The steps of which there is a published folder, newest first."""
    found = [each.name.removeprefix("step-") for each in folder.glob("step-*") if each.is_dir()]
    return sorted((int(step) for step in found if step.isdigit()), reverse=True)


def _prepare(folder: Path, aside: Path, needed_bytes: int) -> None:
    """An empty folder aside; what an earlier process left half written or half removed is deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in (*folder.glob(f"{_ASIDE}*"), *folder.glob(f"{_GONE}*")):
        shutil.rmtree(left)
    if _free(folder) < needed_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    aside.mkdir()


def _publish(aside: Path, target: Path, files: dict[str, Any]) -> None:
    """Write the manifest and give the folder its name. A folder that has the name is not whole, and is replaced."""
    write_json(aside / MANIFEST, {"files": files})
    _sync(aside)
    if target.exists():
        target.rename(target.with_name(f"{_GONE}{target.name}"))
    aside.rename(target)
    _sync(target.parent)


def _purge(folder: Path, newest: int, keep: int) -> None:
    """Keep so many up to step `newest`. Those of later steps, which were not whole when the run began, do not count."""
    for step in [each for each in _steps(folder) if each <= newest][keep:]:
        gone = folder / f"{_GONE}{_name(step)}"
        (folder / _name(step)).rename(gone)  # at once: half a checkpoint must not look like one
        shutil.rmtree(gone)
    for left in folder.glob(f"{_GONE}*"):
        shutil.rmtree(left)


def _digests(folder: Path, first: int, of: int) -> dict[str, Any]:
    """Size and SHA-256, read back from the disk, of this process's share of the files."""
    names = sorted(each.name for each in folder.iterdir())
    return {
        name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)} for name in names[first::of]
    }


def _faults(folder: Path, first: int, of: int) -> list[str]:
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        wanted = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in sorted(files.items())}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        return [f"{MANIFEST}: {problem}"]
    found = []
    for name, (size, digest) in list(wanted.items())[first::of]:
        path = folder / name
        if not path.is_file():
            found.append(f"{name}: missing")
        elif path.stat().st_size != size:
            found.append(f"{name}: {path.stat().st_size} bytes, {size} written")
        elif _sha256(path) != digest:
            found.append(f"{name}: damaged, another SHA-256 than was written")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _together(work: Callable[[], Any], ranks: Ranks, *, only_first: bool = False) -> list[Any]:
    """Do the work in every process, or in the first; the results by rank. A failure in one is a failure in all."""
    result, problem = None, None
    if ranks.rank == 0 or not only_first:
        try:
            result = work()
        except BaseException as one:
            problem = one
    told = None if problem is None else (_is_full(problem), f"{type(problem).__name__}: {problem}")
    every = ranks.gather((result, told))
    if problem is not None:
        raise problem
    for rank, (_, other) in enumerate(every):
        if other is not None and other[0]:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, in process {rank}")
        if other is not None:
            raise TrainingError(f"checkpoint: process {rank} could not write it ({other[1]}); mend that, start again")
    return [each for each, _ in every]


def _raise(problem: BaseException | None) -> None:
    if problem is not None:
        raise problem


def _is_full(problem: BaseException | None) -> bool:
    """Whether a full disk is behind a problem, also behind what DCP makes of those of several processes."""
    seen: list[BaseException] = []
    while problem is not None and problem not in seen:
        seen.append(problem)
        if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        parts = getattr(problem, "failures", {})
        if any(_is_full(failure[0]) for failure in parts.values()):
            return True
        problem = problem.__cause__ or problem.__context__
    return False
