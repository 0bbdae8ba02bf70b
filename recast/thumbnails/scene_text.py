"""Letters set into the scene: the model paints them after a picture of their glyphs; only what can be read stays."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from recast.errors import ConfigError, GateFailed
from recast.pixels import image
from recast.thumbnails.boxes import union
from recast.thumbnails.checks.title import misread
from recast.thumbnails.design import Design
from recast.thumbnails.render import glyph_picture, render
from recast.thumbnails.seeing import ReadsText
from recast.thumbnails.variants import Step

LIMIT_MISREAD = 0.02
"""Edit distance over length up to which painted letters count as right (idea 8: at most 2 % wrong characters)."""


def into_the_scene(
    design: Design,
    generator: Any,
    reader: ReadsText | None,
    path: Path,
    *,
    seed: int,
    keeps: bool,
    steps: int | None = None,
) -> Generator[Step, None, Design]:
    """The design with its lettering painted into the base, written to `path`; or as it came, with a note why.

    The glyphs go in as a context image named title; only the area of the letters may change. Raises ConfigError without
    a reader: nobody could say whether the letters came out right.
    """
    if design.lettering is None:
        image.write(design.base, path)
        return design
    if reader is None:
        raise ConfigError("text_in_scene: no reader of text is there; pip install 'recast[reading]', or leave it out")
    lettering, width, height = design.lettering, design.base.width, design.base.height
    area = union(line.box for line in lettering.lines)
    assert area is not None
    around = area.grown(0.03).pixels(width=width, height=height)
    glyphs = glyph_picture(lettering, width=width, height=height)
    words = f'Set the letters of @title, "{lettering.text}", into the scene, at the same place and size'
    options: dict[str, Any] = {"boxes": [around], "preserve": "strict"} if keeps else {}
    options |= {} if steps is None else {"steps": steps}
    without = replace(design, lettering=None)
    plain = render(replace(without, logo=None), width=width, height=height)
    try:
        run = generator.start_edit(plain, words, references={"title": glyphs}, seed=seed, **options)
        for step, _ in enumerate(run, start=1):
            yield Step("designs", step, run.of, "letters into the scene")
        painted = run.result.pictures[0]
    except GateFailed as error:
        image.write(design.base, path)
        return replace(
            design, notes=(*design.notes, f"letters could not be set into the scene ({error}); a layer instead")
        )
    read = " ".join(line.text for line in reader.read(painted.rgb) if line.box.meets(area))
    wrong = misread(read, lettering.text)
    if wrong > LIMIT_MISREAD:
        image.write(design.base, path)
        note = f"letters in the scene read as {read!r}, {wrong:.0%} wrong; a layer instead"
        return replace(design, notes=(*design.notes, note))
    run.result.save(path)
    return replace(without, base=painted, notes=(*design.notes, f"letters set into the scene, read as {read!r}"))
