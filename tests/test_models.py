"""Models by name: what is known of each, where its weights are, and one that lies as a delta over another."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import recast
from recast import loading, models, weights
from recast.config import PRESETS, nano, nano_dev, nano_turbo
from recast.errors import ConfigError, MissingWeights, WeightsError
from recast.recipe import Recipe
from recast.speed import accelerate
from recast.train import export
from recast.weights.adapter_keys import Target
from recast.weights.adapter_writing import save_adapter
from recast.weights.adapters import Change
from tests.students import adapted, base_config, dev_config, trained, turbo_config, write_base
from tests.tiny import randomise

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The folder of a base, and over it a few-step student and one with an embedding of the scale, in fp32."""
    folder = write_base(tmp_path_factory.mktemp("models") / "nano")
    for name, student, config in (("turbo", trained(), turbo_config()), ("dev", adapted(), dev_config())):
        whole = folder.parent / name
        weights.save(whole, {"flow": student}, config)
        export.delta(
            folder / f"{name}.safetensors", flow=whole, base=folder, config=config, rank=48, dtype=torch.float32
        )
    return folder


@pytest.fixture
def shipped(made, tmp_path, monkeypatch) -> Path:
    """A place that stands for `recast/nano`, with the base alone."""
    folder = tmp_path / "nano"
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("turbo.*", "dev.*"))
    monkeypatch.setattr(models, "NANO", folder)
    return folder


def load(place):
    return recast.load(place, device="cpu", dtype="fp32")


def velocity(flow, scale=None):
    g = torch.Generator().manual_seed(0)
    text, pooled, x = (torch.randn(2, *shape, generator=g) for shape in ((5, 24), (24,), (6, 64)))
    asked = {} if scale is None else {"guidance": torch.full((2,), scale)}
    with torch.no_grad():
        condition = flow.condition(positions=torch.zeros(1, 6, 3), text=text, pooled=pooled, **asked)
        return flow(x, torch.tensor([0.3, 0.8]), condition)


def test_every_preset_but_that_of_tests_is_known():
    known = {model.name: model for model in models.known()}
    assert set(known) == set(PRESETS) - {"tiny"}
    assert list(known)[:3] == ["nano", "nano-dev", "nano-turbo"]
    assert models.find("tiny") is None
    assert models.find("some/path") is None
    assert {model.name for model in known.values() if model.variant} == set(weights.configs.FILES)


def test_what_is_known_of_a_model_is_what_its_config_says():
    known = {model.name: model for model in models.known()}
    turbo, dev, base, kontext = (known[name] for name in ("nano-turbo", "nano-dev", "nano", "kontext_dev"))
    assert [model.guidance_mode for model in (base, dev, turbo, kontext)] == [
        "two-pass", "embedded", "few-step", "embedded",
    ]  # fmt: skip
    assert (turbo.config.defaults.steps, base.config.defaults.steps) == (4, 28)
    assert (kontext.where, base.where) == ("local files", "built in")
    assert (kontext.takes, known["dev"].takes) == (("text", "context"), ("text",))
    assert known["fill_dev"].takes == ("text", "condition")
    flow, autoencoder, text = (part.parameters for part in weights.open_all(base.place).values())
    assert (base.flow_parameters, base.parameters) == (flow, flow + autoencoder + text)
    assert (nano_dev().defaults.guidance, nano_dev().defaults.edit_guidance) == (3.0, 1.0)
    assert nano_turbo().autoencoder == nano().autoencoder
    assert all((Path(__file__).parent.parent / recipe).is_file() for recipe in models.MADE_BY.values())


def test_weights_that_are_not_there_are_said_to_be_made(shipped):
    assert models.find("nano-turbo").note == "not shipped; recipes/nano-turbo.sh makes it"
    with pytest.raises(MissingWeights, match=r"'nano-turbo': its weights are not shipped; nano or a path .*nano-turbo"):
        load("nano-turbo")
    with pytest.raises(MissingWeights, match=r"'kontext_dev': .*not part of recast.*get flux1-kontext-dev.safetensors"):
        load("kontext_dev")
    assert models.place("gone/elsewhere") == Path("gone/elsewhere")


def test_a_folder_of_that_name_stands_in_for_what_is_not_shipped(shipped, monkeypatch):
    monkeypatch.chdir(shipped.parent)
    shutil.copytree(shipped, "nano-turbo")
    assert models.place("nano-turbo") == Path("nano-turbo")


def test_a_delta_that_is_put_there_is_the_model(shipped, made):
    shutil.copy(made / "turbo.safetensors", shipped)
    known = models.find("nano-turbo")
    assert (known.where, known.base, known.config) == ("built in", "nano", turbo_config())
    model = load("nano-turbo")
    assert model.config == turbo_config()
    torch.testing.assert_close(velocity(model.flow), velocity(trained()), atol=1e-4, rtol=1e-4)
    assert (velocity(model.flow) - velocity(load("nano").flow)).abs().max() > 1e-2
    result = model.edit(PICTURE, "red", seed=1)
    recipe = result.recipe
    assert (recipe.model, recipe.steps, recipe.sampler, recipe.true_guidance) == ("nano-turbo", 4, "renoise", 1.0)
    assert recipe.weights["delta/turbo.safetensors"] == weights.checksum(made / "turbo.safetensors")
    assert recipe.weights["flow/flow.safetensors"] == weights.checksum(made / "flow.safetensors")
    again = model.edit(
        PICTURE, "red", seed=1, times=recipe.times, sampler=recipe.sampler, true_guidance=recipe.true_guidance
    )
    assert Recipe.from_json(recipe.to_json()).output_sha256 == again.recipe.output_sha256


def test_an_embedding_comes_with_its_delta(made):
    model = load(made / "dev.safetensors")
    assert model.config == dev_config()
    for scale in (1.0, 3.0):
        torch.testing.assert_close(velocity(model.flow, scale), velocity(adapted(), scale), atol=1e-4, rtol=1e-4)
    generated = model.generate("red", seed=1, steps=1, width=64, height=64).recipe
    edited = model.edit(PICTURE, "red", seed=1, steps=1).recipe
    assert [(each.guidance, each.true_guidance) for each in (generated, edited)] == [(3.0, 1.0), (1.0, 1.0)]


def test_a_delta_lies_over_what_is_beside_it_or_else_over_the_package_s(shipped, made, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(made / "turbo.safetensors", alone / "mine.safetensors")
    assert loading.open_files(alone / "mine.safetensors").home == shipped
    assert loading.outline(alone / "mine.safetensors").config == turbo_config()
    beside = loading.open_files(made / "turbo.safetensors")
    assert (beside.home, beside.delta.path.name) == (made, "turbo.safetensors")
    (shipped / "flow.safetensors").unlink()
    with pytest.raises(WeightsError):
        load(alone / "mine.safetensors")


def test_a_delta_over_other_weights_is_refused(made, tmp_path):
    folder = write_base(tmp_path / "other", seed=5)
    shutil.copy(made / "turbo.safetensors", folder)
    with pytest.raises(WeightsError, match=r"'turbo.safetensors': is over nano with weights \w{12}; those at .* are"):
        load(folder / "turbo.safetensors")


def test_adapters_go_on_top_and_a_delta_is_no_adapter(made, tmp_path):
    module, shape = "double_blocks.0.img_attn.proj", (48, 48)
    up, down = (randomise(torch.nn.Linear(a, b, bias=False), 3).weight.data for a, b in ((2, 48), (48, 2)))
    change = Change(f"{module}.weight", Target(module, 0, 48, False, "bfl"), "low_rank", (up, down))
    file = save_adapter(tmp_path / "style.safetensors", [change], {f"{module}.weight": shape}, format="bfl")
    plain, styled = (
        load(made / "turbo.safetensors"),
        recast.load(made / "turbo.safetensors", device="cpu", dtype="fp32", adapters=[(file, 0.5)]),
    )
    wanted = plain.flow.get_parameter(f"{module}.weight") + 0.5 * up @ down
    torch.testing.assert_close(styled.flow.get_parameter(f"{module}.weight"), wanted)
    for door in (partial(recast.load, made, device="cpu"), accelerate(plain, "exact").set_adapters):
        with pytest.raises(ConfigError, match="a delta over nano, with steps and guidance of its own"):
            door(adapters=[made / "turbo.safetensors"])


def test_the_usual_model_is_the_fast_one_once_it_has_passed(shipped, made):
    assert models.default() == "nano"
    shutil.copy(made / "turbo.safetensors", shipped)
    assert models.default() == "nano"
    export.mark_passed("nano-turbo", "another")
    assert models.default() == "nano"
    before = velocity(load("nano-turbo").flow)
    assert export.mark_passed("nano-turbo", models.BAR).passed == ("another", models.BAR)
    assert models.default() == "nano-turbo"
    assert torch.equal(velocity(load("nano-turbo").flow), before)
    assert export.mark_passed("nano", models.BAR) == weights.read_config(shipped)
    assert weights.read_config(shipped).defaults == base_config().defaults
