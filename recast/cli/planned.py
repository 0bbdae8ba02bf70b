"""A model by a plan: `--plan`, `--vram` and `--approximate`, from the choice before loading to a second try."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from recast.cost import Request as Size
from recast.errors import ConfigError

if TYPE_CHECKING:
    from recast.cli.job import Model
    from recast.pipeline import Pipeline, Request
    from recast.speed.apply import Accelerated
    from recast.speed.plan import Plan
    from recast.speed.processes import Process

Found = TypeVar("Found")
Yielded = TypeVar("Yielded")
Say = Callable[[str], None]


class Ready(NamedTuple):
    """A model that is loaded, and what made it fast, if a plan was asked for."""

    pipeline: Pipeline
    fast: Accelerated | None = None

    def run(self, ask: Callable[[Pipeline], Found]) -> tuple[Found, str | None]:
        """What `ask` gets of the pipeline; by a plan, tried once more with less memory, and a word on that."""
        return (ask(self.pipeline), None) if self.fast is None else self.fast.run(ask)

    def steps(
        self, ask: Callable[[Pipeline], Generator[Yielded, None, Found]]
    ) -> Generator[Yielded, None, tuple[Found, str | None]]:
        """As `run`, of work that yields its steps; those of the second time follow, from its beginning."""
        return ((yield from ask(self.pipeline)), None) if self.fast is None else (yield from self.fast.steps(ask))


def load(
    model: Model,
    request: Request | None = None,
    say: Say = lambda _: None,
    *,
    parallel: str | None = None,
    here: Process | None = None,
) -> Ready:
    """The model with its weights, by its plan. request: the largest asked of it; say: told the choice, and the report.

    parallel, here: what the processes share, sequence or tensor, and which of them this is. Raises what `recast.load`
    and `recast.speed.accelerate` raise, before anything is loaded where it can be known then.
    """
    from recast import loading

    if here is not None:
        return _load_among(model, say, parallel or "sequence", here)
    if not (model.plan or model.vram or model.approximate is not None):
        return Ready(
            loading.load(
                model.place,
                device=model.device,
                dtype=model.dtype,
                variant=model.variant,
                adapters=model.adapters,
                context_attention=model.context_attention,
            )
        )
    from recast.speed import accelerate
    from recast.speed.apply import usual_request
    from recast.speed.cap import parse_cap
    from recast.speed.choice import choose
    from recast.speed.plan import plan_of

    target = loading.pick_device(model.device)
    dtype = loading.pick_dtype(model.dtype, target)
    outline = model.outline()
    asked = usual_request(outline.config) if request is None else sizes_of(request, outline)
    cap = None if model.vram is None else parse_cap(model.vram)
    plan = wanted(model)
    if request is not None:
        check(model, request, outline)
    passes = cap is not None
    if (model.plan or "auto") == "auto":
        choice = choose(outline.config, asked, device=target, dtype=dtype, memory_bytes=cap)
        plan, passes = choice.plan, choice.passes or passes
        say(str(choice))
    else:
        say(f"plan {plan_of(plan.name)}")
    pipeline = loading.load(
        model.place,
        device="cpu" if passes else model.device,
        dtype=dtype,
        variant=model.variant,
        adapters=model.adapters,
        context_attention=model.context_attention,
    )
    fast = accelerate(
        pipeline, plan, device=target, vram=cap, approximate=model.approximate, request=asked, gives_away=True
    )
    for line in fast.report:
        say(f"  {line}")
    return Ready(fast.pipeline, fast)


def _load_among(model: Model, say: Say, parallel: str, here: Process) -> Ready:
    """The model as one of several processes needs it: whole on its device, or its share of the weights alone."""
    from recast import loading
    from recast.speed import accelerate
    from recast.speed.among import among_of
    from recast.speed.cap import parse_cap
    from recast.speed.plan import plan_of
    from recast.speed.several import Several

    if model.plan == "auto":
        raise ConfigError(
            "--plan=auto: chooses for one process; exact, lossless or fp8 accepted with --parallel; leave it out for "
            "lossless"
        )
    plan = plan_of(model.plan or "reference")
    plan = replace(plan, vram_bytes=None if model.vram is None else parse_cap(model.vram))
    several = Several(**{parallel: here.size})
    among_of(several, here, plan, model.outline().config.flow)
    pipeline = loading.load(
        model.place,
        device="cpu" if several.tensor > 1 else str(here.device),
        dtype=loading.pick_dtype(model.dtype, here.device),
        variant=model.variant,
        adapters=model.adapters,
        context_attention=model.context_attention,
    )
    say(f"plan {plan}, {parallel} by {here.size} processes")
    fast = accelerate(
        pipeline,
        plan,
        device=here.device,
        approximate=model.approximate,
        several=several,
        here=here,
        gives_away=True,
    )
    for line in fast.report:
        say(f"  {line}")
    return Ready(fast.pipeline, fast)


def sizes_of(request: Request, outline: Pipeline) -> Size:
    """What a request asks of the device, for the formulas of `recast.cost`."""
    from recast.context.fitting import fit_picture
    from recast.speed.forecast import asked_at

    side = outline.config.pixels_per_token
    (rows, columns), options = request.grid, request.options
    fits = list(request.fits)
    if request.preserving.crop is not None:  # the whole picture lies beside the crop
        source = request.pictures[0]
        fits.append(fit_picture(outline.config, source.width, source.height, "auto"))
    return Size(
        width=columns * side,
        height=rows * side,
        contexts=tuple((fit.width, fit.height) for fit in fits),
        evaluations=len(asked_at(request.sampler, len(request.times) - 1)),
        true_guidance=request.true_guidance,
        num_images=len(request.seeds),
        batch_size=options.batch_size,
    )


def recorded(model: Model) -> str:
    """What the recipe of a picture by this model will say of its plan."""
    return str(wanted(model)) if model.plan or model.vram or model.approximate is not None else "reference"


def wanted(model: Model) -> Plan:
    """The plan that was asked for, with its cap and its option; of auto, what does not depend on the device.

    Raises ConfigError for what no device could do.
    """
    from recast.speed.approximate import Approximate
    from recast.speed.cap import parse_cap
    from recast.speed.plan import plan_of

    return replace(
        plan_of("lossless" if model.plan in (None, "auto") else model.plan),
        vram_bytes=parse_cap(model.vram) if model.vram else None,
        approximate=None if model.approximate is None else Approximate.read(model.approximate),
    )


def check(model: Model, request: Request, outline: Pipeline) -> None:
    """Raise ConfigError for a plan that does not suit the request, OutOfMemory for a cap under which nothing fits."""
    from recast import loading
    from recast.speed.cap import check_cap
    from recast.speed.computed_in import numbers_at, recipe_under

    plan = wanted(model)
    if plan.vram_bytes is not None:
        target = loading.pick_device(model.device)
        check_cap(plan.vram_bytes, target)
        numbers = numbers_at(plan, loading.pick_dtype(model.dtype, target), target)
        recipe_under(plan.vram_bytes, outline.config, sizes_of(request, outline), plan, numbers)
    if plan.approximate is not None:
        plan.approximate.check(
            has_context=bool(request.fits),
            has_mask=request.may_change is not None,
            sampler=request.sampler,
            is_cached=outline.config.flow.context_attention == "cached",
            one="--approximate",
        )


def split(plan: str) -> tuple[str | None, str | None]:
    """The plan and the option of a recipe's text; None and None for the core as it is.

    How processes shared the work is not in them: --parallel says it. Raises ConfigError for a plan without a name.
    """
    from recast.speed.plan import CUSTOM

    name, _, approximate = plan.partition(" + ")
    if CUSTOM in name:
        raise ConfigError(
            f"recipe: plan={plan!r} came; one of the named plans accepted, for no flag says another; make the picture "
            "again from Python, by `accelerate` with that very plan"
        )
    name = name.partition(", ")[0]
    if name == "reference":
        return None, None
    if not name:
        raise ConfigError(f"recipe: plan={plan!r} came; a plan's name accepted; mend the file")
    return name, approximate or None
