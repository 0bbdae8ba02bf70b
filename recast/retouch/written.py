"""What a merged picture carries beside its pixels, read so that the picture can be written anew without losing it.

The recipe of the edit it came from stays, and says which of the regions were left out since; a lossy file keeps its
quality.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from recast.errors import InputError
from recast.pixels import image as files
from recast.pixels.image import read_recipe
from recast.recipe import Recipe

if TYPE_CHECKING:
    from recast.pixels.image import Source
    from recast.retouch.original import Original
    from recast.retouch.regions import Region

NOTE = "regions: "
"""How the note in a recipe begins, by which it is found again and replaced."""


def recipe_of(source: Source, *, name: str = "image") -> Recipe | None:
    """The recipe that a picture carries; None if it carries none.

    Raises InputError for what is no picture, and for a recipe that cannot be read.
    """
    text = read_recipe(source, name=name)
    return None if text is None else Recipe.from_json(text)


def with_regions(recipe: Recipe, merged: Original, regions: Sequence[Region]) -> Recipe:
    """The recipe of the same edit with its regions chosen anew, so that a replay makes that choice.

    merged: the new picture, whose hash the recipe gets. regions: of it, accepted or not.
    """
    kept = tuple(note for note in recipe.warnings if not note.startswith(NOTE))
    rejected = tuple(region.id for region in regions if not region.is_accepted)
    return replace(
        recipe,
        preserving=replace(recipe.preserving, rejected=rejected),
        output_sha256=merged.picture().sha256(),
        warnings=(*kept, *notes_of(regions)),
    )


def notes_of(regions: Sequence[Region]) -> list[str]:
    """What a recipe's warnings say of regions that were chosen by hand: those left out, if there are any."""
    left = [region.id for region in regions if not region.is_accepted]
    return [f"{NOTE}{', '.join(map(str, left))} of {len(regions)} left out by choice"] if left else []


def quality_of(source: Source, *, name: str = "image") -> int | None:
    """The quality, 1 to 100, that a picture was written with: of a JPEG; None for a file without loss.

    Raises InputError for what is no picture, and for a lossy file that does not say: a lossy WebP, or a JPEG with
    quantisation tables that belong to no quality of libjpeg's.
    """
    with files.opened(source, limit_pixels=files.LIMIT_PIXELS, name=name) as (image, _, data):
        kind, tables = image.format, getattr(image, "quantization", None)
    if kind == "JPEG" and tables:
        tiny = Image.new("RGB", (8, 8))
        for quality in range(100, 0, -1):
            if _tables(tiny, quality) == tables:
                return quality
    elif not (kind == "WEBP" and data is not None and b"VP8 " in _chunks(data)):
        return None
    raise InputError(
        f"{name}: a lossy {kind} that does not say its quality; PNG, lossless WebP or a JPEG of a plain quality "
        "accepted; say with which quality to write, or choose another format"
    )


def _tables(image: Image.Image, quality: int) -> Any:
    """The quantisation tables of a JPEG of this quality."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).quantization  # type: ignore[attr-defined]


def _chunks(data: bytes) -> Iterator[bytes]:
    """The names of the chunks of a WebP file, in their order. Source: RIFF, as in RFC 9649, section 2.3."""
    at = 12
    while at + 8 <= len(data):
        yield data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
