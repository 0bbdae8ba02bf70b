"""An editor that keeps the rest of a picture: any generator, and a merge of what it makes into the source.

`Editor` has the methods of the pipeline and may stand wherever one does. The sampler keeps what a mask says as well
as tokens can; the merge has the last word, pixel by pixel.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recast.context.references import References, named
from recast.errors import Cancelled, ConfigError, GateFailed, InputError
from recast.pipeline import Carried, Generates, Size
from recast.pixels.geometry import Fit, pixels_covered
from recast.pixels.image import Picture
from recast.pixels.mask import digest
from recast.recipe import Ingredient, Recipe
from recast.retouch import crop
from recast.retouch.asked import Box
from recast.retouch.crop import Framing
from recast.retouch.forecast import foretell
from recast.retouch.merge import Merge, merge
from recast.retouch.original import Original, loss_of, read_original, write_original
from recast.retouch.plan import OnForecast, Plan, Preserve, accepts, one_of, think
from recast.retouch.roundtrip import give_back
from recast.retouch.said import said
from recast.retouch.several import in_turn
from recast.retouch.source_half import SourceHalf
from recast.run import Result, Run, Step

if TYPE_CHECKING:
    from recast.pixels.image import Source
    from recast.retouch.detectors import Detector


@dataclass(frozen=True)
class Edited(Result):
    """Pictures with their rest kept. edits: the merge of each, none where preserve is "off"; raws: as the model made
    them, at the size of the source, or of the crop that was edited. failures: which of several, counted from 0 in the
    order of the seeds, could not be kept as "strict" wants it, and why; the pictures are the others.
    """

    edits: tuple[Merge, ...] = field(default=(), repr=False)
    raws: tuple[Picture, ...] = field(default=(), repr=False)
    failures: Mapping[int, str] = field(default_factory=dict)

    def save(self, path: str | Path, *, index: int = 0, with_recipe: bool = True, **options: Any) -> Path:
        """Write one picture at its own depth, with its profile; with its certificate where the format is lossless."""
        if not self.edits:
            return super().save(path, index=index, with_recipe=with_recipe, **options)
        recipe = self.recipes[index].to_json() if with_recipe else None
        format = options.get("format") or Path(path).suffix.removeprefix(".")
        loss = loss_of(format, options.get("quality"), original=self.edits[index].result)
        proof = None if loss else self.certificate(index)
        if loss and self.certificate(index):
            warnings.warn(loss, stacklevel=2)
        return write_original(self.edits[index].result, path, certificate=proof, recipe=recipe, **options)

    def certificate(self, index: int = 0) -> str | None:
        """The certificate of one picture, as JSON; None where nothing of its source was kept."""
        one = self.edits[index].certificate if self.edits else None
        return None if one is None else one.to_json()


class Editor:
    """A generator whose edits keep the rest of their source.

    preserve: what `edit` does unless told otherwise. "auto" merges an edit into its source, and returns it unmerged,
    with a warning, where it changed too much or framed it anew; "strict" makes that an error, and lets nothing change
    outside mask and boxes; "off" returns what the model made. detectors: of faces, text or logos, which a merge takes
    whole or not at all. gives_back: whether what the autoencoder loses of the source is added to what it left alone.
    """

    def __init__(
        self,
        generator: Generates,
        *,
        preserve: Preserve = "auto",
        detectors: Sequence[Detector] = (),
        gives_back: bool = True,
    ) -> None:
        self.generator = generator
        self.preserve = one_of("preserve", preserve, ("auto", "strict", "off"))
        self.detectors = tuple(detectors)
        self.gives_back = gives_back

    def __getattr__(self, name: str) -> Any:
        """What else the generator has: its config, checksums, adapters, device, networks."""
        if name.startswith("_") or name == "generator":
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        return getattr(self.generator, name)

    def generate(self, prompt: str, *, on_step: Callable[[Step], None] | None = None, **options: Any) -> Result:
        """As of the generator."""
        return self.start_generate(prompt, **options).finish(on_step)

    def edit(
        self,
        image: Source | Original | SourceHalf,
        prompt: str,
        *,
        on_step: Callable[[Step], None] | None = None,
        **options: Any,
    ) -> Edited:
        """The picture changed as the prompt says and nowhere else: at its own size, depth and colour space.

        image: the source; from `look_at` where more than one edit is made of it.
        preserve: of this edit. mask: a picture or array (H, W) of the source's size, white or above 0 where it may
        change (mask_mode: `recast.pixels.mask`). boxes: the same as (left, top, right, bottom) in its pixels.
        context: "whole" shows the model the whole picture; "crop" a part of it at full size, with the whole as one
        context image more, after the references; "auto" takes the crop for a small region of a large picture;
        a box is that crop. gives_back: of this edit, None for the editor's own. rejected: ids of the regions to leave
        out of the one picture, and no others, as a recipe has them; None for those that the merge leaves out.
        on_forecast: called once for each picture a third of the way, with a `Forecast`; it may return a mask (H, W) to
        narrow the edit to, False to stop it (Cancelled), or None. Further options: as of the generator.
        Raises GateFailed where preserve is "strict" and the edit cannot be laid over its source; of several pictures,
        where that is so for all: else those that can be are handed out, and `failures` says which are not.
        """
        result = self.start_edit(image, prompt, **options).finish(on_step)
        assert isinstance(result, Edited)
        return result

    def look_at(self, image: Source | Original) -> SourceHalf:
        """A source for several edits: it is read, and looked at for their merges, once."""
        return SourceHalf(read_original(image))

    def start_generate(self, prompt: str, **options: Any) -> Run:
        """As `generate`, as a run."""
        return _start(self.generator, "generate", (prompt,), options)

    def start_edit(
        self,
        image: Source | Original | SourceHalf,
        prompt: str,
        *,
        references: References = (),
        size: Size = "auto",
        preserve: Preserve | None = None,
        mask: Source | None = None,
        mask_mode: str = "auto",
        boxes: Sequence[Box] = (),
        context: Framing | Box = "auto",
        carried: Carried | None = None,
        on_forecast: OnForecast | None = None,
        gives_back: bool | None = None,
        rejected: Sequence[int] | None = None,
        **options: Any,
    ) -> Run:
        """As `edit`, as a run. The request is checked, and its pictures read, before this returns."""
        mode = self.preserve if preserve is None else one_of("preserve", preserve, ("auto", "strict", "off"))
        plan = think(
            self.generator,
            image,
            mode,
            mask=mask,
            mask_mode=mask_mode,
            boxes=boxes,
            context=context,
            size=size,
            carried=carried,
            on_forecast=on_forecast,
            gives_back=self.gives_back if gives_back is None else gives_back,
            rejected=rejected,
        )
        source: Any = plan.picture
        if plan.box is not None:
            left, top, right, bottom = plan.box
            alpha = None if plan.picture.alpha is None else plan.part(plan.picture.alpha)
            source = Picture(plan.picture.rgb[top:bottom, left:right], alpha)
            references = [*named(references), (None, replace(plan.picture, alpha=None))]
        if plan.held is not None and accepts(self.generator, "start_edit", "mask"):
            options["mask"] = plan.held
        options |= {} if carried is None else {"carried": carried}
        options |= {"references": references} if references else {}
        options |= {"size": size} if size != "auto" else {}
        inner = _start(self.generator, "edit", (source, prompt), options)
        count = options.get("num_images", 1) if inner.request is None else len(inner.request.seeds)
        if rejected is not None and count > 1:
            raise ConfigError(f"rejected: for {count} pictures, each with regions of its own; one accepted; edit each")
        return Run(self._steps(plan, inner), inner.of, self._request(plan, inner.request))

    def _request(self, plan: Plan, request: Any) -> Any:
        """The generator's request, of the whole picture: the source for the crop of it, and its own references."""
        if request is None:
            return None
        count = len(request.pictures) - (plan.box is not None)
        return replace(
            request,
            pictures=[plan.picture, *request.pictures[1:count]],
            fits=request.fits[:count],
            names=request.names[:count],
            warnings=[*request.warnings, *plan.notes],
            preserving=plan.preserving(request.preserving, self.detectors),
        )

    def _steps(self, plan: Plan, run: Run) -> Generator[Step, None, Result]:
        """The generator's steps, its forecast among them, and the merges after the last."""
        narrowed: dict[int, str] = {}
        last = None
        for step in run:
            last = step
            framed = step if plan.box is None else replace(step, decode=_decoder(plan, step))
            yield replace(framed, narrow=_narrower(plan, step, narrowed))
            if plan.on_forecast is not None and step.source is not None and is_time(step, run.request):
                self._foretell(plan, step, run.request.fits[0], narrowed)
        result = run.result
        started = time.perf_counter()
        lost = None
        if plan.half is not None and plan.gives_back and last is not None and result.source_tokens is not None:
            by = (self.generator, plan.box, getattr(run.request, "grid", None))
            lost = plan.half.decoded(last, result.source_tokens, by)
        held = None if plan.box is not None else _held(run.request)

        def merged(raw: Picture) -> Merge | GateFailed:
            try:
                return self._merged(plan, raw, lost, held)
            except GateFailed as error:
                return error

        edits, failures = list[Merge](), dict[int, str]()
        several, pixels = len(result.pictures) > 1, plan.picture.width * plan.picture.height
        raws = () if plan.mode == "off" else result.pictures
        made = in_turn(merged, raws, pixels=pixels, is_alone=bool(self.detectors))  # detectors bear one thread
        for index, (one, recipe) in enumerate(zip(made, result.recipes, strict=False)):
            if isinstance(one, GateFailed):
                failures[index] = f"seed {recipe.seed}: {one}" if several else str(one)
            else:
                edits.append(one)
        if failures and not edits:
            raise GateFailed("; ".join(failures.values()))
        spent = (time.perf_counter() - started) / len(result.pictures)
        result = _without(result, failures)
        pictures = tuple(one.result.picture() for one in edits) or result.pictures
        own = [
            (f"seed {recipe.seed}: " if several else "") + note
            for recipe, one in zip(result.recipes, edits, strict=False)
            for note in said(one, plan)
        ]
        if plan.on_forecast is not None and (last is None or last.source is None):
            own.append("forecast: none was made, this generator shows no tokens on the way")
        left = [f"not delivered: {why}" for why in failures.values()]
        told = tuple(dict.fromkeys([*result.warnings, *plan.notes, *own, *left]))
        recipes = tuple(
            self._recipe(plan, recipe, picture, narrowed.get(recipe.seed), told, spent)
            for recipe, picture in zip(result.recipes, pictures, strict=True)
        )
        kept = result.tokens, result.source_tokens, tuple(edits), result.pictures
        return Edited(pictures, recipes, told, *kept, failures)

    def _foretell(self, plan: Plan, step: Step, fit: Fit, narrowed: dict[int, str]) -> None:
        """Tell the caller where each picture of the step is going, and do what it says."""
        assert plan.on_forecast is not None
        for index, forecast in enumerate(foretell(step, fit)):
            answer = plan.on_forecast(forecast.on(plan.whole(forecast.mask)))
            if isinstance(answer, np.ndarray):
                _narrower(plan, step, narrowed)(index, answer)
            elif answer is not None and not isinstance(answer, bool | np.bool_):
                raise InputError(
                    f"on_forecast: {answer!r} came back; a mask (H, W), False or None accepted; return one"
                )
            elif answer is not None and not answer:
                raise Cancelled(f"seed {forecast.seed}: stopped at its forecast, step {step.index} of {step.of}")

    def _merged(self, plan: Plan, raw: Picture, lost: np.ndarray | None, held: np.ndarray | None) -> Merge:
        """One edit, as the model made it, merged into its source."""
        assert plan.source is not None
        assert plan.half is not None
        part = plan.source if plan.box is None else crop.cut(plan.source, plan.box)
        edited: Any = raw.rgb
        note = "not added back: the generator gives no tokens of the source" if plan.gives_back else "switched off"
        if lost is not None and lost.shape == raw.rgb.shape:
            edited = give_back(raw.rgb, part.srgb8(), lost)
            note = "added back where the edit left the source alone"
        if plan.box is not None:
            edited = crop.paste(plan.source, plan.box, _laid(part, edited))
        is_strict = plan.mode == "strict"
        try:
            made = merge(
                plan.half,
                edited,
                mask=plan.mask,
                boxes=plan.boxes,
                is_strict=is_strict and plan.where is not None,
                held=held,
                detectors=self.detectors,
            )
        except InputError as error:  # the source and what was asked for are checked: it is the edit that will not do
            if is_strict:
                raise GateFailed(str(error)) from error
            raise
        if is_strict and made.verdict in ("global", "reframed"):
            raise GateFailed(
                f"preserve='strict': {made.verdict}, {made.reason}; an edit that leaves the rest in place accepted; "
                "try another seed or instruction, a mask, or preserve='auto'"
            )
        made = replace(made, report=made.report | {"residual": note})
        if plan.rejected is None:
            return made
        return made.accepting([region.id for region in made.regions if region.id not in plan.rejected])

    def _recipe(
        self,
        plan: Plan,
        recipe: Recipe,
        picture: Picture,
        narrowed: str | None,
        warnings: tuple[str, ...],
        spent: float,
    ) -> Recipe:
        images = recipe.images
        if images:
            whole, own = plan.picture, images[0]
            file = None if whole.source is None else Path(whole.source).name
            first = Ingredient(sha256=whole.sha256(), width=whole.width, height=whole.height, fit=own.fit, file=file)
            images = (first, *images[1 : len(images) - (plan.box is not None)])
        timings = {**recipe.timings_s, **({} if plan.mode == "off" else {"merge": round(spent, 4)})}
        return replace(
            recipe,
            images=images,
            width=picture.width,
            height=picture.height,
            preserving=plan.preserving(recipe.preserving, self.detectors, narrowed),
            timings_s=timings,
            output_sha256=picture.sha256(),
            warnings=warnings,
        )


def is_time(step: Step, request: Any) -> bool:
    """Whether a step is the one to forecast at: a third of the way of its picture, rounded up."""
    steps = len(request.times) - 1
    return (step.index - 1) % steps + 1 == math.ceil(steps / 3)


def _held(request: Any) -> np.ndarray | None:
    """The pixels (H, W) bool of the source that the sampler holds where they are; None if it holds nothing."""
    free = getattr(request, "may_change", None)
    return None if free is None or free.all() else pixels_covered(request.fits[0], ~free)


def _without(result: Result, failures: Collection[int]) -> Result:
    """A result without the pictures of these numbers, from 0."""

    def kept(each: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(one for index, one in enumerate(each) if index not in failures)

    return replace(result, pictures=kept(result.pictures), recipes=kept(result.recipes), tokens=kept(result.tokens))


def _laid(part: Original, edited: np.ndarray) -> Original:
    """A crop's edit laid on the crop before it is pasted: there nothing else shows where it lies."""
    made = merge(part, edited)
    return part.with_samples(made.aligned.samples)


def _decoder(plan: Plan, step: Step) -> Callable[[Any], list[Picture]]:
    return lambda tokens: [plan.framed(part) for part in step.decode(tokens)]


def _narrower(plan: Plan, step: Step, narrowed: dict[int, str]) -> Any:
    """`Step.narrow` for masks of the source, noting what was asked."""
    if step.narrow is None:
        return None
    inner = step.narrow

    def narrow(index: int, mask: np.ndarray) -> None:
        if step.t == 0:
            raise ConfigError("narrow: the last step is done, t = 0; an earlier one accepted; ask for more steps")
        if mask.shape != (plan.picture.height, plan.picture.width):
            came, accepted = mask.shape, (plan.picture.height, plan.picture.width)
            raise InputError(f"narrow: a mask {came} came; {accepted} accepted, the size of the source")
        inner(index, plan.part(mask))
        narrowed[step.seeds[index]] = digest((mask > 0).astype(np.float32))

    return narrow


def _start(generator: Any, task: str, given: tuple[Any, ...], options: dict[str, Any]) -> Run:
    """A run of the generator, or one without steps where it has only the two methods of the protocol."""
    start = getattr(generator, f"start_{task}", None)
    if start is not None:
        run: Run = start(*given, **options)
        return run

    def steps() -> Generator[Step, None, Result]:
        yield from ()
        result: Result = getattr(generator, task)(*given, **options)
        return result

    return Run(steps(), 0, None)
