"""What each part of the flow's recipe is worth: one run for each variant at equal budget, judged alike, one table.

    python benchmarks/ablations.py --minutes 5 --ae runs/nano/ae/weights/ae.safetensors --text runs/nano/text/weights \\
        [--preset nano-flow] [--out runs/ablations] [--count 1100] [--set NAME=VALUE ...] [--no-record]

Variants: as it is; context by channel concatenation; contexts at the target's own positions; cached context attention;
editing alone, without text to image. All see the same examples in the same order, of one context each, because
channels cannot hold two. Judged by the averaged weights on held-out edits: the loss at fixed times with fixed noise,
inside and outside what must change; the share of edits that hold everything that was asked, read from pictures of 28
steps; PSNR outside what must change. The edits are the same for all, so a variant's share is compared with that of the
recipe as it is edit by edit (`recast.quality.statistics.paired_difference`). Below the table stands which context
attention the rule chooses: cached, unless it costs more than 2 points of such edits. Minutes hold the compilation of
blocks, of which cached attention needs more: the table says how many steps and samples each run saw in them; with
--steps all see as many. Runs that are there already go on or are only judged.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import record

from recast.errors import TrainingError
from recast.loading import pick_device
from recast.loading import place as located
from recast.quality.statistics import Difference, paired_difference
from recast.train import parallel, runs, state
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


FULL, CACHED = "as it is", "cached context"
ALLOWED = 0.02
"""Of edits as asked that cached context attention may cost, to be taken as the default."""
AT_ONCE = 64
"""Edits whose pictures are made together."""


@dataclass(frozen=True)
class Judged:
    """What was found of one run."""

    figures: Mapping[str, Any]
    right: Mapping[str, float]  # of each held-out edit, by its id: 1 if it holds everything that was asked, else 0


def main(argv: Sequence[str] | None = None) -> None:
    """Train, judge, compare, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="of each run")
    parser.add_argument("--steps", type=int, help="of each run, instead")
    parser.add_argument("--preset", default="nano-flow")
    parser.add_argument("--ae", required=True)
    parser.add_argument("--text")
    parser.add_argument("--out", default="runs/ablations")
    parser.add_argument("--count", type=int, default=1100, help="held-out edits that are judged")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--no-record", action="store_true")
    args = parser.parse_args(argv)
    found: dict[str, Judged] = {}
    for name, words in VARIANTS.items():
        place = Path(args.out) / name.replace(" ", "-")
        settings = [*([ONE_CONTEXT] if args.preset == "nano-flow" else []), *args.set, *words]
        _train(args, place, settings)
        found[name] = judged(override(preset(args.preset), settings), args, place)
    rows = compared(found)
    verdict = chosen(apart(found[CACHED], found[FULL]), len(found[FULL].right))
    print(record.table(rows))
    print(verdict)
    if not args.no_record:
        for row in rows:
            row = {"preset": args.preset, "minutes": args.minutes, "steps": args.steps, **row}
            record.append("ablations", row | ({"verdict": verdict} if row["variant"] == CACHED else {}))


def compared(found: Mapping[str, Judged]) -> list[dict[str, Any]]:
    """A row for each run, with the difference of its edits from those of the recipe as it is."""
    rows = []
    for name, each in found.items():
        share = f"{100 * np.mean(list(each.right.values())):.1f}"
        difference = "" if name == FULL else _points(apart(each, found[FULL]))
        figures = {"edits as asked %": share, f"minus {FULL}": difference, "edits": len(each.right)}
        rows.append({"variant": name, **each.figures, **figures})
    return rows


def apart(one: Judged, other: Judged) -> Difference:
    """The share of edits as asked of one run less that of another, over the same edits; each is a scene of its own."""
    if one.right.keys() != other.right.keys():
        raise TrainingError(
            f"held-out edits: {len(one.right.keys() ^ other.right.keys())} were judged in one run alone; the same for "
            "both accepted; judge both with the same --count, --set and data"
        )
    names = list(one.right)
    return paired_difference([one.right[name] for name in names], [other.right[name] for name in names], names)


def chosen(difference: Difference, edits: int) -> str:
    """Which context attention the rule takes, in words. difference: of cached less full."""
    name = "cached" if difference.value >= -ALLOWED else "full"
    is_sure = difference.low is not None and difference.high is not None
    is_sure = is_sure and (difference.low >= -ALLOWED if name == "cached" else difference.high < -ALLOWED)
    said = "the interval says so too" if is_sure else "the interval holds the other answer too: judge more edits"
    return (
        f"context_attention: {name}. Cached less full: {_points(difference)} over {edits} edits, "
        f"{-100 * ALLOWED:+.0f} allowed; {said}"
    )


def _points(difference: Difference) -> str:
    ends = [100 * (difference.value if end is None else end) for end in (difference.low, difference.high)]
    return f"{100 * difference.value:+.1f} [{ends[0]:+.1f}, {ends[1]:+.1f}]"


def _train(args: argparse.Namespace, place: Path, settings: Sequence[str]) -> None:
    budget = ["--steps", str(args.steps)] if args.steps else ["--minutes", str(args.minutes)]
    command = [
        sys.executable, "-m", "recast", "train", "flow", "--preset", args.preset, "--out", str(place), "--ae", args.ae,
        *budget, *(["--text", args.text] if args.text else []),
        *(word for each in settings for word in ("--set", each)),
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode:
        raise TrainingError(f"{place}: its run did not end well; see above, and run this again: it goes on")


def judged(made: Preset, args: argparse.Namespace, place: Path) -> Judged:
    """What one run reached, by its averaged weights."""
    held = replace(made, data=replace(made.data, held_out=args.count, shown=0, workers=0))
    text = place / "weights" if held.training.train_text else args.text
    starts = runs.Starts(autoencoder=located(args.ae), text=None if text is None else located(text))
    stage = runs.ready(held, starts, ranks=parallel.start(held.parallel, device=pick_device("auto"))).stage
    assert isinstance(stage, FlowStage)
    stage.flow.load_state_dict(read_part(place, "flow"))
    stage.sampling = Sampling(steps=28)
    numbers = stage.validate()
    kept: list[float] = []
    right: dict[str, float] = {}
    for batch in stage.held_out:
        edits = [use for use in fixed(batch) if use.kind == "edit"]
        some = (edits[first : first + AT_ONCE] for first in range(0, len(edits), AT_ONCE))
        for use, picture in (pair for uses in some for pair in stage.answers(batch, uses)):
            truth, mask = batch.truths[use.example], batch.masks
            assert truth is not None
            assert mask is not None
            *contexts, target = (from_json(scene) for scene in truth["scenes"])
            source = contexts[truth["base"]]
            found = checks.read(picture, target, source, truth["asked"], truth["free"])
            right[batch.ids[use.example]] = float(all(found.holds(path) for path in truth["asked"]))
            before = batch.contexts[truth["base"]][use.example].permute(1, 2, 0).numpy()
            still = ~mask[use.example, 0].numpy()
            if still.any():
                error = np.square(picture[still].astype(float) - before[still].astype(float)).mean()
                kept.append(10 * np.log10(255**2 / max(error, 1e-9)))
    figures = {
        **_seen(place),
        "edit loss": round(numbers["edit/loss"], 4),
        "inside": round(numbers["inside"], 4),
        "outside": round(numbers["outside"], 4),
        "text to image loss": round(numbers["text_to_image/loss"], 4),
        "kept, dB": round(float(np.mean(kept)), 2),
    }
    return Judged(figures, right)


def _seen(place: Path) -> dict[str, int]:
    """Steps and samples of a run."""
    newest = state.latest(place)
    assert newest is not None, f"{place}: a run that has ended has a checkpoint"
    progress = json.loads((newest / "run.json").read_text())["progress"]
    return {"steps": progress["step"], "samples": progress["samples"]}


if __name__ == "__main__":
    main()
