"""Adapters changed between requests: the picture of a model that was loaded with them, and afterwards the old bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import recast
from recast.errors import ConfigError, WeightsError
from recast.pipeline import Pipeline
from recast.speed import accelerate
from recast.speed.processes import Process
from recast.speed.several import Several
from recast.weights import checksum, fold, read_adapter
from tests.tiny import tiny_pipeline

SOURCE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
OPTIONS = {"seed": 3, "steps": 1}
D = 48  # of `tiny`


def pair(name: str, out: int, seed: int) -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return {
        f"{name}.lora_down.weight": torch.randn(3, D, generator=made),
        f"{name}.lora_up.weight": 0.5 * torch.randn(out, 3, generator=made),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters, both of them on the same layers, and the second on one more."""
    place = tmp_path_factory.mktemp("adapters")
    first = pair("lora_unet_double_blocks_0_img_attn_qkv", 3 * D, 1) | pair("lora_unet_single_blocks_0_linear1", 336, 2)
    second = pair("lora_unet_double_blocks_0_img_attn_qkv", 3 * D, 3) | pair("lora_unet_txt_in", D, 4)
    second = {name: tensor[:, :24] if "txt_in.lora_down" in name else tensor for name, tensor in second.items()}
    paths = [place / "first.safetensors", place / "second.safetensors"]
    for path, tensors in zip(paths, (first, second), strict=True):
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return paths


def made(cached: bool = False) -> Pipeline:
    if not cached:
        return tiny_pipeline()
    return tiny_pipeline(flow=replace(tiny_pipeline().config.flow, context_attention="cached"))


def rgb(pipeline: Pipeline) -> np.ndarray:
    return pipeline.edit(SOURCE, "make it red", **OPTIONS).pictures[0].rgb.astype(int)


def folded(base: Callable[[], Pipeline], adapters: list[tuple[Path, float]], plan: str) -> np.ndarray:
    pipeline = base()
    for path, strength in adapters:
        fold(pipeline.flow, read_adapter(path, pipeline.flow), strength)
    return rgb(accelerate(pipeline, plan).pipeline)


@pytest.mark.parametrize(
    ("plan", "cached"), [("reference", False), ("exact", False), ("lossless", True), ("fp8", False)]
)
def test_the_picture_is_that_of_a_model_loaded_with_them(files: list[Path], plan: str, cached: bool):
    fast = accelerate(made(cached), plan)
    before = rgb(fast.pipeline)
    both = [(files[0], 0.7), (files[1], -1.3)]
    fast.set_adapters(both[:1])
    fast.set_adapters(both)
    result = rgb(fast.pipeline)
    assert np.abs(result - folded(lambda: made(cached), both, plan)).max() <= 1
    assert np.abs(result - before).max() > 3, "they do change the picture"
    written = fast.set_adapters()
    assert len(written.parameters) == 3
    assert np.array_equal(rgb(fast.pipeline), before)


def test_a_recipe_names_those_that_are_in(files: list[Path]):
    fast = accelerate(tiny_pipeline(), "exact")
    fast.set_adapters([files[0], (files[1], 0.5)])
    recorded = fast.pipeline.edit(SOURCE, "make it red", **OPTIONS).recipe.adapters
    assert [(entry.file, entry.strength, entry.matched) for entry in recorded] == [
        ("first.safetensors", 1.0, 4),
        ("second.safetensors", 0.5, 4),
    ]
    assert recorded[0].sha256 == checksum(files[0])
    fast.set_adapters()
    assert fast.pipeline.adapters == ()


def test_a_layer_that_stays_the_same_is_not_written_again(files: list[Path]):
    fast = accelerate(tiny_pipeline(), "exact")
    assert len(fast.set_adapters([files[0]], keep_on="cpu").parameters) == 2
    assert fast.set_adapters([files[0]]).parameters == ()
    again = fast.set_adapters([files[0], files[1]]).parameters
    assert "single_blocks.0.linear1.weight" not in again


def test_a_file_that_does_not_fit_changes_nothing(files: list[Path], tmp_path: Path):
    save_file({"lora_unet_conv_1.lora_down.weight": torch.ones(2, 2)}, tmp_path / "strange.safetensors")
    fast = accelerate(tiny_pipeline(), "exact")
    fast.set_adapters([files[0]])
    before, entries = rgb(fast.pipeline), fast.pipeline.adapters
    with pytest.raises(WeightsError, match="none of its 1 keys fits"):
        fast.set_adapters([files[1], tmp_path / "strange.safetensors"])
    assert np.array_equal(rgb(fast.pipeline), before)
    assert fast.pipeline.adapters == entries


def refused(how: str, file: Path) -> Any:
    if how == "cap":
        return accelerate(tiny_pipeline(), "exact", vram="8gb")
    if how == "loaded":
        pipeline = tiny_pipeline()
        loaded = accelerate(tiny_pipeline(), "exact")
        loaded.set_adapters([file])
        pipeline.adapters = loaded.pipeline.adapters
        return accelerate(pipeline, "exact")
    heads = replace(tiny_pipeline().config.flow, hidden_size=64, num_heads=4)
    return accelerate(tiny_pipeline(flow=heads), "exact", several=Several(tensor=2), here=Process(size=2))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cap", "the weights pass through the device under a cap"),
        ("loaded", r"first\.safetensors came with the pipeline"),
        ("shared", "its weights are shared out among processes"),
    ],
)
def test_where_weights_cannot_be_written_to_it_says_so(how: str, message: str, files: list[Path]):
    with pytest.raises(ConfigError, match=message):
        refused(how, files[0]).set_adapters([files[0]])


WRONG = ["style.safetensors", 3, [None], [("a.safetensors", "x")], [("a.safetensors",)]]
WRONG += [[("a.safetensors", strength)] for strength in (True, float("nan"), float("inf"))]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_list_of_files_is_refused_by_either_door(wrong: Any):
    message = r"^adapters: .* a list of paths, or of \(path, finite strength\), accepted"
    with pytest.raises(ConfigError, match=message):
        accelerate(tiny_pipeline(), "exact").set_adapters(wrong)
    with pytest.raises(ConfigError, match=message):
        recast.load("nano", device="cpu", dtype="fp32", adapters=wrong)
