"""`recast train`: make the weights, from the first autoencoder to an adapter; look at examples, plans and curves."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.cli.options import width_height
from recast.cli.parallel import process
from recast.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recast.train.loop import Event
    from recast.train.parallel import Ranks
    from recast.train.presets import Preset

HELP = """Train a model, or a part of one. A run lives in a folder: begun again, it goes on from its newest checkpoint.

  recast train ae   --preset nano-ae   --out runs/ae   --minutes 8
  recast train text --preset nano-text --out runs/text --minutes 120
  recast train flow --preset nano-flow --out runs/flow --ae runs/ae/weights --text runs/text/weights
  recast train lora --model nano --data folder:my-pictures --out runs/lora --steps 300
  recast train export --flow runs/flow --ae runs/ae/weights --text runs/flow --out models/mine
  recast train lint --data folder:my-pairs
  recast train plan --model kontext_dev
  recast train watch runs/flow

Each run writes checkpoints/, journal.jsonl, samples/ and, when it is over, weights/. Ctrl-C saves and stops.
Settings are those of a preset; --set NAME=VALUE changes any, and --dry-run prints them all (docs/train.md)."""

RUNS = {"ae": "nano-ae", "text": "nano-text", "flow": "nano-flow", "lora": "nano-lora"}
"""What is trained, and the preset it usually is."""
_RUN = (
    "preset", "out", "init", "data", "size", "steps", "minutes", "batch_size", "workers", "seed", "device",
    "tensorboard", "set", "dry_run", "shard", "replicate", "tensor", "context",
)  # fmt: skip
WHAT = {
    "ae": _RUN,
    "text": _RUN,
    "flow": (*_RUN, "ae", "text"),
    "lora": (*_RUN, "model"),
    "export": ("flow", "ae", "text", "out", "preset", "take", "limit_mb", "set"),
    "lint": ("data", "count", "first", "size", "out", "set"),
    "plan": ("model", "size"),
    "watch": ("places", "follow", "width"),
}
EVERY = ("json", "quiet", "traceback", "what")


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
    run.add_argument("--steps", type=int, metavar="N", help="optimiser steps in all")
    run.add_argument("--minutes", type=float, metavar="N", help="wall clock in all, of every call of this run")
    run.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting; repeat for more"
    )
    run.add_argument("--dry-run", action="store_true", help="print the settings as JSON and stop")
    data = parser.add_argument_group("examples")
    data.add_argument(
        "--data", action="append", metavar="PLACE", help="world, folder:PATH, shards:PATH, SET:PATH; @weight"
    )
    data.add_argument("--size", type=width_height, metavar="WxH", help="of the world's pictures; of plan, any")
    data.add_argument("--batch-size", type=int, metavar="N", help="examples a batch, all processes together")
    data.add_argument("--workers", type=int, metavar="N", help="processes that make examples")
    data.add_argument("--seed", type=int, metavar="N", help="of the data and of the run")
    data.add_argument("--first", type=int, metavar="N", help="lint: the first example (usual: 0)")
    data.add_argument("--count", type=int, metavar="N", help="lint: how many (usual: all, or 100 of the world)")
    machine = parser.add_argument_group("machines (start several processes with torchrun)")
    machine.add_argument("--device", metavar="NAME", help="cpu or cuda (usual: the fastest there is)")
    for name, what in (
        ("shard", "parameters"), ("replicate", "nothing: copies of such groups"), ("tensor", "heads and widths"),
        ("context", "the sequence"),
    ):  # fmt: skip
        machine.add_argument(f"--{name}", type=int, metavar="N", help=f"processes that share {what}")
    machine.add_argument("--tensorboard", action="store_true", help="write TensorBoard's files beside the journal")
    more = parser.add_argument_group("export and watch")
    more.add_argument("--take", metavar="WHICH", help="export: averaged (usual) or raw weights of a checkpoint")
    more.add_argument("--limit-mb", type=float, metavar="MB", help="export: refuse a heavier model")
    more.add_argument("--follow", action="store_true", help="watch: draw again as the journal grows")
    more.add_argument("--width", type=int, metavar="N", help="watch: columns (usual: the terminal's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, or one a line")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    from recast.cli.main import Exit

    if args.what not in WHAT:
        raise ConfigError(f"{args.what!r}: {', '.join(WHAT)} accepted; see `recast train --help`")
    allowed = {*WHAT[args.what], *EVERY}
    strange = [name for name, value in vars(args).items() if name not in allowed and value not in (None, False, [])]
    if strange:
        shown = ", ".join("--" + name.replace("_", "-") for name in strange)
        raise ConfigError(f"{shown}: not for `train {args.what}`; leave it out; see `recast train --help`")
    if args.what in RUNS:
        return _train(args)
    {"export": _export, "lint": _lint, "plan": _plan, "watch": _watch}[args.what](args)
    return Exit.DONE


# A run.


def resolved(args: argparse.Namespace) -> Preset:
    """The preset with what the flags and --set change."""
    from recast.train.overrides import override
    from recast.train.presets import preset

    made = preset(args.preset or RUNS[args.what])
    if made.what != args.what:
        raise ConfigError(f"preset={args.preset!r}: for `train {made.what}`; choose one for {args.what}")
    for word in args.set:
        if made.what == "lora" and word.startswith("model."):
            raise ConfigError(f"set={word!r}: the model of an adapter is its base's; leave it out, or change the base")
    data, course, share = made.data, made.run, made.parallel
    data = _changed(data, places=args.data and tuple(args.data), sizes=args.size and (args.size,), seed=args.seed)
    if args.size:
        data = replace(data, size_weights=())
    data = _changed(data, batch_size=args.batch_size, workers=args.workers)
    if args.steps is not None and args.minutes is None:
        course = replace(course, steps=args.steps, minutes=None)
    elif args.minutes is not None and args.steps is None:
        course = replace(course, minutes=args.minutes, steps=None)
    course = _changed(course, steps=args.steps, minutes=args.minutes, seed=args.seed)
    share = _changed(share, shard=args.shard, replicate=args.replicate, tensor=args.tensor, context=args.context)
    return override(replace(made, data=data, run=course, parallel=share), args.set)


def _changed(config: Any, **changes: Any) -> Any:
    return replace(config, **{name: value for name, value in changes.items() if value is not None})


def _train(args: argparse.Namespace) -> int:
    from recast.cli.main import Exit
    from recast.cli.progress import Progress
    from recast.loading import pick_device

    preset = resolved(args)
    if args.dry_run:
        print(json.dumps(asdict(preset), indent=1))
        return Exit.DONE
    if args.out is None:
        raise ConfigError("--out: missing; a folder such as runs/mine accepted; it holds the run")
    from recast.train import loop, parallel, runs
    from recast.train.journal import Journal

    device = pick_device(args.device or "auto").type
    share, here = preset.parallel, process()
    ranks = parallel.start(share, device=device, **here)
    place = Path(args.out)
    try:
        starts = runs.Starts(init=_path(args.init), autoencoder=_path(args.ae), text=_path(args.text), base=args.model)
        journal = Journal(place, ranks, tensorboard=args.tensorboard)
        made = runs.ready(preset, starts, ranks=ranks, event=journal.event)
        with Progress(quiet=args.quiet or ranks.rank > 0) as progress, _interrupted() as asked:
            progress.note("preparing the first step")
            events = loop.run(
                made.stage, made.batches, made.settings, place, ranks=ranks, journal=journal, should_stop=asked
            )
            last = _drawn(events, progress, args, ranks)
        is_over = bool(ranks.agree(float(last.share >= 1)))  # clocks differ
        files: list[Path] = []
        if is_over and ranks.rank == 0:
            files = runs.published(made, place)
        ranks.barrier()
        if ranks.rank == 0:
            _say(args, place, last, files, is_over)
        return Exit.DONE if is_over else Exit.CANCELLED
    finally:
        parallel.stop(ranks)


def _drawn(events: Iterator[Event], progress: Any, args: argparse.Namespace, ranks: Ranks) -> Event:
    """The last event, the others drawn on the way."""
    last = None
    for event in events:
        last = event
        progress.step(min(999, int(1000 * event.share)), 1000)
        if event.numbers and args.json and ranks.rank == 0:
            print(json.dumps({"step": event.progress.step, **event.numbers}), flush=True)
        elif event.numbers and not args.quiet and ranks.rank == 0:
            progress.clear()
            print(_line(event), file=sys.stderr, flush=True)
    assert last is not None, "a run ends with an event"
    return last


def _line(event: Event) -> str:
    """What was logged at a step, in one line: losses and speed."""
    shown = [
        f"{name} {value:.4g}"
        for name, value in event.numbers.items()
        if (
            name.count("/") == 1 and name.split("/")[1] in ("loss", "grad_norm", "psnr", "images_s", "mfu", "data_wait")
        )
        or name.endswith("queried/stated")
    ]
    return f"step {event.progress.step}  {100 * min(event.share, 1):.0f} %  " + "  ".join(shown)


def _say(args: argparse.Namespace, place: Path, last: Event, files: list[Path], is_over: bool) -> None:
    said: dict[str, Any] = {
        "run": str(place),
        "step": last.progress.step,
        "samples": last.progress.samples,
        "minutes": round(last.progress.seconds / 60, 2),
        "is_over": is_over,
        "weights": [str(file) for file in files],
    }
    if args.json:
        print(json.dumps(said))
    elif is_over:
        print(f"{place}: {last.progress.step} steps, {last.progress.samples} examples; {', '.join(said['weights'])}")
    else:
        print(f"{place}: stopped and saved after step {last.progress.step}; the same command goes on")


@contextmanager
def _interrupted() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or a polite kill has asked the run to stop; a second one stops at once."""
    asked: list[int] = []

    def hear(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _path(text: str | None) -> Path | None:
    if text is None:
        return None
    from recast.loading import place

    found = place(text)
    if not found.exists():
        raise InputError(
            f"{text}: not there; a run, one of its checkpoints, a model or a file accepted; check the path"
        )
    return found


# Beside runs.


def _export(args: argparse.Namespace) -> None:
    from recast.config import AutoencoderConfig
    from recast.train import export
    from recast.train.overrides import override
    from recast.train.presets import preset
    from recast.weights import open_checkpoint

    for name in ("flow", "ae", "text", "out"):
        if getattr(args, name) is None:
            raise ConfigError(f"--{name}: missing; export puts a flow, an autoencoder and a text encoder together")
    config = override(preset(args.preset or RUNS["flow"]), args.set).model
    autoencoder = _path(args.ae)
    assert autoencoder is not None
    if (autoencoder / "checkpoints").is_dir():
        raise ConfigError(f"--ae={args.ae}: a run, whose latents are not of unit scale; pass {args.ae}/weights")
    found = open_checkpoint(autoencoder, "autoencoder").config
    assert isinstance(found, AutoencoderConfig)
    config = replace(config, autoencoder=found)
    out = export.assemble(
        Path(args.out),
        flow=_path(args.flow) or "",
        autoencoder=autoencoder,
        text=_path(args.text) or "",
        config=config,
        take=args.take or "averaged",
        limit_bytes=None if args.limit_mb is None else int(args.limit_mb * 1e6),
    )
    total = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(json.dumps({"out": str(out), "bytes": total}) if args.json else f"{out}: {total / 1e6:.1f} MB")


def _lint(args: argparse.Namespace) -> None:
    from recast.train import lint, runs
    from recast.train.overrides import override
    from recast.train.presets import Data
    from recast.world.folder import write_whole

    if not args.data:
        raise ConfigError("--data: missing; a place such as folder:my-pairs accepted")
    data = _changed(Data(places=tuple(args.data)), sizes=args.size and (args.size,))
    thresholds = override(lint.Thresholds(), args.set)
    source = runs.source(data, 10**6)
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
    from recast.train import plan

    print(plan.report(args.model or "nano", size=args.size, is_json=args.json))


def _watch(args: argparse.Namespace) -> None:
    import shutil
    import time

    from recast.train import watch

    if not args.places:
        raise ConfigError("RUN: missing; one or more folders of runs accepted")
    width = args.width or shutil.get_terminal_size().columns
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for frame in watch.frames([Path(each) for each in args.places], width=width, colour=colour, follow=args.follow):
        if args.follow:
            sys.stdout.write("\x1b[H\x1b[2J")
        print(frame, flush=True)
        if args.follow:
            time.sleep(2)
