"""`recast edit --batch`: every picture of a folder, one after another. What is finished stays finished.

A result is finished when it is a whole picture whose recipe is the one that would be followed now; so a run that was
stopped goes on where it was, and a changed instruction makes everything anew.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image

from recast.cli import planned
from recast.cli.edit import job_of, references_of
from recast.cli.job import Job, Model, describe
from recast.cli.main import Exit, discard_output, exit_code, one_line
from recast.cli.options import sampling
from recast.cli.output import Output, Report, check_places, deliver, print_json, say
from recast.cli.progress import Progress
from recast.cli.work import check_all, check_fits, make
from recast.cli.writing import Writer
from recast.errors import ConfigError, GateFailed, InputError, OutOfMemory, ShapeError
from recast.pixels import image
from recast.recipe import Adapter, Ingredient, Recipe
from recast.weights import checksum

if TYPE_CHECKING:
    from recast.pipeline import Pipeline, Request, Result

OF_ONE = (InputError, ShapeError, OutOfMemory, GateFailed)  # errors of one picture; others may go well
# Fields of a recipe in which a result may differ and still be what was asked for; file names are another.
UNASKED = {"threads", "device", "versions", "timings_s", "output_sha256", "warnings"}


def run(args: argparse.Namespace) -> Exit:
    """Edit every picture in the folder; FAILED if one of them could not be.

    An error that is not of one picture alone ends the batch, with its own exit code. What was finished by then, and
    what was not, is reported: after Ctrl-C, and after an error once something has become of a picture.
    """
    from recast.speed.cap import but_for_the_host

    started = time.perf_counter()
    options = {"seed": 0, **sampling(args)}
    if args.out is None or args.out == "-":
        raise ConfigError("--out: a folder needed with --batch, or a template such as results/{name}.png")
    output = Output.of(args, is_folder=True)
    sources = pictures_in(args.image)
    names = names_of(sources)
    check_all_places(output, names, args, options)
    references = references_of(args)
    model = Model.of(args)
    outline = model.outline()
    ready: planned.Ready | None = None
    report = Report(args.json)
    tally = Tally(sources)
    plans: list[dict[str, Any]] = []
    ended: list[Exception] = []

    def tell() -> None:
        report.timings_s = {"total": time.perf_counter() - started}
        report.more = tally.to_dict()
        report.finish()
        if not args.quiet or tally.failed or tally.unwritten:
            say(tally.line())

    with (
        told_if_it_ends(tell, tally) if not args.dry_run else nullcontext(),
        Progress(quiet=args.quiet) as progress,
    ):
        report.aside = progress.aside

        def fail(source: str, error: Exception) -> bool:
            """Say what is wrong with a picture; whether others may go well."""
            text = one_line(error)
            tally.failed.append({"image": source, "error": text})
            if isinstance(error, BrokenPipeError):
                return False
            with progress.aside():
                if args.traceback and not isinstance(error, OF_ONE):
                    traceback.print_exception(error)
                say(f"error: {text}" if source in text else f"error: {source}: {text}")
            if isinstance(error, OF_ONE):
                return True
            ended.append(error)
            return False

        def write(source: str, item: Item, result: Result) -> None:
            deliver(output, report, result, item.paths, item.recipe_paths, parts=item.parts)
            tally.done.append(source)
            tally.failed.extend({"image": source, "error": why} for why in getattr(result, "failures", {}).values())

        def item_of(source: str) -> Item:
            return Item.of(job_of(args, source, references, options), names[source], args, output, outline)

        def is_done(source: str, seeds: Sequence[int]) -> bool:
            """Whether a former run has finished a source; it is read only if its results are there."""
            there = all(map(os.path.exists, output.paths(names[source], seeds)))
            return there and item_of(source).is_done(output, outline, model)

        with unless_in(ended), Writer(fail) as writer:
            for index, source in enumerate(sources, start=1):
                try:
                    item = item_of(source)
                    if args.dry_run:
                        plan = describe(item.request, outline, model)
                        plans.append(plan | {"out": item.paths, "is_done": item.is_done(output, outline, model)})
                    elif item.is_done(output, outline, model):
                        tally.skipped.append(source)
                    else:
                        planned.check(model, item.request, outline)
                        if ready is None:
                            progress.note(f"loading {outline.config.name}")
                            most = largest(model, item, sources[index:], is_done, outline)
                            ready = planned.load(model, most, lambda line: progress.say(f"recast: {line}"))
                        title = f"{index}/{len(sources)} {Path(source).name:.24} "
                        make_it = partial(make, item.job, progress=progress, title=title)
                        result, lowered = but_for_the_host(ready.run, make_it)
                        if lowered:
                            report.warn([f"{source}: {lowered}"])
                        tally.made.append(source)
                        writer.put(source, partial(write, source, item, result))
                        del result  # it is the writer's
                except OF_ONE as error:
                    fail(source, error)
    if args.dry_run:
        print_json({"edits": plans, "failed": tally.failed})
    else:
        tell()
    if ended:
        return exit_code(ended[0])
    return Exit.FAILED if tally.failed else Exit.DONE


@dataclass(frozen=True)
class Tally:
    """What has become of each source of a batch so far."""

    sources: Sequence[str]
    skipped: list[str] = field(default_factory=list)  # finished by a former run
    made: list[str] = field(default_factory=list)  # handed to the writer
    done: list[str] = field(default_factory=list)  # written
    failed: list[dict[str, str]] = field(default_factory=list)  # each with its "image" and the "error"

    @property
    def unwritten(self) -> list[str]:
        """Those that were made and lie nowhere: writing ended before their turn."""
        return [source for source in self.made if source not in {*self.done, *self._troubled()}]

    @property
    def left(self) -> list[str]:
        """Those that were not made, the one that was under way among them."""
        seen = {*self.skipped, *self.made, *self._troubled()}
        return [source for source in self.sources if source not in seen]

    def to_dict(self) -> dict[str, Any]:
        """What a report says beside the pictures that were written."""
        return {"skipped": self.skipped, "failed": self.failed, "unwritten": self.unwritten, "left": self.left}

    def line(self) -> str:
        """How many there are of each, in words."""
        counts = {"made and not written": len(self.unwritten), "left": len(self.left)}
        early = "".join(f", {count} {what}" for what, count in counts.items() if count)
        before = f"{len(self.skipped)} skipped as finished before"
        return f"{len(self.done)} done, {before}, {len(self.failed)} failed{early}"

    def _troubled(self) -> Iterator[str]:
        return (one["image"] for one in self.failed)


@contextmanager
def told_if_it_ends(tell: Callable[[], None], tally: Tally) -> Iterator[None]:
    """Have `tell` called where a batch ends by Ctrl-C, or by an error with something to tell; either goes on.

    Not for a BrokenPipeError: nobody reads any more. Where that is found while telling, the first error stays.
    """
    try:
        yield
    except BaseException as error:
        has_begun = tally.left != list(tally.sources)
        if isinstance(error, KeyboardInterrupt) or (has_begun and not isinstance(error, BrokenPipeError)):
            try:
                tell()
                sys.stdout.flush()
            except BrokenPipeError:
                discard_output()
        raise


@contextmanager
def unless_in(told: Sequence[Exception]) -> Iterator[None]:
    """Pass over an error that has been told."""
    try:
        yield
    except Exception as error:
        if not any(error is one for one in told):
            raise


@dataclass(frozen=True)
class Item:
    """One picture of a batch, checked: what is asked of it, and where what comes of it goes."""

    job: Job
    request: Request
    paths: list[str]
    recipe_paths: list[str]
    parts: list[str]

    @classmethod
    def of(cls, job: Job, name: str, args: argparse.Namespace, output: Output, outline: Pipeline) -> Item:
        """Raises what the checks of a single edit raise. name: what {name} stands for."""
        request = job.start(outline).request
        check_fits(output, job, request, outline)
        paths, recipe_paths = output.paths(name, job.seeds), output.recipe_paths(name, job.seeds)
        parts = output.parts_paths(args, name, job.seeds) if job.is_merged else []
        check_all(args, job, [*paths, *recipe_paths], parts)
        return cls(job, request, paths, recipe_paths, parts)

    def is_done(self, output: Output, outline: Pipeline, model: Model) -> bool:
        """Whether a former run has finished it, just as it is asked for."""
        return (
            output.metadata == "full"
            and all(map(os.path.exists, self.recipe_paths))
            and all(
                is_finished(path, asked(self.request, seed, outline, model), outline.checksums)
                for path, seed in zip(self.paths, self.job.seeds, strict=True)
            )
        )


def largest(
    model: Model, item: Item, later: Iterable[str], is_done: Callable[[str, Sequence[int]], bool], outline: Pipeline
) -> Request:
    """The request that needs the most memory, the item's or that of a later source, where a plan asks for it.

    A later source counts by the size in its header, none is held. Those that cannot be done are left out, and so are
    those that are done: `is_done`, of a source and its seeds, is asked of one that would be the largest.
    """
    if not (model.vram or model.plan == "auto"):
        return item.request

    def pixels(one: Request) -> int:
        size = planned.sizes_of(one, outline)
        return size.width * size.height + sum(width * height for width, height in size.contexts)

    most = item.request
    for source in later:
        with suppress(*OF_ONE):
            one = blank(item.job, *size_of(source)).start(outline).request
            planned.check(model, one, outline)
            if pixels(one) > pixels(most) and not is_done(source, item.job.seeds):
                most = one
    return most


def size_of(path: str) -> tuple[int, int]:
    """Width and height of a picture file as it is shown, from its header. Raises InputError for none."""
    with image.opened(path, limit_pixels=image.LIMIT_PIXELS, name="IMAGE") as (file, *_):
        width, height = file.size
        # The method of the base class: that of a PNG decodes all of it, to look behind the pixels too.
        is_turned = Image.Image.getexif(file).get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return (height, width) if is_turned and file.format != "TIFF" else (width, height)  # Pillow turns a TIFF's


def blank(job: Job, width: int, height: int) -> Job:
    """The same job on an empty source of this size, which takes no memory."""
    from recast.retouch.original import Original

    rgb = np.broadcast_to(np.uint8(0), (height, width, 3))
    original = None if job.original is None else Original(rgb)
    return replace(job, pictures=[(None, image.Picture(rgb)), *job.pictures[1:]], original=original)


def pictures_in(folder: str) -> list[str]:
    """The picture files of a folder, by name; hidden ones and folders inside are left alone."""
    if not Path(folder).is_dir():
        raise InputError(f"IMAGE={folder!r}: no folder; one of pictures accepted with --batch; else leave --batch out")
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in image.READ}
    files = [path for path in Path(folder).iterdir() if path.suffix.lower() in suffixes and path.is_file()]
    found = sorted(str(path) for path in files if not path.name.startswith("."))
    if not found:
        raise InputError(f"IMAGE={folder!r}: a folder without pictures; {image.ACCEPTED} accepted; check the folder")
    return found


def names_of(sources: list[str]) -> dict[str, str]:
    """What {name} stands for: a source's name without its suffix, or with it where two would be called the same."""
    stems = Counter(Path(source).stem for source in sources)
    return {
        source: path.stem if stems[path.stem] == 1 else path.name.replace(".", "-")
        for source, path in zip(sources, map(Path, sources), strict=True)
    }


def check_all_places(output: Output, names: dict[str, str], args: argparse.Namespace, options: dict[str, Any]) -> None:
    """Raise InputError or ConfigError unless every result has a place of its own, away from the sources."""
    seeds = [options["seed"] + i for i in range(options.get("num_images", 1))]
    places = [path for name in names.values() for path in output.paths(name, seeds)]
    recipes = [path for name in names.values() for path in output.recipe_paths(name, seeds)]
    check_places([*places, *recipes], [*names, *(path for _, path in args.references or ())])
    if any(Path(place).parent.samefile(args.image) for place in places):
        raise InputError(f"--out={args.out!r}: is the folder of the sources; the next run would edit the results too")


def is_finished(path: str, asked: Mapping[str, Any], checksums: Callable[[], Mapping[str, str]]) -> bool:
    """Whether a whole picture is at `path`, made just as asked. The weights are read only if all else agrees."""
    if not Path(path).exists():
        return False
    try:
        recipe = Recipe.from_json(image.read_recipe(path) or "")
        image.read(path)
    except InputError:
        return False
    images = tuple(replace(one, file=None) for one in recipe.images)
    adapters = tuple(replace(one, file="", matched=0, unmatched=0) for one in recipe.adapters)
    preserving = replace(recipe.preserving, rejected=None)  # regions left out later are the user's choice, and stay
    recipe = replace(recipe, images=images, adapters=adapters, preserving=preserving)
    return all(getattr(recipe, name) == value for name, value in asked.items()) and recipe.weights == checksums()


def asked(request: Request, seed: int, outline: Pipeline, model: Model) -> dict[str, Any]:
    """The fields of the recipe that a picture made now would have, those of `UNASKED` and the weights aside."""
    source = request.pictures[0]
    return {
        "task": request.task,
        "plan": planned.recorded(model),
        "prompt": request.asked[0],
        "negative_prompt": request.options.negative_prompt,
        "seed": seed,
        "times": tuple(request.times),
        "sampler": request.sampler,
        "guidance": request.guidance,
        "true_guidance": request.true_guidance,
        "width": source.width,
        "height": source.height,
        "size": request.size,
        "images": tuple(
            Ingredient(sha256=one.sha256(), width=one.width, height=one.height, fit=fit.to_dict(), name=name)
            for one, fit, name in zip(request.pictures, request.fits, request.names, strict=True)
        ),
        "preserving": request.preserving,
        "model": outline.config.name,
        "adapters": tuple(
            Adapter(file="", sha256=checksum(path), strength=strength, matched=0, unmatched=0)
            for path, strength in model.adapters
        ),
        "context_attention": outline.config.flow.context_attention,
        "dtype": model.precision,
        "batch_size": request.together(seed),
    }
