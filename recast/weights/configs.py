"""Which model a checkpoint holds: from the shapes of its tensors, its config.json, and its name.

Shapes tell everything but four numbers: how the head width divides into rotary axes, the groups of the
autoencoder's norms, and its scale and shift. The published widths have published answers; for others, a config.json
or the header of a file written by us must say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from recast.config import AutoencoderConfig, FlowConfig
from recast.errors import WeightsError

Variant = Literal["kontext_dev", "dev", "krea_dev", "schnell", "fill_dev", "control_dev"]
Shapes = Mapping[str, tuple[int, ...]]  # of tensors by their BFL names

FILES: Mapping[str, str] = {  # the published name of each variant's file
    "kontext_dev": "flux1-kontext-dev.safetensors",
    "dev": "flux1-dev.safetensors",
    "krea_dev": "flux1-krea-dev.safetensors",
    "schnell": "flux1-schnell.safetensors",
    "fill_dev": "flux1-fill-dev.safetensors",
    "control_dev": "flux1-canny-dev.safetensors",
}
_ALIKE = ("kontext_dev", "dev", "krea_dev")  # the same names, shapes and dtypes; only the values differ


def flow_config(shapes: Shapes) -> FlowConfig:
    """The config of a flow transformer whose tensors have these shapes. Raises WeightsError if it cannot be told."""
    width, in_channels = _shape(shapes, "img_in.weight", 2)
    blocks = [_numbered(shapes, kind) for kind in ("double_blocks", "single_blocks")]
    norms = [name for name in shapes if name.endswith("query_norm.scale")]
    if not norms:
        raise WeightsError("query_norm.scale: found in no block; a flow transformer has one in each; check the file")
    head_dim = shapes[norms[0]][0]
    if head_dim != 128:
        raise WeightsError(
            f"axes_dim: cannot be told from tensors for heads of {head_dim} channels (128 are published); "
            "a config.json beside the file can say; pass config=..."
        )
    mlp = shapes.get("double_blocks.0.img_mlp.0.weight", (4 * width,))[0]
    return FlowConfig(
        in_channels=in_channels,
        out_channels=_shape(shapes, "final_layer.linear.weight", 2)[0],
        context_in_dim=_shape(shapes, "txt_in.weight", 2)[1],
        vec_in_dim=shapes["vector_in.in_layer.weight"][1] if "vector_in.in_layer.weight" in shapes else None,
        hidden_size=width,
        num_heads=width // head_dim,
        mlp_ratio=mlp / width,
        depth=blocks[0],
        depth_single_blocks=blocks[1],
        qkv_bias=any(name.endswith((".qkv.bias", ".linear1.bias")) for name in shapes),
        guidance_embed="guidance_in.in_layer.weight" in shapes,
    )


def autoencoder_config(shapes: Shapes) -> AutoencoderConfig:
    """The config of an autoencoder whose tensors have these shapes. Raises WeightsError if it cannot be told."""
    ch, in_channels, *_ = _shape(shapes, "encoder.conv_in.weight", 4)
    if ch != 128:
        raise WeightsError(
            f"num_groups, scale_factor: cannot be told from tensors for ch={ch} (128 is published); "
            "a config.json beside the file can say; pass config=..."
        )
    levels = _numbered(shapes, "encoder.down")
    widths = [_shape(shapes, f"encoder.down.{i}.block.0.conv1.weight", 4)[0] for i in range(levels)]
    return AutoencoderConfig(
        in_channels=in_channels,
        out_ch=_shape(shapes, "decoder.conv_out.weight", 4)[0],
        ch=ch,
        ch_mult=tuple(width // ch for width in widths),
        num_res_blocks=_numbered(shapes, "encoder.down.0.block"),
        z_channels=_shape(shapes, "decoder.conv_in.weight", 4)[1],
    )


def flow_to_diffusers(config: FlowConfig) -> dict[str, Any]:
    """`transformer/config.json` for a config. Raises WeightsError for a model that diffusers cannot express."""
    fixed = {"mlp_ratio": 4.0, "theta": 10_000, "qkv_bias": True, "context_attention": "full"}
    odd = [f"{name}={getattr(config, name)}" for name, value in fixed.items() if getattr(config, name) != value]
    if odd or config.vec_in_dim is None:
        raise WeightsError(
            f"layout='diffusers': its transformer cannot have {', '.join(odd) or 'vec_in_dim=None'}; "
            "save in the layout 'recast' or 'bfl'"
        )
    return {
        "_class_name": "FluxTransformer2DModel",
        "_diffusers_version": "0.36.0",
        "attention_head_dim": config.head_dim,
        "axes_dims_rope": list(config.axes_dim),
        "guidance_embeds": config.guidance_embed,
        "in_channels": config.in_channels,
        "joint_attention_dim": config.context_in_dim,
        "num_attention_heads": config.num_heads,
        "num_layers": config.depth,
        "num_single_layers": config.depth_single_blocks,
        "out_channels": config.out_channels,
        "patch_size": 1,
        "pooled_projection_dim": config.vec_in_dim,
    }


def flow_from_diffusers(content: Mapping[str, Any]) -> FlowConfig:
    """The config in a `transformer/config.json`; the published ones leave some fields to their defaults."""
    heads = content.get("num_attention_heads", 24)
    in_channels = content.get("in_channels", 64)
    return FlowConfig(
        in_channels=in_channels,
        out_channels=content.get("out_channels") or in_channels,
        context_in_dim=content.get("joint_attention_dim", 4096),
        vec_in_dim=content.get("pooled_projection_dim", 768),
        hidden_size=heads * content.get("attention_head_dim", 128),
        num_heads=heads,
        depth=content.get("num_layers", 19),
        depth_single_blocks=content.get("num_single_layers", 38),
        axes_dim=tuple(content.get("axes_dims_rope", (16, 56, 56))),
        guidance_embed=content.get("guidance_embeds", False),
    )


def autoencoder_to_diffusers(config: AutoencoderConfig) -> dict[str, Any]:
    """`vae/config.json` for a config."""
    levels = len(config.ch_mult)
    return {
        "_class_name": "AutoencoderKL",
        "_diffusers_version": "0.36.0",
        "act_fn": "silu",
        "block_out_channels": [config.ch * multiple for multiple in config.ch_mult],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "force_upcast": True,
        "in_channels": config.in_channels,
        "latent_channels": config.z_channels,
        "latents_mean": None,
        "latents_std": None,
        "layers_per_block": config.num_res_blocks,
        "mid_block_add_attention": True,
        "norm_num_groups": config.num_groups,
        "out_channels": config.out_ch,
        "sample_size": 1024,
        "scaling_factor": config.scale_factor,
        "shift_factor": config.shift_factor,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "use_post_quant_conv": False,
        "use_quant_conv": False,
    }


def autoencoder_from_diffusers(content: Mapping[str, Any]) -> AutoencoderConfig:
    """The config in a `vae/config.json`. Raises WeightsError for an autoencoder of another family."""
    wanted = {"use_quant_conv": (True, False), "use_post_quant_conv": (True, False), "act_fn": ("silu", "silu")}
    odd = [name for name, (default, value) in wanted.items() if content.get(name, default) != value]
    widths = content.get("block_out_channels", (64,))
    if odd or any(width % widths[0] for width in widths):
        raise WeightsError(
            f"vae/config.json: {', '.join(odd) or f'block_out_channels={widths}'}: not an autoencoder of the FLUX.1 "
            "family; get the vae of a FLUX.1 model"
        )
    return AutoencoderConfig(
        in_channels=content.get("in_channels", 3),
        out_ch=content.get("out_channels", 3),
        ch=widths[0],
        ch_mult=tuple(width // widths[0] for width in widths),
        num_res_blocks=content.get("layers_per_block", 1),
        z_channels=content.get("latent_channels", 4),
        num_groups=content.get("norm_num_groups", 32),
        scale_factor=content.get("scaling_factor", 0.18215),
        shift_factor=content.get("shift_factor") or 0.0,
    )


def find_variant(shapes: Shapes, hints: list[str], said: str | None = None) -> str | None:
    """Which FLUX.1 model the tensors are, or None if they are another model, or one of three that look alike.

    hints: file and folder names, class names, most specific first. said: the caller's word, which wins among
    those that look alike. Raises WeightsError if it contradicts the tensors.
    """
    seen = _by_tensors(shapes)
    if said is not None:
        if said not in FILES:
            raise WeightsError(f"variant={said!r}: no such model; {', '.join(FILES)} accepted; say one")
        if seen and said not in seen:
            raise WeightsError(f"variant={said!r}: the tensors are of {' or '.join(seen)}; say that, or check the file")
        return said
    if len(seen) == 1:
        return seen[0]
    if not seen:
        return None
    for hint in hints:
        for word, variant in (("kontext", "kontext_dev"), ("krea", "krea_dev")):
            if word in hint.lower():
                return variant
    return "dev" if any(re.search(r"flux\W?1\W?dev|\bdev\b|FluxPipeline", hint) for hint in hints) else None


def component(part: str, content: Mapping[str, Any]) -> FlowConfig | AutoencoderConfig:
    """The config of one part from plain data. Raises TypeError for a name that is no field."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
    return FlowConfig(**values) if part == "flow" else AutoencoderConfig(**values)


def _by_tensors(shapes: Shapes) -> tuple[str, ...]:
    """The published models that the shapes fit; none if they are those of another."""
    names = (
        "img_in.weight",
        "txt_in.weight",
        "single_blocks.37.linear2.weight",
        "double_blocks.18.img_attn.qkv.weight",
    )
    found = [shapes.get(name, ()) for name in names]
    if found[1:] != [(3072, 4096), (3072, 15360), (9216, 3072)] or "single_blocks.38.linear2.weight" in shapes:
        return ()
    guided = "guidance_in.in_layer.weight" in shapes
    by_channels = {64: _ALIKE if guided else ("schnell",), 128: ("control_dev",), 384: ("fill_dev",)}
    return by_channels.get(found[0][1], ()) if len(found[0]) == 2 else ()


def _shape(shapes: Shapes, name: str, rank: int) -> tuple[int, ...]:
    shape = shapes.get(name, ())
    if len(shape) != rank:
        came = f"shape {shape}" if name in shapes else "absent"
        raise WeightsError(f"{name}: {came}; {rank} axes needed to tell the model's config; check the file")
    return shape


def _numbered(shapes: Shapes, prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return 1 + max((int(match[1]) for match in map(pattern.match, shapes) if match), default=-1)
