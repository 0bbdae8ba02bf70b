"""What a platform takes: shape and size, bytes, colours, and a file that any decoder reads."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator
from math import gcd
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from recast.errors import InputError
from recast.pixels import image as files
from recast.pixels import srgb
from recast.thumbnails.checks.evidence import Evidence
from recast.thumbnails.findings import Finding

GAMMA = (0.45, 0.46)
"""What a PNG that is sRGB may state as its gamma: 1 / 2.2, rounded in several ways."""
PNG_START = b"\x89PNG\r\n\x1a\n"


def g1(seen: Evidence) -> Finding:
    """The frame: its ratio, and enough pixels."""
    profile = seen.profile
    if isinstance(seen.source, files.Picture):
        width, height = seen.source.width, seen.source.height
    else:
        width, height = _header(seen)["size"]
    numbers = {
        "width": width,
        "height": height,
        "ratio": _ratio(profile.width, profile.height),
        "good_width": profile.good_width,
        "least_width": profile.least_width,
    }
    size = f"{width}x{height}"
    remedy = f"export it at {profile.width}x{profile.height}"
    if width * profile.height != height * profile.width:
        says = f"{size} is {width / height:.3f}, not {numbers['ratio']}: {profile.name} shows it with bars, or cut off"
        return Finding(check="G1", verdict="fail", says=says, advice=f"Crop it, and {remedy}", numbers=numbers)
    if width < profile.least_width:
        says = f"{size} is too small: {profile.name} takes {profile.least_width} pixels across at least"
        return Finding(check="G1", verdict="fail", says=says, advice=f"Make it larger: {remedy}", numbers=numbers)
    if width < profile.good_width:
        says = f"{size} is accepted, and coarse: {profile.good_width} pixels across are recommended"
        return Finding(check="G1", verdict="warn", says=says, advice=f"Make it larger: {remedy}", numbers=numbers)
    return Finding(check="G1", verdict="pass", says=f"{size}, {numbers['ratio']}", numbers=numbers)


def g2(seen: Evidence) -> Finding:
    """The file: of a format that is taken, and not too large."""
    profile, size, kind = seen.profile, len(seen.data), _header(seen)["format"]
    numbers = {"bytes": size, "limit_bytes": profile.limit_bytes, "format": kind, "formats": list(profile.formats)}
    if kind not in profile.formats:
        says = f"{kind} is not taken by {profile.name}"
        advice = f"Export it as {' or '.join(profile.formats)}"
        return Finding(check="G2", verdict="fail", says=says, advice=advice, numbers=numbers)
    if size > profile.limit_bytes:
        says = f"{size:,} bytes are more than the {profile.limit_bytes:,} that {profile.name} takes"
        advice = "Export it as JPEG 4:4:4 of a lower quality, from 95 down to 80"
        return Finding(check="G2", verdict="fail", says=says, advice=advice, numbers=numbers)
    says = f"{kind} of {size:,} bytes, at most {profile.limit_bytes:,}"
    return Finding(check="G2", verdict="pass", says=says, numbers=numbers)


def g3(seen: Evidence) -> Finding:
    """The pixels' form: 8-bit sRGB, opaque, upright; no place where it was taken."""
    header = _header(seen)
    wrong = list(_wrong_form(header, seen.limits.credentials))
    numbers = {name: header[name] for name in ("mode", "bits", "credentials")} | {"wrong": wrong}
    if wrong:
        says = f"The file {'; '.join(wrong)}"
        advice = "Export it again: sRGB, 8 bits, opaque, upright, without metadata"
        return Finding(check="G3", verdict="fail", says=says, advice=advice, numbers=numbers)
    says = "8-bit sRGB, opaque, upright, no place in its metadata"
    return Finding(check="G3", verdict="pass", says=says, numbers=numbers)


def g4(seen: Evidence) -> Finding:
    """The file is whole: two independent decoders read the same picture in it, and nothing is left over."""
    faults, pixels = _by_pillow(seen.data)
    faults += _structure(seen.data)
    numbers: dict[str, Any] = {"decoders": ["Pillow", "OpenCV"], "limit": seen.limits.decoders_apart}
    if pixels is not None:
        other = cv2.imdecode(np.frombuffer(seen.data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if other is None:
            faults.append("OpenCV cannot decode it")
        elif other.shape != pixels.shape:
            faults.append(f"Pillow reads {pixels.shape[1::-1]} pixels, OpenCV {other.shape[1::-1]}")
        else:
            apart = float(cv2.absdiff(other[..., ::-1], pixels).mean())
            numbers["apart"] = round(apart, 3)
            if apart > seen.limits.decoders_apart:
                faults.append(f"Pillow and OpenCV read different pixels, {apart:.1f} levels apart")
    numbers["faults"] = faults
    if faults:
        says = f"The file is not sound: {'; '.join(faults)}"
        return Finding(check="G4", verdict="fail", says=says, advice="Export it again", numbers=numbers)
    return Finding(check="G4", verdict="pass", says="Pillow and OpenCV read the same picture", numbers=numbers)


def _header(seen: Evidence) -> dict[str, Any]:
    """What the file's header tells. Raises InputError for what is no picture at all."""
    path = str(seen.path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # G4 reports them
        try:
            image = Image.open(io.BytesIO(seen.data), formats=files.READ)
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise InputError(
                f"picture={path!r}: no picture, it starts with {seen.data[:8]!r}; {files.ACCEPTED} accepted"
            ) from error
        exif = image.getexif()
        notes: list[str] = []
        moved = srgb.transform_of(
            image.info.get("icc_profile"), image.mode if image.mode in ("L", "CMYK") else "RGB", notes
        )
        return {
            "format": image.format,
            "size": image.size,
            "mode": image.mode,
            "bits": 16 if files.has_16_bits(image) else 32 if image.mode in ("I", "F") else 8,
            "has_alpha": image.has_transparency_data,
            "frames": getattr(image, "n_frames", 1) if image.format != "MPO" else 1,
            "orientation": exif.get(ExifTags.Base.Orientation, 1),
            "has_place": bool(exif.get_ifd(ExifTags.IFD.GPSInfo)) or b"GPSLatitude" in image.info.get("xmp", b""),
            "colours": notes[0] if notes else "another colour space" if moved is not None else None,
            "gamma": image.info.get("gamma"),
            "credentials": b"jumb" in seen.data and b"c2pa" in seen.data,
        }


def _wrong_form(header: dict[str, Any], credentials: str) -> Iterator[str]:
    """What a header tells that is not as it should be, a phrase each."""
    if header["mode"] == "CMYK":
        yield "is CMYK, inks for paper"
    elif header["colours"] is not None:
        yield f"is not sRGB ({header['colours']})"
    if header["gamma"] is not None and not GAMMA[0] <= header["gamma"] <= GAMMA[1]:
        yield f"states a gamma of {header['gamma']:g}, sRGB has 0.45455"
    if header["bits"] != 8:
        yield f"has {header['bits']} bits per channel"
    if header["has_alpha"]:
        yield "has transparency, which is shown on black"
    if header["frames"] > 1:
        yield f"is animated, {header['frames']} frames"
    if header["orientation"] != 1:
        yield f"is to be turned by its reader (EXIF orientation {header['orientation']})"
    if header["has_place"]:
        yield "tells where it was taken (GPS)"
    if credentials == "kept" and not header["credentials"]:
        yield "has lost its content credentials"
    if credentials == "dropped" and header["credentials"]:
        yield "still carries content credentials"


def _by_pillow(data: bytes) -> tuple[list[str], np.ndarray | None]:
    """What Pillow complains of, and the pixels (H, W, 3) uint8 that it reads, as stored, or None."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with Image.open(io.BytesIO(data), formats=files.READ) as image:
                image.load()
                pixels = np.asarray(image.convert("RGB"))
                ImageOps.exif_transpose(image)
        except Exception as error:  # a decoder raises whatever its parser trips over
            return [f"Pillow cannot decode it: {error}"], None
    ignored = (DeprecationWarning, ResourceWarning)
    return [f"Pillow warns: {each.message}" for each in caught if not issubclass(each.category, ignored)], pixels


def _structure(data: bytes) -> list[str]:
    """What decoders forgive: an end that is missing, bytes after it, checksums that are wrong."""
    if data.startswith(PNG_START):
        return _png_structure(data)
    if data.startswith(b"\xff\xd8") and not data.endswith(b"\xff\xd9"):
        whole = b"\xff\xd9" in data[-65_536:]
        return ["bytes follow the end of the picture" if whole else "the end of the picture is missing"]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        told = int.from_bytes(data[4:8], "little") + 8
        if told != len(data):
            return [f"its header tells of {told} bytes, it has {len(data)}"]
    return []


def _png_structure(data: bytes) -> list[str]:
    at = len(PNG_START)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return [f"the checksum of its chunk {kind.decode('latin-1')} is wrong"]
        if kind == b"IEND":
            return ["bytes follow the end of the picture"] if end < len(data) else []
        at = end
    return ["the end of the picture is missing"]


def _ratio(width: int, height: int) -> str:
    return f"{width // gcd(width, height)}:{height // gcd(width, height)}"
