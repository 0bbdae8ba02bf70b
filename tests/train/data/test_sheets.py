"""Sheets: every thing on every ground of its split, and nothing of one split in the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recast.config import tiny
from recast.errors import ConfigError
from recast.pixels.lab import lab
from recast.train.data.sheets import PHRASES, SheetSource, caption, colour_shown, in_colours, recoloured, scene
from recast.train.examples import Examples, source
from recast.train.presets import tiny_edit
from recast.world.draw import draw
from recast.world.scene import BRIGHT, VARIANTS, from_json
from recast.world.vocabulary import article

WHAT = {"things": ("apple", "cup"), "colours": ("red", "green"), "size": (64, 64)}


def test_an_example_changes_the_colour_it_names_and_nothing_else():
    made = SheetSource(**WHAT)
    for pair in map(made.example, range(12)):
        before, after = (from_json(scene) for scene in pair.truth["scenes"])
        (old,), (new,) = before.things, after.things
        assert old != new
        assert after == replace(before, things=(replace(old, colour=new.colour),))
        assert pair.instruction in [phrase.format(thing=new.kind, colour=new.colour) for phrase in PHRASES]
        assert pair.inverse in [phrase.format(thing=new.kind, colour=old.colour) for phrase in PHRASES]
        assert np.array_equal(pair.contexts[0][~pair.mask], pair.target[~pair.mask])
        assert 0.05 < pair.mask.mean() < 0.6


def test_captions_say_which_picture_is_meant_and_fit_the_smallest_text_encoder():
    """One for each picture, so that what is to be made from words alone is known."""
    made = SheetSource(things=("mushroom", "umbrella"), colours=BRIGHT, size=(64, 64), split="any")
    pictures: dict[str, set[bytes]] = {}
    for pair in map(made.example, range(0, made.length, 7)):
        for words, picture in zip(pair.captions, (*pair.contexts, pair.target), strict=True):
            assert len(words.encode()) < tiny().text.max_length
            pictures.setdefault(words, set()).add(picture.tobytes())
        before, after = (from_json(scene).things[0] for scene in pair.truth["scenes"])
        assert f"{before.colour} {before.kind}" in pair.captions[0]
        assert pair.captions[1] == pair.captions[0].replace(article(before.colour), article(after.colour))
    assert len(pictures) == 16 * 2 * len(BRIGHT)
    assert all(len(same) == 1 for same in pictures.values())


NAMED = {
    "white": (255, 255, 255), "pale blue": (225, 235, 250), "cream": (255, 240, 215), "pale mint": (220, 245, 228),
    "pale pink": (250, 225, 235), "pale gray": (211, 211, 216), "lemon": (255, 247, 170), "sky blue": (180, 220, 250),
    "mint": (190, 238, 218), "peach": (255, 208, 190), "lilac": (220, 205, 245), "gray": (176, 188, 200),
    "slate": (100, 112, 130), "navy": (55, 65, 100), "dark teal": (60, 95, 92), "plum": (95, 70, 100),
}  # fmt: skip
"""What the words of captions mean, in sRGB."""


def test_captions_name_the_ground_that_is_shown():
    words = np.array(list(NAMED))
    wanted = lab(np.array([list(NAMED.values())], np.uint8))[0]
    for ground in range(VARIANTS):
        shown = scene(ground, "apple", "red")
        corner = lab(draw(shown, 64, 64)[:1, :1])[0, 0]
        nearest = words[np.linalg.norm(wanted - corner, axis=1).argmin()]
        assert caption(shown) == f"a red apple on {nearest}"


def test_the_colour_that_a_picture_shows_is_the_nearest_true_one():
    """Whatever its ground: it is read where the colours differ, and nowhere else."""
    truths = in_colours(scene(3, "apple", "red"), ("red", "green", "blue"), (64, 64))
    part = recoloured(truths)
    assert all(colour_shown(picture, truths) == colour for colour, picture in truths.items())
    mixed = np.where(part[..., None], truths["green"] * 0.6 + truths["blue"] * 0.4, 0).astype(np.uint8)
    assert colour_shown(mixed, truths) == "green"
    cyan = np.full((64, 64, 3), (0, 255, 255), np.uint8)
    assert colour_shown(cyan, truths) == "green"  # in CIELAB, as the eye has it; in RGB blue is nearer
    assert not np.array_equal(truths["red"], truths["blue"])
    assert np.array_equal(truths["red"][~part], truths["blue"][~part])


def test_nothing_held_out_is_trained_on():
    splits = [SheetSource(**WHAT, split=split) for split in ("train", "held out")]
    seen = [{pair.target.tobytes() for pair in map(each.example, range(each.length))} for each in splits]
    assert [len(each) for each in seen] == [12 * 4, 4 * 4]  # grounds, times two things in two colours
    assert not seen[0] & seen[1]


def test_a_few_examples_are_of_all_sorts_and_by_their_seed():
    made, again, other = (SheetSource(**WHAT, seed=seed) for seed in (1, 1, 2))
    ids = [made.id(index) for index in range(made.length)]
    assert len(set(ids)) == made.length == 12 * 2 * 2 * len(PHRASES)
    assert ids == [again.id(index) for index in range(again.length)] != [other.id(i) for i in range(other.length)]
    assert len({each.split("-")[1] for each in ids[:24]}) > 6  # grounds


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"things": ()}, "things"),
        ({"things": ("spoon",)}, "things"),
        ({"colours": ("red",)}, "colours"),
        ({"colours": ("red", "red")}, "colours"),
        ({"colours": ("red", "teal")}, "colours"),
    ],
)
def test_what_is_not_there_is_refused(wrong: dict, said: str):
    with pytest.raises(ConfigError, match=f"{said}="):
        SheetSource(**WHAT | wrong)


def test_a_run_is_judged_by_grounds_that_it_does_not_show():
    data = tiny_edit().data
    made = Examples(data, tiny_edit().model)
    (batch,) = made.batches(made.held_out(5))
    assert {from_json(truth["scenes"][0]).variant % 4 for truth in batch.truths} == {3}
    with pytest.raises(ConfigError, match="at most 384"):
        Examples(replace(data, held_out=385), tiny_edit().model)
    with pytest.raises(ConfigError, match="sizes="):
        source(replace(data, sizes=((64, 64), (96, 64))), 31)
