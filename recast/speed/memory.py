"""Where things go under a cap on the device's memory, and the peak that follows: recipes as data, by formula alone.

Bytes are those of tensors alive at once in `recast.speed.engine` as it is written, with the weights that are on the
device at that stage, and on CUDA the context of the driver; what the allocator's gaps add is `SPARE`. Letters as in
`recast.cost`, whose formulas serve wherever the engine does as the core does. No torch is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import product
from typing import Literal

from recast import cost
from recast.config import FlowConfig, ModelConfig
from recast.cost import ClipSizes, Request, T5Sizes
from recast.errors import ConfigError, OutOfMemory
from recast.speed.heap import WORTH_PX

CONTEXT_BYTES = 500_000_000  # of a CUDA process before its first tensor; about, by driver and card
SPARE = 0.03  # of a cap, left to gaps between tensors
GRID = 16  # rows of pixels: what a band is a multiple of
HEAP_BYTES, NARROW_BYTES = 37 << 20, 20 << 20  # see `kept_on_host`
TEXT_SLOTS = 2  # layers of a text encoder on the device at once

# What orders recipes, not a forecast: a card of the 4090 class on PCIe 4 x 16. Of its time, a copy that is hidden still
# costs the products beside it a tenth on an H200 (6.45 to 6.92 ms beside one of 4.6 ms); more is assumed, since what is
# copied once a request is to leave the device before what is copied at every step.
FLOPS, BUS_BYTES_S, COPY_DRAG = 140e12, 25e9, 0.25
HALVING, BANDS = 0.01, 0.05  # shares of time: MLP in twice the runs; decoding in bands

Masters = Literal["host", "loading", "kept"]
"""Where the weights are of which a plan makes others: never on the device, on it until these are made, kept on it."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Where things go. The first `resident_blocks` stay on the device, the others pass through `slots`."""

    resident_blocks: int
    slots: int = 3
    mlp_rows: int | None = None  # tokens whose MLP is computed at once; None for all
    text: Literal["resident", "evicted", "streamed"] = "resident"
    modulators: Literal["resident", "host"] = "resident"
    autoencoder_band: int | None = None  # rows of pixels; None for the pipeline's own choice

    def __post_init__(self) -> None:
        for name, least in (("resident_blocks", 0), ("slots", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: a whole number from {least} accepted; pass one")
        if self.mlp_rows is not None and self.mlp_rows < 1:
            raise ConfigError(f"mlp_rows={self.mlp_rows}: a whole number from 1, or None for all, accepted; pass one")
        choices = {"text": ("resident", "evicted", "streamed"), "modulators": ("resident", "host")}
        for name, accepted in choices.items():
            if getattr(self, name) not in accepted:
                raise ConfigError(f"{name}={getattr(self, name)!r}: {', '.join(accepted)} accepted; choose one")

    def __str__(self) -> str:
        return " ".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a plan computes in. Bytes a number, unless a name says otherwise."""

    blocks: float = 2.0  # of the matrices of blocks; 1.0 in eight bits
    item: int = 2  # of what runs through the network
    fused: bool = True  # whether element-wise work is done by kernels, which make no tensor between
    joined: bool = False  # the single blocks' matrices as published
    scores: bool = False  # attention written out, all its scores alive
    graph: bool = False  # a captured evaluation keeps its memory between requests
    modulators: float = 2.0
    text: float = 2.0
    autoencoder: int = 4
    on_cuda: bool = True
    context_kv_bytes: int = 0  # what an approximate option keeps of the context from step to step
    masters: Masters = "host"  # of blocks in eight bits, and of an autoencoder in two bytes

    @property
    def in_rows(self) -> bool:
        """Whether products eat rows of eight bits."""
        return self.blocks < 2 and self.item == 2


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The most bytes of each stage. `load` is the weights alone, with those of which they are made (`Masters`)."""

    load: int
    text: int
    encode: int
    denoise: int
    decode: int

    @property
    def total(self) -> int:
        return max(getattr(self, field.name) for field in fields(self))

    @property
    def stage(self) -> str:
        """The stage that needs the most."""
        return max((field.name for field in fields(self)), key=lambda name: getattr(self, name))


def peak_bytes(config: ModelConfig, request: Request, numbers: Numbers, memory: Memory) -> Peak:
    """What a request needs of the device under a recipe."""
    weights = block_bytes(config.flow, numbers)
    if memory.resident_blocks > len(weights):
        raise ConfigError(f"resident_blocks={memory.resident_blocks}: {len(weights)} at most accepted, all there are")
    fixed = _Fixed.of(config, request, numbers, memory)
    static = _statics(weights, memory.slots)[memory.resident_blocks] + fixed.always
    return Peak(**{field.name: static + getattr(fixed, field.name) for field in fields(Peak)})


def kept_on_host(config: ModelConfig, request: Request, numbers: Numbers) -> int:
    """What a process keeps beside its tensors on a CPU, by the autoencoder of `recast.speed`.

    Of large pictures (`heap.WORTH_PX`) that gives back what lies idle in the heap before each stage at full size, so
    that there is less of it than in `recast.cost.kept_bytes`, which stands for smaller ones: pages of code, Python's
    objects and small holes; in bf16 what the library keeps of products it has compiled; and of the largest block that
    glibc's heap holds half a place, after encoding a whole.
    Measured on `nano`, not derived.
    """
    pictures = [(request.width, request.height), *request.contexts]
    if max(width * height for width, height in pictures) < WORTH_PX:
        return cost.kept_bytes(config, request)
    sizes = cost.heap_blocks(config.autoencoder, pictures, numbers.autoencoder)
    place = max(sizes, default=0)
    narrow = NARROW_BYTES if numbers.autoencoder < 4 else 0
    return HEAP_BYTES + narrow + (place if request.contexts else place // 2)


def fit(config: ModelConfig, request: Request, numbers: Numbers, cap_bytes: float) -> Memory:
    """The least slow recipe whose peak, and `SPARE` of the cap beside it, stays under a cap.

    A smaller cap never gives a recipe of more memory. Raises OutOfMemory if none fits, with the smallest that would.
    """
    statics = _statics(block_bytes(config.flow, numbers), Memory.slots)
    best: tuple[float, int] | None = None
    for rank, (base, fixed) in enumerate(_choices(config, request, numbers)):
        room = cap_bytes * (1 - SPARE) - fixed.most
        count = next((count for count in range(len(statics) - 1, -1, -1) if statics[count] <= room), None)
        if count is None:
            continue
        memory = replace(base, resident_blocks=count)
        order = (slowness(config, request, numbers, memory), rank)
        if best is None or order < best:
            best, found = order, memory
    if best is None:
        least = smallest_bytes(config, request, numbers)
        raise OutOfMemory(
            f"cap of {amount(cap_bytes)}: {request.width}x{request.height} with {len(request.contexts)} context "
            f"picture(s) needs {amount(least)} at the least, everything streamed; a cap from there "
            "accepted, or a smaller size, fewer context pictures or batch_size=1; `recast estimate` says what fits"
        )
    return found


def amount(size: float) -> str:
    """Bytes for people, rounded up: a cap of what is said is enough."""
    unit, name = (1e9, "GB") if size >= 1e8 else (1e6, "MB")
    return f"{math.ceil(100 * size / unit) / 100:.2f} {name}"


def smallest_bytes(config: ModelConfig, request: Request, numbers: Numbers) -> int:
    """The smallest cap under which there is a recipe."""
    statics = _statics(block_bytes(config.flow, numbers), Memory.slots)
    least = min(statics) + min(fixed.most for _, fixed in _choices(config, request, numbers))
    return int(least / (1 - SPARE)) + 1


def slowness(config: ModelConfig, request: Request, numbers: Numbers, memory: Memory) -> float:
    """Seconds that a recipe adds to a picture on the card of `FLOPS`: what orders recipes, no forecast."""
    side = config.pixels_per_token
    target, context = _tokens(request, side)
    step = cost.step_work(config.flow, target=target, text=config.text.max_length, context=context)
    passes = 1 if request.true_guidance == 1.0 else 2
    evaluations = passes * request.evaluations
    computing = step.total / FLOPS
    copying = sum(block_bytes(config.flow, numbers)[memory.resident_blocks :]) / BUS_BYTES_S
    seconds = evaluations * (max(0.0, copying - computing) + COPY_DRAG * copying)
    if memory.mlp_rows is not None:
        seconds += evaluations * computing * HALVING * (target + context + config.text.max_length) / memory.mlp_rows / 2
    if memory.text != "resident":
        seconds += sum(_text_weights(config, numbers)) / BUS_BYTES_S
    if memory.modulators == "host":
        seconds += passes * sum(modulator_bytes(config.flow, numbers)) / BUS_BYTES_S
    if memory.autoencoder_band is not None:
        size = {"width": request.width, "height": request.height}
        seconds += BANDS * cost.decode_work(config.autoencoder, **size).total / FLOPS
    return seconds


# Weights.


def block_bytes(config: FlowConfig, numbers: Numbers) -> list[int]:
    """What each block fills on the device, in order, its modulations left out."""
    d, h, e = config.hidden_size, config.mlp_hidden, config.head_dim
    outputs = 3 * d + d + h + d
    biases = (3 * d if config.qkv_bias else 0) + d + h + d
    scales = 4 * outputs if numbers.blocks < 2 else 0  # one to each output
    stream = int(numbers.blocks * _matrices(config)) + scales + numbers.item * (biases + 2 * e)
    single_biases = (3 * d + h if config.qkv_bias else 0) + d
    single = int(numbers.blocks * _matrices(config)) + scales + numbers.item * (single_biases + 2 * e)
    return [2 * stream] * config.depth + [single] * config.depth_single_blocks


def _matrices(config: FlowConfig) -> int:
    """Numbers in the matrices of one stream: q, k, v, the projection, and both of the MLP."""
    return 4 * config.hidden_size**2 + 2 * config.hidden_size * config.mlp_hidden


def modulator_bytes(config: FlowConfig, numbers: Numbers) -> list[int]:
    """What each modulation fills, in the order of `recast.speed.blocks.modulators_of`."""
    d = config.hidden_size
    widths = [6] * (2 * config.depth) + [3] * config.depth_single_blocks + [2]
    return [int(numbers.modulators * (d + 1) * width * d) for width in widths]


def _text_weights(config: ModelConfig, numbers: Numbers) -> list[int]:
    return [int(numbers.text * sizes.parameters) for sizes, _ in cost.text_encoders(config).values()]


def _stem_bytes(config: FlowConfig, numbers: Numbers) -> int:
    """Stem and head: what is in neither a block nor a modulation."""
    as_one = Numbers(blocks=2.0, item=2, modulators=2.0)
    elsewhere = (sum(block_bytes(config, as_one)) + sum(modulator_bytes(config, as_one))) // 2
    return numbers.item * (cost.flow_parameters(config) - elsewhere)


# What is alive at a stage beside the blocks.


@dataclass(frozen=True)
class _Fixed:
    """What does not change with the number of resident blocks."""

    always: int
    load: int
    text: int
    encode: int
    denoise: int
    decode: int

    @property
    def most(self) -> int:
        return self.always + max(self.load, self.text, self.encode, self.denoise, self.decode)

    @classmethod
    def of(cls, config: ModelConfig, request: Request, numbers: Numbers, memory: Memory) -> _Fixed:
        modulators = modulator_bytes(config.flow, numbers)
        own = config.autoencoder
        always = _stem_bytes(config.flow, numbers) + numbers.autoencoder * cost.autoencoder_parameters(own)
        always += CONTEXT_BYTES if numbers.on_cuda else 0
        always += sum(modulators) if memory.modulators == "resident" else 0
        staying, passing, alive = _text_bytes(config, request, numbers, memory)
        rows, item = memory.autoencoder_band, numbers.autoencoder
        encode = max(
            (cost.encode_bytes(own, width=w, height=h, rows=rows, item=item) for w, h in request.contexts), default=0
        )
        decode = cost.decode_bytes(own, width=request.width, height=request.height, rows=rows, item=item)
        working, kept = engine_step_bytes(config, request, numbers, memory)
        modulating = 0 if memory.modulators == "resident" else 3 * max(modulators)
        captured = working if numbers.graph else 0
        kept_masters = sum(_masters(config, numbers)) if numbers.masters == "kept" else 0
        is_cached = config.flow.context_attention == "cached"
        return cls(
            always=always + staying + kept_masters,
            load=_loading(config, numbers),
            text=captured + passing + alive,
            encode=captured + encode,
            denoise=kept + max(working, modulating),
            decode=captured + decode + (kept if is_cached else 0),
        )


def _statics(weights: list[int], slots: int) -> list[int]:
    """Blocks and slots on the device, by how many of the first blocks stay there."""
    found = []
    for count in range(len(weights) + 1):
        passing = weights[count:]
        found.append(sum(weights[:count]) + min(slots, len(passing)) * max(passing, default=0))
    return found


def engine_step_bytes(config: ModelConfig, request: Request, numbers: Numbers, memory: Memory) -> tuple[int, int]:
    """(working, kept): the most an evaluation of the engine has alive, and what lives from step to step.

    Four moments are compared, each in bytes to a number of width d: where q, k, v are there and a residual is left
    and entered; where q and k are turned; attention; and the MLP, whose middle is there before and after GELU.
    """
    flow = config.flow
    d, item = flow.hidden_size, numbers.item
    target, context = _tokens(request, config.pixels_per_token)
    text, batch = config.text.max_length, min(request.batch_size, request.num_images)
    is_cached = flow.context_attention == "cached"
    rows = target + text + (0 if is_cached else context)
    keys = rows + (context if is_cached else 0)
    ratio = flow.mlp_hidden / d
    entered = 1 + 4 / d if numbers.in_rows else item  # bytes of a normed number: itself, or an eighth-bit row's share
    between = 0 if numbers.fused else item  # the norm, before it is modulated
    turned = 0 if numbers.fused else 2 * item + 4 + (4 if item < 4 else -item)
    share = 1.0 if memory.mlp_rows is None else min(1.0, memory.mlp_rows / rows)
    hidden = share * ratio * (item + (1 if numbers.in_rows else item))
    moments = [
        3 * item
        + item * text / rows
        + (3 * item + between + entered) * (rows - text) / rows,  # the image's, in doubles
        item + entered + 3 * item + turned,
        item + entered + 4 * item + 2 * item * (keys - rows + (keys if is_cached and context else 0)) / rows,
        (2 if share == 1.0 else 3) * item + entered + hidden,
    ]
    if numbers.joined:
        moments.append(item * (4 + 1 + 2 * ratio))
    if numbers.scores:  # q scaled, and the scores before and after the softmax, of one sample
        scores = 2 * flow.num_heads * keys / d + 1
        moments.append(item + entered + 4 * item + item * scores / batch)
    working = int(batch * rows * d * max(moments))
    kept = cost.step_bytes(flow, target=0, text=0, context=0, item=item)  # nothing but what the formula always counts
    passes = 1 if request.true_guidance == 1.0 else 2
    blocks = flow.depth + flow.depth_single_blocks
    kept += (passes * text + (2 * blocks if is_cached else 1) * context) * d * item
    kept += rows * flow.head_dim // 2 * 8  # rotary positions, complex64
    kept += passes * request.evaluations * (12 * flow.depth + 3 * flow.depth_single_blocks + 2) * d * item
    kept += 4 * batch * target * flow.out_channels * 4  # x, its successor, two velocities: always fp32
    kept += numbers.context_kv_bytes
    return working, kept


def _text_bytes(config: ModelConfig, request: Request, numbers: Numbers, memory: Memory) -> tuple[int, int, int]:
    """(staying, passing, alive): weights of text encoders always there, those there while encoding, and tensors."""
    encoders = list(cost.text_encoders(config).values())
    alive = max(_encoding(sizes, tokens, numbers) for sizes, tokens in encoders)
    whole = sum(_text_weights(config, numbers))
    if memory.text == "resident":
        return whole, 0, alive
    if memory.text == "evicted":
        return 0, whole, alive
    layers = [sizes for sizes, _ in encoders if isinstance(sizes, T5Sizes)]
    streamed = sum(sizes.num_layers * (sizes.per_layer + 2 * sizes.d_model) for sizes in layers)
    slots = sum(min(TEXT_SLOTS, sizes.num_layers) * (sizes.per_layer + 2 * sizes.d_model) for sizes in layers)
    return 0, whole - int(numbers.text * (streamed - slots)), alive


def _encoding(sizes: T5Sizes | ClipSizes, tokens: int, numbers: Numbers) -> int:
    """Scores in fp32, with the position bias, their sum and their softmax; or the gated MLP."""
    if isinstance(sizes, ClipSizes):
        return int(numbers.text * tokens * 4 * sizes.width * 3)
    scores = 4 * sizes.num_heads * tokens**2 * 4
    return max(scores, int(numbers.text * tokens * sizes.d_ff * 4)) + int(numbers.text * tokens * sizes.d_model * 6)


def _masters(config: ModelConfig, numbers: Numbers) -> tuple[int, int]:
    """The weights of which the plan makes others: matrices of blocks, and the autoencoder."""
    flow = config.flow
    matrices = (2 * flow.depth + flow.depth_single_blocks) * _matrices(flow) if numbers.blocks < numbers.item else 0
    autoencoder = cost.autoencoder_parameters(config.autoencoder) if numbers.autoencoder < 4 else 0
    return numbers.item * matrices, 4 * autoencoder


def _loading(config: ModelConfig, numbers: Numbers) -> int:
    """What masters that go add while the plan's own weights are made: all of them, and the first new block."""
    if numbers.masters != "loading":
        return 0
    blocks, autoencoder = _masters(config, numbers)
    made = block_bytes(config.flow, numbers)
    return autoencoder + (max(made) + blocks - sum(made) if blocks else 0)


def _tokens(request: Request, side: int) -> tuple[int, int]:
    context = sum(width // side * (height // side) for width, height in request.contexts)
    return request.width // side * (request.height // side), context


@lru_cache(maxsize=16)
def _choices(config: ModelConfig, request: Request, numbers: Numbers) -> tuple[tuple[Memory, _Fixed], ...]:
    """Every recipe but for the number of resident blocks, in the order in which equals are preferred."""
    target, context = _tokens(request, config.pixels_per_token)
    rows = target + context + config.text.max_length
    bands = [None] + [band for band in (128, 4 * GRID, 2 * GRID) if band < request.height]
    runs = [None, *(-(-rows // parts) for parts in (2, 4, 8))]
    found = []
    for run, band, modulators, text in product(runs, bands, ("resident", "host"), ("resident", "evicted", "streamed")):
        memory = Memory(
            resident_blocks=0,
            mlp_rows=run,
            text=text,  # type: ignore[arg-type]
            modulators=modulators,  # type: ignore[arg-type]
            autoencoder_band=band,
        )
        found.append((memory, _Fixed.of(config, request, numbers, memory)))
    return tuple(found)
