"""The whole road with `tiny`, as a user would take it: recipes/tiny.sh, then an edit with what it made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import recast
from recast.train.presets import preset
from recast.train.runs import held_out

ROOT = Path(__file__).parent.parent.parent
LOSS_BELOW = 0.5  # of held-out edits; noise alone is 1 and more
COLOURED = 0.5  # of held-out edits: nearer to the asked colour than to the old one
SECONDS = 180


@pytest.mark.slow
def test_tiny_learns_to_recolour_in_three_minutes(tmp_path: Path):
    begun = time.monotonic()
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(
        [str(ROOT / "recipes" / "tiny.sh"), str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    used = time.monotonic() - begun
    rows = [json.loads(line) for line in (tmp_path / "flow" / "journal.jsonl").read_text().splitlines()]
    losses = [row["val_ema/edit/loss"] for row in rows if "val_ema/edit/loss" in row]
    assert losses[-1] < LOSS_BELOW

    pipeline = recast.load(tmp_path / "model")
    right = []
    for batch in held_out(preset("tiny-flow").data, 95, 16):
        for i, words in enumerate(batch.instructions):
            before, after = (each[i].permute(1, 2, 0).numpy() for each in (batch.contexts[0], batch.target))
            made = pipeline.edit(np.ascontiguousarray(before), words, seed=i).pictures[0].rgb.astype(float)
            changed = np.abs(before.astype(int) - after).sum(-1) > 60
            error = [np.abs(made[changed] - each[changed]).mean() for each in (after, before)]
            right.append(error[0] < error[1])
    assert np.mean(right) > COLOURED, right
    print(f"{used:.0f} s, loss {losses[-1]:.3f}, {np.mean(right):.0%} recoloured")
