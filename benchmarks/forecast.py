"""How well is the region of an edit foretold a third of the way? `nano` on the world's own scenes, local edits.

    python benchmarks/forecast.py [--scenes 16] [--steps 28] [--runs FOLDER]

For each scene the run is done to its end and merged; the region that the merge took is the truth. A forecast is set
against it token by token: IoU of the tokens forecast and the tokens in which the region has a pixel. Printed for many
steps, so that the goal of 0.7 at step 10 of 28 can be seen beside its neighbours, with the share of pictures that reach
it. Scenes in which nothing or almost all changed are counted and left out: there is no region to foretell. --runs keeps
the tokens of each run, to judge other thresholds by without the hours of sampling.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch

import recast
from recast.pixels.geometry import own_size, tokens_touched
from recast.retouch.editor import Edited, Editor
from recast.retouch.forecast import tokens_changing
from recast.retouch.merge import Merge
from recast.world.draw import draw
from recast.world.edits import NANO_BYTES, edit
from recast.world.sample import FIRST_UNTRAINED

FIRST = FIRST_UNTRAINED + 77_000
AT = (5, 10, 14, 21, 28)  # of 28; scaled for other numbers of steps
CATEGORIES = ("local", "local", "text")


def run(editor: Editor, number: int, steps: int) -> dict[str, np.ndarray]:
    """One edit to its end: tokens of the source, those predicted at each of `AT`, and those of the merged region."""
    made = edit(FIRST + number, category=CATEGORIES[number % len(CATEGORIES)], limit_bytes=NANO_BYTES)
    source = draw(made.source)
    at = {max(1, round(k * steps / 28)) for k in AT}
    kept: dict[str, np.ndarray] = {"rgb": source, "instruction": np.array(made.instruction)}
    flow = editor.start_edit(source, made.instruction, steps=steps, seed=number, size="source")
    for step in flow:
        assert step.source is not None
        kept["source"] = step.source[0].numpy()
        if step.index in at:
            kept[f"at {step.index}"] = step.clean[0].numpy()
    result = flow.result
    assert isinstance(result, Edited)
    kept["edited"] = result.raws[0].rgb
    kept |= region(source, result.edits[0])
    return kept


def region(source: np.ndarray, made: Merge) -> dict[str, np.ndarray]:
    """What a merge took of an edit: its verdict, and the tokens (rows, columns) in which it is at least half taken."""
    alpha = np.zeros(source.shape[:2], np.float32)
    for layer in made.layers:
        left, top, right, bottom = layer.box
        np.maximum(alpha[top:bottom, left:right], layer.alpha, out=alpha[top:bottom, left:right])
    fit = own_size(source.shape[1], source.shape[0])
    return {"verdict": np.array(made.verdict), "truth": tokens_touched(fit, alpha >= 0.5)}


def judge(kept: dict[str, np.ndarray]) -> dict[str, Any]:
    """The verdict of the merge, the share of its region, and how the forecast at each step that was kept meets it."""
    truth = kept["truth"]
    row: dict[str, Any] = {"verdict": str(kept["verdict"]), "region": float(truth.mean())}
    for name in sorted((name for name in kept if name.startswith("at ")), key=lambda name: int(name[3:])):
        told = tokens_changing(torch.from_numpy(kept[name]), torch.from_numpy(kept["source"]), truth.shape)
        row[name] = float((told & truth).sum() / max(1, (told | truth).sum()))
        row[f"recall {name}"] = float((told & truth).sum() / max(1, truth.sum()))
        row[f"precision {name}"] = float((told & truth).sum() / max(1, told.sum()))
    return row


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=16, help="how many edits (default 16)")
    parser.add_argument("--steps", type=int, default=28, help="sampler steps (default 28)")
    parser.add_argument("--runs", type=Path, help="a folder of runs to read, and to add to")
    args = parser.parse_args()
    editor = Editor(recast.load("nano", device="cpu", dtype="fp32"))
    rows = []
    for number in range(args.scenes):
        path = args.runs and args.runs / f"{args.steps}-{number}.npz"
        kept = dict(np.load(path)) if path and path.exists() else run(editor, number, args.steps)
        if path and not path.exists():
            np.savez(path, **kept)
        rows.append(judge(kept))
        print(str(kept["instruction"]), {k: round(v, 2) if isinstance(v, float) else v for k, v in rows[-1].items()})
    local = [row for row in rows if row["verdict"] == "local"]
    print(f"{len(local)} of {len(rows)} edits are local")
    table = [
        {
            "step": name,
            "IoU median": float(np.median([row[name] for row in local])),
            "IoU mean": float(np.mean([row[name] for row in local])),
            "at least 0.7 %": 100 * float(np.mean([row[name] >= 0.7 for row in local])),
            "recall mean": float(np.mean([row[f"recall {name}"] for row in local])),
            "precision mean": float(np.mean([row[f"precision {name}"] for row in local])),
        }
        for name in local[0]
        if name.startswith("at ")
    ]
    print(record.table(table))
    record.append("forecast", {"steps": args.steps, "scenes": len(rows), "local": len(local), "rows": table})


if __name__ == "__main__":
    main()
