"""The picture that all variants of a set share: a given frame, the frame edited, or one made from words."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.brief import Base
from recast.thumbnails.cut_out import cut_out
from recast.thumbnails.export import frame
from recast.thumbnails.seeing import SeesFaces
from recast.thumbnails.subject import people
from recast.thumbnails.variants import Step

ASPECT = 16 / 9
MASTER_PX = (1280, 720)
"""Width and height that a generated base is brought to; a given frame keeps its own."""


def size_of(*, multiple: int, most_tokens: int) -> tuple[int, int]:
    """Width and height to generate at: the largest grid within 2 % of 16:9 with at most `most_tokens` tokens, each of
    multiple x multiple pixels.
    """
    grids = [(rows, most_tokens // rows) for rows in range(1, most_tokens + 1)]
    near = [(rows, columns) for rows, most in grids for columns in range(1, most + 1)]
    rows, columns = min(near, key=lambda grid: (abs(grid[1] / grid[0] / ASPECT - 1) > 0.02, -grid[0] * grid[1]))
    return columns * multiple, rows * multiple


def given(base: Base) -> Picture:
    """The frame of a brief. Raises InputError unless it is 16:9."""
    assert base.frame is not None
    picture = image.read(base.frame, name="base.frame")
    if picture.width * 9 != picture.height * 16:
        near = max(1, round(picture.width / 16))
        raise InputError(
            f"{base.frame}: {picture.width}x{picture.height} came; 16:9 accepted, such as {16 * near}x{9 * near}; "
            "crop it, so that you choose what is left out"
        )
    if picture.alpha is not None and picture.alpha.min() < 255:
        raise InputError(f"{base.frame}: has transparent pixels; an opaque frame accepted; lay it on a background")
    return picture


def generated(
    base: Base,
    generator: Any,
    *,
    size: tuple[int, int],
    references: Mapping[str, Sequence[Any]],
    seed: int,
    steps: int | None,
) -> Generator[Step, None, tuple[Picture, Any, list[str]]]:
    """A base from words: the picture at MASTER_PX, the result it came from, and what was done to it on the way.

    With references the model edits them: their pictures are the context (the first is the source), and the size is its
    own, which is then cut to 16:9.
    """
    width, height = size
    options = {"seed": seed} if steps is None else {"seed": seed, "steps": steps}
    if references:
        (name, (source, *more)), *others = references.items()
        prompt = re.sub(rf"@{re.escape(name)}\b(?!-)", "image 1", str(base.prompt))
        named = {"references": {**({name: more} if more else {}), **dict(others)}}
        run = generator.start_edit(source, prompt, size=size, preserve="off", **named, **options)
    else:
        run = generator.start_generate(base.prompt, width=width, height=height, **options)
    for step, _ in enumerate(run, start=1):
        yield Step("base", step, run.of, "from words")
    picture = run.result.pictures[0]
    left, top, right, bottom = frame(picture, ASPECT)
    notes = [f"made at {picture.width}x{picture.height}"]
    if (right - left, bottom - top) != (picture.width, picture.height):
        notes.append(f"cut to {right - left}x{bottom - top}, which is 16:9")
    resized = picture.to_pil().convert("RGB").resize(MASTER_PX, resample=3, box=(left, top, right, bottom))
    notes.append(f"enlarged to {MASTER_PX[0]}x{MASTER_PX[1]}")
    return Picture(np.asarray(resized)), run.result, notes


def free(base: Base, picture: Picture, faces: SeesFaces | None) -> np.ndarray | None:
    """Where edits may change the base: (H, W) uint8, 255 where they may; None where nothing is kept.

    What a cut-out, boxes and people hold is kept; a cut-out counts instead of the people found.
    Raises InputError for a cut-out of another size, and where people are to be kept and nothing finds faces.
    """
    kept = np.zeros((picture.height, picture.width), bool)
    if base.keep_mask is not None:
        kept |= cut_out(base.keep_mask, size=(picture.width, picture.height))
    elif base.keep == "characters":
        if faces is None:
            raise InputError(
                "base.keep='characters': nothing finds faces; give keep_mask or keep_boxes, or keep: nothing"
            )
        kept |= people(picture.rgb, [face.box for face in faces.faces(picture.rgb)])
    for sides in base.keep_boxes:
        box = Box(*(side / 100 for side in sides))
        left, top, right, bottom = box.pixels(width=picture.width, height=picture.height)
        kept[top:bottom, left:right] = True
    if not kept.any():
        return None
    return np.where(kept, 0, 255).astype(np.uint8)


def faces_of(picture: Picture, faces: SeesFaces | None) -> Sequence[Box]:
    """The boxes of a picture's faces, largest first; none where nothing finds them."""
    return [] if faces is None else [face.box for face in faces.faces(picture.rgb)]
