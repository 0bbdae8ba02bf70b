"""From what an editor hands back to what a node keeps of it."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from recast.errors import ConfigError
from recast.pixels import image
from recast.retouch.original import encode_original
from recast.retouch.thread.drift import support_png
from recast.retouch.thread.node import Draft, Kind
from recast.retouch.thread.variant import parts_of

if TYPE_CHECKING:
    from recast.pixels.image import Source
    from recast.run import Result


def bytes_of(source: Source, name: str) -> tuple[bytes, str | None]:
    """A picture's file as it came, and the name it came under; of what is no file, a PNG. Raises InputError."""
    data: Any = source
    if isinstance(source, str | os.PathLike):
        image.read(source, name=name)
        return Path(source).read_bytes(), Path(source).name
    if hasattr(source, "read"):
        data = source.read()
    if isinstance(data, bytes | bytearray | memoryview):
        image.read(bytes(data), name=name)
        return bytes(data), None
    picture = image.read(data, name=name)
    return image.encode(picture, "png"), picture.source and Path(picture.source).name


def format_of(data: bytes) -> str | None:
    """The format of a picture's file, as Pillow names it."""
    with PIL.Image.open(io.BytesIO(data), formats=image.READ) as opened:
        return opened.format


def of_picture(data: bytes, file: str | None, *, kind: Kind) -> Draft:
    """The draft of a picture that is brought in: its file as it came."""
    picture = image.read(data)
    return Draft(
        kind=kind,
        blobs={"picture": data},
        width=picture.width,
        height=picture.height,
        pixels_sha256=picture.sha256(),
        file=file,
        warnings=picture.warnings,
    )


def of_result(result: Result, source: bytes, kind: Kind, instruction: str, **more: Any) -> Draft:
    """The draft of the one picture in a result. source: the file that was edited. more: further fields of the draft.

    A result that carries a merge (`edits`, of `recast.retouch.editor`) gives its regions, certificate, report,
    support, raw edit and parts as well; any other gives its picture and recipe alone.
    """
    if len(result.pictures) != 1:
        raise ConfigError(
            f"num_images: {len(result.pictures)} pictures came; one a node accepted; ask once for each, from the same "
            "node, with another seed"
        )
    recipe = json.loads(result.recipe.to_json()) if result.recipes else None
    text = result.recipe.to_json() if result.recipes else None
    blobs = dict(more.pop("blobs", {}))
    fields: dict[str, Any] = {"recipe": recipe, "warnings": tuple(result.warnings), **more}
    edits = getattr(result, "edits", None)
    if edits:
        merge = edits[0]
        blobs |= _blobs_of_merge(merge, source, text)
        fields |= _fields_of_merge(merge)
    else:
        blobs["picture"] = image.encode(result.pictures[0], "png", recipe=text)
    picture = image.read(blobs["picture"])
    return Draft(
        kind=kind,
        instruction=instruction,
        blobs=blobs,
        width=picture.width,
        height=picture.height,
        pixels_sha256=picture.sha256(),
        **fields,
    )


def _blobs_of_merge(merge: Any, source: bytes, recipe: str | None) -> dict[str, bytes]:
    proof = None if merge.certificate is None else merge.certificate.to_json()
    blobs = {
        "picture": encode_original(merge.result, "png", certificate=proof, recipe=recipe),
        "raw": encode_original(merge.edited, "png", certificate=None, recipe=recipe),
        "support": support_png(np.asarray(merge.support, bool)),
    }
    return blobs | parts_of(merge, source, blobs["raw"])


def _fields_of_merge(merge: Any) -> dict[str, Any]:
    report: Mapping[str, Any] | None = getattr(merge, "report", None)
    return {
        "regions": [region.to_dict() for region in merge.regions],
        "certificate": None if merge.certificate is None else json.loads(merge.certificate.to_json()),
        "report": report,
    }
