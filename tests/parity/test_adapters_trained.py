"""Adapters that we attached and saved, loaded by diffusers and PEFT: the same velocities from the same base."""

from pathlib import Path
from typing import Any

import pytest
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import Tensor

from recast.config import tiny
from recast.flow.transformer import FlowTransformer
from recast.train.adapters import LoRA, attach, save
from recast.weights import configs
from recast.weights import save as save_weights
from tests.tiny import randomise, tiny_flow
from tests.weights.models import velocity_of_ours, velocity_of_theirs

LIMIT = 5e-5  # outputs reach about 5


def trained(folder: Path, lora: LoRA, format: Any) -> tuple[FluxTransformer2DModel, Tensor, Tensor]:
    """Diffusers' network of our base, and what ours answers without and with adapters, which are in `folder`."""
    flow: FlowTransformer = tiny_flow()
    save_weights(folder / "model", {"flow": flow}, tiny(), layout="diffusers")
    settings = {k: v for k, v in configs.flow_to_diffusers(tiny().flow).items() if not k.startswith("_")}
    theirs = FluxTransformer2DModel(**settings).eval()
    theirs.load_state_dict(FluxTransformer2DModel.from_pretrained(folder / "model" / "transformer").state_dict())
    without = velocity_of_ours(flow)
    adapters = attach(flow, lora)
    randomise(adapters, 1, std=0.2)
    save(folder / "adapter.safetensors", adapters, format=format)
    return theirs, without, velocity_of_ours(flow)


@pytest.mark.parametrize("alpha", [4.0, 7.0])
@pytest.mark.parametrize("targets", ["attention", "attention+mlp", "all linears"])
def test_the_model_of_diffusers_with_our_file_gives_our_velocity(tmp_path, targets, alpha):
    theirs, without, wanted = trained(tmp_path, LoRA(rank=4, alpha=alpha, targets=targets), "diffusers")
    theirs.load_lora_adapter(tmp_path / "adapter.safetensors", prefix="transformer")
    got = velocity_of_theirs(theirs)
    assert (wanted - without).abs().max() > 0.05, "a change too small for the limit to mean anything"
    assert (got - wanted).abs().max() <= LIMIT * wanted.abs().max()


@pytest.mark.parametrize("format", ["diffusers", "kohya"])
def test_the_pipeline_of_diffusers_with_our_file_gives_our_velocity(tmp_path, format):
    """Its loader takes alpha another way. Of kohya's names it knows single blocks of the published width alone."""
    targets = "attention+mlp" if format == "diffusers" else ("double_blocks.*",)
    theirs, without, wanted = trained(tmp_path, LoRA(rank=4, alpha=7, targets=targets), format)
    pipeline = FluxPipeline(None, None, None, None, None, None, theirs)
    pipeline.load_lora_weights(tmp_path / "adapter.safetensors")
    got = velocity_of_theirs(theirs)
    assert (wanted - without).abs().max() > 0.05
    assert (got - wanted).abs().max() <= LIMIT * wanted.abs().max()
