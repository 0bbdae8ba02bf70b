"""The panel shows the same asks by the base and by the adapted model, and nothing else changes between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recast import loading
from recast.errors import InputError
from recast.pixels import image
from recast.train.adapter_stage import AdapterStage
from recast.train.adapters import LoRA, attach
from recast.train.journal import Journal
from recast.train.panel import GAP, LINE, PAPER, Ask, answers, before_after, published, sheet
from recast.train.parallel import ALONE
from recast.train.presets import Data, nano_lora
from recast.train.runs import Starts, ready
from recast.train.settings import Optimiser, Run
from recast.train.uses import FlowTraining
from recast.train.validation import Sampling
from tests.tiny import randomise, tiny_pipeline
from tests.train.pairs import pairs


def flat(value: int, width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_before_is_the_base_and_after_the_adapted_model(tmp_path: Path) -> None:
    pipeline = tiny_pipeline()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    asks = [Ask(prompt="zorblax at the beach", seed=3), Ask(prompt="make it night", contexts=(noise,), seed=4)]
    base = answers(pipeline, asks, steps=2)
    adapters = attach(pipeline.flow, LoRA(rank=2))
    randomise(adapters, 1, std=0.3)
    adapted = answers(pipeline, asks, steps=2)
    assert all((one != other).any() for one, other in zip(base, adapted, strict=True))
    path = before_after(tmp_path / "panel.png", pipeline, adapters, asks, steps=2)
    shown = np.asarray(Image.open(path))
    assert np.array_equal(shown, sheet(asks, {"before": base, "after": adapted}))
    assert np.array_equal(answers(pipeline, asks, steps=2)[0], adapted[0]), "on again afterwards"
    assert [file.name for file in tmp_path.iterdir()] == ["panel.png"]


def test_pictures_stand_in_their_columns_at_their_own_sizes() -> None:
    asks = [
        Ask(prompt="one", contexts=(flat(10, 40, 20),), answer=flat(40, 32, 16)),
        Ask(prompt="two " * 40, seed=5),
    ]
    made = {"before": [flat(20, 32, 16), flat(21, 48, 16)], "after": [flat(30, 32, 16), flat(31, 32, 24)]}
    shown = sheet(asks, made)
    top = LINE + GAP
    lefts = [GAP, 2 * GAP + 40, 3 * GAP + 40 + 48, 4 * GAP + 40 + 48 + 32]
    assert shown.shape[1] == lefts[-1] + 32 + GAP
    for left, value, (width, height) in zip(lefts, (10, 20, 30, 40), ((40, 20), *[(32, 16)] * 3), strict=True):
        assert (shown[top : top + height, left : left + width] == value).all()
        assert (shown[top + height, left : left + width] == PAPER).all()
    second = np.flatnonzero((shown[:, lefts[1]] == 21).all(axis=-1))
    assert len(second) == 16
    assert (shown[second[0], lefts[1] : lefts[1] + 48] == 21).all()
    assert (shown[second[0] : second[0] + 24, lefts[2] : lefts[2] + 32] == 31).all()
    under_first = shown[top + 20 : second[0] - 1]
    assert (under_first != PAPER).any(), "the prompt is written under its row"
    assert (shown[:top] != PAPER).any(), "columns have titles"


def test_the_words_of_a_long_prompt_are_all_there() -> None:
    short, long = (sheet([Ask(prompt="w " * n)], {"after": [flat(0, 64, 64)]}) for n in (2, 60))
    assert long.shape[0] > short.shape[0] + 5 * LINE


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(InputError, match="none came"):
        sheet([], {})
    with pytest.raises(InputError, match="before: 1 pictures for 2 asks"):
        sheet([Ask(prompt="a"), Ask(prompt="b")], {"before": [flat(0, 8, 8)]})


def test_a_run_of_adapters_shows_its_base_beside_them(tmp_path: Path) -> None:
    """What is held out as it is asked and answered, then prompts, of which nobody knows the answer."""
    pipeline, batch = tiny_pipeline(), pairs(2)
    adapters = attach(pipeline.flow, LoRA(rank=2))
    usual = replace(pipeline.config.defaults, width=64, height=64)

    def drawn(edit_guidance: float = 2.0) -> np.ndarray:
        stage = AdapterStage(
            flow=pipeline.flow, autoencoder=pipeline.autoencoder, text=pipeline.text, training=FlowTraining(),
            optimiser=Optimiser(), run=Run(steps=1), adapters=adapters, panel=[batch],
            usual=replace(usual, edit_true_guidance=edit_guidance),
            panel_settings=Sampling(steps=2), prompts=["a zorblax"],
        )  # fmt: skip
        return stage.samples()["panel"]

    first = drawn()
    columns = [first[:, GAP + k * (64 + GAP) :][:, :64] for k in range(4)]
    assert np.array_equal(columns[1][LINE + GAP :][:64], columns[2][LINE + GAP :][:64]), "new adapters change nothing"
    randomise(adapters, 1, std=0.3)
    shown = drawn()
    now = [shown[:, GAP + k * (64 + GAP) :][:, :64] for k in range(4)]
    rows = [LINE + GAP + k * (64 + LINE + 2 * GAP) for k in range(3)]
    for k, top in enumerate(rows):
        cells = [column[top : top + 64] for column in now]
        assert np.array_equal(cells[1], columns[1][top : top + 64]), "before is the base"
        assert (cells[2] != cells[1]).any(), "after is the adapters'"
        known = [batch.contexts[0][k], batch.target[k]] if k < 2 else [None, None]
        for cell, wanted in zip((cells[0], cells[3]), known, strict=True):
            expected = PAPER if wanted is None else wanted.permute(1, 2, 0).numpy()
            assert np.array_equal(cell, np.broadcast_to(np.asarray(expected, np.uint8), cell.shape))
    assert (drawn(edit_guidance=1.0) != shown).any(), "edits are guided as the base usually is"
    assert published(tmp_path) is None
    for step in (5, 40):
        Journal(tmp_path, ALONE).picture("panel", shown[:step], step)
    kept = published(tmp_path)
    assert kept is not None
    assert np.array_equal(np.asarray(image.read(kept).rgb), shown[:40])


@pytest.mark.parametrize("is_few_step", [True, False])
def test_a_base_of_few_steps_is_shown_in_its_own(is_few_step: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny_pipeline()
    usual = replace(base.config.defaults, steps=4, sampler="renoise")
    base.config = replace(base.config, defaults=usual, is_few_step=is_few_step)
    monkeypatch.setattr(loading, "load", lambda *_, **__: base)
    preset = replace(nano_lora(), data=Data(held_out=0, shown=0))
    sampling = ready(preset, Starts(base="few")).stage.sampling
    assert (sampling.steps, sampling.sampler) == ((4, "renoise") if is_few_step else (12, "euler"))
