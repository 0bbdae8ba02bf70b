"""A model kept as what it changes of another: what its file says, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from recast import weights
from recast.errors import WeightsError
from recast.train.adapters import fingerprint
from recast.weights.deltas import FORMAT, KEY, Base, Delta
from tests.students import base_config, turbo_config, write_base
from tests.tiny import tiny_flow

NAME = "diffusion_model.img_in"


def delta(tmp_path, **changes):
    made = Delta(path=tmp_path / "turbo.safetensors", base=Base(name="nano", sha256="ab" * 32), config=turbo_config())
    tensors = {f"{NAME}.diff_b": torch.ones(48), f"{NAME}.diff": torch.zeros(48, 64)}
    return weights.save_delta(made.path, tensors, replace(made, **changes))


def test_a_delta_says_what_was_written(tmp_path):
    written = delta(tmp_path, rank=3, error=0.25, about={"run": "7"})
    assert weights.is_delta(written.path)
    assert weights.read_delta(written.path) == written
    assert (written.parameters, written.size_bytes) == (48 + 48 * 64, 4 * (48 + 48 * 64))
    assert weights.read_config(written.path) == turbo_config()
    with pytest.raises(WeightsError, match="exists"):
        delta(tmp_path)


def test_other_files_are_no_deltas(tmp_path):
    plain = tmp_path / "plain.safetensors"
    save_file({"a": torch.zeros(1)}, plain)
    assert not weights.is_delta(plain)
    assert not weights.is_delta(tmp_path)
    assert not weights.is_delta(tmp_path / "gone.safetensors")
    with pytest.raises(WeightsError, match=r"plain.safetensors'.* says no base"):
        weights.read_delta(plain)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("[", "says no base"),
        ({"format": "recast-delta-9"}, "of format 'recast-delta-9'"),
        ({"format": FORMAT, "base": {"name": "nano"}}, r"header is unreadable .*sha256"),
        ({"format": FORMAT, "base": {"name": "n", "sha256": "0"}, "config": {"nam": 1}}, "unknown name nam"),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path, said, message):
    file = tmp_path / "odd.safetensors"
    save_file({"a": torch.zeros(1)}, file, {KEY: said if isinstance(said, str) else json.dumps(said)})
    with pytest.raises(WeightsError, match=message):
        weights.read_delta(file)


def test_a_delta_is_no_checkpoint(tmp_path):
    written = delta(tmp_path)
    with pytest.raises(WeightsError, match=r"a delta, which changes nano and holds no flow"):
        weights.open_all(written.path)


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    made = Delta(path=tmp_path / "a.safetensors", base=Base(name="nano", sha256=""), config=base_config())
    with pytest.raises(WeightsError, match=r"img_in.diff_b: has numbers that are not finite"):
        weights.save_delta(made.path, {f"{NAME}.diff_b": torch.full((48,), torch.inf)}, made)
    with pytest.raises(WeightsError, match=r"ends in \.safetensors"):
        weights.save_delta(tmp_path / "a.bin", {}, made)
    assert not list(tmp_path.iterdir())


def test_the_hash_of_a_base_is_of_its_values_and_the_same_in_every_layout(tmp_path):
    flow = tiny_flow(0, mlp_ratio=4.0)
    config = replace(base_config(), flow=flow.config)
    ours = weights.save(tmp_path / "flow.safetensors", {"flow": flow}, config, layout="bfl")
    theirs = weights.convert(ours, tmp_path / "diffusers", "diffusers", parts=("flow",))
    opened = weights.open_checkpoint(ours)
    assert weights.digest(opened) == weights.digest(weights.open_checkpoint(theirs)) == fingerprint(flow)
    with torch.no_grad():
        flow.img_in.bias[0] += 1e-6
    other = weights.save(tmp_path / "other.safetensors", {"flow": flow}, config, layout="bfl")
    assert weights.digest(weights.open_checkpoint(other)) != weights.digest(opened)


def test_a_tensor_that_fits_nothing_is_refused_and_one_that_fits_is_added_for_good(tmp_path):
    base = write_base(tmp_path / "base")
    opened = weights.open_checkpoint(base)
    made = Delta(
        path=tmp_path / "a.safetensors", base=Base(name="nano", sha256=weights.digest(opened)), config=turbo_config()
    )
    flow = tiny_flow(0, depth=1, depth_single_blocks=1, guidance_embed=False)
    before = flow.img_in.bias.clone()
    written = weights.save_delta(made.path, {f"{NAME}.diff_b": torch.ones(48)}, made)
    weights.check_base(written, opened)
    weights.apply_delta(flow, written)
    assert torch.equal(flow.img_in.bias, before + 1)
    odd = weights.save_delta(
        tmp_path / "b.safetensors",
        {f"{NAME}.diff_b": torch.ones(48), "diffusion_model.double_blocks.7.img_mlp.0.diff_b": torch.ones(3)},
        made,
    )
    with pytest.raises(WeightsError, match=r"b.safetensors.*double_blocks.7.*fit nothing in nano"):
        weights.apply_delta(flow, odd)
    with pytest.raises(WeightsError, match=r"is over nano with weights cdcdcdcdcdcd; those at .* are"):
        weights.check_base(replace(written, base=Base(name="nano", sha256="cd" * 32)), opened)
