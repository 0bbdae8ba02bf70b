"""Layers to one file and back, bit for bit: a zip of arrays that `numpy.load` reads as well.

A layer's alpha and colours are whole numbers of 1/65535 of their range (`compose`). They are kept as such: alpha
`alpha_0` (h, w) uint16, and colours `pixels_0` (n, 3) uint16 of the n pixels whose alpha is not 0, row by row.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from recast.errors import InputError
from recast.retouch.compose import STEPS, Box, Layer

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the hour is not in the file: the same layers are the same bytes
_HEADER_LIMIT_BYTES = 1024  # of one array


def pack(layers: Sequence[Layer], levels: int) -> bytes:
    """The bytes of a file with the layers, the same for the same layers. levels: the largest sample, 255 or 65535.

    Raises InputError for a layer that `compose.layer` did not make for these levels: it could not be kept exactly.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, layer in enumerate(layers):
            colours = layer.pixels[layer.alpha > 0]
            _put(archive, f"alpha_{number}", _steps(layer.alpha, STEPS, number))
            _put(archive, f"pixels_{number}", _steps(colours, STEPS / levels, number))
    return file.getvalue()


def unpack(data: bytes, heads: Sequence[tuple[Box, float, str]], levels: int) -> tuple[Layer, ...]:
    """The layers of `pack`, whose box, seam and kind of seam are `heads`. Colours that are not seen are 0.

    Raises ValueError for a file that does not hold just those; nothing larger than a box is read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.namelist()) != 2 * len(heads):
                raise ValueError(f"{len(archive.namelist())} arrays for {len(heads)} layers, two each accepted")
            return tuple(_layer(archive, number, head, levels) for number, head in enumerate(heads))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(f"layers cannot be unpacked: {error}") from error


def _layer(archive: zipfile.ZipFile, number: int, head: tuple[Box, float, str], levels: int) -> Layer:
    box, seam, kind = head
    shape = (box[3] - box[1], box[2] - box[0])
    alpha = _get(archive, f"alpha_{number}", shape)
    seen = alpha > 0
    colours = _get(archive, f"pixels_{number}", (int(seen.sum()), 3))
    pixels = np.zeros((*shape, 3), np.float32)
    pixels[seen] = colours.astype(np.float32) / np.float32(STEPS / levels)
    return Layer(box, alpha.astype(np.float32) / np.float32(STEPS), pixels, seam, kind)


def _steps(values: np.ndarray, unit: float, number: int) -> np.ndarray:
    """Values as whole steps, uint16, once it is certain that the way back gives the same values."""
    steps = np.rint(values * np.float32(unit))
    if not (np.array_equal(steps / np.float32(unit), values) and (steps >= 0).all() and (steps <= STEPS).all()):
        raise InputError(
            f"layers: layer {number} has values between the steps that a file keeps; layers from `compose.layer`, for "
            "these levels, accepted; store them as it gave them"
        )
    return steps.astype(np.uint16)


def _put(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
    info = zipfile.ZipInfo(f"{name}.npy", _EARLIEST)
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, file.getvalue(), compresslevel=1)


def _get(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of that name, which has to be uint16 and of this shape."""
    size = 2 * int(np.prod(shape))
    with archive.open(f"{name}.npy") as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"{name}: another version of the array format than 1.0")
        found, is_fortran, dtype = np.lib.format.read_array_header_1_0(member, max_header_size=_HEADER_LIMIT_BYTES)
        data = member.read(size + 1)
    if dtype != np.uint16 or is_fortran or tuple(found) != shape or len(data) != size:
        raise ValueError(f"{name}: {dtype} {found} of {len(data)} bytes, uint16 {shape} accepted")
    return np.frombuffer(data, np.dtype("<u2")).reshape(shape)
