"""A finished thumbnail to files that a platform takes: of its size, within its bytes, nothing in them but a picture."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from recast.errors import GateFailed, InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.profiles import Profile
from recast.thumbnails.stages import sha256

QUALITIES = range(95, 79, -1)
"""Of JPEG, tried from the best: below 80 blocks show at the edges of letters."""
COLOURS = (256, 128)
"""Of a PNG with a palette, tried where no JPEG is small enough: flat drawings need no more."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written, and how its size was reached. quality: of JPEG; colours: of a PNG's palette. notes: what
    was cut away or enlarged to come to its shape.
    """

    profile: str
    file: str
    width: int
    height: int
    bytes: int
    limit_bytes: int
    format: str
    sha256: str
    quality: int | None = None
    colours: int | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Exported:
        """The file that `to_dict` made plain."""
        return cls(**{**data, "notes": tuple(data["notes"])})


def export(picture: Picture, profile: Profile, folder: Path, name: str) -> Exported:
    """Write folder/NAME.jpg, or .png where JPEG is not accepted or not small enough: the first try within the limit.

    picture: of exactly the profile's size, opaque. JPEG is 4:4:4 in sRGB, and nothing else is in the file: no EXIF, no
    place, no recipe. Raises InputError for another size, GateFailed where nothing tried is small enough.
    """
    if (picture.width, picture.height) != (profile.width, profile.height):
        came, accepted = f"{picture.width}x{picture.height}", f"{profile.width}x{profile.height}"
        raise InputError(f"picture: {came} came; {accepted} accepted by {profile.name}; render the design at that size")
    tried = []
    for data, said in _tries(picture, profile):
        if len(data) <= profile.limit_bytes:
            path = folder / f"{name}.{'jpg' if said['format'] == 'JPEG' else 'png'}"
            image.write_bytes(data, path)
            written = sha256(path)
            assert written is not None
            return Exported(
                profile=profile.name,
                file=path.name,
                width=picture.width,
                height=picture.height,
                bytes=len(data),
                limit_bytes=profile.limit_bytes,
                sha256=written,
                **said,
            )
        tried.append(len(data))
    raise GateFailed(
        f"{name}: {min(tried):,} bytes is the smallest of {len(tried)} tries; {profile.limit_bytes:,} accepted by "
        f"{profile.name}; use a calmer background, or a profile with a higher limit"
    )


def frame(picture: Picture, aspect: float, *, centre: tuple[float, float] = (0.5, 0.5)) -> tuple[int, int, int, int]:
    """The largest box of an aspect (width / height) in a picture, as near to `centre` (shares) as fits.

    left, top, right, bottom in pixels: what a square or upright profile shows of a wide base.
    """
    width = min(picture.width, round(picture.height * aspect))
    height = min(picture.height, round(picture.width / aspect))
    left = min(max(round(centre[0] * picture.width - width / 2), 0), picture.width - width)
    top = min(max(round(centre[1] * picture.height - height / 2), 0), picture.height - height)
    return left, top, left + width, top + height


def _tries(picture: Picture, profile: Profile) -> Iterator[tuple[bytes, dict[str, Any]]]:
    if "JPEG" in profile.formats:
        for quality in QUALITIES:
            yield image.encode(picture, "jpeg", quality=quality), {"format": "JPEG", "quality": quality}
    if "PNG" in profile.formats:
        for colours in COLOURS:
            yield _palette(picture.rgb, colours), {"format": "PNG", "colours": colours}


def _palette(rgb: np.ndarray, colours: int) -> bytes:
    """A PNG of few colours, dithered, tagged sRGB."""
    reduced = Image.fromarray(rgb).quantize(colours, dither=Image.Dither.FLOYDSTEINBERG)
    info = PngImagePlugin.PngInfo()
    info.add(b"sRGB", b"\0")
    file = io.BytesIO()
    reduced.save(file, "PNG", optimize=True, pnginfo=info)
    return file.getvalue()
