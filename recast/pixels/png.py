"""A PNG file written by several threads: rows filtered in strips, bands of rows deflated apart and joined.

Each band is deflated on its own and ends on a whole byte, so that the bands, one behind the other, are one zlib
stream; its checksum is put together from theirs. Bands do not depend on the number of threads, so neither do the
bytes. Source: PNG specification, third edition, sections 5 (chunks), 9 (filters) and 10 (compression); RFC 1950
(zlib, Adler-32) and RFC 1951 (deflate).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from recast.errors import ConfigError, InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by samples a pixel: grey, grey and alpha, RGB, RGBA
BAND_BYTES = 1 << 19  # of samples: what one thread deflates at a time
STRIP_BYTES = 1 << 16  # of samples: what is filtered at a time; a dozen such arrays fit a processor's own cache
SAMPLE_BYTES = 1 << 15
FLAT = 0.5  # of a band's size: what stays larger is a photograph, where looking for repeats gains next to nothing
ADLER = 65_521
MOST_THREADS = 16


def encode(samples: np.ndarray, *, chunks: Sequence[tuple[bytes, bytes]] = (), threads: int | None = None) -> bytes:
    """The bytes of a PNG file of samples (H, W) or (H, W, c), uint8; c = 1 grey, 2 with alpha, 3 RGB, 4 with alpha.

    chunks: name and content of each that goes before the samples, in order. threads: at most so many; None: one for
    each processor, up to 16. Their number changes the time and not the bytes.
    Raises InputError for other arrays or a name that is no chunk's, ConfigError for a number of threads below one.
    """
    rows = _rows(samples)
    for name, _ in chunks:
        if len(name) != 4 or not name.isalpha() or name in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            accepted = "four ASCII letters, none of the four that a file has anyway, accepted"
            raise InputError(f"chunks: a chunk named {name!r} came; {accepted}; name it as the specification does")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads={threads}: at least 1 accepted; leave it out for one for each processor")
    height, width, depth = rows.shape
    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[depth], 0, 0, 0)
    size = max(1, BAND_BYTES // (width * depth))
    starts = range(0, height, size)
    with ThreadPoolExecutor(min(threads or min(os.cpu_count() or 1, MOST_THREADS), len(starts))) as pool:
        bands = list(pool.map(lambda start: _deflated(rows, start, min(start + size, height)), starts))
    return b"".join(
        [SIGNATURE, chunk(b"IHDR", header), *(chunk(name, content) for name, content in chunks)]
        + [band.chunk for band in bands]
        + [chunk(b"IDAT", struct.pack(">I", _checksum(bands))), chunk(b"IEND", b"")]
    )


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk: length, name, content, checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))


def _rows(samples: np.ndarray) -> np.ndarray:
    rows = samples[..., None] if samples.ndim == 2 else samples
    if rows.dtype != np.uint8 or rows.ndim != 3 or rows.shape[2] not in COLOUR_TYPES or not rows.size:
        came, accepted = f"{samples.dtype} {samples.shape}", "uint8 (H, W) or (H, W, 1 to 4) accepted, no side 0"
        raise InputError(f"samples: {came} came; {accepted}; scale them to 0..255")
    if max(rows.shape[:2]) >= 1 << 31:
        raise InputError(f"samples: {samples.shape} came; sides below {1 << 31} accepted by PNG; cut the picture")
    return rows


class _Band(NamedTuple):
    """Rows of the picture, filtered and deflated: an IDAT chunk, and what the checksum of the whole needs of it."""

    chunk: bytes
    adler: int
    length: int  # bytes before they were deflated


def _deflated(rows: np.ndarray, start: int, stop: int) -> _Band:
    """Rows start to stop of rows (H, W, c) as a run of deflate blocks, the last one of the stream if they are."""
    filtered = b"".join(_filtered(rows, start, stop))
    is_last = stop == rows.shape[0]
    data = _runs(filtered, is_last)
    if len(data) < FLAT * len(filtered) and _repeats(filtered):
        data = min(data, _matches(filtered, is_last), key=len)
    if start == 0:
        data = b"\x78\x01" + data  # zlib's header: deflate, a window of 32 KiB
    return _Band(chunk(b"IDAT", data), zlib.adler32(filtered), len(filtered))


def _repeats(filtered: bytes) -> bool:
    """Whether a sample from the middle of a band gets smaller by more than a fiftieth if repeats are looked for."""
    begin = max(0, (len(filtered) - SAMPLE_BYTES) // 2)
    sample = filtered[begin : begin + SAMPLE_BYTES]
    return len(_matches(sample)) < 0.98 * len(_runs(sample))


def _runs(data: bytes, is_last: bool = False) -> bytes:
    """Deflated with runs of one byte as the only repeats: what filters leave of a photograph holds few others."""
    return _flushed(zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE), data, is_last)


def _matches(data: bytes, is_last: bool = False) -> bytes:
    """Deflated with all repeats in reach; takes up to ten times as long as runs alone."""
    return _flushed(zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED), data, is_last)


def _flushed(deflate: zlib._Compress, data: bytes, is_last: bool) -> bytes:
    return deflate.compress(data) + deflate.flush(zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH)


def _checksum(bands: Sequence[_Band]) -> int:
    """Adler-32 of all bands in a row, from the sums of each."""
    low, high = 1, 0
    for band in bands:
        band_low, band_high = band.adler & 0xFFFF, band.adler >> 16
        high = (high + band_high + band.length * (low - 1)) % ADLER
        low = (low + band_low - 1) % ADLER
    return high << 16 | low


def _filtered(rows: np.ndarray, start: int, stop: int) -> Iterator[bytes]:
    """Rows start to stop of rows (H, W, c), each behind the number of its filter, in strips.

    The filter of a row is the one whose result, as signed bytes, has the smallest sum of magnitudes.
    """
    _, width, depth = rows.shape
    size = max(1, STRIP_BYTES // (width * depth))
    for first in range(start, stop, size):
        last = min(first + size, stop)
        strip = np.zeros((last - first + 1, (width + 1) * depth), np.uint8)  # with a row above and a pixel on the left
        begun = max(0, first - 1)
        strip[begun - first + 1 :, depth:] = rows[begun:last].reshape(last - begun, -1)
        candidates = _candidates(
            strip[1:, depth:], left=strip[1:, :-depth], above=strip[:-1, depth:], corner=strip[:-1, :-depth]
        )
        sums = [np.abs(each.view(np.int8)).view(np.uint8).sum(axis=1, dtype=np.uint64) for each in candidates]
        best = np.argmin(sums, axis=0)
        out = np.empty((last - first, 1 + width * depth), np.uint8)
        out[:, 0] = best
        for number in np.unique(best):
            np.copyto(out[:, 1:], candidates[number], where=(best == number)[:, None])
        yield out.tobytes()


def _candidates(here: np.ndarray, *, left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> tuple[np.ndarray, ...]:
    """The five filters by their number: none, left, above, the mean of both, Paeth's; differences modulo 256."""
    mean = (left & above) + ((left ^ above) >> 1)  # (left + above) // 2 in eight bits
    return np.ascontiguousarray(here), here - left, here - above, here - mean, here - _paeth(left, above, corner)


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Of left, above and corner, the one nearest to left + above - corner, the first of equals; in eight bits.

    That sum is |above - corner| away from left and |left - corner| from above. From corner it is the sum of the two
    away where left and above lie on the same side of it, so never nearest; else it is their difference away.
    """
    from_left = np.maximum(above, corner) - np.minimum(above, corner)
    from_above = np.maximum(left, corner) - np.minimum(left, corner)
    nearest = np.minimum(from_left, from_above)
    by_two = np.maximum(from_left, from_above) - nearest
    is_side = (nearest <= by_two) | ((left >= corner) == (above >= corner))
    side = _chosen(from_left <= from_above, left, above)
    return _chosen(is_side, side, corner)


def _chosen(condition: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`one` where the condition holds, else `other`; without a branch for each sample."""
    mask = np.negative(condition.view(np.uint8))
    return other ^ ((other ^ one) & mask)
