"""A layered file that painting programs open: OpenRaster (Krita, GIMP, MyPaint), with the lettering beside it as SVG.

Source: OpenRaster baseline specification 0.0.6: a zip whose first entry is `mimetype`, stored; `stack.xml`; one PNG a
layer; the merged picture and a thumbnail of at most 256 pixels.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from recast.errors import InputError
from recast.pixels import image
from recast.pixels.image import Picture

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the hour is not in the file: the same layers are the same bytes


def write(path: Path, layers: Sequence[tuple[str, Picture]], merged: Picture, *, svg: str | None = None) -> Path:
    """Write layers, from the lowest to the topmost, all of the size of `merged`; the path.

    svg: the vector layers as they are, kept as an extra file data/lettering.svg. Raises InputError for other sizes.
    """
    if not layers:
        raise InputError("layers: none came; one or more accepted, the lowest first")
    for name, each in layers:
        if (each.width, each.height) != (merged.width, merged.height):
            came = f"{each.width}x{each.height}"
            raise InputError(f"layers: {name!r} is {came}; {merged.width}x{merged.height} accepted, as the picture")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        _put(archive, "mimetype", b"image/openraster", zipfile.ZIP_STORED)
        _put(archive, "stack.xml", _stack(layers, merged).encode(), zipfile.ZIP_DEFLATED)
        for i, (_, each) in enumerate(layers):
            _put(archive, f"data/layer{i}.png", image.encode(each, "png"), zipfile.ZIP_STORED)
        _put(archive, "mergedimage.png", image.encode(merged, "png"), zipfile.ZIP_STORED)
        small = merged.to_pil().copy()
        small.thumbnail((256, 256), Image.Resampling.LANCZOS)
        _put(
            archive,
            "Thumbnails/thumbnail.png",
            image.encode(np.asarray(small.convert("RGB")), "png"),
            zipfile.ZIP_STORED,
        )
        if svg is not None:
            _put(archive, "data/lettering.svg", svg.encode(), zipfile.ZIP_DEFLATED)
    return image.write_bytes(file.getvalue(), path)


def read_above(path: Path) -> Picture:
    """All layers but the lowest of a file that `write` wrote, laid over one another, with alpha.

    Raises InputError for a file that is none, or has one layer alone.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted((name for name in archive.namelist() if name.startswith("data/layer")), key=_number)
            found = [image.read(archive.read(name), name=name).to_pil().convert("RGBA") for name in names[1:]]
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputError(f"{path}: no layered file ({error}); one that `thumbnails make` wrote accepted") from None
    if not found:
        raise InputError(f"{path}: {len(names)} layer; two or more accepted; make the set again")
    whole = found[0]
    for each in found[1:]:
        whole = Image.alpha_composite(whole, each)
    return image.read(whole)


def _number(name: str) -> int:
    return int(name.removeprefix("data/layer").removesuffix(".png"))


def _stack(layers: Sequence[tuple[str, Picture]], merged: Picture) -> str:
    """The topmost layer comes first in the file."""
    rows = [
        f'  <layer name={quoteattr(name)} src="data/layer{i}.png" x="0" y="0" opacity="1.0" visibility="visible" '
        'composite-op="svg:src-over" />'
        for i, (name, _) in enumerate(layers)
    ]
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<image version="0.0.6" w="{merged.width}" h="{merged.height}" xres="72" yres="72">',
            " <stack>",
            *reversed(rows),
            " </stack>",
            "</image>",
            "",
        ]
    )


def _put(archive: zipfile.ZipFile, name: str, data: bytes, method: int) -> None:
    entry = zipfile.ZipInfo(name, _EARLIEST)
    entry.compress_type = method
    archive.writestr(entry, data)
