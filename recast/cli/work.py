"""A job from its checks to its files: everything cheap first, so that nobody waits for weights to learn of a typo."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recast.cli import planned
from recast.cli.job import Job, Model, describe
from recast.cli.main import Exit
from recast.cli.output import Output, Report, check_places, deliver, print_json
from recast.cli.progress import Progress
from recast.cli.writing import Writer
from recast.errors import ConfigError

if TYPE_CHECKING:
    from recast.cli.replay import Replay
    from recast.pipeline import Pipeline, Request, Result
    from recast.run import Step


def carry_out(args: argparse.Namespace, job: Job, model: Model, replay: Replay | None = None) -> Exit:
    """Make what the job asks for and write it where the flags say."""
    from recast.speed.cap import but_for_the_host

    started, here = time.perf_counter(), args.here
    paths, parts = list[str](), list[str]()
    if args.out is not None:
        output = Output.of(args)
        paths, recipe_paths = output.paths(job.name, job.seeds), output.recipe_paths(job.name, job.seeds)
        parts = output.parts_paths(args, job.name, job.seeds) if job.is_merged else []
        check_all(args, job, [*paths, *recipe_paths], parts)
    elif not args.dry_run:
        raise ConfigError("--out: missing; a path such as out.png accepted, or - for stdout")
    if here is not None and model.plan is None:
        model = replace(model, plan="lossless")
    outline = model.outline()
    if replay:
        replay.check_model(outline.config.name)
    request = job.start(outline).request
    if paths:
        check_fits(output, job, request, outline)
    if args.dry_run:
        print_json(describe(request, outline, model) | {"out": paths})
        return Exit.DONE
    report = Report(args.json)

    def write(result: Result, which: slice, text: str | None) -> None:
        """The pictures of one part of the job; `text` is the recipe of a replay that came out the same."""
        new = tuple(warning for warning in result.warnings if warning not in report.warnings)
        result = replace(result, warnings=new)
        deliver(output, report, result, paths[which], recipe_paths[which], text, parts[which])

    with (
        finished_early(report, started),
        Progress(quiet=args.quiet) as progress,
        Writer(lambda name, error: False) as writer,
    ):
        report.aside = progress.aside
        progress.note(f"loading {outline.config.name}")
        ready = planned.load(
            model, request, lambda line: progress.say(f"recast: {line}"), parallel=args.parallel, here=here
        )
        loaded = time.perf_counter()
        batches = job.batches() if here is None else [(slice(None), job)]
        for index, (which, batch) in enumerate(batches):
            make_it = partial(make, batch, progress=progress, replay=replay, part=(index, len(batches)))
            result, lowered = but_for_the_host(ready.run, make_it)
            if here is not None:
                here.wait()  # nothing is written unless all of them have made it
                if not here.is_first:
                    return Exit.DONE
            if lowered:
                report.warn([lowered])
            is_same = replay is not None and replay.is_same(result)
            writer.put("pictures", partial(write, result, which, replay.text if replay and is_same else None))
        made = time.perf_counter()
    if replay and not is_same:
        report.warn(replay.reasons(result))
    report.timings_s = {"load": loaded - started, "make": made - loaded, "total": time.perf_counter() - started}
    report.finish()
    return Exit.GATE if (args.exact and not is_same) or getattr(result, "failures", {}) else Exit.DONE


@contextmanager
def finished_early(report: Report, started: float) -> Iterator[None]:
    """Have what was made by then reported where the work ends by an error, or Ctrl-C, which goes on."""
    try:
        yield
    except BaseException:
        if report.pictures:
            report.timings_s = {"total": time.perf_counter() - started}
            report.finish()
        raise


def check_all(args: argparse.Namespace, job: Job, paths: list[str], parts: list[str]) -> None:
    """Raise InputError or ConfigError unless everything that a job writes has a place of its own."""
    sources = [picture.source for _, picture in job.pictures if picture.source]
    sources += [path for path in (args.recipe, getattr(args, "mask", None)) if path]
    if job.task == "edit":
        from recast.cli.forecast import forecast_paths

        paths = [*paths, *forecast_paths(args, job.name, job.seeds)]
    check_places(paths, sources)
    if parts:
        from recast.cli.merge import check_parts

        for folder in parts:
            check_places([folder], sources, is_folder=True)
            check_parts(Path(folder))


def make(
    job: Job,
    pipeline: Pipeline,
    progress: Progress,
    replay: Replay | None = None,
    title: str = "",
    part: tuple[int, int] = (0, 1),
) -> Result:
    """Run the job, drawing how far it is. part: which it is of how many equal ones under one bar, from 0."""
    run = job.start(pipeline)
    index, parts = part
    if index == 0:
        progress.note("encoding", title)

    def draw(step: Step) -> None:
        progress.step(index * run.of + step.index, parts * run.of)

    return replay.run(run, draw) if replay else run.finish(draw)


def check_fits(output: Output, job: Job, request: Request, outline: Pipeline) -> None:
    """Raise InputError if the output format cannot hold what the job makes."""
    if job.task == "edit":
        source = job.pictures[0][1]
        output.check_fits(source.width, source.height, source.alpha)
        if job.original is not None and job.original.depth == 16:
            from recast.retouch.crop import cut
            from recast.retouch.original import encode_original

            encode_original(cut(job.original, (0, 0, 1, 1)), output.format, quality=output.quality)
    else:
        multiple = outline.config.pixels_per_token
        output.check_fits(request.grid[1] * multiple, request.grid[0] * multiple, None)
