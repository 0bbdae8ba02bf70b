"""Several processes for one command, as `torchrun` starts them: which this is, and `--parallel`."""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from recast.cli.options import setting
from recast.errors import ConfigError

if TYPE_CHECKING:
    from recast.speed.processes import Process

Run = Callable[[argparse.Namespace], int]
_NAMES = {"rank": "RANK", "size": "WORLD_SIZE", "local_rank": "LOCAL_RANK"}


def process() -> dict[str, Any]:
    """rank, size and local_rank of this process, as torchrun says; nothing where it was started alone."""
    if "WORLD_SIZE" not in os.environ:
        return {}
    return {name: int(os.environ[variable]) for name, variable in _NAMES.items()}


def in_parallel(run: Run) -> Run:
    """The `run` of a verb, that with --parallel works with those of the other processes.

    `args.here` is then the `Process` that this is, else None. The first process speaks and writes, for all of them.
    """

    @wraps(run)
    def started(args: argparse.Namespace) -> int:
        args.here = None
        if args.parallel is None:
            return run(args)
        given = process()
        try:
            kind = _kind_of_device(args)
            _check_count(args, given.get("size", 1), verb=run.__module__.rpartition(".")[2])
        except ConfigError:
            if given.get("rank"):  # the first says it
                return 0
            raise
        from recast.speed.processes import meet

        here = meet(**given, device=kind)
        return _first(here, args, run) if here.is_first else _other(here, args, run)

    return started


def _first(here: Process, args: argparse.Namespace, run: Run) -> int:
    from recast.speed.processes import together

    status = together(here, lambda: _one_of_them(here, args, run))
    assert status is not None, "the first raises what goes wrong"
    return status


def _other(here: Process, args: argparse.Namespace, run: Run) -> int:
    """In silence, and what is written on the way, forecasts, goes to a folder that goes away."""
    from recast.speed.processes import together

    def quietly() -> int:
        with (
            TemporaryDirectory() as folder,
            open(os.devnull, "w") as nowhere,
            redirect_stdout(nowhere),
            redirect_stderr(nowhere),
        ):
            if getattr(args, "forecast_out", None):
                args.forecast_out = str(Path(folder) / Path(args.forecast_out).name)
            return _one_of_them(here, args, run)

    together(here, quietly)
    return 0


def _one_of_them(here: Process, args: argparse.Namespace, run: Run) -> int:
    """The verb in one process, with the seed and on the device that it is to have."""
    if getattr(args, "batch", False):
        raise ConfigError(f"--parallel={args.parallel}: one picture at a time accepted; leave --batch out")
    pictures = [getattr(args, "image", None), *(path for _, path in getattr(args, "references", None) or ())]
    if "-" in pictures:
        raise ConfigError(
            f"--parallel={args.parallel}: each process reads the pictures, and stdin is read once; "
            "a file accepted; write it to one"
        )
    args.here, args.device = here, str(here.device)
    if args.seed is None and not args.recipe:
        args.seed = here.agree(secrets.randbits(32))
    return run(args)


def _kind_of_device(args: argparse.Namespace) -> str:
    from recast.loading import pick_device

    name = setting(args, "device") or "auto"
    if ":" in name:
        raise ConfigError(
            f"--device={name}: with --parallel each process takes the GPU of its own number; "
            f"{name.partition(':')[0]} accepted; CUDA_VISIBLE_DEVICES says which there are"
        )
    return pick_device(name).type


def _check_count(args: argparse.Namespace, size: int, *, verb: str) -> None:
    """Raise ConfigError for one process alone, with a number of them that the model can be shared by."""
    if size >= 2:
        return
    accepted, count = "two or more, as many as divide the model's heads,", "N"
    if not args.recipe:  # whose model is not known yet
        from recast.cli.job import Model
        from recast.speed.several import counts

        config = Model.of(args).outline().config
        fitting = counts(args.parallel, config.flow)[1:]
        if not fitting:
            raise ConfigError(f"--parallel={args.parallel}: {config.name} cannot be shared so; leave it out")
        accepted = f"{', '.join(map(str, fitting))}, which can share {config.name},"
        count = str(fitting[0])
    raise ConfigError(
        f"--parallel={args.parallel}: one process was started; {accepted} accepted, each with a GPU of its own; "
        f"start them: torchrun --nproc-per-node {count} -m recast {verb} ... --parallel {args.parallel}"
    )
