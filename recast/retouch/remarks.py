"""What EXIF, TIFF and densities say of a picture's look that is not listened to, and that some viewers heed.

The other way round, a turn that XMP alone asks for: Pillow makes it, and browsers do not. What XMP says of colours, and
GIF of the shape of its pixels, hardly any viewer heeds, and nothing is said of it. No result of recast says any of it:
what a source says is passed over with a warning. Nothing is weighed: where a file says sRGB in one place and something
else in another, readers differ in which they heed.
Source: Exif 2.32, section 4.6; DCF 2.0, section 3.4 (R03: Adobe RGB); TIFF 6.0, section 20; HTML, "prepare an image for
presentation" (densities of EXIF).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from PIL import ExifTags, Image

ADOBE_RGB = 2  # of EXIF's ColorSpace; where that is "uncalibrated", the interoperability index tells
UNCALIBRATED = 0xFFFF
INTEROPERABILITY_INDEX = 1  # a tag of the interoperability IFD
GAMMA = 0xA500
INCH = 2  # of ResolutionUnit
SCREEN_DPI = 72  # at which a browser shows a pixel as one
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(="|>)([0-9])')  # as Pillow looks for it
SRGB_WHITE = (0.3127, 0.3290)
SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # red, green, blue; x, y each
AS_SRGB = 0.02
"""Largest distance from sRGB, in chromaticity and as a share of full scale, that is taken for rounding: a curve of
gamma 2.2 is 0.0085 off."""
SQUARE = 0.01
"""Largest difference between densities, as a share, of pixels that are square: densities are rounded."""


def disputed(image: Image.Image, tags: Container[int], *, is_profiled: bool) -> list[str]:
    """A phrase for each thing that a loaded image's file says of its look, and that readers disagree on.

    tags: those that a TIFF had before it was loaded, which takes the orientation away. is_profiled: whether colours can
    be read by a profile, which outranks all else that is said of them.
    """
    exif, own = image.getexif(), Image.Exif()
    looks: dict[str, Callable[[], Iterator[str]]] = {
        "XResolution or YResolution": partial(_aspects, image, exif),
        "orientation": partial(_turns, image, exif, own, tags),
    }
    if not is_profiled and image.mode != "CMYK":
        looks |= {
            "ColorSpace": partial(_adobe, exif),
            "Gamma": partial(_gamma, exif),
            "TransferFunction": partial(_curve, exif),
            "WhitePoint": partial(_chromaticity, exif, ExifTags.Base.WhitePoint, SRGB_WHITE),
            "PrimaryChromaticities": partial(_chromaticity, exif, ExifTags.Base.PrimaryChromaticities, SRGB_PRIMARIES),
        }
    found = _damage(image, exif, own)
    for name, look in looks.items():
        try:
            found += look()
        except Exception as error:  # of any type: what is in a tag is anyone's
            found.append(f"EXIF: {name} cannot be read, what it says of the look is passed over: {error}")
    return found


def _damage(image: Image.Image, exif: Image.Exif, own: Image.Exif) -> list[str]:
    """What Pillow says of EXIF as it reads it, into `own` anew: that it cannot, or that tags are cut off."""
    with warnings.catch_warnings(record=True) as caught:  # global, and one thread alone decodes at a time
        warnings.simplefilter("always")
        try:
            own.load(image.info.get("exif", b""))
        except Exception as error:
            return [f"EXIF cannot be read, what it says of the look is passed over: {error}"]
        with suppress(Exception):  # said of each tag
            for folder in (ExifTags.IFD.Exif, ExifTags.IFD.Interop):
                exif.get_ifd(folder)
    whys = dict.fromkeys(" ".join(str(each.message).split()) for each in caught)
    return [f"EXIF is damaged, what it may say of the look is passed over: {why}" for why in whys]


def _adobe(exif: Image.Exif) -> Iterator[str]:
    space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace, UNCALIBRATED)
    index = exif.get_ifd(ExifTags.IFD.Interop).get(INTEROPERABILITY_INDEX, "")
    index = index.decode("latin-1") if isinstance(index, bytes) else str(index)
    if space == ADOBE_RGB or (space == UNCALIBRATED and index.startswith("R03")):
        yield "EXIF says that its colours are Adobe RGB, which is passed over: taken as sRGB; readers disagree"


def _curve(exif: Image.Exif) -> Iterator[str]:
    """A table, or three of them behind each other, 0 to 65535 each, that is not sRGB's own curve."""
    said = _said(exif.get(ExifTags.Base.TransferFunction))
    if said is None:
        return
    tables = 3 if said.size % 3 == 0 else 1  # a table has a power of two of entries
    table = said.reshape(tables, -1) / 65535
    if not _is_near(table, np.broadcast_to(_linear(table.shape[1]), table.shape)):
        yield "a TransferFunction of TIFF or EXIF is passed over: taken as sRGB; readers disagree"


def _gamma(exif: Image.Exif) -> Iterator[str]:
    said = _said(exif.get_ifd(ExifTags.IFD.Exif).get(GAMMA))
    if said is not None and not _is_near(np.linspace(0, 1, 256) ** said, _linear(256)):
        yield f"gamma {float(said):g} of EXIF is passed over: taken as sRGB; readers disagree"


def _chromaticity(exif: Image.Exif, tag: ExifTags.Base, of_srgb: tuple[float, ...]) -> Iterator[str]:
    said = _said(exif.get(tag))
    if said is not None and not _is_near(said, np.array(of_srgb)):
        yield f"{tag.name} of TIFF or EXIF is passed over: taken as that of sRGB; readers disagree"


def _said(value: Any) -> np.ndarray | None:
    """The numbers of a tag; None for a tag that is not there, or that a camera left empty: zeros, or 0/0."""
    said = np.array(() if value is None else value, float)
    return said if np.isfinite(said).all() and said.any() else None


def _linear(levels: int) -> np.ndarray:
    """sRGB's own curve at so many levels: 0 to 1."""
    steps = np.linspace(0, 1, levels)
    return np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)


def _is_near(said: np.ndarray, of_srgb: np.ndarray) -> bool:
    return said.shape == of_srgb.shape and bool(abs(said - of_srgb).max() <= AS_SRGB)


def _aspects(image: Image.Image, exif: Image.Exif) -> Iterator[str]:
    """What is said of pixels that are not square: by PNG's pHYs, JFIF, BMP, TIFF, or EXIF where browsers heed it."""
    said = [image.info.get(name) for name in ("dpi", "aspect", "jfif_density")]
    if image.format == "TIFF" or _is_density_heeded(image, exif):
        said.append((exif.get(ExifTags.Base.XResolution), exif.get(ExifTags.Base.YResolution)))
    for pair in said:
        across, down = map(_density, pair if isinstance(pair, tuple) and len(pair) == 2 else (0, 0))
        if across > 0 and down > 0 and abs(across - down) > SQUARE * max(across, down):
            sides = f"{round(across, 1):g} to {round(down, 1):g}, as stored"
            yield f"pixels that are not square ({sides}) are passed over: taken as square"
            return


def _is_density_heeded(image: Image.Image, exif: Image.Exif) -> bool:
    """Whether a browser shows a picture by the densities of its EXIF: where a size there agrees with them.

    Most cameras write a density that means nothing, and the number of their pixels as it is.
    """
    across, down = (_density(exif.get(tag)) for tag in (ExifTags.Base.XResolution, ExifTags.Base.YResolution))
    if exif.get(ExifTags.Base.ResolutionUnit) != INCH or not (across > 0 and down > 0):
        return False
    shown = (round(image.width * SCREEN_DPI / across), round(image.height * SCREEN_DPI / down))
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    return shown == (inner.get(ExifTags.Base.ExifImageWidth), inner.get(ExifTags.Base.ExifImageHeight))


def _density(said: Any) -> float:
    """A density; 0 for what is no number, as some programs write."""
    try:
        number = float(said)
    except (TypeError, ValueError):
        return 0.0
    return number if np.isfinite(number) else 0.0


def _turns(image: Image.Image, exif: Image.Exif, own: Image.Exif, tags: Container[int]) -> Iterator[str]:
    """An orientation that XMP, or a text of PNG, says instead of EXIF (`own`), where Pillow looks for it next."""
    if image.format == "TIFF":  # turned by loading
        packet: bytes = getattr(image, "tag_v2", {}).get(ExifTags.Base.XMLPacket, b"")
        found = XMP_ORIENTATION.search(packet)
        has_own, said = ExifTags.Base.Orientation in tags, 1 if found is None else int(found[2])
    else:
        has_own, said = ExifTags.Base.Orientation in own, exif.get(ExifTags.Base.Orientation, 1)
    if not has_own and said in range(2, 9):
        yield f"orientation {said}, which XMP or a text says and EXIF does not, is heeded: readers disagree"
