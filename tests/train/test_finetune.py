"""The `nano` in the package, trained further as a whole, from its own files."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from recast import weights
from recast.cli.main import parser_of
from recast.cli.train import resolved
from recast.models import place
from recast.pixels import image
from recast.train import loop, runs
from recast.train.examples import Examples
from recast.train.export import read_part

TINY = ["--steps", "1", "--batch-size", "1", "--size", "64x64", "--set", "data.held_out=0", "--set", "data.shown=0"]


def test_the_shipped_nano_is_trained_further(tmp_path: Path):
    """One step of AdamW at 1e-4 from the shipped weights, and a model that its other files fit."""
    argv = ["flow", "--preset", "nano-finetune", *TINY, "--set", "optimiser.warmup_steps=0"]
    preset = resolved(parser_of("train").parse_args(argv))
    nano = place("nano")
    ready = runs.ready(preset, runs.Starts(init=nano, autoencoder=nano, text=nano))
    with closing(loop.run(ready.stage, ready.batches, ready.settings, tmp_path)) as events:
        assert next(events).progress.skipped == 0
    before = read_part(nano, "flow")
    after = ready.stage.networks["flow"].state_dict()
    assert 0 < max(float((tensor - before[name]).abs().max()) for name, tensor in after.items()) < 2e-4
    shipped = weights.read_config(nano)
    assert replace(preset.model, autoencoder=shipped.autoencoder) == shipped  # export takes its autoencoder's own


@pytest.mark.parametrize(("preset", "count"), [("nano-finetune", 8), ("nano-lora", 2)])
def test_pictures_of_any_size_are_trained_on_and_the_worlds_stay_as_they_are(preset: str, count: int, tmp_path: Path):
    rows = []
    for name, shape in (("wide", (150, 200, 3)), ("tall", (333, 250, 3))):
        image.write(image.Picture(np.zeros(shape, np.uint8)), tmp_path / f"{name}.png")
        rows.append({"source": f"{name}.png", "target": f"{name}.png", "instruction": name})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def made(*flags: str) -> Examples:
        what = "lora" if preset == "nano-lora" else "flow"
        found = resolved(parser_of("train").parse_args([what, "--preset", preset, *flags]))
        return Examples(found.data, found.model)

    with closing(made("--data", f"folder:{tmp_path}").loader()) as stream:
        seen = {
            (tuple(batch.target.shape), *(tuple(each.shape) for each in batch.contexts)) for batch in islice(stream, 4)
        }
    assert seen == {((count, 3, 224, 288),) * 2, ((count, 3, 288, 224),) * 2}
    world = made()
    assert all(world.batching.bucket(size) == size for size in world.data.sizes)
    assert made("--size", "64x64").batching.bucket((64, 64)) == (64, 64)
