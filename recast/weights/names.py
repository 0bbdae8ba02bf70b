"""Tensor names in the two published layouts, BFL and diffusers. Ours are the BFL names.

A table maps a BFL module to the diffusers modules whose rows, stacked in that order, make it up. Blocks are
numbered, so a table is drawn for a number of blocks; everything else follows from it, in both directions.
Source: black-forest-labs/flux, and huggingface/diffusers (`FluxTransformer2DModel`, `AutoencoderKL`); the tests
compare names, shapes and outputs with the latter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

Table = Mapping[str, tuple[str, ...]]  # BFL module or tensor -> diffusers modules or tensors

HALVES_SWAPPED = "final_layer.adaLN_modulation.1."  # BFL keeps [shift | scale], diffusers [scale | shift]

_STEM = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "guidance_in.in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in.out_layer": ("time_text_embed.text_embedder.linear_2",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
_DOUBLE = {
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.norm.query_norm": ("attn.norm_q",),
    "img_attn.norm.key_norm": ("attn.norm_k",),
    "txt_attn.norm.query_norm": ("attn.norm_added_q",),
    "txt_attn.norm.key_norm": ("attn.norm_added_k",),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}
_SINGLE = {
    "modulation.lin": ("norm.linear",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "norm.query_norm": ("attn.norm_q",),
    "norm.key_norm": ("attn.norm_k",),
}


class Span(NamedTuple):
    """Some rows of a module or tensor of ours, and what diffusers calls them."""

    name: str
    first: int
    rows: int


def flow_modules(depth: int, depth_single: int) -> Table:
    """BFL modules of a flow transformer with so many double and single blocks, and what they are in diffusers."""
    table: dict[str, tuple[str, ...]] = dict(_STEM)
    for blocks, names, (ours, theirs) in (
        (depth, _DOUBLE, ("double_blocks", "transformer_blocks")),
        (depth_single, _SINGLE, ("single_blocks", "single_transformer_blocks")),
    ):
        for i in range(blocks):
            for name, parts in names.items():
                table[f"{ours}.{i}.{name}"] = tuple(f"{theirs}.{i}.{part}" for part in parts)
    return table


def autoencoder_modules(levels: int, blocks: int) -> Table:
    """BFL modules of an autoencoder with so many levels, and `blocks` residual blocks in each of its encoder's."""
    resnet = {name: name for name in ("norm1", "conv1", "norm2", "conv2")} | {"nin_shortcut": "conv_shortcut"}
    attention = {name: f"to_{name}" for name in "qkv"} | {"norm": "group_norm", "proj_out": "to_out.0"}
    table: dict[str, str] = {}
    for half in ("encoder", "decoder"):
        table |= {f"{half}.{conv}": f"{half}.{conv}" for conv in ("conv_in", "conv_out")}
        table[f"{half}.norm_out"] = f"{half}.conv_norm_out"
        for name, theirs in resnet.items():
            for j in (1, 2):
                table[f"{half}.mid.block_{j}.{name}"] = f"{half}.mid_block.resnets.{j - 1}.{theirs}"
        for name, theirs in attention.items():
            table[f"{half}.mid.attn_1.{name}"] = f"{half}.mid_block.attentions.0.{theirs}"
    for i in range(levels):
        down, up = f"down_blocks.{i}", f"up_blocks.{levels - 1 - i}"  # diffusers counts the decoder from its input
        table[f"encoder.down.{i}.downsample.conv"] = f"encoder.{down}.downsamplers.0.conv"
        table[f"decoder.up.{i}.upsample.conv"] = f"decoder.{up}.upsamplers.0.conv"
        for name, theirs in resnet.items():
            for j in range(blocks):
                table[f"encoder.down.{i}.block.{j}.{name}"] = f"encoder.{down}.resnets.{j}.{theirs}"
            for j in range(blocks + 1):
                table[f"decoder.up.{i}.block.{j}.{name}"] = f"decoder.{up}.resnets.{j}.{theirs}"
    return {ours: (theirs,) for ours, theirs in table.items()}


def modules_of(part: str, names: Iterable[str]) -> Table:
    """The table for the tensors `names`, of either layout: counts the blocks in them, from 0 to the first gap."""
    names = list(names)
    if part == "flow":
        return flow_modules(
            _blocks(r"(?:double|transformer)_blocks\.(\d+)\.", names),
            _blocks(r"(?:single|single_transformer)_blocks\.(\d+)\.", names),
        )
    return autoencoder_modules(
        _blocks(r"encoder\.down(?:_blocks)?\.(\d+)\.", names),
        _blocks(r"encoder\.down(?:_blocks)?\.0\.(?:block|resnets)\.(\d+)\.", names),
    )


def tensors_of(modules: Table) -> Table:
    """BFL tensors and what they are in diffusers, for a table of modules."""
    table = {}
    for module, parts in modules.items():
        for leaf, theirs in _leaves(module):
            table[f"{module}.{leaf}"] = tuple(f"{part}.{theirs}" for part in parts)
    return table


def is_pixel_attention(name: str) -> bool:
    """Whether `name` is a weight that BFL keeps as a 1 x 1 convolution, (c, c, 1, 1), and diffusers as (c, c)."""
    return bool(re.fullmatch(r"\w+\.mid\.attn_1\.(q|k|v|proj_out)\.weight", name))


def _part_rows(rows: int, parts: int, hidden_size: int) -> tuple[int, ...]:
    """How a tensor's rows divide among its diffusers parts: one, q k v, or q k v and the MLP's."""
    if parts == 4:
        return (hidden_size,) * 3 + (rows - 3 * hidden_size,)
    return (rows // parts,) * parts


def spans(parts: Sequence[str], rows: int, hidden_size: int) -> Iterator[Span]:
    """The rows of a module or tensor of ours, by the diffusers names that a table has for it, in order."""
    sizes = _part_rows(rows, len(parts), hidden_size)
    yield from map(Span, parts, accumulate(sizes, initial=0), sizes)


def _leaves(module: str) -> Iterator[tuple[str, str]]:
    if module.endswith(("query_norm", "key_norm")):
        yield "scale", "weight"
    else:
        yield from (("weight", "weight"), ("bias", "bias"))


def _blocks(pattern: str, names: list[str]) -> int:
    found = {int(match[1]) for match in map(re.compile(pattern).match, names) if match}
    return next(i for i in range(len(found) + 1) if i not in found)  # blocks after a gap: unexpected names
