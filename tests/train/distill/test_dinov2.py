"""DINOv2 read from published files: the same numbers as transformers, and nothing read that is not it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from recast.errors import ConfigError, MissingWeights, ShapeError, WeightsError
from recast.train.distill.dinov2 import DinoConfig, Dinov2
from recast.train.distill.pixel_features import MEAN, STD, DinoFeatures

LAYER = {
    "attention.attention.key.bias": (16,), "attention.attention.key.weight": (16, 16),
    "attention.attention.query.bias": (16,), "attention.attention.query.weight": (16, 16),
    "attention.attention.value.bias": (16,), "attention.attention.value.weight": (16, 16),
    "attention.output.dense.bias": (16,), "attention.output.dense.weight": (16, 16),
    "layer_scale1.lambda1": (16,), "layer_scale2.lambda1": (16,), "mlp.fc1.bias": (64,), "mlp.fc1.weight": (64, 16),
    "mlp.fc2.bias": (16,), "mlp.fc2.weight": (16, 64), "norm1.bias": (16,), "norm1.weight": (16,),
    "norm2.bias": (16,), "norm2.weight": (16,),
}  # fmt: skip
REST = {
    "embeddings.cls_token": (1, 1, 16), "embeddings.mask_token": (1, 16),
    "embeddings.patch_embeddings.projection.bias": (16,),
    "embeddings.patch_embeddings.projection.weight": (16, 3, 14, 14),
    "embeddings.position_embeddings": (1, 10, 16), "layernorm.bias": (16,), "layernorm.weight": (16,),
}  # fmt: skip
LAYERS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every tensor and setting of the published layout, smaller: patches of 14, positions of a grid of 3 x 3."""
    place = tmp_path_factory.mktemp("dinov2")
    shapes = {f"encoder.layer.{k}.{name}": shape for k in range(LAYERS) for name, shape in LAYER.items()} | REST
    generator = torch.Generator().manual_seed(0)
    save_file(
        {name: 0.4 * torch.randn(s, generator=generator) for name, s in shapes.items()}, place / "model.safetensors"
    )
    said = {
        "architectures": ["Dinov2Model"], "model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": LAYERS,
        "num_attention_heads": 2, "mlp_ratio": 4, "hidden_act": "gelu", "image_size": 42, "patch_size": 14,
        "num_channels": 3, "qkv_bias": True, "layer_norm_eps": 1e-6, "use_swiglu_ffn": False,
    }  # fmt: skip
    (place / "config.json").write_text(json.dumps(said))
    return place


def changed(folder: Path, place: Path, **said: object) -> Path:
    (place / "config.json").write_text(json.dumps({**json.loads((folder / "config.json").read_text()), **said}))
    (place / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    return place


def test_layers_and_class_token_are_those_of_transformers_on_any_grid(folder: Path):
    from transformers import Dinov2Model

    theirs, info = Dinov2Model.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ours = Dinov2.load(folder)
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    for height, width in ((42, 42), (28, 70)):
        pixels = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = theirs.eval()(pixels, output_hidden_states=True)
            maps, token = ours(pixels, [2, 0])
        for found, tap in zip(maps, (2, 0), strict=True):
            assert found.shape == (2, height // 14, width // 14, 16)
            torch.testing.assert_close(
                found.flatten(1, 2), expected.hidden_states[tap + 1][:, 1:], atol=1e-5, rtol=1e-5
            )
        torch.testing.assert_close(token, expected.last_hidden_state[:, 0], atol=1e-5, rtol=1e-5)


def test_layers_after_the_deepest_tap_do_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch):
    ours = Dinov2.load(folder)
    monkeypatch.setattr(ours.encoder["layer"][2], "forward", lambda x: pytest.fail("it ran"))  # type: ignore[index]
    maps, token = ours(torch.zeros(1, 3, 14, 14), [1])
    assert (len(maps), token) == (1, None)
    with pytest.raises(ShapeError, match="multiples of 14"):
        ours(torch.zeros(1, 3, 20, 14), [0])


def test_pictures_are_normalised_and_brought_to_whole_patches_and_gradients_come_back(folder: Path):
    features = DinoFeatures.load(folder)
    assert (features.depth, features.pooled_width, features.width(1)) == (LAYERS, 16, 16)
    pixels = torch.rand(2, 3, 28, 42, generator=torch.Generator().manual_seed(2)) * 2 - 1
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    torch.testing.assert_close(
        features.maps(pixels, [1])[0], features.network((pixels / 2 + 0.5 - mean) / std, [1])[0][0]
    )
    odd = torch.zeros(1, 3, 32, 50, requires_grad=True)
    (found,) = features.maps(odd, [0])
    assert found.shape[1:3] == features.grid(0, 32, 50) == (2, 4)
    found.square().sum().backward()
    assert odd.grad is not None
    assert (odd.grad.abs().sum(dim=1) > 0).all()
    assert features.pooled(pixels).shape == (2, 16)
    assert features.describe()["sha256"] is not None
    with pytest.raises(ConfigError, match="from 0 to 2"):
        features.maps(pixels, [3])


def test_flops_count_every_product(folder: Path):
    network = Dinov2.load(folder)
    tokens = 7
    layer = tokens * (4 * 16 * 16 + 2 * 16 * 64) + 2 * tokens * tokens * 16
    assert network.flops(28, 42, 2) == 2 * (2 * layer + 6 * 3 * 14 * 14 * 16)


def test_other_networks_and_damaged_folders_are_refused(folder: Path, tmp_path: Path):
    with pytest.raises(MissingWeights, match=r"without config.json, model.safetensors"):
        Dinov2.load(tmp_path)
    for said in ({"model_type": "vit"}, {"use_swiglu_ffn": True}, {"hidden_act": "relu"}):
        with pytest.raises(WeightsError, match=next(iter(said))):
            Dinov2.load(changed(folder, tmp_path, **said))
    with pytest.raises(WeightsError, match="sizes of a DINOv2"):
        Dinov2.load(changed(folder, tmp_path, num_attention_heads=3))
    with pytest.raises(WeightsError, match=r"missing 18 \(encoder\.layer\.3"):
        Dinov2.load(changed(folder, tmp_path, num_hidden_layers=4))
    with pytest.raises(WeightsError, match=r"misshapen 1 \(embeddings.position_embeddings\)"):
        Dinov2.load(changed(folder, tmp_path, image_size=56))
    place = changed(folder, tmp_path)
    save_file({**load_file(folder / "model.safetensors"), "head.weight": torch.zeros(1)}, place / "model.safetensors")
    with pytest.raises(WeightsError, match=r"unexpected 1 \(head.weight\)"):
        Dinov2.load(place)
    assert DinoConfig() == DinoConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=6)
