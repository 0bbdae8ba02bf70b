"""A recast model as a system: the pipeline's own pictures, its time and its recipe."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recast.errors import ConfigError, MissingWeights
from recast.quality import systems
from recast.quality.systems.contract import Failed
from recast.quality.systems.local import Local
from tests.quality.systems.conftest import context, words
from tests.tiny import tiny_pipeline


def local(**options) -> Local:
    return Local("tiny", model=tiny_pipeline(), steps=2, **options)


def small(*contexts, width=64, height=32, seed=3):
    return words(contexts=contexts, width=width, height=height, seed=seed)


def test_words_become_the_pipelines_own_picture():
    made = local(guidance=2.0).make(small())
    expected = tiny_pipeline().generate(small().instruction, width=64, height=32, steps=2, seed=3, guidance=2.0)
    np.testing.assert_array_equal(made.pixels, expected.pictures[0].rgb)


def test_an_edit_is_the_pipelines_own_with_every_context():
    first, second = context(1, 64, 32), context(2, 32, 32)
    made = local(size="source").make(small(first, second))
    pipeline = tiny_pipeline()
    expected = pipeline.edit(first, small().instruction, references=[second], steps=2, seed=3, size="source")
    np.testing.assert_array_equal(made.pixels, expected.pictures[0].rgb)
    alone = pipeline.edit(first, small().instruction, steps=2, seed=3, size="source")
    assert not np.array_equal(made.pixels, alone.pictures[0].rgb)


def test_a_size_between_whole_tokens_is_rounded_and_recorded():
    made = local().make(small(width=70, height=30))
    assert made.pixels.shape == (32, 64, 3)
    assert (made.detail["asked_size"], made.detail["got_size"]) == ([70, 30], [64, 32])


def test_the_time_is_split_and_within_the_whole():
    made = local().make(small())
    split = made.detail["timings_s"]
    assert set(split) == {"encode", "sample", "decode"}
    assert 0 < sum(split.values()) <= made.seconds
    assert made.detail["steps"] == 2


def test_a_model_of_words_alone_refuses_to_edit():
    system = Local("tiny", model=tiny_pipeline(takes_context=False))
    with pytest.raises(Failed, match="trained to make pictures from text alone"):
        system.make(small(context(1)))


def test_what_the_pipeline_cannot_do_is_a_failure_of_the_request():
    with pytest.raises(Failed, match=r"width=.*accepted") as caught:
        local().make(small(width=10**6, height=16))
    assert caught.value.status == "error"


@pytest.mark.parametrize(
    ("options", "said"), [({"stepz": 3}, "stepz: not an option"), ({"seed": 1}, "belongs to each")]
)
def test_options_are_checked_before_anything_is_loaded(options, said):
    with pytest.raises(ConfigError, match=said):
        Local("/nowhere", **options)


def test_the_description_tells_what_decides_the_picture():
    told = local(guidance=2.0).describe()
    json.dumps(told)
    assert (told["weights"], told["steps"], told["guidance"]) == ({"tiny": "seed 0"}, 2, 2.0)
    assert "seed" not in told
    assert local(guidance=3.0).describe() != told


def test_it_costs_nothing_and_works_alone():
    assert (local().price_usd(small()), local().concurrency, local().name) == (0.0, 1, "tiny")


def test_a_place_without_weights_is_said_to_be_one(tmp_path):
    with pytest.raises(MissingWeights):
        systems.named(f"recast:{tmp_path}/nothing")


@pytest.mark.slow
def test_the_embedded_model_is_a_system():
    system = systems.named("nano", steps=2)
    assert system.name == "nano"
    made = system.make(small(context(1, 64, 64), width=64, height=64))
    assert made.pixels.shape == (64, 64, 3)
    assert len(system.describe()["weights"]) >= 3
