"""The embedding of a student, and adapters beside it."""

from dataclasses import replace

import pytest

from recast.errors import ConfigError
from recast.train.adapters import LoRA
from recast.train.distill.embedding import attach, with_guidance
from tests.tiny import tiny_flow


def test_adapters_stay_off_the_embedding_and_want_one():
    base = tiny_flow(guidance_embed=False)
    with pytest.raises(ConfigError, match="no guidance embedding"):
        attach(base, LoRA())
    student = with_guidance(base)
    with pytest.raises(ConfigError, match="take in guidance_in"):
        attach(student, LoRA(targets="all linears"))
    made = attach(student, LoRA(rank=1))  # the attempt left nothing behind
    trained = {name for name, parameter in student.named_parameters() if parameter.requires_grad}
    assert all("change" in name or name.startswith("guidance_in.") for name in trained)
    assert replace(made.lora, rank=2).rank == 2
