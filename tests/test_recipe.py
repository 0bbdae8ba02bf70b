"""Recipes: written, read, compared."""

import json
from dataclasses import replace

import pytest

from recast.errors import InputError
from recast.recipe import Adapter, Ingredient, Preserving, Recipe

RECIPE = Recipe(
    task="edit",
    prompt="make it “night”",
    seed=7,
    times=(1.0, 0.5, 0.0),
    sampler="euler",
    guidance=None,
    true_guidance=1.0,
    width=61,
    height=47,
    images=(Ingredient(sha256="ab", width=61, height=47, fit={"scale_x": 0.3}, file="cat.png", name="cat"),),
    model="nano",
    weights={"flow": "cd"},
    adapters=(Adapter(file="style.safetensors", sha256="ef", strength=0.5, matched=3, unmatched=0),),
    device="cpu",
    dtype="float32",
    threads=2,
    output_sha256="01",
    warnings=("cut",),
)


def test_a_recipe_survives_json():
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE
    assert json.loads(RECIPE.to_json())["format"] == "recast-recipe-1"
    assert RECIPE.steps == 2


def test_how_the_rest_was_kept_survives_json_and_is_off_where_nothing_is_said():
    where = {"mask": "ab", "boxes": ((1, 2, 3, 4),), "crop": (0, 0, 16, 16)}
    kept = Preserving(mode="strict", **where, detectors=("faces",), rejected=(2,))
    recipe = replace(RECIPE, preserving=kept)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert RECIPE.differences(recipe)[0].startswith("preserving")
    old = json.loads(RECIPE.to_json())
    del old["preserving"]
    assert Recipe.from_json(json.dumps(old)).preserving.mode == "off"


@pytest.mark.parametrize(
    "value",
    [
        3,
        {"mode": "always"},
        {"boxes": 3},
        {"boxes": [3]},
        {"boxes": [[1, 2, 3]]},
        {"crop": ["a", 1, 2, 3]},
        {"x": 1},
        {"rejected": 2},
        {"rejected": [0]},
        {"rejected": ["2"]},
    ],
    ids=str,
)
def test_a_recipe_whose_keeping_cannot_be_read_is_refused(value):
    data = json.loads(RECIPE.to_json()) | {"preserving": value}
    with pytest.raises(InputError, match=r"preserving|unknown name x"):
        Recipe.from_json(json.dumps(data))


def test_differences_name_what_decides_pixels_and_nothing_else():
    timed = replace(RECIPE, timings_s={"sample": 3.0}, output_sha256="02", warnings=())
    assert RECIPE.differences(timed) == []
    (only,) = RECIPE.differences(replace(RECIPE, threads=8))
    assert only == "threads: 2, now 8"


def test_the_minimal_recipe_holds_no_words_and_no_file_names():
    text = RECIPE.without_prompts().to_json()
    assert not any(word in text for word in ("night", "cat", "cut"))
    assert Recipe.from_json(text).output_sha256 == "01"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "recast-recipe-1"),
        ('{"format": "other"}', "recast-recipe-1"),
        ('{"format": "recast-recipe-1"}', "incomplete"),
        ('{"format": "recast-recipe-1", "images": [3]}', "an object needed for ingredient"),
        (RECIPE.to_json().replace('"seed"', '"sead"'), "unknown name sead"),
        (RECIPE.to_json().replace('"seed": 7', '"seed": "x"'), "seed: 'x' came; int accepted"),
        (RECIPE.to_json().replace("[1.0, 0.5, 0.0]", "3"), "times: 3 came; a list accepted"),
        (RECIPE.to_json().replace("[1.0, 0.5, 0.0]", '["a", "b"]'), "two numbers or more"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_recipe_is_refused(text: str, message: str):
    with pytest.raises(InputError, match=message):
        Recipe.from_json(text)
