"""sRGB → the colour space of a picture, in floating point: what an editor returned, back in the source's own numbers.

Reading is left to Pillow (recast.pixels.srgb). The way back is computed here where a profile is made of three curves
and a matrix, as those of cameras and screens are, and held against LittleCMS before it is trusted. For the rest,
LittleCMS is asked at the eight whole levels around each colour.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import Protocol

import numpy as np
from PIL import Image, ImageCms

from recast.pixels import srgb

NODES = 65_536
"""Of a curve, evenly spaced in levels one way, and in the square root of linear light the other: steps of 1/257 level
lie below what 16 bits resolve, and the square root keeps them small near black, where the curves are steep."""
AGREES = 1.0
"""Levels of 255 by which matrix and curves may differ from LittleCMS, whose answers are whole levels. Over a grid of
140,608 colours, Display P3 differs by 0.66, Adobe RGB by 0.61, ProPhoto by 0.73."""


class Space(Protocol):
    """A colour space, seen from sRGB."""

    def of_srgb(self, rgb: np.ndarray) -> np.ndarray:
        """sRGB levels (h, w, 3) float32 in 0..255 in this space, float32 in 0..255; colours outside it are clipped."""


def space_of(profile: bytes | None) -> Space | None:
    """The space of an RGB profile; None for sRGB, under any name, and whatever `read` takes as sRGB."""
    return None if profile is None else _space_of(profile)


def widened(profile: bytes) -> bytes | None:
    """An RGB profile in which r = g = b = v looks as v does in a grey `profile`; None for one without a simple curve.

    The primaries are those of sRGB. The curve's tag is copied as it is.
    """
    try:
        tags = _tags(profile)
        own = {f"{c}TRC".encode(): tags[b"kTRC"] for c in "rgb"}
        shared = _tags(srgb.profile())
        own |= {name: shared[name] for name in (b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt", b"cprt")}
    except (KeyError, struct.error):
        return None
    name = "grey, widened to RGB".encode("utf-16-be")
    own[b"desc"] = b"mluc" + struct.pack(">4xII2s2sII", 1, 12, b"en", b"US", len(name), 28) + name
    made = _profile(own)
    grey = srgb.transform_of(profile, "L", [])
    colour = srgb.transform_of(made, "RGB", [])
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    seen = [np.asarray((t.apply(i) if t else i).convert("RGB"), float)
            for t, i in ((grey, ramp), (colour, ramp.convert("RGB")))]  # fmt: skip
    return made if abs(seen[0] - seen[1]).max() <= 1 else None


@dataclass(frozen=True, eq=False)
class Shaper:
    """Three curves and a matrix. curves (3, NODES): level to linear light; matrix (3, 3): linear light to XYZ (D50).

    Source: ICC.1:2022, annex F.3.
    """

    curves: np.ndarray
    matrix: np.ndarray

    @classmethod
    def parse(cls, profile: bytes) -> Shaper | None:
        """The curves and matrix of a profile, or None if it has none that can be used."""
        try:
            tags = _tags(profile)
            curves = np.stack([_curve(tags[f"{c}TRC".encode()]) for c in "rgb"])
            columns = [struct.unpack(">3i", tags[f"{c}XYZ".encode()][8:20]) for c in "rgb"]
        except (KeyError, ValueError, struct.error):
            return None
        matrix = np.array(columns).T / 65536
        if not np.isfinite(curves).all() or abs(np.linalg.det(matrix)) < 1e-6:
            return None
        return cls(np.maximum.accumulate(curves.clip(0, 1), axis=1).astype(np.float32), matrix)

    def to_linear(self, levels: np.ndarray) -> np.ndarray:
        """Levels (h, w, 3) in 0..255 as linear light, float32."""
        return _look_up(self.curves, levels / np.float32(255))

    def to_levels(self, linear: np.ndarray) -> np.ndarray:
        """Linear light (h, w, 3) as levels in 0..255, float32, clipped."""
        return _look_up(self._inverse, np.sqrt(linear.clip(0, 1)))

    @cached_property
    def _inverse(self) -> np.ndarray:
        levels, light = np.linspace(0, 255, NODES), np.linspace(0, 1, NODES) ** 2
        return np.stack([np.interp(light, curve, levels) for curve in self.curves]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class MatrixSpace:
    """Curves and a matrix, relative colorimetric: black and white stay, colours outside are clipped."""

    own: Shaper
    standard: Shaper

    def of_srgb(self, rgb: np.ndarray) -> np.ndarray:
        return self.own.to_levels(_mixed(self.standard, self.own, rgb))

    def to_srgb(self, levels: np.ndarray) -> np.ndarray:
        """The way of reading, float: what LittleCMS is held against."""
        return self.standard.to_levels(_mixed(self.own, self.standard, levels))


@dataclass(frozen=True, eq=False)
class TableSpace:
    """Any RGB profile: LittleCMS's own answers, whole levels, blended between the eight nearest whole levels."""

    transform: ImageCms.ImageCmsTransform

    def of_srgb(self, rgb: np.ndarray) -> np.ndarray:
        rgb = rgb.clip(0, 255)
        low = np.minimum(np.floor(rgb), 254).astype(np.uint8)
        part = rgb - low
        total = np.zeros(rgb.shape, np.float32)
        for corner in product((0, 1), repeat=3):
            red, green, blue = (part[..., c] if corner[c] else 1 - part[..., c] for c in range(3))
            weight = red * green * blue
            if weight.any():
                answer = self.transform.apply(Image.fromarray(low + np.array(corner, np.uint8)))
                total += weight[..., None] * np.asarray(answer)
        return total


def _mixed(one: Shaper, other: Shaper, levels: np.ndarray) -> np.ndarray:
    """Levels of one space as linear light of the other, float32."""
    through = np.linalg.inv(other.matrix) @ one.matrix
    return one.to_linear(levels) @ through.T.astype(np.float32)


def _look_up(tables: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Each channel of values (h, w, 3) in 0..1 in its own table of NODES entries; the nearest entry."""
    index = np.rint(values.clip(0, 1) * np.float32(NODES - 1)).astype(np.uint16)
    return np.dstack([tables[channel][index[..., channel]] for channel in range(3)])


@lru_cache(maxsize=8)
def _space_of(profile: bytes) -> Space | None:
    reading = srgb.transform_of(profile, "RGB", [])
    if reading is None:
        return None
    own, standard = Shaper.parse(profile), Shaper.parse(srgb.profile())
    assert standard is not None
    if own is not None:
        space = MatrixSpace(own, standard)
        steps = np.arange(0, 256, 15, dtype=np.uint8)
        probe = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(len(steps), -1, 3)
        answer = np.asarray(reading.apply(Image.fromarray(probe)), float)
        if abs(space.to_srgb(probe) - answer).max() <= AGREES:
            return space
    standard_profile, own_profile = (ImageCms.ImageCmsProfile(io.BytesIO(data)) for data in (srgb.profile(), profile))
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    return TableSpace(ImageCms.buildTransform(standard_profile, own_profile, "RGB", "RGB", intent, flags))


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """The tags of a profile by signature. Raises struct.error for a cut one."""
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * index) for index in range(min(count, 200))]
    return {name: profile[start : start + length] for name, start, length in entries}


def _curve(tag: bytes) -> np.ndarray:
    """A curve (NODES,) of a curv or para tag. Raises ValueError for another. Source: ICC.1:2022, 10.6 and 10.18."""
    x = np.linspace(0, 1, NODES)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return x
        values = np.frombuffer(tag, ">u2", count, 12)
        return x ** (values[0] / 256) if count == 1 else np.interp(x, np.linspace(0, 1, count), values / 65535)
    (kind,) = struct.unpack_from(">H", tag, 8)
    if tag[:4] != b"para" or kind > 4:
        raise ValueError(f"{tag[:4]!r}, kind {kind}: no curve")
    read = np.array(struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)) / 65536
    g, a, b, c, d, e, f = np.pad(read, (0, 7 - len(read)))
    if kind == 0:
        return np.asarray(x**g)
    if kind < 3:  # (aX + b)^g + c from -b/a on, and c below
        return np.asarray(np.maximum(a * x + b, 0) ** g + c)
    return np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)


def _profile(tags: dict[bytes, bytes]) -> bytes:
    """The bytes of an RGB display profile, version 4, with these tags."""
    start, table, data = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50
    head = struct.pack(">I4xI4s4s4s12x4s", start + len(data), 0x04200000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    return head.ljust(68, b"\0") + white + bytes(48) + table + data
