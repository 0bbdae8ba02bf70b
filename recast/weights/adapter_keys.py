"""What a key of an adapter file means: which rows of which module of ours, and which part of the change.

A dozen trainers write a dozen spellings of three facts: a prefix, a module's name (ours or that of diffusers, with
dots or with "_" for them), and a suffix. The names are looked up in a table made from the model itself, because
"_" cannot be undone by parsing: `lora_unet_single_blocks_3_modulation_lin`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from recast.weights import names

PREFIXES = (
    "base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.",
    "lora_unet_", "lora_transformer_", "lycoris_",
)  # fmt: skip
TEXT_PREFIXES = ("lora_te", "lycoris_te", "text_encoder", "text_model.", "clip_l.", "t5xxl.")
_SUFFIXES = {  # longest first where one ends another
    ".lora_linear_layer.down.weight": "down", ".lora_linear_layer.up.weight": "up",
    ".lora_A.default.weight": "down", ".lora_B.default.weight": "up", ".lora_B.default.bias": "up_bias",
    ".lora_A.weight": "down", ".lora_B.weight": "up", ".lora_B.bias": "up_bias",
    ".lora_down.weight": "down", ".lora_up.weight": "up", ".lora_up.bias": "up_bias",
    ".lora.down.weight": "down", ".lora.up.weight": "up",
    ".down.weight": "down", ".up.weight": "up",
    ".alpha": "alpha", ".diff": "diff", ".diff_b": "diff_b", ".set_weight": "set",
    ".lora_mid.weight": "tucker", ".lokr_t2": "tucker", ".hada_t1": "tucker", ".hada_t2": "tucker",
    ".dora_scale": "dora", ".lora_magnitude_vector": "dora", ".lora_magnitude_vector.weight": "dora",
    **{f".{kind}_w{i}{half}": f"{kind}_w{i}{half}"
       for kind in ("lokr", "hada") for i in (1, 2) for half in ("", "_a", "_b")},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """Some rows of a module of ours, under one of its names."""

    module: str
    first: int
    rows: int
    halves_swapped: bool  # the adapter has the second half of the rows first
    naming: str  # bfl, diffusers or xlabs


def targets(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Target]:
    """Every name by which an adapter may call (rows of) a module; shapes: those of the model's parameters."""
    rows: dict[str, int] = {}
    for name, shape in shapes.items():
        if shape:
            rows.setdefault(name.rpartition(".")[0], shape[0])
    found: dict[str, Target] = {}
    hidden_size = rows.get("img_in", 0)
    for module, parts in names.modules_of("flow", shapes).items():
        if module not in rows:
            continue
        swapped = f"{module}.".startswith(names.HALVES_SWAPPED)
        for part, first, size in names.spans(parts, rows[module], hidden_size):
            found[part] = Target(module, first, size, swapped, "diffusers")
    for module, size in rows.items():
        found[module] = Target(module, 0, size, False, "bfl")
        block, _, name = module.rpartition(".")
        for stream, number in (("img", 1), ("txt", 2)):
            for kind in ("qkv", "proj"):
                if module.endswith(f".{stream}_attn.{kind}"):
                    block = module.removesuffix(f".{stream}_attn.{kind}")
                    found[f"{block}.processor.{kind}_lora{number}"] = Target(module, 0, size, False, "xlabs")
        if name == "linear1":
            found[f"{block}.processor.qkv_lora"] = Target(module, 0, 3 * hidden_size, False, "xlabs")
        if name == "linear2":
            found[f"{block}.processor.proj_lora"] = Target(module, 0, size, False, "xlabs")
    return {name.replace(".", "_"): target for name, target in found.items()} | found


def split_key(key: str) -> tuple[str, str] | None:
    """A key as (module as the file calls it, role), or None for a suffix that no known adapter has."""
    for suffix, role in _SUFFIXES.items():
        if key.endswith(suffix):
            return key.removesuffix(suffix), role
    if key.endswith("_norm.scale"):
        return key.removesuffix(".scale"), "set"  # BFL control adapters carry whole norm scales
    return None


def find_target(name: str, table: Mapping[str, Target]) -> tuple[Target | None, str]:
    """The rows that a module's name in an adapter file means, and the prefixes it had."""
    prefix = ""
    while name not in table:
        found = next((known for known in PREFIXES if name.startswith(known)), None)
        if found is None:
            return None, prefix
        prefix += found
        name = name.removeprefix(found)
    return table[name], prefix


def is_text_encoder(key: str) -> bool:
    """Whether a key is of an adapter of a text encoder, which a flow transformer has no place for."""
    for prefix in PREFIXES[:4]:
        key = key.removeprefix(prefix)
    return key.startswith(TEXT_PREFIXES)


def family(found: Iterable[tuple[Target, str]]) -> str:
    """Who writes such keys; several names if the file mixes them."""
    seen = set()
    for target, prefix in found:
        ours = target.naming == "bfl"
        if target.naming == "xlabs":
            seen.add("xlabs")
        elif prefix.endswith("lora_unet_"):
            seen.add("kohya")
        elif prefix.endswith("lora_transformer_"):
            seen.add("onetrainer")
        elif prefix.endswith("lycoris_"):
            seen.add("lycoris")
        elif prefix.startswith("base_model.model."):
            seen.add("fal" if ours else "peft")
        elif prefix.endswith("diffusion_model."):
            seen.add("comfyui" if ours else "simpletuner")
        else:
            seen.add("bfl" if ours else "diffusers")
    return " + ".join(sorted(seen))
