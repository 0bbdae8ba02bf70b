"""Hashes of weight files remembered from one process to the next: to look things up by, never to claim anything.

A recipe says which weights made a picture, so its hashes are always those of the bytes: they are read beside the
sampling, where nobody waits for them. What is looked up by the weights, tokens that a thread carries, say, is wanted
before the first step, and 34 GB take longer to hash than many an edit. There a hash is taken from a table in the user's
cache while device, inode, size and both times of the file, of its content and of anything about it, are what they were
to the nanosecond. That errs for a file written over under the same times alone, for which its clock has to be set back.
The recipe still tells the truth then, the table is put right by the hash that the recipe had, and a line is logged.

A file that is not settled (`files.is_settled`) is not remembered: it could change once more within a tick of its clock.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path

from recast.user_cache import user_cache
from recast.weights.files import checksum, is_settled

log = logging.getLogger(__name__)

LEAST_BYTES = 1 << 20  # smaller files are hashed in a millisecond
MOST_FILES = 256  # in the table; what was remembered longest ago goes first

Stamp = list[int]
"""Device, inode, size in bytes, times of change of content and of anything, in nanoseconds."""


def recalled(path: str | Path) -> str:
    """The SHA-256 of a file, in hex, as `remember` last had it, if all says that it is unchanged; else by its bytes.

    Raises what `checksum` raises.
    """
    path = Path(path)
    with suppress(OSError):  # `remember` says what is wrong
        found = _read().get(_name(path))
        if found is not None and found[0] == _stamp(path.stat()):
            return found[1]
    return remember(path)


def remember(path: str | Path) -> str:
    """The SHA-256 of a file by its bytes (`checksum`), kept for `recalled`. Raises what `checksum` raises."""
    path = Path(path)
    try:
        found = path.stat()
    except OSError:
        return checksum(path)
    stamp, may_be_kept = _stamp(found), found.st_size >= LEAST_BYTES and is_settled(found)
    sha256 = checksum(path)
    if may_be_kept:
        with suppress(OSError):
            if _stamp(path.stat()) == stamp:
                _keep(_name(path), stamp, sha256)
    return sha256


def place() -> Path | None:
    """The user's table; None for a user without a home, for whom nothing is remembered."""
    try:
        return user_cache() / "hashes.json"
    except RuntimeError:
        return None


def _stamp(found: os.stat_result) -> Stamp:
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _name(path: Path) -> str:
    return os.path.realpath(path)


def _keep(name: str, stamp: Stamp, sha256: str) -> None:
    """Put a hash into the table, which is replaced as a whole: of two processes at once, one may lose its entry."""
    table, file = _read(), place()
    known = table.pop(name, None)
    if known == (stamp, sha256) or file is None:
        return
    if known is not None and known[0] == stamp:
        log.warning("hashes: file=%s has other bytes under the same times; what was looked up by it may be wrong", name)
    table[name] = stamp, sha256
    kept = dict(list(table.items())[-MOST_FILES:])
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(kept))
        os.replace(part, file)
    except OSError as error:
        log.info("hashes: not kept file=%s (%s); they are computed again by the next process", file, error)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _read() -> dict[str, tuple[Stamp, str]]:
    """The table; an empty one where there is none that can be read."""
    file = place()
    try:
        held = {} if file is None else json.loads(file.read_bytes())
        return {name: (list(map(int, stamp)), str(sha256)) for name, (stamp, sha256) in held.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
