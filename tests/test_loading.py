"""From files to a pipeline: devices, number formats, adapters, missing parts."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import recast
from recast import loading, weights
from recast.config import nano
from recast.errors import ConfigError, MissingWeights
from recast.loading import has_fast_bf16, pick_device, pick_dtype
from recast.nano import NANO
from recast.weights import files, hashes

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> recast.Pipeline:
    return recast.load("nano", device="cpu", dtype="fp32")


def sketch(model: recast.Pipeline) -> np.ndarray:
    return model.edit(PICTURE, "make it night", seed=1, steps=1, size=(64, 64)).pictures[0].rgb


def test_nano_is_the_default_and_says_which_weights_it_is(model):
    result = model.edit(PICTURE, "make it night", seed=1, steps=1, size=(64, 64))
    assert model.config == nano()
    assert set(result.recipe.weights) == {
        "flow/flow.safetensors",
        "autoencoder/ae.safetensors",
        "text_encoder/model.safetensors",
    }
    assert result.recipe.weights["flow/flow.safetensors"] == weights.checksum(NANO / "flow.safetensors")
    assert result.recipe.model == "nano"


def test_the_device_called_auto_is_one_that_works():
    torch.empty(1, device=pick_device("auto"))


@pytest.mark.parametrize("device", ["gpu0", "cuda:99", "meta", "cuda:x", "cpu:1"])
def test_a_device_that_is_not_here_is_refused(device: str):
    with pytest.raises(ConfigError, match=f"device='{device}'.*auto, cpu.* accepted"):
        pick_device(device)


def test_a_cpu_gets_bf16_only_where_that_is_faster(monkeypatch):
    cpu = torch.device("cpu")
    for fast, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(loading, "has_fast_bf16", lambda fast=fast: fast)
        assert pick_dtype("auto", cpu) == expected
    assert pick_dtype("bf16", cpu) == torch.bfloat16
    assert pick_dtype(torch.float32, cpu) == torch.float32
    with pytest.raises(ConfigError, match="dtype='fp16': auto, bf16 or fp32"):
        pick_dtype("fp16", cpu)


def test_the_probe_of_bf16_tells_fast_from_slow(monkeypatch):
    """fp32 takes 10 ms: as fast, a third, emulated (and given up after two), and fast but for its first call."""
    for bf16_s, expected, tries in (([0.009] * 10, False, 18), ([0.003] * 10, True, 18), ([1.0] * 2, False, 10),
                                    ([0.5, 0.003] + [0.003] * 8, True, 18)):  # fmt: skip
        has_fast_bf16.cache_clear()
        clock = iter([t for taken in [0.01] * 8 + bf16_s for t in (0.0, taken)])
        products = []
        monkeypatch.setattr(loading.time, "perf_counter", lambda clock=clock: next(clock))
        monkeypatch.setattr(loading.torch, "mm", lambda a, b, products=products: products.append(a.dtype))
        assert has_fast_bf16() is expected
        assert len(products) == tries
    has_fast_bf16.cache_clear()


def test_bf16_gives_nearly_the_same_picture(model):
    other = sketch(recast.load("nano", device="cpu", dtype="bf16")).astype(float)
    error = np.mean((other - sketch(model)) ** 2)
    assert 10 * np.log10(255**2 / error) > 40


def test_nano_through_the_other_two_layouts_is_the_same_model(model, tmp_path):
    expected = sketch(model)
    weights.convert(NANO, tmp_path / "diffusers", "diffusers")
    weights.convert(tmp_path / "diffusers", tmp_path / "recast", "recast")
    for layout in ("diffusers", "recast"):
        again = recast.load(tmp_path / layout, device="cpu", dtype="fp32")
        assert np.array_equal(sketch(again), expected), layout


def test_an_adapter_changes_the_picture_and_is_named_in_the_recipe(model, tmp_path):
    torch.manual_seed(0)
    d = nano().flow.hidden_size
    name = "diffusion_model.single_blocks.0.linear2"
    save_file(
        {
            f"{name}.lora_A.weight": torch.randn(4, 5 * d) * 0.1,
            f"{name}.lora_B.weight": torch.randn(d, 4) * 0.1,
            "diffusion_model.single_blocks.99.linear2.lora_A.weight": torch.randn(4, 5 * d),
            "diffusion_model.single_blocks.99.linear2.lora_B.weight": torch.randn(d, 4),
        },
        tmp_path / "style.safetensors",
    )
    adapted = recast.load("nano", device="cpu", dtype="fp32", adapters=[(tmp_path / "style.safetensors", 0.5)])
    result = adapted.edit(PICTURE, "make it night", seed=1, steps=1, size=(64, 64))
    assert not np.array_equal(result.pictures[0].rgb, sketch(model))
    (adapter,) = result.recipe.adapters
    assert (adapter.file, adapter.strength, adapter.matched, adapter.unmatched) == ("style.safetensors", 0.5, 2, 2)
    assert any("2 of 4 tensors fit nothing" in warning for warning in result.warnings)


def test_the_hashes_of_every_layout_are_kept_apart(tmp_path):
    weights.convert(NANO, tmp_path / "diffusers", "diffusers")
    assert len(recast.load(tmp_path / "diffusers", device="cpu").checksums()) == 3


def test_a_recipe_s_hashes_are_of_the_bytes_and_those_to_look_up_by_are_recalled(model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(files, "SETTLED_NS", -(10**9))
    true = model.checksums()
    assert model.recalled() == true
    table = json.loads(hashes.place().read_text())
    hashes.place().write_text(json.dumps({name: (stamp, "seen") for name, (stamp, _) in table.items()}))
    assert set(model.recalled().values()) == {"seen"}
    assert model.checksums() == true
    assert model.recalled() == true, "put right by the bytes"


def test_a_file_finds_the_others_beside_it(model, tmp_path):
    for name in ("ae.safetensors", "config.json"):
        shutil.copy(NANO / name, tmp_path)
    shutil.copytree(NANO / "text_encoder", tmp_path / "text_encoder")
    weights.convert(NANO, tmp_path / "flux1-kontext-dev.safetensors", "bfl", parts=("flow",))
    (tmp_path / "config.json").unlink()
    loaded = loading._parts(tmp_path / "flux1-kontext-dev.safetensors", None)
    assert set(loaded) >= {"flow", "autoencoder"}
    assert loaded["autoencoder"].files == (tmp_path / "ae.safetensors",)


def test_cached_context_is_chosen_when_loading():
    cached = recast.load("nano", device="cpu", dtype="fp32", context_attention="cached")
    assert isinstance(cached.flow.condition(**_nano_inputs()).context, list)
    with pytest.raises(ConfigError, match="context_attention='some'"):
        recast.load("nano", context_attention="some")


def _nano_inputs() -> dict[str, torch.Tensor]:
    return {
        "positions": torch.zeros(1, 4, 3),
        "text": torch.zeros(1, 5, 192),
        "pooled": torch.zeros(1, 192),
        "context": torch.zeros(1, 4, 64),
        "context_positions": torch.ones(1, 4, 3),
    }


def test_a_missing_part_is_named(tmp_path):
    shutil.copy(NANO / "flow.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(json.loads((NANO / "config.json").read_text())))
    with pytest.raises(MissingWeights, match="autoencoder is not there"):
        recast.load(tmp_path)


def test_a_name_that_is_no_path_says_that_nothing_is_downloaded():
    with pytest.raises(MissingWeights, match="local"):
        recast.load("black-forest-labs/FLUX.1-Kontext-dev")
