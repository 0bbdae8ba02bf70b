"""Every number a model has."""

import json
from dataclasses import replace

import pytest

from recast.config import PRESETS, FlowConfig, ModelConfig, from_dict, kontext_dev, nano, preset, to_dict
from recast.errors import ConfigError
from recast.nano import NANO


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name: str):
    config = preset(name)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    assert config.name == name


def test_the_packaged_nano_is_the_preset():
    stored = json.loads((NANO / "config.json").read_text())
    assert stored.pop("format") == "recast-1"
    assert from_dict(stored) == nano()


def test_published_numbers_of_kontext():
    flow = kontext_dev().flow
    assert (flow.hidden_size, flow.num_heads, flow.head_dim, flow.mlp_hidden) == (3072, 24, 128, 12288)
    assert (flow.depth, flow.depth_single_blocks, flow.axes_dim) == (19, 38, (16, 56, 56))
    assert kontext_dev().pixels_per_token == 16
    assert len(kontext_dev().trained_sizes) == 17


def test_fill_and_control_have_room():
    assert replace(FlowConfig(), in_channels=384).extra_channels == 320
    assert replace(FlowConfig(), in_channels=128).extra_channels == 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampler": "eular"}, r"defaults.sampler='eular': euler, heun, ab2, dpmpp_2m or renoise accepted"),
        ({"steps": 0}, r"defaults.steps=0: a whole number from 1"),
    ],
)
def test_defaults_that_cannot_work_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(to_dict(nano()) | {"defaults": to_dict(nano())["defaults"] | change})


def test_a_config_from_before_samplers_were_written_means_euler():
    data = json.loads(json.dumps(to_dict(nano())))
    for name in ("sampler", "edit_guidance"):
        del data["defaults"][name]
    for name in ("is_few_step", "passed"):
        del data[name]
    assert from_dict(data) == nano()
    assert nano().defaults.sampler == "euler"


@pytest.mark.parametrize(
    ("name", "mode"),
    [("nano", "two-pass"), ("nano-dev", "embedded"), ("nano-turbo", "few-step"), ("schnell", "few-step")],
)
def test_how_a_model_is_guided_follows_from_its_numbers(name, mode):
    config = preset(name)
    assert config.guidance_mode == mode
    plain = replace(config.defaults, edit_true_guidance=1.0, generate_true_guidance=1.0)
    without = replace(config, is_few_step=False, flow=replace(config.flow, guidance_embed=False), defaults=plain)
    assert without.guidance_mode == "none"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 100}, "hidden_size=100: must be a multiple of num_heads=24"),
        ({"axes_dim": (16, 56, 54)}, "axes_dim"),
        ({"axes_dim": (15, 57, 56)}, "even numbers"),
        ({"context_attention": "some"}, "context_attention='some'"),
    ],
)
def test_numbers_that_cannot_work_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        FlowConfig(**change)


def test_parts_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ConfigError, match=r"out_channels=32: must be 4 \* autoencoder.z_channels"):
        ModelConfig(name="odd", flow=FlowConfig(out_channels=32))


def test_an_unknown_name_is_refused_not_ignored():
    data = to_dict(nano())
    data["flow"]["hiden_size"] = 3
    with pytest.raises(ConfigError, match="flow: unknown name hiden_size"):
        from_dict(data)


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ConfigError, match="nano, nano-dev, nano-turbo, tiny, kontext_dev"):
        preset("micro")
