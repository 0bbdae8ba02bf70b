"""The parts of a pipeline exchanged one by one, as a plan asks and a device can: each exchange says what it did."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import NamedTuple, cast

import torch

from recast import cost
from recast.errors import ConfigError
from recast.flow.transformer import Network
from recast.latents.autoencoder import Autoencoder
from recast.pipeline import Pipeline
from recast.speed import attention, attention8, few_passes, fused, quantize, tuning
from recast.speed.among import Among
from recast.speed.attention import Attend
from recast.speed.autoencoder import FastAutoencoder, by_kernel, by_library_narrow, dtype_on, in_runs
from recast.speed.blocks import Block, Modulator, blocks_of, modulators_of
from recast.speed.cap import check_cap, enforce
from recast.speed.computed_in import numbers_of, recipe_under
from recast.speed.engine import Engine, Resident, exactly
from recast.speed.graphs import Graphs
from recast.speed.memory import Masters, Memory, Numbers
from recast.speed.ops import Ops
from recast.speed.ops import Plain as PlainOps
from recast.speed.placing import GivenAway, put
from recast.speed.plan import Plan
from recast.speed.request_cache import CachesContext, EncodesOnce
from recast.speed.side_stream import SideStream
from recast.speed.streaming import stem_on
from recast.speed.tuning import Table, Tuned, Tuner


class Applied(NamedTuple):
    """One technique of a plan: whether it is in force, and why or why not."""

    technique: str
    is_applied: bool
    why: str

    def __str__(self) -> str:
        return f"{'+' if self.is_applied else '-'} {self.technique}: {self.why}"


class Exchange:
    """One call of `accelerate`: the parts of a pipeline are exchanged one by one, and each says so."""

    def __init__(
        self,
        pipeline: Pipeline,
        plan: Plan,
        place: torch.device,
        keep: tuple[str, ...],
        request: cost.Request,
        among: Among | None,
        gives_away: bool = False,
    ) -> None:
        self.given, self.plan, self.place, self.keep, self.request = pipeline, plan, place, keep, request
        self.among = among
        self.moves = plan.vram_bytes is not None or (among is not None and among.is_tensor)
        self.gives_away = gives_away or self.moves
        self.report: list[Applied] = []
        self.contexts: CachesContext | None = None
        self.layers: list[Tuned] = []
        self.memory: Memory | None = None
        self.numbers: Numbers | None = None
        if not self.moves and place != pipeline.device:
            raise ConfigError(
                f"device={str(place)!r}: the weights are on {pipeline.device}; load them there, or give a cap (vram) "
                "under which they pass through"
            )

    def pipeline(self) -> Pipeline:
        """The faster pipeline."""
        plan, made = self.plan, copy.copy(self.given)
        if plan.compile:
            self._compile(made)
        if plan.autoencoder == "fast":
            made.autoencoder = self._autoencoder(made.autoencoder)
        elif self.moves:
            made.autoencoder.to(self.place)
        if plan.engine:
            made.network = self._engine(made)
        if plan.shares:
            made.autoencoder = cast(Autoencoder, EncodesOnce(made.autoencoder))
            self._say("shared pictures", True, "latents of a picture seen lately are found again")
        if not self.report:
            self._say("core", True, "as it is; nothing is exchanged")
        if self.gives_away:
            self._empty_given()
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
        if self.layers:  # a product is not timed, nor taken in another way, where there is no memory to spare
            engine.blocks, self.layers = Resident(tuning.untuned(engine.blocks.walk(0, len(engine.blocks)))), []
        if self.contexts is not None:
            self.contexts.leave()
            self.contexts = None
        stem_on(self.given.flow, self.place)
        self._empty_given()
        return twins

    def _empty_given(self) -> None:
        """Leave the pipeline that came in nothing to compute with."""
        self.given.network, self.given.autoencoder = cast(Network, GivenAway()), cast(Autoencoder, GivenAway())

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
        blocks, modulators = blocks_of(flow, joined=plan.joined), modulators_of(flow)
        self._say("engine", True, "modulations of all steps in one product; no pass over the tokens that another makes")
        if self.among is not None:
            blocks = self.among.share(blocks, place)
        if plan.eight_bit:
            blocks = self._eight_bit(blocks)
        if plan.tuned:
            blocks = self._tuned(blocks)
        engine = Engine(flow, blocks=Resident(blocks), modulators=modulators, ops=self._ops(), attend=self._attend())
        masters: Masters = "host" if self.moves else "loading" if self.gives_away else "kept"
        self.numbers = numbers_of(plan, engine, place, masters)
        if plan.vram_bytes is not None:
            self._under_cap(made, engine, blocks, modulators, plan.vram_bytes)
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
        staying = quantize.stays(blocks, keep=self.keep)
        if self.gives_away and not self.moves:
            stem_on(self.given.flow, self.place)  # `blocks` alone hold their weights now, and lose them one by one
        made = quantize.quantised(blocks, keep=self.keep, is_emptied=self.gives_away)
        why = quantize.missing(self.place)
        how = "on the eight-bit units" if why is None else f"written out, with the same error and no gain ({why})"
        self._say("eight-bit products", True, f"{len(quantize.layer_names(made)) - len(staying)} layers, {how}")
        for reason in dict.fromkeys(staying.values()):
            count = sum(value == reason for value in staying.values())
            self._say("eight-bit products", False, f"{count} layers: {reason}")
        return made

    def _tuned(self, blocks: list[Block]) -> list[Block]:
        if self.moves or self.among is not None:
            self._say("tuned products", False, "the weights pass through, or are shared out, and are taken as they lie")
            return blocks
        tuner = Tuner(Table.read(tuning.place()), self.place, self.given.flow.dtype)
        if len(tuner.arms) == 1:
            self._say("tuned products", False, f"the library has one way on {self.place.type}")
            return blocks
        made = tuning.tuned(blocks, tuner)
        self.layers = tuning.layers(made)
        self._say(
            "tuned products", True, f"the fastest of {len(tuner.arms)} ways for each shape, from {tuning.place()}"
        )
        return made

    def _ops(self) -> Ops:
        if not self.plan.kernels:
            return PlainOps()
        if not self.plan.joined and few_passes.missing(self.place, self.given.flow.dtype) is None:
            self._say("kernels", True, "of the library, few: norms and turns in fewer passes, GELU inside its product")
            return few_passes.FewPasses()
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
        exact = copy.copy(engine)  # the ends are whole, whatever the walk between skips
        exact.walk = engine.walk.beside() if isinstance(engine.walk, Graphs) else exactly
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

    def _under_cap(
        self, made: Pipeline, engine: Engine, blocks: list[Block], modulators: list[Modulator], cap_bytes: int
    ) -> None:
        assert self.numbers is not None
        self.numbers, self.memory = recipe_under(cap_bytes, made.config, self.request, self.plan, self.numbers)
        check_cap(cap_bytes, self.place)
        stem_on(made.flow, self.place)
        self._say("memory", True, "; ".join(put(made, engine, blocks, modulators, self.memory, self.place)))
        self._say("cap", self.place.type == "cuda", enforce(cap_bytes, self.place))

    # The autoencoder.

    def _autoencoder(self, autoencoder: Autoencoder) -> Autoencoder:
        on_cuda = self.place.type == "cuda"
        kernels = on_cuda and fused.missing(self.place) is None
        dtype = dtype_on(self.place.type, self.given.flow.dtype)
        made = FastAutoencoder(
            autoencoder,
            dtype=dtype,
            device=self.place,
            norm_silu=by_kernel if kernels else by_library_narrow if dtype == torch.bfloat16 and not on_cuda else None,
            attend=in_runs if on_cuda else None,
        )
        how = ["doublings folded into their convolutions"]
        how += ["bf16"] if dtype == torch.bfloat16 else []
        how += ["norms by our kernels"] if kernels else []
        self._say("autoencoder", True, ", ".join(how))
        return made
