"""A panel of stand-in eyes: which check is made of an item, what it is worth, and what is said where none can be."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from recast.errors import ConfigError, MissingWeights
from recast.quality import calibration, colours, suites
from recast.quality.checking import FLOOR_DB, noisy
from recast.quality.features.faces import Likeness
from recast.quality.features.files import Availability, Models
from recast.quality.features.judge import Verdict
from recast.quality.metrics import psnr, trimmed_distance
from recast.quality.real import Panel, judge_warnings
from recast.quality.sight import Sight
from recast.quality.store import Result, Score
from recast.world.folder import Writer

LOCAL, GLOBAL = "Instruction Editing - Local", "Instruction Editing - Global"
TEXT, STYLE, CHARACTER = "Text Editing", "Style Reference", "Character Reference"
MEASURES = ("identity", "clip", "dino", "lpips", "ocr", "boxes", "judge")


def picture(number, colour=(120, 120, 120), side=96):
    """A picture that stand-ins know by its first pixel."""
    pixels = np.full((side, side, 3), colour, np.uint8)
    pixels[0, 0] = number
    return pixels


class Eyes(Sight):
    """Sees what it is told to see in the picture of a number."""

    def __init__(self, *ready, shows=None, verdicts=None):
        self.models, self._seen = Models(), {}
        self.state = {
            name: Availability(ready=name in ready, reason=f"{name}.file is missing", files={}) for name in MEASURES
        }
        self.shows, self.verdicts, self.judged = shows or {}, verdicts or {}, []

    def _of(self, pixels, what, default):
        return self.shows.get(int(pixels[0, 0, 0]), {}).get(what, default)

    def stamp(self, measure):
        return f"stamp of {measure}"

    def lines(self, pixels):
        return self._of(pixels, "lines", [])

    def boxes(self, pixels, phrase):
        return np.array(self._of(pixels, phrase, [])).reshape(-1, 4)

    def has_face(self, pixels):
        return self._of(pixels, "face", None) is not None

    def likeness(self, source, output):
        face, found = (self._of(p, "face", None) for p in (source, output))
        if face is None:
            return Likeness(None, False, "no_face_in_source", (), 0, 0)
        if found is None:
            return Likeness(None, True, "fewer_faces", (), 2, 1)
        return Likeness(1 - abs(face - found), True, None, (), 1, 1)

    @property
    def dino(self):
        return SimpleNamespace(likeness=lambda a, b, boxes: 0.75)

    @property
    def lpips(self):
        def distance(a, b):
            assert min(a.shape[:2]) == 256
            return float(np.abs(a.astype(float) - b).mean())

        return SimpleNamespace(distance=distance)

    @property
    def judge(self):
        def ask(pictures, questions):
            self.judged.append((len(pictures), questions))
            return self.verdicts[int(pictures[-1][0, 0, 0])]

        return SimpleNamespace(ask=ask)


@pytest.fixture
def item(tmp_path):
    """An item of real pictures: source 0, one turn an instruction."""

    def make(category, *instructions, source=None):
        writer = Writer(tmp_path / f"{category}-{len(list(tmp_path.iterdir()))}")
        path = writer.picture(picture(0) if source is None else source)
        row = {
            "key": "one", "category": category, "kind": "x", "base": "b", "width": 96, "height": 96, "seed": 0,
            "contexts": [path], "turns": [{"instruction": text} for text in instructions],
        }  # fmt: skip
        writer.finish([row], name="small", version="1", licence="CC0")
        return suites.load(writer.folder if hasattr(writer, "folder") else writer.root).items[0]

    return make


def scored(eyes, item, *pictures):
    """{metric: score} of each turn."""
    results = [
        Result(item="one", turn=n, seed=0, status="blocked" if p is None else "ok", reason="no" if p is None else None)
        for n, p in enumerate(pictures)
    ]
    found = [{} for _ in pictures]
    for score in Panel(eyes).score(item, results, pictures):
        assert score.metric not in found[score.turn]
        found[score.turn][score.metric] = score
    return found if len(found) > 1 else found[0]


def success(eyes, item, *pictures):
    found = scored(eyes, item, *pictures)["instruction"]
    return found.value, found.check


def test_text_is_the_product_of_its_three_terms(item):
    shows = {
        0: {"lines": ["SALE", "today"]},
        1: {"lines": ["OPEN", "today"]},
        2: {"lines": ["OPEN", "tod"]},
        3: {"lines": ["OPEN", "SALE", "today"]},
    }
    eyes, edit = Eyes("ocr", shows=shows), item(TEXT, 'Replace "SALE" with "OPEN"')
    assert success(eyes, edit, picture(1)) == (1, "ocr")
    assert success(eyes, edit, picture(2))[0] == pytest.approx(3 / 5)
    assert success(eyes, edit, picture(3))[0] == 0
    assert success(eyes, edit, picture(0))[0] == 0


def test_a_new_string_counts_from_what_was_like_it_so_that_doing_nothing_is_zero(item):
    eyes = Eyes("ocr", shows={0: {"lines": ["SALT"]}, 1: {"lines": ["SALT", "SALE"]}, 2: {"lines": ["SALT", "SALC"]}})
    edit = item(TEXT, 'Add the word "SALE"')
    assert [success(eyes, edit, picture(n))[0] for n in (0, 1, 2)] == [0, 1, 0]


def test_an_old_string_that_is_not_said_is_the_only_line_there_is(item):
    eyes = Eyes("ocr", shows={0: {"lines": ["CLOSED"]}, 1: {"lines": ["OPEN"]}, 2: {"lines": ["CLOSED", "OPEN"]}})
    edit = item(TEXT, 'Change the sign to say "OPEN"')
    assert [success(eyes, edit, picture(n))[0] for n in (0, 1, 2)] == [0, 1, 0]


def test_of_several_strings_the_worst_counts_and_none_is_another_ones_neighbour(item):
    shows = {0: {"lines": ["A1", "C1"]}, 1: {"lines": ["B2", "D2"]}, 2: {"lines": ["B2", "C1"]}}
    edit = item(TEXT, 'Replace "A1" with "B2" and "C1" with "D2"')
    assert [success(Eyes("ocr", shows=shows), edit, picture(n))[0] for n in (0, 1, 2)] == [0, 1, 0]


def test_what_cannot_be_read_before_is_left_to_the_judge_or_not_checked(item):
    shows = {0: {"lines": ["~~~~"]}, 1: {"lines": ["OPEN"]}}
    edit = item(TEXT, 'Replace "SALE" with "OPEN"')
    found = scored(Eyes("ocr", shows=shows), edit, picture(1))["instruction"]
    assert (found.value, found.check) == (None, "none")
    assert "'sale' cannot be read" in found.reason
    assert "judge.file is missing" in found.reason
    judge = Eyes("ocr", "judge", shows=shows, verdicts={1: Verdict(status="ok", share=1.0, controls_right=True)})
    assert success(judge, edit, picture(1)) == (1, "judge")


def test_an_old_string_that_is_misread_counts_as_it_was_read(item):
    eyes = Eyes("ocr", shows={0: {"lines": ["5ALE"]}, 1: {"lines": ["SALT"]}})
    edit = item(TEXT, 'Replace "SALE" with "SALT"')
    assert [success(eyes, edit, picture(n))[0] for n in (0, 1)] == [0, 1]


def boxes(count):
    return [(10 * n, 10, 10 * n + 8, 30) for n in range(count)]


@pytest.mark.parametrize(
    ("instruction", "before", "worth"),
    [
        ("Add a hat", {"hat": 1}, {"hat": [0, 0, 1, 1]}),
        ("Add two hats", {"hats": 1}, {"hats": [0, 0, 0, 1]}),
        ("Remove the hat", {"hat": 2}, {"hat": [1, 1, 0, 0]}),
        ("Remove the hats", {"hats": 2}, {"hats": [1, 0, 0, 0]}),
        ("Remove all of the fish", {"fish": 2}, {"fish": [1, 0, 0, 0]}),
        ("Remove one hat", {"hat": 2}, {"hat": [0, 1, 0, 0]}),
        ("There should be exactly three hats", {"hats": 1}, {"hats": [0, 0, 0, 1]}),
    ],
)
def test_counts_say_whether_things_came_or_went(item, instruction, before, worth):
    ((thing, values),) = worth.items()
    shows = {0: {thing: boxes(before[thing])}, **{1 + n: {thing: boxes(n)} for n in range(4)}}
    edit = item(LOCAL, instruction)
    assert [success(Eyes("boxes", shows=shows), edit, picture(1 + n))[0] for n in range(4)] == values


def test_of_a_replacement_both_halves_count(item):
    shows = {0: {"dog": boxes(1)}, 1: {"cat": boxes(1)}, 2: {"dog": boxes(1), "cat": boxes(1)}, 3: {}}
    edit = item(LOCAL, "Replace the dog with a cat")
    assert [success(Eyes("boxes", shows=shows), edit, picture(n))[0] for n in range(4)] == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("instruction", "why"),
    [("Remove the hat", "'hat' is not found"), ("Make it two hats", "in the picture already")],
)
def test_a_request_that_the_picture_before_does_not_fit_is_not_checked(item, instruction, why):
    found = scored(Eyes("boxes", shows={0: {"hats": boxes(2)}}), item(LOCAL, instruction), picture(1))["instruction"]
    assert found.value is None
    assert why in found.reason


def disc(colour):
    """A disc on a background that bears no name of interest."""
    yy, xx = np.mgrid[:96, :96]
    pixels = np.full((96, 96, 3), (225, 225, 225), np.uint8)
    pixels[(yy - 48) ** 2 + (xx - 48) ** 2 < 20**2] = colour
    pixels[0, 0] = 0
    return pixels


def test_a_recoloured_subject_is_found_and_its_background_does_not_count(item):
    shows = {0: {"ball": [(26, 26, 70, 70)]}}
    edit = item(LOCAL, "Paint the ball blue", source=disc((200, 20, 20)))
    eyes = Eyes("boxes", shows=shows)
    done, flooded = disc((30, 40, 220)), disc((200, 20, 20))
    flooded[:, :24] = (30, 40, 220)
    assert success(eyes, edit, done)[0] > 0.95
    assert success(eyes, edit, disc((200, 20, 20))) == (0, "colour")
    assert success(eyes, edit, disc((30, 200, 40)))[0] == 0
    assert success(eyes, edit, flooded)[0] == 0


def test_what_bore_the_colour_before_is_no_gain(item):
    half = disc((200, 20, 20))
    half[48:][(half[48:] == (200, 20, 20)).all(2)] = (30, 40, 220)
    edit = item(LOCAL, "Paint the ball blue", source=half)
    eyes = Eyes("boxes", shows={0: {"ball": [(26, 26, 70, 70)]}})
    assert success(eyes, edit, half)[0] == 0
    assert success(eyes, edit, disc((30, 40, 220)))[0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", colours.EXAMPLES)
def test_a_colour_bears_its_name_in_light_and_shade_and_no_other(name):
    for example in colours.EXAMPLES[name]:
        for shade in (0.97, 1.0):
            patch = np.full((2, 2, 3), np.array(example) * shade, np.uint8)
            assert colours.bears(patch, name).all()
            assert not any(colours.bears(patch, other).any() for other in colours.EXAMPLES if other != name)


def turned(number):
    """A vector of three numbers in CLIP's stead: the source, the edit asked for, another edit, hardly any edit."""
    return {0: (1, 0, 0), 1: (0.6, 0.8, 0), 2: (0.6, 0, 0.8), 3: (0.9999, 0.014, 0)}[number]


class Clipped(Eyes):
    """CLIP as a table: captions of the target look one way, all others the other way."""

    def vector(self, pixels):
        is_noisy = len(np.unique(pixels)) > 20
        return np.array((0.9997, 0, 0.0245) if is_noisy else turned(int(pixels[0, 0, 0])), float)

    @property
    def clip(self):
        def texts(given):
            rows = [(1, 0, 0) if t == "a picture" else (0.6, 0.8, 0) if "night" in t else (0.6, 0, 0.8) for t in given]
            return np.array(rows, float)

        return SimpleNamespace(texts=texts)


def test_a_look_is_told_from_others_and_from_noise(item):
    edit, eyes = item(GLOBAL, "Make it night"), Clipped("clip")
    assert [success(eyes, edit, picture(n)) for n in range(4)] == [(0, "clip"), (1, "clip"), (0, "clip"), (0, "clip")]
    found = scored(eyes, edit, picture(1))
    assert found["instruction"].detail["chance"] == pytest.approx(1 / 16)
    assert found["clip_direction"].value == pytest.approx(1)
    assert scored(eyes, edit, picture(0))["clip_direction"].reason == "the picture did not move"
    assert scored(eyes, edit, picture(3))["instruction"].detail["rank"] == 1  # the right way, but no further than noise


def test_the_floor_is_noise_of_the_stated_strength():
    photo = np.random.default_rng(1).integers(60, 200, (64, 64, 3)).astype(np.uint8)
    assert psnr(photo, noisy(photo)) == pytest.approx(FLOOR_DB, abs=0.2)
    assert np.array_equal(noisy(photo), noisy(photo))


def test_a_judge_that_fails_its_control_or_gives_no_answer_says_nothing(item):
    verdicts = {
        1: Verdict(status="ok", share=1.0, controls_right=True),
        2: Verdict(status="ok", share=1.0, controls_right=False),
        3: Verdict(status="judge_error", reason="prose"),
    }
    eyes, edit = Eyes("judge", verdicts=verdicts), item(LOCAL, "Make her smile")
    assert success(eyes, edit, picture(1)) == (1, "judge")
    for number, why in ((2, "judge_control"), (3, "judge_error")):
        found = scored(eyes, edit, picture(number))["instruction"]
        assert (found.value, found.check, found.reason.partition(":")[0]) == (None, "judge", why)
    shown, questions = eyes.judged[0]
    assert shown == 2
    assert [question.is_control for question in questions] == [False, True]
    assert "Make her smile" in questions[0].text


def test_a_judge_is_not_asked_where_another_check_can_be_made(item):
    eyes = Eyes("boxes", "judge", shows={1: {"hat": boxes(1)}})
    assert success(eyes, item(LOCAL, "Add a hat"), picture(1)) == (1, "boxes")
    assert eyes.judged == []


def test_blocks_are_trimmed_by_category_and_none_are_compared_where_the_whole_picture_changes(item):
    after = picture(1)
    after[:, :24] = 250
    source = picture(0)
    for category, instruction, share in ((LOCAL, "Make her smile", 0.4), (TEXT, 'Add "HI"', 0.25)):
        found = scored(Eyes(), item(category, instruction), after)["block_distance"]
        assert (found.check, found.detail["share"]) == ("trimmed", share)
        assert found.value == pytest.approx(trimmed_distance(source, after, share))
    for category, instruction in ((GLOBAL, "Make it night"), (CHARACTER, "The man reads"), ("all", "Make it brighter")):
        assert "block_distance" not in scored(Eyes(), item(category, instruction), after)


def test_with_boxes_in_the_source_only_what_lies_beside_them_has_to_stay(item):
    after = picture(1)
    after[:48, :48] = 250
    after[0, 0] = 1
    eyes = Eyes("boxes", shows={0: {"hat": [(0, 0, 48, 48)]}, 1: {}})
    found = scored(eyes, item(LOCAL, "Remove the hat"), after)["block_distance"]
    assert (found.value, found.check) == (0, "mask")
    after[60:] = 250
    assert scored(eyes, item(LOCAL, "Remove the hat"), after)["block_distance"].value > 10
    added = Eyes("boxes", shows={0: {"hat": [(0, 0, 48, 48)]}, 1: {"hat": [(0, 0, 96, 96)]}})
    assert scored(added, item(LOCAL, "Add a hat"), after)["block_distance"].check == "trimmed"


def test_a_face_is_compared_where_it_must_be_kept(item):
    shows = {0: {"face": 0.5}, 1: {"face": 0.4}, 2: {}}
    eyes = Eyes("identity", shows=shows)
    edit = item(LOCAL, "Add a hat")
    assert scored(eyes, edit, picture(1))["face_cosine"].value == pytest.approx(0.9)
    gone = scored(eyes, edit, picture(2))["face_cosine"]
    assert (gone.value, gone.reason, gone.detail["why"]) == (None, "no_face", "fewer_faces")
    assert calibration.of(None, None).apply({"face_cosine": gone})["consistency"].value == 0
    for category, instruction in ((LOCAL, "Make him wear sunglasses"), (STYLE, "Using this style, a man")):
        assert "face_cosine" not in scored(eyes, item(category, instruction), picture(1))
    assert "face_cosine" not in scored(Eyes("identity"), edit, picture(1))


def test_a_character_reference_that_cannot_be_compared_lowers_the_coverage(item):
    edit = item(CHARACTER, "The fox is now reading")
    for eyes, why in ((Eyes(), "identity.file is missing"), (Eyes("identity", "boxes"), "dino.file is missing")):
        found = scored(eyes, edit, picture(1))["face_cosine"]
        assert (found.value, found.check) == (None, "none")
        assert why in found.reason


def test_a_character_without_a_face_is_compared_by_its_boxes(item):
    edit = item(CHARACTER, "The fox is now reading")
    eyes = Eyes("identity", "dino", "boxes", shows={0: {"fox": boxes(1)}, 1: {"fox": boxes(1)}})
    found = scored(eyes, edit, picture(1))
    assert (found["dino_cosine"].value, found["dino_cosine"].detail["subject"]) == (0.75, "fox")
    assert "face_cosine" not in found
    assert scored(eyes, edit, picture(2))["dino_cosine"].reason == "no_subject"


def test_a_failure_is_zero_in_every_column_it_would_have_counted_in(item):
    shows = {0: {"face": 0.5}}
    unchecked = scored(Eyes("identity", shows=shows), item(LOCAL, "Add a hat"), None)
    assert unchecked["instruction"].value is None  # no check could have been made of any picture
    found = scored(Eyes("identity", "boxes", shows=shows), item(LOCAL, "Add a hat"), None)
    assert {name: score.value for name, score in found.items()} == {
        "instruction": 0, "kept": 0, "precision": 0, "consistency": 0,
    }  # fmt: skip
    assert found["instruction"].reason == "blocked: no"
    assert set(scored(Eyes(), item(GLOBAL, "Make it night"), None)) == {"instruction"}


def test_a_picture_that_was_lost_is_no_failure_of_the_system(item):
    result = Result(item="one", turn=0, seed=0, status="ok")
    (found,) = Panel(Eyes()).score(item(LOCAL, "Add a hat"), [result], [None])
    assert found.value is None


def test_an_output_of_another_shape_is_registered_and_flagged(item):
    wide = np.full((96, 200, 3), 120, np.uint8)
    wide[0, :] = 1
    found = scored(Eyes("lpips"), item(LOCAL, "Make her smile"), wide)
    assert found["instruction"].detail["flags"] == ["reframed"]
    assert found["block_distance"].value < 1
    assert found["lpips"].value < 2


def test_a_chain_holds_all_its_requests_against_the_first_picture(item):
    shows = {
        0: {"face": 0.5},
        1: {"hat": boxes(1), "face": 0.5},
        2: {"hat": boxes(1), "cup": boxes(1), "face": 0.4},
        3: {"cup": boxes(1), "dog": boxes(1), "face": 0.2},
    }
    edit = item(LOCAL, "Add a hat", "Add a cup", "Add a dog")
    eyes = Eyes("boxes", "identity", shows=shows)
    last = picture(3)
    last[:, 24:48] = 250
    found = scored(eyes, edit, picture(1), picture(2), last)
    assert [turn["instruction"].value for turn in found] == [1, 1, 1]
    assert [turn["instructed"].value for turn in found] == [1, 1, pytest.approx(2 / 3)]  # the hat is lost again
    assert [turn["held"].value for turn in found] == [1, 1, 0]
    assert [turn["face_cosine"].value for turn in found] == pytest.approx([1, 0.9, 0.7])
    assert [turn["block_distance"].detail["share"] for turn in found] == pytest.approx([0.2, 0.4, 0.6])
    assert found[2]["block_distance"].value == pytest.approx(trimmed_distance(picture(0), last, 0.6))


def test_a_later_request_for_the_same_thing_takes_the_place_of_the_former(item):
    shows = {0: {}, 1: {"hat": boxes(1)}, 2: {}}
    found = scored(Eyes("boxes", shows=shows), item(LOCAL, "Add a hat", "Remove the hat"), picture(1), picture(2))
    assert found[1]["instructed"].value == 1
    assert found[1]["instructed"].detail == {"checked": 1, "of": 1}


def test_a_chain_that_breaks_is_zero_from_there_on(item):
    found = scored(Eyes("boxes", shows={1: {"hat": boxes(1)}}), item(LOCAL, "Add a hat", "Add a cup"), picture(1), None)
    assert {name: score.value for name, score in found[1].items()} == dict.fromkeys(
        ("instruction", "instructed", "held", "kept", "quality"), 0
    )


def entry(name, values, *, control=False, check="judge"):
    scores = {
        (str(n), 0): {"instruction": Score(item=str(n), turn=0, metric="instruction", value=v, check=check)}
        for n, v in enumerate(values)
    }
    return SimpleNamespace(id=name, is_control=control, scores=scores)


def test_a_judge_that_is_pleased_with_nothing_done_is_warned_of():
    assert any("30%" in line for line in judge_warnings([entry("no-op", [1] * 3 + [0] * 7, control=True)]))
    assert judge_warnings([entry("no-op", [1] * 2 + [0] * 8, control=True)]) == []
    assert judge_warnings([entry("no-op", [1] * 9, control=True, check="clip")]) == []


def test_a_judges_errors_and_its_share_of_the_column_are_warned_of():
    (alone,) = judge_warnings([entry("dev", [1.0] * 10)])
    assert "decided by the judge alone" in alone
    assert any("failed on 10%" in line for line in judge_warnings([entry("dev", [1.0] * 9 + [None])]))


def test_every_measure_without_its_files_is_named_once(tmp_path):
    for panel in (Panel.of(None), Panel.of(tmp_path)):
        assert [line.partition(":")[0] for line in panel.absent] == list(MEASURES)
    assert "auraface" in Panel.of(None).absent[0] or "yunet" in Panel.of(None).absent[0]
    with pytest.raises(MissingWeights, match="no such folder"):
        Panel.of(tmp_path / "typo")


def test_the_judge_is_named_by_a_file_beside_the_models(tmp_path):
    (tmp_path / "judge.json").write_text('{"url": "http://127.0.0.1:9/v1", "model": "m-2026-01-01"}')
    panel = Panel.of(tmp_path)
    assert not any(line.startswith("judge") for line in panel.absent)
    assert (panel.sight.judge.url, panel.sight.judge.model) == ("http://127.0.0.1:9/v1", "m-2026-01-01")
    (tmp_path / "judge.json").write_text('{"url": "x"}')
    with pytest.raises(ConfigError, match="mend the file"):
        Panel.of(tmp_path)


def test_what_was_seen_in_a_source_is_not_looked_at_again():
    looked = []
    sight = Sight(Models())
    sight.__dict__["reader"] = SimpleNamespace(lines=lambda p: looked.append(1) or [SimpleNamespace(text="A")])
    assert [sight.lines(picture(1)), sight.lines(picture(1)), sight.lines(picture(2))] == [["A"]] * 3
    assert len(looked) == 2
