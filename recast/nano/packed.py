"""Weight files kept small: the two bytes of bf16 numbers apart, since exponents compress and mantissas do not.

    python -m recast.nano.packed FILE ...    writes FILE.zip beside each

A packed file is a zip with three entries: `even` and `odd`, every second byte of the file from its first and its second
(compressed where that helps), and `sha256`, the hash of the whole.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import sys
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from recast.errors import WeightsError
from recast.user_cache import user_cache

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the hour is not in the file: the same weights are the same bytes
ENTRIES = ("even", "odd", "sha256")


def unpacked(folder: Path) -> Path:
    """A folder with every file of `folder` whole, the packed ones unpacked: itself, or a cache where it is read-only.

    What is there already, and not older than its pack, is left alone. Raises WeightsError for a pack that is damaged.
    """
    missing = [pack for pack in sorted(folder.rglob("*.zip")) if _is_stale(pack, pack.with_suffix(""))]
    if not missing:
        return folder
    if os.access(folder, os.W_OK):
        for pack in missing:
            _put(unpack(pack), pack.with_suffix(""))
        return folder
    name = hashlib.sha256("".join(f"{pack}{pack.stat().st_mtime_ns}" for pack in missing).encode()).hexdigest()[:16]
    cache = user_cache() / f"nano-{name}"
    for file in folder.rglob("*"):
        target = cache / file.relative_to(folder)
        if file.is_dir() or file.suffix in (".zip", ".pyc", ".py") or not _is_stale(file, target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        _put(file.read_bytes(), target)
    for pack in missing:
        target = cache / pack.relative_to(folder).with_suffix("")
        if _is_stale(pack, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _put(unpack(pack), target)
    return cache


def pack(file: Path) -> bytes:
    """The bytes of a packed file; the same file gives the same bytes."""
    data = file.read_bytes()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, part in (("even", data[0::2]), ("odd", data[1::2]), ("sha256", _hash(data))):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, part, compresslevel=9)
    return made.getvalue()


def unpack(path: Path) -> bytes:
    """The bytes that were packed. Raises WeightsError unless they are those, to the bit."""
    try:
        with zipfile.ZipFile(path) as archive:
            even, odd, wanted = (archive.read(name) for name in ENTRIES)
    except (OSError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{path}: cannot be unpacked ({error}); the file of the package accepted; fetch it again"
        ) from error
    data = bytearray(len(even) + len(odd))
    if len(even) - len(odd) in (0, 1):
        data[0::2], data[1::2] = even, odd
    if _hash(data) != wanted:
        raise WeightsError(f"{path}: damaged, its contents have another hash; fetch it again")
    return bytes(data)


def _is_stale(source: Path, target: Path) -> bool:
    return not target.exists() or target.stat().st_mtime_ns < source.stat().st_mtime_ns


def _put(data: bytes, path: Path) -> None:
    """Write a file, whole or not at all: several processes may do so at once."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be written ({error.strerror}); make room, or make its folder writable"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _hash(data: bytes | bytearray) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


if __name__ == "__main__":
    for word in sys.argv[1:]:
        made = Path(f"{word}.zip")
        _put(pack(Path(word)), made)
        print(made)
