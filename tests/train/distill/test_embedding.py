"""A student's delta: one file of adapters and embedding, which makes the base that student."""

from dataclasses import replace

import pytest
import torch

from recast.errors import ConfigError, WeightsError
from recast.latents.tokens import positions
from recast.train.adapters import LoRA
from recast.train.distill.embedding import attach, save_delta, with_guidance
from recast.weights import fold, read_adapter, unfold
from tests.tiny import randomise, tiny_flow


def velocity(flow, scale: float | None) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    text, pooled, x = (torch.randn(2, *shape, generator=g) for shape in ((5, 24), (24,), (6, 64)))
    asked = {} if scale is None else {"guidance": torch.full((2,), scale)}
    with torch.no_grad():
        condition = flow.condition(positions=positions((2, 3)), text=text, pooled=pooled, **asked)
        return flow(x, torch.tensor([0.3, 0.8]), condition)


def test_a_delta_makes_the_base_the_student_and_is_taken_out_again(tmp_path):
    base = tiny_flow(guidance_embed=False)
    student = with_guidance(base)
    low_rank = attach(student, LoRA(rank=2, alpha=3.0, targets=("double_blocks.*_attn.qkv", "single_blocks.0.linear1")))
    randomise(low_rank, 1)
    randomise(student.guidance_in, 2)
    path = save_delta(tmp_path / "delta.safetensors", student, low_rank, about={"steps": 7})
    read = with_guidance(base, seed=9)
    plain = velocity(read, 3.0)
    adapter = read_adapter(path, read)
    assert not adapter.report.unmatched
    assert "guidance_in.out_layer" in adapter.report.modules
    folded = fold(read, adapter)
    assert (velocity(read, 3.0) - plain).abs().max() > 0.1
    for scale in (1.0, 3.0):
        torch.testing.assert_close(velocity(read, scale), velocity(student, scale), atol=1e-4, rtol=1e-4)
    unfold(read, folded)
    torch.testing.assert_close(velocity(read, 3.0), velocity(base, None))


def test_a_delta_is_refused_where_one_is_and_with_numbers_that_are_not_finite(tmp_path):
    student = with_guidance(tiny_flow(guidance_embed=False, depth=1, depth_single_blocks=1))
    low_rank = attach(student, LoRA(rank=1))
    path = save_delta(tmp_path / "delta.safetensors", student, low_rank, dtype=torch.bfloat16)
    with pytest.raises(WeightsError, match="exists"):
        save_delta(path, student, low_rank)
    student.guidance_in.out_layer.bias.data[0] = float("nan")
    with pytest.raises(WeightsError, match=r"guidance_in.out_layer.diff_b: has numbers that are not finite"):
        save_delta(tmp_path / "other.safetensors", student, low_rank)
    assert [each.name for each in tmp_path.iterdir()] == ["delta.safetensors"]


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
