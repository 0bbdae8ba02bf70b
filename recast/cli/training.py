"""What `recast train` and `recast distill` share: flags of a run, the run itself, Ctrl-C, and what is said of it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from recast.alone import alone
from recast.cli.options import width_height
from recast.cli.parallel import process
from recast.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from recast.cli.progress import Progress
    from recast.train.loop import Event
    from recast.train.parallel import Ranks
    from recast.train.runs import Ready
    from recast.train.settings import Parallel

T = TypeVar("T")

RUN = (
    "preset", "out", "init", "data", "size", "steps", "minutes", "batch_size", "workers", "seed", "device",
    "tensorboard", "set", "dry_run", "shard", "replicate", "tensor", "context",
)  # fmt: skip
"""Flags that every run has, by the names argparse gives them."""
EVERY = ("json", "quiet", "traceback", "what")


# Flags.


def add_course(group: argparse._ArgumentGroup, *, dry_run: str) -> None:
    """How long, and with what settings; dry_run: what that flag does."""
    group.add_argument("--steps", type=int, metavar="N", help="optimiser steps in all")
    group.add_argument("--minutes", type=float, metavar="N", help="wall clock in all, of every call of this run")
    group.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting; repeat for more"
    )
    group.add_argument("--dry-run", action="store_true", help=dry_run)


def add_examples(group: argparse._ArgumentGroup, *, size: str) -> None:
    """Which examples; size: what that flag says."""
    group.add_argument(
        "--data", action="append", metavar="PLACE", help="world, sheets, folder:PATH, shards:PATH, SET:PATH; @weight"
    )
    group.add_argument("--size", type=width_height, metavar="WxH", help=size)
    group.add_argument("--batch-size", type=int, metavar="N", help="examples a batch, all processes together")
    group.add_argument("--workers", type=int, metavar="N", help="processes that make examples")
    group.add_argument("--seed", type=int, metavar="N", help="of the data and of the run")


def add_machines(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machines (start several processes with torchrun)")
    group.add_argument("--device", metavar="NAME", help="cpu or cuda (usual: the fastest there is)")
    for name, what in (
        ("shard", "parameters"), ("replicate", "nothing: copies of such groups"), ("tensor", "heads and widths"),
        ("context", "the sequence"),
    ):  # fmt: skip
        group.add_argument(f"--{name}", type=int, metavar="N", help=f"processes that share {what}")
    group.add_argument("--tensorboard", action="store_true", help="write TensorBoard's files beside the journal")


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object, or one a line")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def require_known(args: argparse.Namespace, verb: str, flags: Mapping[str, Sequence[str]]) -> None:
    """Raises ConfigError for a word `args.what` that is none of `flags`, or a flag that is not for it."""
    if args.what not in flags:
        raise ConfigError(f"{args.what!r}: {', '.join(flags)} accepted; see `recast {verb} --help`")
    allowed = {*flags[args.what], *EVERY}
    given = [name for name, value in vars(args).items() if not (value is None or value is False or value == [])]
    strange = [name for name in given if name not in allowed]  # 0 is a value, though equal to False
    if strange:
        shown = ", ".join("--" + name.replace("_", "-") for name in strange)
        raise ConfigError(f"{shown}: not for `{verb} {args.what}`; leave it out; see `recast {verb} --help`")


def flagged(preset: T, args: argparse.Namespace) -> T:
    """A preset, with `data`, `run` and `parallel`, and with what the flags and then --set change in it."""
    from recast.train.overrides import override

    made: Any = preset
    data, course, share = made.data, made.run, made.parallel
    data = changed(data, places=args.data and tuple(args.data), seed=args.seed)
    data = changed(data, batch_size=args.batch_size, workers=args.workers)
    if args.size:  # with its weights: those of several sizes do not fit it; and not to be stretched to another bucket
        buckets = (*data.buckets, args.size) if data.buckets else ()
        data = replace(data, sizes=(args.size,), size_weights=(), buckets=buckets)
    if args.steps is not None and args.minutes is None:
        course = replace(course, steps=args.steps, minutes=None)
    elif args.minutes is not None and args.steps is None:
        course = replace(course, minutes=args.minutes, steps=None)
    course = changed(course, steps=args.steps, minutes=args.minutes, seed=args.seed)
    share = changed(share, shard=args.shard, replicate=args.replicate, tensor=args.tensor, context=args.context)
    found: T = override(replace(made, data=data, run=course, parallel=share), args.set)
    return found


def changed(config: Any, **changes: Any) -> Any:
    """The dataclass with the values that are not None."""
    return replace(config, **{name: value for name, value in changes.items() if value is not None})


def existing(text: str | None) -> Path | None:
    """The path of a run, one of its checkpoints, a model or a file. Raises InputError if nothing is there."""
    if text is None:
        return None
    from recast.loading import place

    found = place(text)
    if not text or not found.exists():  # no text would be the folder one stands in
        raise InputError(
            f"{text or repr('')}: not there; a run, one of its checkpoints, a model or a file accepted; check the path"
        )
    return found


# A run.


def in_its_place(args: argparse.Namespace) -> Path:
    """The folder of the run. Raises ConfigError if none is named."""
    if args.out is None:
        raise ConfigError("--out: missing; a folder such as runs/mine accepted; it holds the run")
    return Path(args.out)


@contextmanager
def processes(args: argparse.Namespace, share: Parallel) -> Iterator[Ranks]:
    """The processes of the run, which torchrun has started, with this one among them, until the block ends."""
    from recast.loading import pick_device
    from recast.train import parallel

    device = pick_device("auto" if args.device is None else args.device).type
    ranks = parallel.start(share, device=device, **process())
    try:
        yield ranks
    finally:
        parallel.stop(ranks)


def run_alone(place: Path, ranks: Ranks) -> AbstractContextManager[None]:
    """The run's folder for these processes alone, held by the first of them; see `recast.alone`."""
    return alone(place, "run", needs_locks=False) if ranks.rank == 0 else nullcontext()


def carry_out(args: argparse.Namespace, share: Parallel, making: Callable[[Ranks, Callable[..., None]], Ready]) -> int:
    """Go through the run that `making` makes, or go on with it, and publish its weights; the exit code.

    Asked to stop when all is saved, it leaves judging and writing to the next call; one process stops judging at once.
    making: is given the processes and a journal's `event`.
    """
    from recast.cli.main import Exit
    from recast.cli.progress import Progress
    from recast.train import loop, runs
    from recast.train.journal import Journal

    place = in_its_place(args)
    with processes(args, share) as ranks, run_alone(place, ranks):
        journal = Journal(place, ranks, tensorboard=args.tensorboard)
        made = making(ranks, journal.event)
        with Progress(quiet=args.quiet or ranks.rank > 0) as progress:
            progress.note("preparing the first step")
            with interrupted(ranks) as asked:
                events = loop.run(
                    made.stage,
                    made.batches,
                    made.settings,
                    place,
                    ranks=ranks,
                    journal=journal,
                    should_stop=lambda: asked() or made.verdict() is not None,
                )
                try:
                    for last in _drawn(events, progress, args, ranks):
                        asked.is_saved = last.is_saved and (last.is_last or ranks.size == 1)  # many judge together
                    verdict = made.verdict()
                    is_whole = last.share >= 1 and not asked()
                    is_over = bool(ranks.agree(float(is_whole or verdict is not None)))  # clocks and signals differ
                    files: list[Path] = []
                    if is_over and ranks.rank == 0:
                        progress.note("writing the weights, of an autoencoder with what its latents measure")
                        files = runs.published(made, place)
                except KeyboardInterrupt:
                    if not asked.is_saved or ranks.size > 1:
                        raise
                    is_over, verdict, files = False, None, []
        ranks.barrier()
        if ranks.rank == 0:
            _say(args, place, last, files, is_over, verdict)
        return Exit.DONE if is_over else Exit.CANCELLED


def _drawn(events: Iterator[Event], progress: Progress, args: argparse.Namespace, ranks: Ranks) -> Iterator[Event]:
    """The events, each drawn. That nobody reads it any more ends no run: the journal has it all."""
    for event in events:
        progress.step(min(999, int(1000 * event.share)), 1000)
        with suppress(BrokenPipeError):
            if event.numbers and args.json and ranks.rank == 0:
                print(json.dumps({"step": event.progress.step, **event.numbers}), flush=True)
            elif event.numbers and not args.quiet and ranks.rank == 0:
                progress.clear()
                print(_line(event), file=sys.stderr, flush=True)
        if event.is_saved and not event.is_last:
            progress.note("judging what was learned")
        yield event


def _line(event: Event) -> str:
    """What was logged at a step, in one line: losses and speed."""
    kept = ("loss", "grad_norm", "psnr", "accuracy", "endpoint", "images_s", "mfu", "data_wait")
    shown = [
        f"{name} {value:.4g}"
        for name, value in event.numbers.items()
        if (name.count("/") == 1 and name.split("/")[1] in kept) or name.endswith("queried/stated")
    ]
    return f"step {event.progress.step}  {100 * min(event.share, 1):.0f} %  " + "  ".join(shown)


def _say(
    args: argparse.Namespace, place: Path, last: Event, files: list[Path], is_over: bool, verdict: str | None
) -> None:
    from recast.train.panel import PANEL

    said: dict[str, Any] = {
        "run": str(place),
        "step": last.progress.step,
        "samples": last.progress.samples,
        "minutes": round(last.progress.seconds / 60, 2),
        "is_over": is_over,
        "weights": [str(file) for file in files],
    }
    if is_over and (place / PANEL).exists():
        said["panel"] = str(place / PANEL)
    if verdict is not None:
        said["verdict"] = verdict
    if args.json:
        print(json.dumps(said))
    elif is_over:
        why = "" if verdict is None else f" ({verdict})"
        weights = ", ".join(said["weights"])
        panel = f"; before and after: {said['panel']}" if "panel" in said else ""
        print(f"{place}: {last.progress.step} steps, {last.progress.samples} examples{why}; {weights}{panel}")
    else:
        left = "goes on" if last.share < 1 else "judges what was learned, and writes the weights"
        print(f"{place}: stopped and saved after step {last.progress.step}; the same command {left}")


@dataclass
class Asked:
    """Whether a run is asked to stop."""

    is_so: bool = False
    is_saved: bool = False  # told by who runs it: nothing would be lost, so that asking stops it at once

    def __call__(self) -> bool:
        return self.is_so


@contextmanager
def interrupted(ranks: Ranks, piece: str = "step, or the judging that is going on") -> Iterator[Asked]:
    """Whether Ctrl-C or a polite kill has asked the run to stop.

    A second one raises KeyboardInterrupt, and so does a first one where all is saved. The first process answers: a
    step, or whatever piece of work is to be ended first, may take minutes.
    """
    asked = Asked()
    answer = f"\nrecast: saves and stops after this {piece}; once more stops at once, and what is not saved is lost\n"

    def hear(number: int, _: object) -> None:
        is_again, asked.is_so = asked.is_so, True
        if is_again or asked.is_saved:
            raise KeyboardInterrupt
        if ranks.rank == 0:
            with suppress(OSError):  # nobody may be reading: Ctrl-C ends a `tee` behind the run as well
                os.write(2, answer.encode())  # not by sys.stderr, in the middle of whose work a signal may come

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
