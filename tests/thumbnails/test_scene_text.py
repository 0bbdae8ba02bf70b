"""Letters in the scene stay only if they can be read; else the layer, with a note."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recast.errors import ConfigError, GateFailed
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.design import Design
from recast.thumbnails.fitting import fit
from recast.thumbnails.kit import Font, TextStyle
from recast.thumbnails.scene_text import into_the_scene
from recast.thumbnails.seeing import ReadLine
from recast.thumbnails.shaping import bundled
from tests.thumbnails.standins import Result, Run

BASE = Picture(np.full((90, 160, 3), 60, np.uint8))


@pytest.fixture(scope="module")
def design() -> Design:
    font = Font(role="headline", file=bundled("anton"), license="OFL-1.1")
    return Design(base=BASE, lettering=fit("HELLO", font, TextStyle(), area=Box(0.1, 0.1, 0.9, 0.9)))


@dataclass
class Reader:
    says: str
    name: str = "told"

    def read(self, rgb: np.ndarray) -> list[ReadLine]:
        return [ReadLine(self.says, Box(0.2, 0.2, 0.8, 0.8), 0.9), ReadLine("elsewhere", Box(0, 0.95, 0.1, 1), 0.9)]


@dataclass
class Painter:
    refuses: bool = False
    asked: Any = None

    def start_edit(self, source: Any, prompt: str, **options: Any) -> Run:
        self.asked = prompt, options
        if self.refuses:
            raise GateFailed("edited: reframed")
        return Run(2, Result((Picture(np.full((90, 160, 3), 200, np.uint8)),)))


def painted(design: Design, painter: Painter, reader: Reader | None, path: Path) -> Design:
    def work() -> Iterator[Any]:
        found.append((yield from into_the_scene(design, painter, reader, path, seed=3, keeps=True)))

    found: list[Design] = []
    list(work())
    return found[0]


def test_letters_that_are_read_right_stay(design: Design, tmp_path: Path):
    painter = Painter()
    made = painted(design, painter, Reader("HELLO"), tmp_path / "a.png")
    assert made.lettering is None
    assert made.base.rgb.mean() == 200
    assert image.read(tmp_path / "a.png").rgb.mean() == 200
    assert "read as 'HELLO'" in made.notes[-1]


def test_the_model_sees_the_glyphs_and_may_change_their_area_alone(design: Design, tmp_path: Path):
    painter = Painter()
    painted(design, painter, Reader("HELLO"), tmp_path / "a.png")
    words, options = painter.asked
    assert "@title" in words
    assert '"HELLO"' in words
    glyphs = options["references"]["title"]
    assert tuple(glyphs.rgb[0, 0]) == (255, 255, 255)
    assert glyphs.rgb.min() == 0
    ((left, top, right, bottom),) = options["boxes"]
    assert options["preserve"] == "strict"
    dark = np.argwhere(glyphs.rgb[..., 0] < 128)
    assert (top, left) <= tuple(dark.min(0))
    assert (bottom, right) > tuple(dark.max(0))
    assert (right - left) * (bottom - top) < 160 * 90


@pytest.mark.parametrize(
    ("painter", "says", "words"),
    [
        (Painter(), "HALLO", "read as 'HALLO', 20% wrong"),
        (Painter(refuses=True), "HELLO", "could not be set into the scene"),
    ],
)
def test_letters_that_are_not_fall_back_to_the_layer(design: Design, tmp_path: Path, painter, says, words):
    made = painted(design, painter, Reader(says), tmp_path / "a.png")
    assert made.lettering == design.lettering
    assert made.base is design.base
    assert words in made.notes[-1]
    assert image.read(tmp_path / "a.png").rgb.mean() == 60


def test_without_a_reader_nobody_could_tell(design: Design, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no reader of text is there; pip install"):
        painted(design, Painter(), None, tmp_path / "a.png")
