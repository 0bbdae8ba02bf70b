"""What EXIF, TIFF and densities say of a picture's look that is not listened to, and that some viewers heed.

The other way round, a turn that XMP alone asks for: Pillow makes it, and browsers do not. What XMP says of colours, and
GIF of the shape of its pixels, hardly any viewer heeds, and nothing is said of it. No result of recast says any of it:
what a source says is passed over with a warning.
Source: Exif 2.32, sections 4.6.4 and 4.6.6; DCF 2.0, section 3.4 (R03: Adobe RGB); TIFF 6.0, section 20.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import ExifTags, Image

ADOBE_RGB = 2  # of EXIF's ColorSpace; where that is "uncalibrated", the interoperability index tells
UNCALIBRATED = 0xFFFF
INTEROPERABILITY_INDEX = 1  # a tag of the interoperability IFD
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(="|>)([0-9])')  # as Pillow looks for it
SRGB_WHITE = (0.3127, 0.3290)
SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # red, green, blue; x, y each
AS_SRGB = 0.02
"""Largest distance from sRGB, in chromaticity and as a share of full scale, that is taken for rounding: a curve of
gamma 2.2 is 0.007 off."""
SQUARE = 0.01
"""Largest difference between densities, as a share, of pixels that are square: densities are rounded."""


def disputed(image: Image.Image, tags: Container[int], *, is_profiled: bool) -> list[str]:
    """A phrase for each thing that a loaded image's file says of its look, and that readers disagree on.

    tags: those that a TIFF had before it was loaded, which takes the orientation away. is_profiled: whether colours can
    be read by a profile, which outranks all else that is said of them.
    """
    try:
        exif = image.getexif()
        found = [] if is_profiled or image.mode == "CMYK" else list(_colours(exif))
        return [*found, *_aspects(image.info, exif), *_turns(image, tags)]
    except Exception as error:  # of any type: what is in a tag is anyone's
        return [f"EXIF cannot be read, what it says of the look is passed over: {error}"]


def _colours(exif: Image.Exif) -> Iterator[str]:
    """What is said of colours that is not sRGB."""
    space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace, UNCALIBRATED)
    index = str(exif.get_ifd(ExifTags.IFD.Interop).get(INTEROPERABILITY_INDEX, ""))
    if space == ADOBE_RGB or (space == UNCALIBRATED and index.startswith("R03")):
        yield "EXIF says that its colours are Adobe RGB, which is passed over: taken as sRGB; readers disagree"
    curves = exif.get(ExifTags.Base.TransferFunction)
    if curves is not None and not _is_srgb_curve(curves):
        yield "a TransferFunction of TIFF or EXIF is passed over: taken as sRGB; readers disagree"
    for tag, of_srgb in ((ExifTags.Base.WhitePoint, SRGB_WHITE), (ExifTags.Base.PrimaryChromaticities, SRGB_PRIMARIES)):
        said = exif.get(tag)
        if said is not None and not _is_near(np.array(said, float), np.array(of_srgb)):
            yield f"{tag.name} of TIFF or EXIF is passed over: taken as that of sRGB; readers disagree"


def _is_srgb_curve(said: Sequence[int]) -> bool:
    """Whether a table, or three of them behind each other, 0 to 65535 each, says what sRGB's own curve does."""
    tables = 3 if len(said) % 3 == 0 else 1  # a table has a power of two of entries
    table = np.array(said, float).reshape(tables, -1) / 65535
    levels = np.linspace(0, 1, table.shape[1])
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return _is_near(table, np.broadcast_to(linear, table.shape))


def _is_near(said: np.ndarray, of_srgb: np.ndarray) -> bool:
    return said.shape == of_srgb.shape and bool(abs(said - of_srgb).max() <= AS_SRGB)


def _aspects(info: Mapping[Any, Any], exif: Image.Exif) -> Iterator[str]:
    """What is said of pixels that are not square: by PNG's pHYs, JFIF, BMP, TIFF or EXIF."""
    said = [info.get(name) for name in ("dpi", "aspect", "jfif_density")]
    said.append((exif.get(ExifTags.Base.XResolution), exif.get(ExifTags.Base.YResolution)))
    for pair in said:
        if pair is None or None in pair:
            continue
        across, down = map(float, pair)
        if across > 0 and down > 0 and abs(across - down) > SQUARE * max(across, down):
            sides = f"{round(across, 1):g} to {round(down, 1):g}"
            yield f"pixels that are not square ({sides}) are passed over: taken as square"
            return


def _turns(image: Image.Image, tags: Container[int]) -> Iterator[str]:
    """An orientation that XMP, or a text of PNG, says instead of EXIF, where Pillow looks for it next."""
    if image.format == "TIFF":  # turned by loading
        packet: bytes = getattr(image, "tag_v2", {}).get(ExifTags.Base.XMLPacket, b"")
        found = XMP_ORIENTATION.search(packet)
        has_own, said = ExifTags.Base.Orientation in tags, 1 if found is None else int(found[2])
    else:
        own = Image.Exif()
        own.load(image.info.get("exif", b""))
        has_own, said = ExifTags.Base.Orientation in own, image.getexif().get(ExifTags.Base.Orientation, 1)
    if not has_own and said in range(2, 9):
        yield f"orientation {said}, which XMP or a text says and EXIF does not, is heeded: readers disagree"
