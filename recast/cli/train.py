"""`recast train`: make the weights, from the first autoencoder to an adapter; look at examples, plans and curves."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recast.cli import training
from recast.cli.training import RUN, existing
from recast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from recast.train.parallel import Ranks
    from recast.train.presets import Preset
    from recast.train.runs import Ready

HELP = """Train a model, or a part of one. A run lives in a folder: begun again, it goes on from its newest checkpoint.

  recast train ae   --preset nano-ae   --out runs/ae   --minutes 8
  recast train text --preset nano-text --out runs/text --minutes 120
  recast train flow --preset nano-flow --out runs/flow --ae runs/ae/weights --text runs/text/weights
  recast train lora --model nano --data folder:my-pictures --out runs/lora --steps 300
  recast train export --flow runs/flow --ae runs/ae/weights --text runs/flow --out models/mine
  recast train lint --data folder:my-pairs
  recast train plan --preset kontext-lora --device H200
  recast train watch runs/flow

Each run writes checkpoints/, journal.jsonl, samples/ and, when it is over, weights/. Ctrl-C saves and stops.
Settings are those of a preset; --set NAME=VALUE changes any, and --dry-run prints them all (docs/train.md)."""

RUNS = {"ae": "nano-ae", "text": "nano-text", "flow": "nano-flow", "lora": "nano-lora"}
"""What is trained, and the preset it usually is."""
WHAT = {
    "ae": (*RUN, "held_out"),
    "text": tuple(name for name in RUN if name not in ("data", "size")),  # it reads the world's texts, and no picture
    "flow": (*RUN, "held_out", "ae", "text"),
    "lora": (*RUN, "held_out", "model", "ask"),
    "export": ("flow", "ae", "text", "out", "preset", "take", "limit_mb", "set"),
    "lint": ("data", "count", "first", "size", "out", "set"),
    "plan": ("model", "size", "preset", "steps", "samples", "minutes", "batch_size", "rank", "device"),
    "watch": ("places", "follow", "width"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast train ae|text|flow|lora|export|lint|plan|watch [options]"
    parser.add_argument("what", metavar="WHAT", help=f"one of {', '.join(WHAT)}")
    parser.add_argument("places", metavar="RUN", nargs="*", help="watch: the runs to look at")
    run = parser.add_argument_group("a run")
    run.add_argument("--preset", metavar="NAME", help="named settings; a name that does not exist lists them")
    run.add_argument("--out", metavar="PATH", help="the run's folder; of export, the model's; of lint, a file of ids")
    run.add_argument("--init", metavar="PATH", help="start from these weights: an earlier run's, or a model's")
    run.add_argument("--ae", metavar="PATH", help="flow, export: the autoencoder")
    run.add_argument("--text", metavar="PATH", help="flow, export: the text encoder")
    run.add_argument("--flow", metavar="PATH", help="export: the flow transformer")
    run.add_argument("--model", metavar="MODEL", help="lora: the base, nano or a path; plan: a preset's name")
    run.add_argument("--ask", action="append", metavar="PROMPT", help="lora: show this too, before and after")
    training.add_course(run, dry_run="print the settings as JSON and stop")
    data = parser.add_argument_group("examples")
    training.add_examples(data, size="of the world's pictures; of plan, any")
    data.add_argument("--held-out", metavar="PLACE", help="judge by these examples, instead of some of --data")
    data.add_argument("--first", type=int, metavar="N", help="lint: the first example (usual: 0)")
    data.add_argument("--count", type=int, metavar="N", help="lint: how many (usual: all, or 100 of the world)")
    training.add_machines(parser)
    plan = parser.add_argument_group("plan")
    plan.add_argument("--samples", type=int, metavar="N", help="examples in all, instead of --steps or --minutes")
    plan.add_argument("--rank", type=int, metavar="N", help="of adapters; 0: without (usual: both, at rank 16)")
    more = parser.add_argument_group("export and watch")
    more.add_argument("--take", metavar="WHICH", help="export: averaged (usual) or raw weights of a checkpoint")
    more.add_argument("--limit-mb", type=float, metavar="MB", help="export: refuse a heavier model")
    more.add_argument("--follow", action="store_true", help="watch: draw again as the journal grows")
    more.add_argument("--width", type=int, metavar="N", help="watch: columns (usual: the terminal's)")
    training.add_output(parser)


def run(args: argparse.Namespace) -> int:
    from recast.cli.main import Exit

    training.require_known(args, "train", WHAT)
    if args.what in RUNS:
        return _train(args)
    {"export": _export, "lint": _lint, "plan": _plan, "watch": _watch}[args.what](args)
    return Exit.DONE


# A run.


def resolved(args: argparse.Namespace) -> Preset:
    """The preset with what the flags and --set change."""
    from recast.train.presets import preset

    made = preset(args.preset or RUNS[args.what])
    if made.what != args.what:
        raise ConfigError(f"preset={args.preset!r}: for `train {made.what}`; choose one for {args.what}")
    for word in args.set:
        if made.what == "lora" and word.startswith("model."):
            raise ConfigError(f"set={word!r}: the model of an adapter is its base's; leave it out, or change the base")
    data = training.changed(made.data, held_out_from=args.held_out)
    return training.flagged(replace(made, data=data, asks=tuple(args.ask or ())), args)


def _train(args: argparse.Namespace) -> int:
    from recast.cli.main import Exit

    preset = resolved(args)
    if args.dry_run:
        print(json.dumps(asdict(preset), indent=1))
        return Exit.DONE
    training.in_its_place(args)
    from recast.train import runs

    def making(ranks: Ranks, event: Callable[..., None]) -> Ready:
        starts = runs.Starts(
            init=existing(args.init), autoencoder=existing(args.ae), text=existing(args.text), base=args.model
        )
        return runs.ready(preset, starts, ranks=ranks, event=event)

    return training.carry_out(args, preset.parallel, making)


# Beside runs.


def _export(args: argparse.Namespace) -> None:
    from recast.config import AutoencoderConfig
    from recast.train import export
    from recast.train.card import Card, history
    from recast.train.overrides import override
    from recast.train.presets import preset
    from recast.weights import open_checkpoint

    for name in ("flow", "ae", "text", "out"):
        if getattr(args, name) is None:
            raise ConfigError(f"--{name}: missing; export puts a flow, an autoencoder and a text encoder together")
    config = override(preset(args.preset or RUNS["flow"]), args.set).model
    autoencoder = existing(args.ae)
    assert autoencoder is not None
    if (autoencoder / "checkpoints").is_dir():
        raise ConfigError(f"--ae={args.ae}: a run, whose latents are not of unit scale; pass {args.ae}/weights")
    found = open_checkpoint(autoencoder, "autoencoder").config
    assert isinstance(found, AutoencoderConfig)
    config = replace(config, autoencoder=found)
    flow = existing(args.flow)
    assert flow is not None
    out = export.assemble(
        Path(args.out),
        flow=flow,
        autoencoder=autoencoder,
        text=existing(args.text) or "",
        config=config,
        take=args.take or "averaged",
        card=Card(made=history(flow)),
        limit_bytes=None if args.limit_mb is None else int(args.limit_mb * 1e6),
    )
    total = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(json.dumps({"out": str(out), "bytes": total}) if args.json else f"{out}: {total / 1e6:.1f} MB")


def _lint(args: argparse.Namespace) -> None:
    from recast.train import examples, lint
    from recast.train.overrides import override
    from recast.train.presets import Data
    from recast.world.folder import write_whole

    if not args.data:
        raise ConfigError("--data: missing; a place such as folder:my-pairs accepted")
    if args.out and (Path(args.out).is_dir() or not Path(args.out).absolute().parent.is_dir()):  # before all is read
        raise ConfigError(f"--out={args.out}: a file in a folder that is there accepted; make it, or name another")
    data = training.changed(Data(places=tuple(args.data)), sizes=args.size and (args.size,))
    thresholds = override(lint.Thresholds(), args.set)
    source = examples.source(data, 10**6)
    first, length = args.first or 0, source.length
    count = args.count if args.count is not None else 100 if length is None else length - first
    if first < 0 or count < 1:
        raise ConfigError(f"first={first}, count={count}: a first example from 0 and a count from 1 accepted")
    if length is not None and first + count > length:
        raise ConfigError(f"first={first}, count={count}: the source has {length} examples; ask for fewer")
    verdicts: dict[str, int] = {}
    findings = []
    for finding in lint.lint(source, range(first, first + count), thresholds):
        findings.append(finding)
        verdicts[finding.verdict] = verdicts.get(finding.verdict, 0) + 1
        if args.json:
            print(json.dumps(asdict(finding)), flush=True)
        elif finding.verdict != "keep":
            print(f"{finding.verdict}  {finding.id}: {'; '.join(finding.reasons)}", flush=True)
    if args.out:
        kept = lint.kept(findings)
        write_whole(Path(args.out), "".join(f"{each}\n" for each in kept).encode())
    if not args.json:
        print(", ".join(f"{count} to {verdict}" for verdict, count in sorted(verdicts.items())))


def _plan(args: argparse.Namespace) -> None:
    from recast import config
    from recast.train import course
    from recast.train.plan import Method
    from recast.train.presets import preset

    if args.preset is not None and (args.model or args.rank is not None):
        raise ConfigError(f"--preset={args.preset}: says which model and rank; leave out --model and --rank")
    made = course.Course(model=config.preset(args.model or "nano"))
    if args.preset is not None:
        made = course.of_preset(preset(args.preset))
    if args.rank is not None:  # 0: no adapters
        made = replace(made, methods=(Method(lora_rank=args.rank or None),))
    length = {name: getattr(args, name) for name in ("steps", "samples", "minutes")}
    if any(value is not None for value in length.values()):
        made = replace(made, **length)
    made = training.changed(made, size=args.size, examples=args.batch_size)
    print(course.report(made, course.places(args.device, made.model.flow, made.on_cpu), is_json=args.json))


def _watch(args: argparse.Namespace) -> None:
    import shutil
    import time

    from recast.train import watch

    if not args.places:
        raise ConfigError("RUN: missing; one or more folders of runs accepted")
    if args.json:
        raise ConfigError("--json: watch draws; leave it out; RUN/journal.jsonl holds the numbers, one object a line")
    width = shutil.get_terminal_size().columns if args.width is None else args.width
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for frame in watch.frames([Path(each) for each in args.places], width=width, colour=colour, follow=args.follow):
        if args.follow:
            sys.stdout.write("\x1b[H\x1b[2J")
        print(frame, flush=True)
        if args.follow:
            time.sleep(2)
