"""Instructions in the style of public editing benchmarks, and what each is a request for."""

import pytest

from recast.quality import captions
from recast.quality.routing import CHECKS, Ask, family, parse

LOCAL, GLOBAL = "Instruction Editing - Local", "Instruction Editing - Global"
TEXT, STYLE, CHARACTER = "Text Editing", "Style Reference", "Character Reference"

TEXTS = [
    ('Replace "SALE" with "OPEN"', [("SALE", "OPEN")]),
    ("Change the text from 'Hello' to 'Bye'", [("Hello", "Bye")]),
    ("Make it say “OPEN” instead of “CLOSED”", [("CLOSED", "OPEN")]),
    ('Write "NEW" where it says "OLD"', [("OLD", "NEW")]),
    ('"FREIBURG" should read "FREIBERG"', [("FREIBURG", "FREIBERG")]),
    ('Change the sign to say "Don\'t stop"', [(None, "Don't stop")]),
    ("Change the sign to say 'Don't stop'", [(None, "Don't stop")]),
    ("Replace 'A1' with 'B1' and 'C1' with 'D1'", [("A1", "B1"), ("C1", "D1")]),
    ('Remove "EXIT" and "ENTER"', [("EXIT", None), ("ENTER", None)]),
    ('Remove the word "SALE" from the poster', [("SALE", None)]),
    ('Add the title "BIG NEWS" at the top', [(None, "BIG NEWS")]),
    ("Add the words «BON JOUR» next to the door", [(None, "BON JOUR")]),
    ('Change "OPEN" to CLOSED', [("OPEN", "CLOSED")]),
    ("Change the sign to say OPEN", [(None, "OPEN")]),
    ("Replace SUNSET with SUNRISE", [("SUNSET", "SUNRISE")]),
    ('Replace "Sale," with "50% off"', [("Sale", "50% off")]),
]


@pytest.mark.parametrize(("instruction", "pairs"), TEXTS)
def test_strings_in_quotation_marks_are_old_or_new(instruction, pairs):
    found = parse(instruction, TEXT)
    assert (found.kind, list(found.texts)) == ("text", pairs)


def test_a_string_is_new_only_where_it_comes_in_addition():
    assert parse('Add the title "NEWS"').is_new_text
    assert not parse('Change the sign to say "NEWS"').is_new_text
    assert not parse('Replace "OLD" with "NEWS"').is_new_text


def test_capitals_are_strings_only_where_the_category_says_that_there_are_some():
    assert parse("Replace SUNSET with SUNRISE", LOCAL).kind != "text"


THINGS = [
    ("Add a red hat to the man", Ask(kind="add", things=("red hat",))),
    ("Please add a small boat on the lake.", Ask(kind="add", things=("small boat",))),
    ("Add three balloons to the sky", Ask(kind="add", things=("balloons",), count=3)),
    ("Put a cat on the sofa", Ask(kind="add", things=("cat",))),
    ("Give the woman a pearl necklace", Ask(kind="add", things=("pearl necklace",))),
    ("Add a snowy owl on the branch", Ask(kind="add", things=("snowy owl",))),
    ("Add a glass of water and a plate", Ask(kind="add", things=("glass of water", "plate"))),
    ("Add a tree, keep everything else the same", Ask(kind="add", things=("tree",))),
    ("Remove the car", Ask(kind="remove", things=("car",))),
    ("Remove all birds in the background", Ask(kind="remove", things=("birds",), takes_all=True)),
    ("Erase two of the lamps", Ask(kind="remove", things=("lamps",), count=2)),
    ("Remove the two boats", Ask(kind="remove", things=("boats",))),
    ("Get rid of the trash can and the bench", Ask(kind="remove", things=("trash can", "bench"))),
    ("Delete the cup without changing the table", Ask(kind="remove", things=("cup",))),
    ("Replace the dog with a cat", Ask(kind="replace", things=("cat",), instead_of="dog")),
    ("Turn the apple into an orange", Ask(kind="replace", things=("orange",), instead_of="apple")),
    ("Swap the lamp for a candle", Ask(kind="replace", things=("candle",), instead_of="lamp")),
    ("There should be exactly four apples on the table", Ask(kind="count", things=("apples",), count=4)),
    ("Change the number of candles to five", Ask(kind="count", things=("candles",), count=5)),
    ("Change the color of the car to red", Ask(kind="recolour", things=("car",), colour="red")),
    ("Paint the wall dark green", Ask(kind="recolour", things=("wall",), colour="green")),
    ("Change the red car to blue", Ask(kind="recolour", things=("red car",), colour="blue")),
    ("Change the car's color from red to yellow", Ask(kind="recolour", things=("car",), colour="yellow")),
    ("Make her hair pink", Ask(kind="recolour", things=("hair",), colour="pink")),
    ("The door should be navy", Ask(kind="recolour", things=("door",), colour="blue")),
    ("Make the wall gray while keeping the rest", Ask(kind="recolour", things=("wall",), colour="grey")),
]


@pytest.mark.parametrize(("instruction", "expected"), THINGS)
def test_things_are_to_come_go_be_counted_or_take_a_colour(instruction, expected):
    assert parse(instruction, LOCAL) == expected


LOOKS = [
    ("Make it a watercolor painting", LOCAL, "a watercolor painting"),
    ("Convert this photo to black and white", LOCAL, "black and white"),
    ("Make the photo look like an oil painting by Van Gogh", "all", "an oil painting by van gogh"),
    ("Change the background to a beach", LOCAL, "with a beach in the background"),
    ("Change the season to winter", GLOBAL, "winter"),
    ("Change the time of day from day to night", GLOBAL, "night"),
    ("Turn this into a Ghibli style illustration", GLOBAL, "a ghibli style illustration"),
    ("Transform the scene into a rainy evening", GLOBAL, "a rainy evening"),
    ("Add thick fog", GLOBAL, "with thick fog"),
]


@pytest.mark.parametrize(("instruction", "category", "phrase"), LOOKS)
def test_a_look_of_the_whole_picture_is_named_by_its_own_words(instruction, category, phrase):
    assert parse(instruction, category) == Ask(kind="look", phrase=phrase)


def test_after_a_reference_the_words_say_what_the_new_picture_shows():
    assert parse("Using this style, a cat rides a bike", STYLE).phrase == "a cat rides a bike"
    assert parse("The man is now reading in a café.", CHARACTER).phrase == "the man is now reading in a café"
    assert parse('The man holds a sign that says "HI"', CHARACTER).kind == "scene"


@pytest.mark.parametrize(
    "instruction",
    [
        "Make her smile",
        "Rotate the car",
        "Remove the background",
        "Change her expression to a smile",
        "Make the image brighter",
        "Change the texture to wood",
        'Make the text "SALE" red',
        'Change the color of "SALE" to blue',
        "Add a hat and make the car red",
        "Remove the dog, then replace the cat with a bird",
        "",
        "Ünïcödé …",
    ],
)
def test_what_is_not_understood_or_is_two_requests_is_left_to_a_judge(instruction):
    assert parse(instruction, LOCAL).checks == ("judge",)


@pytest.mark.parametrize(
    ("instruction", "keeps"),
    [
        ("Add a red hat to the man", True),
        ("Make it a watercolor painting", True),
        ("Make him wear sunglasses", False),
        ("Put a mask on her", False),
        ("Replace the man with a robot", False),
        ("Remove the woman", False),
        ("Make her look older", False),
        ("Show him from behind", False),
        ("Turn the woman into a man", False),
        ("Remove the manhole cover", False),  # taken for a covered face: an item fewer, and no wrong number
    ],
)
def test_a_face_need_not_be_kept_where_another_or_none_is_asked_for(instruction, keeps):
    assert parse(instruction, LOCAL).keeps_faces is keeps


def test_the_judge_is_always_the_last_and_never_decides_what_another_can():
    assert all(checks[-1] == "judge" for checks in CHECKS.values())
    assert [kind for kind, checks in CHECKS.items() if checks == ("judge",)] == ["other"]


def test_categories_are_known_by_their_published_names_and_others_are_none():
    assert [family(name) for name in (LOCAL, GLOBAL, TEXT, STYLE, CHARACTER)] == [
        "local", "global", "text", "style", "character",
    ]  # fmt: skip
    assert family("all") == "any"


def test_every_caption_is_told_from_the_same_number_of_others():
    for instruction, category, _ in LOOKS:
        said = captions.of(parse(instruction, category))
        assert said is not None
        assert (len(set(said.others)), said.chance) == (captions.OTHERS, 1 / 16)


def test_no_other_caption_says_what_was_asked_for():
    night = captions.of(parse("Make it night", GLOBAL))
    assert night.target == "a picture, night"
    assert not any("night" in other for other in night.others)
    general = captions.of(parse("Make it a painting", GLOBAL))
    assert not any("painting" in other for other in general.others)
    bike = captions.of(parse("Using this style, a cat rides a bike", STYLE))
    assert not any("cat" in other.split() or "bicycle" in other for other in bike.others)
    assert captions.of(parse("Make her smile", LOCAL)) is None
