"""PNG files chunk by chunk: what neither Pillow nor OpenCV writes into a 16-bit one, and what neither of them reads.

Source: PNG specification, third edition, sections 5.3 (chunk layout) and 11.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from recast.pixels.png import SIGNATURE, chunk
from recast.retouch.embedded import encoded

SRGB_GAMMA = 45_455  # times 100,000
SRGB_PRIMARIES = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)  # white, red, green, blue; x, y each
SRGB_CICP = bytes([1, 13, 0, 1])
COLOURS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")  # in the order in which a reader has to heed them
SCREEN = (b"mDCV", b"cLLI")  # the screen that a cICP's colours were made on, and how bright they are
ONCE = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"pHYs", *COLOURS, *SCREEN)  # of two, readers take the first or the last
LENGTHS = {b"cICP": 4, b"mDCV": 24, b"cLLI": 8, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"pHYs": 9}  # another is damage
Chunk = tuple[bytes, bytes]  # name and content
HEADER_END = len(SIGNATURE) + 25  # the header is one chunk of 13 bytes, always the first


class Unheeded(NamedTuple):
    """What a file says that is not listened to.

    carried: what it says of its colours, as another file can say it to readers that do listen; notes: a phrase for each
    remark on that. disputed: a phrase for each chunk on which readers disagree, so that no other file can say the same.
    """

    carried: tuple[Chunk, ...]
    notes: tuple[str, ...]
    disputed: tuple[str, ...]


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


def chunks(data: bytes) -> Iterator[Chunk]:
    """Each chunk; of pixels the content is left out. Ends where the file is no PNG."""
    at = len(SIGNATURE) if data.startswith(SIGNATURE) else len(data)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        if name == b"IEND":
            return
        yield name, b"" if name == b"IDAT" else data[at + 8 : at + 8 + length]
        at += 12 + length


def unheeded(data: bytes, profile: bytes | None, *, is_read: bool) -> Unheeded:
    """What a file says of its colours that is not listened to; what says sRGB anyway is none.

    profile: the colour profile as the decoder found it. is_read: whether it is one that colours can be read by; other
    readers drop one that is not, and listen to gAMA and cHRM.
    """
    found, disputed = _found(data)
    if b"iCCP" in found and profile is None:
        disputed.append("iCCP: a colour profile that cannot be read is passed over: readers disagree")
    if is_read and b"sRGB" in found:
        disputed.append("an sRGB chunk beside a colour profile is passed over: taken as the profile says")
    # gAMA and cHRM are meant for readers that know no profiles
    told = [] if is_read or b"sRGB" in found else _gamma_and_primaries(found)
    carried = [b"gAMA", b"cHRM"] if told else []  # both: many readers heed neither alone
    if b"cICP" in found and (found[b"cICP"] != SRGB_CICP or is_read or told):  # all of which it outranks
        told.append("colour space named by a cICP chunk is passed over: taken as the profile says, or as sRGB")
        carried = [b"cICP", *SCREEN, *carried]
    return Unheeded(tuple((name, found[name]) for name in carried if name in found), tuple(told), tuple(disputed))


def has_others(data: bytes) -> bool:
    """Whether a file says that it holds what some viewers show instead of its pixels.

    An animation (acTL); or, for Apple's decoders, where a second thread begins (iDOT), which may be elsewhere.
    """
    return any(name in (b"acTL", b"iDOT") for name, _ in chunks(data))


def _found(data: bytes) -> tuple[dict[bytes, bytes], list[str]]:
    """Of the chunks that may be there once, the first whole one by its name; and a phrase for each of the others."""
    found: dict[bytes, bytes] = {}
    disputed = []
    passed: set[bytes] = set()
    for name, content in chunks(data):
        is_colour = name in (*COLOURS, *SCREEN)
        is_late = (is_colour and b"PLTE" in passed) or (name != b"eXIf" and b"IDAT" in passed)
        passed.add(name)
        if name not in ONCE:
            continue
        if len(content) != LENGTHS.get(name, len(content)) or (name == b"sRGB" and content[0] > 3):
            disputed.append(f"{name.decode()}: is damaged, and passed over: readers disagree")
        elif not is_late and name not in found:
            found[name] = content
        elif name != b"pHYs" or _side_of(content) != _side_of(found.get(name, bytes(9))):
            said = "a second such chunk, or one behind the pixels or their palette"
            disputed.append(f"{name.decode()}: {said}: readers disagree")
    return found, disputed


def _side_of(density: bytes) -> float:
    """How wide a pixel is by a pHYs chunk, to its height; one that says nothing is square."""
    across, down = struct.unpack_from(">II", density)
    return float(down / across) if across and down else 1.0


def _gamma_and_primaries(found: Mapping[bytes, bytes]) -> list[str]:
    """What gAMA and cHRM say that is not sRGB."""
    notes = []
    if b"gAMA" in found:
        (gamma,) = struct.unpack(">I", found[b"gAMA"])
        if abs(gamma - SRGB_GAMMA) > 1000:
            notes.append(f"gamma {gamma / 1e5:.5f} of a gAMA chunk is passed over: taken as sRGB")
    if b"cHRM" in found:
        own = struct.unpack(">8I", found[b"cHRM"])
        if max(abs(one - other) for one, other in zip(own, SRGB_PRIMARIES, strict=True)) > 1000:
            notes.append("primaries of a cHRM chunk are passed over: taken as those of sRGB")
    return notes
