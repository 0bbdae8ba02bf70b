"""The weights of a flow transformer as the engine reads them: every block a few named layers, sharing storage.

Both kinds of block are made of streams: norm, q k v, attention, its projection, and an MLP. A double block has two
streams that meet in attention; a single block has one, whose MLP stands beside the attention and shares its norm.
The published single block keeps q, k, v and the MLP's first half in one matrix, and both outputs in another; here
they are views of these, so that no output is cut apart and no input put together.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from recast.flow.layers import Attention, SingleStreamBlock
from recast.flow.transformer import FlowTransformer
from recast.speed.linear import Linear, Plain


@dataclass(frozen=True)
class Stream:
    """One stream of a block."""

    qkv: Linear  # d to 3 d
    query_scale: Tensor  # (e,)
    key_scale: Tensor  # (e,)
    proj: Linear  # d to d
    mlp_in: Linear  # d to h
    mlp_out: Linear  # h to d; in a single block without bias, which `proj` has


@dataclass(frozen=True)
class Double:
    """A double block: its text and its image stream."""

    text: Stream
    image: Stream


@dataclass(frozen=True)
class Single:
    """A single block. joined: both outputs in one matrix of d + h inputs, where the reference's rounding is wanted."""

    stream: Stream
    joined: Linear | None = None


@dataclass(frozen=True)
class Modulator:
    """The weights of one modulation: 2 d, 3 d or 6 d numbers out of the conditioning vector."""

    layer: Plain


Block = Double | Single


def blocks_of(flow: FlowTransformer, *, joined: bool = False) -> list[Block]:
    """The blocks of a network in order, every tensor a view of its parameters. joined: see `Single`."""
    blocks: list[Block] = []
    for double in flow.double_blocks:
        blocks.append(Double(_stream(double.txt_attn, double.txt_mlp), _stream(double.img_attn, double.img_mlp)))
    blocks += [_single(single, joined=joined) for single in flow.single_blocks]
    return blocks


def modulators_of(flow: FlowTransformer) -> list[Modulator]:
    """The modulations in the order of the engine: text and image of each double block, each single block, the head."""
    layers: list[nn.Linear] = []
    for double in flow.double_blocks:
        layers += [double.txt_mod.lin, double.img_mod.lin]
    layers += [single.modulation.lin for single in flow.single_blocks]
    last = flow.final_layer.adaLN_modulation[1]
    assert isinstance(last, nn.Linear)
    return [Modulator(_plain(layer)) for layer in [*layers, last]]


def _plain(layer: nn.Linear) -> Plain:
    return Plain(layer.weight.detach(), None if layer.bias is None else layer.bias.detach())


def _stream(attention: Attention, mlp: nn.Sequential) -> Stream:
    first, last = mlp[0], mlp[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    return Stream(
        qkv=_plain(attention.qkv),
        query_scale=attention.norm.query_norm.scale.detach(),
        key_scale=attention.norm.key_norm.scale.detach(),
        proj=_plain(attention.proj),
        mlp_in=_plain(first),
        mlp_out=_plain(last),
    )


def _single(block: SingleStreamBlock, *, joined: bool) -> Single:
    both_in, both_out = _plain(block.linear1), _plain(block.linear2)
    width, inner = block.widths[0] // 3, block.widths[0]
    stream = Stream(
        qkv=both_in.outputs(0, inner),
        query_scale=block.norm.query_norm.scale.detach(),
        key_scale=block.norm.key_norm.scale.detach(),
        proj=Plain(both_out.weight[:, :width], both_out.bias),
        mlp_in=both_in.outputs(inner, sum(block.widths)),
        mlp_out=Plain(both_out.weight[:, width:]),
    )
    return Single(stream, both_out if joined else None)
