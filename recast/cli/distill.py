"""`recast distill`: from many evaluations to few: a teacher's pictures, ways to a student, and the model made of it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.cli import training
from recast.cli.training import RUN, existing
from recast.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recast.config import ModelConfig
    from recast.train.distill.presets import Distillation
    from recast.train.distill.runs import Starts
    from recast.train.parallel import Ranks
    from recast.train.runs import Ready

HELP = """Make a model that needs fewer evaluations. A run lives in a folder: begun again, it goes on where it was.

  recast distill pairs       --preset nano --out runs/pairs
  recast distill guidance    --preset nano --out runs/dev
  recast distill direct      --preset nano --pairs runs/pairs --init runs/dev --out runs/direct
  recast distill ladd        --preset nano --pairs runs/pairs --init runs/direct --out runs/turbo
  recast distill consistency --preset nano --out runs/consistency
  recast distill add         --preset nano --pairs runs/pairs --out runs/add
  recast distill export --run runs/turbo --base nano --out models/turbo
  recast distill ladd --preset kontext_dev --dry-run

pairs: pictures of the teacher with their noise. guidance: one evaluation a step instead of two. The others make a
student of four steps. Settings are those of a preset; --set NAME=VALUE changes any, and --dry-run prints them with
what a step evaluates, the memory and the time on each kind of device (docs/distill.md)."""

_STAGE = (*RUN, "model", "lora")
WHAT = {
    "pairs": tuple(name for name in _STAGE if name not in ("init", "steps", "lora")),
    "guidance": _STAGE,
    "direct": (*_STAGE, "pairs"),
    "consistency": (*_STAGE, "pairs"),
    "ladd": (*_STAGE, "pairs"),
    "add": (*_STAGE, "pairs", "features"),
    "export": ("run", "base", "out", "delta", "rank"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast distill pairs|guidance|direct|consistency|ladd|add|export [options]"
    parser.add_argument("what", metavar="WHAT", help=f"one of {', '.join(WHAT)}")
    run = parser.add_argument_group("a run")
    run.add_argument("--preset", metavar="NAME", help="nano (usual), kontext_dev or tiny; another name lists them all")
    run.add_argument("--model", metavar="MODEL", help="the teacher: a name or a path (usual: the preset's)")
    run.add_argument("--out", metavar="PATH", help="the run's folder; of export, the model's")
    run.add_argument(
        "--init", metavar="RUN", help="the student's start, a distillation or a model (usual: the teacher)"
    )
    run.add_argument("--pairs", metavar="RUN", help="what `distill pairs` wrote; without them, the teacher works along")
    run.add_argument("--lora", type=int, metavar="RANK", help="train adapters of this rank; 0: all of the student")
    run.add_argument("--features", metavar="PATH", help="add: DINOv2's files (usual: the autoencoder's own features)")
    training.add_course(run, dry_run="print the settings as JSON and a plan, and stop; needs no weights")
    data = parser.add_argument_group("examples")
    training.add_examples(data, size="of the world's pictures")
    data.description = (
        "With --pairs, those are what is learned from: --data, --size and --workers choose the\n"
        "pictures of sample grids, and what add, and ladd by settings.pictures, take for real."
    )
    training.add_machines(parser)
    more = parser.add_argument_group("export")
    more.add_argument("--run", metavar="RUN", help="the distillation, over")
    more.add_argument("--base", metavar="MODEL", help="whose autoencoder and text encoder it takes: its teacher")
    more.add_argument("--delta", action="store_true", help="write one file with what it changes of its base instead")
    more.add_argument("--rank", type=int, metavar="N", help="of the delta (usual: the adapters' own, else 16)")
    training.add_output(parser)


def run(args: argparse.Namespace) -> int:
    from recast.cli.main import Exit

    training.require_known(args, "distill", WHAT)
    if args.what == "export":
        _export(args)
        return Exit.DONE
    preset = resolved(args)
    if args.dry_run:
        _plan(args, preset)
        return Exit.DONE
    training.in_its_place(args)
    if args.what == "pairs":
        return _pairs(args, preset)
    from recast.train.distill import runs

    starts = starts_of(args)

    def making(ranks: Ranks, event: Callable[..., None]) -> Ready:
        return runs.ready(preset, starts, ranks=ranks, event=event)

    return training.carry_out(args, preset.parallel, making)


def resolved(args: argparse.Namespace) -> Distillation:
    """The preset with what the flags and --set change."""
    from recast.train.adapters import LoRA
    from recast.train.distill.presets import preset

    made = preset(args.what, "nano" if args.preset is None else args.preset)
    if args.lora is not None:
        rank = args.lora
        made = replace(made, lora=LoRA(rank=rank, alpha=float(rank)) if rank else None)
    return training.flagged(_by_sampler(made, args.set), args)


def _by_sampler(preset: Distillation, words: Sequence[str]) -> Distillation:
    """The preset with what belongs to the sampler that --set asks for: it is said, and other words may change it."""
    from recast.cli.output import say
    from recast.train.distill.adversarial_settings import AdversarialSettings, walked_by

    before = preset.settings
    if "settings.sampler=renoise" not in words or not isinstance(before, AdversarialSettings):
        return preset
    after = walked_by(before, "renoise")
    changed = {f"settings.{name}": value for name, value in vars(after).items() if value != getattr(before, name)}
    named = {word.partition("=")[0] for word in words}
    told = [f"{name}={json.dumps(value)}" for name, value in changed.items() if name not in named]
    if told:
        say(f"settings.sampler=renoise: with {' and '.join(told)}, which belong to it")
    return replace(preset, settings=after)


def starts_of(args: argparse.Namespace) -> Starts:
    """What the run starts from. Raises InputError for a path at which nothing is."""
    from recast.train.distill.runs import Starts

    return Starts(
        model=args.model, init=existing(args.init), pairs=existing(args.pairs), features=existing(args.features)
    )


def _pairs(args: argparse.Namespace, preset: Distillation) -> int:
    from recast.cli.main import Exit
    from recast.cli.progress import Progress
    from recast.train.distill import pair_runs, runs
    from recast.train.distill.pairs import Manifest

    place, model = Path(args.out), runs.teacher_of(preset, args.model)
    with training.processes(args, preset.parallel) as ranks, training.run_alone(place, ranks):
        with Progress(quiet=args.quiet or ranks.rank > 0) as progress, training.interrupted(ranks, "shard") as asked:
            progress.note("preparing the first pairs")
            for written in pair_runs.write_pairs(preset, model, place, ranks=ranks, should_stop=asked):
                progress.step(min(written.pairs, written.of), written.of)
            is_stopped = ranks.any(asked())
        manifest = Manifest.read(place / pair_runs.TRAIN)
        is_over = not is_stopped or manifest.pairs >= preset.settings.count  # type: ignore[union-attr]
        if ranks.rank == 0:
            size = sum(size for _, size, _ in manifest.shards)
            minutes = round(pair_runs.spent_s(place) / 60, 2)
            said = {
                "run": str(place), "pairs": manifest.pairs, "bytes": size, "minutes": minutes, "is_over": is_over
            }  # fmt: skip
            tail = "" if is_over else "; stopped, the same command goes on"
            asked_for = preset.settings.count  # type: ignore[union-attr]
            more = f" ({asked_for:,} asked for; shards are written whole)" if manifest.pairs > asked_for else ""
            text = f"{place}: {manifest.pairs:,} pairs{more}, {size / 1e6:.1f} MB{tail}"
            print(json.dumps(said) if args.json else text)
        return Exit.DONE if is_over else Exit.CANCELLED


def _plan(args: argparse.Namespace, preset: Distillation) -> None:
    from recast.train.distill import pair_runs, plan, runs

    starts = starts_of(args)
    if starts.features is not None:
        raise ConfigError(
            f"--features={args.features}: a plan counts with the autoencoder's own features; leave it out of --dry-run"
        )
    if starts.pairs is not None:
        pair_runs.require(starts.pairs)
    model = _sizes(args, preset)
    if args.model is not None:  # without one, it is a model of these sizes, whichever
        runs.require_guided(preset, model)
    data = plan.as_data(preset, model, has_pairs=starts.pairs is not None)
    settings = asdict(preset)
    if args.json:
        print(json.dumps({"settings": settings, "plan": data}))
    else:
        print(f"{json.dumps(settings, indent=1)}\n\n{plan.table(data)}")


def _sizes(args: argparse.Namespace, preset: Distillation) -> ModelConfig:
    """The teacher's config: of its files if they are named, else by the name that the preset is for."""
    from recast import config, weights

    if args.model is None or args.model in config.PRESETS:
        return config.preset(preset.teacher if args.model is None else args.model)
    place = existing(args.model)
    assert place is not None
    return weights.read_config(place)


def _export(args: argparse.Namespace) -> None:
    from recast import weights
    from recast.train import export
    from recast.train.distill import result

    for name in ("run", "base", "out"):
        if getattr(args, name) is None:
            raise ConfigError(f"--{name}: missing; export makes a model of a distillation and its teacher")
    if args.rank is not None and not args.delta:
        raise ConfigError(f"--rank={args.rank}: of a delta; add --delta, or leave it out")
    run_place = Path(args.run)
    if not run_place.is_dir():
        raise InputError(f"run={args.run!r}: not there; the folder of a distillation accepted; check the path")
    if args.delta:
        out = result.delta(run_place, args.base, Path(args.out), rank=args.rank)
    else:
        out = result.model(run_place, args.base, Path(args.out))
    total = out.stat().st_size if out.is_file() else sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    said: dict[str, Any] = {"out": str(out), "bytes": total}
    text = f"{out}: {total / 1e6:.1f} MB"
    if args.delta:
        held = weights.read_delta(out)
        said |= {"rank": held.rank, "error": held.error}
        text += f"; {export.holding(held)} leave {held.error:.2%} of the change's length"
    print(json.dumps(said) if args.json else text)
