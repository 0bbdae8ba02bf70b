"""One process at a time works in a folder: two would write the same files, and each would spoil the other's records."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from recast.errors import InputError

log = logging.getLogger(__name__)

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def alone(folder: Path, what: str, *, file: str = ".running.lock", needs_locks: bool = True) -> Iterator[None]:
    """A folder for the caller alone, until the block ends, however it ends.

    The lock is the operating system's own (flock) on folder/file: it goes with its process, and children forked
    meanwhile, such as a loader's workers, so one that was killed leaves nothing to clear away. what: the work that the
    folder holds, for the error. needs_locks: if not, a file system that has no locks, as those of clusters may, is
    warned of and not refused.
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
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": platform.node(), "since": now}).encode(), 0)
        except BlockingIOError:
            raise InputError(
                f"{folder}: {_holder(handle)} works on this {what}; one at a time accepted; wait for it, or end it and "
                "run this again: what it has finished stays finished"
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
