"""The worked example, cut down: a character is learnt from pictures, and what is saved is what was learnt."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from recast.errors import ConfigError
from recast.pipeline import Pipeline
from recast.train.panel import Ask, answers
from recast.weights import fold, read_adapter
from recast.world import heldout, rules
from recast.world.scene import IDENTITY
from tests.tiny import tiny_pipeline

SIZE = 64


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / "train_character.py"
    spec = importlib.util.spec_from_file_location("train_character", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def taught(example: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pipeline, list[str]]:
    out, model, said = tmp_path_factory.mktemp("character"), tiny_pipeline(), []
    before, after = example.teach(model, out, steps=24, size=SIZE, rate=1e-2, tell=said.append)
    assert after < 0.9 * before, (before, after)
    return out, model, said


def test_every_picture_shows_the_same_person_who_is_held_out(example: ModuleType) -> None:
    who = example.zorblax()
    assert heldout.is_held_out_face(who.face)
    scenes = [example.picture_of(who, number) for number in range(example.TAUGHT + example.UNSEEN)]
    for scene in scenes:
        assert not rules.problems(scene)
        assert [getattr(scene.characters[0], name) for name in IDENTITY] == [getattr(who, name) for name in IDENTITY]
        assert example.NAME in example.caption(scene)
    clothes = {(s.characters[0].shirt, s.characters[0].outfit, s.background, s.time) for s in scenes}
    assert len(clothes) > 24, "the clothes and places differ"


def test_a_short_run_learns_and_reports_the_held_out_loss(taught: tuple[Path, Pipeline, list[str]]) -> None:
    out, _, said = taught
    assert said[0].startswith("held-out loss of the base")
    assert len(said) == 4
    words = (out / "pictures" / "zorblax" / "00.txt").read_text()
    assert words.startswith("zorblax in a")
    assert len(list((out / "pictures" / "zorblax").glob("*.png"))) == 20
    with Image.open(out / "panel.png") as panel:
        assert panel.height > 5 * SIZE
    assert not (out / "pictures" / "unseen" / "20.txt").exists()


def test_the_saved_adapter_makes_the_pictures_of_the_adapted_model(taught: tuple[Path, Pipeline, list[str]]) -> None:
    out, model, _ = taught
    fresh = tiny_pipeline()
    adapter = read_adapter(out / "zorblax.safetensors", fresh.flow)
    assert adapter.report.unmatched == ()
    asks = [Ask(prompt="zorblax in a red hoodie", seed=1)]
    base = answers(fresh, asks, steps=2)[0].astype(int)
    fold(fresh.flow, adapter)
    folded, attached = (answers(each, asks, steps=2)[0].astype(int) for each in (fresh, model))
    assert np.abs(base - attached).mean() > 1
    assert np.abs(folded - attached).max() <= 1


def test_a_checkpoint_holds_the_adapters_without_their_base_and_is_refused_on_another(
    example: ModuleType, taught: tuple[Path, Pipeline, list[str]]
) -> None:
    out, model, _ = taught
    base = sum(p.numel() for n, p in model.flow.named_parameters() if ".change." not in n)
    newest = max((out / "run" / "checkpoints").iterdir())
    size = sum(file.stat().st_size for file in newest.rglob("*") if file.is_file())
    own = sum(p.numel() for n, p in model.flow.named_parameters() if ".change." in n)
    assert 4 * 4 * own < size < 4 * (4 * own + base), "parameters, their averages and two moments; no base"
    other = tiny_pipeline(seed=1)
    with pytest.raises(ConfigError, match="base"):
        example.teach(other, out, steps=24, size=SIZE, rate=1e-2, tell=lambda line: None)


def test_the_run_goes_on_where_it_stopped(example: ModuleType, taught: tuple[Path, Pipeline, list[str]]) -> None:
    """The same command with the run done changes nothing: its adapters are those of the checkpoint."""
    out, model, _ = taught
    again, said = tiny_pipeline(), []
    example.teach(again, out, steps=24, size=SIZE, rate=1e-2, tell=said.append)
    trained = {n: p for n, p in model.flow.named_parameters() if ".change." in n}
    for name, parameter in again.flow.named_parameters():
        if ".change." in name:
            assert torch.equal(parameter, trained[name]), name
