"""A Pillow image and the bytes of its file → samples as they are stored, upright: 8 bits by Pillow, 16 by OpenCV."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

from recast.pixels import image as files
from recast.pixels import srgb

Stored = tuple[np.ndarray, np.ndarray | None, bytes | None, bool]
"""samples (H, W, 3), alpha (H, W) or None, colour profile or None, whether it is grey."""

UNREAD_EXIF = "EXIF cannot be read, orientation ignored"
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF orientation: what makes it upright
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


def decoded(image: Image.Image, data: bytes | None, notes: list[str]) -> Stored:
    """The samples of an image whose header is read; adds to `notes` what cannot be kept.

    data: the bytes of its file, None if there is none: then 16 bits of colour are lost already.
    Raises ValueError for a layout of 16 bits that cannot be read for sure, and whatever a decoder raises.
    """
    has_16_bits = files.has_16_bits(image)
    is_grey = "LA;16" in str(getattr(image, "tile", ""))  # Pillow makes it RGBA
    image.load()
    if image.mode.startswith("I;16"):
        stored = _grey_16(image)
    elif has_16_bits and data is not None:
        stored = _colour_16(data, image, is_grey)
    else:
        if has_16_bits:
            notes.append("16 bits per channel reduced to 8")
        stored = _from_8(image, notes)
    samples, alpha, icc, is_grey = stored
    turn = _turn(image, notes)
    return turn(samples), None if alpha is None else turn(alpha), icc, is_grey


def _grey_16(image: Image.Image) -> Stored:
    """An image of one 16-bit channel; the level that it calls transparent becomes alpha."""
    levels = np.asarray(image).astype(np.uint16)
    key = image.info.get("transparency")
    alpha = None if key is None else np.where(levels == key, np.uint16(0), np.uint16(65535))
    return np.dstack([levels] * 3), alpha, image.info.get("icc_profile"), True


def _colour_16(data: bytes, image: Image.Image, is_grey: bool) -> Stored:
    """The 16 bits of a PNG or TIFF by OpenCV. Pillow's 8 have to be their upper half: two decoders, one picture."""
    import cv2

    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    seen = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    if found is None or found.dtype != np.uint16 or found.shape != seen.shape:
        came = "nothing" if found is None else f"{found.dtype} {found.shape}"
        raise ValueError(f"OpenCV finds {came} in its 16 bits, and Pillow {seen.shape}")
    samples: np.ndarray = found[..., [2, 1, 0]]
    alpha: np.ndarray | None = np.ascontiguousarray(found[..., 3]) if found.shape[2] == 4 else None
    if (samples >> 8 != seen[..., :3]).any() or (alpha is not None and (alpha >> 8 != seen[..., 3]).any()):
        raise ValueError("OpenCV and Pillow find different colours in its 16 bits (planes apart, or premultiplied)")
    return samples, alpha, image.info.get("icc_profile"), is_grey


def _from_8(image: Image.Image, notes: list[str]) -> Stored:
    """A loaded image of another kind; what is neither grey nor RGB becomes so."""
    icc = image.info.get("icc_profile")
    is_grey = image.mode in ("1", "L", "LA", "La")
    if image.mode in ("CMYK", "I", "F"):
        if image.mode == "CMYK":
            notes.append("CMYK cannot be kept: saved as RGB")
        rgb, alpha = srgb.to_srgb(image, notes)
        return rgb, alpha, None, image.mode != "CMYK"
    if image.mode in ("P", "PA"):
        notes.append("palette cannot be kept: saved as RGB")
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB")), None, icc, is_grey
    rgba = np.asarray(image.convert("RGBA"))
    return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]), icc, is_grey


def _turn(image: Image.Image, notes: list[str]) -> Callable[[np.ndarray], np.ndarray]:
    """What makes the samples of a loaded image upright."""
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # the pixels are whole, only the remark about them is not
        notes.append(f"{UNREAD_EXIF}: {error}")
        turn = None
    return np.ascontiguousarray if turn is None else lambda samples: np.ascontiguousarray(turn(samples))
