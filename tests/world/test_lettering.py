"""Titles: where glyphs stand, what is painted, and that it is the same bytes everywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from recast.errors import InputError
from recast.world import lettering
from recast.world.lettering import CAPS, CHARACTERS, FONTS, SIZES
from recast.world.scene import COLOURS, Title

DIGEST = """
import hashlib, numpy as np
from recast.world import lettering
from recast.world.scene import Title
pixels = np.full((144, 256, 3), 90, np.uint8)
for font in lettering.FONTS:
    for tilt in (-6, 0, 6):
        lettering.paint(pixels, Title(text="Größe 7?", font=font, tilt=tilt, plate="red", place="bottom"))
        lettering.paint(pixels, Title(text="It's ON", font=font, tilt=tilt, outline="none"))
print(hashlib.sha256(pixels.tobytes()).hexdigest())
"""


def plan(text: str, font: str = "anton", width: int = 256, height: int = 256, **how: object) -> lettering.Layout:
    options = {"place": "top", "size": "large", "tilt": 0} | how
    return lettering.layout(text, font, width, height, **options)  # type: ignore[arg-type]


def painted(title: Title, width: int = 256, height: int = 256, grey: int = 90) -> np.ndarray:
    pixels = np.full((height, width, 3), grey, np.uint8)
    lettering.paint(pixels, title)
    return pixels


def digest(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", DIGEST], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("font", FONTS)
def test_every_font_draws_every_character_but_the_space(font: str) -> None:
    lacking = lettering.glyph(font, 64, 0, "\uffff").fill.tobytes()  # the box drawn for what a font lacks
    for c in CHARACTERS.replace(" ", ""):
        fill = lettering.glyph(font, 64, 0, c).fill
        assert fill.max() == 255, c
        assert fill.tobytes() != lacking, c


@pytest.mark.parametrize("font", FONTS)
def test_every_face_has_its_licence_beside_it(font: str) -> None:
    licence = FONTS[font].path.with_suffix(".LICENSE.txt").read_text()
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence or "Apache License" in licence
    assert "with Reserved Font Name" not in licence


def test_bytes_do_not_depend_on_threads_or_hash_seed() -> None:
    assert digest(OMP_NUM_THREADS="1", PYTHONHASHSEED="1") == digest(OMP_NUM_THREADS="4", PYTHONHASHSEED="7")


def test_bytes_are_those_that_were_stored() -> None:
    """Of Pillow 13.0.0 with FreeType 2.14.3. Another FreeType may move an edge: draw the world anew, then store."""
    assert digest() == STORED


def test_pens_advance_by_whole_pixels_of_the_fonts_own_table() -> None:
    got = plan("AVAVA", "archivo")
    advance = lettering.advances("archivo", got.em)
    steps = [b.x - a.x for a, b in zip(got.glyphs, got.glyphs[1:], strict=False)]
    assert steps == [advance[c] for c in "AVAV"]


@pytest.mark.parametrize("size", SIZES)
def test_a_short_title_takes_its_nominal_size(size: str) -> None:
    assert lettering.cap_px("anton", plan("Hi", size=size).em) == pytest.approx(SIZES[size] * 256, abs=1)


def test_a_long_word_steps_down_the_ladder_until_it_fits() -> None:
    got = plan("UNBELIEVABLE", "slab", size="huge")
    em_of = {cap: lettering.em_px("slab", cap, 256, 256) for cap in CAPS}
    step = next(cap for cap in CAPS if em_of[cap] == got.em)
    larger = CAPS[CAPS.index(step) - 1]
    widths = {cap: sum(lettering.advances("slab", em_of[cap])[c] for c in "UNBELIEVABLE") for cap in (step, larger)}
    assert widths[step] <= lettering.SPAN * 256 < widths[larger]


def test_a_line_that_would_shrink_is_broken_where_its_longest_part_is_shortest() -> None:
    assert plan("to be in Freiburg", "slab", size="huge").lines == ("to be in", "Freiburg")
    assert plan("you\nwill", "slab", size="medium").lines == ("you", "will")


@pytest.mark.parametrize("align", ["left", "center", "right"])
def test_a_title_stands_where_its_alignment_says(align: str) -> None:
    got = plan("ABC", align=align)
    end = got.glyphs[-1].x + lettering.advances("anton", got.em)["C"]
    before, after = got.glyphs[0].x, 256 - end
    assert {"left": before < after, "center": abs(before - after) <= 1, "right": before > after}[align]


@pytest.mark.parametrize(("tilt", "sign"), [(-6, 1), (0, 0), (6, -1)])
def test_a_tilt_raises_or_lowers_pens_along_the_line(tilt: int, sign: int) -> None:
    glyphs = plan("TITLE", tilt=tilt).glyphs
    assert np.sign(glyphs[-1].y - glyphs[0].y) == sign


def test_no_accent_or_descender_leaves_the_picture() -> None:
    for font in FONTS:
        for place in ("top", "bottom"):
            got = plan("ÑÄg", font, size="huge", place=place)
            padded = lettering.coverage(got, (256, 256))[0]
            inside = sum(int(lettering.glyph(font, got.em, 0, c).fill.sum()) for c in "ÑÄg")
            assert int(padded.sum()) >= 0.98 * inside, (font, place)


def test_letters_show_exactly_their_colours_and_nothing_changes_outside_the_extent() -> None:
    title = Title(text="HOLD", font="archivo", colour="yellow", outline="blue", plate="red", tilt=6)
    pixels = painted(title)
    fill, outline, _ = lettering.coverage(plan("HOLD", "archivo", tilt=6), (256, 256))
    assert (pixels[fill == 255] == COLOURS["yellow"]).all()
    assert (pixels[(outline == 255) & (fill == 0)] == COLOURS["blue"]).all()
    changed = (pixels != 90).any(2)
    extent = lettering.extent(title, 256, 256) > 0
    assert changed.any()
    assert not (changed & ~extent).any()


def test_a_shadow_falls_to_the_right_and_down_of_letters_without_outline() -> None:
    pixels = painted(Title(text="I", font="anton", colour="white", outline="none"))
    dark = np.argwhere((pixels < 90).all(2)).mean(0)
    light = np.argwhere((pixels > 200).all(2)).mean(0)
    assert (dark > light).all()


@pytest.mark.parametrize(
    ("text", "named"), [("Ω", "Ω"), ("a  b", "one space"), (" a", "one space"), ("", "one space"), ("a\n", "one space")]
)
def test_text_that_no_picture_can_show_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        plan(text)


def test_a_title_that_does_not_fit_at_the_smallest_size_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit"):
        plan("W" * 40)


@pytest.mark.parametrize(
    "wrong", [{"font": "comic"}, {"size": "tiny"}, {"place": "left"}, {"align": "top"}, {"tilt": 5}]
)
def test_an_unknown_choice_is_refused_with_those_accepted(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))}=.* accepted"):
        plan("A", **wrong)


STORED = "0c14635a6382d8bd9fefee7c2474923663f19bdc24c82b3d64da804be718f3ab"


def test_the_digest_is_of_pixels() -> None:
    assert len(hashlib.sha256(b"").hexdigest()) == len(STORED)
