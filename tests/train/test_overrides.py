"""Settings from words: every field by its type, and nothing ignored."""

from __future__ import annotations

import pytest

from recast.errors import ConfigError
from recast.train.adapters import LoRA
from recast.train.overrides import names, override
from recast.train.presets import Data
from recast.train.settings import Optimiser, Run, Settings


def test_values_are_read_as_their_fields_say():
    course = override(Run(steps=5), ["steps=7", "minutes=2.5", "precision=bf16", "compile=true", "peak_tflops=none"])
    assert (course.steps, course.minutes, course.precision, course.compile) == (7, 2.5, "bf16", True)
    assert course.peak_tflops is None
    assert override(Optimiser(), ["betas=[0.8, 0.99]"]).betas == (0.8, 0.99)


def test_a_dotted_name_reaches_into_a_dataclass_inside():
    whole = Settings(run=Run(steps=5))
    assert override(whole, ["run.steps=9", "parallel.shard=2"]).run.steps == 9
    assert whole.run.steps == 5
    assert "run.minutes" in names(whole)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("steps", "name=value"),
        ("stepz=3", "did you mean steps"),
        ("steps=three", "a whole number"),
        ("compile=yes", "true or false"),
        ("precision=fp16", "fp32, bf16 accepted"),
        ("steps=0", "above 0"),
        ("seed.inner=3", "has nothing inside"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(word, message):
    with pytest.raises(ConfigError, match=message):
        override(Run(steps=5), [word])


@pytest.mark.parametrize(
    ("config", "word", "message"),
    [
        (Data(), "sizes=[64, 64]", r"sizes: 64 came; \(width, height\)"),
        (Data(), "buckets=[[64, 64], [64]]", r"buckets: \(64,\) came"),
        (Data(), "sizes=[[64.5, 64]]", r"sizes: \(64.5, 64\) came"),
        (Data(), "sizes=[[-64, 64]]", r"sizes: \(-64, 64\) came.* from 1, accepted"),
        (Data(), "sizes=[[0, 64]]", r"sizes: \(0, 64\) came"),
        (Data(), "buckets=[[true, 64]]", r"buckets: \(True, 64\) came"),
        (Data(), "statistics=0", "statistics=0: a whole number from 1"),
        (Optimiser(), "betas=[0.9]", "betas=.*two numbers from 0 to below 1"),
        (Optimiser(), "betas=[0.9, 1]", "betas=.*two numbers from 0 to below 1"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(config, word, message):
    with pytest.raises(ConfigError, match=message):
        override(config, [word])


def test_a_word_or_a_list_of_them():
    assert override(LoRA(), ["targets=attention"]).targets == "attention"
    assert override(LoRA(), ['targets=["double_blocks.*"]']).targets == ("double_blocks.*",)


def test_fields_that_must_agree_are_changed_together():
    two, weights = "sizes=[[64, 64], [32, 32]]", "size_weights=[1, 3]"
    for words in ([two, weights], [weights, two]):
        assert override(Data(), words).weighted_sizes == {(64, 64): 1, (32, 32): 3}
    with pytest.raises(ConfigError, match="one for each of 1 sizes"):
        override(Data(), [weights])
    assert override(Run(steps=5), ["steps=7", "steps=9"]).steps == 9
    with pytest.raises(ConfigError, match=r"did you mean parallel\.shard"):
        override(Settings(run=Run(steps=5)), ["parallel.shart=2"])
