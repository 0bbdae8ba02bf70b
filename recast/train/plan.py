"""What fits on which hardware, and how long it takes: arithmetic, before anything is bought or loaded.

Work is counted by `recast.cost`, memory by `recast.train.alive`. Time is work over a stated share of the device's
peak: an assumption, named in every plan, and the one number here that only a run can tell.
Source of the memory of weights and optimiser: Rajbhandari et al. 2020 (arXiv 1910.02054), section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from recast import cost
from recast.config import FlowConfig, ModelConfig
from recast.errors import ConfigError
from recast.train.alive import WIDE, Moment, Step, adapter_parameters, adapter_sizes, moments
from recast.train.data.example import Shape
from recast.train.hardware import Device
from recast.train.passes import ENCODE_PX
from recast.train.settings import Checkpointing, Parallel, Precision

GIB = 2**30
LARGE_WIDTH, UTILISATION, UTILISATION_SMALL = 1024, 0.40, 0.14
"""The share of a peak that a step is taken to reach: 40 % for transformers at least this wide and for CPUs; 14 % for
smaller ones on accelerators, which is what `nano` of 320 reached on an H200 (138 of 989 TFLOP/s)."""
RESERVED_GIB = 1.0
"""Of a device's memory: what the driver and the libraries keep for themselves."""
SHARDS = (1, 2, 4, 8, 16, 32, 64)
CHECKPOINTING: tuple[Checkpointing, ...] = ("none", "selective", "full")
BATCH_LIMIT = 1024


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a transformer is trained."""

    lora_rank: int | None = None  # None: all of it; its byte encoder of text, if it has one, too, or
    trains_text: bool = True  # False: the transformer alone
    precision: Precision = "bf16"
    checkpointing: Checkpointing = "none"
    batch: int = 1  # examples at once in one part of the data
    accumulate: int = 1
    optimiser: Literal["adamw", "muon"] = "adamw"
    utilisation: float | None = None  # None: as the constants above say

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate"):
            if not _is_count(getattr(self, name)):
                raise ConfigError(f"{name}={getattr(self, name)!r}: a whole number from 1 accepted")
        if self.lora_rank is not None and not _is_count(self.lora_rank):
            raise ConfigError(f"lora_rank={self.lora_rank!r}: a whole number from 1 accepted, or none for all weights")
        if self.utilisation is not None and not 0 < self.utilisation <= 1:
            raise ConfigError(f"utilisation={self.utilisation}: a share of the peak, above 0 and to 1, accepted")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1  # True and 1.5 count nothing


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one process holds, and what one step costs."""

    model: str
    hardware: Device
    parallel: Parallel
    method: Method
    memory_gib: dict[str, float] = field(default_factory=dict)  # by part, at the worst moment
    moment: str  # which it is
    model_flops: float  # one step of one part of the data: forward and backward passes
    executed_flops: float  # with what is computed again, and the frozen encoders
    utilisation: float  # of the peak, by the executed FLOPs: assumed

    @property
    def peak_gib(self) -> float:
        return sum(self.memory_gib.values())

    @property
    def room_gib(self) -> float:
        return self.hardware.memory_gib - RESERVED_GIB

    @property
    def fits(self) -> bool:
        return self.peak_gib <= self.room_gib

    @property
    def seconds(self) -> float:
        """Of one step."""
        sharers = self.parallel.tensor * self.parallel.context
        return self.executed_flops / sharers / (self.hardware.peak_tflops * 1e12 * self.utilisation)

    @property
    def examples_s(self) -> float:
        """Of all processes together."""
        return self.method.batch * self.method.accumulate * self.parallel.data / self.seconds

    @property
    def mfu(self) -> float:
        """Model FLOPs utilisation: without what is computed again."""
        return self.utilisation * self.model_flops / self.executed_flops


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The least layout that fits a device, and why smaller ones do not; chosen is None where none does."""

    chosen: Plan | None
    refused: list[Plan]


def plan(model: ModelConfig, shape: Shape, parallel: Parallel, hardware: Device, method: Method | None = None) -> Plan:
    """Memory by part, work and time of training a flow transformer on examples of one shape.

    Raises ConfigError for a shape that is no whole number of tokens.
    """
    method = method or Method()
    flow, wide = model.flow, method.precision == "fp32"
    target, *contexts = (tokens_of(model, size) for size in (shape.target, *shape.contexts))
    step = Step(
        target=target,
        text=model.text.max_length,
        context=sum(contexts),
        batch=method.batch,
        precision=method.precision,
        checkpointing=method.checkpointing,
        lora_rank=method.lora_rank,
        tensor=parallel.tensor,
        cut=parallel.context,
        sharded=parallel.shard * parallel.context > 1,
    )
    total = cost.flow_parameters(flow)
    trained = total if method.lora_rank is None else adapter_parameters(flow, method.lora_rank)
    parts = parallel.shard * parallel.context * parallel.tensor  # that weights and all that follows them are cut into
    item = WIDE if wide or method.lora_rank is None else 2
    gradients = WIDE * trained / parts
    held = method.accumulate > 1
    found = moments(flow, step, gradient_bytes=gradients, gathered_item=WIDE if wide else 2, held=held)
    found.append(Moment("encoding of pictures", _encode_bytes(model, shape, method), gradients * held, 0.0))
    worst = max(found, key=lambda moment: moment.total)
    beside, frozen = _encoders(model, method)
    states = _state_bytes(flow, method) * trained / parts
    memory = {
        "weights": item * total / parts + (WIDE * trained / parts if method.lora_rank is not None else 0),
        "optimiser": states + 8 * beside,
        "average": WIDE * trained / parts + 4 * beside,
        "encoders": frozen + 8 * beside,  # of those trained, the weights and the gradients
        "gradients": worst.gradients,
        "gathered weights": worst.gathered,
        "activations": worst.activations,
    }
    forward = _work(model, step, shape)
    again = _again(flow, method.checkpointing)
    model_flops = _model_flops(forward, method, flow, step)
    executed = model_flops + again * forward.linear + (method.checkpointing == "full") * forward.attention
    executed += _encoding(model, shape, method)
    is_full = flow.hidden_size >= LARGE_WIDTH or hardware.is_cpu
    return Plan(
        model=model.name,
        hardware=hardware,
        parallel=parallel,
        method=method,
        memory_gib={name: size / GIB for name, size in memory.items()},
        moment=worst.name,
        model_flops=model_flops * method.accumulate,
        executed_flops=executed * method.accumulate,
        utilisation=method.utilisation or (UTILISATION if is_full else UTILISATION_SMALL),
    )


def advise(
    model: ModelConfig,
    shape: Shape,
    hardware: Device,
    method: Method | None = None,
    *,
    examples: int | None = None,
    checkpointing: Checkpointing | None = None,
) -> Advice:
    """The least layout that fits: fewest devices first, then least computed again, then the largest batch.

    Layouts are shards (FSDP2) by kinds of checkpointing, of a CPU one process; `method.batch` examples a device must
    fit. examples: that a step takes, all devices together, if that is settled: then a device takes its part of them at
    once (in `method.accumulate` batches), or, where that does not fit, in as few batches as it must. checkpointing: the
    one kind to look at, if that is settled.
    """
    method = method or Method()
    refused: list[Plan] = []
    for shard in SHARDS[:1] if hardware.is_cpu else SHARDS:
        if examples is not None and examples % shard:
            continue
        for kind in CHECKPOINTING if checkpointing is None else (checkpointing,):
            for each in [method] if examples is None else _parts(method, examples // shard):
                made = plan(model, shape, Parallel(shard=shard), hardware, replace(each, checkpointing=kind))
                if made.fits:
                    return Advice(chosen=_fullest(model, shape, made) if examples is None else made, refused=refused)
            refused.append(made)
    return Advice(chosen=None, refused=refused)


# Memory.


def _encode_bytes(model: ModelConfig, shape: Shape, method: Method) -> float:
    sizes = [shape.target, *shape.contexts]
    item = 1.0 if method.precision == "fp32" else 0.5
    return item * max(
        min(method.batch, max(1, ENCODE_PX // (w * h))) * cost.encode_bytes(model.autoencoder, width=w, height=h)
        for w, h in sizes
    )


def _encoders(model: ModelConfig, method: Method) -> tuple[int, float]:
    """Parameters of the encoders that are trained too, and the bytes of all that are not."""
    frozen = 4.0 * cost.autoencoder_parameters(model.autoencoder)
    text = sum(sizes.parameters for sizes, _ in cost.text_encoders(model).values())
    if _trains_text(model, method):
        return text, frozen
    return 0, frozen + (2 if method.precision == "bf16" else 4) * text


def _trains_text(model: ModelConfig, method: Method) -> bool:
    return method.trains_text and model.text.kind == "byte_t5" and method.lora_rank is None


def _state_bytes(config: FlowConfig, method: Method) -> float:
    """Bytes an optimiser keeps of each parameter: two moments, or of Muon's matrices one."""
    if method.optimiser == "adamw" or method.lora_rank is not None:
        return 2 * WIDE
    d, h = config.hidden_size, config.mlp_hidden
    matrices = config.depth * 2 * (4 * d * d + 2 * d * h) + config.depth_single_blocks * (4 * d * d + 2 * d * h)
    return WIDE * (2 - matrices / cost.flow_parameters(config))


# Work.


def tokens_of(model: ModelConfig, size: tuple[int, int]) -> int:
    """Of a picture of (width, height). Raises ConfigError for a size that is no whole number of them."""
    side, (width, height) = model.pixels_per_token, size
    if width % side or height % side or min(size) <= 0:
        raise ConfigError(f"size={width}x{height}: multiples of {side} accepted; try 1024x1024")
    return width // side * (height // side)


def _work(model: ModelConfig, step: Step, shape: Shape) -> cost.Work:
    """One forward pass of a batch."""
    counts = {"text": step.text, "context": step.context}
    once = cost.step_work(model.flow, target=step.target, **counts).plus(cost.condition_work(model.flow, **counts))
    return once.times(step.batch)


def _model_flops(forward: cost.Work, method: Method, flow: FlowConfig, step: Step) -> float:
    """Forward and backward passes. A frozen matrix has no gradient of its own; the pairs of adapters have."""
    if method.lora_rank is None:
        return 3.0 * forward.total
    stream, single = adapter_sizes(flow, method.lora_rank)
    rows = step.target + step.text + step.context  # each stream's adapters see its own
    pairs = step.batch * rows * (flow.depth * stream + flow.depth_single_blocks * single)
    return 2.0 * forward.linear + 3.0 * forward.attention + 6.0 * pairs


def _again(flow: FlowConfig, kind: Checkpointing) -> float:
    """The share of a forward pass's matrix products that is computed again."""
    if kind != "selective":
        return float(kind == "full")
    ratio, doubles, singles = flow.mlp_ratio, flow.depth, flow.depth_single_blocks
    of_double, of_single = (4 + ratio) / (4 + 2 * ratio), (3 + ratio) / (4 + 2 * ratio)  # of image rows: all but `up`
    return (doubles * of_double + singles * of_single) / (doubles + singles)


def _encoding(model: ModelConfig, shape: Shape, method: Method) -> float:
    """FLOPs of encoding pictures and text."""
    sizes = (shape.target, *shape.contexts)
    pictures = sum(cost.encode_work(model.autoencoder, width=w, height=h).total for w, h in sizes)
    text = sum(sizes.flops(tokens) for sizes, tokens in cost.text_encoders(model).values())
    return float(method.batch * (pictures + (3 if _trains_text(model, method) else 1) * text))


# Advice.


def _parts(method: Method, examples: int) -> list[Method]:
    """The ways to take so many examples in batches of one size: as many as the method says, then the fewest first."""
    small = [count for count in range(1, math.isqrt(examples) + 1) if examples % count == 0]
    counts = sorted({*small, *(examples // count for count in small)}, key=lambda n: (n != method.accumulate, n))
    return [replace(method, batch=examples // count, accumulate=count) for count in counts]


def _fullest(model: ModelConfig, shape: Shape, made: Plan) -> Plan:
    """The same layout with the largest batch that fits, a power of two times the method's."""
    while made.method.batch * 2 <= BATCH_LIMIT:
        larger = replace(made.method, batch=2 * made.method.batch)
        found = plan(model, shape, made.parallel, made.hardware, larger)
        if not found.fits:
            break
        made = found
    return made
