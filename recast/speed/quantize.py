"""The products of the blocks in eight bits: near-lossless, at about twice the rate of bf16 on a GPU that has them.

y[i, j] = a[i] w[j] sum_l x8[i, l] W8[j, l] + bias[j]: rows of activations are rounded as they come, each to a scale
of its own, a[i] = max |x[i]| / 448; weights once, each output to its own w[j]. float8_e4m3fn keeps four significant
bits, so a number moves by 1/16 of itself at most, and one of many different ones by 2.6 % (root mean square).
Modulations, stem, head and norms stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.speed.blocks import Block, Double, Single, Stream
from recast.speed.linear import Linear, Plain, Rows
from recast.speed.ops import Plain as PlainOps

log = logging.getLogger(__name__)

KINDS = ("qkv", "proj", "mlp_in", "mlp_out")
MULTIPLE = 16  # of both widths: what the kernels of the GPU take
FIRST_CAPABILITY = (8, 9)  # Ada; Hopper is (9, 0)


@dataclass(frozen=True)
class EightBit:
    """A linear layer with both factors in eight bits.

    Where the device has a kernel for it, and the layer's numbers are bf16, the product is one call that accumulates
    in the fast way of the tensor cores, about 14 bits; elsewhere the same eight-bit numbers are multiplied in fp32,
    so that the error of the format is the true one, and can be measured without such a device.
    """

    weight: Tensor  # (o, d) float8_e4m3fn
    scale: Tensor  # (1, o) fp32
    bias: Tensor | None  # (o,)
    dtype: torch.dtype  # of what comes out
    eats_rows: bool = True  # False: it is given a tensor, because a neighbour that shares the norm needs one

    @staticmethod
    def of(layer: Plain) -> EightBit:
        """The layer rounded: each output's largest weight becomes 448."""
        rows = PlainOps().to_rows(layer.weight)
        return EightBit(rows.values, rows.scale.reshape(1, -1), layer.bias, layer.weight.dtype)

    def fill(self, layer: Plain) -> None:
        """Take over the weights of another layer of this shape, in place: what holds this storage goes on with it."""
        fresh = EightBit.of(layer)
        if fresh.weight.shape != self.weight.shape or (fresh.bias is None) != (self.bias is None):
            raise ConfigError(
                f"layer: weights {tuple(self.weight.shape)} with the bias as it is accepted; got "
                f"{tuple(fresh.weight.shape)}; pass the layer that this one was made from"
            )
        self.weight.copy_(fresh.weight)
        self.scale.copy_(fresh.scale)
        if self.bias is not None and fresh.bias is not None:
            self.bias.copy_(fresh.bias)

    def __call__(self, x: Tensor | Rows, out: Tensor | None = None) -> Tensor:
        rows = x if isinstance(x, Rows) else PlainOps().to_rows(x)
        values, scale = rows.values.flatten(0, 1), rows.scale.flatten(0, 1)
        if out is not None and out.is_contiguous() and out.dtype == self.dtype:
            self._product(values, scale, out.flatten(0, 1))
            return out
        made = self._product(values, scale).unflatten(0, rows.values.shape[:2])
        return made if out is None else out.copy_(made)

    def add_to(self, total: Tensor, x: Tensor | Rows) -> Tensor:
        """The kernel has no accumulator to start from: one more pass adds."""
        assert self.bias is None, "the bias belongs to the product that comes first"
        return total.add_(self(x))

    def outputs(self, first: int, last: int) -> EightBit:
        bias = None if self.bias is None else self.bias[first:last]
        return replace(self, weight=self.weight[first:last], scale=self.scale[:, first:last], bias=bias)

    def _product(self, values: Tensor, scale: Tensor, out: Tensor | None = None) -> Tensor:
        if self.dtype == torch.bfloat16 and missing(self.weight.device) is None:
            return scaled_product(values, scale, self.weight, self.scale, self.bias, out)
        made = (values.float() @ self.weight.float().t()).mul_(scale).mul_(self.scale)
        made = (made if self.bias is None else made.add_(self.bias)).to(self.dtype)
        return made if out is None else out.copy_(made)


def missing(device: torch.device) -> str | None:
    """Why there is no eight-bit product on this device; None where there is one."""
    if device.type != "cuda":
        return f"the device is {device.type}; eight-bit products run on CUDA"
    major, minor = _capability(device.index)
    if (major, minor) < FIRST_CAPABILITY:
        return f"eight-bit products need compute capability 8.9; this device has {major}.{minor}"
    return None


def scaled_product(
    values: Tensor, scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, out: Tensor | None = None
) -> Tensor:
    """The library's kernel: values (n, d), scale (n, 1), weight (o, d), weight_scale (1, o), bias (o,); (n, o) bf16.

    It takes the second factor by columns, which a transposed view is. out: (n, o) bf16, rows one after another.
    """
    made: Tensor = torch._scaled_mm(
        values.contiguous(),
        weight.t(),
        scale_a=scale.contiguous(),
        scale_b=weight_scale,
        bias=bias,
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
        out=out,
    )
    return made


def quantised(
    blocks: list[Block], *, keep: Collection[str] = (), text: bool = True, is_emptied: bool = False
) -> list[Block]:
    """The blocks with qkv, proj, mlp_in and mlp_out in eight bits, but for those that `stays` names.

    keep: names like "double.3.image.mlp_out" and "single.12.proj", see `layer_names`. text: whether the text streams
    of the double blocks are rounded too; with 512 rows eight bits gain little or nothing on Hopper. is_emptied: whether
    `blocks` loses each once it is rounded, so that its memory is free before the next.
    Raises ConfigError for a name that no layer has, and for single blocks with both outputs in one matrix.
    """
    staying = stays(blocks, keep=keep, text=text)

    def each(name: str, layer: Linear) -> Linear:
        return EightBit.of(layer) if name not in staying and isinstance(layer, Plain) else layer

    log.info("eight_bit layers=%d kept=%d", len(layer_names(blocks)) - len(staying), len(staying))
    return replaced(blocks, each, is_emptied=is_emptied)


def stays(blocks: list[Block], *, keep: Collection[str] = (), text: bool = True) -> dict[str, str]:
    """The layers that `quantised` leaves as they are, and why: asked for, of a text stream, or a width."""
    for number, block in enumerate(blocks):
        if isinstance(block, Single) and block.joined is not None:
            raise ConfigError(
                f"blocks: block {number} holds both outputs in one matrix, which eight bits cannot scale apart; "
                "blocks made without joined accepted; call blocks_of(flow)"
            )
    layers = layers_of(blocks)
    unknown = sorted(set(keep) - set(layers))
    if unknown:
        raise ConfigError(
            f"keep={unknown}: no layers of these names; accepted: {', '.join(list(layers)[:4])}, and so on up to "
            f"{list(layers)[-1]}; see layer_names"
        )
    reasons = {name: "asked for" for name in layers if name in keep}
    if not text:
        reasons |= {name: "of a text stream" for name in layers if ".text." in name and name not in reasons}
    for name, layer in layers.items():
        if name not in reasons and isinstance(layer, Plain) and any(size % MULTIPLE for size in layer.weight.shape):
            outputs, inputs = layer.weight.shape
            reasons[name] = f"{inputs} to {outputs}: both must be multiples of {MULTIPLE}"
    return reasons


def layer_names(blocks: list[Block]) -> list[str]:
    """The name of every layer that can be rounded, in the order of the work."""
    return list(layers_of(blocks))


def layers_of(blocks: list[Block]) -> dict[str, Linear]:
    """Every layer that can be rounded, by name."""
    found: dict[str, Linear] = {}

    def each(name: str, layer: Linear) -> Linear:
        found[name] = layer
        return layer

    replaced(blocks, each)
    return found


def replaced(blocks: list[Block], each: Callable[[str, Linear], Linear], *, is_emptied: bool = False) -> list[Block]:
    """The blocks with each(name, layer) in the place of every layer. is_emptied: as of `quantised`."""

    def stream(name: str, old: Stream) -> Stream:
        qkv, proj, mlp_in, mlp_out = (each(f"{name}.{kind}", getattr(old, kind)) for kind in KINDS)
        return replace(old, qkv=qkv, proj=proj, mlp_in=mlp_in, mlp_out=mlp_out)

    made: list[Block] = []
    for name, block in _named(blocks, is_emptied=is_emptied):
        if isinstance(block, Double):
            made.append(Double(text=stream(f"{name}.text", block.text), image=stream(f"{name}.image", block.image)))
        else:
            made.append(replace(block, stream=_sharing(stream(name, block.stream))))
    return made


def _sharing(stream: Stream) -> Stream:
    """Of a single block, whose qkv and mlp_in read one norm: rows come out of it only if both eat them."""
    if isinstance(stream.qkv, EightBit):
        return replace(stream, qkv=replace(stream.qkv, eats_rows=stream.mlp_in.eats_rows))
    return stream


def _named(blocks: list[Block], *, is_emptied: bool) -> Iterator[tuple[str, Block]]:
    num_double = sum(isinstance(block, Double) for block in blocks)
    for number in range(len(blocks)):
        block = blocks.pop(0) if is_emptied else blocks[number]
        yield (f"double.{number}" if isinstance(block, Double) else f"single.{number - num_double}"), block


@lru_cache
def _capability(index: int | None) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)
