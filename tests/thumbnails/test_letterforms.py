"""Letters are told by their shapes: those of the font are alike, those of others are not."""

import numpy as np
import pytest

from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.design import Design, Lettering
from recast.thumbnails.fitting import fit
from recast.thumbnails.kit import Font, Rules, StrokeStyle, TextStyle
from recast.thumbnails.letterforms import SAME, likeness
from recast.thumbnails.render import render
from recast.world import sample
from recast.world.draw import draw
from recast.world.lettering import FONTS

BASE = Picture(draw(sample.scene(3, kind="photo"), 640, 360))
STYLE = TextStyle(fill="#FFE14A", stroke=StrokeStyle(color="#101018", px=12))


def fitted(font: str, title: str) -> Lettering:
    return fit(
        title, Font(role="headline", file=FONTS[font].path, license="OFL-1.1"), STYLE,
        area=Box(0.1, 0.2, 0.5, 0.8), rules=Rules(),
    )  # fmt: skip


def lettered(font: str) -> tuple[np.ndarray, list[tuple[str, Box]]]:
    """A picture with a title of two lines, and each line with a box as wide as readers have them."""
    made = fitted(font, "GREAT NEWS")
    lines = [(line.text, line.box.grown(0.02, 0.35 * line.box.height)) for line in made.lines]
    return render(Design(base=BASE, lettering=made), width=640, height=360).rgb, lines


@pytest.mark.parametrize("font", ["anton", "slab"])
def test_letters_are_those_of_their_font_and_of_no_other(font):
    rgb, lines = lettered(font)
    for name in ("anton", "slab", "rounded"):
        found = max(likeness(rgb, text, box, FONTS[name].path).value for text, box in lines)
        assert found > SAME - 0.05 if name == font else found < SAME - 0.15


def test_the_colour_is_that_of_the_letters():
    rgb, lines = lettered("anton")
    colour = likeness(rgb, *lines[0], FONTS["anton"].path).colour
    levels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    assert levels == pytest.approx([0xFF, 0xE1, 0x4A], abs=8)


def test_squeezed_letters_are_less_alike():
    rgb, lines = lettered("anton")
    text, box = lines[0]
    squeezed = Box(box.left, box.top, box.left + 1.8 * box.width, box.bottom)
    left, top, right, bottom = box.pixels(width=640, height=360)
    wide = rgb.copy()
    wide[top:bottom, left : left + 2 * (right - left)] = np.repeat(rgb[top:bottom, left:right], 2, axis=1)
    assert (
        likeness(wide, text, squeezed, FONTS["anton"].path).value
        < 0.7 * likeness(rgb, *lines[0], FONTS["anton"].path).value
    )


def test_spaces_that_a_reader_leaves_out_or_sees_change_nothing():
    rgb = render(Design(base=BASE, lettering=fitted("anton", "I QUIT")), width=640, height=360).rgb
    line = fitted("anton", "I QUIT").lines[0]
    box = line.box.grown(0.02, 0.35 * line.box.height)
    values = [likeness(rgb, text, box, FONTS["anton"].path).value for text in ("I QUIT", "IQUIT", "I Q UIT")]
    assert line.text == "I QUIT"
    assert values[0] > SAME - 0.05
    assert values == pytest.approx([values[0]] * 3, abs=0.001)


def test_what_the_font_cannot_write_has_no_answer():
    rgb, lines = lettered("anton")
    assert likeness(rgb, "日本", lines[0][1], FONTS["anton"].path) is None
    assert likeness(np.full_like(rgb, 90), *lines[0], FONTS["anton"].path) is None
