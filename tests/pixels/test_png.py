"""PNG files written in bands: what other readers find in them, to the last checksum."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recast.errors import ConfigError, InputError
from recast.pixels import image, png

CAT = Path(__file__).parent.parent.parent / "examples" / "cat.png"
CV_FLAGS = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR, 4: cv2.IMREAD_UNCHANGED}


@pytest.fixture(scope="module")
def cat() -> np.ndarray:
    return np.asarray(image.read(CAT).rgb)


def picture(height: int, width: int, depth: int, seed: int) -> np.ndarray:
    """Ramps, noise and flat parts side by side, so that rows choose different filters."""
    random = np.random.default_rng(seed)
    made = random.integers(0, 256, (height, width, depth), dtype=np.uint8)
    ramp = np.add.outer(7 * np.arange(height), 3 * np.arange(width))[..., None]
    made[: height // 2] = ramp[: height // 2].astype(np.uint8)
    made[:, width // 2 :][height // 3 :] = 200
    return made


def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bands of a few rows and strips of fewer, so that small pictures have many."""
    monkeypatch.setattr(png, "BAND_BYTES", 500)
    monkeypatch.setattr(png, "STRIP_BYTES", 200)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """A strict reader: every chunk's length and checksum, and nothing behind the last."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(name + content),)
        found.append((name, content))
        at += 12 + length
    assert at == len(data)
    assert found[-1] == (b"IEND", b"")
    return found


def samples(data: bytes) -> np.ndarray:
    """Samples (H, W, c) by the specification's own words, byte after byte."""
    found = chunks(data)
    width, height, bits, colour, *rest = struct.unpack(">IIBBBBB", dict(found)[b"IHDR"])
    assert (bits, *rest) == (8, 0, 0, 0)
    depth = {0: 1, 4: 2, 2: 3, 6: 4}[colour]
    reader = zlib.decompressobj()
    stream = reader.decompress(b"".join(content for name, content in found if name == b"IDAT"))
    assert reader.eof  # its Adler-32 is right, or zlib would have raised
    assert reader.unused_data == b""
    row_bytes = width * depth
    assert len(stream) == height * (1 + row_bytes)
    above = bytearray(row_bytes)
    rows = []
    for y in range(height):
        start = y * (1 + row_bytes)
        number, row = stream[start], bytearray(stream[start + 1 : start + 1 + row_bytes])
        for x in range(row_bytes):
            a, c = (row[x - depth], above[x - depth]) if x >= depth else (0, 0)
            b = above[x]
            by_distance = sorted((abs(a + b - c - value), order) for order, value in enumerate((a, b, c)))
            guess = (0, a, b, (a + b) // 2, (a, b, c)[by_distance[0][1]])[number]
            row[x] = (row[x] + guess) % 256
        rows.append(row)
        above = row
    return np.array(rows, np.uint8).reshape(height, width, depth)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 3, 4]), st.integers(0, 99))
def test_other_readers_find_the_samples_that_went_in(height: int, width: int, depth: int, seed: int):
    given_samples = picture(height, width, depth, seed)
    with pytest.MonkeyPatch.context() as monkeypatch:
        small_parts(monkeypatch)
        data = png.encode(given_samples, threads=2)
    with Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(np.asarray(opened).reshape(given_samples.shape), given_samples)
    if depth in CV_FLAGS:
        read = cv2.imdecode(np.frombuffer(data, np.uint8), CV_FLAGS[depth]).reshape(given_samples.shape)
        order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[depth]
        np.testing.assert_array_equal(read[..., order], given_samples)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_strict_reader_finds_every_checksum_right_and_one_stream(depth: int, monkeypatch: pytest.MonkeyPatch):
    small_parts(monkeypatch)
    given_samples = picture(40, 31, depth, depth)
    data = png.encode(given_samples)
    assert sum(name == b"IDAT" for name, _ in chunks(data)) > 2
    np.testing.assert_array_equal(samples(data), given_samples)


def test_the_number_of_threads_changes_no_byte(cat: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(png, "BAND_BYTES", 30_000)
    one, *others = (png.encode(cat, threads=threads) for threads in (1, 2, 4, None))
    assert others == [one] * 3


def test_paeth_chooses_as_the_specification_does():
    values = np.array([*range(0, 256, 9), 1, 127, 128, 254, 255], np.uint8)
    a, b, c = (grid.reshape(1, -1) for grid in np.meshgrid(values, values, values, indexing="ij"))
    distances = np.stack([np.abs(a + 0 + b.astype(int) - c - value) for value in (a.astype(int), b, c)])
    expected = np.take_along_axis(np.stack([a, b, c]), distances.argmin(0)[None], 0)[0]
    np.testing.assert_array_equal(png._paeth(a, b, c), expected)


def test_the_mean_of_two_samples_does_not_overflow():
    a, b = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    none = np.zeros_like(a)
    *_, by_mean, _ = png._candidates(none, left=a, above=b, corner=none)
    np.testing.assert_array_equal(-by_mean, ((a.astype(int) + b) // 2).astype(np.uint8))


def test_metadata_is_what_pillow_would_have_written(cat: np.ndarray):
    recipe = '{"prompt": "ein Café"}'
    theirs = image.encode(cat, "png", recipe=recipe)
    options = image.metadata("PNG", recipe)
    before = [(name, content) for name, content, *_ in options["pnginfo"].chunks]
    ours = png.encode(cat, chunks=[*before, (b"eXIf", options["exif"].removeprefix(b"Exif\0\0"))])
    assert image.read_recipe(ours) == recipe
    assert [part for part in chunks(ours) if part[0] != b"IDAT"] == [
        part for part in chunks(theirs) if part[0] != b"IDAT"
    ]


def test_files_are_no_larger_than_those_of_pillow(cat: np.ndarray):
    """A photograph, by runs alone; and a drawing, whose repeats have to be found."""
    sign = np.kron(np.random.default_rng(0).integers(0, 2, (12, 12)), np.full((3, 3), 230)).astype(np.uint8)
    drawing = np.tile(sign, (8, 10))[..., None].repeat(3, axis=2)
    for name, each in {"photograph": cat, "drawing": drawing}.items():
        file = io.BytesIO()
        Image.fromarray(each).save(file, "PNG")
        assert len(png.encode(each)) < 1.02 * len(file.getvalue()), name


def test_the_first_row_of_a_strip_or_band_looks_at_the_one_above(monkeypatch: pytest.MonkeyPatch):
    """Rows of noise, all the same: each is nothing but the row above."""
    small_parts(monkeypatch)
    noise = np.random.default_rng(0).integers(0, 256, (1, 300, 3), dtype=np.uint8)
    data = png.encode(noise.repeat(60, axis=0))
    assert len(data) < 5 * noise.size


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4, 3)), np.zeros((4, 4, 5), np.uint8), np.zeros((4,), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_picture_is_an_error(wrong: np.ndarray):
    with pytest.raises(InputError, match="samples:"):
        png.encode(wrong)


def test_a_wrong_chunk_or_number_of_threads_is_an_error(cat: np.ndarray):
    for name in (b"IDAT", b"text!", b"a"):
        with pytest.raises(InputError, match="chunks:"):
            png.encode(cat, chunks=[(name, b"")])
    with pytest.raises(ConfigError, match="threads=0"):
        png.encode(cat, threads=0)
