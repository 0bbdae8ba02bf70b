"""Instructions say what is asked in many ways; descriptions say what is there, and nothing that is not."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from recast.errors import InputError
from recast.world import vocabulary as say
from recast.world.dice import Dice
from recast.world.edits import KINDS, NANO_BYTES, edit
from recast.world.instructions import QUOTES, instruct, quotation_marks, quoted, typo, usable
from recast.world.lettering import FONTS
from recast.world.naming import the_mark, the_thing
from recast.world.phrases import KEEPERS, TEMPLATES, WRAPPERS
from recast.world.rules import shows
from recast.world.sample import scene
from recast.world.scene import COLOURS, PLACES, Character, Mark, Scene, Title, get, put
from recast.world.words import LENGTHS, describe, description

MANY = 600
VALUES = {  # of the attributes that no other word of a description could be mistaken for
    "glasses": say.GLASSES,
    "hat": say.HATS,
    "expression": say.EXPRESSIONS,
}


@pytest.fixture(scope="module")
def described():
    """Scenes of all splits, and descriptions of them in every length, without typos."""
    scenes = [scene(seed, split="any") for seed in range(MANY)]
    lengths = list(LENGTHS)
    return [
        (each, description(each, Dice(i, "words"), length=lengths[i % 3], typos=False)) for i, each in enumerate(scenes)
    ]


@pytest.fixture(scope="module")
def edits():
    return [
        edit(seed, category=category, kind=kind)
        for category, kinds in KINDS.items()
        for kind in kinds
        for seed in range(8)
    ]


def test_every_kind_has_at_least_eight_phrasings_and_none_has_those_of_another():
    for kind, lines in TEMPLATES.items():
        assert len(set(lines)) == len(lines) >= 7 + (kind != "two people together"), kind
    homes = Counter(line for lines in TEMPLATES.values() for line in lines)
    # The same phrasing with the same slots could stand for either kind only where both ask for one and the same thing.
    doubles = {line for line, count in homes.items() if count > 1}
    assert all("{" in line for line in doubles)


def test_no_phrasing_is_left_unfilled(edits):
    for each in edits:
        for text in filter(None, (each.instruction, each.inverse)):
            assert "{" not in text
            assert "~" not in text
            assert "  " not in text
            assert not any(0xE000 <= ord(letter) < 0xE100 for letter in text)


def test_a_kind_is_asked_for_in_many_ways():
    slots = {"the": "the", "of": "", "who": "the person", "to": "", "for": "", "shirt": "shirt"}
    slots |= {"old": "red", "new": "blue"}
    said = {instruct([("shirt colour", slots)], Dice(seed, "say")) for seed in range(300)}
    assert len(said) > 120
    assert {text for text in said if "red" in text.lower()} != said  # the old value is named at times, and at times not
    assert min(len(text) for text in said) < 16
    assert max(len(text) for text in said) > 60


def test_instructions_come_with_and_without_capitals_stops_and_courtesy():
    said = [instruct([("night", {})], Dice(seed, "say")) for seed in range(400)]
    for share in (
        sum(text[0].isupper() for text in said),
        sum(text[-1] == "." for text in said),
        sum("please" in text.lower() for text in said),
        sum(text[-1] == "?" for text in said),
        sum(text.lower() in ("night", "at night") for text in said),
    ):
        assert 8 < share < 380


def test_a_phrasing_needs_all_its_slots():
    few = usable("shirt colour", {"the": "", "of": "", "shirt": "", "new": ""})
    assert few
    assert all("{old}" not in line and "{who}" not in line for line in few)
    with pytest.raises(InputError, match="too few for any phrasing"):
        usable("shirt colour", {})
    with pytest.raises(InputError, match="kind='fly'"):
        usable("fly", {})


def test_quoted_strings_come_exactly(edits):
    seen = Counter()
    for each in edits:
        if each.kind in ("add title", "change title", "one letter", "sheet into scene") and "title.text" in each.asked:
            for line in each.target.title.text.split("\n"):
                marks = [pair for pair in QUOTES if f"{pair[0]}{line}{pair[1]}" in each.instruction]
                assert marks, (line, each.instruction)
                seen[marks[0]] += 1
    assert len(seen) >= 3


def test_quotation_marks_never_stand_in_what_they_quote():
    for seed in range(200):
        marks = quotation_marks(["it's", 'a "b"'], Dice(seed, "marks"))
        assert not set(marks) & set("'\"")


def test_two_lines_are_quoted_one_by_one():
    assert quoted("TOP\nTEN", ('"', '"'), Dice(0, "lines")) in ('"TOP" above "TEN"', '"TOP" over "TEN"')


def test_typos_are_rare_small_and_never_inside_quotation_marks(monkeypatch):
    slots = {"title": "headline", "quote": "MAGNIFICENT", "old_quote": "EXTRAORDINARY"}
    plain = [instruct([("change title", slots)], Dice(seed, "say"), typos=False) for seed in range(1500)]
    usual = [instruct([("change title", slots)], Dice(seed, "say")) for seed in range(1500)]
    assert 0.015 < sum(a != b for a, b in zip(plain, usual, strict=True)) / 1500 < 0.06
    monkeypatch.setattr("recast.world.instructions.TYPO_RATE", 1)
    slipped = [instruct([("change title", slots)], Dice(seed, "say")) for seed in range(300)]
    assert sum(a != b for a, b in zip(plain, slipped, strict=False)) > 200
    for right, wrong in zip(plain, slipped, strict=False):
        assert abs(len(right) - len(wrong)) <= 1
        assert "MAGNIFICENT" in wrong
        assert ("EXTRAORDINARY" in wrong) == ("EXTRAORDINARY" in right)


def test_a_typo_leaves_short_words_alone():
    assert typo("red hat on top", Dice(0, "slip")) == "red hat on top"
    assert typo("background", Dice(0, "slip")) != "background"


def test_a_limit_is_kept_or_refused_but_nothing_is_cut():
    slots = {"title": "title", "quote": "A LONG AND WINDING ROAD", "old_quote": "X"}
    for seed in range(100):
        text = instruct([("change title", slots)], Dice(seed, "say"), limit_bytes=48)
        assert len(text.encode()) <= 48
        assert slots["quote"] in text
    with pytest.raises(InputError, match="limit_bytes=12"):
        instruct([("change title", slots)], Dice(0, "say"), limit_bytes=12)


def test_several_changes_are_joined_in_order():
    phrases = [("night", {}), ("blur", {}), ("add border", {"a_new": "a red border"})]
    for seed in range(50):
        text = instruct(phrases, Dice(seed, "say"), typos=False).lower()
        assert text.index("blur") < text.index("a red border") if "blur" in text else "focus" in text or "field" in text
        assert "night" in text or "dark" in text


def test_wrappers_keep_what_they_wrap():
    assert all(line.count("{x}") == 1 for line in (*WRAPPERS, *KEEPERS))


def test_descriptions_name_only_what_shows(described):
    for made, told in described:
        for path in told.named:
            assert get(made, path) is not None
            if path.split(".")[-1] not in ("0", "1", "title"):
                assert shows(made, path), (path, told.text)


def test_what_a_description_names_is_in_its_text(described):
    for made, told in described:
        for path in told.named:
            name, value, text = path.split(".")[-1], get(made, path), told.text.lower()
            if name in VALUES:
                assert any(word in text for word in VALUES[name][value]), (path, told.text)
            elif name in ("shirt", "colour", "skin", "outline", "plate") or name.endswith("_colour"):
                assert value in text, (path, told.text)
            elif name == "text":
                assert all(line in told.text for line in value.split("\n"))
            elif name == "font":
                assert any(word in text for word in FONTS[value].words)


def test_a_description_says_nothing_that_is_not_so(described):
    for made, told in described:
        text = told.text.lower()
        if made.title is not None:
            for line in made.title.text.split("\n"):
                for left, right in QUOTES:
                    text = text.replace(f"{left}{line.lower()}{right}", "")
        for name, names in VALUES.items():
            said = {value for value, words in names.items() if any(f" {word}" in f" {text}" for word in words)}
            there = {getattr(each, name) for each in made.characters}
            named = any(path.endswith(f".{name}") for path in told.named)
            # "unhappy" is no "happy": words are looked for whole.
            assert said <= there, (name, told.text)
            assert bool(said) == named, (name, told.text)
        words = set(text.replace(",", " ").replace(".", " ").split())
        parts = [each for each in (*made.characters, *made.things, *made.marks, made.title) if each is not None]
        there = {value for each in parts for value in vars(each).values() if isinstance(value, str)}
        there |= {"black", "white"} if made.look == "black and white" else set()
        assert words & set(COLOURS) <= there, told.text


def test_a_named_attribute_makes_a_difference_to_the_words():
    made = Scene(background="city", time="night", characters=(Character(shirt="red", hat="cap", pose="waving"),))
    for path, other in (("background", "beach"), ("time", "winter"), ("characters.0.shirt", "blue"),
                        ("characters.0.hat", "crown"), ("characters.0.pose", "cheering")):  # fmt: skip
        for seed in range(30):
            told = description(made, Dice(seed, "words"), length="long")
            if path in told.named:
                assert told.text != description(put(made, path, other), Dice(seed, "words"), length="long").text


def test_short_descriptions_name_little_and_long_ones_nearly_all(described):
    mean = {
        length: sum(len(told.named) for i, (_, told) in enumerate(described) if list(LENGTHS)[i % 3] == length)
        for length in LENGTHS
    }
    assert 2 * mean["short"] < mean["medium"] < 0.8 * mean["long"]
    assert len({told.text for _, told in described}) > 0.95 * MANY


def test_a_description_is_shortened_by_whole_facts():
    for seed in range(200):
        made = scene(seed)
        full = description(made, Dice(seed, "words"), length="long", typos=False)
        short = description(made, Dice(seed, "words"), length="long", limit_bytes=NANO_BYTES, typos=False)
        assert len(short.text.encode()) <= NANO_BYTES
        assert set(short.named) <= set(full.named)


def test_the_first_of_two_is_described_before_the_second(described):
    for made, told in described:
        for name in ("characters", "things", "marks"):
            if any(path.startswith(f"{name}.1") for path in told.named):
                assert f"{name}.0" in told.named, told.text
        if len(made.characters) == 2:
            for i in (0, 1):
                assert (f"characters.{i}" in told.named) == (f"characters.{i}.place" in told.named), told.text


def test_what_an_arrow_points_at_is_named(described):
    seen = 0
    for made, told in described:
        for i, mark in enumerate(made.marks):
            pointing = {"arrow": "pointing at", "circle": "circle around"}.get(mark.kind, "nothing")
            if pointing in told.text.lower():
                seen += 1
                assert f"marks.{i}.place" in told.named
                there = [f"characters.{k}" for k, each in enumerate(made.characters) if each.place == mark.place]
                there += [f"things.{k}" for k, each in enumerate(made.things) if each.place == mark.place]
                assert set(there) <= set(told.named), told.text
    assert seen > 5


def test_the_name_of_a_thing_fits_no_other():
    """Of what stands on the ground and what is held: told from words alone, exactly one is meant."""
    seen = 0
    for seed in range(MANY):
        made = scene(seed, split="any")
        for index in range(len(made.things)):
            # Another thing of its kind, in a hand or on the ground, half the time of the same colour
            for alike in (made, *_with_alike(made, index)):
                said = the_thing(alike, index, Dice(seed, "name", index))
                meant = [i for i, each in enumerate(_all_things(alike)) if _fits(said, *each)]
                assert meant == [index], (said, alike.things, alike.characters)
                seen += 1
    assert seen > MANY


def _with_alike(made: Scene, index: int) -> list[Scene]:
    thing = made.things[index]
    held = [replace(each, holding=thing.kind, holding_colour=thing.colour) for each in made.characters[:1]]
    left = [place for place in PLACES if place not in [each.place for each in (*made.things, *made.characters)]]
    other = [replace(thing, place=place) for place in left[:1]]
    found = [replace(made, characters=(*held, *made.characters[1:]))] if held else []
    found += [replace(made, things=(*made.things, each)) for each in other]
    return [*found, replace(made, characters=(*held, *made.characters[1:]), things=(*made.things, *other))]


def _all_things(made: Scene) -> list[tuple[str, str, str, bool]]:
    """Kind, colour, place, and whether it is held."""
    things = [(each.kind, each.colour, each.place, False) for each in made.things]
    return [*things, *((each.holding, each.holding_colour, each.place, True) for each in made.characters)]


def _fits(said: str, kind: str, colour: str, place: str, held: bool) -> bool:
    words = set(said.split())
    side = next((each for each in ("left", "right") if each in words), "center" if {"center", "middle"} & words else "")
    named = words & set(COLOURS)
    return kind in words and named <= {colour} and side in ("", place) and not (held and "ground" in words)


def test_a_circle_is_no_circle_logo():
    made = Scene(characters=(Character(logo="circle"),), marks=(Mark(kind="circle"),))
    assert all(the_mark(made, made.marks[0], Dice(seed, "mark")) in ("ring", "drawn circle") for seed in range(9))
    assert the_mark(put(made, "characters.0.logo", "star"), made.marks[0], Dice(0, "mark")) == "circle"


def test_sides_of_titles_are_no_heights():
    sides = {
        words
        for name in ("TITLE_SIDES", "TITLE_SIDEWAYS")
        for all_of in getattr(say, name).values()
        for words in all_of
    }
    heights = {
        words
        for name in ("TITLE_PLACES", "TITLE_TOWARDS")
        for all_of in getattr(say, name).values()
        for words in all_of
    }
    assert not sides & heights
    assert not any(
        words.endswith(("in the center", "in the middle", "to the center", "to the middle"))
        for words in sides - {"sideways to the center"}
    )


def test_a_or_an_fits_the_word_after_it(monkeypatch):
    monkeypatch.setattr("recast.world.instructions.TYPO_RATE", 0)
    slots = {"the": "the", "of": "", "who": "the person", "to": "", "title": "title", "quote": "WOW", "shirt": "shirt"}
    slots |= {"thing": "the car", "logo": "star", "held": "cup", "old": "orange", "new": "angry"}
    for kind in (
        "shirt colour",
        "expression",
        "logo colour",
        "held colour",
        "title outline",
        "add plate",
        "title font",
    ):
        for seed in range(80):
            text = instruct([(kind, slots)], Dice(seed, "say")).lower()
            assert " a orange" not in f" {text}", text
            assert " a angry" not in f" {text}", text


def test_a_refusal_is_not_wrapped():
    said = [instruct([("keep", {})], Dice(seed, "say"), keeps_rest=False, typos=False).lower() for seed in range(400)]
    assert any("don't change" in text for text in said)
    for text in said:
        assert text.partition("don't change")[0] in ("", "please ") or "don't change" not in text


def test_hair_and_beard_are_said_to_change_together(monkeypatch):
    monkeypatch.setattr("recast.world.instructions.TYPO_RATE", 0)
    for seed in range(30):
        each = edit(seed, kind="hair colour")
        bearded = get(each.source, each.asked[0].rpartition(".")[0]).beard
        assert ("beard" in each.instruction.lower()) == bearded


def test_a_text_with_every_quotation_mark_is_an_error():
    with pytest.raises(InputError, match="all quotation marks occur"):
        quotation_marks(["\"“”'‘’«»`"], Dice(0, "marks"))
    with pytest.raises(InputError, match="nothing to choose from"):
        Dice(0).weighted({})


def test_titles_are_described_exactly():
    for text in ("WOW!", "don't", 'say "hi"', "TOP\nTEN"):
        made = Scene(title=Title(text=text))
        for seed in range(20):
            told = description(made, Dice(seed, "words"), length="long")
            assert all(line in told.text for line in text.split("\n"))


def test_an_empty_photograph_can_be_described():
    told = description(Scene(background="photograph"), Dice(0, "words"))
    assert told.text
    assert told.named == ()


def test_words_are_the_same_in_every_process():
    code = "from recast.world.sample import scene; from recast.world.words import describe;"
    code += "from recast.world.dice import Dice;"
    code += "print('|'.join(describe(scene(i), Dice(i, 'words'), length='long') for i in range(30)))"
    here = "|".join(describe(scene(i), Dice(i, "words"), length="long") for i in range(30))
    for hashing in ("0", "77"):
        env = {**os.environ, "PYTHONHASHSEED": hashing, "PYTHONIOENCODING": "utf-8"}
        out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
        assert out.stdout.decode().strip("\n") == here


def test_bad_lengths_and_limits_are_errors():
    with pytest.raises(InputError, match=r"length='epic'.*short, medium, long"):
        describe(Scene(), Dice(0, "words"), length="epic")
    with pytest.raises(InputError, match="limit_bytes=3"):
        describe(replace(Scene(), title=Title(text="WOW")), Dice(0, "words"), limit_bytes=3)


def test_every_phrasing_about_a_person_says_which_of_two():
    from recast.world.instructions import _slots
    from recast.world.phrases import TEMPLATES

    owner = {"the", "of", "who", "to", "for"}
    silent = [
        line
        for lines in TEMPLATES.values()
        if any(_slots(each) & owner for each in lines)
        for line in lines
        if not _slots(line) & {"who", "to", "for"} and not {"the", "of"} <= _slots(line)
    ]
    assert silent == []
