"""AVIF files box by box: what one says of its picture's look that the decoder does not apply, and that viewers heed.

Source: ISO/IEC 14496-12 (boxes; `colr`, `clap`, `pasp`), 23008-12 (items and their properties), 23000-22, section 7.3.6
(what holds where nothing is said: sRGB, square); ITU-T H.273, tables 2 and 3 (numbers of colour spaces).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

SRGB_PRIMARIES = (1, 2)  # BT.709, unspecified
SRGB_TRANSFERS = (13, 2)  # sRGB, unspecified
Box = tuple[bytes, bytes]  # name and content


def disputed(data: bytes, *, is_profiled: bool) -> list[str]:
    """A phrase for each thing that readers disagree on: colours that are not sRGB, pixels not square, a part cut out.

    is_profiled: whether colours can be read by a profile, which outranks the numbers. Matrix and range are the
    decoder's own. Not looked at: what the AV1 stream itself says, for a file whose boxes say nothing of colours.
    """
    try:
        own = properties(data)
        return [*([] if is_profiled else _colours(own)), *_shapes(own)]
    except (struct.error, IndexError, KeyError, ValueError) as error:
        return [f"AVIF properties cannot be read, what they say of the look is passed over: {error!r}"]


def properties(data: bytes) -> list[Box]:
    """The properties of a file's primary picture, and not those of its alpha, thumbnail or gain map.

    Raises struct.error, IndexError, KeyError or ValueError for a file that is none, or damaged.
    """
    meta = dict(_boxes(dict(_boxes(data))[b"meta"][4:]))
    primary = _number(meta[b"pitm"], 4, is_wide=meta[b"pitm"][0] > 0)
    inside = list(_boxes(meta[b"iprp"]))
    known = list(_boxes(dict(inside)[b"ipco"]))
    places = [place for name, content in inside if name == b"ipma" for place in _places(content, primary)]
    return [known[place - 1] for place in places if place > 0]


def _boxes(data: bytes) -> Iterator[Box]:
    at = 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        elif size == 0:  # the last box, to the end
            size = len(data) - at
        if size < head or at + size > len(data):
            raise ValueError(f"a box of {size} bytes")
        yield name, data[at + head : at + size]
        at += size


def _number(data: bytes, at: int, *, is_wide: bool) -> int:
    """The 16 bits, or 32, at a place."""
    return int(struct.unpack_from(">I" if is_wide else ">H", data, at)[0])


def _places(content: bytes, item: int) -> Iterator[int]:
    """Of an ipma box: the places from 1, in ipco, of the properties of an item."""
    has_wide_ids, has_wide_places = content[0] > 0, bool(content[3] & 1)
    at = 8
    for _ in range(_number(content, 4, is_wide=True)):
        of = _number(content, at, is_wide=has_wide_ids)
        at += 4 if has_wide_ids else 2
        count, at = content[at], at + 1
        for _ in range(count):
            place = _number(content, at, is_wide=False) & 0x7FFF if has_wide_places else content[at] & 0x7F
            at += 2 if has_wide_places else 1
            if of == item:
                yield place


def _colours(own: Sequence[Box]) -> Iterator[str]:
    for name, content in own:
        if name == b"colr" and content[:4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", content, 4)
            if primaries not in SRGB_PRIMARIES or transfer not in SRGB_TRANSFERS:
                named = f"primaries {primaries}, transfer {transfer}"
                yield f"a colour space of AVIF (nclx: {named}) is passed over: taken as sRGB; readers disagree"


def _shapes(own: Sequence[Box]) -> Iterator[str]:
    sizes = [struct.unpack_from(">II", content, 4) for name, content in own if name == b"ispe"]
    for name, content in own:
        if name == b"pasp":
            across, down = struct.unpack_from(">II", content)
            if across != down:
                yield f"pixels that are not square ({across} to {down}, as stored) are passed over: taken as square"
        elif name == b"clap":
            width, by, height, also_by, right, _, below, _ = struct.unpack_from(">IIIIiIiI", content)
            if right or below or any((width, height) != (by * w, also_by * h) for w, h in sizes):
                yield "a part cut out by AVIF (clap) is passed over: taken whole; readers disagree"
