"""A frozen suite as a folder: what to ask, of which pictures, and what the right answer is.

    SUITE/
      suite.json      what it is: name, version, licence, number of items, sha256 of items.jsonl
      items.jsonl     one item a line, in the order in which they are asked
      pictures/ab/abcd….png    named by the hash of their pixels, so that items.jsonl vouches for every one

An item: `key` (unique), `category` (a row of the table), `kind`, `base` (items of one base picture are resampled
together), `width`, `height`, `seed`, `split`, `contexts` (paths; the first is the picture to change, none for text to
image), `turns`. A turn: `instruction`, `answer` (a path, or null where nobody knows it), `truth` (see `suite`).
An item with several turns is a chain: each turn receives the system's own last picture in the place of the first.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.pixels import image

SCHEMA = 1


class Writer:
    """Writes one suite: pictures as they come, then all items at once."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"out={folder}: not empty; a new or empty folder accepted; remove it or name another")
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def picture(self, pixels: np.ndarray) -> str:
        """The path, in the suite, of a picture (H, W, 3) uint8; written unless it is there already."""
        picture = image.Picture(rgb=pixels)
        name = picture_name(picture.sha256())
        path = self.folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            image.write(picture, path)
        return name

    def finish(self, items: Iterable[Mapping[str, Any]], **about: Any) -> str:
        """Write items.jsonl and suite.json; the suite's hash."""
        lines = [json.dumps(item, ensure_ascii=False, sort_keys=True, separators=(",", ":")) for item in items]
        data = "".join(f"{line}\n" for line in lines).encode()
        digest = hashlib.sha256(data).hexdigest()
        write_whole(self.folder / "items.jsonl", data)
        head = {"schema": SCHEMA, **about, "items": len(lines), "sha256": digest}
        write_whole(self.folder / "suite.json", (json.dumps(head, indent=1, ensure_ascii=False) + "\n").encode())
        return digest


def picture_name(sha256: str) -> str:
    """Where a picture lies in a suite or a run, by the hash of its pixels."""
    return f"pictures/{sha256[:2]}/{sha256[:20]}.png"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a temporary one beside it, flushed to the disk, then moved into place."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise
