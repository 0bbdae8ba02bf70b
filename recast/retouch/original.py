"""A picture as it is stored: its own samples, depth, alpha and colour profile, to be copied where nothing changes.

`recast.pixels.image.Picture` is what a model looks at, 8-bit sRGB. An Original is what a file holds: 8 or 16 bits, grey
or RGB, in whatever RGB space its profile names. The two agree: `Original.srgb8()` is the picture's `rgb`.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from recast.errors import InputError, ShapeError
from recast.pixels import image as files
from recast.pixels import png as pixels_png
from recast.pixels import srgb
from recast.pixels.image import Picture
from recast.retouch import avif, decoding, embedded, png, remarks
from recast.retouch.space import Space, space_of, widened

if TYPE_CHECKING:
    from recast.pixels.image import Source

Box = tuple[int, int, int, int]  # left, top, right, bottom

COLOURED = "grey: saved as RGB, it has colour"
CARRIED = (2.0, 12.0)
"""Levels of 255 between source and edit up to which all, and from which none, of what 8-bit sRGB cannot say of the
source is carried over. Chosen, not measured: the lower end leaves room for noise on kept pixels, the upper one is the
largest correction of colour, beyond which the edit means another colour."""
EFFORT = {"WEBP": {"method": 4, "quality": 50}}
"""How hard Pillow tries to make a lossless file small. On 4 MP of a photograph it takes 0.6 (PNG) and 0.5 (WebP)
of the time of level 6 and quality 80, for files of the same size within 1 %; flat graphics grow by up to 5 % as PNG."""


@dataclass(frozen=True, eq=False)
class Original:
    """samples (H, W, 3) uint8 or uint16, upright; alpha (H, W) of the same type or None; both read-only.

    icc: the colour profile as it came, None for sRGB. is_grey: the three channels are one, and stored as one. warnings:
    what reading changed or passed over. source: the path it came from. format: of the file, as Pillow names it.
    unheeded: those of the warnings that name what its file says of its look and is not listened to. disputed: those of
    them on which readers disagree. is_one_of_several: its file holds further pictures, frames or pages, of which a
    viewer may show another. colours: chunks (name, content) of a PNG that say of its colours what is not listened to; a
    PNG that is made of this picture has them too.
    """

    samples: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    is_grey: bool = False
    warnings: tuple[str, ...] = ()
    source: str | None = None
    format: str | None = None
    unheeded: tuple[str, ...] = ()
    disputed: tuple[str, ...] = ()
    is_one_of_several: bool = False
    colours: tuple[png.Chunk, ...] = ()

    def __post_init__(self) -> None:
        shape, dtype = self.samples.shape, self.samples.dtype
        if dtype not in (np.uint8, np.uint16) or len(shape) != 3 or shape[2] != 3 or not self.samples.size:
            raise ShapeError(f"samples: {dtype} {shape} came; uint8 or uint16 (H, W, 3) accepted; `read_original` it")
        if self.alpha is not None and (self.alpha.dtype != dtype or self.alpha.shape != shape[:2]):
            came = f"{self.alpha.dtype} {self.alpha.shape}"
            raise ShapeError(f"alpha: {came} came; {dtype} {shape[:2]} accepted, as the samples have; convert it")
        for name in ("samples", "alpha"):
            if getattr(self, name) is not None:
                view = getattr(self, name).view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)

    @property
    def width(self) -> int:
        return self.samples.shape[1]

    @property
    def height(self) -> int:
        return self.samples.shape[0]

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        return 8 * self.samples.itemsize

    @property
    def levels(self) -> int:
        """The largest sample there can be: 255 or 65535."""
        return 2**self.depth - 1

    def srgb8(self) -> np.ndarray:
        """The colours (H, W, 3) uint8 in sRGB, read-only: those that `recast.pixels.image.read` gives."""
        return self._srgb8

    @cached_property
    def _srgb8(self) -> np.ndarray:
        rgb = self._to_srgb8(self.samples)
        rgb.flags.writeable = False
        return rgb

    def picture(self) -> Picture:
        """The same as a model sees it: 8-bit sRGB and its alpha."""
        alpha = self.alpha
        if alpha is not None and self.depth == 16:
            alpha = (alpha >> 8).astype(np.uint8)
        return Picture(self.srgb8(), alpha, self.warnings, self.source)

    def from_srgb(self, rgb: np.ndarray, box: Box | None = None) -> np.ndarray:
        """Float sRGB levels (h, w, 3) in 0..255 as float32 levels of this picture's own space, 0..`levels`.

        Not rounded. Colours that the space cannot hold are clipped. box: where in this picture `rgb` lies; where it
        differs little from what `srgb8` says there, what 8-bit sRGB left out of the source (lower bits, colours outside
        sRGB) is carried over, so that an edit which changes nothing is the source exactly.
        """
        rgb = np.asarray(rgb, np.float32)
        own = self._of_srgb(rgb)
        if box is None or (self.depth == 8 and self._space is None):
            return own
        left, top, right, bottom = box
        source = self.samples[top:bottom, left:right]
        if source.shape != rgb.shape:
            raise ShapeError(
                f"rgb: {rgb.shape} came; {source.shape} accepted, the size of box {box}; cut it to the box"
            )
        seen = self.srgb8()[top:bottom, left:right].astype(np.float32)
        least, most = CARRIED
        red, green, blue = np.moveaxis(abs(rgb - seen), 2, 0)
        share = ((most - np.maximum(np.maximum(red, green), blue)) / (most - least)).clip(0, 1)
        return np.asarray(own + share[..., None] * (source - self._of_srgb(seen)), np.float32)

    def with_samples(self, samples: np.ndarray) -> Original:
        """The picture with other samples (H, W, 3) of its type; a grey one that gets colour becomes RGB and says so."""
        if samples.shape != self.samples.shape or samples.dtype != self.samples.dtype:
            came, accepted = (f"{a.dtype} {a.shape}" for a in (samples, self.samples))
            raise ShapeError(f"samples: {came} came; {accepted} accepted, as the picture has; convert them")
        if self.is_grey and (np.ptp(samples, axis=2) > 0).any():
            coloured = replace(self.as_rgb(), warnings=(*self.warnings, COLOURED))
            return coloured.with_samples(samples)
        return replace(self, samples=samples, unheeded=(), disputed=(), is_one_of_several=False)  # of a file

    def as_rgb(self) -> Original:
        """The same samples and look with three channels stored: a grey profile becomes an RGB one of the same curve."""
        return replace(self, icc=self.rgb_profile, is_grey=False)

    @cached_property
    def rgb_profile(self) -> bytes | None:
        """The profile for three channels: its own, or that of a grey picture widened."""
        return widened(self.icc) if self.is_grey and self.icc else self.icc

    @property
    def has_readable_profile(self) -> bool:
        """Whether there is a colour profile that its samples can be read by."""
        notes: list[str] = []
        moves = srgb.transform_of(self.icc, "L" if self.is_grey else "RGB", notes) is not None
        return self.icc is not None and (moves or not notes)

    def sha256(self) -> str:
        """The hash of size, depth, samples, alpha and profile: of what is stored, not of a file's bytes.

        `colours` are not in it, which `certificate.mismatches` compares: hashes made before there were any stay true.
        """
        hashed = hashlib.sha256(f"recast-original-1 {self.width}x{self.height}x{self.depth}".encode())
        for name, data in (("samples", self.samples), ("alpha", self.alpha)):
            if data is not None:
                hashed.update(f" {name} ".encode())
                hashed.update(little_endian(data))
        if self.icc is not None:
            hashed.update(b" icc " + self.icc)
        return hashed.hexdigest()

    @cached_property
    def _space(self) -> Space | None:
        return space_of(self.rgb_profile)

    def _of_srgb(self, rgb: np.ndarray) -> np.ndarray:
        own = rgb if self._space is None else self._space.of_srgb(rgb)
        return own if self.depth == 8 else own * np.float32(257)

    def _to_srgb8(self, samples: np.ndarray) -> np.ndarray:
        """As the readers of Pillow and `recast.pixels.srgb` have it: 16 bits are cut to 8, those of grey rounded."""
        if self.depth == 8 and self.icc is None:
            return np.ascontiguousarray(samples)
        channels: Any = np.ascontiguousarray(samples[..., 0]) if self.is_grey else samples
        if self.depth == 16 and not (self.is_grey and self.alpha is None):
            channels = (channels >> 8).astype(np.uint8)
        image = Image.fromarray(channels)
        image.info["icc_profile"] = self.icc
        return srgb.to_srgb(image, [])[0]


def little_endian(data: np.ndarray) -> Any:
    """The bytes of samples in the order they are hashed in, whatever the machine's own."""
    return np.ascontiguousarray(data.astype(data.dtype.newbyteorder("<"), copy=False))


def read_original(
    source: Source | Original, *, name: str = "image", limit_pixels: int = files.LIMIT_PIXELS
) -> Original:
    """The picture in a path, bytes, file, Pillow image, Picture or (H, W, 3 or 4) uint8 or uint16 array, as stored.

    PNG and TIFF keep 16 bits. Palettes become RGB; CMYK, and grey with a profile that RGB cannot have, become sRGB:
    each with a warning. Raises InputError, naming the argument as `name`, for whatever is not one whole picture.
    """
    if isinstance(source, Original):
        return source
    if isinstance(source, Picture):
        return Original(source.rgb, source.alpha, warnings=source.warnings, source=source.source)
    if isinstance(source, np.ndarray):
        dtypes = (np.uint8, np.uint16)
        return Original(*files.split_array(source, limit_pixels=limit_pixels, name=name, dtypes=dtypes))
    with files.opened(source, limit_pixels=limit_pixels, name=name) as (image, notes, data):
        kind, is_one_of_several = image.format, files.frames_of(image) > 1 or png.has_others(data or b"")
        decoder_notes: list[str] = []
        tags = frozenset(getattr(image, "tag_v2", ()))
        original = Original(*decoding.decoded(image, data, decoder_notes))
        is_profiled = original.has_readable_profile
        said = png.unheeded(data or b"", original.icc, is_read=is_profiled)
        unread = [each for each in decoder_notes if each.startswith(decoding.UNREAD_EXIF)]
        boxed = avif.disputed(data, is_profiled=is_profiled) if data is not None and kind == "AVIF" else []
        disputed = (*said.disputed, *boxed, *(unread or remarks.disputed(image, tags, is_profiled=is_profiled)))
        unheeded = (*disputed, *said.notes)
        notes += [*unheeded, *decoder_notes]
        original = _settled(replace(original, colours=said.carried), notes)
    return replace(
        original, warnings=tuple(dict.fromkeys(notes)), source=files.path_of(source), format=kind,
        unheeded=unheeded, disputed=disputed, is_one_of_several=is_one_of_several,
    )  # fmt: skip


def encode_original(
    original: Original, format: str, *, certificate: str | None = None, recipe: str | None = None,
    quality: int | None = None,
) -> bytes:  # fmt: skip
    """The bytes of a PNG (8 or 16 bits), WebP or JPEG file with its colour profile; same arguments, same bytes.

    certificate, recipe: texts (JSON) to embed; a certificate only into PNG and lossless WebP, for it says that bytes
    are kept. quality: as for `recast.pixels.image.encode`; None is lossless but for JPEG. Raises InputError for what
    the format cannot hold.
    """
    kind = files.kind_of(format, quality)
    files.check_fits(kind, width=original.width, height=original.height, alpha=original.alpha)
    if kind != "PNG" and original.depth == 16:
        raise InputError(f"format={format!r}: 16 bits per channel came; 8 accepted by {kind}; choose PNG")
    if certificate is not None and (loss := loss_of(format, quality, original=original)):
        raise InputError(f"certificate: {loss}; None accepted there; leave it out, or choose another format")
    if kind == "PNG":
        has_no_form = original.is_grey and original.alpha is not None and original.depth == 16  # OpenCV writes none
        stored = original.as_rgb() if has_no_form else original
        chunks = [png.colour(stored.icc, stored.colours)]
        chunks += [] if recipe is None else [png.text("recast", recipe)]
        chunks += [] if certificate is None else [png.text(embedded.CERTIFICATE, certificate)]
        return png.inserted(_bare_png(stored), chunks)
    # JPEG has no alpha, and this one is opaque; WebP has no grey
    stored = replace(original, alpha=None) if kind == "JPEG" else original.as_rgb()
    options = files.metadata(kind, recipe) | files.settings(kind, quality)
    options |= {} if quality is not None else EFFORT.get(kind, {})
    if stored.icc is not None:
        options["icc_profile"] = stored.icc
    if certificate is not None:
        options["xmp"] = embedded.xmp(certificate)
    file = io.BytesIO()
    _to_pillow(stored).save(file, kind, **options)
    return file.getvalue()


def write_original(original: Original, path: str | os.PathLike[str], **options: Any) -> Path:
    """The path, once the whole picture is safely there; the suffix chooses the format unless `format` does.

    The other options are those of `encode_original`. Raises InputError like it, or if the place cannot be written.
    """
    options["format"] = options.get("format") or Path(path).suffix.removeprefix(".")
    return files.write_bytes(encode_original(original, **options), path)


def check_format(path: str | os.PathLike[str], quality: int | None = None) -> None:
    """Raise InputError unless the suffix of a path is a format to write: before any work is done."""
    files.kind_of(Path(path).suffix.removeprefix("."), quality)


def loss_of(format: str, quality: int | None = None, *, original: Original | None = None) -> str | None:
    """What to tell who saves a certified picture in a format that does not keep it; None for one that does.

    original: the picture, whose own word on its colours PNG alone can carry; None for the format's answer.
    """
    kind = files.kind_of(format, quality)
    if kind == "PNG":
        return None
    if kind == "WEBP" and quality is None:
        if original is None or not original.colours:
            return None
        said = ", ".join(name.decode() for name, _ in original.colours)
        return (
            f"{said} of the source: WebP has no place for it, some viewers show other colours, and the certificate "
            "does not hold; save as PNG"
        )
    what = "JPEG" if kind == "JPEG" else f"WebP of quality {quality}"
    return f"lossy: {what} alters most pixels, the certificate does not hold; save as PNG or lossless WebP"


def _settled(original: Original, notes: list[str]) -> Original:
    """The picture with a profile that can be kept: a grey one has to have a form for RGB. Notes what is said of it."""
    moved: list[str] = []
    if srgb.transform_of(original.icc, "L" if original.is_grey else "RGB", moved) is None:
        notes += moved
    elif original.is_grey and original.rgb_profile is None:
        notes.append(f"{moved[0]}: it has no simple curve, and the edit could not be given the same")
        if original.depth == 16:
            notes.append("16 bits per channel reduced to 8 on the way")
        rgb = original.srgb8()
        samples = rgb if original.depth == 8 else rgb * np.uint16(257)
        return replace(original, samples=samples, icc=None, colours=())
    return original


def _bare_png(original: Original) -> bytes:
    """A PNG of the samples and nothing else."""
    if original.depth == 8:
        return pixels_png.encode(np.asarray(_to_pillow(original)))
    import cv2

    samples = original.samples[..., 0] if original.is_grey else original.samples[..., ::-1]
    stored = samples if original.alpha is None else np.dstack([samples, original.alpha])
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(stored))
    return encoded.tobytes()


def _to_pillow(original: Original) -> Image.Image:
    """An 8-bit picture as a Pillow image: L, LA, RGB or RGBA, and no metadata."""
    colours: Any = np.ascontiguousarray(original.samples[..., 0]) if original.is_grey else original.samples
    return Image.fromarray(colours if original.alpha is None else np.dstack([colours, original.alpha]))
