"""A Pillow image of any mode and colour profile → 8-bit sRGB and its alpha, with a note for each change."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageCms


def to_srgb(image: Image.Image, notes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """The colours (H, W, 3) and alpha (H, W) or None of a loaded image, uint8; adds to `notes` what changed.

    Raises ValueError for a mode, or grey levels, whose colours are anyone's guess.
    """
    profile = image.info.get("icc_profile")
    if image.mode == "F" or image.mode.startswith("I"):
        image = _reduce(image, notes)
    is_grey = image.mode in ("1", "L", "LA")
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    if image.mode != "CMYK":
        image = image.convert("RGB")
    if is_grey:  # a grey profile knows one channel
        image = image.getchannel(0)
    return np.asarray(_convert(image, profile, notes)), alpha


def profile() -> bytes:
    """The sRGB colour profile to embed, without the hour it was made: same picture, same bytes."""
    made = _srgb().tobytes()
    return made[:24] + bytes(12) + made[36:]


def _reduce(image: Image.Image, notes: list[str]) -> Image.Image:
    """A grey image of 16 or 32 bits per value as L, or LA if one of its levels is transparent; rounded."""
    levels = np.asarray(image)
    white = 1 if image.mode == "F" else 65_535
    if not (levels.min() >= 0 and levels.max() <= white):  # so written, it catches NaN as well
        raise ValueError(f"its values run from {levels.min()} to {levels.max()}, not from 0 to {white}")
    if image.mode in ("I", "F"):
        notes.append(f"32 bits per channel reduced to 8, {white} taken as white")
    grey = Image.fromarray(np.rint(levels * (255 / white)).astype(np.uint8))
    key = image.info.get("transparency")
    if key is None:
        return grey
    return Image.merge("LA", [grey, Image.fromarray(np.uint8(255) * (levels != key))])


def _convert(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """An L, RGB or CMYK image as RGB in sRGB; a profile that moves nothing leaves every byte alone."""
    transform = transform_of(profile, image.mode, notes)
    if transform is not None:
        return transform.apply(image)
    if image.mode == "CMYK":
        notes.append("CMYK converted to sRGB without a colour profile")
    return image.convert("RGB")


def transform_of(profile: bytes | None, mode: str, notes: list[str]) -> ImageCms.ImageCmsTransform | None:
    """The transform from a profile to sRGB for images of a mode (L, RGB, CMYK); None if nothing is to be moved."""
    if profile:
        intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        try:
            parsed = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            transform = ImageCms.buildTransform(parsed, _srgb(), mode, "RGB", intent, flags)
            description = ImageCms.getProfileDescription(parsed).strip()
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            notes.append(f"colour profile is damaged or not one for {mode}: taken as sRGB")
        else:
            if mode == "CMYK" or not _is_neutral(transform, mode):  # CMYK has no neutral to be
                notes.append(f"colour profile {description!r} converted to sRGB")
                return transform
    return None


def _is_neutral(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform moves no colour by more than one level: sRGB, under any of its many names."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    probe = Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(len(steps), -1, 3))
    probe = probe if mode == "RGB" else probe.convert(mode)
    moved = np.asarray(transform.apply(probe)).astype(int) - np.asarray(probe.convert("RGB"))
    return bool(abs(moved).max() <= 1)


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
