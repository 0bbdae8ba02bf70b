"""Random scenes are known to the world, can be seen in their pictures, and keep to their split."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from recast.errors import InputError
from recast.world import heldout, titles
from recast.world.dice import Dice
from recast.world.draw import draw, draw_parts
from recast.world.lettering import FONTS, check_text, extent
from recast.world.rules import problems, shows
from recast.world.sample import KINDS, scene
from recast.world.scene import (
    CHOICES,
    IDENTITY,
    Character,
    Face,
    Mark,
    Scene,
    Thing,
    Title,
    check,
    from_json,
    get,
    put,
    to_json,
)

MANY = 2500
PERSON = Scene(background="city", characters=(Character(),))
TITLE = Title(text="WOW")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(seed) for seed in range(MANY)]


def test_every_scene_is_known_to_the_world_and_has_no_problems(scenes):
    for each in scenes:
        assert problems(check(each)) == ()


def test_training_scenes_hold_nothing_that_is_held_out(scenes):
    assert [each for each in scenes if heldout.reasons(each)] == []


def test_held_out_scenes_always_hold_something_that_is_held_out():
    for kind in KINDS:
        for seed in range(MANY // 8):
            each = scene(seed, split="held out", kind=kind)
            assert heldout.reasons(each)
            assert problems(check(each)) == ()


def test_held_out_scenes_are_held_out_for_every_kind_of_reason():
    found = Counter(
        why.split(":")[0] for seed in range(MANY // 5) for why in heldout.reasons(scene(seed, split="held out"))
    )
    assert set(found) == {"pair", "thing", "logo", "font", "string", "face"}
    assert min(found.values()) > 0.05 * MANY / 5


def test_every_value_of_every_attribute_is_drawn(scenes):
    parts = [part for each in scenes for part in (each, *each.characters, *each.things, *each.marks, each.title)]
    for sort, choices in CHOICES.items():
        for name, values in choices.items():
            drawn = {getattr(part, name) for part in parts if type(part) is sort}
            assert set(values) - drawn <= {"photograph"}, (sort, name)
    assert {part.font for part in parts if type(part) is Title} == set(FONTS) - set(heldout.FONTS)


def test_about_half_the_scenes_have_a_title_and_most_have_one_person(scenes):
    people = Counter(len(each.characters) for each in scenes)
    assert 0.42 < sum(each.title is not None for each in scenes) / MANY < 0.62
    assert people[1] > 0.5 * MANY
    assert min(people[0], people[2]) > 0.05 * MANY


def test_a_scene_is_the_same_in_every_process():
    code = "import json; from recast.world.sample import scene; from recast.world.scene import to_json;"
    code += "splits = ('train', 'held out');"
    code += "print(json.dumps([to_json(scene(seed, split=split)) for seed in range(12) for split in splits]))"
    for hashing in ("0", "77"):
        out = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": hashing}, capture_output=True, check=True
        )
        there = [from_json(each) for each in json.loads(out.stdout)]
        assert there == [scene(seed, split=split) for seed in range(12) for split in ("train", "held out")]


def test_scenes_travel_as_json(scenes):
    for each in scenes[:300]:
        assert from_json(json.loads(json.dumps(to_json(each)))) == each


def test_a_stream_does_not_move_when_another_is_drawn_from():
    one, other = Dice(5, "world"), Dice(5, "world")
    for _ in range(10):
        one.random()
        one.stream("hat").random()
    assert one.stream("shirt").random() == other.stream("shirt").random() == Dice(5, "world", "shirt").random()
    assert one.stream("shirt").random() != one.stream("hat").random()


def test_choices_are_even_and_within_bounds():
    dice = Dice(0, "even")
    counts = Counter(dice.below(7) for _ in range(7000))
    assert set(counts) == set(range(7))
    assert all(850 < count < 1150 for count in counts.values())
    assert {dice.on_grid(55, 57) for _ in range(100)} == {55 / 64, 56 / 64, 57 / 64}
    assert Counter(dice.weighted({"a": 9, "b": 1}) for _ in range(1000))["b"] == pytest.approx(100, abs=40)
    assert sorted(dice.shuffled("abcde")) == list("abcde")


def test_titles_can_be_written_and_are_of_many_kinds():
    said = [titles.text(Dice(seed, "title")) for seed in range(2000)]
    for text in said:
        check_text(text)
        assert 1 <= len(text) <= titles.LONGEST
    assert len(set(said)) > 1200
    for kind in (str.isupper, str.islower, str.isdigit, lambda text: " " in text, lambda text: "\n" in text):
        assert sum(map(kind, said)) > 10


def test_one_letter_off_is_exactly_one_letter_off():
    for seed in range(300):
        text = titles.text(Dice(seed, "title"))
        off = titles.one_letter_off(text, Dice(seed, "letter"))
        assert len(off) == len(text)
        letters = any(each.isalnum() for each in text)
        assert sum(a != b for a, b in zip(text, off, strict=True)) == letters


def test_strings_and_faces_are_held_out_as_often_as_stated():
    strings = [heldout.is_held_out_string(f"string {i}") for i in range(8000)]
    assert sum(strings) / 8000 == pytest.approx(1 / heldout.STRINGS_ONE_IN, rel=0.15)
    cuts = [0.9, 1.0, 1.15]
    faces = [Face(width=a, height=b, eye_size=c, eye_gap=d, nose=e, mouth=f) for a in cuts for b in cuts for c in cuts
             for d in cuts for e in cuts for f in cuts]  # fmt: skip
    assert len({heldout.cell(each) for each in faces}) == 729
    assert sum(map(heldout.is_held_out_face, faces)) / 729 == pytest.approx(1 / heldout.FACES_ONE_IN, rel=0.35)


@pytest.mark.parametrize(
    ("held_out", "why"),
    [
        (replace(PERSON, characters=(Character(shirt="purple", hat="crown"),)), "pair: shirt purple + hat crown"),
        (Scene(background="beach", time="winter"), "pair: background beach + time winter"),
        (Scene(title=replace(TITLE, font="slab")), "font: slab"),
        (Scene(title=replace(TITLE, text="The Legend!")), "string: 'The Legend!'"),
        (Scene(things=(Thing(kind="car", colour="yellow"),)), "thing: yellow car"),
        (replace(PERSON, characters=(Character(holding="cup", holding_colour="purple"),)), "thing: purple cup"),
        (Scene(marks=(Mark(kind="sticker", shape="heart", colour="blue", place="top left"),)), "logo: blue heart"),
    ],
)
def test_what_is_held_out_is_named(held_out, why):
    assert why in heldout.reasons(held_out)


def test_a_colour_that_does_not_show_is_not_held_out():
    assert heldout.reasons(replace(PERSON, characters=(Character(logo="none", logo_colour="green"),))) == ()


def test_the_listing_names_every_pair():
    listed = heldout.listing()
    assert len(listed["attribute pairs"]) == 14
    assert "shirt purple + hat crown" in listed["attribute pairs"]
    assert listed["fonts"] == list(heldout.FONTS)
    assert set(heldout.FONTS) < set(FONTS)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (replace(PERSON, things=(Thing(place="center"),)), "two stand at one place"),
        (replace(PERSON, characters=(Character(shirt="red", logo="star", logo_colour="red"),)), "one colour"),
        (Scene(title=replace(TITLE, outline="yellow")), "alike"),
        (Scene(title=replace(TITLE, outline="none")), "neither outline nor plate"),
        (replace(PERSON, title=replace(TITLE, place="middle")), "covers a face"),
        (replace(PERSON, characters=(Character(logo="star"),), title=replace(TITLE, place="bottom")), "covers a logo"),
        (replace(PERSON, marks=(Mark(kind="arrow", place="left"),)), "shows nothing"),
        (Scene(marks=(Mark(kind="logo", place="top left"),), title=TITLE), "title covers the logo"),
        (Scene(background="studio", blur=True), "nothing to blur"),
    ],
)
def test_what_cannot_be_seen_is_a_problem(bad, problem):
    assert any(problem in each for each in problems(bad))


def test_what_does_not_show_is_known():
    person = Character(hat="cap", hair="short", logo="none")
    made = Scene(background="studio", characters=(person,))
    for hidden in ("hair", "hair_colour", "logo_colour", "holding_colour"):
        assert not shows(made, f"characters.0.{hidden}")
    for seen in ("hat", "hat_colour", "shirt", "skin"):
        assert shows(made, f"characters.0.{seen}")
    assert not shows(made, "time")
    assert not shows(replace(made, look="black and white"), "characters.0.shirt")
    assert shows(replace(made, look="black and white", title=TITLE), "title.colour")
    assert shows(replace(made, title=TITLE), "title.size")
    assert not shows(replace(made, title=replace(TITLE, text="ABCDEFGHIJKLMNOP", font="archivo")), "title.size")


def test_identity_attributes_are_varied(scenes):
    people = [each.characters[0] for each in scenes if each.characters]
    assert len({tuple(getattr(each, name) for name in IDENTITY) for each in people}) > 0.98 * len(people)


def test_unknown_splits_and_kinds_are_errors():
    with pytest.raises(InputError, match=r"split='test'.*train, held out, any"):
        scene(0, split="test")
    with pytest.raises(InputError, match=r"kind='film'.*cartoon, photo, sheet"):
        scene(0, kind="film")


def test_a_sheet_shows_one_thing_only():
    for seed in range(200):
        each = scene(seed, kind="sheet")
        assert each.background == "plain"
        assert len(each.characters) + len(each.things) + len(each.marks) == 1
        assert get(each, "title") is None


@pytest.mark.parametrize("width", [256, 456])
def test_no_title_covers_what_is_to_be_seen(scenes, width):
    """Of each part of a person, and of each thing, over a quarter of the pixels lie beside the title's ink and bar."""
    seen = 0
    for made in [each for each in scenes if each.title is not None and (each.characters or each.things)][:50]:
        parts = draw_parts(replace(made, title=None), width, 256)
        ink = extent(made.title, width, 256) > 0
        for i, name in enumerate(parts.names):
            part = parts.labels == i
            if name.startswith(("characters", "things")) and part.sum() >= 12 and not name.endswith("brows"):
                assert (part & ~ink).sum() > part.sum() / 4, (name, made.title)
                seen += 1
    assert seen > 200


@pytest.mark.parametrize(
    ("person", "title", "problem"),
    [
        (
            Character(pose="pointing", scale=57 / 64),
            Title(text="GAME OVER", font="archivo", colour="green", outline="none", plate="yellow", place="bottom"),
            "covers a face",
        ),
        (
            Character(holding="cake", dx=2 / 64, scale=68 / 64),
            Title(text="SMILE?", font="rounded", colour="orange", outline="none", plate="white", place="bottom"),
            "covers what is held",
        ),
        (Character(hat="top hat"), replace(TITLE, size="huge"), "covers a hat"),
        (Character(hair="spiky"), replace(TITLE, size="huge", plate="red"), "covers hair"),
    ],
)
def test_a_title_that_covers_something_is_a_problem(person, title, problem):
    made = replace(PERSON, characters=(person,), title=title)
    assert any(problem in each for each in problems(made))
    assert problems(replace(made, title=None)) == ()


def test_what_shows_can_be_seen_in_the_picture(scenes):
    """Another value of an attribute that shows is another picture: 10 pixels of 256 x 256 differ beyond noise."""
    seen = 0
    for i, made in enumerate(scenes[:100]):
        dice = Dice(i, "other values")
        picture = draw(made, 256, 256).astype(int)
        paths = [
            (f"{prefix}.{name}", values)
            for prefix in ("characters.0", "things.0", "title")
            if get(made, prefix) is not None
            for name, values in CHOICES[type(get(made, prefix))].items()
        ]
        for path, values in dice.shuffled(paths)[:4]:
            other = put(made, path, dice.choice([value for value in values if value != get(made, path)]))
            if shows(made, path) and shows(other, path) and not problems(other) and made.style == "flat":
                changed = np.abs(draw(other, 256, 256).astype(int) - picture).max(-1) > 12
                assert changed.sum() >= 10, (path, get(made, path), get(other, path))
                seen += 1
    assert seen > 100
