"""Who is in a picture: sheets of references, and which face is whose."""

from pathlib import Path

import numpy as np
import pytest

from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.thumbnails.boxes import Box
from recast.thumbnails.identity import Sheet, cast, sheet
from recast.thumbnails.kit import Character
from recast.thumbnails.seeing import FoundFace

BOXES = [Box(0.1, 0.1, 0.4, 0.5), Box(0.5, 0.1, 0.75, 0.45), Box(0.8, 0.1, 0.95, 0.3)]


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, np.float64)
    return vector / np.linalg.norm(vector)


def face(identity: np.ndarray, place: int = 0) -> FoundFace:
    return FoundFace(BOXES[place], 0.9, identity)


class Faces:
    """Tells what it was told to see, file by file, by the first pixel's value."""

    name, limit, smallest_px = "told", 0.8, 20

    def __init__(self, seen: dict[int, list[FoundFace]]) -> None:
        self.seen = seen

    def faces(self, rgb: np.ndarray) -> list[FoundFace]:
        return self.seen[int(rgb[0, 0, 0])]


def picture(folder: Path, value: int) -> Path:
    return image.write(np.full((100, 100, 3), value, np.uint8), folder / f"{value}.png")


ANA, BEN = unit(1, 0, 0), unit(0, 1, 0)
SHEETS = [Sheet("ana", ANA[None], 0.8, "told"), Sheet("ben", BEN[None], 0.8, "told")]
NOTHING = np.zeros((10, 10, 3), np.uint8)


def seen(*faces: FoundFace, sheets: list[Sheet] = SHEETS):
    return cast(NOTHING, sheets, Faces({}), found=list(faces))


def test_each_character_gets_the_face_that_is_most_alike():
    found = seen(face(unit(0.1, 1, 0), 0), face(unit(1, 0.1, 0), 1))
    assert [each.box for each in found.matches] == [BOXES[1], BOXES[0]]
    assert found.holds
    assert found.reason() == ""


def test_two_do_not_share_one_face_even_if_both_like_it_best():
    """Each of the two is nearest to the first face; the sum decides who has to take the other."""
    both = unit(1, 0.9, 0)
    found = seen(face(both, 0), face(unit(0.4, 1, 0.8), 1))
    assert {each.character: each.box for each in found.matches} == {"ana": BOXES[0], "ben": BOXES[1]}


def test_who_is_missing_has_no_similarity_and_a_reason():
    found = seen(face(ANA))
    assert [each.similarity for each in found.matches] == [pytest.approx(1), None]
    assert not found.holds
    assert found.reason() == "ben: no face found"


def test_below_the_limit_it_is_somebody_else():
    found = seen(face(unit(1, 1, 0)), sheets=SHEETS[:1])
    assert not found.holds
    assert found.reason() == "ana: similarity 0.71, limit 0.80"


def test_faces_of_nobody_are_told():
    found = seen(face(ANA, 0), face(unit(0, 0, 1), 2), sheets=SHEETS[:1])
    assert found.others == (BOXES[2],)
    assert seen(face(ANA), sheets=[]).others == (BOXES[0],)


def test_a_sheet_takes_the_limit_of_the_recogniser_or_the_kits(tmp_path: Path):
    faces = Faces({1: [face(ANA)], 2: [face(unit(1, 0.2, 0))]})
    made = Character(id="ana", references=(picture(tmp_path, 1), picture(tmp_path, 2)))
    assert sheet(made, faces).limit == 0.8
    assert sheet(Character(id="ana", references=made.references, identity_min=0.5), faces).limit == 0.5
    assert sheet(made, faces).similarity(unit(1, 0.2, 0)) == pytest.approx(1)


def test_a_reference_of_somebody_else_is_named(tmp_path: Path):
    faces = Faces({1: [face(ANA)], 2: [face(ANA)], 3: [face(BEN)]})
    wrong = Character(id="ana", references=tuple(picture(tmp_path, i) for i in (1, 2, 3)))
    with pytest.raises(InputError, match=r"3\.png: not the person of ana's other references \(similarity 0\.00"):
        sheet(wrong, faces)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], r"1\.png: no face found for ana"),
        ([FoundFace(Box(0, 0, 0.1, 0.1), 0.9, ANA)], r"the face of ana is 10 pixels high; from 20 accepted"),
        ([face(ANA, 0), face(BEN, 1)], r"2 faces of like size; a picture of ana alone accepted"),
    ],
)
def test_a_reference_that_does_not_show_one_face_is_refused(tmp_path: Path, found: list[FoundFace], words: str):
    with pytest.raises(InputError, match=words):
        sheet(Character(id="ana", references=(picture(tmp_path, 1),)), Faces({1: found}))


def test_a_small_passer_by_does_not_spoil_a_reference(tmp_path: Path):
    faces = Faces({1: [face(ANA, 0), face(BEN, 2)]})
    assert sheet(Character(id="ana", references=(picture(tmp_path, 1),)), faces).identities.shape == (1, 3)


def test_a_character_without_references_is_an_error():
    with pytest.raises(ConfigError, match="none came"):
        sheet(Character(id="ana", references=()), Faces({}))
