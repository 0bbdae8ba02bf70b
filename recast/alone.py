"""One process at a time works in a folder: two would write the same files, and each would spoil the other's records."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from recast.errors import InputError

log = logging.getLogger(__name__)

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
WAIT_S = 10.0
"""How long a file of records is waited for: it is held for milliseconds."""
LOOK_EVERY_S = 0.005
CURE = "wait for it, or end it and run this again: what it has finished stays finished"


def rewriting(path: Path) -> AbstractContextManager[None]:
    """A file of records for the caller alone while it is read, changed and written again: others wait their turn.

    So a record of what is done already, as of what was sent, is not lost by a refusal. A link is followed. Raises
    InputError as `alone` does, after WAIT_S, and for a folder that is not there; a file system without locks is warned
    of.
    """
    real = path.resolve()
    if not real.parent.is_dir():
        raise InputError(f"{path}: its folder is not there; a file in an existing folder accepted; create it")
    return alone(real.parent, real.name, file=f".{real.name}.lock", needs_locks=False, wait_s=WAIT_S)


@contextmanager
def alone(
    folder: Path,
    what: str,
    *,
    file: str = ".running.lock",
    needs_locks: bool = True,
    wait_s: float = 0,
    cure: str = CURE,
) -> Iterator[None]:
    """A folder for the caller alone, until the block ends, however it ends.

    The lock is the operating system's own (flock) on folder/file: it goes with its process, and children forked
    meanwhile, such as a loader's workers, so one that was killed leaves nothing to clear away. what: the work that the
    folder holds, for the error. needs_locks: if not, a file system that has no locks, as those of clusters may, is
    warned of and not refused. wait_s: how long to wait for whoever holds it; usually not at all. cure: what the error
    says to do.
    Raises InputError that says who holds it, and since when, and for a folder that cannot be written to or locked.
    """
    path = folder / file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _unfit(path, what, error) from error
    try:
        try:
            _lock(handle, wait_s)
            now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": platform.node(), "since": now}).encode(), 0)
        except BlockingIOError:
            raise InputError(
                f"{folder}: {_holder(handle)} works on this {what}; one at a time accepted; {cure}"
            ) from None
        except OSError as error:
            if needs_locks or error.errno not in WITHOUT_LOCKS:
                raise _unfit(path, what, error) from error
            log.warning("%s: no locks on this file system; see that one process alone works on this %s", path, what)
        yield
    finally:
        with suppress(OSError):  # a child that was forked meanwhile has the handle too: to close it is not enough
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)  # the file stays: to remove it could take another's lock away


def _lock(handle: int, wait_s: float) -> None:
    """Lock a file. Raises BlockingIOError if another still holds it after wait_s."""
    until = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(LOOK_EVERY_S)


def _unfit(path: Path, what: str, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written or locked ({error.strerror}); a folder you may write to, with room, on a file "
        f"system that has locks accepted; keep the {what} there"
    )


def _holder(handle: int) -> str:
    """Who holds a lock, as it has written into it; for a moment after locking it has not yet."""
    try:
        found = json.loads(os.pread(handle, 1000, 0))
        return f"process {found['pid']} on {found['host']}, since {found['since']},"
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        return "another process"
