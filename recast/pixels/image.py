"""Picture files: whatever comes in, 8-bit sRGB and its alpha come out; and back, whole or not at all.

torch is imported inside the one function that makes a tensor: what only looks at a file starts at once.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from einops import rearrange
from PIL import ExifTags, Image, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError

from recast.errors import InputError, RecastError, ShapeError
from recast.pixels import png, srgb

if TYPE_CHECKING:
    from torch import Tensor

    Source: TypeAlias = "Picture | str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | np.ndarray"

# Decoders that may run on a stranger's file. Not every one Pillow has: its EPS reader starts another program.
READ = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF")
ACCEPTED = "a PNG, JPEG, WebP, GIF, TIFF, BMP, PPM or AVIF picture"
WRITE = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
LONGEST_SIDE_PX = {"PNG": 2**31 - 1, "JPEG": 65_500, "WEBP": 16_383}
LIMIT_PIXELS = 100_000_000
BITS_PER_SAMPLE = 258  # a tag of TIFF
EXIF_LIMIT_BYTES = 65_533  # JPEG keeps it in one segment


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture at rest: rgb (H, W, 3) uint8 in sRGB, alpha (H, W) uint8 or None; both read-only.

    warnings: what reading it changed or passed over, a phrase each. source: the path it came from, if any.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    source: str | None = None

    def __post_init__(self) -> None:
        _check_rgb(self.rgb)
        if self.alpha is not None and (self.alpha.dtype != np.uint8 or self.alpha.shape != self.rgb.shape[:2]):
            came = f"{self.alpha.dtype} {self.alpha.shape}"
            raise ShapeError(f"alpha: {came} came; uint8 {self.rgb.shape[:2]} accepted, the size of rgb; resize it")
        for name in ("rgb", "alpha"):
            if getattr(self, name) is not None:
                view = getattr(self, name).view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    @property
    def height(self) -> int:
        return self.rgb.shape[0]

    def sha256(self) -> str:
        """The hash of the decoded bytes with their size: of what is seen, not of the file it came in."""
        parts = [f"{self.width}x{self.height}".encode(), self.rgb.tobytes()]
        parts += [] if self.alpha is None else [b"alpha", self.alpha.tobytes()]
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def to_pil(self) -> Image.Image:
        """The picture as a Pillow image, RGB or RGBA."""
        return Image.fromarray(self.rgb if self.alpha is None else np.dstack([self.rgb, self.alpha]))


def read(source: Source, *, limit_pixels: int = LIMIT_PIXELS, name: str = "image") -> Picture:
    """The picture in a path, bytes, file, Pillow image or (H, W, 3 or 4) uint8 array: upright, sRGB, 8 bits.

    A Picture comes back as it is. The limit is checked on the header, before anything is decoded.
    Raises InputError, naming the argument as `name`, for whatever is not one whole picture.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, np.ndarray):
        return Picture(*split_array(source, limit_pixels=limit_pixels, name=name))
    with opened(source, limit_pixels=limit_pixels, name=name) as (image, notes, _):
        if has_16_bits(image):
            notes.append("16 bits per channel reduced to 8")
        image.load()
        rgb, alpha = srgb.to_srgb(upright(image, notes), notes)
    return Picture(rgb, alpha, tuple(dict.fromkeys(notes)), path_of(source))


def split_array(
    array: np.ndarray, *, limit_pixels: int, name: str, dtypes: tuple[type, ...] = (np.uint8,)
) -> tuple[np.ndarray, np.ndarray | None]:
    """Copies of the colours (H, W, 3) and alpha (H, W) or None of an array. Raises InputError for no picture."""
    if array.dtype not in dtypes or array.ndim != 3 or array.shape[2] not in (3, 4):
        accepted = f"{' or '.join(dtype.__name__ for dtype in dtypes)} (H, W, 3) or (H, W, 4) accepted"
        raise InputError(f"{name}=<array {array.dtype} {array.shape}>: no picture; {accepted}; scale it to 0..255")
    _check_limit(array.shape[1], array.shape[0], limit_pixels, f"{name}=<array>")
    array = array.copy()
    return array[..., :3], array[..., 3] if array.shape[2] == 4 else None


@contextmanager
def opened(source: Source, *, limit_pixels: int, name: str) -> Iterator[tuple[Any, list[str], bytes | None]]:
    """A Pillow image whose header is read and size checked, notes on what of it is passed over, and its bytes.

    The decoder's warnings join the notes at the end of the block. The bytes are None if a Pillow image came.
    Raises InputError, naming the argument as `name`, for whatever is no picture or fails in the block.
    """
    with _opened(source, name) as (image, caught, data):
        _check_limit(image.width, image.height, limit_pixels, _label(source, name))
        notes = []
        frames = frames_of(image)
        if frames > 1:
            kind = "pages" if image.format == "TIFF" else "animated"
            notes.append(f"{kind}: frame {image.tell() + 1} of {frames} is used")
        yield image, notes, data
        notes += [f"decoder: {w.message}" for w in caught if issubclass(w.category, UserWarning)]


def frames_of(image: Image.Image) -> int:
    """How many pictures the file of an image shows: a camera's second one (MPO) is a preview, or a depth map."""
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def has_16_bits(image: Image.Image) -> bool:
    """Whether the file of an image that is not loaded yet has 16 bits per channel, whatever mode it will have."""
    depths = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, ())
    return 16 in depths or ";16" in f"{image.mode} {getattr(image, 'tile', '')}"


def path_of(source: Source) -> str | None:
    """The path that a picture is read from, if it is one."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else None


def read_recipe(source: Source, *, name: str = "image") -> str | None:
    """The recipe that a PNG, JPEG or WebP carries in its header, or None. Raises InputError like `read`."""
    with _opened(source, name) as (image, *_):
        if image.format == "PNG":
            text = image.info.get("recast")
            return None if text is None else str(text)
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
        if not isinstance(comment, bytes):
            return None
        text = comment[8:].decode("utf-16" if comment.startswith(b"UNICODE") else "ascii", errors="replace")
        return text.removeprefix("recast ") if text.startswith("recast ") else None


def write(picture: Picture | np.ndarray, path: str | os.PathLike[str], **options: Any) -> Path:
    """The path, once the whole picture is safely there; until then, and if it fails, what was there stays.

    The suffix chooses the format unless `format` does; the other options are those of `encode`.
    Raises InputError for a suffix that is no format, for a place that cannot be written, and like `encode`.
    """
    options["format"] = options.get("format") or Path(path).suffix.removeprefix(".")
    return write_bytes(encode(picture, **options), path)


def write_bytes(data: bytes, path: str | os.PathLike[str]) -> Path:
    """The path, once all of `data` is safely there, as `write` has it. Raises InputError if it cannot be."""
    target = Path(os.path.realpath(path))  # a link keeps pointing where it did
    temporary = target.with_name(f".recast-{secrets.token_hex(8)}.part")
    try:
        if target.exists() and not target.is_file():
            raise FileExistsError(0, "something that is not a file is in its place")
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(
            f"path={os.fspath(path)!r}: cannot be written ({error.strerror}); a file in an existing directory "
            "accepted; create it, make it writable, or choose another place"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return Path(path)


def encode(
    picture: Picture | np.ndarray,
    format: str,
    *,
    quality: int | None = None,
    recipe: str | None = None,
    alpha: np.ndarray | None = None,
    flatten: tuple[int, int, int] | None = None,
) -> bytes:
    """The bytes of a PNG, JPEG (4:4:4) or WebP file, tagged sRGB; the same arguments give the same bytes.

    quality: 1 to 100; None is lossless for PNG and WebP, 95 for JPEG. recipe: a text to embed; None leaves
    nothing beside the pixels but the colour tag. alpha: (H, W) uint8, replaces that of the picture. flatten:
    the background that transparency is laid on. Raises InputError for what the format cannot hold.
    """
    kind = kind_of(format, quality)
    picture = read(picture) if alpha is None else replace(read(picture), alpha=alpha)
    check_fits(kind, width=picture.width, height=picture.height, alpha=None if flatten else picture.alpha)
    if flatten is not None:
        picture = _flatten(picture, flatten)
    elif kind == "JPEG":
        picture = replace(picture, alpha=None)
    if kind == "PNG":
        return png.encode(np.asarray(picture.to_pil()), chunks=_chunks(recipe))
    file = io.BytesIO()
    picture.to_pil().save(file, kind, **metadata(kind, recipe), **settings(kind, quality))
    return file.getvalue()


def _chunks(recipe: str | None) -> list[tuple[bytes, bytes]]:
    """The metadata of a PNG, chunk by chunk."""
    meta = metadata("PNG", recipe)
    chunks = [(entry[0], entry[1]) for entry in meta["pnginfo"].chunks]
    return [*chunks, (b"eXIf", meta["exif"].removeprefix(b"Exif\0\0"))] if "exif" in meta else chunks


def kind_of(format: str, quality: int | None) -> str:
    """The kind of file that a format's name stands for. Raises InputError for none, or no such quality of it."""
    kind = WRITE.get(format.lower())
    if kind is None:
        raise InputError(f"format={format!r}: cannot be written; {', '.join(WRITE)} accepted; choose one of them")
    if quality is not None and (kind == "PNG" or not 1 <= quality <= 100):
        accepted = "1 to 100 accepted, for JPEG and WebP"
        raise InputError(f"quality={quality}: cannot be had from {kind}; {accepted}; leave it out for PNG")
    return kind


def check_fits(kind: str, *, width: int, height: int, alpha: np.ndarray | None) -> None:
    """Raise InputError if a file of this kind cannot hold a picture of this size, or this alpha (H, W)."""
    if max(width, height) > LONGEST_SIDE_PX[kind]:
        accepted = f"sides of at most {LONGEST_SIDE_PX[kind]} pixels accepted by {kind}"
        raise InputError(f"picture: {width}x{height} came; {accepted}; choose PNG")
    if kind == "JPEG" and alpha is not None and alpha.min() < np.iinfo(alpha.dtype).max:
        raise InputError(
            "alpha: a picture with transparency came; opaque ones accepted by JPEG; choose PNG or WebP, "
            "or, from Python, a background: flatten=(255, 255, 255)"
        )


def settings(kind: str, quality: int | None) -> dict[str, Any]:
    """How Pillow's `save` is to compress; None is lossless where the kind can be."""
    if kind == "JPEG":
        return {"quality": quality or 95, "subsampling": 0}
    # exact: colours under full transparency stay as well
    return {"exact": True, "lossless": quality is None, "quality": quality or 80} if kind == "WEBP" else {}


def to_pixels(rgb: np.ndarray) -> Tensor:
    """Pixels (1, 3, H, W) float32 in [-1, 1] from rgb (H, W, 3) uint8. Raises ShapeError for others."""
    import torch

    _check_rgb(rgb)
    return torch.tensor(rearrange(rgb, "h w c -> 1 c h w").astype(np.float32)) / 127.5 - 1


def from_pixels(pixels: Tensor) -> np.ndarray:
    """Arrays rgb (b, H, W, 3) uint8 from pixels (b, 3, H, W), clamped and rounded: every byte returns.

    Raises ShapeError for another shape, InputError for values that are not numbers: they would become black.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ShapeError(f"pixels: {tuple(pixels.shape)} came; (b, 3, H, W) accepted; decode the latents first")
    levels = (pixels.detach().float().clamp(-1, 1) + 1) * 127.5
    if levels.isnan().any():
        raise InputError("pixels: not numbers (NaN) came; values in [-1, 1] accepted; compute in bfloat16 or float32")
    return rearrange(levels.round().byte().cpu().numpy(), "b c h w -> b h w c")


_DECODING = threading.Lock()


@contextmanager
def _opened(source: Source, name: str) -> Iterator[tuple[Any, list[warnings.WarningMessage], bytes | None]]:
    """A picture with its header read, its decoder's warnings, and its bytes; what fails in the block is InputError.

    Pillow's size limit, its leniency with cut files and Python's warnings are global variables: they are ours
    for the length of the block, one reader at a time, and as they were after it.
    """
    label = _label(source, name)
    data = None if isinstance(source, Image.Image) else _bytes(source, label)
    with _DECODING, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kept = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield (source if data is None else Image.open(io.BytesIO(data), formats=READ)), caught, data
        except RecastError:
            raise
        except Exception as error:  # a decoder raises whatever its parser trips over
            reason = f"cannot be decoded: {error}"
            if isinstance(error, UnidentifiedImageError) and data is not None:
                reason = f"no picture, or only the beginning of one: it starts with {data[:8]!r}"
            raise InputError(
                f"{label}: {reason}; {ACCEPTED} accepted, whole; fetch it again, or convert it to PNG"
            ) from error
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = kept


def _bytes(source: Source, label: str) -> bytes:
    """What is in a path, bytes or file; never nothing."""
    try:
        if isinstance(source, str | os.PathLike):
            data: Any = Path(source).read_bytes()
        else:
            data = source.read() if hasattr(source, "read") else source
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        todo = "check that it names one file you may read"
        raise InputError(f"{label}: cannot be read ({reason}); {ACCEPTED} accepted; {todo}") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        ways = "as a path, bytes, binary file, Pillow image or uint8 array"
        raise InputError(f"{label}: holds no bytes; {ACCEPTED} accepted, {ways}; open files with mode 'rb'")
    if not len(data):
        raise InputError(f"{label}: empty (0 bytes); {ACCEPTED} accepted; fetch it again, or rewind the file first")
    return bytes(data)


def _label(source: Source, name: str) -> str:
    """The argument and what came, as an error message begins."""
    if isinstance(source, str | os.PathLike):
        return f"{name}={os.fspath(source)!r}"
    size = f" of {len(source)} bytes" if isinstance(source, bytes | bytearray) else ""
    return f"{name}=<{type(source).__name__}{size}>"


def _check_limit(width: int, height: int, limit_pixels: int, label: str) -> None:
    if not 0 < width * height <= limit_pixels:
        came, accepted = f"{width}x{height} = {width * height} pixels", f"1 to {limit_pixels} accepted"
        raise InputError(f"{label}: {came}; {accepted}; scale it down, or raise limit_pixels if you trust it")


def _check_rgb(rgb: np.ndarray) -> None:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ShapeError(f"rgb: {rgb.dtype} {rgb.shape} came; uint8 (H, W, 3) accepted; `read` the picture first")


def upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """A loaded image turned as its EXIF says; adds to `notes` if that cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # the pixels are whole, only the remark about them is not
        notes.append(f"EXIF cannot be read, orientation ignored: {error}")
        return image


def metadata(kind: str, recipe: str | None) -> dict[str, Any]:
    """What Pillow's `save` needs to tag sRGB and embed a recipe: a PNG text, or an EXIF comment."""
    info = PngImagePlugin.PngInfo()
    info.add(b"sRGB", b"\0")
    options: dict[str, Any] = {"pnginfo": info} if kind == "PNG" else {"icc_profile": srgb.profile()}
    if recipe is None:
        return options
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = "recast"
    try:
        if kind == "PNG":  # not compressed: readers refuse to inflate a long text
            info.add_itxt("recast", recipe)
        else:
            text = f"recast {recipe}"
            comment = b"ASCII\0\0\0" + text.encode() if text.isascii() else b"UNICODE\0" + text.encode("utf-16")
            exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    except UnicodeEncodeError as error:
        raise InputError(f"recipe: {error}; text in UTF-8 accepted; escape it, as JSON does") from error
    data = exif.tobytes()
    if kind == "JPEG" and len(data) > EXIF_LIMIT_BYTES:
        raise InputError(
            f"recipe: {len(data)} bytes came; at most {EXIF_LIMIT_BYTES} accepted by JPEG; choose PNG or WebP, "
            "or keep it in a file beside the picture"
        )
    return options | {"exif": data}


def _flatten(picture: Picture, background: tuple[int, int, int]) -> Picture:
    if picture.alpha is None:
        return picture
    weight = picture.alpha[..., None] / np.float32(255)
    rgb = np.rint(picture.rgb * weight + np.array(background, np.float32) * (1 - weight))
    return replace(picture, rgb=rgb.astype(np.uint8), alpha=None)
