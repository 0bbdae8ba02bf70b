"""Claims of the checks of zones, text, faces, look, brand and proof: where each verdict begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recast.errors import ConfigError
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.checks import Evidence, Expected, Limits, check
from recast.thumbnails.checks.faces import face_blur
from recast.thumbnails.checks.look import across_outline
from recast.thumbnails.checks.title import in_order, misread, plain, read_title
from recast.thumbnails.design import Design, Lettering, Line
from recast.thumbnails.identity import Sheet
from recast.thumbnails.kit import Character, Kit, Rules
from recast.thumbnails.profiles import profile
from recast.thumbnails.seeing import FoundFace, ReadLine, Sight
from recast.thumbnails.subject import people
from tests.thumbnails.checks.good import base, evidence

GREY = Picture(np.full((180, 320, 3), 120, np.uint8))


AT = Box(0.2, 0.2, 0.5, 0.4)


class Faces:
    name, limit, smallest_px = "given", 0.6, 4

    def __init__(self, *found: FoundFace) -> None:
        self.found = found

    def faces(self, rgb: np.ndarray) -> tuple[FoundFace, ...]:
        return self.found


class Reads:
    name = "given"

    def __init__(self, *lines: ReadLine, characters: str | None = None) -> None:
        self.lines = lines
        self.characters = None if characters is None else frozenset(characters)

    def read(self, rgb: np.ndarray) -> tuple[ReadLine, ...]:
        return self.lines


def design(text: str = "HELLO", box: Box = AT, cap: float = 0.2, lines: int = 1) -> Design:
    path = "M400 200H800V400H400Z"
    lettering = Lettering(text=text, lines=(Line(text=text, path=path, box=box, cap_height=cap),) * lines, font="a.ttf",
                          size=0.2, fill="#FFFFFF")  # fmt: skip
    return Design(base=GREY, lettering=lettering)


def face(box: Box, *, who: int = 0, eyes: int = 2) -> FoundFace:
    return FoundFace(box, 1.0, np.eye(4)[who], tuple((0.5, 0.5) for _ in range(eyes)))


def verdict(name: str, made: Design | None = None, **known: object) -> str:
    return check(Evidence(source=GREY, design=made, **known), [name])[0].verdict


NOBODY = Sight(faces=Faces())


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(0.08, 0.1, 0.5, 0.3), "pass"),
        (Box(0.07, 0.1, 0.5, 0.3), "warn"),
        (Box(0.08, 0.09, 0.5, 0.3), "warn"),
        (Box(0.05, 0.05, 0.5, 0.3), "warn"),
        (Box(0.049, 0.1, 0.5, 0.3), "fail"),
        (Box(0.5, 0.6, 0.79, 0.83), "fail"),
        (Box(0.5, 0.6, 0.78, 0.83), "pass"),
        (Box(0.5, 0.6, 0.9, 0.82), "pass"),
    ],
)
def test_s1_keeps_text_and_faces_within_margins_and_off_the_badge(box, expected):
    assert verdict("S1", design(box=box), sight=NOBODY) == expected
    assert verdict("S1", Design(base=GREY), sight=Sight(faces=Faces(face(box)))) == expected


def test_s1_leaves_the_badge_zone_to_those_who_have_none():
    made = design(box=Box(0.5, 0.6, 0.79, 0.83))
    assert verdict("S1", made, sight=NOBODY, profile=profile("x")) == "pass"
    assert verdict("S1", made, sight=NOBODY, limits=Limits(forbid_badge_zone=False)) == "pass"


def test_s1_says_that_faces_were_not_looked_at():
    found = check(Evidence(source=GREY, design=design()), ["S1"])[0]
    assert (found.verdict, "faces" in found.says) == ("absent", True)
    unseen = Sight(why={"faces": "faces: none was passed"})
    assert "faces: faces" not in check(Evidence(source=GREY, design=design(), sight=unseen), ["S1"])[0].says


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        ("ONE TWO SIX TEN NO", 2, "pass"),
        ("A B C D E F", 1, "warn"),
        ("X" * 24, 1, "pass"),
        ("X" * 25, 1, "warn"),
        ("ONE", 3, "warn"),
        ("e\u0301" * 24, 1, "pass"),
    ],
)
def test_t1_counts_words_characters_and_lines(text, lines, expected):
    assert verdict("T1", design(text, lines=lines)) == expected


def test_rules_of_a_kit_are_the_limits(tmp_path):
    kit = Kit(name="a", folder=tmp_path, rules=Rules(max_words=2, max_characters=9, max_lines=1, min_contrast=7))
    limits = Limits.of(kit)
    assert (limits.max_words, limits.max_characters, limits.max_lines, limits.good_contrast) == (2, 9, 1, 7)
    assert limits.least_contrast == 3
    assert Limits.of(replace(kit, rules=Rules(min_contrast=2))).least_contrast == 2
    assert Limits.of(None) == Limits()


@pytest.mark.parametrize(("cap", "expected"), [(0.099, "fail"), (0.10, "warn"), (0.119, "warn"), (0.12, "pass")])
def test_t2_measures_the_lowest_capitals(cap, expected):
    assert verdict("T2", design(cap=cap)) == expected


@pytest.mark.parametrize(
    ("ground", "t3", "x1"), [(0, "pass", "pass"), (117, "pass", "pass"), (121, "warn", "pass"), (152, "fail", "pass")]
)
def test_t3_holds_white_letters_to_their_ground(ground, t3, x1):
    """White on grey 117 is 4.6 to 1, on 121 it is 4.4, on 152 it is 2.9; who sees no red sees the same."""
    rgb = np.full((180, 320, 3), ground, np.uint8)
    rgb[36:72, 72:144] = 255  # where the design's path lies
    found = check(Evidence(source=Picture(rgb), design=design()), ["T3", "X1"])
    assert [each.verdict for each in found] == [t3, x1]


def test_t4_reads_what_lies_where_the_title_is():
    box = Box(0.2, 0.2, 0.5, 0.4)
    for read, expected in (("HELLO", "pass"), ("hello!", "pass"), ("HELO", "fail"), ("JELLO", "fail")):
        assert verdict("T4", design(), sight=Sight(text=Reads(ReadLine(read, box, 0.9)))) == expected
    elsewhere = ReadLine("HELLO", Box(0.6, 0.6, 0.9, 0.8), 0.9)
    assert verdict("T4", design(), sight=Sight(text=Reads(elsewhere))) == "fail"
    assert verdict("T4", design()) == "absent"


def test_t4_does_not_judge_a_script_that_the_reader_never_learnt():
    found = check(Evidence(source=GREY, design=design("ПРИВЕТ"), sight=Sight(text=Reads(characters="ABC"))), ["T4"])[0]
    assert (found.verdict, "ПРИВЕТ" in found.says) == ("absent", True)


def test_t5_leaves_layers_and_what_is_allowed():
    ours, stray = ReadLine("HELLO", Box(0.2, 0.2, 0.5, 0.4), 0.9), ReadLine("SALE", Box(0.6, 0.6, 0.9, 0.8), 0.9)
    assert verdict("T5", design(), sight=Sight(text=Reads(ours))) == "pass"
    wide = replace(ours, text="D17U", box=ours.box.grown(0.5 * ours.box.width, ours.box.height))
    assert verdict("T5", design(), sight=Sight(text=Reads(wide))) == "pass"
    assert verdict("T5", design(), sight=Sight(text=Reads(ours, stray))) == "warn"
    assert verdict("T5", design(), sight=Sight(text=Reads(replace(stray, score=0.4)))) == "pass"
    assert verdict("T5", design(), sight=Sight(text=Reads(replace(stray, text="I")))) == "pass"
    assert verdict("T5", design(), sight=Sight(text=Reads(stray)), expected=Expected(allowed=("Sale!",))) == "pass"
    assert verdict("T5", None, sight=Sight(text=Reads(stray))) == "absent"


def tall(height: float, **known: int) -> FoundFace:
    return face(Box(0.3, 0.15, 0.6, 0.15 + height), **known)


@pytest.mark.parametrize(("height", "expected"), [(0.24, "warn"), (0.25, "pass"), (0.70, "pass"), (0.71, "warn")])
def test_f1_wants_a_face_of_some_size(height, expected):
    noise = Picture(np.random.default_rng(0).integers(0, 256, (180, 320, 3), dtype=np.uint8))
    seen = Evidence(source=noise, sight=Sight(faces=Faces(tall(height))), limits=Limits(blur=1.0))
    assert check(seen, ["F1"])[0].verdict == expected


def test_f1_wants_eyes_and_sharpness():
    assert verdict("F1", sight=Sight(faces=Faces(tall(0.5, eyes=0))), limits=Limits(blur=1.0)) == "warn"
    assert verdict("F1", sight=Sight(faces=Faces(tall(0.5)))) == "warn"  # flat grey is as blurred as can be
    assert verdict("F1", sight=NOBODY) == "pass"


def test_blur_grows_with_blur_whatever_the_size():
    import cv2

    rgb = np.kron(np.random.default_rng(1).integers(0, 2, (24, 24, 1)) * 255, np.ones((12, 12, 3))).astype(np.uint8)
    whole = face(Box(0, 0, 1, 1))
    steps = [face_blur(cv2.GaussianBlur(rgb, (0, 0), sigma), whole) for sigma in (0.5, 4, 8, 16)]
    assert steps == sorted(steps)
    assert steps[0] < 0.4 < 0.6 < steps[-1]
    half = cv2.resize(rgb, (144, 144), interpolation=cv2.INTER_AREA)
    assert face_blur(half, whole) == pytest.approx(steps[0], abs=0.05)


HOST = Sheet("host", np.eye(4)[:1], 0.6, "given")


@pytest.mark.parametrize(
    ("found", "required", "extra", "expected"),
    [
        ([(0, 0.3)], ("host",), False, "pass"),
        ([(1, 0.3)], ("host",), False, "fail"),
        ([], ("host",), False, "fail"),
        ([], (), False, "pass"),
        ([(0, 0.3), (1, 0.2)], ("host",), False, "fail"),
        ([(0, 0.3), (1, 0.2)], ("host",), True, "pass"),
        ([(0, 0.3), (1, 0.09)], ("host",), False, "pass"),
        ([(1, 0.3)], (), False, "fail"),
        ([(0, 0.3)], (), False, "pass"),
    ],
)
def test_f2_knows_who_is_there_and_who_is_not(tmp_path, found, required, extra, expected):
    faces = [face(Box(0.1 + 0.4 * i, 0.2, 0.3 + 0.4 * i, 0.2 + size), who=who) for i, (who, size) in enumerate(found)]
    kit = Kit(name="a", folder=tmp_path, characters=(Character(id="host", references=()),))
    known = {"kit": kit, "sheets": [HOST], "expected": Expected(characters=required)}
    assert verdict("F2", sight=Sight(faces=Faces(*faces)), limits=Limits(extra_faces=extra), **known) == expected


def test_nobody_can_be_expected_whom_the_kit_does_not_know(tmp_path):
    kit = Kit(name="a", folder=tmp_path, characters=(Character(id="host", references=()),))
    known = {"kit": kit, "sheets": [HOST], "expected": Expected(characters=("host", "bob"))}
    with pytest.raises(ConfigError, match="characters=bob: not in the kit; host accepted"):
        verdict("F2", sight=Sight(faces=Faces(face(Box(0.1, 0.2, 0.3, 0.5), who=0))), **known)


def test_across_an_outline_lies_the_distance_of_its_colours():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:40] = True
    black_on_white = np.where(mask[..., None], 0, 255).repeat(3, -1).astype(np.uint8)
    assert across_outline(black_on_white, mask) == pytest.approx(100, abs=0.5)
    assert across_outline(GREY.rgb[:40, :60], mask) == pytest.approx(0, abs=1e-3)
    assert across_outline(GREY.rgb[:40, :60], np.zeros((40, 60), bool)) is None


def test_c1_warns_where_nothing_sets_a_person_apart():
    assert verdict("C1", sight=Sight(faces=Faces(tall(0.4)))) == "warn"


def test_c1_holds_the_measured_distance_to_its_limit():
    seen = evidence(base(), Design(base=base()))
    found = across_outline(seen.small_below, people(seen.small_below, [seen.faces[0].box]))
    assert found is not None
    for limit, expected in ((found - 0.01, "pass"), (found + 0.01, "warn")):
        assert (
            check(evidence(base(), Design(base=base()), limits=Limits(separation=limit)), ["C1"])[0].verdict == expected
        )


@pytest.mark.parametrize(("half", "expected"), [(44, "warn"), (46, "pass"), (94, "pass"), (96, "warn")])
def test_c3_wants_some_spread_of_greys(half, expected):
    rgb = np.full((90, 160, 3), 127 - half, np.uint8)
    rgb[:45] = 127 + half
    assert check(Evidence(source=Picture(rgb)), ["C3"])[0].verdict == expected


@pytest.mark.parametrize(
    ("level", "rows", "expected"), [(0, 5, "warn"), (0, 4, "pass"), (255, 5, "warn"), (255, 4, "pass")]
)
def test_c3_counts_what_is_clipped(level, rows, expected):
    rgb = np.full((160, 90, 3), 60, np.uint8)
    rgb[:80] = 180
    rgb[:rows] = level
    assert check(Evidence(source=Picture(rgb)), ["C3"])[0].verdict == expected


def test_p1_asks_for_a_certificate_of_edits_alone(tmp_path):
    path = tmp_path / "a.png"

    def seen(is_edit: bool | None, text: str | None) -> str:
        made = Evidence(source=path, expected=Expected(is_edit=is_edit), certificate=lambda _: text)
        return check(made, ["P1"])[0].verdict

    assert [seen(True, "{}"), seen(True, None), seen(False, None), seen(None, "{}"), seen(None, None)] == [
        "pass", "warn", "pass", "pass", "absent",
    ]  # fmt: skip


def test_p1_speaks_of_what_a_user_can_do(tmp_path):
    (found,) = check(Evidence(source=tmp_path / "a.png", certificate=lambda _: None), ["P1"])
    assert "`recast edit`" in found.says
    assert "is_edit" not in found.says


def test_texts_compare_without_case_space_and_punctuation():
    assert plain("Why — it FAILED?!") == "whyitfailed"
    assert plain("?!") == "?!"
    assert misread("WHY IT FALED", "WHY IT FAILED") == pytest.approx(1 / 11)
    assert misread("", "") == 0


def test_parts_of_a_row_are_read_from_the_left():
    two = ReadLine("two", Box(0.5, 0.12, 0.8, 0.3), 1)
    one, three = ReadLine("one", Box(0.1, 0.1, 0.4, 0.3), 1), ReadLine("three", Box(0.1, 0.4, 0.4, 0.6), 1)
    assert [each.text for each in in_order([three, two, one])] == ["one", "two", "three"]


def test_cap_height_of_a_read_title_is_measured_in_pixels():
    rgb = np.full((180, 320, 3), 30, np.uint8)
    for left in range(40, 200, 40):
        rgb[50:86, left : left + 20] = 230  # letters 36 of 180 pixels high
    found = read_title(
        [ReadLine("IIII", Box(0.08, 0.2, 0.7, 0.55), 1), ReadLine("small", Box(0, 0.9, 0.2, 0.95), 1)], rgb
    )
    assert found is not None
    assert (found.text, found.is_estimated) == ("IIII", True)
    assert found.cap_height == pytest.approx(0.2, abs=0.01)
