"""What an AVIF file says of its look, and that its decoder passes over, is said."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from recast.retouch import avif
from recast.retouch.certificate import certify, verify
from recast.retouch.original import encode_original, read_original
from tests.pixels.test_image import P3, matrix_profile

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 4), dtype=np.uint8))
SRGB = b"nclx\0\x01\0\x0d"
UNSAID = b"nclx\0\x02\0\x02"


def encoded(**options: object) -> bytes:
    file = io.BytesIO()
    PICTURE.save(file, "AVIF", quality=30, **options)
    return file.getvalue()


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def file_of(known: list[bytes], places: dict[int, list[int]], *, primary: int = 2, is_wide: bool = False) -> bytes:
    """A file's boxes without its pictures. places: by item, those of its properties among `known`, from 1."""
    number, place = (">I", ">H") if is_wide else (">H", ">B")
    entries = b"".join(
        struct.pack(number, item) + bytes([len(own)]) + b"".join(struct.pack(place, each) for each in own)
        for item, own in places.items()
    )
    head = bytes([is_wide, 0, 0, is_wide]) + struct.pack(">I", len(places))
    inside = box(b"ipco", b"".join(known)) + box(b"ipma", head + entries)
    pitm = box(b"pitm", bytes([is_wide, 0, 0, 0]) + struct.pack(number, primary))
    return box(b"ftyp", b"avif") + box(b"meta", bytes(4) + pitm + box(b"iprp", inside))


@pytest.mark.parametrize(
    ("colours", "options", "found"),
    [
        (SRGB, {}, None), (UNSAID, {}, None),
        (b"nclx\0\x0c\0\x0d", {}, "primaries 12"), (b"nclx\0\x09\0\x10", {}, "transfer 16"),
        (b"nclx\0\x01\0\x01", {}, "transfer 1)"), (b"nclx\0\x0c\0\x0d", {"icc_profile": matrix_profile(P3, 2.2)}, None),
    ],
)  # fmt: skip
def test_another_colour_space_is_no_look_that_can_be_kept(colours, options, found):
    """Of a source it is a warning, and what is made of that says nothing of it. A profile outranks it."""
    data = encoded(**options)
    source, result = (read_original(each) for each in (data, data.replace(SRGB, colours)))
    assert result.disputed == result.warnings
    assert [found in each for each in result.disputed] == [True] * (found is not None)
    support = np.zeros((16, 24), bool)
    certificate = certify(source, source.with_samples(source.samples), support)
    assert verify(source, result, certificate).is_kept == (found is None)
    again = result.with_samples(result.samples)
    certificate = certify(result, again, support)
    assert verify(result, read_original(encode_original(again, "png")), certificate).is_kept


def test_pixels_that_are_not_square_are_said():
    data = encoded()
    at = data.index(b"pixi")  # a property of as many bytes
    wide, square = (data[:at] + b"pasp" + struct.pack(">II", *sides) + data[at + 12 :] for sides in ((2, 1), (3, 3)))
    assert "not square (2 to 1, as stored)" in read_original(wide).disputed[0]
    assert read_original(square).disputed == ()


@pytest.mark.parametrize(
    ("numbers", "found"),
    [((24, 1, 16, 1, 0, 1, 0, 1), 0), ((48, 2, 32, 2, 0, 1, 0, 1), 0), ((20, 1, 16, 1, 0, 1, 0, 1), 1),
     ((24, 1, 16, 1, -2, 1, 0, 1), 1)],
)  # fmt: skip
def test_a_part_cut_out_is_said(numbers, found):
    size = box(b"ispe", struct.pack(">III", 0, 24, 16))
    data = file_of([size, box(b"clap", struct.pack(">IIIIiIiI", *numbers))], {2: [1, 2]})
    assert len(avif.disputed(data, is_profiled=True)) == found


@pytest.mark.parametrize("is_wide", [False, True])
def test_properties_are_those_of_the_primary_picture(is_wide):
    wide, p3 = box(b"pasp", struct.pack(">II", 2, 1)), box(b"colr", b"nclx" + struct.pack(">HHHB", 12, 13, 6, 128))
    data = file_of([wide, p3], {1: [1], 2: [2], 3: [1, 2]}, is_wide=is_wide)
    assert avif.properties(data) == [(b"colr", p3[8:])]
    assert ["nclx" in each for each in avif.disputed(data, is_profiled=False)] == [True]


def test_a_damaged_file_is_said_and_nothing_else_is_raised():
    data, rng = encoded(), np.random.default_rng(0)
    for end in range(0, 300, 3):
        assert "cannot be read" in avif.disputed(data[:end], is_profiled=False)[0]
    for _ in range(300):
        damaged = bytearray(data)
        for at in rng.integers(0, 300, 3):
            damaged[at] = rng.integers(256)
        avif.disputed(bytes(damaged), is_profiled=False)
