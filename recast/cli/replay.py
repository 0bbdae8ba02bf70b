"""A recipe back into the job it came from: the same words, numbers and pictures, and a check that it is the same.

A recipe names pictures and adapters by file name and hash. They are looked for beside the recipe, then in the current
folder, unless the command line says where they are; a hash that differs is an error, for the result would differ too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recast.cli import planned
from recast.cli.job import Job, Model, place_of
from recast.cli.options import setting
from recast.errors import ConfigError, InputError, MissingWeights
from recast.options import Options
from recast.pixels import image
from recast.recipe import Adapter, Ingredient, Recipe
from recast.weights import checksum

if TYPE_CHECKING:
    from recast.pipeline import Result, Run, Size, Step
    from recast.pixels.image import Picture

ONLY_HERE = (
    *("prompt", "plan", "approximate", "size", "width", "height", "aspect_ratio", "dtype", "batch"),
    *("preserve", "box", "context"),
)
"""Decided by the recipe. A mask is too, but it is too large for one: it has to be given again."""


@dataclass(frozen=True)
class Replay:
    """A recipe and the job it stands for. text: the recipe as it was written, to be embedded again."""

    recipe: Recipe
    text: str
    job: Job
    model: Model

    @classmethod
    def of(cls, args: argparse.Namespace, task: Literal["generate", "edit"]) -> Replay:
        """From --recipe. Raises ConfigError for flags that contradict it, InputError for pictures that differ."""
        names = [*ONLY_HERE, *(field.name for field in fields(Options))]
        values = {name: getattr(args, name, None) for name in names}
        given = [name for name, value in values.items() if value is not None and value is not False]  # 0 is given
        if given:
            flags = ", ".join(name.upper() if name == "prompt" else f"--{name.replace('_', '-')}" for name in given)
            raise ConfigError(f"{flags}: the recipe says; leave out beside --recipe, or leave --recipe out")
        recipe, text = read_recipe(args.recipe)
        if recipe.task != task:
            raise ConfigError(f"--recipe={args.recipe!r}: is of `recast {recipe.task}`; use that command")
        if recipe.prompt is None:
            raise InputError(
                f"--recipe={args.recipe!r}: holds no words, as written with --metadata minimal; one with its prompt "
                "accepted; use the full recipe"
            )
        folder = Path(args.recipe).parent
        pictures = _pictures(recipe.images, args, folder)
        adapters = _adapters(recipe.adapters, args.lora or (), folder)
        job = _job(recipe, [(name, picture) for name, picture, _ in pictures])
        if task == "edit":
            job = _kept(job, recipe, args, pictures[0][2])
        return cls(recipe, text, job, _model(recipe, args, adapters))

    def check_model(self, name: str) -> None:
        """Raise ConfigError unless the model has the name of the one that made the picture."""
        if name != self.recipe.model:
            raise ConfigError(f"--model: is {name}; the recipe was made with {self.recipe.model}; give its weights")

    def run(self, run: Run, on_step: Callable[[Step], None]) -> Result:
        """The run's result, with the number of CPU threads that the recipe was made with."""
        with _threads(self.recipe.threads):
            return run.finish(on_step)

    def is_same(self, result: Result) -> bool:
        return result.pictures[0].sha256() == self.recipe.output_sha256

    def reasons(self, result: Result) -> list[str]:
        """That the picture differs from the recipe's, and all that may be why."""
        now = result.recipe
        named = [replace(new, file=old.file) for new, old in zip(now.images, self.recipe.images, strict=True)]
        why = self.recipe.differences(replace(now, images=tuple(named), batch_size=self.recipe.batch_size))
        if self.recipe.batch_size > 1:
            why.append(f"batch_size: made {self.recipe.batch_size} at a time, now alone; the last bits may differ")
        if not why:
            why.append("nothing known; another machine of the same kind, or a recipe edited by hand")
        return ["the picture differs from the recipe's", *why]


def read_recipe(path: str) -> tuple[Recipe, str]:
    """The recipe in a picture or a JSON file, and its text on one line. Raises InputError if there is none."""
    text = recipe_text(path, "--recipe")
    return Recipe.from_json(text), json.dumps(json.loads(text), ensure_ascii=False)


def recipe_text(path: str, name: str) -> str:
    """The text of the recipe in a picture or a JSON file. Raises InputError, naming the argument as `name`."""
    text: str | None
    if Path(path).suffix.lower() == ".json":
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{name}={path!r}: cannot be read ({reason}); a JSON file accepted; check it") from None
    else:
        text = image.read_recipe(path, name=name)
    if text is None:
        raise InputError(f"{name}={path!r}: a picture without a recipe; one written by recast accepted, or JSON")
    return text


def parse(text: str) -> dict[str, Any]:
    """A recipe's text as plain data, once it is sure to be a recipe."""
    data: dict[str, Any] = json.loads(Recipe.from_json(text).to_json())
    return data


def _job(recipe: Recipe, pictures: list[tuple[str | None, Picture]]) -> Job:
    options: dict[str, Any] = {
        "negative_prompt": recipe.negative_prompt,
        "times": recipe.times,
        "guidance": recipe.guidance,
        "true_guidance": recipe.true_guidance,
        "sampler": recipe.sampler,
        "seed": recipe.seed,
    }
    assert recipe.prompt is not None  # checked when the recipe was read
    if recipe.task == "generate":
        return Job(task="generate", prompt=recipe.prompt, options=options, width=recipe.width, height=recipe.height)
    width, _, height = recipe.size.partition("x")
    size: Size = (int(width), int(height)) if width.isdigit() else recipe.size  # type: ignore[assignment]
    return Job(task="edit", prompt=recipe.prompt, options=options, size=size, pictures=pictures)


def _kept(job: Job, recipe: Recipe, args: argparse.Namespace, source: str | bytes) -> Job:
    """The job with what may change as the recipe says, the mask read from --mask and checked. source: where it is."""
    from recast.cli.edit import check_effect, is_bound, keep
    from recast.pixels.mask import digest

    how = recipe.preserving
    for given, what in ((how.carried, "tokens carried over from a turn before"), (how.narrowed, "a forecast narrowed")):
        if given:
            raise InputError(
                f"--recipe: {what} went into the edit, and no file holds them; replay it where it was made"
            )
    if how.mask is None and args.mask:
        raise ConfigError(f"--mask={args.mask!r}: no mask went into the recipe; leave it out")
    if how.mask is not None and not args.mask:
        raise InputError("--mask: missing; a mask went into the recipe, which holds its hash alone; give it again")
    check_effect(args, how.mode)
    if how.mode == "off" and not (how.mask or how.boxes or is_bound(args)):
        return job
    keeping: dict[str, Any] = {"preserve": how.mode, "boxes": list(how.boxes), "context": how.crop or "whole"}
    keeping |= {} if how.rejected is None else {"rejected": how.rejected}
    kept = keep(job, args, source, list(job.pictures[1:]), keeping)
    if how.mask is not None and digest(kept.keeping["mask"]) != how.mask:
        raise InputError(f"--mask={args.mask!r}: differs from the mask that went into the recipe; give that very one")
    names = tuple(detector.name for detector in kept.editor["detectors"])
    if how.mode != "off" and names != how.detectors:
        from recast.retouch.detectors import KNOWN, VARIABLES

        made, came = (" ".join(f"--{name}" for name in each) or "no detector" for each in (how.detectors, names))
        every = ", ".join(f"--{name} or {VARIABLES[name]}" for name in KNOWN)
        raise InputError(f"--recipe: was made with {made}; {came} came; the same accepted; see to {every}")
    return replace(kept, editor={**kept.editor, "gives_back": how.gives_back})


def _model(recipe: Recipe, args: argparse.Namespace, adapters: list[tuple[str, float]]) -> Model:
    from recast import models

    known = models.find(recipe.model)
    is_here = known is not None and known.place is not None
    place = args.model or (recipe.model if is_here else setting(args, "model"))
    if place is None:
        raise MissingWeights(f"--model: missing; the recipe was made with {recipe.model}; say where its weights are")
    plan, approximate = planned.split(recipe.plan)
    if plan is None and args.vram:
        raise ConfigError(f"--vram={args.vram}: the recipe says plan reference, which takes no cap; leave it out")
    return Model(
        place,
        setting(args, "variant"),
        setting(args, "device") or "auto",
        recipe.dtype,
        adapters,
        plan,
        None if plan is None else setting(args, "vram"),
        approximate,
    )


def _pictures(
    images: Sequence[Ingredient], args: argparse.Namespace, folder: Path
) -> list[tuple[str | None, Picture, str | bytes]]:
    """The pictures that went in, each with its name and place, checked against its hash."""
    references: list[tuple[str | None, str]] = list(getattr(args, "references", None) or ())
    source = getattr(args, "image", None)
    found = []
    for index, ingredient in enumerate(images):
        label = "IMAGE" if index == 0 else f"--ref {ingredient.name}" if ingredient.name else "--image"
        if index == 0:
            given = source
        else:
            entry = next((one for one in references if one[0] == ingredient.name), None)
            given = entry and entry[1]
            if entry:
                references.remove(entry)
        found.append((ingredient.name, *_picture(ingredient, label, given, folder)))
    if references:
        name, path = references[0]
        raise ConfigError(f"{f'--ref {name}' if name else '--image'}={path!r}: no such picture went into the recipe")
    return found


def _picture(wanted: Ingredient, label: str, given: str | None, folder: Path) -> tuple[Picture, str | bytes]:
    places = [given] if given else _beside(wanted.file, folder)
    if not places:
        raise InputError(
            f"{label}: {wanted.file or 'a picture without a name'} went into the recipe and is neither beside it nor "
            "in this folder; say where it is"
        )
    for path in places:
        place = place_of(path, label)
        picture = image.read(place, name=label)
        if picture.sha256() == wanted.sha256:
            return picture, place
    raise InputError(
        f"{label}={places[0]!r}: differs from the picture that went into the recipe (sha256 {picture.sha256()[:12]}, "
        f"recorded {wanted.sha256[:12]}); that very picture accepted; say where it is"
    )


def _adapters(
    adapters: Sequence[Adapter], given: Sequence[tuple[str, float | None]], folder: Path
) -> list[tuple[str, float]]:
    """Where the adapters lie, each checked against its hash, with the recipe's strengths."""
    if any(strength is not None for _, strength in given):
        raise ConfigError("--lora: with a strength; the recipe says it; give the path alone beside --recipe")
    found = []
    for wanted in adapters:
        places = [*(path for path, _ in given), *_beside(wanted.file, folder)]
        place = next((place for place in places if checksum(place) == wanted.sha256), None)
        if place is None:
            raise MissingWeights(
                f"--lora: {wanted.file} (sha256 {wanted.sha256[:12]}) went into the recipe and is neither "
                "given, nor beside it, nor in this folder; say where it is"
            )
        found.append((place, wanted.strength))
    unused = [path for path, _ in given if path not in [place for place, _ in found]]
    if unused:
        raise ConfigError(f"--lora={unused[0]!r}: did not go into the recipe; leave it out")
    return found


def _beside(file: str | None, folder: Path) -> list[str]:
    """The paths, beside the recipe and here, at which there is a file of this plain name."""
    places = [] if file is None else [folder / Path(file).name, Path(Path(file).name)]
    return [str(place) for place in dict.fromkeys(places) if place.is_file()]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Sums are split by threads, so that their last bit depends on how many there are; 0 leaves them."""
    import torch

    usual = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
