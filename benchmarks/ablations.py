"""What each part of the flow's recipe is worth: one run for each variant at equal budget, judged alike, one table.

    python benchmarks/ablations.py --minutes 5 --ae runs/nano/ae/weights/ae.safetensors --text runs/nano/text/weights \\
        [--preset nano-flow] [--out runs/ablations] [--count 120] [--set NAME=VALUE ...] [--no-record]

Variants: as it is; context by channel concatenation; contexts at the target's own positions; cached context attention;
editing alone, without text to image. All see the same examples in the same order, of one context each, because
channels cannot hold two. Judged by the averaged weights on held-out edits: the loss at fixed times with fixed noise,
inside and outside what must change; the share of edits that hold everything that was asked, read from pictures of 28
steps; PSNR outside what must change. Runs that are there already go on or are only judged.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record

from recast.errors import TrainingError
from recast.loading import pick_device
from recast.quality.statistics import wilson
from recast.train import parallel, runs
from recast.train.export import read_part
from recast.train.flow_stage import FlowStage
from recast.train.overrides import override
from recast.train.presets import Preset, preset
from recast.train.uses import fixed
from recast.train.validation import Sampling
from recast.world import checks
from recast.world.scene import from_json

ONE_CONTEXT = 'data.categories={"local": 38, "global": 14, "text": 20, "nothing": 3}'
VARIANTS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "channel concatenation": ("training.conditioning=channels",),
    "no virtual-time offset": ("training.context_offset=false",),
    "cached context": ("model.flow.context_attention=cached",),
    "editing alone": ("training.text_to_image=0",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="of each run")
    parser.add_argument("--steps", type=int, help="of each run, instead")
    parser.add_argument("--preset", default="nano-flow")
    parser.add_argument("--ae", required=True)
    parser.add_argument("--text")
    parser.add_argument("--out", default="runs/ablations")
    parser.add_argument("--count", type=int, default=120, help="held-out edits that are judged")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--no-record", action="store_true")
    args = parser.parse_args()
    rows = []
    for name, words in VARIANTS.items():
        place = Path(args.out) / name.replace(" ", "-")
        settings = [*([ONE_CONTEXT] if args.preset == "nano-flow" else []), *args.set, *words]
        _train(args, place, settings)
        made = override(preset(args.preset), settings)
        rows.append({"variant": name, **judged(made, args, place)})
    print(record.table(rows))
    if not args.no_record:
        for row in rows:
            record.append("ablations", {"preset": args.preset, "minutes": args.minutes, "steps": args.steps, **row})


def _train(args: argparse.Namespace, place: Path, settings: Sequence[str]) -> None:
    budget = ["--steps", str(args.steps)] if args.steps else ["--minutes", str(args.minutes)]
    command = [
        sys.executable, "-m", "recast", "train", "flow", "--preset", args.preset, "--out", str(place), "--ae", args.ae,
        *budget, *(["--text", args.text] if args.text else []),
        *(word for each in settings for word in ("--set", each)),
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode:
        raise TrainingError(f"{place}: its run did not end well; see above, and run this again: it goes on")


def judged(made: Preset, args: argparse.Namespace, place: Path) -> dict[str, Any]:
    """The figures of one run, by its averaged weights."""
    held = replace(made, data=replace(made.data, held_out=args.count, shown=0, workers=0))
    starts = runs.Starts(autoencoder=Path(args.ae), text=place / "weights" if held.training.train_text else args.text)
    stage = runs.ready(held, starts, ranks=parallel.start(held.parallel, device=pick_device("auto"))).stage
    assert isinstance(stage, FlowStage)
    stage.flow.load_state_dict(read_part(place, "flow"))
    stage.sampling = Sampling(steps=28)
    numbers = stage.validate()
    kept, right = [], []
    for batch in stage.held_out:
        edits = [use for use in fixed(batch) if use.kind == "edit"]
        for use, picture in stage.answers(batch, edits):
            truth, mask = batch.truths[use.example], batch.masks
            assert truth is not None
            assert mask is not None
            *contexts, target = (from_json(scene) for scene in truth["scenes"])
            source = contexts[truth["base"]]
            found = checks.read(picture, target, source, truth["asked"], truth["free"])
            right.append(float(all(found.holds(path) for path in truth["asked"])))
            before = batch.contexts[truth["base"]][use.example].permute(1, 2, 0).numpy()
            still = ~mask[use.example, 0].numpy()
            if still.any():
                error = np.square(picture[still].astype(float) - before[still].astype(float)).mean()
                kept.append(10 * np.log10(255**2 / max(error, 1e-9)))
    share = wilson(sum(right), len(right))
    return {
        "edit loss": round(numbers["edit/loss"], 4),
        "inside": round(numbers["inside"], 4),
        "outside": round(numbers["outside"], 4),
        "text to image loss": round(numbers["text_to_image/loss"], 4),
        "edits as asked %": f"{100 * np.mean(right):.1f} [{100 * share[0]:.0f}, {100 * share[1]:.0f}]",
        "kept, dB": round(float(np.mean(kept)), 2),
        "edits": len(right),
    }


if __name__ == "__main__":
    main()
