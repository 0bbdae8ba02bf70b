"""PNG files chunk by chunk: what neither Pillow nor OpenCV writes into a 16-bit one, and what neither of them reads.

Source: PNG specification, third edition, sections 5.3 (chunk layout) and 11.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from recast.pixels.png import SIGNATURE, chunk
from recast.retouch.embedded import encoded

SRGB_GAMMA = 45_455  # times 100,000
HEADER_END = len(SIGNATURE) + 25  # the header is one chunk of 13 bytes, always the first


def text(keyword: str, value: str) -> bytes:
    """An iTXt chunk, not compressed: readers refuse to inflate a long text. Raises InputError like `encoded`."""
    return chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + encoded(keyword, value))


def colour(profile: bytes | None) -> bytes:
    """The chunk that says what the numbers mean: an ICC profile, or sRGB for None."""
    if profile is None:
        return chunk(b"sRGB", b"\0")
    return chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9))


def inserted(data: bytes, chunks: list[bytes]) -> bytes:
    """A file with more chunks right behind its header, where those about colour have to be."""
    return data[:HEADER_END] + b"".join(chunks) + data[HEADER_END:]


def names(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk before the pixels; ends where the file is no PNG any more."""
    at = len(SIGNATURE) if data.startswith(SIGNATURE) else len(data)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        if name in (b"IDAT", b"IEND"):
            return
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length


def passed_over(data: bytes) -> list[str]:
    """What a file says of its colours that is not listened to, a phrase each: nothing if it has an ICC profile."""
    found = dict(names(data))
    if b"iCCP" in found or b"sRGB" in found:
        found.pop(b"gAMA", None)  # meant for readers that know no profiles
    notes = []
    if b"cICP" in found:
        notes.append("colour space named by a cICP chunk is passed over: taken as the profile says, or as sRGB")
    gamma = found.get(b"gAMA", b"")
    if len(gamma) == 4 and abs(struct.unpack(">I", gamma)[0] - SRGB_GAMMA) > 1000:
        notes.append(f"gamma {struct.unpack('>I', gamma)[0] / 1e5:.5f} of a gAMA chunk is passed over: taken as sRGB")
    return notes
