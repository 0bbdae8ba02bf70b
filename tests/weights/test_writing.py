"""What is written is read back to the bit, by us and by diffusers; whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from safetensors.torch import load_file

from recast.config import ModelConfig
from recast.errors import WeightsError
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.weights import checksum, convert, load_into, open_checkpoint, read_config, save, summary
from tests.weights.models import same

Write = Callable[..., Path]


@pytest.fixture
def model(flow: FlowTransformer, autoencoder: Autoencoder, config: ModelConfig, tmp_path: Path) -> Path:
    flow.bfloat16()
    text = {"shared.weight": torch.ones(4, 3)}
    parts = {"flow": flow, "autoencoder": autoencoder, "text_encoder": text}
    return save(tmp_path / "model", parts, config, text_encoder_config={"model_type": "t5"})


@pytest.mark.parametrize("layout", ["bfl", "diffusers", "recast"])
@pytest.mark.parametrize("shard_bytes", [30_000, 10**10])
def test_there_and_back_through_any_layout_is_the_same_file_to_the_bit(
    model: Path, tmp_path: Path, layout: str, shard_bytes: int
) -> None:
    there = convert(model, tmp_path / "there", layout, shard_bytes=shard_bytes)  # type: ignore[arg-type]
    back = convert(there, tmp_path / "back", "recast", config=read_config(model))
    assert {file.name for file in back.iterdir()} == {file.name for file in model.iterdir()}
    for file in ("flow.safetensors", "ae.safetensors", "config.json", "text_encoder/model.safetensors"):
        assert (back / file).read_bytes() == (model / file).read_bytes(), file
    assert checksum(back) == checksum(model)


def test_diffusers_opens_what_is_written_for_it_and_resharding_is_bit_identical(
    model: Path, flow: FlowTransformer, autoencoder: Autoencoder, tmp_path: Path
) -> None:
    there = convert(model, tmp_path / "there", "diffusers", shard_bytes=100_000)
    files = sorted(file.name for file in (there / "transformer").glob("*.safetensors"))
    assert files[0] == f"diffusion_pytorch_model-00001-of-{len(files):05}.safetensors"
    assert all((there / "transformer" / file).stat().st_size < 120_000 for file in files)
    index = json.loads((there / "transformer" / "diffusion_pytorch_model.safetensors.index.json").read_text())
    theirs = FluxTransformer2DModel.from_pretrained(there / "transformer", torch_dtype=torch.bfloat16)
    state = theirs.state_dict()
    assert index["weight_map"].keys() == state.keys()
    assert index["metadata"]["total_size"] == sum(2 * value.numel() for value in state.values())
    vae = AutoencoderKL.from_pretrained(there / "vae")
    assert vae.config.scaling_factor == autoencoder.config.scale_factor
    assert torch.equal(
        vae.decoder.mid_block.attentions[0].to_q.weight, autoencoder.decoder.mid.attn_1.q.weight[..., 0, 0]
    )
    again = convert(there, tmp_path / "again", "diffusers")
    assert len(list((again / "transformer").glob("*.safetensors"))) == 1
    resharded = load_file(next((again / "transformer").glob("*.safetensors")))
    assert resharded.keys() == state.keys()
    assert all(torch.equal(resharded[name], state[name]) for name in state)


def test_a_single_file_of_ours_says_its_own_config(flow: FlowTransformer, config: ModelConfig, tmp_path: Path) -> None:
    """Heads of 16 channels: no shape tells how they divide into axes."""
    path = save(tmp_path / "mine.safetensors", {"flow": flow}, config, layout="bfl")
    assert open_checkpoint(path).config == config.flow
    there = convert(path, tmp_path / "there", "diffusers")
    assert json.loads((there / "transformer" / "config.json").read_text())["axes_dims_rope"] == [4, 6, 6]
    assert convert(there / "transformer", tmp_path / "back.safetensors", "bfl").read_bytes() == path.read_bytes()


def test_the_published_variant_survives_every_layout(
    tmp_path: Path, flow: FlowTransformer, config: ModelConfig
) -> None:
    named = replace(config, name="kontext_dev")
    bfl = save(tmp_path / "bfl", {"flow": flow}, named, layout="bfl")
    assert [file.name for file in bfl.iterdir()] == ["flux1-kontext-dev.safetensors"]
    assert summary(bfl).variant == "kontext_dev"
    assert summary(convert(bfl, tmp_path / "x", "diffusers")).variant == "kontext_dev"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float8_e4m3fn, None])
def test_a_dtype_asked_for_is_written_and_nothing_else_changes(
    flow: FlowTransformer, config: ModelConfig, tmp_path: Path, dtype: torch.dtype | None
) -> None:
    one = save(tmp_path / "one.safetensors", {"flow": flow}, config, layout="bfl", dtype=dtype)
    whole = save(tmp_path / "whole.safetensors", {"flow": flow}, config, layout="bfl")
    two = convert(whole, tmp_path / "two.safetensors", "bfl", dtype=dtype)
    assert one.read_bytes() == two.read_bytes()
    for name, value in load_file(one).items():
        assert torch.equal(value.float(), flow.get_parameter(name).to(dtype or torch.float32).float())


def test_scaled_eight_bit_files_are_written_out_as_their_values(
    flow: FlowTransformer, config: ModelConfig, write: Write, tmp_path: Path
) -> None:
    state = dict(flow.state_dict())
    eight = state["txt_in.weight"].to(torch.float8_e4m3fn)
    path = write(state | {"txt_in.weight": eight, "txt_in.scale_weight": torch.tensor(0.3), "scaled_fp8": eight[0, :0]})
    target = convert(path, tmp_path / "out.safetensors", "bfl", config=config)
    written = load_file(target)
    assert written.keys() == state.keys()
    assert torch.equal(written["txt_in.weight"], (eight.float() * 0.3).bfloat16())


def test_something_at_the_target_is_never_overwritten(model: Path, config: ModelConfig, tmp_path: Path) -> None:
    file, folder, empty = tmp_path / "x.safetensors", tmp_path / "folder", tmp_path / "empty"
    file.write_text("mine")
    folder.mkdir()
    (folder / "note").write_text("mine")
    empty.mkdir()
    for target in (file, folder):
        with pytest.raises(WeightsError, match="exists and is not empty"):
            convert(model, target, "bfl", parts=("flow",))
    assert file.read_text() == (folder / "note").read_text() == "mine"
    assert sorted(entry.name for entry in convert(model, empty, "bfl").iterdir()) == [
        "ae.safetensors",
        "flow.safetensors",
        "text_encoder",
    ]


def test_a_conversion_that_fails_leaves_nothing(model: Path, tmp_path: Path, config: ModelConfig) -> None:
    before = sorted(tmp_path.iterdir())
    cached = replace(config, flow=replace(config.flow, context_attention="cached"))
    with pytest.raises(WeightsError, match="context_attention=cached"):
        convert(model, tmp_path / "target", "diffusers", config=cached)
    with pytest.raises(WeightsError, match="one part"):
        convert(model, tmp_path / "target.safetensors", "bfl")
    with pytest.raises(WeightsError, match="one part"):
        convert(model, tmp_path / "target.safetensors", "diffusers", parts=("flow",))
    with pytest.raises(WeightsError, match="a recast folder holds"):
        convert(model, tmp_path / "target", "recast", parts=("autoencoder",))
    with pytest.raises(WeightsError, match="not at"):
        convert(model / "flow.safetensors", tmp_path / "target", "bfl", parts=("autoencoder",))
    assert sorted(tmp_path.iterdir()) == before


def test_an_unknown_tensor_is_not_dropped_on_the_way_to_diffusers(
    flow: FlowTransformer, config: ModelConfig, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=r"no place for 1 \(more.weight\)"):
        save(tmp_path / "x", {"flow": {**flow.state_dict(), "more.weight": torch.ones(1)}}, config, layout="diffusers")


def test_a_module_without_values_is_not_saved(empty_flow: FlowTransformer, config: ModelConfig, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="on the meta device"):
        save(tmp_path / "x", {"flow": empty_flow}, config)


def test_saving_a_mapped_module_elsewhere_keeps_both_files_right(
    model: Path, flow: FlowTransformer, empty_flow: FlowTransformer, config: ModelConfig, tmp_path: Path
) -> None:
    load_into(empty_flow, open_checkpoint(model))
    save(tmp_path / "copy", {"flow": empty_flow}, config)
    assert (tmp_path / "copy" / "flow.safetensors").read_bytes() == (model / "flow.safetensors").read_bytes()
    assert same(empty_flow, flow)


def test_half_a_fused_tensor_is_not_converted(model: Path, write: Write, tmp_path: Path) -> None:
    there = convert(model, tmp_path / "there", "diffusers")
    state = load_file(there / "transformer" / "diffusion_pytorch_model.safetensors")
    del state["transformer_blocks.0.attn.to_k.weight"], state["single_transformer_blocks.0.proj_mlp.bias"]
    with pytest.raises(WeightsError, match=r"missing: 2 \(single_\S+proj_mlp.bias, transformer_\S+to_k.weight\)"):
        convert(write(state), tmp_path / "out.safetensors", "bfl")
    assert not (tmp_path / "out.safetensors").exists()
