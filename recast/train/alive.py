"""The bytes that a training step of a flow transformer keeps alive, block by block, from a config alone.

Widths are multiples of d, per token. What a block keeps for its backward pass is read off `recast.flow.layers` as it
is written and run eagerly; compiled blocks keep less. In bf16 it is as CUDA's autocast has it: norms read and write
fp32, so a copy of what they read is kept beside it. Not in it: what an allocator's gaps and a library's workspace add.

Letters: `d` width, `n` target tokens, `m` text tokens, `r` context tokens, `ratio` of an MLP's inner width to d.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from recast.config import FlowConfig
from recast.cost import flow_parameters
from recast.train.settings import Checkpointing, Precision

Part = Literal["image", "text", "single"]
WIDE = 4
"""Bytes of a number in fp32."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What goes through the transformer at once in one process, and how."""

    target: int  # tokens
    text: int
    context: int = 0
    batch: int = 1
    precision: Precision = "bf16"
    checkpointing: Checkpointing = "none"
    lora_rank: int | None = None  # of adapters in the usual places, on a base kept in `precision`; None trains all
    tensor: int = 1  # processes that share heads and inner widths
    cut: int = 1  # processes that share the sequence
    sharded: bool = False  # whether weights are gathered block by block

    @property
    def trains_all(self) -> bool:
        return self.lora_rank is None

    @property
    def item(self) -> int:
        """Bytes of a number in a product."""
        return WIDE if self.precision == "fp32" else 2


class Kept(NamedTuple):
    """Something that a block keeps for its backward pass."""

    what: str
    widths: float  # per token
    item: int  # bytes of a number
    is_shared: bool = False  # whether tensor parallel shares it out
    needs_all_rows: bool = True  # False: of the last block, of the target's tokens alone


def kept(part: Part, config: FlowConfig, step: Step) -> list[Kept]:
    """What one stream of a double block, or a single block, keeps of each token without checkpointing."""
    item, halves, ratio = step.item, step.precision == "bf16", config.mlp_ratio
    norm = [Kept("input of the norm", 1, WIDE), Kept("into the matrix", 1, item)]
    if step.trains_all:  # the gradient of a modulation needs what it was applied to
        norm.append(Kept("normed", 1, WIDE))
    heads = [Kept("q, k rotated", 2, item, True)]
    if halves:
        heads.append(Kept("q, k in fp32", 2, WIDE, True))
    if step.trains_all:  # and so does that of a norm's scale
        heads.append(Kept("q, k normed", 2, WIDE, True))
    if part == "single":
        found = [
            *norm,
            *heads,
            Kept("q, k, v and the MLP's inside", 3 + ratio, item, True),
            Kept("attended", 1, item, True, False),
            Kept("attended and GELU", 1 + ratio, item, True, False),
        ]
        return found + ([Kept("update", 1, item, False, False)] if step.trains_all else _low_rank(5, config, step))
    found = [
        *norm,
        *norm,
        *heads,
        Kept("q, k, v", 3, item, True),
        Kept("v of both streams", 1, item, True),
        Kept("attended", 1, item, True),
        Kept("attended, of one stream", 1, item, True),
        Kept("the MLP's inside, before and after GELU", 2 * ratio, item, True),
    ]
    return found + ([Kept("updates of attention and MLP", 2, item)] if step.trains_all else _low_rank(6, config, step))


def kept_under_checkpointing(part: Part, config: FlowConfig, step: Step) -> list[Kept]:
    """The same with checkpointing: the input, and what `activations` keeps of attention and of every second product."""
    found = [Kept("input", 1, step.item)]
    if step.checkpointing == "selective":
        found.append(Kept("attended", 1, step.item, True))
        products = {
            "text": [Kept("q, k, v", 3, step.item, True), Kept("updates", 2, step.item)],
            "image": [Kept("the MLP's inside", config.mlp_ratio, step.item, True)],
            "single": [Kept("update", 1, step.item)],
        }
        found += products[part] * (1 if step.trains_all else 2)  # an adapter's second product is kept too
    return found


def adapter_parameters(config: FlowConfig, rank: int) -> int:
    """Parameters of adapters on attention and MLPs, the usual places: a pair for each matrix that diffusers names."""
    stream, single = adapter_sizes(config, rank)
    return 2 * config.depth * stream + config.depth_single_blocks * single


def adapter_sizes(config: FlowConfig, rank: int) -> tuple[int, int]:
    """Parameters of the adapters of one stream of a double block, and of a single block."""
    d, h = config.hidden_size, config.mlp_hidden
    attention = 3 * rank * (d + d)
    return attention + rank * (d + d) + 2 * rank * (d + h), attention + rank * (d + h) + rank * (d + h + d)


def _low_rank(pairs: int, config: FlowConfig, step: Step) -> list[Kept]:
    return [Kept("between the matrices of adapters", pairs * (step.lora_rank or 0) / config.hidden_size, step.item)]


class Block(NamedTuple):
    """One block of the transformer, in bytes."""

    kept: float  # from its forward to its backward pass
    whole: float  # during its backward pass, before gradients
    gradients_alive: float  # of activations, at the worst moment of its backward pass
    parameters: int


class Moment(NamedTuple):
    """Bytes alive beside weights, optimiser state and averages."""

    name: str
    activations: float
    gradients: float
    gathered: float  # bf16 copies of weights; or weights gathered from shards, and gradients on their way there

    @property
    def total(self) -> float:
        return self.activations + self.gradients + self.gathered


def moments(
    config: FlowConfig, step: Step, *, gradient_bytes: float, gathered_item: int, held: bool = False
) -> list[Moment]:
    """The moments of one forward and backward pass that can be the worst.

    gradient_bytes: of all that is trained, in this process. gathered_item: bytes of a number of a block that is
    gathered from shards. held: whether gradients of an earlier pass are there from the start.
    """
    stem, blocks = _stem(config, step), _blocks(config, step)
    before = stem + sum(block.kept for block in blocks)
    largest = max(block.parameters for block in blocks) / step.tensor
    has_copies = step.trains_all and step.precision == "bf16" and not step.sharded
    gathered = left = 0.0
    if has_copies:  # autocast keeps them all to the end of the forward pass
        gathered = 2.0 * sum(block.parameters for block in blocks) / step.tensor
        left = gathered if step.checkpointing == "none" else 2.0 * largest
    elif step.sharded:  # a block and the next one, and a gradient on its way to its shards, in both precisions
        gathered = left = largest * (2 * gathered_item + (gathered_item + WIDE) * step.trains_all)
    found = [Moment("end of the forward pass", before, gradient_bytes * held, gathered)]
    each_parameter, gradients = gradient_bytes / flow_parameters(config), gradient_bytes * held
    for block in reversed(blocks):
        before -= block.kept
        alive = before + block.whole + block.gradients_alive
        found.append(Moment("backward pass of a block", alive, gradients, left))
        gradients = min(gradient_bytes, gradients + block.parameters * each_parameter)
        if has_copies and step.checkpointing == "none":
            left -= 2.0 * block.parameters / step.tensor
    waits = largest * step.tensor * each_parameter if config.context_attention == "cached" else 0.0
    # in cached mode each matrix is used twice, and one gradient waits for the other
    found.append(Moment("end of the backward pass", stem, gradient_bytes + waits, 0.0))
    return found


def block_parameters(config: FlowConfig) -> tuple[int, int]:
    """Parameters of a double and of a single block."""
    one = flow_parameters(replace(config, depth=1, depth_single_blocks=1))
    double = flow_parameters(replace(config, depth=2, depth_single_blocks=1)) - one
    return double, flow_parameters(replace(config, depth=1, depth_single_blocks=2)) - one


def _blocks(config: FlowConfig, step: Step) -> list[Block]:
    ratio, double, single = config.mlp_ratio, *block_parameters(config)
    is_cached = config.context_attention == "cached"
    image = step.target + (0 if is_cached else step.context)
    rows = image + step.text
    apart = step.context if is_cached else 0  # rows of the context's own pass through the block

    def block(parts: list[tuple[Part, int]], parameters: int, target: int | None = None) -> Block:
        whole = sum(_bytes(config, kept(part, config, step), count, target, step) for part, count in parts)
        held = whole
        if step.checkpointing != "none":
            held = sum(
                _bytes(config, kept_under_checkpointing(part, config, step), count, None, step) for part, count in parts
            )
        is_single = parts[0][0] == "single"
        if apart:  # keys and values of rows and context side by side; values lie inside the product they come from
            product = 3 + ratio if is_single else 3
            side_by_side = [Kept("keys and values side by side", 2, step.item, True)]
            cache = [Kept("keys, and the product with the values", 1 + product, step.item, True)]
            whole += _bytes(config, side_by_side, rows + apart, None, step)
            held = whole if step.checkpointing == "none" else held + _bytes(config, cache, apart, None, step)
        gradients = _bytes(config, [Kept("of the output", 1, step.item)], rows, None, step)
        inside = [Kept("of the MLP's inside", 2 + ratio if is_single else ratio, step.item, True)]
        gradients += _bytes(config, inside, rows if is_single else image, None, step)
        return Block(held, whole, gradients, parameters)

    doubles = [block([("text", step.text), ("image", image + apart)], double)] * config.depth
    singles = [block([("single", rows + apart)], single)] * (config.depth_single_blocks - 1)
    return [*doubles, *singles, block([("single", rows + apart)], single, step.target + apart)]


def _bytes(config: FlowConfig, items: list[Kept], rows: int, target: int | None, step: Step) -> float:
    """Of these items for `rows` tokens of every sample; target: how many of them the last block reads."""
    total = 0.0
    for each in items:
        counted = rows if target is None or each.needs_all_rows else target
        total += each.widths * each.item / (step.tensor if each.is_shared else 1) * counted
    return total * config.hidden_size * step.batch / step.cut


def _stem(config: FlowConfig, step: Step) -> float:
    """The sequence before it is embedded, the target's way out, the velocity's error, and rotary positions."""
    d, n = config.hidden_size, step.target
    embedded = (n + step.context) * config.in_channels * step.item + step.text * config.context_in_dim * step.item
    out = n * d * (WIDE + step.item + WIDE * step.trains_all)
    tokens = 2 * n * config.out_channels * WIDE
    rotary = (n + step.text + step.context) * config.head_dim // 2 * 8
    return step.batch * (embedded + out + tokens + rotary) / step.cut
