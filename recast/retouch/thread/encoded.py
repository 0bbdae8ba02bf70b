"""Tokens of the pictures that a thread's edits looked at, kept for the next edit: a root that rides along, references.

    encoded/<hash of picture and grid>     the hash of the rest, a line that says by what, and fp32

Beside the thread, not of it: no row knows of these files, no export holds them, `prune` removes them, and without them
an edit takes longer and is the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recast.retouch.thread.objects import write_whole

if TYPE_CHECKING:
    from torch import Tensor

LIMIT_BYTES = 32 << 20
"""Of all the files together. The tokens of a FLUX.1 autoencoder take a byte a pixel of what the model sees."""


class Encoded:
    """The folder of such files, as `recast.context.encodings.Encodings`. What was missing is written by `write`.

    looks: whether to look for a picture; what is encoded is kept either way. warnings: what was wrong with the folder.
    """

    def __init__(self, folder: Path, *, looks: bool = True, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder, self.looks, self.limit_bytes = folder, looks, limit_bytes
        self.warnings: list[str] = []
        self._new: dict[str, tuple[Callable[[], str | None], Tensor]] = {}

    def get(self, picture: str, by: Callable[[], str | None], encode: Callable[[], Tensor]) -> Tensor:
        """The tokens (1, n, d) kept for a picture, if they were made by the same; else those of `encode`."""
        import torch

        found = self._read(picture) if self.looks else None
        if found is not None and found[0] == by():
            with suppress(OSError):
                _mark_used(self.folder / picture)
            return torch.from_numpy(found[1])
        tokens = encode()
        self._new[picture] = by, tokens
        return tokens

    def write(self) -> None:
        """Keep what was encoded, and remove what was used longest ago, beyond the limit."""
        try:
            for picture, (by, tokens) in self._new.items():
                made_by = by()
                if made_by is not None:
                    self.folder.mkdir(exist_ok=True)
                    write_whole(self.folder / picture, _file(made_by, tokens.float().cpu().numpy()))
                    _mark_used(self.folder / picture)
            self._trim()
        except OSError as error:
            self.warnings.append(f"encoded: not kept ({error.strerror}); the next edit encodes its pictures again")
        self._new.clear()

    def _read(self, picture: str) -> tuple[str, np.ndarray] | None:
        try:
            return _parsed((self.folder / picture).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            self.warnings.append(
                f"encoded: {picture[:12]} cannot be used ({error}); the picture was encoded again, and is kept anew"
            )
            return None

    def _trim(self) -> None:
        used: list[tuple[int, int, Path]] = []
        for place in self.folder.glob("*"):
            with suppress(FileNotFoundError):  # another process removes some, too
                used.append((place.stat().st_mtime_ns, place.stat().st_size, place))
        total = 0
        for _, size, place in sorted(used, reverse=True):
            total += size
            if total > self.limit_bytes:
                place.unlink(missing_ok=True)


def _mark_used(place: Path) -> None:
    """Used last, and so removed last. By this clock: a file system's own may stand still for some milliseconds."""
    os.utime(place, ns=(time.time_ns(), time.time_ns()))


def _file(by: str, tokens: np.ndarray) -> bytes:
    about = json.dumps({"by": by, "shape": tokens.shape})
    body = about.encode() + b"\n" + tokens.astype("<f4").tobytes()
    return hashlib.sha256(body).digest() + body


def _parsed(data: bytes) -> tuple[str, np.ndarray]:
    """By what, and the tokens. Raises ValueError for other bytes than `_file` gave."""
    body = data[32:]
    if hashlib.sha256(body).digest() != data[:32]:
        raise ValueError("it holds other bytes than were written")
    about, _, numbers = body.partition(b"\n")
    said = json.loads(about)
    return said["by"], np.frombuffer(numbers, "<f4").reshape(said["shape"]).astype(np.float32)
