"""What of a source is kept in a result: counted, hashed, and checked by anyone who has both pictures and no model.

A certificate is no signature. It names the area that may differ (the support); all else is the source's, byte for byte.
Whoever verifies compares the two pictures themselves: a forged certificate can claim less than is true, never more.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

from recast.config import VERSION
from recast.errors import InputError
from recast.pixels import image as files
from recast.pixels import srgb
from recast.retouch import embedded
from recast.retouch.original import Original, little_endian
from recast.retouch.picked import picked
from recast.retouch.png import Chunk

FORMAT = "recast-certificate-1"
LIMIT_CHARACTERS = 2**26
"""Of a certificate's JSON. The mask of 100 megapixels of noise takes 17 million."""
DECODERS = {"JPEG": "libjpeg_turbo", "MPO": "libjpeg_turbo", "WEBP": "webp", "AVIF": "avif"}
"""Formats whose samples depend on who decodes them, and their libraries, as Pillow names them."""
_ROWS = 64  # hashed at a time: what they need stays in the processor's cache


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What is certified of a result, and of the source it was made from.

    preserved: pixels outside the support. preserved_sha256: of their samples, row by row, with size, depth, channels
    and support. source_sha256: `Original.sha256`. support: a PNG of one bit per pixel, base64; white may differ.
    sha256: of all other fields; one changed field and it does not fit. note: what a verifier has to know.
    """

    width: int
    height: int
    depth: int
    channels: int  # 3, or 4 with alpha
    preserved: int
    preserved_sha256: str
    source_sha256: str
    support: str
    support_sha256: str
    version: str = VERSION
    note: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value).__name__ != field.type:
                raise _refusal(f"{field.name}: {value!r:.80} came; {field.type} accepted")
        if self.depth not in (8, 16) or self.channels not in (3, 4):
            came = f"depth {self.depth}, channels {self.channels}"
            raise _refusal(f"{came} came; 8 or 16, and 3 or 4, accepted")
        if not (0 < self.width * self.height <= files.LIMIT_PIXELS and self.width > 0):
            raise _refusal(f"{self.width}x{self.height} came; 1 to {files.LIMIT_PIXELS} pixels accepted")
        if not self.sha256:
            object.__setattr__(self, "sha256", self.expected_sha256)

    @cached_property
    def mask(self) -> np.ndarray:
        """The support: (H, W) bool. Raises InputError unless it is a picture of that size and one bit."""
        try:
            data = base64.b64decode(self.support, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _refusal(f"support: {error}; base64 accepted") from None
        limit = self.width * self.height
        with files.opened(data, limit_pixels=limit, name="certificate: support") as (image, _, _):
            came = f"{image.format} {image.mode} {image.width}x{image.height}"
            if came != f"PNG 1 {self.width}x{self.height}":
                raise _refusal(f"support: {came} came; PNG 1 {self.width}x{self.height} accepted")
            return np.array(image)

    @property
    def expected_sha256(self) -> str:
        """The hash that the other fields have."""
        content = {name: value for name, value in asdict(self).items() if name != "sha256"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """One JSON object in ASCII, `format` first."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """The certificate in `text`; whether its hashes fit is for `verify` to say. Raises InputError if it is none."""
        if len(text) > LIMIT_CHARACTERS:
            raise _refusal(f"{len(text)} characters came; at most {LIMIT_CHARACTERS} accepted")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _refusal(f"not JSON ({error}); one JSON object accepted") from None
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise _refusal(f'no "format": "{FORMAT}"; one JSON object with it accepted')
        names = {field.name for field in fields(cls)}
        if data.keys() != names:
            odd = sorted(data.keys() ^ names)
            raise _refusal(f"missing or unknown: {', '.join(odd)[:200]}; {', '.join(sorted(names))} accepted")
        if not data["sha256"]:
            raise _refusal("sha256: empty; the hash of all other fields accepted")
        certificate = cls(**data)
        _ = certificate.mask  # whole, or refused
        return certificate


@dataclass(frozen=True)
class Broken:
    """A pixel that is not the source's: samples red, green, blue, and alpha where there is one."""

    x: int
    y: int
    expected: tuple[int, ...]
    found: tuple[int, ...]

    def __str__(self) -> str:
        return f"(x={self.x}, y={self.y}): expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Verdict:
    """What a verifier found.

    preserved: pixels outside the support that are the source's, `of` all of the picture. broken: pixels outside it that
    are not; first: the topmost of them. differing: pixels that differ anywhere, and box (left, top, right, bottom)
    around them, None if there is none. reasons: why it is not kept, a sentence each.
    """

    is_kept: bool
    preserved: int
    of: int
    broken: int
    first: Broken | None
    differing: int
    box: tuple[int, int, int, int] | None
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def certify(source: Original, result: Original, support: np.ndarray) -> Certificate:
    """The certificate that `result` is `source` outside the support (H, W) bool.

    Raises InputError unless it is: no certificate is made of a result that breaks it.
    """
    if support.shape != source.samples.shape[:2] or support.dtype != np.bool_:
        came, accepted = f"{support.dtype} {support.shape}", f"bool {source.samples.shape[:2]}"
        raise InputError(f"support: {came} came; {accepted} accepted, the size of the source; redraw it on that")
    wrong = mismatches(source, result)
    if not wrong and (broken := differences(source, result) & ~support).any():
        wrong = [f"{int(broken.sum())} pixels outside the support differ, first {_first(source, result, broken)}"]
    if wrong:
        raise InputError(f"result: {'; '.join(wrong)}; the source's bytes outside the support accepted; copy them")
    file = io.BytesIO()
    Image.fromarray(support).save(file, "PNG")
    support_sha256 = _support_sha256(support)
    draft = Certificate(
        width=source.width,
        height=source.height,
        depth=source.depth,
        channels=_channels(source),
        preserved=int(support.size - np.count_nonzero(support)),
        preserved_sha256="",
        source_sha256=source.sha256(),
        support=base64.b64encode(file.getvalue()).decode(),
        support_sha256=support_sha256,
        note=_note(source),
    )
    return replace(draft, preserved_sha256=_preserved_sha256(draft, result, support), sha256="")


def verify(source: Original, result: Original, certificate: Certificate | None) -> Verdict:
    """Whether all that the certificate says is true of these two pictures; what differs, even without one.

    An alpha that is opaque everywhere says nothing: a result may lack the source's, as lossless WebP leaves it out.
    """
    result = _alike(source, result)
    reasons = ["result: carries no certificate"] if certificate is None else _forgeries(certificate, source)
    reasons += [*mismatches(source, result), *_unseen(result)]
    of = source.width * source.height
    if (result.width, result.height, result.depth) != (source.width, source.height, source.depth):
        return Verdict(False, 0, of, 0, None, 0, None, tuple(reasons))
    differs = differences(source, result)
    outside = np.ones(differs.shape, bool)
    if certificate is not None and (certificate.width, certificate.height) == (source.width, source.height):
        outside = ~certificate.mask
    broken = differs & outside if certificate is not None else np.zeros(differs.shape, bool)
    if certificate is not None and not reasons:
        if certificate.preserved != int(outside.sum()):
            reasons.append(f"preserved: {certificate.preserved} claimed; the support leaves {int(outside.sum())}")
        if certificate.preserved_sha256 != _preserved_sha256(certificate, result, ~outside) and not broken.any():
            reasons.append("preserved_sha256: is not that of the pixels outside the support")
    first = _first(source, result, broken) if broken.any() else None
    if first is not None:
        reasons.append(f"{int(broken.sum())} pixels outside the support differ, first {first}")
    count = int(np.count_nonzero(outside & ~differs))
    where = _box(differs)
    return Verdict(not reasons, count, of, int(broken.sum()), first, int(differs.sum()), where, tuple(reasons))


def read_certificate(file: str | os.PathLike[str] | bytes, *, name: str = "certificate") -> Certificate | None:
    """The certificate in a picture, or in a file that ends in .json; None for a picture without one.

    Raises InputError, naming the argument as `name`, for what cannot be read or is no certificate.
    """
    if isinstance(file, bytes) or Path(file).suffix.lower() != ".json":
        text = embedded.read_text(file, name=name)
        return None if text is None else Certificate.from_json(text)
    try:
        with open(file, encoding="utf-8") as opened:
            return Certificate.from_json(opened.read(LIMIT_CHARACTERS + 1))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        accepted = "a JSON file written by recast accepted; check the path"
        raise InputError(f"{name}={os.fspath(file)!r}: cannot be read ({reason}); {accepted}") from None


def mismatches(source: Original, result: Original) -> list[str]:
    """What of the result is not as the source has it, pixels apart: size, depth, alpha, what is said of colours."""
    wrong = []
    for what, ours, theirs in (
        ("size", f"{source.width}x{source.height}", f"{result.width}x{result.height}"),
        ("depth", f"{source.depth} bits", f"{result.depth} bits"),
        ("alpha", *("none" if one.alpha is None else "some" for one in (source, result))),
    ):
        if ours != theirs:
            wrong.append(f"{what}: {theirs} in the result, {ours} in the source")
    if result.icc not in (source.icc, source.rgb_profile) and not (source.icc is None and _is_srgb(result.icc)):
        wrong.append("colour profile: another in the result than in the source, so that equal bytes look different")
    if result.colours != source.colours:
        theirs, ours = (_said(picture.colours) for picture in (result, source))
        wrong.append(
            f"colours: {theirs} in the result, {ours} in the source, so that some viewers show equal bytes apart"
        )
    return wrong


def differences(source: Original, result: Original) -> np.ndarray:
    """Where two pictures of one size and depth differ in any sample: (H, W) bool. An alpha that one lacks is opaque."""
    differs = np.zeros(source.samples.shape[:2], bool)
    for channel in range(3):
        differs |= source.samples[..., channel] != result.samples[..., channel]
    if source.alpha is not None or result.alpha is not None:
        one, other = (picture.levels if picture.alpha is None else picture.alpha for picture in (source, result))
        differs |= one != other
    return differs


def _alike(source: Original, result: Original) -> Original:
    """The result with an opaque alpha put on, or left out, as the source has it."""
    if source.alpha is not None and result.alpha is None:
        opaque = np.full(result.samples.shape[:2], result.levels, result.samples.dtype)
        return replace(result, alpha=opaque)
    if source.alpha is None and result.alpha is not None and (result.alpha == result.levels).all():
        return replace(result, alpha=None)
    return result


def _unseen(result: Original) -> list[str]:
    """What a viewer may show of the result's file that is in nothing that is compared. recast writes none of it."""
    wrong = []
    if result.is_one_of_several:
        wrong.append(
            "result: its file says that it holds further pictures, of which a viewer may show another; one accepted"
        )
    if result.disputed:
        wrong.append(f"result: some viewers may show it otherwise: {result.disputed[0]}")
    return wrong


def _said(colours: tuple[Chunk, ...]) -> str:
    return ", ".join(f"{name.decode()} {content.hex()}" for name, content in colours) or "nothing"


def _forgeries(certificate: Certificate, source: Original) -> list[str]:
    """What of a certificate does not fit itself or the source."""
    wrong = []
    if certificate.sha256 != certificate.expected_sha256:
        wrong.append("certificate: its fields were changed after it was made (sha256)")
    if certificate.support_sha256 != _support_sha256(certificate.mask):
        wrong.append("support_sha256: is not that of the support")
    if certificate.source_sha256 != source.sha256():
        decoder = f" ({certificate.note}; here {_decoder(source)})" if _decoder(source) else ""
        wrong.append(f"source: is not the picture that was certified{decoder}")
    claimed = (certificate.width, certificate.height, certificate.depth, certificate.channels)
    if claimed != (source.width, source.height, source.depth, _channels(source)):
        width, height, depth, channels = claimed
        wrong.append(f"certificate: is of {width}x{height} pixels, {channels} channels of {depth} bits; not the source")
    return wrong


def _channels(picture: Original) -> int:
    return 3 if picture.alpha is None else 4


def _support_sha256(support: np.ndarray) -> str:
    height, width = support.shape
    return hashlib.sha256(f"recast-support-1 {width}x{height} ".encode() + np.packbits(support).tobytes()).hexdigest()


def _preserved_sha256(certificate: Certificate, result: Original, support: np.ndarray) -> str:
    """The hash of the samples outside the support, then their alpha, after all that says how to read them."""
    size = f"{certificate.width}x{certificate.height}x{certificate.depth}x{certificate.channels}"
    hashed = hashlib.sha256(f"recast-preserved-1 {size} {certificate.support_sha256} ".encode())
    for data in (result.samples, result.alpha):
        if data is None:
            continue
        for top in range(0, len(data), _ROWS):
            rows = slice(top, top + _ROWS)
            hashed.update(little_endian(picked(data[rows], ~support[rows])))
    return hashed.hexdigest()


def _first(source: Original, result: Original, broken: np.ndarray) -> Broken:
    """The topmost of some broken pixels, leftmost in its row."""
    y, x = (int(one) for one in np.unravel_index(int(broken.argmax()), broken.shape))
    return Broken(x, y, *(_samples(picture, x, y) for picture in (source, result)))


def _samples(picture: Original, x: int, y: int) -> tuple[int, ...]:
    alpha = () if picture.alpha is None else (int(picture.alpha[y, x]),)
    return (*(int(value) for value in picture.samples[y, x]), *alpha)


def _box(where: np.ndarray) -> tuple[int, int, int, int] | None:
    if not where.any():
        return None
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _is_srgb(profile: bytes | None) -> bool:
    """Whether a profile says sRGB: whole, and moving no colour."""
    notes: list[str] = []
    return srgb.transform_of(profile, "RGB", notes) is None and not notes


def _note(source: Original) -> str:
    decoder = _decoder(source)
    return f"the source is a {source.format}: its samples as decoded by {decoder}" if decoder else ""


def _decoder(source: Original) -> str | None:
    """What decoded a source whose samples depend on it."""
    library = DECODERS.get(source.format or "")
    return library and f"Pillow {PIL.__version__}, {library} {features.version(library)}"


def _refusal(what: str) -> InputError:
    return InputError(f"certificate: {what}; use it as recast wrote it")
