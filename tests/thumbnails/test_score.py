"""The brand score: each part falls with what is broken and with nothing else; what is absent is weighed out."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from recast.pixels import image
from recast.pixels.image import Picture, write
from recast.thumbnails import logos
from recast.thumbnails.boxes import Box
from recast.thumbnails.design import Design
from recast.thumbnails.fitting import fit
from recast.thumbnails.identity import Sheet
from recast.thumbnails.kit import SCORES, Kit, read_kit
from recast.thumbnails.learn import learn
from recast.thumbnails.render import render
from recast.thumbnails.score import Part, Score, brand_score
from recast.thumbnails.seeing import FoundFace, ReadLine, Sight
from recast.thumbnails.seen import see
from recast.thumbnails.templates import BRAND
from tests.thumbnails.channel import files, picture

SHEET = Sheet("host", np.eye(4)[:1], 0.5, "told")


class Told:
    """One face, told: where it is, and its cosine to the character's first reference."""

    name, limit, smallest_px = "told", 0.5, 1

    def __init__(self, cosine: float = 0.9, left: float = 0.6) -> None:
        self.cosine, self.left = cosine, left

    def faces(self, rgb: np.ndarray) -> list[FoundFace]:
        vector = np.array([self.cosine, np.sqrt(1 - self.cosine**2), 0, 0])
        return [FoundFace(Box(self.left, 0.2, self.left + 0.3, 0.9), 1.0, vector)]


@pytest.fixture(scope="module")
def channel(tmp_path_factory) -> tuple[Kit, list[np.ndarray]]:
    """A kit whose palette and look are learned from five pictures, and three more of the channel."""
    folder: Path = files(tmp_path_factory.mktemp("channel"))
    (folder / "brand.yaml").write_text(BRAND)
    kit = read_kit(folder / "brand.yaml")
    past = [write(picture(seed, width=640, height=360), folder / f"{seed}.png") for seed in range(5)]
    draft = learn(past, name="x")
    (folder / "brand.style.json").write_bytes(draft.habits.to_json())
    look = replace(draft.kit.look, style=folder / "brand.style.json")
    style = replace(kit.text_style, fill="#F5F5F5", stroke=replace(kit.text_style.stroke, color="#0B0B0F"))
    kit = replace(kit, palette=draft.kit.palette, look=look, text_style=style)
    return kit, [picture(seed, width=640, height=360) for seed in (10, 11, 12)]


def designed(kit: Kit, rgb: np.ndarray) -> Design:
    """A picture with a title and the logo as the kit has them."""
    style = replace(kit.text_style, fill=kit.colour(kit.text_style.fill))
    letters = fit("I QUIT", kit.fonts[0], style, area=Box(0.08, 0.45, 0.5, 0.6))
    logo = logos.read(kit.logo.file).at(Box(0.08, 0.1, 0.2, 0.1 + 0.12 * 16 / 9))
    return Design(base=Picture(rgb), lettering=letters, logo=logo, layout="face-right")


def scored(kit: Kit, rgb: np.ndarray, **changes) -> Score:
    """The score of a picture with the kit's title and logo; changes are of the design."""
    design = replace(designed(kit, rgb), **changes)
    flat = render(design, width=640, height=360).rgb
    return brand_score(flat, kit, sight=Sight(faces=Told()), design=design, sheets=[SHEET])


def parts(score: Score) -> dict[str, float | None]:
    return {each.name: each.value for each in score.parts}


def test_the_parts_are_those_of_the_channel_and_weigh_a_hundred(channel):
    kit, own = channel
    made = scored(kit, own[0])
    assert [each.name for each in made.parts] == list(SCORES)
    assert sum(each.weight for each in made.parts) == 100
    assert made.measured == 1
    assert made.value == pytest.approx(sum(each.value * each.weight for each in made.parts) / 100)
    assert {name: value for name, value in parts(made).items() if value < 70} == {}
    assert made.to_dict()["parts"][0]["name"] == "palette"


def test_absent_parts_are_weighed_out():
    known = {"palette": 80.0, "look": 40.0}
    made = Score(parts=tuple(Part(name=name, weight=w, value=known.get(name), reason="") for name, w in SCORES.items()))
    assert made.value == 60
    assert made.measured == 0.4


def test_of_nothing_there_is_no_score(tmp_path):
    made = brand_score(picture(1), Kit(name="empty", folder=tmp_path))
    assert made.value is None
    assert made.novelty is None
    assert all(each.reason and each.value is None for each in made.parts)


def test_another_palette_lowers_palette_and_look_alone(channel):
    kit, own = channel
    whole, curve = scored(kit, own[0]), []
    for ground in ((30, 80, 150), (60, 110, 120), (120, 120, 60), (220, 110, 40)):
        made = scored(kit, picture(10, ground=ground, width=640, height=360))
        curve.append(made.part("palette").value)
        for name in ("logo", "layout", "identity", "typography"):
            assert made.part(name).value == pytest.approx(whole.part(name).value, abs=1)
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] < whole.part("palette").value - 40
    assert made.part("look").value < whole.part("look").value - 30
    assert made.part("palette").fix.startswith("#")


@pytest.mark.parametrize("change", ["font", "fill", "stroke", "shadow", "case"])
def test_other_letters_lower_typography_alone(change, channel):
    kit, own = channel
    design = designed(kit, own[0])
    letters = design.lettering
    other = {
        "font": {"font": "other.ttf"},
        "fill": {"fill": "#30D040"},
        "stroke": {"stroke": None},
        "shadow": {"shadow": None},
        "case": {"lines": tuple(replace(line, text=line.text.lower()) for line in letters.lines)},
    }[change]
    whole, made = scored(kit, own[0]), scored(kit, own[0], lettering=replace(letters, **other))
    assert made.part("typography").value < whole.part("typography").value - 5
    assert made.part("typography").reason != whole.part("typography").reason
    for name in ("logo", "layout", "identity"):
        assert made.part(name).value == whole.part(name).value


def test_a_missing_moved_or_shrunken_logo_lowers_logo_alone(channel):
    kit, own = channel
    logo = designed(kit, own[0]).logo
    whole = scored(kit, own[0])
    values = [whole.part("logo").value]
    for box in (Box(0.35, 0.1, 0.47, 0.31), Box(0.8, 0.7, 0.92, 0.91), None):
        made = scored(kit, own[0], logo=box and replace(logo, box=box))
        values.append(made.part("logo").value)
        assert made.part("layout").value == whole.part("layout").value
    assert values == sorted(values, reverse=True)
    assert values[0] > 95
    assert values[-1] == 0
    assert "not found" in made.part("logo").reason


def test_a_logo_is_found_in_a_flat_picture(channel):
    kit, own = channel
    flat = render(replace(designed(kit, own[0]), lettering=None), width=640, height=360).rgb
    part = brand_score(flat, kit).part("logo")
    assert part.value > 80
    assert "found with a correlation" in part.reason
    assert brand_score(own[0], kit).part("logo").value < 20


def test_a_face_outside_its_area_lowers_layout(channel):
    kit, own = channel
    kit = replace(kit, layouts=kit.layouts[:1], logo=None)
    values = [
        brand_score(own[0], kit, sight=Sight(faces=Told(left=left)), sheets=[SHEET]).part("layout").value
        for left in (0.6, 0.5, 0.4, 0.2)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 95
    assert values[-1] < 10


def test_identity_falls_with_the_similarity_and_is_fifty_at_the_limit(channel):
    kit, own = replace(channel[0], logo=None), channel[1]
    values = [
        brand_score(own[0], kit, sight=Sight(faces=Told(cosine)), sheets=[SHEET]).part("identity").value
        for cosine in (0.95, 0.6, 0.5, 0.4, 0.1)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] == 100
    assert values[2] == pytest.approx(50)
    assert values[-1] == 0


def test_without_a_recogniser_identity_is_absent_and_says_why(channel):
    kit, own = replace(channel[0], logo=None), channel[1]
    part = brand_score(own[0], kit, sight=Sight(why={"faces": "no weights"})).part("identity")
    assert part.value is None
    assert part.reason == "no weights"


def test_novelty_is_nothing_for_a_picture_that_was_learned_and_much_for_another(channel):
    kit, own = replace(channel[0], logo=None), channel[1]
    known = picture(2, width=640, height=360)
    assert brand_score(known, kit).novelty == pytest.approx(0, abs=0.1)
    assert brand_score(own[1], kit).novelty > 5
    assert brand_score(picture(1, ground=(230, 120, 40)), kit).novelty == 100


class Reader:
    """A title, told: how sure of it, how high."""

    name = "told"

    def __init__(self, score: float = 0.9, height: float = 0.2, text: str = "I QUIT") -> None:
        self.line = ReadLine(text, Box(0.08, 0.45, 0.5, 0.45 + height), score)

    def read(self, rgb: np.ndarray) -> list[ReadLine]:
        return [self.line]


@pytest.mark.parametrize("readers", [
    [Reader(score=0.45 + 0.02 * i) for i in range(16)], [Reader(height=0.05 + 0.004 * i) for i in range(16)],
], ids=["sure", "high"])  # fmt: skip
def test_a_title_comes_and_goes_without_a_jump(readers, channel):
    kit, own = replace(channel[0], logo=None), channel[1]
    values = []
    for reader in readers:
        lines = see(own[0], Sight(text=reader)).weighed_lines
        layout = brand_score(own[0], replace(kit, fonts=()), sight=Sight(text=reader)).part("layout")
        values.append((sum(weight for _, weight in lines), layout.value))
    weights, layouts = np.array(values).T
    assert weights[0] == layouts[0] == 0
    assert weights[-1] == 1
    assert layouts[-1] > 50
    assert np.abs(np.diff(weights)).max() < 0.11
    assert np.abs(np.diff(layouts)).max() < 11


def test_a_title_that_is_half_read_counts_half():
    said = [
        Part(name="look", weight=20, value=100.0, reason=""),
        Part(name="typography", weight=20, value=0.0, reason=""),
    ]
    assert Score(parts=(said[0], replace(said[1], sure=0.5))).value == pytest.approx(100 * 20 / 30)
    assert Score(parts=(said[0], replace(said[1], sure=0.0))).value == 100
    assert Score(parts=(said[0], replace(said[1], sure=0.5))).measured == 0.75


def test_letters_of_one_shape_say_nothing_about_case(channel):
    kit, own = channel
    kit = replace(kit, logo=None, fonts=(replace(kit.fonts[0], case="upper"),))
    flat = render(designed(channel[0], own[0]), width=640, height=360).rgb
    case = {}
    for text in ("NO WAY", "No wAY", "nO WAY"):
        reader = Reader(text=text)
        case[text] = brand_score(flat, kit, sight=Sight(text=reader)).part("typography").numbers["case"]
    assert case == {"NO WAY": 100, "No wAY": 100, "nO WAY": 50}


def test_size_and_compression_change_little(channel):
    kit, own = channel
    flat = render(designed(kit, own[0]), width=640, height=360).rgb
    whole = brand_score(flat, kit).value
    others = [image.read(image.encode(flat, "jpg", quality=90)).rgb]
    others += [cv2.resize(flat, (608, 342), interpolation=cv2.INTER_AREA)]
    assert [brand_score(each, kit).value for each in others] == pytest.approx([whole] * 2, abs=2)
