"""A trained network as pairs of low rank: exact where it is of low rank, with an honest error where it is not."""

import math

import pytest
import torch

from recast import weights
from recast.errors import WeightsError
from recast.train.deltas import split
from recast.weights.reading import read_tensor
from tests.students import adapted, trained, write_base

PARTS = {
    *(f"transformer_blocks.0.attn.{name}" for name in ("to_q", "to_k", "to_v")),
    *(f"transformer_blocks.0.attn.add_{name}_proj" for name in "qkv"),
    *(f"single_transformer_blocks.0.{name}" for name in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")),
}  # what diffusers calls the parts of the matrices that the student's adapters change


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return weights.open_checkpoint(write_base(tmp_path_factory.mktemp("models") / "nano"))


def changes(student, base):
    return {
        name: tensor - read_tensor(base.tensors[name])
        for name, tensor in student.state_dict().items()
        if name in base.tensors
    }


def parts(name, change):
    """q, k and v, and the MLP where it is in one matrix with them."""
    if "qkv.weight" in name:
        return change.chunk(3)
    width = change.shape[-1]
    return change.split([width, width, width, len(change) - 3 * width]) if "linear1.weight" in name else [change]


def test_what_adapters_changed_is_held_exactly_and_nothing_else_is_written(base):
    made = split(adapted().state_dict(), base, rank=16, dtype=torch.float32)
    assert made.error < 1e-5
    assert made.rank == 2  # that of the adapters: each part of a fused matrix has a pair of its own
    modules = {name.removeprefix("diffusion_model.").rsplit(".lora", 1)[0] for name in made.tensors if "lora" in name}
    assert modules == PARTS
    rest = {name for name in made.tensors if "lora" not in name}
    assert rest == {
        f"diffusion_model.guidance_in.{layer}.{role}"
        for layer in ("in_layer", "out_layer")
        for role in ("set_weight", "diff_b")
    }


def test_the_error_is_that_of_the_best_pairs(base):
    """Against singular values, which are computed another way."""
    student = trained()
    made = split(student.state_dict(), base, rank=4, dtype=torch.float32)
    left = total = 0.0
    for name, whole in changes(student, base).items():
        total += float(whole.double().square().sum())
        for change in parts(name, whole):
            if change.ndim == 2 and 4 * sum(change.shape) < change.numel():
                left += float(torch.linalg.svdvals(change.double())[4:].square().sum())
    assert made.error == pytest.approx(math.sqrt(left / total), rel=1e-4)
    assert 0.3 < made.error < 1
    needed = made.rank_for(0.3)
    assert split(student.state_dict(), base, rank=needed, dtype=torch.float32).error <= 0.3
    assert split(student.state_dict(), base, rank=needed - 1, dtype=torch.float32).error > 0.3


def test_rounding_counts(base):
    student = adapted()
    exact, rounded = (split(student.state_dict(), base, rank=8, dtype=d).error for d in (torch.float32, torch.bfloat16))
    assert exact < 1e-5 < 1e-3 < rounded < 1e-2


def test_students_of_another_network_are_refused(base):
    tensors = trained().state_dict()
    with pytest.raises(WeightsError, match="has the weights of its base"):
        split({n: read_tensor(s) for n, s in base.tensors.items()}, base, rank=4)
    for change, said in (
        ({"img_in.bias": torch.zeros(47)}, "misshapen: 1"),
        ({"img_in.weight": torch.full((48, 64), torch.nan)}, "not finite: 1"),
        ({"double_blocks.9.img_attn.qkv.weight": torch.zeros(3)}, "unexpected: 1"),
    ):
        with pytest.raises(WeightsError, match=said):
            split({**tensors, **change}, base, rank=4)
    del tensors["img_in.bias"]
    with pytest.raises(WeightsError, match=r"missing: 1 \(img_in.bias\)"):
        split(tensors, base, rank=4)


def test_what_is_held_worst_is_named_as_the_file_has_it(base):
    for name, told in (
        ("double_blocks.0.img_attn.qkv.weight", "transformer_blocks.0.attn.to_k.weight"),
        ("double_blocks.0.img_mlp.0.weight", "double_blocks.0.img_mlp.0.weight"),
    ):
        tensors = {each: read_tensor(source).clone() for each, source in base.tensors.items()}
        rows = tensors[name][48:96]  # of k, where it is q, k and v
        rows += torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
        assert split(tensors, base, rank=1).worst[1] == told
