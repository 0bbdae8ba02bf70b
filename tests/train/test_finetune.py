"""The `nano` in the package, trained further as a whole, from its own files."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from recast import weights
from recast.cli.main import parser_of
from recast.cli.train import resolved
from recast.models import place
from recast.train import loop, runs
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
