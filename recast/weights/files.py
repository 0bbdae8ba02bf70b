"""Safetensors files as they lie on the disk: read the header, refuse everything else, write tensor by tensor.

The format is eight bytes of length, a JSON header, then the tensors' bytes without holes. Reading it here, and
strictly, costs a page and buys three things: no torch to look at a file, no mapping of what is only copied, and
headers that the library accepts but nobody writes in good faith (a name twice, a million tensors) are refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from recast.errors import MissingWeights, WeightsError

ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
EIGHT_BIT_FLOATS = ("F8_E4M3", "F8_E5M2")
MAX_HEADER_BYTES = 8 << 20  # the published file has 100 kB; adapters with their training log reach 2 MB
MAX_TENSORS = 65_536
MAX_NAME = 512
MAX_RANK = 8
SETTLED_NS = 3_000_000_000  # FAT counts in steps of two seconds
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor in a file: what it is, and where its bytes start."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int  # in the file, from its first byte

    @property
    def size_bytes(self) -> int:
        return count(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Header:
    """What a safetensors file says about itself."""

    path: Path
    tensors: dict[str, Stored]
    metadata: dict[str, str]


def count(shape: tuple[int, ...]) -> int:
    """How many numbers a shape holds."""
    total = 1
    for side in shape:
        total *= side
    return total


def few(names: Iterable[str], most: int = 10) -> str:
    """The first names of many, and how many there are."""
    listed = sorted(names)
    return f"{len(listed)}" + (
        f" ({', '.join(listed[:most])}{', ...' if len(listed) > most else ''})" if listed else ""
    )


def read_header(path: Path) -> Header:
    """The header of a safetensors file; the data is not read.

    Raises MissingWeights if there is no such file, WeightsError if it is another format, cut short or malformed.
    """
    require_local(path)
    refuse_other_formats(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else -1
        if not 2 <= length <= MAX_HEADER_BYTES or 8 + length > size:
            raise _malformed(path, f"a header of {length} bytes in a file of {size}")
        text = file.read(length)
    try:
        content = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
        metadata = content.pop("__metadata__", {})
        tensors = {name: _stored(path, name, entry, 8 + length) for name, entry in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _malformed(path, str(error) or type(error).__name__) from error
    if len(tensors) > MAX_TENSORS:
        raise _malformed(path, f"{len(tensors)} tensors, at most {MAX_TENSORS} accepted")
    end = 8 + length
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.size_bytes)):
        if tensor.start != end:
            raise _malformed(path, f"{tensor.name} starts at byte {tensor.start}, expected {end}")
        end += tensor.size_bytes
    if end != size:
        raise _malformed(path, f"tensors end at byte {end}, the file at {size}")
    return Header(path, tensors, {str(key): str(value) for key, value in metadata.items()})


def require_local(
    path: Path,
    name: str = "weights",
    accepted: str = "a .safetensors file, a diffusers folder or a recast folder",
) -> None:
    """Raises MissingWeights, naming the argument as `name`, unless `path` exists.

    Says what to do with the name of a hub repository. accepted: what is, as the message says it.
    """
    if path.exists():
        return
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(path)) and not path.suffix == ".safetensors":
        raise MissingWeights(
            f"{name}={str(path)!r}: no such file or folder here; weights are read from local paths and nothing "
            f"is downloaded. If it is the name of a hub repository, accept its licence on its page, run "
            f"`hf download {path} --local-dir {path.name}` and pass the folder {path.name!r}"
        )
    raise MissingWeights(f"{name}={str(path)!r}: no such file or folder; {accepted} is accepted; check the path")


def refuse_other_formats(path: Path) -> None:
    """Raises WeightsError for a file that is no safetensors file, by its name or by its first bytes."""
    with path.open("rb") as file:
        magic = file.read(10)
    other = magic[8:9] != b"{"  # a header's length may well begin like a pickle
    if path.suffix in PICKLES or (other and re.match(rb"PK\x03\x04|\x80[\x02-\x05]", magic)):
        raise WeightsError(
            f"weights={str(path)!r}: a pickle, which can run any code when it is read; only .safetensors is "
            "accepted; get the file in that format, or convert it on a machine you can afford to lose"
        )
    if path.suffix == ".gguf" or (other and magic[:4] == b"GGUF"):
        raise WeightsError(
            f"weights={str(path)!r}: GGUF, block-quantised for other programs; bf16, fp16, fp32 or fp8 "
            ".safetensors is accepted; get the original file, recast quantises it itself"
        )
    if path.suffix != ".safetensors" and other:
        raise WeightsError(f"weights={str(path)!r}: not a safetensors file; .safetensors is accepted; check the path")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises WeightsError if it holds anything else."""
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise WeightsError(f"{path.name}: not JSON ({error}); a JSON object is expected; get it again") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path.name}: a JSON {type(content).__name__}; an object is expected; get it again")
    return content


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, in hex; of a folder, the SHA-256 over the sorted lines "hash  name" of its weight files.

    Remembered by this process, of a file that `is_settled`, while its size and times of change stay the same; for
    others see `hashes`.
    Raises MissingWeights for a missing path.
    """
    path = Path(path)
    require_local(path)
    if path.is_file():
        stat = path.stat()
        if not is_settled(stat):
            return _sha256_of(path)
        return _sha256(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    lines = [f"{checksum(file)}  {file.relative_to(path).as_posix()}\n" for file in sorted(path.rglob("*.safetensors"))]
    if not lines:
        raise MissingWeights(f"weights={str(path)!r}: a folder without .safetensors files; check the path")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def is_settled(stat: os.stat_result) -> bool:
    """Whether a file's times would tell of another change: it is older than a tick of the coarsest clock in use."""
    return max(stat.st_mtime_ns, stat.st_ctime_ns) < time.time_ns() - SETTLED_NS


class TensorFile:
    """A safetensors file being written, tensor by tensor, in any order. Close it, or use it in `with`."""

    def __init__(
        self,
        path: Path,
        tensors: Mapping[str, tuple[str, tuple[int, ...]]],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Lay the file out for `tensors`, name to (dtype, shape): wide numbers first, so that all are aligned."""
        header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
        offset = 0
        for name in sorted(tensors, key=lambda name: (-ITEM_BYTES[tensors[name][0]], name)):
            dtype, shape = tensors[name]
            end = offset + count(shape) * ITEM_BYTES[dtype]
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._offsets = {name: header[name]["data_offsets"] for name in tensors}
        self._base = 8 + len(text)
        self._file: BinaryIO = path.open("xb")
        self._file.write(struct.pack("<Q", len(text)) + text)
        self._file.truncate(self._base + offset)

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write one tensor's bytes, in row-major order and little-endian."""
        start, end = self._offsets.pop(name)
        assert len(data) == end - start, name
        self._file.seek(self._base + start)
        self._file.write(data)

    def close(self) -> None:
        assert not self._offsets, f"never written: {list(self._offsets)[:3]}"
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._file.close()


@contextmanager
def arriving(target: Path) -> Iterator[Path]:
    """A path beside `target` to write a file or a folder at; it becomes `target` at the end, or vanishes.

    Raises WeightsError if something is at `target`: a file in use is replaced under a new name, never rewritten.
    """
    occupied = any(target.iterdir()) if target.is_dir() else target.exists() and target.stat().st_size > 0
    if occupied:
        raise WeightsError(
            f"target={str(target)!r}: exists and is not empty; a new path is accepted; choose another or remove it"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        if target.is_dir():
            target.rmdir()
        os.replace(partial, target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


@lru_cache(maxsize=256)
def _sha256(path: Path, inode: int, size: int, written_ns: int, changed_ns: int) -> str:
    return _sha256_of(path)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored(path: Path, name: str, entry: Any, base: int) -> Stored:
    dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not name.isprintable() or len(name) > MAX_NAME:
        raise ValueError(f"a name of {len(name)} characters, at most {MAX_NAME} printable ones accepted")
    if dtype not in ITEM_BYTES:
        raise ValueError(f"{name}: dtype {dtype!r}; accepted: {', '.join(ITEM_BYTES)}")
    if len(shape) > MAX_RANK or any(type(side) is not int or side < 0 for side in (*shape, start, end)):
        raise ValueError(f"{name}: shape {shape}, bytes {start} to {end}")
    stored = Stored(path, name, dtype, tuple(shape), base + start)
    if stored.size_bytes != end - start:
        raise ValueError(f"{name}: {end - start} bytes for {dtype} {shape}, which needs {stored.size_bytes}")
    return stored


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name occurs twice")
    return content


def _malformed(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"weights={str(path)!r}: not a whole safetensors file: {why}; get the file again and compare its checksum"
    )
