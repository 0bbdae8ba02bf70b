"""A kit learned from pictures: what is in all of them is found, and what was written is read back."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from recast.errors import InputError
from recast.pixels.image import write as write_picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.habits import centroid, read_habits
from recast.thumbnails.kit import read_kit
from recast.thumbnails.learn import learn, write
from recast.thumbnails.palette import distances, to_lab
from recast.thumbnails.seeing import FoundFace, ReadLine, Sight
from tests.thumbnails.channel import picture


@dataclass
class Told:
    """Faces and lines that are told by the colour of the first pixel's red channel: the side that a face is on."""

    name: str = "told"
    limit: float = 0.5
    smallest_px: int = 1

    def faces(self, rgb: np.ndarray) -> list[FoundFace]:
        left = 0.6 if rgb[0, 0, 0] < 128 else 0.1
        return [FoundFace(Box(left, 0.2, left + 0.3, 0.8), 0.9, np.array([1.0, 0.0]))]

    def read(self, rgb: np.ndarray) -> list[ReadLine]:
        left = 0.1 if rgb[0, 0, 0] < 128 else 0.5
        lines = [("I QUIT", 0.2), ("MY JOB", 0.4)]
        return [*(ReadLine(text, Box(left, top, left + 0.4, top + 0.15), 0.9) for text, top in lines),
                ReadLine("small print", Box(0, 0.9, 0.2, 0.92), 0.9)]  # fmt: skip


@pytest.fixture(scope="module")
def past(tmp_path_factory) -> list[Path]:
    """Five pictures of a blue channel, and two of it with an orange ground."""
    folder = tmp_path_factory.mktemp("past")
    pictures = [picture(seed) for seed in range(5)] + [picture(seed, ground=(230, 120, 40)) for seed in (5, 6)]
    return [write_picture(each, folder / f"{i}.png") for i, each in enumerate(pictures)]


def test_the_palette_is_what_the_pictures_are_made_of(past):
    kit = learn(past[:5], name="blue").kit
    assert sum(each.share for each in kit.palette) == pytest.approx(1, abs=0.01)
    found = np.stack([to_lab(each.hex) for each in kit.palette])
    for wanted in ("#143CA0", "#FAD228", "#F5F5F5"):
        nearest = distances(to_lab(wanted)[None], found)[0]
        assert nearest.min() < 6
    roles = [each.role for each in kit.palette]
    assert {"primary", "accent", "paper"} <= set(roles)
    assert len(set(roles)) == len(roles)


def test_what_is_learned_is_read_back(past, tmp_path):
    told = Told()
    draft = learn(past, name='blue: "the" channel', sight=Sight(faces=told, text=told))
    brand, style = write(draft, tmp_path / "out")
    kit, habits = read_kit(brand), read_habits(style)
    assert kit.name == draft.kit.name
    assert kit.palette == draft.kit.palette == habits.palette
    assert kit.look.style == style
    assert kit.look.key == draft.kit.look.key
    assert [each.resolve() for each in kit.look.reference_images] == list(draft.kit.look.reference_images)
    assert kit.layouts == draft.kit.layouts
    assert kit.rules == draft.kit.rules
    assert habits.texts == ("I QUIT\nMY JOB",) * 7  # small print is no title


def test_layouts_are_where_face_and_text_lie_together(past):
    told = Told()
    layouts = learn(past, name="x", sight=Sight(faces=told, text=told)).kit.layouts
    assert [each.id for each in layouts] == ["face-right", "face-left"]  # five times, twice
    assert layouts[0].face == Box(0.6, 0.2, 0.9, 0.8)
    assert layouts[0].text == Box(0.1, 0.2, 0.5, 0.55)
    assert layouts[1].text == Box(0.5, 0.2, 0.9, 0.55)


def test_titles_become_rules(past):
    told = Told()
    draft = learn(past, name="x", sight=Sight(text=told))
    assert (draft.kit.rules.max_words, draft.kit.rules.max_lines) == (4, 2)
    assert any("7 of 7 in capitals" in note for note in draft.notes)


def test_what_nobody_looked_for_is_said_to_be_absent(past):
    draft = learn(past, name="x")
    assert draft.kit.layouts == ()
    assert draft.habits.texts is None
    assert any(note.startswith("layouts: absent") for note in draft.notes)


def test_no_picture_vouches_for_itself(past):
    """The odd one out is far from the others, although it is one of those that were learned from."""
    habits = learn([*past[:4], past[5]], name="x").habits
    assert habits.away[4] == pytest.approx(1 - habits.embeddings[4] @ centroid(habits.embeddings[:4]))
    assert np.argmax(habits.away) == 4
    assert np.argmax(habits.moved) == 4
    assert np.argmin(habits.covered) == 4


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_pictures_are_refused(count, past):
    with pytest.raises(InputError, match=rf"pictures: {count} came; at least 3 accepted"):
        learn(past[:count], name="x")


def test_the_same_picture_again_does_not_count(past, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(past[0].read_bytes())
    with pytest.raises(InputError, match="pictures: 2 came that differ"):
        learn([past[0], past[1], copy], name="x")


def test_every_broken_picture_is_named(past, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    tiny = write_picture(np.zeros((8, 8, 3), np.uint8), tmp_path / "tiny.png")
    with pytest.raises(InputError, match=r"broken\.jpg: .*tiny\.png: 8x8 pixels"):
        learn([*past, tmp_path / "broken.jpg", tiny], name="x")


def test_nothing_is_overwritten(past, tmp_path):
    draft = learn(past[:3], name="x")
    (tmp_path / "brand.style.json").write_text("mine")
    with pytest.raises(InputError, match=r"holds a brand\.style\.json"):
        write(draft, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["brand.style.json"]
