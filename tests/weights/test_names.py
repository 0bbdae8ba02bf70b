"""The published names, counts and shapes, at full size, without a byte of weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import nn

from recast.config import AutoencoderConfig, FlowConfig, dev, kontext_dev, schnell
from recast.errors import WeightsError
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.weights import configs, names
from recast.weights.files import count
from recast.weights.writing import _diffusers_plan

FILL = replace(dev().flow, in_channels=384)
CONTROL = replace(dev().flow, in_channels=128)
FLOWS = {
    "dev": (dev().flow, 780, 11_901_408_320, 1160),
    "schnell": (schnell().flow, 776, 11_891_178_560, 1156),
    "fill": (FILL, 780, 11_902_391_360, 1160),
    "control": (CONTROL, 780, 11_901_604_928, 1160),
}


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


@pytest.fixture(scope="module")
def flows() -> dict[str, dict[str, tuple[int, ...]]]:
    with torch.device("meta"):
        return {key: shapes_of(FlowTransformer(config)) for key, (config, *_) in FLOWS.items()}


@pytest.mark.parametrize("key", FLOWS)
def test_the_plan_writes_exactly_the_published_diffusers_transformer(
    key: str, flows: dict[str, dict[str, tuple[int, ...]]]
) -> None:
    config, tensors, parameters, theirs = FLOWS[key]
    shapes = flows[key]
    assert (len(shapes), sum(map(count, shapes.values()))) == (tensors, parameters)
    plan = _diffusers_plan("flow", {name: ("BF16", shape) for name, shape in shapes.items()})
    planned = {name: shape for pieces in plan.values() for name, (_, shape) in pieces.items()}
    settings = {k: v for k, v in configs.flow_to_diffusers(config).items() if not k.startswith("_")}
    with torch.device("meta"):
        published = shapes_of(FluxTransformer2DModel(**settings))
    assert len(planned) == theirs
    assert planned == published


def test_the_plan_writes_exactly_the_published_diffusers_autoencoder() -> None:
    with torch.device("meta"):
        shapes = shapes_of(Autoencoder(AutoencoderConfig()))
        settings = configs.autoencoder_to_diffusers(AutoencoderConfig())
        published = AutoencoderKL(**{k: v for k, v in settings.items() if not k.startswith("_")})
    assert (len(shapes), sum(map(count, shapes.values()))) == (244, 83_819_683)
    plan = _diffusers_plan("autoencoder", {name: ("F32", shape) for name, shape in shapes.items()})
    planned = {name: shape for pieces in plan.values() for name, (_, shape) in pieces.items()}
    assert planned == shapes_of(published)


def test_only_the_last_modulation_swaps_halves_and_nothing_else_does() -> None:
    table = names.tensors_of(names.flow_modules(19, 38))
    swapped = [name for name in table if name.startswith(names.HALVES_SWAPPED)]
    assert swapped == ["final_layer.adaLN_modulation.1.weight", "final_layer.adaLN_modulation.1.bias"]


@pytest.mark.parametrize("key", FLOWS)
def test_the_config_is_read_from_the_shapes(key: str, flows: dict[str, dict[str, tuple[int, ...]]]) -> None:
    assert configs.flow_config(flows[key]) == FLOWS[key][0]
    without = FlowConfig(vec_in_dim=None, qkv_bias=False, depth=3, depth_single_blocks=5)
    with torch.device("meta"):
        assert configs.flow_config(shapes_of(FlowTransformer(without))) == without


def test_the_autoencoders_config_is_read_from_its_shapes() -> None:
    other = AutoencoderConfig(ch_mult=(1, 2, 3), num_res_blocks=1, z_channels=4)
    with torch.device("meta"):
        for config in (AutoencoderConfig(), other):
            assert configs.autoencoder_config(shapes_of(Autoencoder(config))) == config


def test_numbers_that_shapes_do_not_tell_are_asked_for_not_guessed() -> None:
    with torch.device("meta"):
        small = shapes_of(FlowTransformer(replace(kontext_dev().flow, num_heads=48, axes_dim=(8, 28, 28))))
        narrow = shapes_of(Autoencoder(AutoencoderConfig(ch=32, num_groups=8)))
    with pytest.raises(WeightsError, match="axes_dim"):
        configs.flow_config(small)
    with pytest.raises(WeightsError, match="num_groups"):
        configs.autoencoder_config(narrow)


def test_tensors_tell_schnell_fill_and_control_and_names_tell_the_rest(
    flows: dict[str, dict[str, tuple[int, ...]]],
) -> None:
    find = configs.find_variant
    assert find(flows["schnell"], ["flux1-kontext-dev.safetensors"]) == "schnell"
    assert find(flows["fill"], []) == "fill_dev"
    assert find(flows["control"], []) == "control_dev"
    alike = flows["dev"]
    assert find(alike, ["flux1-dev-kontext_fp8_scaled.safetensors"]) == "kontext_dev"
    assert find(alike, ["transformer", "FluxKontextPipeline"]) == "kontext_dev"
    assert find(alike, ["flux1-krea-dev.safetensors"]) == "krea_dev"
    assert find(alike, ["FLUX.1-dev"]) == "dev"
    assert find(alike, ["FluxPipeline"]) == "dev"
    assert find(alike, ["development.safetensors"]) is None
    assert find(alike, ["flux1-dev.safetensors"], said="kontext_dev") == "kontext_dev"
    with pytest.raises(WeightsError, match="variant='schnell'"):
        find(alike, [], said="schnell")


def test_configs_survive_the_way_through_diffusers_json() -> None:
    for flow in (kontext_dev().flow, schnell().flow, FILL):
        assert configs.flow_from_diffusers(configs.flow_to_diffusers(flow)) == flow
    for autoencoder in (AutoencoderConfig(), AutoencoderConfig(ch=8, num_groups=4, num_res_blocks=1)):
        assert configs.autoencoder_from_diffusers(configs.autoencoder_to_diffusers(autoencoder)) == autoencoder


def test_the_published_json_of_dev_may_leave_out_what_it_leaves_out() -> None:
    published = {"in_channels": 64, "num_layers": 19, "num_single_layers": 38, "guidance_embeds": True}
    assert configs.flow_from_diffusers(published) == dev().flow


def test_a_model_that_diffusers_cannot_express_is_refused() -> None:
    for odd in ({"mlp_ratio": 3.0}, {"theta": 2000}, {"vec_in_dim": None}, {"context_attention": "cached"}):
        with pytest.raises(WeightsError, match=next(iter(odd))):
            configs.flow_to_diffusers(replace(kontext_dev().flow, **odd))
    with pytest.raises(WeightsError, match="use_quant_conv"):
        configs.autoencoder_from_diffusers({"block_out_channels": [128, 256]})
