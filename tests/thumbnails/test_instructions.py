"""Concepts and levels from a brief's own words."""

from dataclasses import replace
from pathlib import Path

import pytest

from recast.errors import ConfigError
from recast.thumbnails.boxes import Box
from recast.thumbnails.brief import Base, Brief, Level, Variants
from recast.thumbnails.instructions import concepts, levels, named_images, short_texts
from recast.thumbnails.kit import Colour, Kit, Layout, Rules

KIT = Kit(
    name="k",
    folder=Path(),
    palette=(Colour(role="accent", hex="#FFD21F"), Colour(role="ink", hex="#0B0B0F")),
    layouts=(Layout(id="left", text=Box(0, 0, 0.5, 1)), Layout(id="right", text=Box(0.5, 0, 1, 1))),
    rules=Rules(max_words=3, max_characters=16),
)
BRIEF = Brief(
    title="How I built a robot that draws me",
    text="IT DREW ME",
    kit=Path("brand.yaml"),
    folder=Path(),
    base=Base(prompt="x"),
    variants=Variants(factor="background", levels=(Level(name="a"),)),
    topic="robots",
    hooks=("look closer", "a hook that is far too long to be a title"),
    characters=("host",),
)


def test_ideas_differ_and_stay_the_same_for_the_same_brief():
    ideas = concepts(BRIEF, KIT, count=8)
    assert ideas == concepts(BRIEF, KIT, count=8)
    assert len({(each.background, each.text) for each in ideas}) == 8
    assert concepts(replace(BRIEF, seed=1), KIT, count=8) != ideas


def test_an_idea_names_who_is_in_it_and_its_background():
    for each in concepts(BRIEF, KIT):
        assert "@host" in each.prompt
        assert each.background in each.prompt
        assert each.background in each.edit
        assert each.colour in ("#FFD21F", "#0B0B0F")


def test_more_ideas_than_places_are_refused():
    with pytest.raises(ConfigError, match="count=11: 1 to 10 accepted"):
        concepts(BRIEF, KIT, count=11)


def test_short_texts_keep_the_kits_rules_and_the_ends_of_titles():
    texts = short_texts(BRIEF, KIT)
    assert texts == ["IT DREW ME", "look closer", "that draws me", "draws me", "me"]
    assert all(len(each.split()) <= 3 and len(each) <= 16 for each in texts)


@pytest.mark.parametrize(
    ("factor", "field", "first"),
    [
        ("background", "edit", None),
        ("text", "text", "IT DREW ME"),
        ("layout", "layout", "left"),
        ("colour", "colour", "#FFD21F"),
    ],
)
def test_levels_are_proposed_for_each_factor(factor, field: str, first: str | None):
    brief = replace(BRIEF, variants=replace(BRIEF.variants, factor=factor))
    made = levels(brief, KIT)
    assert getattr(made[0], field) == first
    assert len(made) >= 2
    assert len({each.name for each in made}) == len(made)


def test_nobody_knows_what_props_there_are():
    assert levels(replace(BRIEF, variants=replace(BRIEF.variants, factor="prop")), KIT) == ()


def test_images_are_found_by_the_names_that_instructions_call():
    known = ["host", "logo", "product"]
    assert named_images(["put @product before @host", "an e-mail: me@logo.com"], known) == ["host", "product"]
    assert named_images(["make it night"], known) == []
