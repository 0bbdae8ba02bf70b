"""A model by a plan: `--plan`, `--vram` and `--approximate`, from the choice before loading to a second try."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from recast.cost import Request as Size
from recast.errors import ConfigError

if TYPE_CHECKING:
    from recast.cli.job import Model
    from recast.pipeline import Pipeline, Request
    from recast.speed.apply import Accelerated

Found = TypeVar("Found")
Say = Callable[[str], None]


class Ready(NamedTuple):
    """A model that is loaded, and what made it fast, if a plan was asked for."""

    pipeline: Pipeline
    fast: Accelerated | None = None

    def run(self, ask: Callable[[Pipeline], Found]) -> tuple[Found, str | None]:
        """What `ask` gets of the pipeline; under a cap, tried once more with less memory, and a word on that."""
        return (ask(self.pipeline), None) if self.fast is None else self.fast.run(ask)


def load(model: Model, request: Request | None = None, say: Say = lambda _: None) -> Ready:
    """The model with its weights, by its plan. request: the largest asked of it; say: told the choice, and the report.

    Raises what `recast.load` and `recast.speed.accelerate` raise.
    """
    from recast import loading

    if not (model.plan or model.vram or model.approximate):
        return Ready(
            loading.load(
                model.place, device=model.device, dtype=model.dtype, variant=model.variant, adapters=model.adapters
            )
        )
    from recast.speed import accelerate
    from recast.speed.apply import usual_request
    from recast.speed.cap import parse_cap
    from recast.speed.choice import choose
    from recast.speed.plan import Plan, plan_of

    target = loading.pick_device(model.device)
    dtype = loading.pick_dtype(model.dtype, target)
    outline = model.outline()
    asked = usual_request(outline.config) if request is None else sizes_of(request, outline)
    cap = None if model.vram is None else parse_cap(model.vram)
    plan: str | Plan = model.plan or "auto"
    passes = cap is not None
    if plan == "auto":
        choice = choose(outline.config, asked, device=target, dtype=dtype, memory_bytes=cap)
        plan, passes = choice.plan, choice.passes or passes
        say(str(choice))
    else:
        say(f"plan {plan_of(plan)}")
    pipeline = loading.load(
        model.place,
        device="cpu" if passes else model.device,
        dtype=dtype,
        variant=model.variant,
        adapters=model.adapters,
    )
    fast = accelerate(pipeline, plan, device=target, vram=cap, approximate=model.approximate, request=asked)
    for line in fast.report:
        say(f"  {line}")
    return Ready(fast.pipeline, fast)


def sizes_of(request: Request, outline: Pipeline) -> Size:
    """What a request asks of the device, for the formulas of `recast.cost`."""
    side = outline.config.pixels_per_token
    (rows, columns), options = request.grid, request.options
    evaluations = len(request.times) - 1
    return Size(
        width=columns * side,
        height=rows * side,
        contexts=tuple((fit.width, fit.height) for fit in request.fits),
        evaluations=2 * evaluations - 1 if options.sampler == "heun" else evaluations,
        true_guidance=request.true_guidance,
        num_images=len(request.seeds),
        batch_size=options.batch_size,
    )


def recorded(model: Model) -> str:
    """What the recipe of a picture by this model will say of its plan."""
    if not (model.plan or model.vram or model.approximate):
        return "reference"
    from dataclasses import replace

    from recast.speed.approximate import Approximate
    from recast.speed.plan import plan_of

    plan = plan_of("lossless" if model.plan in (None, "auto") else model.plan)
    return str(replace(plan, approximate=Approximate.read(model.approximate) if model.approximate else None))


def split(plan: str) -> tuple[str | None, str | None]:
    """The plan and the option of a recipe's text; None and None for the core as it is."""
    name, _, approximate = plan.partition(" + ")
    if name == "reference":
        return None, None
    if not name:
        raise ConfigError(f"recipe: plan={plan!r} came; a plan's name accepted; mend the file")
    return name, approximate or None
