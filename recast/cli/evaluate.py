"""`recast evaluate`: a suite asked of a model, every answer kept and scored; goes on where it stopped."""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from recast.cli.options import width_height
from recast.errors import ConfigError

if TYPE_CHECKING:
    from recast.cli.progress import Progress
    from recast.quality.store import Store
    from recast.quality.suites import Suite
    from recast.quality.systems.contract import System

HELP = """Ask a suite of a model, keep every answer, score it, and print the table. Goes on where it was stopped.

  recast evaluate worldbench-1 --model nano --out runs/nano
  recast evaluate kontext-bench/test --model flux1-kontext-dev --models features --out runs/dev
  recast evaluate worldbench-1 --model bfl:flux-kontext-pro --out runs/pro --yes

SUITE is one of the built-in suites (worldbench-1, worldchains-1, worldwords-1, photo-edits-1: written into the run's
folder), or a folder: one written by `recast world suite`, KontextBench's test/, or any folder laid out like either.
A MODEL is nano, a path, diffusers:FOLDER, or SERVICE:NAME with bfl, openai, google, recraft, stability, replicate or
fal, whose key is read from the environment and never written anywhere."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast evaluate SUITE --model MODEL --out RUN [options]"
    parser.add_argument("suite", metavar="SUITE", help="a built-in suite or a folder")
    parser.add_argument("--model", metavar="MODEL", help="what to test; left out: only score and print what is there")
    parser.add_argument("--out", metavar="RUN", required=True, help="the run's folder, new or to be gone on with")
    parser.add_argument("--name", metavar="NAME", help="what to call the model in tables")
    which = parser.add_argument_group("which items")
    which.add_argument("--category", action="append", metavar="NAME", help="only these; repeat for more")
    which.add_argument("--limit", type=int, metavar="N", help="at most N items, taken evenly from every kind")
    which.add_argument("--forced", action="store_true", help="ask chains also with the right picture before each turn")
    how = parser.add_argument_group("the model")
    how.add_argument("--steps", type=int, metavar="N", help="sampler steps (left out: as the model was made for)")
    how.add_argument("--guidance", type=float, metavar="SCALE", help="how closely to follow the words")
    how.add_argument("--size", type=_size, metavar="HOW", help="what the model works at: auto, source, trained or WxH")
    how.add_argument("--device", metavar="NAME", help="cpu, cuda, mps (usual: the fastest there is)")
    how.add_argument("--dtype", metavar="NAME", help="fp32, bf16, fp16")
    hosted = parser.add_argument_group("hosted models")
    hosted.add_argument("--base-url", metavar="URL", help="where the service is")
    hosted.add_argument("--timeout", dest="timeout_s", type=float, metavar="S", help="give up on a picture after S s")
    hosted.add_argument("--concurrency", type=int, metavar="N", help="requests in flight")
    hosted.add_argument("--requests-per-minute", type=float, metavar="N", help="no more than N a minute")
    hosted.add_argument("--yes", action="store_true", help="run although it costs money")
    parser.add_argument("--models", metavar="FOLDER", help="local files of the measures for real pictures")
    parser.add_argument("--rescore", action="store_true", help="score everything anew, with no picture asked anew")
    parser.add_argument("--no-controls", action="store_true", help="leave out no-op, oracle, floor and stranger")
    parser.add_argument("--dry-run", action="store_true", help="print what would be asked, and what it would cost")
    parser.add_argument("--json", action="store_true", help="print the table as one JSON object")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    from recast.quality import build

    out = Path(args.out)
    with ExitStack() as later:
        place = Path(later.enter_context(TemporaryDirectory())) / "suite" if args.dry_run else out / "suite"
        whole = build.find(args.suite, place)
        return _run(args, out, whole)


def _run(args: argparse.Namespace, out: Path, whole: Suite) -> int:
    from recast.cli.output import print_json
    from recast.cli.progress import Progress
    from recast.quality import run as running
    from recast.quality.store import Store

    suite = whole.only(categories=args.category or (), limit=args.limit)
    for warning in suite.warnings:
        print(f"recast: warning: {warning}", file=sys.stderr)
    with Progress(quiet=args.quiet) as progress:
        system = None
        if args.model is not None:
            progress.note(f"loading {args.model}")
            system = _system(args)
            plan = _plan(system, suite, forced=args.forced)
            if args.dry_run:
                progress.clear()
                print_json(plan) if args.json else print(_said(plan))
                return 0
            _agree(plan, yes=args.yes)
        elif args.dry_run:
            raise ConfigError("--dry-run: needs --model, which is what would be asked")
        store = Store(out)
        command = shlex.join(["recast", "evaluate", *_words(args)])
        if system is not None:
            store.begin(running.about(suite, command))
            for each in [*([] if args.no_controls else _controls(whole, system)), system]:
                _ask(each, suite, store, progress, forced=args.forced and each is system, command=command)
        names = store.systems()
        for name in names if args.rescore else ():
            store.forget_scores(name)
        _score(suite, store, names, args.models, progress)
        progress.note("counting")
        from recast.quality import table

        found, _ = table.results([out], suite=whole)
    if args.json:
        found.pop("items")
        print_json(found)
    else:
        print(_table(found))
    return 0


def _system(args: argparse.Namespace) -> System:
    """The system that --model names, with the options that were given."""
    from recast.quality import systems

    names = ("name", "steps", "guidance", "size", "device", "dtype", "base_url", "timeout_s", "concurrency")
    options: dict[str, Any] = {name: getattr(args, name) for name in (*names, "requests_per_minute")}
    return systems.named(args.model, **{name: value for name, value in options.items() if value is not None})


def _controls(suite: Suite, system: System | None) -> list[Any]:
    """The controls, with the floor of the tested model's own autoencoder where it has one here."""
    from recast.quality.systems.controls import controls, round_trip

    model = getattr(system, "model", None)
    if model is None or not hasattr(model, "autoencoder"):
        return list(controls(suite))
    return list(controls(suite, round_trip(model), model.config.name))


def _plan(system: System, suite: Suite, *, forced: bool) -> dict[str, Any]:
    """How many pictures, and what they cost, before anything is asked."""
    from recast.quality.systems import estimate
    from recast.quality.systems.contract import Request

    requests = [
        Request(
            item=item.key, turn=t, instruction=turn.instruction, width=item.width, height=item.height, seed=item.seed
        )
        for item in suite.items
        for t, turn in enumerate(item.turns)
        for _ in range(2 if forced and len(item.turns) > 1 else 1)
    ]
    return {"suite": f"{suite.name} {suite.sha256[:12]}", "items": len(suite.items), **estimate(system, requests)}


def _said(plan: dict[str, Any]) -> str:
    cost = "costs nothing" if plan["usd"] == 0 else f"about {plan['usd']:.2f} USD" if plan["usd"] else "price unknown"
    known = f", of which {plan['usd_known']:.2f} USD are known" if plan["usd"] is None and plan["usd_known"] else ""
    minutes = plan["seconds_at_least"] / 60
    wait = f"; at least {minutes:.0f} min by its rate limit" if minutes else ""
    asked = f"{plan['items']} items, {plan['requests']} pictures from {plan['system']}"
    return f"{plan['suite']}: {asked}: {cost}{known}{wait}"


def _agree(plan: dict[str, Any], *, yes: bool) -> None:
    """Say what it will cost; raise ConfigError unless it is free or was agreed to."""
    if plan["usd"] == 0:
        return
    print(f"recast: {_said(plan)}", file=sys.stderr)
    if not yes:
        raise ConfigError("--yes: missing; this run costs money, or its price is unknown; --yes starts it")


def _ask(system: Any, suite: Suite, store: Store, progress: Progress, *, forced: bool, command: str) -> None:
    from recast.quality import run as running
    from recast.quality.store import Mode

    modes: tuple[Mode, ...] = ("free", "forced") if forced else ("free",)
    progress.note("starting", f"{system.name} ")
    for step in running.make(suite, system, store, modes=modes, command=command):
        progress.step(step.done, step.of)


def _score(suite: Suite, store: Store, names: tuple[str, ...], models: str | None, progress: Progress) -> None:
    from recast.quality import scoring

    judges = scoring.judges(suite, Path(models) if models else None)
    for line in judges.absent:
        print(f"recast: not measured: {line}", file=sys.stderr)
    for name in names:
        progress.note("starting", f"scoring {name} ")
        for done, of in scoring.score(suite, store, name, judges):
            progress.step(done, of)


def _table(found: dict[str, Any]) -> str:
    """The main table as text: systems x columns, controls first."""
    columns = list(found["columns"])
    head = ["", *(column["title"] for column in columns), "failures", "n"]
    cells = {(c["system"], c["column"]): c for c in found["cells"] if c["category"] == "all"}
    rows = [head]
    for system in found["systems"]:
        own = [cells.get((system["id"], column["id"])) for column in columns]
        first = own[0] or {}
        rows.append([system["name"], *map(_cell, own), str(first.get("failures", "")), str(first.get("n", ""))])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(f"{text:{'<' if i == 0 else '>'}{widths[i]}}" for i, text in enumerate(row)) for row in rows]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in found["warnings"])])


def _cell(cell: dict[str, Any] | None) -> str:
    if cell is None or cell["value"] is None:
        return "-"
    if cell["column"] == "seconds":
        return f"{cell['value']:.2f} s"
    around = f" [{100 * cell['low']:.0f}, {100 * cell['high']:.0f}]" if cell["low"] is not None else ""
    return f"{100 * cell['value']:.1f}{around}"


def _words(args: argparse.Namespace) -> list[str]:
    """The command as it was given, but for what is written elsewhere or belongs to nobody else."""

    def bare(text: str) -> str:
        return Path(text).name if Path(text).is_absolute() else text

    words = [bare(args.suite), *(["--model", bare(args.model)] if args.model else []), "--out", bare(args.out)]
    for name in ("name", "limit", "steps", "guidance", "device", "dtype"):
        if getattr(args, name) is not None:
            words += [f"--{name}", str(getattr(args, name))]
    if args.size is not None:
        words += ["--size", args.size if isinstance(args.size, str) else "x".join(map(str, args.size))]
    if args.models is not None:
        words += ["--models", bare(args.models)]
    for category in args.category or ():
        words += ["--category", category]
    words += ["--forced"] if args.forced else []
    return words + (["--no-controls"] if args.no_controls else [])


def _size(text: str) -> str | tuple[int, int]:
    return text if text in ("auto", "source", "trained") else width_height(text)
