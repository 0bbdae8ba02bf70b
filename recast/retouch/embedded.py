"""The text of a certificate inside a picture: an iTXt chunk of PNG, a property of WebP's XMP packet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, unescape

from recast.errors import InputError
from recast.pixels import image as files

if TYPE_CHECKING:
    from recast.pixels.image import Source

CERTIFICATE = "recast.certificate"
LIMIT_BYTES = 16 * 2**20
"""Of a text inside a picture: Pillow refuses a PNG whose texts exceed 64 MiB, and the recipe wants room too."""


def encoded(keyword: str, value: str) -> bytes:
    """A text as UTF-8. Raises InputError, naming it by its keyword, for one too long to be embedded."""
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{keyword}: {error}; text in UTF-8 accepted; escape it, as JSON does") from error
    if len(data) > LIMIT_BYTES:
        accepted = f"at most {LIMIT_BYTES} accepted inside a picture"
        raise InputError(f"{keyword}: {len(data)} bytes came; {accepted}; keep it in a file beside the picture")
    return data


def xmp(certificate: str) -> bytes:
    """An XMP packet that holds the certificate's text as a property."""
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:recast="urn:recast:1"><recast:certificate>'
        + encoded(CERTIFICATE, escape(certificate))
        + b"</recast:certificate></rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def read_text(source: Source, *, name: str = "image") -> str | None:
    """The certificate's text in a PNG or WebP, or None. Raises InputError for what is no picture.

    XML is not parsed, only searched: a stranger's entities stay what they are.
    """
    with files.opened(source, limit_pixels=files.LIMIT_PIXELS, name=name) as (image, _, _):
        if image.format == "PNG":
            found = image.info.get(CERTIFICATE) or image.text.get(CERTIFICATE)  # the latter also behind the pixels
            return None if found is None else str(found)
        packet: Any = image.info.get("xmp", b"") if image.format == "WEBP" else b""
        inside = re.search(rb"<recast:certificate>([^<]*)</recast:certificate>", packet)
        return None if inside is None else unescape(inside[1].decode(errors="replace"))
