"""Files under the hash of what they hold: written once, whole or not at all, and checked whenever they are read."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path

from recast.errors import InputError

NAME = re.compile(r"[0-9a-f]{64}")


class Objects:
    """The folder `objects/` of a thread: `ab/<sha256>`, ab being the first two digits of the hash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def put(self, data: bytes) -> tuple[str, bool]:
        """The hash of the data, once it lies safely on the disk, and whether it was not there before.

        Flushed, moved into place, and the folder flushed too: after this a row may point to it. What is there already
        is compared, and written anew if the disk has spoilt it. Raises OSError where it cannot be written.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        target = self.path(sha256)
        is_new = not target.exists()
        if not is_new and target.read_bytes() == data:
            return sha256, False
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            fsync_folder(self.folder)
        try:
            write_whole(target, data)
        except BaseException:
            if is_new:  # moved into place, and the folder could not be flushed
                with suppress(OSError):
                    target.unlink()
            raise
        return sha256, is_new

    def read(self, sha256: str) -> bytes:
        """What lies under a hash. Raises InputError if it is gone or is no longer what it was."""
        try:
            data = self.path(sha256).read_bytes()
        except OSError as error:
            raise InputError(
                f"object {sha256[:12]}: cannot be read ({error.strerror}); the file as the thread wrote it accepted; "
                "bring objects/ back from a copy or an export"
            ) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise InputError(
                f"object {sha256[:12]}: holds other bytes than its name says; the file as the thread wrote it "
                "accepted; bring it back from a copy or an export"
            )
        return data

    def remove(self, sha256: str) -> None:
        """Take an object away. Only for one that no row points to."""
        self.path(sha256).unlink(missing_ok=True)

    def unkept(self, kept: Container[str]) -> Iterator[Path]:
        """Every file in the folder that is not an object of `kept`: forgotten ones, and halves that a kill left."""
        for place in sorted(self.folder.rglob("*")):
            if place.is_file() and not (place.name in kept and place == self.path(place.name)):
                yield place


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and have it on the disk before this returns. Raises OSError."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, not only in memory. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
