"""Every layout gives the same tensors; every key is accounted for; no weight is held twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from safetensors.torch import load_file
from torch import nn

from recast.config import ModelConfig, kontext_dev, to_dict
from recast.errors import MissingWeights, WeightsError
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.weights import configs, load_into, open_checkpoint, read_config, save, summary
from recast.weights.files import TensorFile
from tests.weights.models import randomised, same, velocity_of_ours, velocity_of_theirs

ROOT = Path(__file__).parents[2]
Write = Callable[..., Path]


@pytest.fixture
def published(config: ModelConfig) -> FluxTransformer2DModel:
    settings = configs.flow_to_diffusers(config.flow)
    return randomised(FluxTransformer2DModel(**{k: v for k, v in settings.items() if not k.startswith("_")}))


@pytest.mark.parametrize("shard", ["40KB", "10GB"])
def test_a_diffusers_transformer_gives_the_same_velocity_here(
    published: FluxTransformer2DModel, empty_flow: FlowTransformer, config: ModelConfig, tmp_path: Path, shard: str
) -> None:
    published.save_pretrained(tmp_path / "transformer", max_shard_size=shard)
    shards = len(list(tmp_path.rglob("*.safetensors")))
    assert (shards > 3) == (shard == "40KB")
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.layout == "diffusers"
    assert checkpoint.config == config.flow
    load_into(empty_flow, checkpoint)
    torch.testing.assert_close(velocity_of_ours(empty_flow), velocity_of_theirs(published), atol=1e-5, rtol=1e-4)


def test_a_fused_tensor_is_read_across_shards(
    published: FluxTransformer2DModel, empty_flow: FlowTransformer, tmp_path: Path
) -> None:
    """q, k and v of one block in three files: the index is followed, nothing is assumed to lie together."""
    published.save_pretrained(tmp_path, max_shard_size="10KB")
    checkpoint = open_checkpoint(tmp_path)
    pieces = checkpoint.tensors["double_blocks.1.img_attn.qkv.weight"].pieces
    assert len({piece.stored.file for piece in pieces}) == 3
    load_into(empty_flow, checkpoint)
    state, attn = empty_flow.state_dict(), published.transformer_blocks[1].attn
    rows = torch.cat([attn.to_q.weight, attn.to_k.weight, attn.to_v.weight])
    assert torch.equal(state["double_blocks.1.img_attn.qkv.weight"], rows)
    scale, shift = published.norm_out.linear.bias.chunk(2)
    assert torch.equal(state["final_layer.adaLN_modulation.1.bias"], torch.cat([shift, scale]))


@torch.no_grad()
def test_a_diffusers_autoencoder_gives_the_same_pixels_here(config: ModelConfig, tmp_path: Path) -> None:
    settings = configs.autoencoder_to_diffusers(config.autoencoder)
    published = randomised(AutoencoderKL(**{k: v for k, v in settings.items() if not k.startswith("_")}))
    published.save_pretrained(tmp_path / "vae", max_shard_size="100KB")
    checkpoint = open_checkpoint(tmp_path, "autoencoder")
    assert checkpoint.config == config.autoencoder
    with torch.device("meta"):
        ours = Autoencoder(config.autoencoder)
    load_into(ours, checkpoint)
    pixels = torch.rand(1, 3, 32, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = published.encode(pixels).latent_dist.mode()
    scale, shift = config.autoencoder.scale_factor, config.autoencoder.shift_factor
    torch.testing.assert_close(ours.encode(pixels), scale * (latents - shift), atol=1e-4, rtol=1e-4)
    theirs = published.decode(latents).sample
    torch.testing.assert_close(ours.decode(scale * (latents - shift)), theirs, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
def test_a_bfl_file_is_read_with_any_prefix_and_what_else_it_carries(
    flow: FlowTransformer, autoencoder: Autoencoder, config: ModelConfig, write: Write, prefix: str
) -> None:
    tensors = {prefix + name: value for name, value in flow.state_dict().items()}
    if prefix:
        tensors |= {f"vae.{name}": value for name, value in autoencoder.state_dict().items()}
        tensors |= {"text_encoders.clip_l.transformer.text_model.final_layer_norm.weight": torch.ones(3)}
        tensors |= {"text_encoders.clip_l.logit_scale": torch.ones(())}
    path = write(tensors)
    with torch.device("meta"):
        empty, empty_autoencoder = FlowTransformer(config.flow), Autoencoder(config.autoencoder)
    assert load_into(empty, open_checkpoint(path)).mapped == len(empty.state_dict())
    assert same(empty, flow)
    if prefix:
        load_into(empty_autoencoder, open_checkpoint(path, "autoencoder"))
        assert same(empty_autoencoder, autoencoder)
        assert set(summary(path).parts) == {"flow", "autoencoder", "text_encoder"}
    else:
        with pytest.raises(MissingWeights, match="no autoencoder"):
            open_checkpoint(path, "autoencoder")


@pytest.mark.parametrize("layout", ["bfl", "diffusers"])
@pytest.mark.parametrize("rows", ["one", "each"])
def test_scaled_eight_bit_weights_are_their_value_times_their_scale(
    flow: FlowTransformer,
    empty_flow: FlowTransformer,
    config: ModelConfig,
    write: Write,
    tmp_path: Path,
    layout: str,
    rows: str,
) -> None:
    name = "double_blocks.0.img_attn.qkv.weight"
    state = {key: value.bfloat16() for key, value in flow.state_dict().items()}
    eight = state.pop(name).to(torch.float8_e4m3fn)
    width = config.flow.hidden_size
    scales = [torch.tensor(0.5), torch.tensor(0.25), torch.tensor(3.0)]
    if rows == "each":
        scales = [torch.rand(width, 1, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    if layout == "bfl":
        scale = torch.cat(scales) if rows == "each" else scales[0]
        extra = {name: eight, name.replace(".weight", ".scale_weight"): scale}
        extra |= {name.replace(".weight", ".scale_input"): torch.ones(()), "scaled_fp8": torch.ones(2).to(eight.dtype)}
        path = write(state | extra)
        expected = eight.float() * scale
    else:
        folder = save(tmp_path / "d", {"flow": state | {name: eight}}, config, layout="diffusers") / "transformer"
        scale_of = {
            f"transformer_blocks.0.attn.to_{part}.scale_weight": s for part, s in zip("qkv", scales, strict=True)
        }
        [file] = folder.glob("*.safetensors")
        path = write(load_file(file) | scale_of)
        expected = torch.cat([part.float() * scale for part, scale in zip(eight.split(width), scales, strict=True)])
    for dtype in (torch.float32, torch.bfloat16, None):
        load_into(empty_flow, open_checkpoint(path), dtype=dtype)
        loaded = empty_flow.get_parameter(name)
        assert loaded.dtype == (dtype or torch.bfloat16)
        assert torch.equal(loaded, expected.to(loaded.dtype))


def test_plain_eight_bit_weights_become_bfloat16_unless_asked_for(
    flow: FlowTransformer, empty_flow: FlowTransformer, write: Write
) -> None:
    eight = {name: value.to(torch.float8_e4m3fn) for name, value in flow.state_dict().items()}
    path = write(eight)
    load_into(empty_flow, open_checkpoint(path))
    assert torch.equal(empty_flow.img_in.weight, eight["img_in.weight"].bfloat16())
    load_into(empty_flow, open_checkpoint(path), dtype=torch.float8_e4m3fn)
    assert empty_flow.img_in.weight.dtype == torch.float8_e4m3fn


def test_a_scale_without_its_weight_is_unexpected(flow: FlowTransformer, empty_flow: nn.Module, write: Write) -> None:
    path = write(flow.state_dict() | {"double_blocks.7.img_mlp.0.scale_weight": torch.ones(())})
    with pytest.raises(WeightsError, match=r"unexpected: 1 \(double_blocks.7.img_mlp.0.scale_weight\)"):
        load_into(empty_flow, open_checkpoint(path))


def test_missing_unexpected_and_misshapen_names_are_listed_ten_of_each_with_counts(
    flow: FlowTransformer, empty_flow: FlowTransformer, write: Write
) -> None:
    state = flow.state_dict()
    gone = sorted(name for name in state if name.startswith("single_blocks.2"))
    assert len(gone) == 8
    gone += sorted(name for name in state if name.startswith("time_in"))
    kept = {name: value for name, value in state.items() if name not in gone}
    kept |= {f"extra.{i:02}": torch.ones(1) for i in range(12)}
    kept["txt_in.weight"] = torch.ones(48, 23)
    with pytest.raises(WeightsError) as raised:
        load_into(empty_flow, open_checkpoint(write(kept)))
    message = str(raised.value)
    assert "missing: 12 (" in message
    assert "unexpected: 12 (extra.00, extra.01," in message
    assert "extra.09, ...)" in message
    assert "extra.10" not in message
    assert "of another shape: 1 (txt_in.weight: (48, 23) in the file, (48, 24) in the model)" in message
    assert all(parameter.is_meta for parameter in empty_flow.parameters())


def test_a_missing_part_of_a_fused_tensor_is_named_as_the_file_would_name_it(
    published: FluxTransformer2DModel, empty_flow: FlowTransformer, write: Write
) -> None:
    state = published.state_dict()
    del state["single_transformer_blocks.1.proj_mlp.weight"]
    with pytest.raises(WeightsError, match=r"missing: 1 \(single_blocks.1.linear1.weight\).*1\.proj_mlp\.weight"):
        load_into(empty_flow, open_checkpoint(write(state)))


def test_tensors_that_are_no_weights_are_ignored_and_reported(flow: FlowTransformer, write: Write) -> None:
    module = nn.Module()
    module.shared = nn.Embedding(5, 3, device="meta")
    path = write({"shared.weight": torch.ones(5, 3), "encoder.embed_tokens.weight": torch.ones(5, 3),
                  "text_model.embeddings.position_ids": torch.arange(4)})  # fmt: skip
    loaded = load_into(module, open_checkpoint(path, "text_encoder"))
    assert set(loaded.ignored) == {"text_model.embeddings.position_ids", "encoder.embed_tokens.weight"}
    assert torch.equal(module.shared.weight, torch.ones(5, 3))


def test_tied_parameters_need_one_of_their_names_and_stay_tied(write: Write) -> None:
    module = nn.Module()
    module.shared = nn.Embedding(5, 3, device="meta")
    module.encoder = nn.Module()
    module.encoder.embed_tokens = nn.Embedding(5, 3, device="meta")
    module.encoder.embed_tokens.weight = module.shared.weight
    load_into(module, open_checkpoint(write({"shared.weight": torch.ones(5, 3)}), "text_encoder"))
    assert module.encoder.embed_tokens.weight.data_ptr() == module.shared.weight.data_ptr()


def test_a_buffer_that_nothing_fills_is_an_error_not_a_meta_tensor(flow: FlowTransformer, write: Write) -> None:
    with torch.device("meta"):
        module = FlowTransformer(flow.config)
        module.register_buffer("table", torch.ones(3), persistent=False)
    with pytest.raises(WeightsError, match=r"buffers 1 \(table\)"):
        load_into(module, open_checkpoint(write(flow.state_dict())))


def test_mapped_weights_can_be_trained_without_touching_the_file(
    flow: FlowTransformer, empty_flow: FlowTransformer, write: Write
) -> None:
    path = write(flow.state_dict())
    before = path.read_bytes()
    assert load_into(empty_flow, open_checkpoint(path)).mapped > 0
    with torch.no_grad():
        for parameter in empty_flow.parameters():
            assert parameter.requires_grad
            parameter.add_(1.0)
    assert path.read_bytes() == before
    assert torch.equal(empty_flow.img_in.weight, flow.img_in.weight + 1)


def test_an_index_that_lies_is_refused(published: FluxTransformer2DModel, tmp_path: Path) -> None:
    published.save_pretrained(tmp_path, max_shard_size="200KB")
    path = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index = json.loads(path.read_text())
    first, *_, last = sorted(set(index["weight_map"].values()))
    name = next(name for name, file in index["weight_map"].items() if file == first)

    for shard in ("../elsewhere.safetensors", "/etc/passwd", "a.bin"):
        path.write_text(json.dumps({"weight_map": index["weight_map"] | {name: shard}}))
        with pytest.raises(WeightsError, match="plain name"):
            open_checkpoint(tmp_path)
    path.write_text(json.dumps({"weight_map": index["weight_map"] | {name: last}}))
    with pytest.raises(WeightsError, match=rf"another shard.*{name}"):
        open_checkpoint(tmp_path)
    path.write_text(json.dumps({"weight_map": index["weight_map"] | {"new": last}}))
    with pytest.raises(WeightsError, match="new"):
        open_checkpoint(tmp_path)
    path.write_text(json.dumps(index))
    (tmp_path / last).unlink()
    with pytest.raises(MissingWeights, match=f"1 of .* shards missing: {last}"):
        open_checkpoint(tmp_path)


def test_a_folder_with_both_layouts_is_read_from_its_bfl_file(
    flow: FlowTransformer, published: FluxTransformer2DModel, write: Write, tmp_path: Path
) -> None:
    published.save_pretrained(tmp_path / "transformer")
    write(flow.state_dict(), "flux1-kontext-dev.safetensors")
    assert open_checkpoint(tmp_path).layout == "bfl"
    write(flow.state_dict(), "flux1-kontext-dev-lora.safetensors")
    assert open_checkpoint(tmp_path).files[0].name == "flux1-kontext-dev.safetensors"
    write(flow.state_dict(), "flux1-dev.safetensors")
    with pytest.raises(WeightsError, match=r"2 models here: flux1-dev.safetensors, flux1-kontext-dev.safetensors"):
        open_checkpoint(tmp_path)


def test_a_folder_of_pickles_only_says_so(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "diffusion_pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(MissingWeights, match=r"only diffusion_pytorch_model.bin, a pickle"):
        open_checkpoint(tmp_path)


def test_an_adapter_is_not_taken_for_a_model(write: Write) -> None:
    path = write(
        {"double_blocks.0.img_attn.qkv.lora_A.weight": torch.ones(2, 3), "img_in.lora_A.weight": torch.ones(2)}
    )
    with pytest.raises(MissingWeights, match="beside a model"):
        summary(path)


def test_the_whole_config_of_published_weights_is_the_preset_of_their_variant(tmp_path: Path) -> None:
    """The layout of 11.9 B parameters without their bytes: the file's data is a hole on the disk."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in FlowTransformer(kontext_dev().flow).state_dict().items()}
    for name in ("flux1-kontext-dev.safetensors", "some-model.safetensors"):
        file = TensorFile(tmp_path / name, {name: ("BF16", shape) for name, shape in shapes.items()})
        file._file.close()
    known, unknown = tmp_path / "flux1-kontext-dev.safetensors", tmp_path / "some-model.safetensors"
    assert read_config(known) == kontext_dev()
    found = summary(known)
    assert (found.variant, found.parts["flow"].parameters) == ("kontext_dev", 11_901_408_320)
    assert found.parts["flow"].dtypes == {"BF16": 780}
    with pytest.raises(WeightsError, match="pass variant="):
        read_config(unknown)
    assert read_config(unknown, variant="dev").name == "dev"
    assert read_config(unknown, variant="krea_dev").name == "krea_dev"


def test_a_recast_folder_says_everything_itself(
    flow: FlowTransformer, autoencoder: Autoencoder, config: ModelConfig, tmp_path: Path
) -> None:
    other = replace(config, name="mine", autoencoder=replace(config.autoencoder, scale_factor=0.5))
    save(tmp_path / "m", {"flow": flow, "autoencoder": autoencoder}, other)
    assert read_config(tmp_path / "m") == other
    assert open_checkpoint(tmp_path / "m", "autoencoder").config == other.autoencoder
    assert summary(tmp_path / "m").variant == "mine"
    assert json.loads((tmp_path / "m" / "config.json").read_text()) == {
        "format": "recast-1",
        **json.loads(json.dumps(to_dict(other))),
    }


def test_loading_holds_the_weights_once(tmp_path: Path) -> None:
    """The benchmark at a tenth of its size, in a fresh process: fused tensors of diffusers shards, and a BFL file."""
    code = f"""
import sys
from dataclasses import replace
from pathlib import Path
import torch
sys.path.insert(0, "benchmarks")
import load_memory as bench
from recast.config import kontext_dev
from recast.weights import convert
config = replace(kontext_dev().flow, hidden_size=1024, num_heads=8, depth=1, depth_single_blocks=2)
bfl, folder = Path({str(tmp_path)!r}) / "flux1-dev.safetensors", Path({str(tmp_path)!r}) / "d"
bench.make(bfl, config)
convert(bfl, folder, "diffusers", shard_bytes=4 * 10**7, config=replace(kontext_dev(), flow=config))
for path in (bfl, folder / "transformer"):
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    with torch.device("meta"):
        module = bench.FlowTransformer(config)
    opened = bench.open_checkpoint(path)
    before = bench.resident("VmRSS")
    bench.load_into(module, opened)
    sum(float(p.detach().view(-1)[::1024].float().sum()) for p in module.parameters())
    print((bench.resident("VmHWM") - before) / opened.size_bytes)
    del module, opened
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert [0.5 < float(ratio) < 1.15 for ratio in done.stdout.split()] == [True, True], done.stdout
