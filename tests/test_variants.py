"""A list of prompts: as many pictures of one source, each by words of its own."""

import numpy as np
import pytest

from recast.errors import ConfigError, InputError
from tests.tiny import tiny_pipeline

PROMPTS = ["make it red", "make it blue, please", ""]


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def test_each_variant_is_the_edit_by_its_words_alone(source: np.ndarray):
    pipeline = tiny_pipeline()
    together = pipeline.edit(source, PROMPTS, seed=5, steps=2)
    assert [recipe.prompt for recipe in together.recipes] == PROMPTS
    assert [recipe.seed for recipe in together.recipes] == [5, 6, 7]
    for number, prompt in enumerate(PROMPTS):
        alone = pipeline.edit(source, prompt, seed=5 + number, steps=2)
        assert alone.recipe.output_sha256 == together.recipes[number].output_sha256


def test_the_words_decide(source: np.ndarray):
    pipeline = tiny_pipeline()
    same = pipeline.edit(source, "make it red", seed=5, steps=2, num_images=2)
    other = pipeline.edit(source, ["make it red", "make it blue"], seed=5, steps=2)
    assert same.recipes[0].output_sha256 == other.recipes[0].output_sha256
    assert same.recipes[1].output_sha256 != other.recipes[1].output_sha256


def test_in_batches_they_are_the_same_but_for_the_last_bits(source: np.ndarray):
    pipeline = tiny_pipeline()
    alone = pipeline.edit(source, PROMPTS, seed=5, steps=2, true_guidance=2.0)
    batched = pipeline.edit(source, PROMPTS, seed=5, steps=2, true_guidance=2.0, batch_size=2)
    for one, other in zip(alone.pictures, batched.pictures, strict=True):
        assert np.abs(one.rgb.astype(int) - other.rgb).max() <= 1
    assert [recipe.batch_size for recipe in batched.recipes] == [2, 2, 1]


def test_references_are_called_by_name_in_each(source: np.ndarray):
    pipeline = tiny_pipeline()
    made = pipeline.edit(source, ["put @logo on it", "a plain one"], references={"logo": source}, seed=1, steps=1)
    assert made.warnings == ("references[logo]: the prompt does not call @logo",)
    with pytest.raises(InputError, match="@face names no reference"):
        pipeline.start_edit(source, ["put @logo on it", "put @face on it"], references={"logo": source})


def test_pictures_from_words(source: np.ndarray):
    made = tiny_pipeline().generate(["a dog", "a cat"], width=32, height=32, seed=1, steps=1)
    assert [recipe.prompt for recipe in made.recipes] == ["a dog", "a cat"]


@pytest.mark.parametrize("prompt", [[], ["a", 3], None, {"a": "b"}])
def test_what_is_no_list_of_words_is_refused(source: np.ndarray, prompt: object):
    with pytest.raises(InputError, match="prompt="):
        tiny_pipeline().start_edit(source, prompt)


def test_how_many_pictures_the_list_says(source: np.ndarray):
    with pytest.raises(ConfigError, match="num_images=4: a list of 2 prompts makes a picture of each"):
        tiny_pipeline().start_edit(source, ["a", "b"], num_images=4)
