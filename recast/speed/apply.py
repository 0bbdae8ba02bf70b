"""The only door: `accelerate(pipeline, plan)` gives a faster pipeline of the same weights, and says what it did.

The pipeline that comes in stays as it is, with four exceptions, after which it is not to be used any more: it is given
away; under a cap on memory and in tensor parallel its weights move; they do so later, where memory has run out; and
adapters that are set later change its weights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import torch

from recast import cost
from recast.config import ModelConfig
from recast.errors import ConfigError
from recast.loading import AdapterFiles
from recast.pipeline import Pipeline
from recast.speed.adapters import Written
from recast.speed.among import among_of
from recast.speed.approximate import Approximate
from recast.speed.cap import free_bytes, give_back, lowered, parse_cap, passing, retrying, retrying_steps
from recast.speed.choice import choose
from recast.speed.engine import Engine
from recast.speed.exchange import Applied, Exchange
from recast.speed.forecast import kept_bytes
from recast.speed.memory import Masters, Memory
from recast.speed.pipeline_adapters import PipelineAdapters
from recast.speed.placing import GivenAway, put, take_back
from recast.speed.plan import Plan, plan_of
from recast.speed.processes import Process
from recast.speed.several import Several

log = logging.getLogger(__name__)

Found = TypeVar("Found")
Yielded = TypeVar("Yielded")


@dataclass
class Accelerated:
    """A pipeline as fast as its plan allows, and what was done to it."""

    pipeline: Pipeline
    plan: Plan
    report: tuple[Applied, ...]
    memory: Memory | None = None  # where a cap was given, or memory has run out
    work: Exchange | None = field(default=None, repr=False)
    _adapters: PipelineAdapters | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return "\n".join([f"plan {self.plan} ({self.plan.class_})", *map(str, self.report)])

    def run(self, ask: Callable[[Pipeline], Found]) -> tuple[Found, str | None]:
        """What `ask` gets of the pipeline; if memory runs out, once more with a recipe lower, and a word on that.

        Where there is none, see `lower`, the error is handed on.
        """
        return retrying(lambda: ask(self.pipeline), self.lower)

    def steps(
        self, ask: Callable[[Pipeline], Generator[Yielded, None, Found]]
    ) -> Generator[Yielded, None, tuple[Found, str | None]]:
        """As `run`, of work that yields its steps; those of the second time follow, from its beginning."""
        return retrying_steps(lambda: ask(self.pipeline), self.lower)

    def set_adapters(self, adapters: AdapterFiles = (), *, keep_on: torch.device | str | None = None) -> Written:
        """Have these adapters in the weights from the next request on, and no others; none gives the old bits back.

        adapters: LoRA files, each a path or (path, strength), as `recast.load` takes them. keep_on: where the weights
        as they were are kept of all layers that an adapter touches, decided by the first call: None for the device,
        "cpu" to spare its memory. Not while a request is under way.
        Raises ConfigError where weights pass through the device, are shared out, were given away once they had been
        rounded, or hold adapters from before; MissingWeights and WeightsError like `recast.load`.
        """
        assert self.work is not None, "made by `accelerate`"
        if self.memory is not None:
            why = "under a cap (vram)" if self.plan.vram_bytes else "since memory ran out"
            raise ConfigError(
                f"adapters: the weights pass through the device {why}; a plan without one accepted; load "
                "the pipeline with its adapters, or leave the cap out"
            )
        if self.work.gives_away and self.plan.eight_bit:
            raise ConfigError(
                "adapters: the weights that the eight bits were made of are given away; gives_away=False accepted; "
                "pass that to `accelerate`, or load the pipeline with its adapters"
            )
        if self._adapters is None:
            self._adapters = PipelineAdapters(self.pipeline, self.work.forget, keep_on=keep_on)
        return self._adapters.set(adapters)

    def lower(self) -> str | None:
        """Take the next recipe of less memory; which it is, or None where there is none.

        Without a cap it is the one below all weights on the device: from here on they pass through, and neither the
        pipeline that came in nor contexts of earlier requests are kept. None then on a CPU, where weights have
        nowhere to go; for several processes, of which one cannot do so alone; and where adapters were set.
        """
        work = self.work
        if work is None or work.numbers is None or work.among is not None:
            return None
        engine, memory = cast(Engine, self.pipeline.network), self.memory
        if memory is None:
            if self._adapters is not None or not work.numbers.on_cuda:
                return None
            memory = Memory(resident_blocks=len(engine.blocks))
        config, request = self.pipeline.config, work.request
        kept = kept_bytes(config, request, self.plan.approximate, item=work.numbers.item)
        numbers = replace(work.numbers, context_kv_bytes=kept)
        found = lowered(config, request, numbers, memory, free_bytes(work.place))
        if found is None:
            return None
        twins = work.let_go(engine)
        parts = take_back(engine)
        give_back()  # recordings hold themselves
        put(self.pipeline, engine, *parts, found, work.place)
        for twin in twins:
            twin.blocks, twin.modulators, twin.mlp_rows = engine.blocks, engine.modulators, engine.mlp_rows
        self.memory, work.numbers = found, passing(work.numbers)
        return str(found)


def accelerate(
    pipeline: Pipeline,
    plan: str | Plan = "lossless",
    *,
    device: torch.device | str | None = None,
    vram: str | int | None = None,
    approximate: str | Approximate | None = None,
    keep: Sequence[str] = (),
    request: cost.Request | None = None,
    several: Several | None = None,
    here: Process | None = None,
    gives_away: bool = False,
) -> Accelerated:
    """A pipeline of the same weights that computes by a plan, with what was applied, what not, and why.

    plan: "auto" (`recast.speed.choice`), a name of `recast.speed.plan.PLANS`, or a plan. device: where to work, that
    of the weights if None; with `vram` they may lie on the host, and pass through. vram: a cap on the device's memory,
    as "24gb" or in bytes; the weights move, and the pipeline that came in cannot be used any more. request: the
    largest that is to fit under it; if None, the model's usual picture with one context picture of its size.
    approximate: an option that skips work (`recast.speed.approximate`), as "context-reuse:every=4". keep: layers that
    keep the weights' own format in eight bits (`recast.speed.quantize.layer_names`).
    several, here: what the processes share that make a picture together, and which of them this is
    (`recast.speed.processes.meet`): all of them call this, and then ask the same of their pipelines. In tensor
    parallel the weights may lie on the host: each process takes its share to `device`, and the rest is given up.
    gives_away: the pipeline that came in is not used any more, so that weights of which the plan makes others, in eight
    bits or of the autoencoder, are freed as these are made; then no adapter changes eight bits later.
    Raises ConfigError for what cannot work here at all, OutOfMemory for a cap under which nothing fits.
    """
    _check_given(pipeline)
    for name, value, kind in (
        ("request", request, cost.Request),
        ("several", several, Several),
        ("here", here, Process),
    ):
        if not isinstance(value, kind | None):
            accepted = f"a {kind.__module__}.{kind.__name__} accepted"
            raise ConfigError(f"{name}={value!r}: {accepted}; make one, or leave it out")
    place = pipeline.device if device is None else numbered(_device(device), pipeline.device)
    asked = usual_request(pipeline.config) if request is None else request
    if isinstance(plan, str) and plan == "auto":
        masters: Masters = "loading" if gives_away else "kept"
        chosen = choose(pipeline.config, asked, device=place, dtype=pipeline.dtype, masters=masters)
        plan, vram = chosen.plan, chosen.plan.vram_bytes if vram is None else vram
    plan = plan_of(plan)
    if isinstance(approximate, str):
        approximate = Approximate.read(approximate)
    if not isinstance(approximate, Approximate | None):
        raise ConfigError(f"approximate={approximate!r}: a text such as context-reuse:every=4 accepted; pass one")
    if keep and (isinstance(keep, str) or not plan.eight_bit):
        raise ConfigError(
            f"keep={keep!r}: a list of layers that a plan of eight bits leaves as they are accepted; here it is "
            f"plan={plan.name}; put names in a list, and choose fp8 or fp8-attention"
        )
    cap = None if vram is None else parse_cap(vram)
    plan = replace(plan, approximate=approximate or plan.approximate, vram_bytes=cap or plan.vram_bytes)
    only_on_cuda = plan.tuned == "cuda" and place.type != "cuda"
    among = among_of(several, here, plan, pipeline.config.flow)
    here_plan = replace(plan, tuned=False) if only_on_cuda else plan
    work = Exchange(pipeline, here_plan, place, tuple(keep), asked, among, gives_away)
    made = work.pipeline()
    made.plan = plan.recorded(keep=keep, shared="" if among is None else among.several.recorded)
    if only_on_cuda:
        why = "by this plan on CUDA alone: on a CPU nothing was gained; replace(plan, tuned=True) tunes there as well"
        work.report.append(Applied("tuned products", False, why))
    for line in work.report:
        log.info("plan=%s %s", plan, line)
    return Accelerated(made, plan, tuple(work.report), work.memory, work)


def numbered(device: torch.device, home: torch.device) -> torch.device:
    """A device with its number: "cuda" alone is the one where the weights are, if they are on one, else the current."""
    if device.type != "cuda" or device.index is not None:
        return device
    if home.type == "cuda":
        return home
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else device


def usual_request(config: ModelConfig) -> cost.Request:
    """What a model is mostly asked for: an edit of its usual size, or a picture from words."""
    usual = config.defaults
    size = (usual.width, usual.height)
    return cost.Request(
        width=size[0],
        height=size[1],
        contexts=(size,) if config.takes_context else (),
        evaluations=usual.steps,
        true_guidance=usual.edit_true_guidance,
    )


def _device(device: torch.device | str) -> torch.device:
    try:
        return torch.device(device)
    except RuntimeError:
        raise ConfigError(f"device={device!r}: cpu, cuda, cuda:1 and so on accepted; pass one") from None


def _check_given(pipeline: Pipeline) -> None:
    """Raise ConfigError unless this is the core's own pipeline, with its weights."""
    if not isinstance(pipeline, Pipeline):
        raise ConfigError(
            f"pipeline: {type(pipeline).__name__} came; what `recast.load` gives accepted; accelerate that, and wrap "
            "the `pipeline` of the result in it"
        )
    if isinstance(pipeline.network, GivenAway) or pipeline.network.device.type == "meta":
        raise ConfigError("pipeline: it has no weights, or gave them away under a cap; load it again and pass that one")
    if pipeline.plan != "reference":
        raise ConfigError(
            f"pipeline: it goes by plan {pipeline.plan} already; the one that `recast.load` gave accepted; pass that"
        )
