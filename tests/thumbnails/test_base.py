"""The base of a set: its size, what of it is kept, who is cut out."""

from pathlib import Path

import numpy as np
import pytest

from recast.errors import InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.base import free, given, size_of
from recast.thumbnails.boxes import Box
from recast.thumbnails.brief import Base
from recast.thumbnails.seeing import FoundFace
from recast.thumbnails.subject import people
from recast.world.draw import draw
from recast.world.scene import Character, Scene


@pytest.mark.parametrize(("tokens", "size"), [(256, (336, 192)), (4150, (1376, 768)), (3600, (1280, 720))])
def test_the_largest_grid_near_16_9_is_taken(tokens: int, size: tuple[int, int]):
    width, height = size_of(multiple=16, most_tokens=tokens)
    assert (width, height) == size
    assert width // 16 * (height // 16) <= tokens
    assert abs(width / height / (16 / 9) - 1) <= 0.02


def test_a_frame_of_another_shape_or_with_holes_is_refused(tmp_path: Path):
    path = image.write(np.zeros((90, 150, 3), np.uint8), tmp_path / "a.png")
    with pytest.raises(InputError, match=r"150x90 came; 16:9 accepted, such as 144x81"):
        given(Base(frame=path))
    holes = Picture(np.zeros((90, 160, 3), np.uint8), np.full((90, 160), 100, np.uint8))
    with pytest.raises(InputError, match="has transparent pixels"):
        given(Base(frame=image.write(holes, tmp_path / "b.png")))


def test_boxes_and_cut_outs_are_kept_and_nothing_else(tmp_path: Path):
    picture = Picture(np.zeros((90, 160, 3), np.uint8))
    cut = np.zeros((90, 160, 3), np.uint8)
    cut[10:20, 30:40] = 255
    path = image.write(cut, tmp_path / "cut.png")
    made = free(Base(keep_mask=path, keep_boxes=((50.0, 0.0, 100.0, 50.0),)), picture, None)
    assert made is not None
    kept = made == 0
    assert kept[10:20, 30:40].all()
    assert kept[:45, 80:].all()
    assert kept.sum() == 100 + 45 * 80
    assert free(Base(keep="nothing"), picture, None) is None


def test_a_cut_out_of_another_size_and_people_nobody_can_find_are_errors(tmp_path: Path):
    picture = Picture(np.zeros((90, 160, 3), np.uint8))
    path = image.write(np.zeros((45, 80, 3), np.uint8), tmp_path / "cut.png")
    with pytest.raises(InputError, match="80x45 came; 160x90 accepted"):
        free(Base(keep_mask=path), picture, None)
    with pytest.raises(InputError, match="nothing finds faces"):
        free(Base(), picture, None)
    with pytest.raises(InputError, match="no face in the base"):
        people(picture.rgb, [])


class One:
    name, limit, smallest_px = "one", 0.5, 8

    def faces(self, rgb: np.ndarray) -> list[FoundFace]:
        return [FoundFace(Box(0.645, 0.25, 0.785, 0.62), 0.9, np.ones(1))]


@pytest.mark.parametrize("background", ["studio", "rays", "beach"])
def test_a_person_is_cut_out_by_the_face(background: str):
    """Overlap with the drawing's own person; chance is about a quarter."""
    person = Character(hair="long", outfit="hoodie", shirt="teal", pose="pointing", place="right", scale=1.25)
    picture = draw(Scene(background=background, variant=3, characters=(person,)), width=320, height=180)
    with_, without = (
        draw(Scene(background="plain", characters=each), width=320, height=180).astype(int) for each in ((person,), ())
    )
    truth = np.abs(with_ - without).sum(-1) > 0
    made = free(Base(), Picture(picture), One())
    assert made is not None
    found = made == 0
    assert (found & truth).sum() / (found | truth).sum() > 0.8
    assert np.array_equal(found, people(picture, [One().faces(picture)[0].box]))
