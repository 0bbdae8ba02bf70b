"""What each part of the flow's recipe is worth: runs of each variant at equal budget, judged alike, one table.

    python benchmarks/ablations.py --minutes 5 --ae runs/nano/ae/weights/ae.safetensors --text runs/nano/text/weights \\
        [--preset nano-flow] [--seeds 0,1,2] [--out runs/ablations] [--count 1100] [--set NAME=VALUE ...] [--no-record]
    python benchmarks/ablations.py --preset tiny-edit --steps 80 --seeds 0,1,2,3,4,5 --ae nano --text nano    # on a CPU

Variants: as it is; context by channel concatenation; contexts at the target's own positions; cached context attention;
editing alone, without text to image; of `tiny-edit` also editing alone in smaller batches, so as many edits in as many
steps. All see the same examples in the same order, of one context each, because channels cannot hold two. Judged by the
averaged weights on held-out edits: the loss at fixed times with fixed noise, inside and outside what must change, and
of text to image, trained or not; the share of edits that hold everything that was asked, read from pictures of 28
steps, of sheets by the nearest colour; PSNR outside what must change. "edits %" is the share of examples that a run
trains on as edits: the rest goes to text to image, and to pictures that stay.

A variant is compared with the recipe as it is by `recast.quality.statistics.paired_difference`: with one seed edit by
edit; with several, of the data and of the run, seed by seed, and figures are means over them. Fewer than five of either
give no interval. Below the table stands which context attention the rule chooses: cached, unless it costs more than 2
points of edits as asked; a toy, such as `tiny-edit`, decides nothing. Minutes hold the compilation of blocks, of which
cached attention needs more: the table says how many steps and samples each run saw in them; with --steps all see as
many. Runs that are there already go on or are only judged.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import record

from recast.errors import TrainingError
from recast.loading import pick_device
from recast.loading import place as located
from recast.quality.metrics import psnr
from recast.quality.statistics import FEWEST, Interval, paired_difference
from recast.train import parallel, runs, state
from recast.train.data.sheets import colour_shown, in_colours
from recast.train.export import read_part
from recast.train.flow_stage import FlowStage
from recast.train.overrides import override
from recast.train.presets import Preset, preset
from recast.train.uses import FlowTraining, fixed
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


class Base(NamedTuple):
    """What all variants of a preset have in common."""

    settings: tuple[str, ...] = ()
    variants: Mapping[str, tuple[str, ...]] = MappingProxyType(VARIANTS)
    count: int = 1100  # held-out edits that are judged
    decides: bool = True  # which context attention is taken; a toy does not


BASES = {
    "nano-flow": Base((ONE_CONTEXT,)),
    "tiny-edit": Base(
        ("training.text_to_image=0.3",),
        # Of 32 examples of the others 1 / 1.3 are edits: 25.
        variants=VARIANTS | {"editing alone, as many edits": ("training.text_to_image=0", "data.batch_size=25")},
        count=128,  # of 384 that there are
        decides=False,
    ),
}
FULL, CACHED = "as it is", "cached context"
ALLOWED = 0.02
"""Of edits as asked that cached context attention may cost, to be taken as the default."""
AT_ONCE = 64
"""Edits whose pictures are made together."""
COMPARED = ("edit loss", "kept, dB")
"""Figures of a run that are compared with those of the recipe as it is."""
AS_ASKED = "edits as asked %"


@dataclass(frozen=True)
class Judged:
    """What was found of one run."""

    figures: Mapping[str, float]
    right: Mapping[str, float]  # of each held-out edit, by its id: 1 if it holds everything that was asked, else 0


def main(argv: Sequence[str] | None = None) -> None:
    """Train, judge, compare, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="of each run")
    parser.add_argument("--steps", type=int, help="of each run, instead")
    parser.add_argument("--preset", default="nano-flow")
    parser.add_argument("--seeds", type=_seeds, default=[0], help="of the runs of each variant, such as 0,1,2")
    parser.add_argument("--ae", required=True)
    parser.add_argument("--text")
    parser.add_argument("--out", default="runs/ablations")
    parser.add_argument("--count", type=int, help="held-out edits that are judged; as many as the preset is judged by")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--no-record", action="store_true")
    args = parser.parse_args(argv)
    if (args.minutes is None) == (args.steps is None):
        parser.error("--minutes, --steps: one of them accepted; 5 minutes a run are usual on a GPU")
    base = BASES.get(args.preset, Base())
    args.count = base.count if args.count is None else args.count
    if args.count < 1:
        parser.error(f"--count: {args.count} came; 1 or more held-out edits accepted, or left out")
    found: dict[str, list[Judged]] = {name: [] for name in base.variants}
    for seed in args.seeds:
        for name, words in base.variants.items():
            place = Path(args.out) / name.replace(",", "").replace(" ", "-") / f"seed-{seed}"
            settings = [*base.settings, *args.set, *words, f"run.seed={seed}", f"data.seed={seed}"]
            _train(args, place, settings)
            found[name].append(judged(override(preset(args.preset), settings), args, place))
    rows = compared(found)
    print(record.table([shown(row) for row in rows]))
    verdict = {}
    if base.decides:
        difference = apart(found[CACHED], found[FULL])
        verdict = {"verdict": chosen(difference, seeds=len(args.seeds), edits=len(found[FULL][0].right))}
        print(verdict["verdict"])
    if not args.no_record:
        for row in rows:
            each_run = [{AS_ASKED: _share(each), **each.figures} for each in found[row["variant"]]]
            asked = {"minutes asked": args.minutes, "steps asked": args.steps, "seeds": args.seeds}
            row = {"preset": args.preset, "set": args.set, **asked, **row, "runs": each_run}
            record.append("ablations", row | (verdict if row["variant"] == CACHED else {}))


def compared(found: Mapping[str, Sequence[Judged]]) -> list[dict[str, Any]]:
    """A row of numbers for each variant: means over its runs, one a seed, and how far they are from the recipe's own.

    A difference is an `Interval`, None of the recipe as it is from itself.
    """
    rows = []
    for name, each in found.items():
        row: dict[str, Any] = {"variant": name}
        for figure in each[0].figures:
            values = [one.figures[figure] for one in each]
            row[figure] = round(float(np.mean(values)), 4)
            if figure in COMPARED:
                others = [one.figures[figure] for one in found[FULL]]
                between = _paired(values, others, range(len(values)))
                row[f"{figure}, minus {FULL}"] = None if name == FULL else _rounded(between, 4)
        row[AS_ASKED] = round(float(np.mean([_share(one) for one in each])), 2)
        row[f"{AS_ASKED}, minus {FULL}"] = None if name == FULL else _rounded(_points(apart(each, found[FULL])), 2)
        row["edits"] = len(each[0].right)
        rows.append(row)
    return rows


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `compared` as the table shows it: differences in words."""
    digits = {head: 1 if head.startswith(AS_ASKED) else 3 for head in row}
    said = {head: _said(value, digits[head]) for head, value in row.items() if isinstance(value, Interval)}
    return {head: said.get(head, "" if value is None else value) for head, value in row.items()}


def apart(ones: Sequence[Judged], others: Sequence[Judged]) -> Interval:
    """The share of edits as asked of a variant's runs less that of another's, seed by seed over the same edits.

    Of one seed every edit is a scene of its own; of several, the edits of a seed go together, because what is asked is
    how much another run would differ.
    """
    for one, other in zip(ones, others, strict=True):
        if one.right.keys() != other.right.keys():
            raise TrainingError(
                f"held-out edits: {len(one.right.keys() ^ other.right.keys())} were judged in one run alone; the same "
                "for both accepted; judge both with the same --count, --set and data"
            )
    items = [(seed, name) for seed, one in enumerate(ones) for name in one.right]
    clusters = [name if len(ones) == 1 else seed for seed, name in items]
    right = [[each[seed].right[name] for seed, name in items] for each in (ones, others)]
    return _paired(*right, clusters)


def chosen(difference: Interval, *, seeds: int, edits: int) -> str:
    """Which context attention the rule takes, in words. difference: of cached less full. edits: of each seed."""
    name = "cached" if difference.value >= -ALLOWED else "full"
    judged_on, more = f"{edits} edits", "judge more edits"
    if seeds > 1:
        judged_on, more = f"{seeds} seeds of {edits} edits", "train more seeds"
    if difference.low is None or difference.high is None:
        said = f"no interval of so few: {more}, {FEWEST} at least"
    elif difference.low >= -ALLOWED if name == "cached" else difference.high < -ALLOWED:
        said = "the interval says so too"
    else:
        said = f"the interval holds the other answer too: {more}"
    return (
        f"context_attention: {name}. Cached less full: {_said(_points(difference), 1)} over {judged_on}, "
        f"{-100 * ALLOWED:+.0f} allowed; {said}"
    )


def _paired(ones: Sequence[float], others: Sequence[float], clusters: Sequence[object]) -> Interval:
    """The mean of ones - others and its interval; none of fewer than `FEWEST` clusters, which would be too short."""
    value, low, high, _ = paired_difference(ones, others, clusters)
    return Interval(value, low, high) if len(set(clusters)) >= FEWEST else Interval(value, None, None)


def _points(share: Interval) -> Interval:
    """In points of a hundred."""
    return Interval(100 * share.value, *(None if end is None else 100 * end for end in share[1:]))


def _rounded(found: Interval, digits: int) -> Interval:
    return Interval(*(None if each is None else round(each, digits) for each in found))  # type: ignore[arg-type]


def _said(difference: Interval, digits: int) -> str:
    """Such as "+1.0 [-0.5, +2.5]"; without an interval where there is none."""
    value, *ends = (None if each is None else f"{each:+.{digits}f}" for each in difference)
    return f"{value} [{', '.join(ends)}]" if all(ends) else f"{value}"


def _share(run: Judged) -> float:
    return round(100 * float(np.mean(list(run.right.values()))), 2)


def _seeds(words: str) -> list[int]:
    given = words.split(",")
    seeds = [int(seed) for seed in given if seed.isdecimal()]
    if len(set(seeds)) < len(given):
        raise argparse.ArgumentTypeError(f"{words!r}: whole numbers from 0 accepted, each once, such as 0,1,2")
    return seeds


def _train(args: argparse.Namespace, place: Path, settings: Sequence[str]) -> None:
    budget = ["--steps", str(args.steps)] if args.steps is not None else ["--minutes", str(args.minutes)]
    command = [
        sys.executable, "-m", "recast", "train", "flow", "--preset", args.preset, "--out", str(place), "--ae", args.ae,
        *budget, *(["--text", args.text] if args.text else []),
        *(word for each in settings for word in ("--set", each)),
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode:
        raise TrainingError(f"{place}: its run did not end well; see above, and run this again: it goes on")


def judged(made: Preset, args: argparse.Namespace, place: Path) -> Judged:
    """What one run reached, by its averaged weights."""
    assert isinstance(made.training, FlowTraining)
    both = replace(made.training, edit=1.0, text_to_image=1.0)  # judged as both, whatever it was trained on
    held = replace(made, training=both, data=replace(made.data, held_out=args.count, shown=0, workers=0))
    text = place / "weights" if both.train_text else args.text
    starts = runs.Starts(autoencoder=located(args.ae), text=None if text is None else located(text))
    stage = runs.ready(held, starts, ranks=parallel.start(held.parallel, device=pick_device("auto"))).stage
    assert isinstance(stage, FlowStage)
    stage.flow.load_state_dict(read_part(place, "flow"))
    stage.sampling = Sampling(steps=28)
    numbers = stage.validate()
    kept: list[float] = []
    right: dict[str, float] = {}
    for batch in stage.held_out:
        edits = [use for use in fixed(batch, both) if use.kind == "edit"]
        some = (edits[first : first + AT_ONCE] for first in range(0, len(edits), AT_ONCE))
        for use, picture in (pair for uses in some for pair in stage.answers(batch, uses)):
            truth, mask, base = batch.truths[use.example], batch.masks, batch.bases[use.example]
            assert truth is not None
            assert mask is not None
            right[batch.ids[use.example]] = float(_is_as_asked(picture, truth, base, made.data.colours))
            before = batch.contexts[base][use.example].permute(1, 2, 0).numpy()
            still = ~mask[use.example, 0].numpy()
            if still.any():
                kept.append(psnr(picture[still][None], before[still][None]))
    shares = made.training.edit, made.training.text_to_image, made.training.keep
    figures = {
        **_seen(place),
        "edits %": round(100 * shares[0] / sum(shares), 1),
        "edit loss": round(numbers["edit/loss"], 4),
        "inside": round(numbers["inside"], 4),
        "outside": round(numbers["outside"], 4),
        "text to image loss": round(numbers["text_to_image/loss"], 4),
        "kept, dB": round(float(np.mean(kept)), 2),
    }
    return Judged(figures, right)


def _is_as_asked(picture: np.ndarray, truth: Mapping[str, Any], base: int, colours: Sequence[str]) -> bool:
    """Whether a picture (H, W, 3) uint8 shows all that was asked. base: of the contexts. colours: those of sheets."""
    *contexts, target = (from_json(scene) for scene in truth["scenes"])
    if "free" in truth:  # a scene of the world
        found = checks.read(picture, target, contexts[base], truth["asked"], truth["free"])
        return all(found.holds(path) for path in truth["asked"])
    height, width = picture.shape[:2]
    return colour_shown(picture, in_colours(target, colours, (width, height))) == target.things[0].colour


def _seen(place: Path) -> dict[str, int]:
    """Steps and samples of a run."""
    newest = state.latest(place)
    assert newest is not None, f"{place}: a run that has ended has a checkpoint"
    progress = json.loads((newest / "run.json").read_text())["progress"]
    return {"steps": progress["step"], "samples": progress["samples"]}


if __name__ == "__main__":
    main()
