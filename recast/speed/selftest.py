"""Does this device compute by every plan what the core computes there? If not, which technique is to blame?

A small network and autoencoder of random weights, heads as wide as those of published models, so that the kernels
tried are those that will be used. Each evaluation of a short walk is compared with the core's from the same point,
on the same device, in the same number format. Where a plan is too far away, its techniques are tried one by one.
Two plans are tried as they are under a cap as well: the weights pass through the device, at every step.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from recast.config import AutoencoderConfig, FlowConfig, ModelConfig, TextConfig, tiny
from recast.context.t5 import T5Config, T5Encoder
from recast.context.text import ByteT5
from recast.errors import ConfigError
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.pipeline import Pipeline
from recast.speed.apply import Accelerated, accelerate
from recast.speed.autoencoder import dtype_on
from recast.speed.engine import Engine
from recast.speed.exchange import Applied
from recast.speed.memory import Memory
from recast.speed.placing import put, take_back
from recast.speed.plan import PLANS, Plan

FLOW = FlowConfig(
    in_channels=16,
    out_channels=16,
    context_in_dim=64,
    vec_in_dim=64,
    hidden_size=256,
    num_heads=2,
    depth=1,
    depth_single_blocks=2,
)
AUTOENCODER = AutoencoderConfig(ch=32, ch_mult=(1, 2), num_res_blocks=1, num_groups=8, z_channels=4)
SIDE, TEXT = 6, 16  # tokens
TIMES = (1.0, 0.7, 0.3, 0.0)  # three evaluations: eight-bit attention leaves the first and the last as they are
PICTURES = ("encoding", "decoding")  # compared where a plan exchanges the autoencoder
COMPILED = "compile"  # the plan that is tried only if it is asked for: a compiler takes its minute
CAPPED = ("lossless", "fp8")  # plans that are tried with weights that pass through as well
# The recipe of these, of all that a cap may ask for but a small text encoder's. No cap would: the network is too small.
PASSING = Memory(resident_blocks=0, slots=2, mlp_rows=SIDE * SIDE, modulators="host", autoencoder_band=16)

# How far from the core, relative, the worst evaluation may be: in fp32 on a CPU, in fp32 on a GPU, which may round to
# TF32, in bf16, and with eight bits in any of these. Measured, all on a CPU: fp32 5.7e-7, bf16 0.0035, eight bits 0.050
# in products and 0.014 in attention alone. Faults of tests/speed/test_selftest.py: 0.13 (GELU of 1.2 x) and more.
LIMITS = {"fp32": 1e-4, "tf32": 5e-3, "bf16": 0.03}
EIGHT_BIT_LIMIT = 0.1
# Of the fast autoencoder, by what it computes in. Measured on a CPU: 9e-7, and 0.011 in bf16.
AUTOENCODER_LIMITS = {"fp32": 1e-4, "tf32": 5e-3, "bf16": 0.06}

# The name of a technique in a plan's report, and the field of `Plan` that asks for it.
FIELDS = {
    "autoencoder": "autoencoder",
    "attention": "attention",
    "kernels": "kernels",
    "side stream": "side_stream",
    "graph": "graph",
    "tuned products": "tuned",
    "eight-bit products": "eight_bit",
    "eight-bit attention": "attention",
    "compile": "compile",
    "memory": "vram_bytes",
}


@dataclass(frozen=True)
class Measured:
    """How far a plan is from the core: relative, by what was compared, beside what is accepted of each."""

    distances: dict[str, float]
    limits: dict[str, float]
    report: tuple[Applied, ...] = ()
    error: str = ""  # of a technique that raised; its distances are infinite

    @property
    def is_ok(self) -> bool:
        return all(self.distances[where] <= limit for where, limit in self.limits.items())  # false for NaN

    @property
    def worst(self) -> str:
        """What is nearest to its limit, or furthest beyond it."""
        shares = {where: self.distances[where] / limit for where, limit in self.limits.items()}
        return max(shares, key=lambda where: math.inf if math.isnan(shares[where]) else shares[where])


@dataclass(frozen=True)
class Finding:
    """A plan on this device: what it applies here, how far it is from the core, and who is to blame if too far."""

    plan: Plan
    whole: Measured
    suspects: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        return self.whole.is_ok


def check(device: torch.device, dtype: torch.dtype, plans: Sequence[str] = ()) -> Iterator[Finding]:
    """A finding for each plan, those of these names or all but `COMPILED`, as soon as it is made.

    Raises ConfigError for an unknown plan. A device that no longer answers after a fault ends it early.
    """
    known = PLANS | {plan.name: plan for plan in (_capped(PLANS[name]) for name in CAPPED if name in PLANS)}
    for name in plans:
        if name not in known:
            raise ConfigError(f"plan={name!r}: {', '.join(known)} accepted; choose one")
    bench = _Bench(device, dtype)
    for name in plans or [name for name in known if name != COMPILED]:
        found = _of_plan(bench, known[name])
        yield found
        if not found.is_ok and not bench.answers():
            return


def random_pipeline(config: ModelConfig, device: torch.device, dtype: torch.dtype, *, seed: int = 0) -> Pipeline:
    """A model of random weights, which make activations of a usual size: to compute with, not to look at.

    Its text encoder is a small one, whatever the config says.
    """
    width = config.flow.context_in_dim
    sizes = T5Config(vocab_size=384, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    with torch.random.fork_rng(devices=[]), device:
        torch.manual_seed(seed)
        flow, autoencoder, text = FlowTransformer(config.flow), Autoencoder(config.autoencoder), T5Encoder(sizes)
    for module in (flow, text):
        _randomise(module, seed)
    return Pipeline(config, flow.to(dtype), autoencoder, ByteT5(text.to(dtype), config.text.max_length))


def _of_plan(bench: _Bench, plan: Plan) -> Finding:
    bare = _bare(plan)
    begun = bench.measured(bare)
    if not begun.is_ok:
        return Finding(plan, begun, ("engine" if plan.engine else "core",))
    absent = bench.absent(plan)
    techniques = [name for name in FIELDS if _asks(plan, name) and name not in absent]
    if bench.device.type == "cuda":  # where a fault may end all work: then the technique just tried is to blame
        for name in techniques:
            alone = bench.measured(_only(plan, name))
            if alone.error and not bench.answers():
                return Finding(plan, alone, (name,))
    whole = bench.measured(plan)
    if whole.is_ok:
        return Finding(plan, whole)
    guilty = [name for name in techniques if not bench.measured(_only(plan, name)).is_ok]
    if not guilty:  # only together: those without which it is well
        guilty = [name for name in techniques if bench.measured(_without(plan, name)).is_ok] or techniques
    return Finding(plan, whole, tuple(guilty))


def _capped(plan: Plan) -> Plan:
    """The plan with `PASSING` as its recipe, whatever the number of its cap."""
    return replace(plan, name=f"{plan.name} under a cap", graph=False, tuned=False, vram_bytes=1)


def _only(plan: Plan, technique: str) -> Plan:
    name = FIELDS[technique]
    return replace(_bare(plan), **{name: getattr(plan, name)})


def _without(plan: Plan, technique: str) -> Plan:
    name = FIELDS[technique]
    return replace(plan, **{name: getattr(_bare(plan), name)})


def _asks(plan: Plan, technique: str) -> bool:
    """Whether a plan asks for a technique of `FIELDS`."""
    if FIELDS[technique] == "attention":
        return plan.attention == {"attention": "auto", "eight-bit attention": "eight-bit"}[technique]
    return bool(getattr(plan, FIELDS[technique]) != getattr(_bare(plan), FIELDS[technique]))


def _bare(plan: Plan) -> Plan:
    """The plan's network and nothing else of it."""
    return replace(
        plan,
        kernels=False,
        attention="plain",
        eight_bit=False,
        graph=False,
        compile=False,
        side_stream=False,
        tuned=False,
        vram_bytes=None,
        autoencoder="reference",
    )


class _Bench:
    """What every plan computes here, and what the core made of it."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        config = replace(tiny(), flow=FLOW, autoencoder=AUTOENCODER, text=TextConfig(kind="byte_t5", max_length=TEXT))
        self.pipeline = random_pipeline(config, torch.device("cpu"), dtype)
        for part in (self.pipeline.flow, self.pipeline.autoencoder, self.pipeline.text):
            part.to(device)
        self.device = device
        self.kind = "bf16" if dtype == torch.bfloat16 else "fp32" if device.type == "cpu" else "tf32"
        random = partial(torch.randn, generator=torch.Generator().manual_seed(1))
        places = torch.arange(SIDE, dtype=torch.float32)
        grid = torch.cartesian_prod(torch.zeros(1), places, places).to(device)[None]
        inputs = {
            "text": random(1, TEXT, FLOW.context_in_dim),
            "pooled": random(1, FLOW.vec_in_dim or 0),
            "context": random(1, SIDE * SIDE, FLOW.out_channels),
        }
        self.inputs = {name: tensor.to(device, dtype) for name, tensor in inputs.items()}
        self.inputs |= {"positions": grid, "context_positions": grid + torch.tensor([1.0, 0.0, 0.0], device=device)}
        self.inputs["guidance"] = torch.full((1,), 3.5, device=device)
        self.points = [random(1, SIDE * SIDE, FLOW.out_channels).to(device) for _ in TIMES[:-1]]
        self.pixels = random(1, 3, 32, 32).clamp(-1, 1).to(device)
        self.latents = random(1, AUTOENCODER.z_channels, 16, 16).to(device)
        self.expected = self._values(self.pipeline, ("velocity", *PICTURES))
        self.known: dict[Plan, Measured] = {}

    def measured(self, plan: Plan) -> Measured:
        """How far a plan is from the core; what it raises is told in words."""
        key = replace(plan, name="", exactness="lossless")
        if key not in self.known:
            self.known[key] = self._measure(plan)
        return self.known[key]

    def absent(self, plan: Plan) -> set[str]:
        """The techniques of a plan that this device cannot do."""
        try:
            report = self._accelerated(plan).report
        except Exception:  # `measured` tells it, and tries one technique after another
            return set()
        return {line.technique for line in report} - {line.technique for line in report if line.is_applied}

    def _measure(self, plan: Plan) -> Measured:
        is_rounded = plan.eight_bit or plan.attention == "eight-bit"
        limits = {"velocity": EIGHT_BIT_LIMIT if is_rounded else LIMITS[self.kind]}
        if plan.autoencoder == "fast":
            is_narrow = dtype_on(self.device.type, self.pipeline.dtype) == torch.bfloat16
            exact = "tf32" if self.device.type == "mps" else "fp32"
            limits |= dict.fromkeys(PICTURES, AUTOENCODER_LIMITS["bf16" if is_narrow else exact])
        report: tuple[Applied, ...] = ()
        try:
            fast = self._accelerated(plan)
            report = fast.report
            values = self._values(fast.pipeline, limits)
            distances = {where: max(map(_distance, values[where], self.expected[where])) for where in limits}
        except Exception as error:  # a compiler, a driver or a kernel may raise anything, and this is to name it
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            return Measured(dict.fromkeys(limits, math.inf), limits, report, said)
        return Measured(distances, limits, report)

    def _accelerated(self, plan: Plan) -> Accelerated:
        """By a plan; where it has a cap, laid out by `PASSING`, from copies: the pipeline keeps its weights."""
        fast = accelerate(self.pipeline, replace(plan, vram_bytes=None))
        if plan.vram_bytes is not None:
            engine = cast(Engine, fast.pipeline.network)
            said = put(fast.pipeline, engine, *take_back(engine), PASSING, self.device)
            fast.report += (Applied("memory", True, "; ".join(said)),)
        return fast

    def _values(self, pipeline: Pipeline, wanted: Collection[str]) -> dict[str, list[Tensor]]:
        with torch.inference_mode():
            condition = pipeline.network.condition(**self.inputs)
            velocity = pipeline.network.along(condition, TIMES)
            values = {"velocity": [velocity(x, t).cpu() for x, t in zip(self.points, TIMES, strict=False)]}
            if "encoding" in wanted:
                values["encoding"] = [pipeline.autoencoder.encode(self.pixels).cpu()]
                values["decoding"] = [pipeline.autoencoder.decode(self.latents).cpu()]
        return values

    def answers(self) -> bool:
        """Whether the device still computes: after some faults CUDA refuses all work of this process."""
        try:
            return float(torch.ones(1, device=self.device).sum()) == 1
        except RuntimeError:
            return False


def _distance(got: Tensor, expected: Tensor) -> float:
    """Relative; infinite for another shape, NaN where there is one."""
    if got.shape != expected.shape:
        return math.inf
    return float((got.double() - expected.double()).norm() / expected.double().norm())


def _randomise(module: nn.Module, seed: int) -> None:
    """Fill every parameter, so that no gate, norm or modulation is at a value that hides a mistake."""
    device = next(module.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    for parameter in module.parameters():
        scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
        torch.nn.init.normal_(parameter, std=scale, generator=generator)
