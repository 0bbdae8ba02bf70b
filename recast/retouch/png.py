"""PNG files chunk by chunk: what neither Pillow nor OpenCV writes into a 16-bit one, and what neither of them reads.

Source: PNG specification, third edition, sections 5.3 (chunk layout) and 11.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence

from recast.pixels.png import SIGNATURE, chunk
from recast.retouch.embedded import encoded

SRGB_GAMMA = 45_455  # times 100,000
SRGB_PRIMARIES = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)  # white, red, green, blue; x, y each
SRGB_CICP = bytes([1, 13, 0, 1])
COLOURS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")  # in the order in which a reader has to heed them
SCREEN = (b"mDCV", b"cLLI")  # the screen that a cICP's colours were made on, and how bright they are
LENGTHS = {
    b"cICP": 4,
    b"mDCV": 24,
    b"cLLI": 8,
    b"gAMA": 4,
    b"cHRM": 32,
}  # of those that are carried; others are damaged
Chunk = tuple[bytes, bytes]  # name and content
HEADER_END = len(SIGNATURE) + 25  # the header is one chunk of 13 bytes, always the first


def text(keyword: str, value: str) -> bytes:
    """An iTXt chunk, not compressed: readers refuse to inflate a long text. Raises InputError like `encoded`."""
    return chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + encoded(keyword, value))


def colour(profile: bytes | None, carried: Sequence[Chunk] = ()) -> bytes:
    """The chunks that say what the numbers mean: an ICC profile, or sRGB for None; and those of `unheeded`."""
    others = b"".join(chunk(name, content) for name, content in carried)
    if profile is not None:
        return chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9)) + others
    is_told = any(name in (b"gAMA", b"cHRM") for name, _ in carried)  # which an sRGB chunk would silence
    return others if is_told else chunk(b"sRGB", b"\0") + others


def inserted(data: bytes, chunks: list[bytes]) -> bytes:
    """A file with more chunks right behind its header, where those about colour have to be."""
    return data[:HEADER_END] + b"".join(chunks) + data[HEADER_END:]


def names(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk, but for pixels, whose content is left out; ends where the file is no PNG."""
    at = len(SIGNATURE) if data.startswith(SIGNATURE) else len(data)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        if name == b"IEND":
            return
        yield name, b"" if name == b"IDAT" else data[at + 8 : at + 8 + length]
        at += 12 + length


def unheeded(data: bytes) -> tuple[tuple[Chunk, ...], list[str]]:
    """What a file says of its colours that is not listened to; what says sRGB anyway is none.

    The chunks, as another file can carry them for readers that do listen, and a phrase for each remark.
    """
    found: dict[bytes, bytes] = {}
    carried: list[bytes] = []
    notes = []
    is_behind = False
    for name, content in names(data):
        is_behind |= name == b"IDAT"
        if name in (*COLOURS, *SCREEN) and (is_behind or name in found):
            notes.append(f"{name.decode()}: a second such chunk, or one behind the pixels: readers disagree")
        elif name in (*COLOURS, *SCREEN):
            found[name] = content
    if b"iCCP" in found and b"sRGB" in found:
        notes.append("an sRGB chunk beside a colour profile is passed over: taken as the profile says")
    if found.get(b"cICP", SRGB_CICP) != SRGB_CICP:
        notes.append("colour space named by a cICP chunk is passed over: taken as the profile says, or as sRGB")
        carried += [b"cICP", *SCREEN]
    if b"iCCP" not in found and b"sRGB" not in found:  # the other two are meant for readers that know no profiles
        told = _gamma_and_primaries(found)
        notes += told
        carried += [b"gAMA", b"cHRM"] if told else []  # both: many readers heed neither alone
    whole = [name for name in carried if len(found.get(name, b"")) == LENGTHS[name]]
    return tuple((name, found[name]) for name in whole), notes


def is_animated(data: bytes) -> bool:
    """Whether a file says that it holds an animation, which viewers show instead of its pixels."""
    return any(name == b"acTL" for name, _ in names(data))


def _gamma_and_primaries(found: Mapping[bytes, bytes]) -> list[str]:
    """What gAMA and cHRM say that is not sRGB."""
    notes = []
    gamma, primaries = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    if len(gamma) == 4 and abs(struct.unpack(">I", gamma)[0] - SRGB_GAMMA) > 1000:
        notes.append(f"gamma {struct.unpack('>I', gamma)[0] / 1e5:.5f} of a gAMA chunk is passed over: taken as sRGB")
    if len(primaries) == 32:
        own = struct.unpack(">8I", primaries)
        if max(abs(one - other) for one, other in zip(own, SRGB_PRIMARIES, strict=True)) > 1000:
            notes.append("primaries of a cHRM chunk are passed over: taken as those of sRGB")
    return notes
