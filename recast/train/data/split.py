"""What of a finite source is trained on and what it judges by: every picture on one side alone.

Examples that show one picture, as the source of an edit or as its result, belong together, so that the turns of a
conversation never part; pictures that are shown beside it, as a style or a face, may stand on both sides. Which side
is told by a hash of the pictures: the same on every machine, whatever the order of the examples.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import ConfigError, InputError
from recast.train.data.example import Source
from recast.train.data.order import Blocked, Chosen, mixed
from recast.train.data.record import Origin, Traced

TAIL = 4096
"""Bytes at the end of a compressed picture that, with its length, tell it from others."""
COMPRESSED = re.compile(rb"\x89PNG|\xff\xd8\xff|RIFF....WEBP", re.DOTALL)
"""How files of PNG, JPEG and WebP begin. Of others the end may be plain, as in a BMP with a white edge."""


class Part(Chosen):
    """One side of a source that was split. Where the source lies in blocks, so does this."""

    def __init__(self, source: Traced, indices: Sequence[int], side: str) -> None:
        super().__init__(source, indices)
        self.side = side
        if isinstance(source, Blocked):
            ends = np.searchsorted(self.indices, np.cumsum([0, *source.blocks]))
            self.blocks = [int(count) for count in np.diff(ends) if count]

    def about(self) -> Mapping[str, Any]:
        digest = hashlib.sha256(np.asarray(self.indices, np.int64).tobytes()).hexdigest()
        about = {"kind": "part", "side": self.side, "examples": self.length, "sha256": digest}
        return {**about, "source": dict(self.source.about())}


def split(sources: Sequence[Traced], counts: Sequence[int], share: float) -> list[tuple[Source, Chosen | None]]:
    """Of each source what is trained on, and what is judged by, None for nothing.

    A set that is published in two splits is taken in these, whatever `counts` says, and its pictures are not compared.
    Of any other, as many examples as `counts` says are held out, or a few more, for pictures are held out with all
    their examples, but no more than `share` of all; where even one is too many, nothing is, and the source is trained
    on as it is. Nothing is read where `counts` are 0. What is judged by stands in an order of which any beginning is of
    all sorts. Raises ConfigError for a share that leaves nothing on one side.
    """
    if not 0 < share < 1:
        raise ConfigError(f"held_out_share={share}: a share above 0 and below 1 accepted")
    published = [source.published() for source in sources]
    judged = [sorted((n for n, is_out in enumerate(own or ()) if is_out), key=mixed) for own in published]
    origins = [
        list(source.origins()) if any(counts) and own is None else []
        for source, own in zip(sources, published, strict=True)
    ]
    most = [int(share * len(known)) for known in origins]
    places = [(source, number) for source, known in enumerate(origins) for number in range(len(known))]
    for family in families([origin for known in origins for origin in known]):
        members = [places[each] for each in family]
        added = Counter(source for source, _ in members)
        is_wanted = any(len(judged[source]) < min(counts[source], most[source]) for source in added)
        if is_wanted and all(len(judged[source]) + more <= most[source] for source, more in added.items()):
            for source, number in members:
                judged[source].append(number)
    return [_parted(source, numbers) for source, numbers in zip(sources, judged, strict=True)]


def _parted(source: Traced, judged: Sequence[int]) -> tuple[Source, Chosen | None]:
    if not judged:
        return source, None
    out, count = set(judged), source.length
    assert count is not None, "a source that knows where its examples come from is finite"
    return Part(source, [n for n in range(count) if n not in out], "train"), Chosen(source, judged)


def families(origins: Sequence[Origin]) -> list[list[int]]:
    """The examples that share a picture, directly or through others; families in the order of a hash of their pictures.

    Examples of which nobody knows the pictures are in none.
    """
    parent: dict[bytes, bytes] = {}

    def root(picture: bytes) -> bytes:
        while parent.setdefault(picture, picture) != picture:
            parent[picture] = parent[parent[picture]]
            picture = parent[picture]
        return picture

    for origin in origins:
        for one, other in zip(origin.pictures, origin.pictures[1:], strict=False):
            low, high = sorted((root(one), root(other)))
            parent[high] = low
    found: dict[bytes, list[int]] = {}
    for number, origin in enumerate(origins):
        if origin.pictures:
            found.setdefault(root(origin.pictures[0]), []).append(number)
    return [found[name] for name in sorted(found)]


def named(picture: Path | bytes, offset: int = 0, length: int | None = None) -> bytes:
    """A hash that tells a picture from others: a file or its bytes, or `length` of these from `offset` on.

    Raises InputError for a file that cannot be read.
    """
    try:
        with io.BytesIO(picture) if isinstance(picture, bytes) else picture.open("rb") as file:
            size = file.seek(0, io.SEEK_END) - offset if length is None else length
            file.seek(offset)
            told = min(size, TAIL) if COMPRESSED.match(file.read(min(size, 12))) else size
            file.seek(offset + size - told)
            return hashlib.sha256(size.to_bytes(8, "big") + file.read(told)).digest()
    except OSError as error:
        raise InputError(f"{picture!s}: cannot be read ({error.strerror}); check that it is still there") from error
