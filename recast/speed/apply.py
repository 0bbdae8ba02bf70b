"""The only door: `accelerate(pipeline, plan)` gives a faster pipeline of the same weights, and says what it did.

The pipeline that comes in stays as it is, with three exceptions, after which it is not to be used any more: under a
cap on memory and in tensor parallel its weights move, and adapters that are set later change its weights.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar, cast

import torch

from recast import cost
from recast.config import ModelConfig
from recast.errors import ConfigError, OutOfMemory
from recast.flow.transformer import Network
from recast.latents.autoencoder import Autoencoder
from recast.pipeline import Pipeline
from recast.speed import attention, attention8, fused, quantize
from recast.speed.adapters import Written
from recast.speed.among import Among, among_of
from recast.speed.approximate import Approximate
from recast.speed.attention import Attend
from recast.speed.autoencoder import FastAutoencoder, by_kernel, in_runs
from recast.speed.blocks import Block, blocks_of, modulators_of
from recast.speed.cap import check_cap, enforce, lowered, parse_cap, retrying
from recast.speed.choice import choose
from recast.speed.engine import Engine, Resident, exactly
from recast.speed.forecast import fit_beside
from recast.speed.graphs import Graphs
from recast.speed.memory import Memory, Numbers
from recast.speed.ops import Ops
from recast.speed.ops import Plain as PlainOps
from recast.speed.pipeline_adapters import AdapterFiles, PipelineAdapters
from recast.speed.placing import GivenAway, put, take_back
from recast.speed.plan import Plan, plan_of
from recast.speed.processes import Process
from recast.speed.request_cache import CachesContext, EncodesOnce
from recast.speed.several import Several
from recast.speed.side_stream import SideStream
from recast.speed.streaming import stem_on

log = logging.getLogger(__name__)

Found = TypeVar("Found")


class Applied(NamedTuple):
    """One technique of a plan: whether it is in force, and why or why not."""

    technique: str
    is_applied: bool
    why: str

    def __str__(self) -> str:
        return f"{'+' if self.is_applied else '-'} {self.technique}: {self.why}"


@dataclass
class Accelerated:
    """A pipeline as fast as its plan allows, and what was done to it."""

    pipeline: Pipeline
    plan: Plan
    report: tuple[Applied, ...]
    memory: Memory | None = None  # where a cap was given
    work: _Work | None = field(default=None, repr=False)
    _adapters: PipelineAdapters | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return "\n".join([f"plan {self.plan} ({self.plan.class_})", *map(str, self.report)])

    def run(self, ask: Callable[[Pipeline], Found]) -> tuple[Found, str | None]:
        """What `ask` gets of the pipeline; if memory runs out, once more with a recipe lower, and a word on that.

        Without a cap there is no recipe to lower, and the error is handed on.
        """
        return retrying(lambda: ask(self.pipeline), self.lower)

    def set_adapters(self, adapters: AdapterFiles = (), *, keep_on: torch.device | str | None = None) -> Written:
        """Have these adapters in the weights from the next request on, and no others; none gives the old bits back.

        adapters: LoRA files, each a path or (path, strength), as `recast.load` takes them. keep_on: where the weights
        as they were are kept of all layers that an adapter touches, decided by the first call: None for the device,
        "cpu" to spare its memory. Not while a request is under way.
        Raises ConfigError where weights pass through the device, are shared out or hold adapters from before;
        MissingWeights and WeightsError like `recast.load`.
        """
        assert self.work is not None, "made by `accelerate`"
        if self.memory is not None:
            raise ConfigError(
                "adapters: the weights pass through the device under a cap (vram); a plan without one accepted; load "
                "the pipeline with its adapters, or leave the cap out"
            )
        if self._adapters is None:
            self._adapters = PipelineAdapters(self.pipeline, self.work.forget, keep_on=keep_on)
        return self._adapters.set(adapters)

    def lower(self) -> str | None:
        """Take the next recipe of less memory; which it is, or None where there is none."""
        if self.work is None or self.memory is None or self.work.numbers is None:
            return None
        found = lowered(self.pipeline.config, self.work.request, self.work.numbers, self.memory)
        if found is None:
            return None
        engine = cast(Engine, self.pipeline.network)
        twins = self.work.let_go(engine)
        put(self.pipeline, engine, *take_back(engine), found, self.work.place)
        for twin in twins:
            twin.blocks, twin.modulators, twin.mlp_rows = engine.blocks, engine.modulators, engine.mlp_rows
        self.memory = found
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
    Raises ConfigError for what cannot work here at all, OutOfMemory for a cap under which nothing fits.
    """
    _check_given(pipeline)
    place = pipeline.device if device is None else numbered(_device(device), pipeline.device)
    asked = usual_request(pipeline.config) if request is None else request
    if isinstance(plan, str) and plan == "auto":
        chosen = choose(pipeline.config, asked, device=place, dtype=pipeline.dtype)
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
    among = among_of(several, here, plan, pipeline.config.flow)
    work = _Work(pipeline, plan, place, tuple(keep), asked, among)
    made = work.pipeline()
    made.plan = str(plan)
    for line in work.report:
        log.info("plan=%s %s", plan, line)
    return Accelerated(made, plan, tuple(work.report), work.memory, work)


class _Work:
    """One call of `accelerate`: the parts of a pipeline are exchanged one by one, and each says so."""

    def __init__(
        self,
        pipeline: Pipeline,
        plan: Plan,
        place: torch.device,
        keep: tuple[str, ...],
        request: cost.Request,
        among: Among | None,
    ) -> None:
        self.given, self.plan, self.place, self.keep, self.request = pipeline, plan, place, keep, request
        self.among = among
        self.gives_away = plan.vram_bytes is not None or (among is not None and among.is_tensor)
        self.report: list[Applied] = []
        self.contexts: CachesContext | None = None
        self.memory: Memory | None = None
        self.numbers: Numbers | None = None
        if not self.gives_away and place != pipeline.device:
            raise ConfigError(
                f"device={str(place)!r}: the weights are on {pipeline.device}; load them there, or give a cap (vram) "
                "under which they pass through"
            )

    def pipeline(self) -> Pipeline:
        """The faster pipeline."""
        plan, made = self.plan, copy.copy(self.given)
        if plan.compile:
            self._compile(made)
        if self.gives_away:
            made.autoencoder.to(self.place)
        if plan.autoencoder == "fast":
            made.autoencoder = self._autoencoder(made.autoencoder)
        if plan.engine:
            made.network = self._engine(made)
        if plan.shares:
            made.autoencoder = cast(Autoencoder, EncodesOnce(made.autoencoder))
            self._say("shared pictures", True, "latents of a picture seen lately are found again")
        if not self.report:
            self._say("core", True, "as it is; nothing is exchanged")
        if self.gives_away:
            self.given.network = cast(Network, GivenAway())
        return made

    def forget(self) -> None:
        """Give up what requests have in common and the weights decide."""
        if self.contexts is not None:
            self.contexts.forget()

    def let_go(self, engine: Engine) -> list[Engine]:
        """Empty all but `engine` that holds its weights, which are to move: recordings, and engines of the same."""
        walk, twins = engine.walk, list[Engine]()
        if isinstance(walk, attention8.ExactEnds):
            twins.append(walk.exact)
            walk.exact.blocks, walk.exact.modulators, walk.exact.walk = Resident([]), [], exactly
            engine.walk = replace(walk, inside=exactly) if isinstance(walk.inside, Graphs) else walk
        elif isinstance(walk, Graphs):
            engine.walk = exactly
        return twins

    def _say(self, technique: str, is_applied: bool, why: str) -> None:
        self.report.append(Applied(technique, is_applied, why))

    # The network.

    def _compile(self, made: Pipeline) -> None:
        flow = copy.copy(made.flow)  # its blocks are replaced by compiled ones of the same weights
        flow._modules = dict(flow._modules)
        for name in ("double_blocks", "single_blocks"):
            compiled = [torch.compile(block, fullgraph=True) for block in getattr(flow, name)]
            flow._modules[name] = torch.nn.ModuleList(compiled)  # type: ignore[arg-type]
        made.network = flow
        self._say("compile", True, "each kind of block once; the first request of a shape waits for the compiler")

    def _engine(self, made: Pipeline) -> Engine:
        plan, flow, place = self.plan, self.given.flow, self.place
        if place.type == "cuda" and not plan.joined and flow.dtype != torch.bfloat16:
            self._say("bf16", False, f"the weights are {flow.dtype}; load with dtype='bf16' for the rates of the GPU")
        blocks = blocks_of(flow, joined=plan.joined)
        self._say("engine", True, "modulations of all steps in one product; no pass over the tokens that another makes")
        if self.among is not None:
            blocks = self.among.share(blocks, place)
        if plan.eight_bit:
            blocks = self._eight_bit(blocks)
        engine = Engine(flow, blocks=Resident(blocks), ops=self._ops(), attend=self._attend())
        if plan.vram_bytes is not None:
            self._under_cap(made, engine, blocks, plan.vram_bytes)
        if self.among is not None:
            engine, technique, how = self.among.engine(made, engine, place)
            self._say(technique, True, how)
        if plan.side_stream:
            self._side_stream(engine)
        if plan.approximate is not None:
            engine.walk = plan.approximate.walk()
            self._say(str(plan.approximate), True, "approximate: it skips work (docs/speed.md has its error)")
        elif plan.graph:
            self._graph(engine)
        if plan.attention == "eight-bit":
            self._eight_bit_attention(engine)
        if flow.config.context_attention == "cached" and plan.vram_bytes is not None:
            self._say("shared contexts", False, "a cap has room for the keys and values of one request's context")
        elif flow.config.context_attention == "cached" and plan.shares:
            self.contexts = CachesContext(engine)
            self._say("shared contexts", True, "keys and values of a context seen lately are found again")
        return engine

    def _eight_bit(self, blocks: list[Block]) -> list[Block]:
        made = quantize.quantised(blocks, keep=self.keep)
        staying = quantize.stays(blocks, keep=self.keep)
        why = quantize.missing(self.place)
        how = "on the eight-bit units" if why is None else f"written out, with the same error and no gain ({why})"
        self._say("eight-bit products", True, f"{len(quantize.layer_names(blocks)) - len(staying)} layers, {how}")
        for reason in dict.fromkeys(staying.values()):
            count = sum(value == reason for value in staying.values())
            self._say("eight-bit products", False, f"{count} layers: {reason}")
        return made

    def _ops(self) -> Ops:
        if not self.plan.kernels:
            return PlainOps()
        why = fused.missing(self.place, rows=self.plan.eight_bit)
        self._say("kernels", why is None, why or "norms, gates, rotary positions and GELU in one pass each")
        return PlainOps() if why else fused.Fused("exact" if self.plan.joined else "fast")

    def _attend(self) -> Attend:
        if self.plan.attention == "plain":
            return attention.plain
        attend, said = attention.fastest(self.place, self.given.flow.dtype)
        self._say("attention", True, said)
        return attend

    def _eight_bit_attention(self, engine: Engine) -> None:
        """Eight bits between the first and the last evaluation, which an engine with the exact attention makes."""
        why = attention8.missing(self.place, head_dim=engine.config.head_dim)
        exact = copy.copy(engine)
        if self.plan.approximate is not None:
            exact.walk = exactly  # the ends are whole
        exact.walk = engine.walk if isinstance(engine.walk, Graphs) else exactly
        if why is None:
            engine.attend = attention8.Cudnn(self.place)
            self._say("eight-bit attention", True, "cuDNN's kernel, but for the first and the last evaluation")
        elif self.place.type == "cpu":
            engine.attend = attention8.Written()
            self._say("eight-bit attention", True, "written out, with the same error and no gain")
        else:
            self._say("eight-bit attention", False, why)
            return
        engine.walk = attention8.ExactEnds(exact=exact, inside=engine.walk)

    def _side_stream(self, engine: Engine) -> None:
        if self.among is not None and self.among.is_tensor:
            self._say("side stream", False, "the text's sums over the processes would cross the image's")
            return
        on_cuda = self.place.type == "cuda"
        if on_cuda:
            engine.aside = SideStream(self.place)
        self._say("side stream", on_cuda, "the text's products beside the image's" if on_cuda else "needs CUDA")

    def _graph(self, engine: Engine) -> None:
        if self.among is not None:
            self._say("graph", False, "processes wait for each other inside an evaluation")
        elif self.place.type != "cuda":
            self._say("graph", False, "needs CUDA")
        elif not isinstance(engine.blocks, Resident):
            self._say("graph", False, "the weights pass through the device, and a graph wants them to stay")
        elif self.numbers is not None and not self.numbers.graph:
            self._say("graph", False, "its memory does not fit under the cap")
        else:
            engine.walk = Graphs()
            self._say("graph", True, "one launch a step, once a shape has been seen")

    def _under_cap(self, made: Pipeline, engine: Engine, blocks: list[Block], cap_bytes: int) -> None:
        numbers = numbers_of(self.plan, engine, self.place)
        self.numbers, self.memory = recipe_under(cap_bytes, made.config, self.request, self.plan, numbers)
        check_cap(cap_bytes, self.place)
        modulators = modulators_of(made.flow)
        stem_on(made.flow, self.place)
        self._say("memory", True, "; ".join(put(made, engine, blocks, modulators, self.memory, self.place)))
        self._say("cap", self.place.type == "cuda", enforce(cap_bytes, self.place))

    # The autoencoder.

    def _autoencoder(self, autoencoder: Autoencoder) -> Autoencoder:
        on_cuda = self.place.type == "cuda"
        kernels = on_cuda and fused.missing(self.place) is None
        made = FastAutoencoder(
            autoencoder,
            dtype=torch.bfloat16 if on_cuda else None,
            norm_silu=by_kernel if kernels else None,
            attend=in_runs if on_cuda else None,
        )
        how = ["doublings folded into their convolutions"]
        how += ["bf16"] if on_cuda else []
        how += ["norms by our kernels"] if kernels else []
        self._say("autoencoder", True, ", ".join(how))
        return made


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


def recipe_under(
    cap_bytes: float, config: ModelConfig, request: cost.Request, plan: Plan, numbers: Numbers
) -> tuple[Numbers, Memory]:
    """What fits under a cap: with a graph where there is room for one beside all weights, else without.

    Raises OutOfMemory if nothing does.
    """
    if numbers.graph:
        try:
            found = fit_beside(config, request, numbers, cap_bytes, plan.approximate)
        except OutOfMemory:
            found = None
        if found is not None and found.resident_blocks == config.flow.depth + config.flow.depth_single_blocks:
            return numbers, found
        numbers = replace(numbers, graph=False)
    return numbers, fit_beside(config, request, numbers, cap_bytes, plan.approximate)


def numbers_at(plan: Plan, dtype: torch.dtype, device: torch.device) -> Numbers:
    """As `numbers_of`, before there is an engine, for a device that is at hand."""
    fused_here = plan.kernels and fused.missing(device, rows=plan.eight_bit) is None
    is_written = plan.attention != "plain" and attention.fastest(device, dtype)[0] is not attention.plain
    return numbers_by(plan, dtype, device.type, fused=fused_here, scores=is_written and device.type != "cuda")


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


def numbers_of(plan: Plan, engine: Engine, device: torch.device) -> Numbers:
    """What a plan computes in on a device, for the formulas of `recast.speed.memory`."""
    return numbers_by(
        plan,
        engine.dtype,
        device.type,
        fused=not isinstance(engine.ops, PlainOps),
        scores=engine.attend is not attention.plain and device.type != "cuda",
    )


def numbers_by(plan: Plan, dtype: torch.dtype, device_type: str, *, fused: bool, scores: bool = False) -> Numbers:
    """As `numbers_of`, before there is an engine. fused: whether our kernels run there; scores: as in `Numbers`."""
    item, on_cuda = dtype.itemsize, device_type == "cuda"
    return Numbers(
        blocks=1.0 if plan.eight_bit else float(item),
        item=item,
        fused=fused,
        joined=plan.joined,
        scores=scores,
        graph=plan.graph and plan.approximate is None and on_cuda,
        modulators=float(item),
        text=float(item),
        autoencoder=2 if plan.autoencoder == "fast" and on_cuda else 4,
        on_cuda=on_cuda,
    )
