"""Marks are seen, are told apart, show what they should, and hide no face."""

import itertools

import numpy as np
import pytest

from recast.errors import InputError
from recast.world.draw import marks
from recast.world.draw.canvas import Canvas
from recast.world.draw.people import head
from recast.world.scene import BRIGHT, COLOURS, CORNERS, LOGOS, PLACES, Character, Mark, Scene, Thing

GRAY = (120, 124, 130)


def marked(mark: Mark, scene: Scene | None = None, width: int = 256, height: int = 144) -> np.ndarray:
    canvas = Canvas(width, height, GRAY)
    marks.draw(canvas, mark, scene or Scene())
    return canvas.finished()


def touched(pixels: np.ndarray) -> np.ndarray:
    return (pixels != GRAY).any(2)


def all_marks() -> list[Mark]:
    found = [Mark(kind="border", colour=colour, place="all") for colour in BRIGHT]
    found += [Mark(kind=k, colour=c, place=p) for k in ("arrow", "circle") for c in BRIGHT for p in PLACES]
    for kind, shape, place in itertools.product(("sticker", "logo"), LOGOS, (*CORNERS, "center")):
        found += [Mark(kind=kind, shape=shape, colour=colour, place=place) for colour in BRIGHT]
    return found


def test_every_kind_colour_shape_and_place_is_another_picture() -> None:
    """Apart by at least 40 squared levels summed over 1000 pixels: 31 dB of noise cannot turn one into the other."""
    seen = [marked(mark, width=128, height=72) for mark in all_marks()]
    flat = np.stack(seen).reshape(len(seen), -1).astype(np.float32)
    squares = (flat**2).sum(1)
    distance = squares[:, None] + squares[None] - 2 * flat @ flat.T
    np.fill_diagonal(distance, np.inf)
    assert distance.min() > 40_000, [all_marks()[i] for i in np.unravel_index(distance.argmin(), distance.shape)]


@pytest.mark.parametrize("colour", BRIGHT)
def test_a_mark_shows_its_colour_as_it_is(colour: str) -> None:
    for kind, place in (("arrow", "left"), ("circle", "right"), ("sticker", "top left"), ("logo", "bottom right")):
        pixels = marked(Mark(kind=kind, colour=colour, place=place))
        assert (pixels == COLOURS[colour]).all(2).sum() > 60, kind


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("aspect", [(144, 144), (256, 144)])
@pytest.mark.parametrize("kind", ["arrow", "circle"])
def test_no_mark_covers_a_face(place: str, aspect: tuple[int, int], kind: str) -> None:
    for others in (
        (),
        tuple(Character(place=each) for each in ("left", "right") if place != "center" and each != place),
    ):
        scene = Scene(characters=(Character(place=place), *others))
        pixels = marked(Mark(kind=kind, colour="red", place=place), scene, *aspect)
        for character in scene.characters:
            x, y, unit = (value * aspect[1] for value in head(character, aspect[0] / aspect[1]))
            columns, rows = np.arange(aspect[0])[None] - x, np.arange(aspect[1])[:, None] - y
            face = (columns / (0.13 * unit)) ** 2 + (rows / (0.17 * unit)) ** 2 < 1
            assert not (touched(pixels) & face).any()


@pytest.mark.parametrize("place", PLACES)
def test_arrow_and_circle_go_to_what_stands_at_their_place(place: str) -> None:
    others = [each for each in PLACES if each != place]
    cases = (
        Scene(characters=(Character(place=place),)),
        Scene(things=(Thing(place=others[0]), Thing(place=place, size="big"))),
        Scene(things=(Thing(place=place, size="small"),)),
        Scene(background="photograph"),
    )
    for scene in cases:
        (x, y), radius, _ = marks.shown(scene, place, 16 / 9)
        ring = touched(marked(Mark(kind="circle", colour="green", place=place), scene))
        ys, xs = np.nonzero(ring)
        assert abs((xs.min() + xs.max()) / 2 / 144 - x) < 0.06
        assert not ring[min(143, int(y * 144)), int(x * 144)]
        arrow = touched(marked(Mark(kind="arrow", colour="green", place=place), scene))
        ys, xs = np.nonzero(arrow)
        nearest = np.hypot((xs + 0.5) / 144 - x, (ys + 0.5) / 144 - y).min()
        assert 0.5 * radius < nearest < 1.1 * radius


def test_corners_are_where_they_are_called() -> None:
    for kind, place in itertools.product(("sticker", "logo"), CORNERS):
        ys, xs = np.nonzero(touched(marked(Mark(kind=kind, place=place))))
        assert (ys.max() < 48) if place.startswith("top") else (ys.min() > 96)
        assert (xs.max() < 64) if place.endswith("left") else (xs.min() > 192)
        assert min(ys.min(), xs.min(), 143 - ys.max(), 255 - xs.max()) >= 0


def test_a_border_is_all_around_and_nowhere_else() -> None:
    pixels = touched(marked(Mark(kind="border", colour="blue", place="all")))
    assert pixels[:5].all()
    assert pixels[-5:].all()
    assert pixels[:, :5].all()
    assert pixels[:, -5:].all()
    assert not pixels[10:-10, 10:-10].any()


def test_a_sheet_shows_one_logo_large_in_the_middle() -> None:
    pixels = touched(marked(Mark(kind="logo", shape="star", place="center"), Scene(background="plain"), 144, 144))
    assert pixels[72 - 30 : 72 + 30, 72 - 30 : 72 + 30].all()
    assert not pixels[:15].any()


@pytest.mark.parametrize(
    ("mark", "word"),
    [
        (Mark(kind="wave"), "kind='wave'"),
        (Mark(kind="arrow", place="top left"), "place='top left'"),
        (Mark(kind="sticker", place="left"), "place='left'"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_that_names_it(mark: Mark, word: str) -> None:
    with pytest.raises(InputError, match=word):
        marked(mark)
